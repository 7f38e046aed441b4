"""Looks how far the lake's copy is behind, tells it, and on this machine has it brought up to date."""

import os

import dagster as dg

from assets.behind import UNFINISHED
from assets.jobs import UnresolvedAssetJobDefinition
from city_platform.deployment import deployment
from city_platform.governance.metrics import DATA, replication_measurements
from city_platform.lake.replica import lag
from resources.platform import PlatformResource

INTERVAL_SECONDS = 300


def replica_sensor(job: UnresolvedAssetJobDefinition, *, running: bool) -> dg.SensorDefinition:
    """Stopped unless the deployment keeps a copy. Two listings a tick; nothing is read."""

    @dg.sensor(
        name="replica",
        job=job,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        description="Sends how far the copy of the lake is behind, for charts and alarms, and has it brought up to "
        "date where S3 does not do that.",
    )
    def replica(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.SensorResult:
        behind = platform.replica().compare().differences
        now = platform.open().clock.now()
        platform.metrics().put(DATA, list(replication_measurements(lag(behind, now), now)))
        # What is too much and nobody deleted waits for a person: no run would remove it.
        due = [one for one in behind if one.since is not None] if deployment(os.environ) == "local" else []
        working = dg.RunsFilter(job_name=job.name, statuses=list(UNFINISHED))
        if not due or context.instance.get_runs_count(working):
            return dg.SensorResult(skip_reason=dg.SkipReason(f"{len(behind)} objects behind"))
        return dg.SensorResult(run_requests=[dg.RunRequest()])

    return replica
