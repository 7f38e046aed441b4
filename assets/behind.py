"""Partitions that are behind, and the runs that bring them up to date."""

from collections.abc import Collection, Iterable, Iterator

import dagster as dg

from assets.jobs import layer_selection, materialization_job_name
from city_platform.datasets import Dataset
from city_platform.layers import freshness
from city_platform.layers.platform import Platform

ATTEMPTS = 3
WORK_TAG = "city_platform/work"


def in_work(dataset: Dataset, instance: dg.DagsterInstance) -> frozenset[str]:
    """The partitions that unfinished runs of the dataset work on."""
    wanted = dg.RunsFilter(job_name=materialization_job_name(dataset.name), statuses=list(UNFINISHED))
    return frozenset(run.tags.get("dagster/partition", "") for run in instance.get_runs(wanted))


def requests_for(
    platform: Platform, dataset: Dataset, partitions: Iterable[str], busy: Collection[str], instance: dg.DagsterInstance
) -> Iterator[dg.RunRequest]:
    """One run for each of the partitions that is behind and not `busy`: being worked on before anybody looked, because
    a run that ends between the two looks has left nothing to do.

    The run key names the work and the attempt: the same work is tried `ATTEMPTS` times, then waits for a person;
    other sources or definitions are other work.
    """
    job_name = materialization_job_name(dataset.name)
    for partition in partitions:
        layers = () if partition in busy else freshness.outdated(platform, dataset, partition)
        if not layers:
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
