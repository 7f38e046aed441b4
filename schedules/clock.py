"""The city's clock, and schedules that start a job by it without looking at anything first."""

import dagster as dg

from assets.jobs import UnresolvedAssetJobDefinition

TIMEZONE = "America/Vancouver"


def scheduled(
    name: str, cron: str, job: UnresolvedAssetJobDefinition, description: str, *, running: bool = True
) -> dg.ScheduleDefinition:
    """In the city's time; unless `running`, somebody has to switch it on."""
    return dg.ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_timezone=TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED,
        description=description,
    )
