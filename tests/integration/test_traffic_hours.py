"""Hourly sums: made of corrected hours and again when one is, equal to their windows, and read by weeks and months."""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from city_platform.api.composition import open_api
from city_platform.cli.app import app
from city_platform.datasets import Dataset, load_dataset
from city_platform.deployment import open_platform
from city_platform.lake.lake import Lake, NotPublished, StagedFile
from city_platform.layers import CURATED, traffic_hours
from city_platform.layers.platform import Platform
from city_platform.layers.traffic_history import DATASET, ZONE_HOURS, LakeHours
from city_platform.local.platform import local_platform
from city_platform.local.traffic_state import SqliteTrafficState
from city_platform.traffic.history import Resolution, Road, Source, read_history
from city_platform.traffic.hour_sums import HOUR_MS
from city_platform.traffic.state import WINDOW_MS
from tests.integration.conftest import REGION
from tests.live_traffic import ROADS, SAID, count, told
from tests.town import ROOT, StandingClock, one_bucket

MIDNIGHT = 1_779_926_400_000  # 2026-05-28, UTC
DAY = "2026-05-28"
SPEEDS = {f"z-{number:03d}": 500 for number in range(4)}
SUMS = ("readings", "active", "vehicles", "vehicle_speed", "pace", "occupancy", "occupancy_readings", "index_sum",
        "index_readings", "max_vehicles")  # fmt: skip


@pytest.fixture(scope="module")
def readings() -> Dataset:
    dataset, mistakes = load_dataset(ROOT / "datasets" / "traffic_readings")
    assert dataset is not None, mistakes
    return dataset


@pytest.fixture(params=["local", "aws"])
def lake_of_both(request: pytest.FixtureRequest, tmp_path: Path, clock: StandingClock) -> Platform:
    if request.param == "local":
        return local_platform(tmp_path, clock, threads=1)
    environment = request.getfixturevalue("aws_environment")
    bucket = f"hours-{tmp_path.name.replace('_', '-')[:40]}"
    boto3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    topic = {"CITY_PLATFORM_ALERTS_TOPIC": "arn:aws:sns:ca-central-1:123456789012:alerts"}
    return open_platform(
        tmp_path, {**environment, "CITY_PLATFORM_DEPLOYMENT": "aws", **one_bucket(bucket), **topic}, clock
    )


def correct(lake: Lake, hour: int, vehicles: Mapping[tuple[str, int], int]) -> str:
    """Publishes the hour's windows, all at 50 km/h: vehicles by zone and place within the hour; the version."""
    rows: list[dict[str, Any]] = [
        {
            "zone": zone,
            "window_start": datetime.fromtimestamp((MIDNIGHT + hour * HOUR_MS + place * WINDOW_MS) / 1000, UTC),
            **dict.fromkeys(SUMS, some + place),
            "active": 15,
            "vehicles": some,
            "pace": some * 20_000,
            **dict.fromkeys(("max_speed_x10", "max_occupancy_x1000", "max_index_x1000"), None if place % 2 else some),
        }
        for (zone, place), some in sorted(vehicles.items())
    ]
    schema = pa.schema([("zone", pa.string()), ("window_start", pa.timestamp("us", tz="UTC"))] + [
        (name, pa.int64()) for name in (*SUMS, "max_speed_x10", "max_occupancy_x1000", "max_index_x1000")
    ])  # fmt: skip
    file = lake.store.scratch() / "part-00000.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema), file)
    parts = {"parquet": [StagedFile.of(file, len(rows))]}
    counts = {"rows": len(rows)}
    return lake.publish(CURATED, DATASET, partition(hour), inputs={}, parts=parts, counts=counts, schema=[]).version


def partition(hour: int) -> str:
    return (datetime.fromtimestamp(MIDNIGHT / 1000, UTC) + timedelta(hours=hour)).strftime("%Y-%m-%d-%H")


def rows_of(platform: Platform) -> list[dict[str, Any]]:
    manifest = platform.lake.require(ZONE_HOURS, DATASET, DAY)
    rows: list[dict[str, Any]] = pq.read_table(platform.lake.paths(manifest, "parquet"), partitioning=None).to_pylist()
    return rows


