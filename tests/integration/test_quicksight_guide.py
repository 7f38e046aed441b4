"""The queries of docs/quicksight.md, translated from Athena's SQL and run over the lake's corrected traffic."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot

from city_platform.aws.catalog import PREFIX
from city_platform.datasets import load_dataset
from city_platform.layers import freshness
from city_platform.local.platform import local_platform
from city_platform.traffic.archive import TrafficArchive, hour_name
from city_platform.traffic.congestion import Thresholds
from city_platform.traffic.registry import generate
from city_platform.traffic.stream import StreamRecord
from tests.conftest import ROOT
from tests.town import StandingClock
from tests.traffic_lake import Measured, measured_frames

TOWN = generate(7, 12, 3)
GUIDE = (ROOT / "docs/quicksight.md").read_text("utf-8")
QUERIES = dict(re.findall(r"^### (\w+)\n.*?^```sql\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL))
DAY_MS = 86_400_000
TABLE = f"{PREFIX}curated.traffic_readings"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yesterday's hour from eight in UTC, a night in the city, and the one from eighteen, when it is full."""
    home = tmp_path_factory.mktemp("home")
    now = datetime.now(UTC)
    platform = local_platform(home, StandingClock(now), threads=1)
    dataset, mistakes = load_dataset(ROOT / "datasets" / "traffic_readings")
    assert dataset is not None, mistakes
    yesterday = (now - timedelta(days=1)).replace(minute=0, second=0, microsecond=0)
    selects = []
    for of_day, vehicles, speed_x10 in ((8, 2, 500), (18, 10, 200)):
        start = int(yesterday.replace(hour=of_day).timestamp() * 1000)
        told = [
            Measured(sensor, start // 1000 + second, start + second * 1000, vehicles, speed_x10)
            for sensor in range(len(TOWN))
            for second in range(0, 40, 10)
        ]
        records = [
            StreamRecord(str(n), "kerb", one, start + 50_000) for n, one in enumerate(measured_frames(told, TOWN))
        ]
        TrafficArchive(platform.lake, TOWN).file(records)
        hour = hour_name(start)
        for layer in freshness.LAYERS[:5]:
            layer.materialize(platform, dataset, hour)
        manifest = platform.lake.require("curated", "traffic_readings", hour)
        files = ", ".join(f"'{path}'" for path in platform.lake.paths(manifest, "parquet"))
        # Athena's timestamps are without a zone, in UTC.
        selects.append(
            f"SELECT * REPLACE (window_start AT TIME ZONE 'UTC' AS window_start), '{hour}' AS hour "
            f"FROM read_parquet([{files}])"
        )
    with duckdb.connect() as connection:
        connection.execute(f"CREATE SCHEMA {PREFIX}curated")
        connection.execute(f"CREATE VIEW {TABLE} AS {' UNION ALL '.join(selects)}")
        yield connection


def rows(lake: duckdb.DuckDBPyConnection, name: str) -> list[dict[str, Any]]:
    (translated,) = sqlglot.transpile(QUERIES[name], read="athena", write="duckdb")
    found = lake.execute(translated)
    columns = [one[0] for one in found.description]
    return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]


def test_the_guide_has_its_queries_and_each_reads_one_table_by_its_partition() -> None:
    assert set(QUERIES) == {"traffic_by_hour", "traffic_week_profile", "traffic_coverage"}
    for query in QUERIES.values():
        assert re.findall(r"city_\w+\.\w+", query) == [TABLE]
        assert re.search(r"WHERE hour >= ", query)


def test_hours_have_sums_and_harmonic_means(lake: duckdb.DuckDBPyConnection) -> None:
    found = rows(lake, "traffic_by_hour")
    assert len(found) == 2 * len(TOWN.zones)
    assert {one["zone"] for one in found} == set(TOWN.zones)
    for one in found:
        night = one["hour_start"].hour == 8
        sensors = TOWN.sensors(TOWN.zone_index[one["zone"]])
        assert one["vehicles"] == (2 if night else 10) * 4 * (sensors.stop - sensors.start)
        assert one["mean_speed_kmh"] == pytest.approx(50 if night else 20)


def test_the_week_has_an_index_against_the_nights_free_flow(lake: duckdb.DuckDBPyConnection) -> None:
    found = rows(lake, "traffic_week_profile")
    assert len(found) == 2 * len(TOWN.zones)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    assert {one["week_day"] for one in found} == {yesterday.isoweekday()}
    for one in found:
        assert one["free_flow_kmh"] == pytest.approx(50)
        assert one["congestion_index"] == pytest.approx(0 if one["hour_of_day"] == 8 else 60)


def test_coverage_tells_how_much_was_heard(lake: duckdb.DuckDBPyConnection) -> None:
    for one in rows(lake, "traffic_coverage"):
        sensors = TOWN.sensors(TOWN.zone_index[one["zone"]])
        assert one["share_of_windows"] == pytest.approx(4 / 360)
        assert one["most_sensors"] == one["fewest_sensors"] == sensors.stop - sensors.start


def test_the_guides_colours_are_the_levels() -> None:
    thresholds = Thresholds()
    named = {level: int(number) for number, level in re.findall(r"from (\d+) (\w+)", GUIDE)}
    assert named == {"slow": thresholds.slow, "congested": thresholds.congested, "severe": thresholds.severe}


def test_links_and_files_of_the_guide_exist() -> None:
    for name in re.findall(r"\]\(([^)#:]+)\)", GUIDE):
        assert Path(ROOT / "docs" / name).exists(), name
