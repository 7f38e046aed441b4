"""Traffic by the clock: the hour that has settled, four weeks every night, advice while anything is measured.

Where nothing of traffic is in the lake nothing runs.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from assets.behind import in_work, requests_for
from assets.jobs import UnresolvedAssetJobDefinition
from city_platform.contracts.partitions import Granularity
from city_platform.datasets import Dataset
from city_platform.layers import curated, exported
from city_platform.layers.platform import Platform
from resources.platform import PlatformResource
from schedules.clock import TIMEZONE

CORRECTION_CRON, ANALYSIS_CRON, ADVICE_CRON = "4 * * * *", "30 5 * * *", "*/10 * * * *"
CAUGHT_UP = 48  # hours that a correction looks back at: a weekend's outage, the rest is the sensor's


def correction_schedule(dataset: Dataset, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Every hour, when the hour before has settled: its corrected windows, and those of hours that were missed."""

    @dg.schedule(
        name="hourly_traffic_correction",
        job=job,
        cron_schedule=CORRECTION_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Makes the corrected windows of the hours that are over, late readings included.",
    )
    def hourly_traffic_correction(
        context: dg.ScheduleEvaluationContext, platform: PlatformResource
    ) -> Iterator[dg.RunRequest]:
        adapters = platform.open()
        now = context.scheduled_execution_time
        due = [one for one in _hours(now, CAUGHT_UP) if exported.due(adapters.lake, dataset, one, now)]
        yield from requests_for(adapters, dataset, due, in_work(dataset, context.instance), context.instance)

    return hourly_traffic_correction


def analysis_schedule(dataset: Dataset, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Every morning after the night that tells how fast empty roads are."""

    @dg.schedule(
        name="daily_traffic_analysis",
        job=job,
        cron_schedule=ANALYSIS_CRON,
        execution_timezone=TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Free-flow speeds, unusual traffic and forecasts, from the corrected windows of four weeks.",
    )
    def daily_traffic_analysis(
        context: dg.ScheduleEvaluationContext, platform: PlatformResource
    ) -> dg.RunRequest | dg.SkipReason:
        if not platform.open().lake.partitions(curated.LAYER, dataset.name):
            return dg.SkipReason("no hour of traffic was corrected yet")
        return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())

    return daily_traffic_analysis


def advice_schedule(dataset: Dataset, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Every ten minutes while readings come."""

    @dg.schedule(
        name="traffic_advice",
        job=job,
        cron_schedule=ADVICE_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Ways around congestion and shares of green as of now, for people to judge.",
    )
    def traffic_advice(
        context: dg.ScheduleEvaluationContext, platform: PlatformResource
    ) -> dg.RunRequest | dg.SkipReason:
        if not _coming(platform.open(), dataset, context.scheduled_execution_time):
            return dg.SkipReason("no reading has come since the hour before")
        return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())

    return traffic_advice


def _coming(platform: Platform, dataset: Dataset, now: datetime) -> bool:
    # Asked of the lake and not of the state, which asking would make where there is none.
    return any(exported.newest(platform.lake, dataset.name, hour) for hour in _hours(now, 2))


def _hours(now: datetime, count: int) -> list[str]:
    """The names of the newest hours, that of `now` first."""
    return [(now - timedelta(hours=ago)).astimezone(UTC).strftime(Granularity.HOUR.strftime) for ago in range(count)]
