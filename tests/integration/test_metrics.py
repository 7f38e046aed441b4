"""Runs that ended and data that stand, measured as the sensors do it, and the alarm on data that are late."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from city_platform.datasets import Dataset
from city_platform.governance.metrics import DATA, RUNS
from city_platform.layers import cleaned, landing, quality_checked, raw
from city_platform.layers.platform import Platform
from city_platform.local.clock import SystemClock
from city_platform.ports import Measurement, MetricsUnavailable
from resources.platform import PlatformResource
from sensors import data_metrics, run_metrics
from tests.alarms import Alarm, Points, State
from tests.templates import template
from tests.town import StandingClock, bad_trees, good_trees, trees_csv

IN_PROGRESS = {(RUNS, "RunsInProgress"), (RUNS, "LongestRunSeconds")}


class Taken:
    """Metrics that are kept for looking at; while `busy`, none are taken."""

    def __init__(self) -> None:
        self.figures: dict[tuple[str, ...], list[float]] = {}
        self.busy = False

    def put(self, namespace: str, measurements: list[Measurement]) -> None:
        if self.busy:
            raise MetricsUnavailable("busy")
        for one in measurements:
            self.figures.setdefault((namespace, one.name, *one.dimensions.values()), []).append(one.value)


@dg.multi_asset(
    name="trees__raw", specs=[dg.AssetSpec("raw")], check_specs=[dg.AssetCheckSpec(name, asset="raw") for name in "ab"]
)
def planted(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    if context.retry_number < 2:
        raise dg.RetryRequested(max_retries=2)
    yield dg.MaterializeResult(
        metadata={"dagster/row_count": 40, "bytes": 950, "bytes written": 900, "bytes read": 300}
    )
    yield dg.AssetCheckResult(check_name="a", passed=True)
    yield dg.AssetCheckResult(check_name="b", passed=False)


@dg.job
def withered() -> None:
    @dg.op
    def dies() -> None:
        raise ValueError("of drought")

    dies()


def test_a_run_in_progress_is_measured_while_it_is() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(withered)
        began = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job_name=run.job_name)
        instance.report_dagster_event(began, run_id=run.run_id)
        taken, later = Taken(), StandingClock(datetime.now(UTC) + timedelta(hours=2))
        assert run_metrics.measure(instance, taken, later, None)[0] == 0
    assert taken.figures[RUNS, "RunsInProgress"] == [1]
    assert 7190 < taken.figures[RUNS, "LongestRunSeconds"][0] < 7210


def test_every_run_that_ended_is_measured_once_whatever_became_of_it() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([planted], instance=instance, raise_on_error=False).success
        withered.execute_in_process(instance=instance, raise_on_error=False)
        taken, clock = Taken(), SystemClock()
        taken.busy = True
        with pytest.raises(MetricsUnavailable):
            run_metrics.measure(instance, taken, clock, None)
        taken.busy = False
        count, cursor = run_metrics.measure(instance, taken, clock, None)
        assert count == 2
        assert run_metrics.measure(instance, taken, clock, cursor) == (0, cursor)
    figures = taken.figures
    assert (figures[RUNS, "RunsFailed", "withered"], figures[RUNS, "RunsSucceeded", "withered"]) == ([1], [0])
    assert sorted(figures[RUNS, "RunsFailed"]) == [0, 1]
    assert sorted(figures[RUNS, "RowsWritten"]) == [0, 40]
    assert sorted(figures[RUNS, "BytesWritten"]) == [0, 900]
    assert sorted(figures[RUNS, "BytesRead"]) == [0, 300]
    assert figures[RUNS, "BytesRead", "raw"] == [300]
    assert sorted(figures[RUNS, "ChecksFailed"]) == [0, 1]
    assert sorted(figures[RUNS, "StepRetries"]) == [0, 2]
    assert all(seconds > 0 for seconds in figures[RUNS, "RunSeconds"])
    assert [seconds > 0 for seconds in figures[RUNS, "StepSeconds", "raw"]] == [True]


def test_runs_of_long_ago_are_not_measured_at_the_first_look() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        withered.execute_in_process(instance=instance, raise_on_error=False)
        later = StandingClock(datetime.now(UTC) + run_metrics.FIRST_LOOK)
        taken = Taken()
        count, cursor = run_metrics.measure(instance, taken, later, None)
        assert (count, set(taken.figures)) == (0, IN_PROGRESS)
        withered.execute_in_process(instance=instance, raise_on_error=False)
        assert run_metrics.measure(instance, taken, later, cursor)[0] == 1


def test_data_are_measured_as_they_stand(
    platform: Platform, trees: Dataset, clock: StandingClock, tmp_path: Path
) -> None:
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", [*good_trees(2023), *bad_trees(2024)]))
    for year in ("2023", "2024"):
        for layer in (raw, cleaned, quality_checked):
            layer.materialize(platform, trees, year)
    arrived = clock.time
    clock.time += trees.contract.freshness * 2
    taken = Taken()
    assert data_metrics.measure(platform, [trees], taken, None, sizes=True) > 0
    figures = taken.figures
    assert figures[DATA, "StaleDatasets"] == [1]
    assert figures[DATA, "FreshnessUsed", "trees"] == [200]
    assert figures[DATA, "GatesClosed"] == [1]
    assert figures[DATA, "QualityScore", "trees", "2023"] == [100]
    assert figures[DATA, "QualityScore", "trees", "2024"][0] < 100
    assert figures[DATA, "BucketSizeBytes", "raw"][0] > 0
    assert figures[DATA, "NumberOfObjects", "quality_checked"] == [
        1
    ]  # the rows that failed: the passed ones are their complement

    again = Taken()
    data_metrics.measure(platform, [trees], again, arrived + timedelta(seconds=1), sizes=True)
    assert (DATA, "QualityScore", "trees") in again.figures
    assert (DATA, "QualityScore", "trees", "2024") not in again.figures  # not judged since


def test_an_ingestion_that_is_late_is_told_until_it_came(
    platform: Platform, trees: Dataset, clock: StandingClock, tmp_path: Path
) -> None:
    alarm = Alarm.of(template("monitoring").deploy()["IngestionLateAlarm"].properties)
    series: list[Points] = []

    def arrives(year: int) -> None:
        landing.land(platform, trees, trees_csv(tmp_path / f"{year}.csv", good_trees(year)))
        raw.materialize(platform, trees, str(year))

    def after(ticks: int, before: State) -> State:
        for _ in range(ticks):
            taken = Taken()
            data_metrics.measure(platform, [trees], taken, None, sizes=False)
            series.append({alarm.metrics[0]: taken.figures[DATA, "StaleDatasets"][0]})
        return alarm.after(series, before)

    arrives(2023)
    assert after(4, State.INSUFFICIENT_DATA) is State.OK
    clock.time += trees.contract.freshness + timedelta(seconds=1)
    assert after(2, State.OK) is State.ALARM
    series += [{alarm.metrics[0]: None}] * 5  # nobody looks any more: still late, for all that is known
    assert alarm.after(series, State.ALARM) is State.ALARM
    arrives(2024)
    assert after(4, State.ALARM) is State.OK


def test_ticks_write_the_file_of_this_machine(home: Path, trees: Dataset) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance, resources={"platform": PlatformResource(home=str(home))})
        data = data_metrics.data_metrics_sensor([trees])(context)
        runs = run_metrics.run_metrics_sensor()(context)
    assert isinstance(data, dg.SensorResult)
    assert isinstance(runs, dg.SensorResult)
    assert datetime.fromisoformat(data.cursor or "").tzinfo is UTC
    assert (runs.skip_reason or dg.SkipReason()).skip_message == "0 runs measured"
    lines = [json.loads(line) for line in (home / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {"Environment": "local", "StaleDatasets": 0.0, "EmptyDatasets": 1.0}.items() <= lines[0].items()