def test_a_day_is_summed_again_where_an_hour_was_corrected_again_and_equals_its_windows(
    lake_of_both: Platform, readings: Dataset
) -> None:
    platform = lake_of_both
    with pytest.raises(NotPublished, match="curated"):
        traffic_hours.materialize(platform, readings, DAY, ROADS, SPEEDS)
    assert traffic_hours.outdated(platform, readings, DAY) is None
    busy = {("z-001", place): 9 for place in range(6)}
    versions = [
        correct(platform.lake, 0, busy),
        correct(platform.lake, 5, {("z-001", 3): 7, ("z-002", 359): 2}),
        correct(platform.lake, 6, {}),
    ]
    assert set(traffic_hours.outdated(platform, readings, DAY) or ()) == {*map(partition, (0, 5, 6)), "revision"}
    first = traffic_hours.materialize(platform, readings, DAY, ROADS, SPEEDS)
    assert (first.counts, traffic_hours.outdated(platform, readings, DAY)) == ({"rows": 3, "hours": 3}, None)
    assert list(traffic_hours.differing(platform, readings, DAY)) == []
    (whole, one, _) = rows_of(platform)
    assert (whole["revision"], whole["vehicles"], whole["readings"], whole["windows"]) == (versions[0], 54, 69, 6)
    assert (whole["normal_minutes"], whole["unknown_minutes"], whole["speed_kmh"]) == (1, 59, 50.0)
    assert (one["vehicles"], one["max_speed_x10"], one["unknown_minutes"]) == (7, None, 60)

    again = correct(platform.lake, 5, {("z-001", 3): 7, ("z-001", 4): 30, ("z-002", 359): 2})
    assert traffic_hours.outdated(platform, readings, DAY) is not None
    slower = dict.fromkeys(SPEEDS, 2_000)  # would make the other hour's minute a severe one
    traffic_hours.materialize(platform, readings, DAY, ROADS, slower)
    assert list(traffic_hours.differing(platform, readings, DAY)) == []
    kept, changed, _ = rows_of(platform)
    assert kept == whole, "hours that were not corrected again are taken over"
    assert (changed["revision"], changed["vehicles"]) == (again, 37)

    now = MIDNIGHT + 9 * 24 * HOUR_MS
    history = read_history(
        "z-001", MIDNIGHT, MIDNIGHT + 24 * HOUR_MS, Resolution.HOUR, state=None, hours=LakeHours(platform), now_ms=now,
        road=Road(500, 15), timezone=ZoneInfo("America/Vancouver"),
    )  # fmt: skip
    assert [(one.start_ms - MIDNIGHT, one.figures.vehicles, one.revision) for one in history.steps] == [
        (0, 54, versions[0]),
        (5 * HOUR_MS, 37, again),
    ]
    assert history.sources[MIDNIGHT + 6 * HOUR_MS] is Source.LAKE
    assert history.sources[MIDNIGHT + 7 * HOUR_MS] is Source.GONE


def tampered(platform: Platform, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Publishes the day's sums once more, changed."""
    manifest = platform.lake.require(ZONE_HOURS, DATASET, DAY)
    table = pq.read_table(platform.lake.paths(manifest, "parquet"), partitioning=None)
    rows = table.to_pylist()
    change(rows)
    file = platform.lake.store.scratch() / "parquet.parquet"
    pq.write_table(pa.Table.from_pylist(rows, table.schema), file)
    platform.lake.publish(
        ZONE_HOURS, DATASET, DAY, inputs=manifest.inputs, parts={"parquet": [StagedFile.of(file, len(rows))]},
        counts=manifest.counts, schema=[],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda rows: rows[0].update(pace=rows[0]["pace"] + 1), [("z-001", partition(0))]),
        (lambda rows: rows.pop(1), [("z-002", partition(0))]),
        (lambda rows: rows.append(dict(rows[1])), [("z-002", partition(0))]),
        (lambda rows: rows[0].update(max_speed_x10=None), [("z-001", partition(0))]),
        (lambda rows: rows[0].update(revision="0" * 16), [("z-001", partition(0))]),
        (
            lambda rows: rows[0].update(hour_start=rows[0]["hour_start"] + timedelta(hours=3)),
            [("z-001", partition(0)), ("z-001", "2026-05-28 03:00:00+00")],
        ),
    ],
)
def test_a_sum_that_is_not_that_of_its_windows_is_found(
    platform: Platform,
    readings: Dataset,
    change: Callable[[list[dict[str, Any]]], None],
    found: list[tuple[str, str]],
) -> None:
    correct(platform.lake, 0, {("z-001", 0): 5, ("z-002", 1): 6})
    traffic_hours.materialize(platform, readings, DAY, ROADS, SPEEDS)
    tampered(platform, change)
    assert list(traffic_hours.differing(platform, readings, DAY)) == found


