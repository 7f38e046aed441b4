"""Daily analysis of incidents: yesterday has ended, and its changes have been exported."""

import dagster as dg

from assets.jobs import UnresolvedAssetJobDefinition
from schedules.clock import scheduled

CRON = "0 4 * * *"


def analysis_schedule(job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Every day at four in the city's time."""
    return scheduled(
        "daily_incident_analysis",
        CRON,
        job,
        "Counts incidents by place, kind, status and reporter, and looks for what is unusual.",
    )
