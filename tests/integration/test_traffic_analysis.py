"""What weeks of corrected windows tell, and the advice of now, as tables of the lake and as assets."""

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.traffic import USUAL
from city_platform.datasets import Dataset, load_dataset
from city_platform.deployment.traffic import open_registry, open_state
from city_platform.lake.lake import StagedFile
from city_platform.lake.sink import workspace
from city_platform.layers import traffic_advice, traffic_analysis
from city_platform.layers.platform import Platform
from city_platform.layers.traffic_advice import NothingLive
from city_platform.layers.traffic_analysis import FLOW, SPEED, NoHistory
from city_platform.local.platform import local_platform
from city_platform.traffic import free_flow
from city_platform.traffic.handler import TrafficHandler
from city_platform.traffic.registry import generate
from city_platform.traffic.roads import generate_roads
from city_platform.traffic.windows import PACE
from definitions import build_definitions
from tests.town import ROOT, StandingClock
from tests.traffic import Letters, MemoryState, event, record
from tests.traffic_lake import Measured, measured_frames

CITY = generate(seed=7, sensors=60, zones=6)
ROADS = generate_roads(CITY)
VANCOUVER = "America/Vancouver"
BUSY, CALM, YOUNG = CITY.zones[:3]
DAYS, STEP_S = 10, 300
END = datetime(2026, 6, 11, 7, tzinfo=UTC)  # midnight in Vancouver
JAM = END - timedelta(hours=10)  # two in the afternoon there
SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Step:
    """What a zone's window says of five minutes."""

    at: datetime
    zone: str
    vehicles: int
    pace: int


@pytest.fixture(scope="session")
def readings() -> Dataset:
    dataset, mistakes = load_dataset(ROOT / "datasets" / "traffic_readings")
    assert dataset is not None, mistakes
    return dataset


