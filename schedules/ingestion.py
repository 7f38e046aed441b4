"""Daily ingestion: lands whatever waits in the drop folder, even where the sensor is switched off."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg

from assets.landing import landing_requests
from city_platform.datasets import Dataset

CRON = "0 6 * * *"
TIMEZONE = "America/Vancouver"


def ingestion_schedule(folder: Path, datasets: Sequence[Dataset], job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Every day at six in the city's time."""

    @dg.schedule(
        name="daily_ingestion",
        job=job,
        cron_schedule=CRON,
        execution_timezone=TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Lands every file that waits in the drop folder.",
    )
    def daily_ingestion(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
        yield from landing_requests(folder, datasets, context.scheduled_execution_time.timestamp())

    return daily_ingestion
