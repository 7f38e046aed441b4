"""Daily catalog: what was published since yesterday, after the morning's ingestion has had its time."""

import dagster as dg

from assets.jobs import UnresolvedAssetJobDefinition
from schedules.clock import scheduled

CRON = "30 7 * * *"


def catalog_schedule(job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Every day at half past seven in the city's time."""
    return scheduled("daily_catalog", CRON, job, "Brings the catalog, its views and the data dictionary up to date.")
