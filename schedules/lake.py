"""The lake itself: pruned daily, at night, because in a week, hours of traffic that are made again would come to some
terabytes; and its copy verified every hour.
"""

import dagster as dg

from assets.jobs import UnresolvedAssetJobDefinition
from schedules.clock import scheduled

CRON, VERIFY_CRON = "30 3 * * *", "20 * * * *"


def prune_schedule(job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Every day at half past three in the city's time."""
    return scheduled("daily_pruning", CRON, job, "Removes the files of old versions that nothing needs any more.")


def verify_schedule(job: UnresolvedAssetJobDefinition, *, running: bool) -> dg.ScheduleDefinition:
    """Every hour; stopped unless the deployment keeps a copy."""
    description = "Compares the lake with its copy in another place."
    return scheduled("hourly_replica_check", VERIFY_CRON, job, description, running=running)
