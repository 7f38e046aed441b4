"""Measures every run that ends: how it ended, how long it and its steps took, what it tried again, read, wrote and
judged; and how long those in progress have been.

It reads Dagster's event log and not the runs' processes: a run whose process was killed is measured, too, when
Dagster gives it up. The cursor is the moment of the first look and the last measured run of each way to end; a tick
whose figures are not taken leaves it, and the next one sends them again.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import dagster as dg

from assets.graph import BYTES_READ, BYTES_WRITTEN
from city_platform.governance.metrics import RUNS, RunFacts, RunOutcome, progress_measurements, run_measurements
from city_platform.ports import Clock, Metrics
from resources.platform import PlatformResource

INTERVAL_SECONDS = 60
RUNS_A_TICK = 100  # of each way to end
FIRST_LOOK = timedelta(days=1)  # without a cursor, so that a year of runs is not measured as if it ended today
_Ended = Literal[dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED]
_ENDS: Sequence[tuple[_Ended, RunOutcome]] = (
    (dg.DagsterEventType.RUN_SUCCESS, RunOutcome.SUCCEEDED),
    (dg.DagsterEventType.RUN_FAILURE, RunOutcome.FAILED),
    (dg.DagsterEventType.RUN_CANCELED, RunOutcome.CANCELLED),
)
_TOLD = {
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.STEP_RESTARTED,
    dg.DagsterEventType.STEP_SUCCESS,
}


def run_metrics_sensor() -> dg.SensorDefinition:
    """Sends the figures of runs that ended since the last tick."""

    @dg.sensor(
        name="run_metrics",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends duration, outcome, retries and rows of every run that ended, for charts and alarms.",
    )
    def run_metrics(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.SensorResult:
        count, cursor = measure(context.instance, platform.metrics(), platform.open().clock, context.cursor)
        return dg.SensorResult(skip_reason=dg.SkipReason(f"{count} runs measured"), cursor=cursor)

    return run_metrics


def measure(instance: dg.DagsterInstance, metrics: Metrics, clock: Clock, cursor: str | None) -> tuple[int, str]:
    """How many runs were measured, and the cursor behind them. Raises the errors of `metrics`; nothing is lost then."""
    seen: dict[str, Any] = json.loads(cursor) if cursor else {"since": (clock.now() - FIRST_LOOK).timestamp()}
    measured = list(progress_measurements(_in_progress(instance), clock.now()))
    count = 0
    for event, outcome in _ENDS:
        ended = instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(event_type=event, after_timestamp=seen["since"]),
            limit=RUNS_A_TICK,
            cursor=seen.get(event.value),
            ascending=True,
        )
        for record in ended.records:
            at = datetime.fromtimestamp(record.timestamp, UTC)
            facts = _facts(instance, record.event_log_entry.run_id, outcome, at)
            if facts is not None:
                count += 1
                measured += run_measurements(facts)
        seen[event.value] = ended.cursor
    metrics.put(RUNS, measured)
    return count, json.dumps(seen)


def _in_progress(instance: dg.DagsterInstance) -> list[datetime]:
    """When the runs in progress began."""
    working = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING])
    began = (record.start_time for record in instance.get_run_records(working, limit=RUNS_A_TICK, ascending=True))
    return [datetime.fromtimestamp(one, UTC) for one in began if one is not None]


def _facts(instance: dg.DagsterInstance, run_id: str, outcome: RunOutcome, at: datetime) -> RunFacts | None:
    """None where somebody has deleted the run."""
    record = instance.get_run_record_by_id(run_id)
    if record is None:
        return None
    events = [one.dagster_event for one in instance.all_logs(run_id, of_type=_TOLD) if one.dagster_event is not None]
    began, ended = record.start_time, record.end_time
    return RunFacts(
        job=record.dagster_run.job_name,
        outcome=outcome,
        at=at,
        seconds=None if began is None or ended is None else ended - began,
        retries=sum(one.event_type is dg.DagsterEventType.STEP_RESTARTED for one in events),
        rows=_sum_of(events, "dagster/row_count"),
        bytes=_sum_of(events, BYTES_WRITTEN),
        checks_failed=sum(
            not one.asset_check_evaluation_data.passed
            for one in events
            if one.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ),
        steps=list(_steps(events)),
        read=[(_layer(step), count) for step, count in _by_step(events, BYTES_READ).items()],
    )


def _sum_of(events: Sequence[dg.DagsterEvent], name: str) -> int:
    """Of a figure that materializations tell."""
    return sum(_by_step(events, name).values())


def _by_step(events: Sequence[dg.DagsterEvent], name: str) -> Counter[str]:
    """A figure that materializations tell, by the key of the step that made them."""
    found = Counter[str]()
    for one in events:
        if one.is_step_materialization and one.step_key is not None:
            value = one.materialization.metadata.get(name)
            if isinstance(value, dg.IntMetadataValue):
                found[one.step_key] += value.value or 0
    return found


def _steps(events: Sequence[dg.DagsterEvent]) -> Iterator[tuple[str, float]]:
    """The seconds of each step, under its layer's name or, of a job without assets, its own."""
    for one in events:
        if one.event_type is dg.DagsterEventType.STEP_SUCCESS and one.step_key is not None:
            yield _layer(one.step_key), one.step_success_data.duration_ms / 1000


def _layer(step_key: str) -> str:
    return step_key.rpartition("__")[2]
