"""Partitions that are behind, and the runs that bring them up to date."""

from collections.abc import Iterable, Iterator

import dagster as dg

from assets.jobs import layer_selection, materialization_job_name
from city_platform.datasets import Dataset
from city_platform.layers import freshness
from city_platform.layers.platform import Platform

ATTEMPTS = 3
WORK_TAG = "city_platform/work"


def requests_for(
    platform: Platform, dataset: Dataset, partitions: Iterable[str], instance: dg.DagsterInstance
) -> Iterator[dg.RunRequest]:
    """One run for each of the partitions that is behind and not being worked on.

    The run key names the work and the attempt: the same work is tried `ATTEMPTS` times, then waits for a person;
    other sources or definitions are other work.
    """
    job_name = materialization_job_name(dataset.name)
    open_runs = instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=list(UNFINISHED)))
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


UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
