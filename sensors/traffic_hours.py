"""Sums the hours of traffic that were corrected: the day of UTC they lie in is made, or made again.

Looked at in every tick are the newest days, where nearly everything happens, and one of the older ones, from the newest
to the oldest and round again; the cursor is the day that the next tick looks at.
"""

import hashlib
import json
from collections.abc import Sequence

import dagster as dg

from assets.behind import ATTEMPTS, UNFINISHED, WORK_TAG
from assets.graph import daily
from assets.jobs import UnresolvedAssetJobDefinition
from city_platform.datasets import Dataset
from city_platform.layers import traffic_hours
from city_platform.layers.platform import Platform
from resources.platform import PlatformResource

INTERVAL_SECONDS = 60
NEWEST = 3  # days: hours are made again for a day and a half


def requests(
    platform: Platform, dataset: Dataset, job: str, instance: dg.DagsterInstance, cursor: str | None
) -> tuple[Sequence[dg.RunRequest], str | None]:
    """A run for each day that is behind and not being worked on, and the cursor for the next tick."""
    known = daily(dataset).get_partition_keys(platform.clock.now())[::-1]
    older = known[NEWEST:]
    first = next((place for place, one in enumerate(older) if cursor and one <= cursor), 0)
    unfinished = instance.get_runs(dg.RunsFilter(job_name=job, statuses=list(UNFINISHED)))
    busy = {run.tags.get("dagster/partition") for run in unfinished}
    wanted = []
    for day in (*known[:NEWEST], *older[first : first + 1]):
        made_from = None if day in busy else traffic_hours.outdated(platform, dataset, day)
        if made_from is None:
            continue
        work = f"{day}/{hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]}"
        attempt = instance.get_runs_count(dg.RunsFilter(job_name=job, tags={WORK_TAG: work}))
        if attempt < ATTEMPTS:
            wanted.append(dg.RunRequest(f"{work}/{attempt + 1}", partition_key=day, tags={WORK_TAG: work}))
    return wanted, older[first + 1] if first + 1 < len(older) else None


def traffic_hours_sensor(dataset: Dataset, job: UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    """Requests what `requests` finds."""

    @dg.sensor(
        name="traffic_hours",
        job=job,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Adds up the hours of traffic that were corrected since their day was summed.",
    )
    def hours(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.SensorResult:
        found, cursor = requests(platform.survey(), dataset, job.name, context.instance, context.cursor)
        return dg.SensorResult(run_requests=list(found), cursor=cursor or "")

    return hours
