"""The lake itself: pruned daily, at night, because in a week, hours of traffic that are made again would come to some
terabytes; and its copy verified every hour.
"""

import dagster as dg

from assets.jobs import UnresolvedAssetJobDefinition

CRON, VERIFY_CRON = "30 3 * * *", "20 * * * *"
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


def verify_schedule(job: UnresolvedAssetJobDefinition, *, running: bool) -> dg.ScheduleDefinition:
    """Every hour; stopped unless the deployment keeps a copy."""
    return dg.ScheduleDefinition(
        name="hourly_replica_check",
        job=job,
        cron_schedule=VERIFY_CRON,
        execution_timezone=TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED,
        description="Compares the lake with its copy in another place.",
    )