def steps() -> list[Step]:
    """Ten days of two zones and two of a third; the first one jams in the end."""
    draw = np.random.default_rng(5)
    found = []
    for number in range(DAYS * 86_400 // STEP_S):
        at = END - timedelta(days=DAYS) + timedelta(seconds=number * STEP_S)
        local = at.astimezone(ZoneInfo(VANCOUVER))
        hour = local.hour + local.minute / 60
        rush = math.exp(-((hour - 8.5) ** 2) / 4) + math.exp(-((hour - 17) ** 2) / 6)
        for zone in (BUSY, CALM, YOUNG):
            if zone == YOUNG and at < END - timedelta(days=2):
                continue
            vehicles = int(draw.poisson(20 + (150 if zone == BUSY else 60) * rush))
            speed = round(float(600 - 200 * rush + draw.normal(0, 12)))
            if zone == BUSY and JAM <= at < JAM + timedelta(hours=1):
                speed, vehicles = 60, vehicles // 2
            found.append(Step(at, zone, vehicles, vehicles * PACE // speed))
    return found


def publish(platform: Platform, told: list[Step]) -> None:
    """Publishes the steps as corrected windows, hour by hour."""
    hours: dict[str, list[Step]] = {}
    for one in told:
        hours.setdefault(one.at.strftime("%Y-%m-%d-%H"), []).append(one)
    for hour, some in hours.items():
        table = pa.table(
            {
                "zone": [one.zone for one in some],
                "window_start": pa.array([one.at for one in some], pa.timestamp("us", tz="UTC")),
                "vehicles": [one.vehicles for one in some],
                "pace": [one.pace for one in some],
            }
        )
        with workspace(platform.lake) as folder:
            pq.write_table(table, folder / "part.parquet")
            staged = StagedFile.of(folder / "part.parquet", len(some))
            platform.lake.publish(
                "curated", "traffic_readings", hour, inputs={}, parts={"parquet": [staged]}, counts={"rows": len(some)},
                schema=[],
            )  # fmt: skip


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the corrected hours; copied by whoever writes into it."""
    home = tmp_path_factory.mktemp("history")
    publish(local_platform(home, StandingClock(END), threads=2), steps())
    return home


@pytest.fixture
def platform(history: Path) -> Platform:
    return local_platform(history, StandingClock(END), threads=2)


def percentile(told: list[Step], zone: str) -> tuple[int, int]:
    """Counted the plain way: vehicle by vehicle."""
    night: list[int] = []
    for one in told:
        hour = one.at.astimezone(ZoneInfo(VANCOUVER)).hour
        if one.zone == zone and one.pace and (hour >= 22 or hour < 5):
            night += [round(PACE * one.vehicles / one.pace)] * one.vehicles
    night.sort()
    return night[math.ceil(0.85 * len(night)) - 1], len(night)


def test_free_flow_is_what_85_of_100_vehicles_do_not_exceed_at_night(platform: Platform, readings: Dataset) -> None:
    manifest, found = traffic_analysis.free_flow(platform, readings, ROADS, VANCOUVER)
    by_zone = {one.zone: one for one in found}
    told = steps()
    for zone in (BUSY, CALM, YOUNG):
        assert (by_zone[zone].speed_x10, by_zone[zone].vehicles) == percentile(told, zone)
        assert by_zone[zone].measured
    rest = [by_zone[zone] for zone in CITY.zones[3:]]
    assert [(one.speed_x10, one.measured) for one in rest] == [(one, False) for one in ROADS.free_flow_x10[3:]]
    assert manifest.counts == {"rows": 6, "measured": 3}
    again, _ = traffic_analysis.free_flow(platform, readings, ROADS, VANCOUVER)
    assert again.sequence == manifest.sequence


def test_a_jam_is_unusual_and_says_against_what(platform: Platform, readings: Dataset) -> None:
    manifest, found, judgement = traffic_analysis.anomalies(platform, readings, VANCOUVER)
    jams = [one for one in found if JAM <= one.at < JAM + timedelta(hours=1) and one.zone == BUSY]
    [first, *_] = sorted((one for one in jams if one.measure == SPEED), key=lambda one: one.at)
    assert first.at == JAM
    assert first.score == max(one.score for one in found)
    assert first.value == pytest.approx(6.0, abs=0.1)
    assert first.usual[0] > 30
    assert first.explanation.startswith(f"{BUSY}, 2026-06-10 14:00 PDT: 6.0 km/h, less than the usual ")
    assert first.explanation.endswith("of this hour on working days")
    assert {one.measure for one in found} <= {SPEED, FLOW}
    assert all(one.at >= END - timedelta(days=7) for one in found)
    assert len(found) == len({(one.zone, one.at, one.measure) for one in found})
    assert judgement.compared == 2 * 9 * 2  # two zones that are old enough, blocks and the day, measures
    worst = judgement.changes[0]
    assert (worst.zone, worst.measure, worst.length_s) == (BUSY, SPEED, 3 * 3600)
    tables = {part: pq.read_table(platform.lake.paths(manifest, part)[0]).to_pylist() for part in manifest.parts}
    assert {part: len(rows) for part, rows in tables.items()} == {
        "parquet": len(found),
        "changes": len(judgement.changes),
    }
    [change] = [row for row in tables["changes"] if row["explanation"] == traffic_analysis.change_in_words(worst)]
    assert (change["at"], change["hours"]) == (END - timedelta(hours=12), 3)
    assert change["explanation"].startswith(f"{BUSY}, 2026-06-10 12:00 to 2026-06-10 15:00: speed_kmh ")
    assert {row["zone"] for row in tables["changes"]} == {BUSY}
    assert traffic_analysis.newest_hour(manifest) == END


def test_forecasts_come_with_their_scores_and_those_that_cannot_be_with_the_reason(
    platform: Platform, readings: Dataset
) -> None:
    heard: list[tuple[int, int]] = []
    manifest, found, without = traffic_analysis.forecast(
        platform, readings, VANCOUVER, lambda done, of: heard.append((done, of))
    )
    assert heard == [(1, 3), (2, 3), (3, 3)]
    assert {(one.zone, one.scores.minutes) for one in found} == {
        (zone, minutes) for zone in (BUSY, CALM) for minutes in (15, 30, 60)
    }
    for one in found:
        assert one.made_at == END
        assert 0 <= one.low <= one.expected <= one.high
        assert one.scores.mae < one.scores.seasonal_naive_mae
        assert one.scores.coverage > 0.7
    assert list(without) == [YOUNG]
    assert "days to learn from" in without[YOUNG]
    rows = pq.read_table(platform.lake.paths(manifest, "parquet")[0]).to_pylist()
    assert len(rows) == 6
    assert rows[0]["mae"] == found[0].scores.mae
    assert manifest.counts["zones_without"] == 1


def test_without_a_corrected_hour_there_is_nothing_to_learn_from(tmp_path: Path, readings: Dataset) -> None:
    with pytest.raises(NoHistory, match="no hour of traffic_readings was corrected yet"):
        traffic_analysis.free_flow(local_platform(tmp_path), readings, ROADS, VANCOUVER)


def test_where_the_clocks_go_back_no_time_runs_backwards(tmp_path: Path, readings: Dataset) -> None:
    platform = local_platform(tmp_path, threads=1)
    back = datetime(2026, 11, 1, 9, tzinfo=UTC)  # 02:00 PDT becomes 01:00 PST
    told = [Step(back + timedelta(minutes=5 * n), BUSY, 20, 20 * PACE // 500) for n in range(-12 * 24, 12 * 5)]
    publish(platform, told)
    _, found, _ = traffic_analysis.anomalies(platform, readings, VANCOUVER)
    assert found == []


def drive(state: MemoryState | object, now: datetime, speeds: Mapping[int, int]) -> None:
    """All sensors say something in each of the last six closed windows; in these zones slower."""
    handler = TrafficHandler(CITY, state, Letters(), lambda: 0)  # type: ignore[arg-type] -- either is a TrafficState
    now_ms = int(now.timestamp() * 1000)
    for ago in range(2, 9):
        start = now_ms // 10_000 * 10_000 - ago * 10_000
        told = [
            Measured(sensor, start // 10_000, start + 1, 8, speeds.get(int(zone), 500))
            for sensor, zone in enumerate(CITY.zone)
        ]
        packed = [record(one, n, start + 2_000) for n, one in enumerate(measured_frames(told, CITY))]
        assert handler.handle(event(*packed)).rejected == {}


def test_advice_is_of_the_last_minute_and_marked_in_every_row(tmp_path: Path, readings: Dataset) -> None:
    now = datetime(2026, 6, 1, 12, 0, 5, tzinfo=UTC)
    platform, state = local_platform(tmp_path, StandingClock(now)), MemoryState()
    with pytest.raises(NothingLive, match="2026-06-01 12:00:05 UTC"):
        traffic_advice.advice(platform, readings, state, ROADS)
    drive(state, now, {})
    manifest, ways, proposals = traffic_advice.advice(platform, readings, state, ROADS)
    assert traffic_advice.as_of(manifest) == datetime(2026, 6, 1, 11, 59, 50, tzinfo=UTC)
    assert not ways
    assert proposals
    tables = {part: pq.read_table(platform.lake.paths(manifest, part)[0]).to_pylist() for part in manifest.parts}
    assert {part: len(rows) for part, rows in tables.items()} == {
        "ways_around": 0,
        "green_splits": 2 * len(proposals),
    }
    assert all(row["advisory"] is True for rows in tables.values() for row in rows)


def test_dagster_learns_from_the_lake_and_advises_from_the_state(
    tmp_path: Path, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_REGISTRY", "7:60:6")  # seed, sensors, zones
    home = tmp_path / "home"
    shutil.copytree(history, home)
    shutil.copytree(ROOT / "datasets" / "traffic_readings", tmp_path / "datasets" / "traffic_readings")
    city = build_definitions(home, tmp_path / "datasets")
    assert len(open_registry()) == len(CITY)
    state = open_state(home)
    with dg.instance_for_test() as instance:
        learnt = city.resolve_job_def("analyse_traffic").execute_in_process(run_config=SILENT, instance=instance)
        drive(state, datetime.now(UTC), {})
        advised = city.resolve_job_def("advise_traffic").execute_in_process(run_config=SILENT, instance=instance)
    [check] = learnt.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.severity) == (USUAL, False, dg.AssetCheckSeverity.WARN)
    assert f"{BUSY}, 2026-06-10 14:00 PDT: 6.0 km/h" in str(check.metadata["most unusual"].value)
    assert f"{BUSY}, 2026-06-10 12:00 to 2026-06-10 15:00" in str(check.metadata["changed"].value)
    assert CALM not in str(check.metadata["changed"].value)
    [told] = learnt.asset_materializations_for_node("traffic_readings__forecast")
    assert "| 15 | 2 | " in str(told.metadata["scores"].value)
    assert "# Model card: " in str(told.metadata["model card"].value)
    assert YOUNG in str(told.metadata["why not"].value)
    speeds = free_flow.kept(state, ROADS)
    assert speeds[BUSY] == percentile(steps(), BUSY)[0]
    [told] = advised.asset_materializations_for_node("traffic_readings__advice")
    assert told.metadata["advisory"].value is True
    assert "| True | " in str(told.metadata["shares of green"].value)
