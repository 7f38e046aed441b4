"""Daily pruning, at night: in a week, hours of traffic that are made again would come to some terabytes."""

import dagster as dg

from assets.jobs import UnresolvedAssetJobDefinition
from schedules.clock import scheduled

CRON = "30 3 * * *"


def prune_schedule(job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Every day at half past three in the city's time."""
    return scheduled("daily_pruning", CRON, job, "Removes the files of old versions that nothing needs any more.")
