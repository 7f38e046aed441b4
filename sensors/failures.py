"""Tells people and subscribers that a gate stands closed, once each."""

from collections.abc import Sequence

import dagster as dg

from city_platform.datasets import Dataset
from city_platform.layers import failures, quality_checked
from resources.platform import PlatformResource

INTERVAL_SECONDS = 60
NOTICES_A_TICK = 50
LAYERS = (quality_checked.LAYER, quality_checked.UPSTREAM)


def failures_sensor(datasets: Sequence[Dataset]) -> dg.SensorDefinition:
    """It looks at the data rather than at Dagster's events: what was evaluated elsewhere counts as well, and a sensor
    that was switched off or lost its cursor neither repeats nor misses anything. It looks at the newest partitions; of
    those before them the weekly scorecard tells.
    """

    @dg.sensor(
        name="quality_failures",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells people and subscribers, once each, of every partition whose gate closes, and people of a "
        "tampered audit log.",
    )
    def quality_failures(platform: PlatformResource) -> dg.SkipReason:
        survey = platform.survey([dataset.name for dataset in datasets], LAYERS)
        sent = failures.tell(survey, platform.events(), datasets, NOTICES_A_TICK, everything=False)
        return dg.SkipReason(f"{sent} notices sent" if sent else "nothing that was not told before")

    return quality_failures
