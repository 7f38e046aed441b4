"""What is measured of runs and of data, from facts whose figures can be counted by hand; and the local file of them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from city_platform.aws.metrics import CloudWatchMetrics
from city_platform.aws.settings import IncompleteSettings
from city_platform.deployment.metrics import open_metrics
from city_platform.governance.audit import Head
from city_platform.governance.metrics import (
    DATA,
    RUNS,
    Freshness,
    RunFacts,
    RunOutcome,
    Use,
    data_measurements,
    progress_measurements,
    run_measurements,
    use_measurements,
)
from city_platform.governance.scorecard import scorecard
from city_platform.local.metrics import FileMetrics
from city_platform.local.rotated_file import RotatedFile
from city_platform.ports import Measurement, MetricsUnavailable
from tests.unit.test_scorecard import FAIL, OTHER, state
from tests.verdicts import NOW, RESULT

AT = datetime(2026, 11, 27, 6, tzinfo=UTC)
RUN = RunFacts(
    "govern_trees",
    RunOutcome.FAILED,
    AT,
    12.5,
    2,
    40,
    900,
    3,
    [("raw", 1.5), ("cleaned", 2.0)],
    [("cleaned", 700), ("curated", 50)],
)


def told(measurements: object) -> dict[tuple[str, ...], float]:
    """Value by name and dimensions."""
    return {(one.name, *one.dimensions.values()): one.value for one in measurements}  # type: ignore[attr-defined]


def test_a_run_counts_once_for_all_jobs_and_once_for_its_own() -> None:
    found = told(run_measurements(RUN))
    assert found["RunsFailed",] == found["RunsFailed", "govern_trees"] == 1
    assert found["RunsSucceeded",] == found["RunsCancelled", "govern_trees"] == 0
    assert found["RunSeconds",] == 12.5
    assert (found["StepRetries",], found["RowsWritten",], found["BytesWritten",]) == (2, 40, 900)
    assert found["ChecksFailed", "govern_trees"] == 3
    assert found["BytesRead",] == found["BytesRead", "govern_trees"] == 750
    assert (found["BytesRead", "cleaned"], found["BytesRead", "curated"]) == (700, 50)
    assert (found["StepSeconds", "raw"], found["StepSeconds", "cleaned"]) == (1.5, 2.0)


def test_a_run_that_never_began_has_no_duration() -> None:
    from dataclasses import replace

    assert "RunSeconds" not in {one.name for one in run_measurements(replace(RUN, seconds=None))}


def test_runs_in_progress_are_counted_also_where_there_are_none() -> None:
    began = [AT - timedelta(minutes=minutes) for minutes in (1, 90, 5)]
    assert told(progress_measurements(began, AT)) == {("RunsInProgress",): 3, ("LongestRunSeconds",): 5400}
    assert told(progress_measurements([], AT)) == {("RunsInProgress",): 0, ("LongestRunSeconds",): 0}


def test_data_are_measured_by_dataset_partition_and_worst_rule() -> None:
    states = [state("2024", (FAIL, OTHER)), state("2023", (RESULT, OTHER))]  # judged a day before NOW
    card = scorecard(NOW, states, Head(0, ""), ())
    ages = [
        Freshness("business_licences", timedelta(hours=27), timedelta(hours=36)),
        Freshness("parking_tickets", timedelta(days=101), timedelta(days=100)),
        Freshness("police_incidents", timedelta(days=11), timedelta(days=10)),
        Freshness("trees", None, timedelta(days=1)),
    ]
    found = told(data_measurements(card, ages, None))
    assert (found["StaleDatasets",], found["EmptyDatasets",], found["StaleEvaluations",]) == (2, 1, 0)
    assert (found["GatesClosed",], found["GatesClosed", "business_licences"]) == (1, 1)
    assert found["DataAge", "business_licences"] == 27 * 3600
    assert found["FreshnessUsed", "business_licences"] == 75
    assert ("DataAge", "trees") not in found
    assert found["QualityScore", "business_licences"] == 75
    assert (found["QualityScore", "business_licences", "2024"], found["RowsFailed", "business_licences", "2024"]) == (
        50,
        1,
    )
    assert found["RowsFailed", "business_licences", "completeness_status"] == 6
    assert found["PartitionsFailing", "business_licences", "completeness_status"] == 1


def test_a_partition_is_measured_by_itself_when_it_was_judged() -> None:
    card = scorecard(NOW, [state("2024", (FAIL, OTHER))], Head(0, ""), ())
    judged = NOW - timedelta(days=1)
    partition = ("QualityScore", "business_licences", "2024")
    assert partition in told(data_measurements(card, [], judged - timedelta(seconds=1)))
    assert partition not in told(data_measurements(card, [], judged))


def test_layers_are_measured_under_the_names_of_buckets() -> None:
    found = told(use_measurements([Use("raw", 3, 4096)], AT))
    assert found == {("BucketSizeBytes", "raw"): 4096, ("NumberOfObjects", "raw"): 3}


def read(path: Path) -> list[tuple[str, str, float, int, dict[str, str]]]:
    """Every metric that CloudWatch would make of the file: namespace, name, value, ms, dimensions."""
    found = []
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        said = json.loads(line)
        for directive in said["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                of = {name: said[name] for name in names}
                found += [
                    (directive["Namespace"], metric["Name"], said[metric["Name"]], said["_aws"]["Timestamp"], of)
                    for metric in directive["Metrics"]
                ]
    return found


MEASUREMENTS = st.lists(
    st.builds(
        Measurement,
        name=st.sampled_from(["RunSeconds", "RunsFailed"]),
        value=st.floats(0, 1e12),
        unit=st.just("Count"),
        at=st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 1, 0, 0, 2), timezones=st.just(UTC)).map(  # noqa: DTZ001 - hypothesis wants naive bounds
            lambda at: at.replace(microsecond=0)
        ),
        dimensions=st.dictionaries(st.sampled_from(["Job", "Step"]), st.text(min_size=1, max_size=3), max_size=2),
    ),
    max_size=12,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(measurements=MEASUREMENTS)
def test_every_figure_can_be_read_back_from_the_lines(measurements: list[Measurement], tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"")
    FileMetrics(RotatedFile(path)).put(RUNS, measurements)
    expected = [
        (RUNS, one.name, one.value, round(one.at.timestamp() * 1000), {"Environment": "local", **one.dimensions})
        for one in measurements
    ]

    def in_order(one: tuple[str, str, float, int, dict[str, str]]) -> object:
        return *one[:4], sorted(one[4].items())

    assert sorted(read(path), key=in_order) == sorted(expected, key=in_order)


def test_a_file_that_cannot_be_written_is_worth_another_attempt(tmp_path: Path) -> None:
    folder = tmp_path / "metrics.jsonl"
    folder.mkdir()
    with pytest.raises(MetricsUnavailable, match=r"metrics\.jsonl cannot be written"):
        FileMetrics(RotatedFile(folder)).put(DATA, [Measurement("StaleDatasets", 0, "Count", AT, {})])


def test_a_deployment_on_aws_says_which_it_is(tmp_path: Path) -> None:
    assert isinstance(open_metrics(tmp_path, {}), FileMetrics)
    aws = {"CITY_PLATFORM_DEPLOYMENT": "aws"}
    with pytest.raises(IncompleteSettings, match="CITY_PLATFORM_ENVIRONMENT"):
        open_metrics(tmp_path, aws)
    assert isinstance(open_metrics(tmp_path, aws | {"CITY_PLATFORM_ENVIRONMENT": "dev"}), CloudWatchMetrics)
