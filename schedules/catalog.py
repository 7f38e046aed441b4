"""Daily catalog: what was published since yesterday, after the morning's ingestion has had its time."""

import dagster as dg

from assets.jobs import UnresolvedAssetJobDefinition

CRON = "30 7 * * *"
TIMEZONE = "America/Vancouver"


def catalog_schedule(job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Every day at half past seven in the city's time."""
    return dg.ScheduleDefinition(
        name="daily_catalog",
        job=job,
        cron_schedule=CRON,
        execution_timezone=TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Brings the catalog, its views and the data dictionary up to date.",
    )
