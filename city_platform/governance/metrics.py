"""What is measured of runs and of data, for charts and alarms: names, units and dimensions in one place.

`Metrics` adds to each the dimension `Environment`. A metric costs by combination of dimensions, so partitions are
among them only where they were just judged, and rules only where they are among the worst.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from city_platform.governance.scorecard import Scorecard
from city_platform.lake.replica import Lag
from city_platform.lake.zones import Zone
from city_platform.ports import Measurement, Unit

RUNS, DATA = "CityPlatform/Runs", "CityPlatform/Data"
_ALL: Mapping[str, str] = {}  # of everything together


class RunOutcome(StrEnum):
    """How a run ended; the values are metrics."""

    SUCCEEDED = "RunsSucceeded"
    FAILED = "RunsFailed"
    CANCELLED = "RunsCancelled"


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One ended run. `steps` are the seconds of each step that succeeded; `seconds` is None where it never began.

    `rows` are those of the versions it published, `bytes` those of the files it put into the lake, `checks_failed`
    governance rules that did not pass. `read` are the bytes of the files that were opened to make each layer's.
    """

    job: str
    outcome: RunOutcome
    at: datetime
    seconds: float | None
    retries: int
    rows: int
    bytes: int
    checks_failed: int
    steps: Sequence[tuple[str, float]]
    read: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old a dataset's newest data are, and how old its contract lets them be; no age where it has none."""

    dataset: str
    age: timedelta | None
    promised: timedelta

    @property
    def stale(self) -> bool:
        return self.age is not None and self.age > self.promised


@dataclass(frozen=True, slots=True)
class Use:
    """What one layer takes in the lake, all versions together."""

    layer: str
    objects: int
    bytes: int


def run_measurements(run: RunFacts) -> Iterator[Measurement]:
    """A run's figures, of all jobs together and of its own; by layer the seconds of its steps and what they read."""
    figures: dict[str, tuple[float, Unit]] = {one.value: (one is run.outcome, "Count") for one in RunOutcome}
    figures |= {
        "StepRetries": (run.retries, "Count"),
        "RowsWritten": (run.rows, "Count"),
        "BytesRead": (sum(count for _, count in run.read), "Bytes"),
        "BytesWritten": (run.bytes, "Bytes"),
        "ChecksFailed": (run.checks_failed, "Count"),
    }
    if run.seconds is not None:
        figures["RunSeconds"] = (run.seconds, "Seconds")
    for dimensions in (_ALL, {"Job": run.job}):
        for name, (value, unit) in figures.items():
            yield Measurement(name, float(value), unit, run.at, dimensions)
    for step, seconds in run.steps:
        yield Measurement("StepSeconds", seconds, "Seconds", run.at, {"Step": step})
    for step, count in run.read:
        yield Measurement("BytesRead", float(count), "Bytes", run.at, {"Step": step})


def progress_measurements(began: Sequence[datetime], at: datetime) -> Iterator[Measurement]:
    """Runs that are in progress and how long the oldest has been; measured also where there is none, so that silence
    says that nobody looks.
    """
    longest = max((at - one for one in began), default=timedelta(0))
    yield Measurement("RunsInProgress", float(len(began)), "Count", at, _ALL)
    yield Measurement("LongestRunSeconds", longest.total_seconds(), "Seconds", at, _ALL)


def data_measurements(
    card: Scorecard, ages: Sequence[Freshness], judged_since: datetime | None
) -> Iterator[Measurement]:
    """How good, complete and fresh the data are at the scorecard's moment.

    Partitions that were judged after `judged_since` are measured by themselves, too; all of them where it is None.
    A dataset without any data is neither fresh nor stale: it is counted by itself.
    """

    def figure(name: str, value: float, unit: Unit = "Count", of: Mapping[str, str] = _ALL) -> Measurement:
        return Measurement(name, float(value), unit, card.at, of)

    yield figure("StaleDatasets", sum(one.stale for one in ages))
    yield figure("EmptyDatasets", sum(one.age is None for one in ages))
    yield figure("StaleEvaluations", len(card.stale))
    yield figure("GatesClosed", len(card.failing))
    for one in ages:
        if one.age is not None:
            of = {"Dataset": one.dataset}
            yield figure("DataAge", one.age.total_seconds(), "Seconds", of)
            yield figure("FreshnessUsed", 100 * (one.age / one.promised), "Percent", of)
    for dataset, score in card.scores.items():
        states, of = [state for state in card.partitions if state.verdict.dataset == dataset], {"Dataset": dataset}
        yield figure("QualityScore", 100 * score, "Percent", of)
        yield figure("RowsFailed", sum(state.verdict.rows_failed for state in states), of=of)
        yield figure("GatesClosed", sum(not state.standing.open for state in states), of=of)
    for state in card.partitions:
        verdict, share = state.verdict, state.score
        if share is not None and (judged_since is None or verdict.evaluated_at > judged_since):
            of = {"Dataset": verdict.dataset, "Partition": verdict.partition}
            yield figure("QualityScore", 100 * share, "Percent", of)
            yield figure("RowsFailed", verdict.rows_failed, of=of)
    for rule in card.worst:
        of = {"Dataset": rule.dataset, "Rule": rule.rule_id}
        yield figure("RowsFailed", rule.rows_failed, of=of)
        yield figure("PartitionsFailing", rule.partitions_failing, of=of)


def use_measurements(uses: Sequence[Use], at: datetime) -> Iterator[Measurement]:
    """What the layers take, under the names that S3 has for its buckets."""
    for one in uses:
        of = {"Layer": one.layer}
        yield Measurement("BucketSizeBytes", float(one.bytes), "Bytes", at, of)
        yield Measurement("NumberOfObjects", float(one.objects), "Count", at, of)


def replication_measurements(lags: Mapping[Zone, Lag], at: datetime) -> Iterator[Measurement]:
    """How far the copy is behind, of each zone and of all, also where it is not: under the names that S3 has.

    S3 counts what its rules took up; these are of what a look at both sides found, and of what is older than a rule.
    """
    everything = Lag(
        sum(one.objects for one in lags.values()),
        sum(one.bytes for one in lags.values()),
        max((one.age for one in lags.values()), default=timedelta()),
    )
    for of, one in [(_ALL, everything), *(({"Zone": zone.value}, lag) for zone, lag in lags.items())]:
        yield Measurement("OperationsPendingReplication", float(one.objects), "Count", at, of)
        yield Measurement("BytesPendingReplication", float(one.bytes), "Bytes", at, of)
        yield Measurement("ReplicationLatency", one.age.total_seconds(), "Seconds", at, of)
