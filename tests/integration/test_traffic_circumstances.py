"""Traffic beside the city's other data: circumstances of an hour, explanations of weeks, as tables and as assets."""

import shutil
from collections.abc import Sequence
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pyarrow.parquet as pq
import pytest

from assets.traffic_circumstances import ALL_LOOKED_AT
from city_platform.datasets import Dataset, load_dataset
from city_platform.incidents.export import export_once
from city_platform.incidents.model import Channel, Incident, Status, Visibility
from city_platform.layers import cleaned, quality_checked, raw
from city_platform.layers import traffic_circumstances as layer
from city_platform.layers.landing import land
from city_platform.layers.platform import Platform
from city_platform.local.platform import local_platform
from city_platform.traffic.windows import PACE
from definitions import build_definitions
from tests.incident_stream import Town, following
from tests.incidents import NOW, incident
from tests.integration.test_traffic_analysis import CITY, ROADS, SILENT, VANCOUVER, Step, publish
from tests.town import ROOT, StandingClock

HOUR = NOW.replace(minute=0)  # nine in the morning in Vancouver, a Monday
PARTITION = HOUR.strftime("%Y-%m-%d-%H")
DUG, CALM, OTHER = CITY.zones[:3]
NAMES = ("traffic_readings", "incidents", "building_permits")


@pytest.fixture(scope="module")
def datasets() -> Sequence[Dataset]:
    found = []
    for name in NAMES:
        dataset, mistakes = load_dataset(ROOT / "datasets" / name)
        assert dataset is not None, mistakes
        found.append(dataset)
    return found


def middle(zone: str) -> tuple[float, float]:
    at = CITY.zone_index[zone]
    return float(ROADS.south[at]) + ROADS.height / 2, float(ROADS.west[at]) + ROADS.width / 2


def at(zone: str) -> dict[str, float]:
    lat, long = middle(zone)
    return {"lat": lat, "long": long}


