"""Daily pruning, at night: in a week, hours of traffic that are made again would come to some terabytes."""

import dagster as dg

from assets.jobs import UnresolvedAssetJobDefinition

CRON = "30 3 * * *"
TIMEZONE = "America/Vancouver"


def prune_schedule(job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Every day at half past three in the city's time."""
    return dg.ScheduleDefinition(
        name="daily_pruning",
        job=job,
        cron_schedule=CRON,
        execution_timezone=TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Removes the files of old versions that nothing needs any more.",
    )
