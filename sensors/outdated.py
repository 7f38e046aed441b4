"""Brings partitions up to date: whatever was made from other inputs than those that stand now is made again."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import dagster as dg

from assets.behind import in_work, requests_for
from assets.jobs import UnresolvedAssetJobDefinition
from city_platform.datasets import Dataset
from city_platform.layers import freshness, landing
from city_platform.layers.platform import Platform
from resources.platform import PlatformResource

INTERVAL_SECONDS = 30
REQUESTS_A_TICK = 50
LAYERS = (landing.LAYER, *(layer.LAYER for layer in freshness.LAYERS))


def outdated_requests(
    survey: Callable[[], Platform], datasets: Sequence[Dataset], instance: dg.DagsterInstance
) -> Iterator[dg.RunRequest]:
    """One run for each partition that is behind and not being worked on, of every dataset."""
    busy = {dataset.name: in_work(dataset, instance) for dataset in datasets}
    platform = survey()
    for dataset in datasets:
        partitions = freshness.partitions(platform, dataset)
        yield from requests_for(platform, dataset, partitions, busy[dataset.name], instance)


def outdated_sensor(datasets: Sequence[Dataset], jobs: Sequence[UnresolvedAssetJobDefinition]) -> dg.SensorDefinition:
    """Requests what `outdated_requests` finds, a bounded number a tick."""

    @dg.sensor(
        name="outdated_partitions",
        jobs=jobs,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Runs the layers of every partition whose sources, recipe, rules, summary or contract changed.",
    )
    def outdated_partitions(
        context: dg.SensorEvaluationContext, platform: PlatformResource
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        names = [dataset.name for dataset in datasets]
        requests = outdated_requests(lambda: platform.survey(names, LAYERS), datasets, context.instance)
        bounded = list(islice(requests, REQUESTS_A_TICK))
        yield from bounded
        if not bounded:
            yield dg.SkipReason("every partition is up to date, in work, or waits for other data or rules")

    return outdated_partitions