def windows(days: int) -> list[Step]:
    """Nine in the morning of all zones on working days; on the last one two zones stand, and one is slow as ever.

    The clocks go forward the night before the last one.
    """
    found = []
    local = HOUR.astimezone(ZoneInfo(VANCOUVER))
    for back in range(days):
        begins = (local - timedelta(days=back)).astimezone(UTC)
        if (local - timedelta(days=back)).weekday() >= 5:
            continue
        for zone in CITY.zones:
            free = int(ROADS.free_flow_x10[CITY.zone_index[zone]])
            speed = (
                free * 28 // 100 if back == 0 and zone in {DUG, CALM} else free * 45 // 100 if zone == OTHER else free
            )
            found += [Step(begins + timedelta(minutes=minute), zone, 30, 30 * PACE // speed) for minute in (0, 20, 40)]
    return found


def permits(path: Path) -> Path:
    lat, long = middle(DUG)
    header = (
        "PermitNumber;PermitNumberCreatedDate;IssueDate;PermitElapsedDays;ProjectValue;TypeOfWork;Address;"
        "ProjectDescription;PermitCategory;Applicant;ApplicantAddress;PropertyUse;SpecificUseCategory;"
        "BuildingContractor;BuildingContractorAddress;IssueYear;GeoLocalArea;Geom;YearMonth;geo_point_2d"
    )
    rows = [
        f"BP-2026-0000{number};2026-01-02;{issued};;1000.0;{work};1 Some Street;;;;;;;;;2026;;;{issued[:7]};{point}"
        for number, (issued, work, point) in enumerate(
            [
                ("2026-02-25", "Demolition / Deconstruction", f"{lat}, {long}"),
                ("2026-03-20", "New Building", f"{lat}, {long}"),  # not issued yet
                ("2026-01-02", "New Building", f"{lat}, {long}"),  # too long ago
                ("2026-03-01", "New Building", ""),
            ]
        )
    ]
    path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, datasets: Sequence[Dataset]) -> Path:
    """A home with corrected hours, incidents and permits; copied by whoever writes into it."""
    folder = tmp_path_factory.mktemp("circumstances")
    town = Town.at(folder)
    _, incidents, building = datasets
    hour = timedelta(hours=1)

    def write(minutes: float, **more: Any) -> Incident:
        return town.write(incident(minutes, **more))

    write(-60, category="traffic_disruption", status=Status.IN_PROGRESS, **at(DUG))
    write(-90, category="water_sewer", visibility=Visibility.PRIVATE, **at(DUG))
    write(-200 * 60, category="traffic_disruption", public_ref="VAN-2026-LASTNG", **at(DUG))  # for days, and open
    write(-200 * 60, category="graffiti", **at(DUG))  # nobody's candidate any more
    write(-30, category="traffic_disruption", channel=Channel.SENSOR, **at(DUG))  # traffic itself
    write(60, category="water_sewer", **at(DUG))  # later
    before = write(-300, category="noise", **at(DUG))
    ended = before.updated_at + 2 * hour
    town.write(following(before, status=Status.RESOLVED, updated_at=ended, closed_at=ended), before)  # over before
    while town.mapping().deliver():
        pass
    export_once(town.path.export, "one")
    publish(local_platform(folder, StandingClock(NOW), threads=2), windows(20))
    platform = local_platform(folder, StandingClock(NOW), threads=2)
    for day in sorted({(NOW - timedelta(minutes=one)).date().isoformat() for one in (0, 200 * 60)}):
        for each in (raw, cleaned, quality_checked):
            each.materialize(platform, incidents, day)
    land(platform, building, permits(folder / "issued-building-permits.csv"))
    for each in (raw, cleaned, quality_checked):
        each.materialize(platform, building, "2026")
    return folder


def rows(platform: Platform, name: str, partition: str, part: str) -> list[dict[str, Any]]:
    manifest = platform.lake.require(name, "traffic_readings", partition)
    found: list[dict[str, Any]] = pq.read_table(platform.lake.paths(manifest, part), partitioning=None).to_pylist()
    return found


def test_an_hours_zones_stand_beside_what_was_known_near_them(
    home: Path, tmp_path: Path, datasets: Sequence[Dataset]
) -> None:
    shutil.copytree(home, tmp_path / "home")
    platform = local_platform(tmp_path / "home", StandingClock(NOW), threads=2)
    readings, *sources = datasets
    manifest = layer.circumstances(platform, readings, PARTITION, ROADS, sources, {"traffic_disruption"})
    zones = {one["zone"]: one for one in rows(platform, layer.CIRCUMSTANCES, PARTITION, "parquet")}
    assert set(zones) == set(CITY.zones)
    assert (zones[DUG]["level"], zones[DUG]["vehicles"], zones[DUG]["index"]) == (
        "severe",
        90,
        pytest.approx(72, abs=1),
    )
    assert zones[OTHER]["level"] == "congested"
    near = rows(platform, layer.CIRCUMSTANCES, PARTITION, layer.CANDIDATES)
    here = [(one["kind"], one["name"] != "", one["metres"]) for one in near if one["zone"] == DUG]
    assert sorted(here) == [
        ("a building permit for demolition / deconstruction", False, 0),
        ("traffic disruption", True, 0),
        ("traffic disruption", True, 0),
    ]
    assert "VAN-2026-LASTNG" in {one["name"] for one in near}
    assert zones[DUG]["candidates"] == 3
    assert manifest.details["not looked at"] == {}
    # The same inputs, the same bytes.
    again = layer.circumstances(platform, readings, PARTITION, ROADS, sources, {"traffic_disruption"})
    assert again.sha256 == manifest.sha256


def test_without_incidents_or_permits_nothing_is_known_and_that_is_said(
    tmp_path: Path, datasets: Sequence[Dataset]
) -> None:
    platform = local_platform(tmp_path, StandingClock(NOW), threads=2)
    publish(platform, windows(1))
    readings, *sources = datasets
    manifest = layer.circumstances(platform, readings, PARTITION, ROADS, sources[:1], ())
    assert set(manifest.details["not looked at"]) == {"incidents", "building_permits"}
    assert manifest.counts["candidates"] == 0
    empty = local_platform(tmp_path / "empty", StandingClock(NOW), threads=2)
    nothing, found, lifted = layer.explanations(empty, readings, VANCOUVER)
    assert (nothing.counts["hours"], found, lifted) == (0, [], [])


def test_dagster_makes_circumstances_by_the_hour_and_explains_them(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_REGISTRY", "7:60:6")
    shutil.copytree(home, tmp_path / "home")
    for name in NAMES:
        shutil.copytree(ROOT / "datasets" / name, tmp_path / "datasets" / name)
    city = build_definitions(tmp_path / "home", tmp_path / "datasets")
    circumstances = dg.AssetKey(["traffic_readings", layer.CIRCUMSTANCES])
    explanations = dg.AssetKey(["traffic_readings", layer.EXPLANATIONS])
    partitions = sorted({one.at.strftime("%Y-%m-%d-%H") for one in windows(20)})
    with dg.instance_for_test() as instance:
        for partition in partitions:
            made = city.resolve_job_def("materialize_traffic_readings").execute_in_process(
                run_config=SILENT, instance=instance, partition_key=partition, asset_selection=[circumstances]
            )
        [check] = made.get_asset_check_evaluations()
        assert (check.check_name, check.passed) == (ALL_LOOKED_AT, True)
        told = city.resolve_job_def("analyse_traffic").execute_in_process(
            run_config=SILENT, instance=instance, asset_selection=[explanations]
        )
    [made_of] = told.asset_materializations_for_node("traffic_readings__explanations")
    said = str(made_of.metadata["unusual hours"].value)
    local = HOUR.astimezone(ZoneInfo(VANCOUVER))
    assert f"{DUG}, the hour of {local:%Y-%m-%d %H:%M %Z}: index 72, usually 0. Known near it" in said
    assert "a building permit for demolition" in said
    assert OTHER not in said  # as bad as ever
    assert "too few to say" in str(made_of.metadata["how much oftener"].value)
