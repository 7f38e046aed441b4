"""The city's clock, and schedules that start a job by it without looking at anything first."""

import dagster as dg

from assets.jobs import UnresolvedAssetJobDefinition

TIMEZONE = "America/Vancouver"


def scheduled(name: str, cron: str, job: UnresolvedAssetJobDefinition, description: str) -> dg.ScheduleDefinition:
    """Runs from the start, in the city's time."""
    return dg.ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_timezone=TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
    )