def test_weeks_and_months_are_shown_answered_and_written_alike(
    home: Path, readings: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums for the past, the live windows for what goes on; as page, JSON, CSV, and from the command."""
    clock = StandingClock(datetime.fromtimestamp((MIDNIGHT + 72 * HOUR_MS + 20_000) / 1000, UTC))
    platform = local_platform(home, clock, threads=1)
    for hour in range(0, 24, 3):
        correct(platform.lake, hour, {("z-001", place): 9 for place in range(6)})
    traffic_hours.materialize(platform, readings, DAY, ROADS, SPEEDS)
    count(SqliteTrafficState(home / "traffic" / "state.sqlite"), told(MIDNIGHT + 72 * HOUR_MS))
    client = TestClient(open_api(home, SAID, rate_limit=0, clock=clock))

    week = client.get("/traffic/zones/z-001/week")
    assert week.status_code == 200
    page = week.text
    assert re.search(r'<svg class="chart"[^>]*aria-label="Mean speed by the hour: ', page)
    assert page.count("lake, corrected") == 8
    assert page.count("<span>live windows</span>") == 1
    assert "Thu 2026-05-28 08:00 PDT" in page
    assert "<script" not in page
    assert "http-equiv" not in page
    assert '<li><a href="/traffic/zones/z-001/week" aria-current=page>The last week</a></li>' in page
    month = client.get("/traffic/zones/z-001/month").text
    # The city's days: five of the hours were on the evening before, by its clock.
    vehicles = re.findall(r'2026-05-(\d\d)</th>.*?data-of="Vehicles"[^>]*><span>([\d,]+)', month)
    assert vehicles[-2:] == [("28", str(54 * 5)), ("27", str(54 * 3))]
    assert client.get("/traffic/zones/z-001/year").status_code == 400
    assert client.get("/traffic/zones/z-999/week").status_code == 404

    asked = "from=2026-05-28T00:00:00Z&to=2026-05-29T00:00:00Z&resolution=hour"
    answer = client.get(f"/traffic/v1/zones/z-001/history?{asked}").json()
    assert [one["vehicles"] for one in answer["steps"]] == [54] * 8
    assert answer["steps"][0]["minutes"] == {"normal": 1, "slow": 0, "congested": 0, "severe": 0, "unknown": 59}
    written = client.get(f"/traffic/v1/zones/z-001/history?{asked}&format=csv").text

    for name, value in SAID.items():
        monkeypatch.setenv(name, value)
    command = ["traffic", "history", "z-001", "--from", "2026-05-28T00:00Z", "--to", "2026-05-29T00:00Z"]
    by_command = CliRunner().invoke(app, [*command, "--csv", "--home", str(home)])
    assert by_command.exit_code == 0, by_command.output
    assert by_command.stdout_bytes == written.encode()
    (head, *_) = csv.reader(io.StringIO(written))
    assert {"zone", "start", "normal_minutes", "revision"} <= set(head)
    machine = json.loads(CliRunner().invoke(app, [*command, "--json", "--home", str(home)]).stdout)
    assert machine["steps"] == answer["steps"]
    people = CliRunner().invoke(app, [*command, "--home", str(home)]).stdout
    assert "2026-05-27 17:00:00 PDT" in people
    for wrong, said in (
        (["--resolution", "week"], "--resolution is one of"),
        (["--from", "2020-01-01"], "the range may last 1488 hours"),
        (["--csv", "--json"], "not both"),
        (["--to", "soon"], "--to: write a day"),
    ):
        refused = CliRunner().invoke(app, [*command, *wrong, "--home", str(home)])
        assert (refused.exit_code, said in refused.output) == (2, True), refused.output


def test_the_largest_history_fits_an_answer_through_a_function() -> None:
    """API Gateway and Lambda carry 6 MB of which binary is a third more: no history needs another way."""
    from city_platform.api.traffic.documents import history_csv, history_of
    from city_platform.traffic.congestion import Figures
    from city_platform.traffic.history import MOST_STEPS, History, Step
    from city_platform.traffic.hour_sums import LevelMinutes

    steps = [
        Step(
            start_ms=MIDNIGHT + place * HOUR_MS, end_ms=MIDNIGHT + (place + 1) * HOUR_MS, source=Source.LAKE,
            windows=360, readings=10**6, figures=Figures(10**7, 10**11, 36_000, 36_001, 533), occupancy=0.123456,
            minutes=LevelMinutes(10, 10, 10, 10, 20), revision="0123456789abcdef",
        )
        for place in range(MOST_STEPS)
    ]  # fmt: skip
    sources = {MIDNIGHT + place * HOUR_MS: (Source.LAKE, Source.STATE)[place % 2] for place in range(184 * 24)}
    history = History("z-001", MIDNIGHT, MIDNIGHT + MOST_STEPS * HOUR_MS, Resolution.HOUR, 533, steps, sources)
    assert len(history_csv(history)) < 500_000
    assert len(json.dumps(history_of(history))) < 1_500_000
