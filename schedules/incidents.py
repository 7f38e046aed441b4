"""Daily analysis of incidents: yesterday has ended, and its changes have been exported."""

import dagster as dg

from assets.jobs import UnresolvedAssetJobDefinition
from schedules.governance import TIMEZONE

CRON = "0 4 * * *"


def analysis_schedule(job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Every day at four in the city's time."""
    return dg.ScheduleDefinition(
        name="daily_incident_analysis",
        job=job,
        cron_schedule=CRON,
        execution_timezone=TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Counts incidents by place, kind, status and reporter, and looks for what is unusual.",
    )
