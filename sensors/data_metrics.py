"""Measures the data as they stand, every few minutes: freshness, scores, failed rows, gates; once a day their size.

That the figures keep coming is a figure itself: where they stop, the alarms that wait for them fire.
"""

import os
from collections.abc import Sequence
from datetime import datetime

import dagster as dg

from city_platform.datasets import Dataset
from city_platform.deployment import deployment
from city_platform.governance.metrics import DATA
from city_platform.layers import quality_checked, raw
from city_platform.layers.metrics import measure_data, measure_use
from city_platform.layers.platform import Platform
from city_platform.ports import Metrics
from resources.platform import PlatformResource

INTERVAL_SECONDS = 600
LAYERS = (raw.LAYER, quality_checked.LAYER, quality_checked.UPSTREAM)


def data_metrics_sensor(datasets: Sequence[Dataset]) -> dg.SensorDefinition:
    """S3 measures its buckets itself, once a day; a store of this machine is measured here as often."""

    @dg.sensor(
        name="data_metrics",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends freshness, quality scores, failed rows and closed gates of every dataset, for charts and "
        "alarms.",
    )
    def data_metrics(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.SensorResult:
        names = [dataset.name for dataset in datasets]
        since = datetime.fromisoformat(context.cursor) if context.cursor else None
        sizes = deployment(os.environ) == "local"
        # Judged while the figures are looked up, a partition is measured twice rather than never.
        began = platform.open().clock.now()
        count = measure(platform.survey(names, LAYERS), datasets, platform.metrics(), since, sizes=sizes)
        return dg.SensorResult(skip_reason=dg.SkipReason(f"{count} figures sent"), cursor=began.isoformat())

    return data_metrics


def measure(
    platform: Platform, datasets: Sequence[Dataset], metrics: Metrics, since: datetime | None, *, sizes: bool
) -> int:
    """Sends the figures at this moment; how many there were. `since` is the moment of those before."""
    now = platform.clock.now()
    figures = measure_data(platform, datasets, since)
    if sizes and (since is None or since.date() != now.date()):
        figures += measure_use(platform.lake.store, now)
    metrics.put(DATA, figures)
    return len(figures)
