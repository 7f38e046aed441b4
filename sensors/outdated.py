"""Brings partitions up to date: whatever was made from other inputs than those that stand now is made again."""

from collections.abc import Iterator, Sequence

import dagster as dg

from assets.behind import requests_for
from assets.jobs import UnresolvedAssetJobDefinition
from city_platform.datasets import Dataset
from city_platform.layers import freshness
from city_platform.layers.platform import Platform
from resources.platform import PlatformResource

INTERVAL_SECONDS = 30
REQUESTS_A_TICK = 50


def outdated_requests(
    platform: Platform, datasets: Sequence[Dataset], instance: dg.DagsterInstance
) -> Iterator[dg.RunRequest]:
    """One run for each partition that is behind and not being worked on, of every dataset."""
    for dataset in datasets:
        yield from requests_for(platform, dataset, freshness.partitions(platform, dataset), instance)


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
