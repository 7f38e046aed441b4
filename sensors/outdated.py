"""Brings partitions up to date: whatever was made from other inputs than those that stand now is made again."""

from collections.abc import Iterable, Iterator, Sequence

import dagster as dg

from assets.jobs import UnresolvedAssetJobDefinition, layer_selection, materialization_job_name
from city_platform.datasets import Dataset
from city_platform.layers import freshness
from city_platform.layers.platform import Platform
from resources.platform import PlatformResource

INTERVAL_SECONDS = 30
ATTEMPTS = 3
REQUESTS_A_TICK = 50
WORK_TAG = "city_platform/work"


def outdated_requests(
    platform: Platform, datasets: Sequence[Dataset], instance: dg.DagsterInstance
) -> Iterator[dg.RunRequest]:
    """One run for each partition that is behind and not being worked on, of every dataset."""
    for dataset in datasets:
        yield from requests_for(platform, dataset, freshness.partitions(platform, dataset), instance)


def requests_for(
    platform: Platform, dataset: Dataset, partitions: Iterable[str], instance: dg.DagsterInstance
) -> Iterator[dg.RunRequest]:
    """One run for each of the partitions that is behind and not being worked on.

    The run key names the work and the attempt: the same work is tried `ATTEMPTS` times, then waits for a person;
    other sources or definitions are other work.
    """
    job_name = materialization_job_name(dataset.name)
    open_runs = instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=list(_UNFINISHED)))
    busy = {run.tags.get("dagster/partition") for run in open_runs}
    for partition in partitions:
        layers = freshness.outdated(platform, dataset, partition)
        if not layers or partition in busy:
            continue
        work = freshness.work_key(platform, dataset, partition)
        attempt = instance.get_runs_count(dg.RunsFilter(job_name=job_name, tags={WORK_TAG: work}))
        if attempt < ATTEMPTS:
            yield dg.RunRequest(
                run_key=f"{work}/{attempt + 1}",
                job_name=job_name,
                partition_key=partition,
                asset_selection=layer_selection(dataset.name, layers),
                tags={WORK_TAG: work},
            )


def outdated_sensor(datasets: Sequence[Dataset], jobs: Sequence[UnresolvedAssetJobDefinition]) -> dg.SensorDefinition:
    """Requests what `outdated_requests` finds, a bounded number a tick."""

    @dg.sensor(
        name="outdated_partitions",
        jobs=jobs,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Runs the layers of every partition whose sources, recipe, rules, summary or contract changed.",
    )
    def outdated_partitions(context: dg.SensorEvaluationContext, platform: PlatformResource) -> Iterator[dg.RunRequest]:
        requests = outdated_requests(platform.open(), datasets, context.instance)
        for _, request in zip(range(REQUESTS_A_TICK), requests, strict=False):
            yield request

    return outdated_partitions


_UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
