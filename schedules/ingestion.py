"""Ingestion by the clock: the drop folder every day, the portal's sources as often as they may have changed.

A source is asked about more often than it changes, because nobody says on which day it will: an unchanged one costs
one small request and no run.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg

from assets.landing import landing_requests
from assets.source import observations, request
from city_platform.datasets import Dataset
from city_platform.layers.fetching import Observation
from resources.platform import PlatformResource
from resources.portal import PortalResource
from schedules.clock import TIMEZONE

DAILY = "0 6 * * *"
FETCHES = {  # name -> cron, and the cadences asked about then
    "daily": (DAILY, ("daily",)),
    "weekly": ("0 6 * * 1", ("weekly", "monthly", "quarterly")),
    "monthly": ("0 6 1 * *", ("annual", "static")),
}


def ingestion_schedule(folder: Path, datasets: Sequence[Dataset], job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Every day at six in the city's time, even where the drop folder's sensor is switched off.

    The sensor asks for a file once. What could not land then, because something was out, is tried again here.
    """

    @dg.schedule(
        name="daily_ingestion",
        job=job,
        cron_schedule=DAILY,
        execution_timezone=TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Lands every file that waits in the drop folder.",
    )
    def daily_ingestion(context: dg.ScheduleEvaluationContext, platform: PlatformResource) -> Iterator[dg.RunRequest]:
        tick = context.scheduled_execution_time
        yield from landing_requests(platform.open(), folder, datasets, tick.timestamp(), tick.isoformat())

    return daily_ingestion


def fetch_schedules(
    datasets: Sequence[Dataset], job: dg.JobDefinition, *, running: bool
) -> Iterator[dg.ScheduleDefinition]:
    """One schedule for each entry of `FETCHES`; stopped unless the deployment fetches by itself."""
    for name, (cron, cadences) in FETCHES.items():
        yield _fetch_schedule(f"{name}_fetch", cron, cadences, datasets, job, running=running)


def _fetch_schedule(
    name: str, cron: str, cadences: Sequence[str], datasets: Sequence[Dataset], job: dg.JobDefinition, *, running: bool
) -> dg.ScheduleDefinition:
    sources = [(dataset, source) for dataset in datasets for source in dataset.sources if source.cadence in cadences]

    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_timezone=TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED,
        description=f"Fetches the {', '.join(cadences)} sources that the lake does not have as the portal has them.",
    )
    def fetch(
        context: dg.ScheduleEvaluationContext, platform: PlatformResource, portal: PortalResource
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        adapters = platform.open()
        tick = context.scheduled_execution_time.isoformat()
        requests = []
        with portal.hasty(adapters.clock) as client:
            asked = {
                (dataset.name, source.server): found
                for dataset, source, found in observations(adapters, client, sources)
            }
        for dataset, source in sources:
            found = asked.get((dataset.name, source.server))
            # What could not be asked may have changed: a run has the patience that a tick has not.
            if not (isinstance(found, Observation) and found.landed):
                requests.append(request(dataset, source, tick))
        if not requests:
            yield dg.SkipReason("the lake has what the portal has")
        yield from requests

    return fetch
