"""The queries of Athena and QuickSight, run over made-up rows and compared with plain Python."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.datasets import Dataset, load_dataset
from city_platform.deployment.analytics.athena import (
    Query,
    dashboard_queries,
    over_tables,
    questions,
    readable,
    warehouse,
)
from city_platform.deployment.analytics.quicksight import column_type
from city_platform.errors import InvalidDefinition
from tests.conftest import ROOT
from tests.templates import FOLDER, template

Row = Mapping[str, Any]


def _dataset(name: str) -> Dataset:
    dataset, mistakes = load_dataset(ROOT / "datasets" / name)
    assert dataset is not None, mistakes
    return dataset


INCIDENTS, TRAFFIC, LICENCES = map(_dataset, ("incidents", "traffic_readings", "business_licences"))
SHOWN = {
    f"{one.dataset}/{one.name}": one
    for one in (
        *questions([INCIDENTS, TRAFFIC, LICENCES]),
        *dashboard_queries(FOLDER / "quicksight", [INCIDENTS, TRAFFIC, LICENCES]),
    )
}
STATUSES = ("reported", "in_progress", "resolved", "duplicate")


@contextmanager
def filled(dataset: Dataset, layer: str, rows: Sequence[Row]) -> Iterator[duckdb.DuckDBPyConnection]:
    with warehouse([dataset]) as connection:
        for row in rows:
            names = ", ".join(f'"{name}"' for name in row)
            connection.execute(
                f"INSERT INTO city_{layer}.{dataset.name} ({names}) VALUES ({', '.join('?' * len(row))})",
                list(row.values()),
            )
        yield connection


def asked(connection: duckdb.DuckDBPyConnection, query: Query) -> list[tuple[Any, ...]]:
    """The answer to what Athena is sent, read back into DuckDB's words; the same as that of the query itself."""
    back = sqlglot.transpile(query.athena, read="athena", write="duckdb")[0]
    answer = connection.execute(back).fetchall()
    assert answer == connection.execute(query.sql).fetchall()
    return answer


CHANGES = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.integers(1, 4),
        st.sampled_from(("north", "south")),
        st.sampled_from(("pothole", "noise")),
        st.sampled_from(STATUSES),
    ),
    max_size=12,
    unique_by=lambda one: one[:2],
)


@settings(max_examples=12)
@given(CHANGES)
def test_incidents_are_counted_once_by_their_newest_state(changes: list[tuple[int, int, str, str, str]]) -> None:
    rows = [
        {
            "incident_id": str(incident),
            "version": version,
            "region": region,
            "district": region,
            "category": category,
            "status": status,
            "changed_at": datetime(2026, 3, version, tzinfo=UTC),
            "day": f"2026-03-0{version}",
        }
        for incident, version, region, category, status in changes
    ]
    newest = {row["incident_id"]: row for row in sorted(rows, key=lambda row: int(str(row["version"])))}
    by_all = Counter(tuple(row[c] for c in ("region", "district", "category", "status")) for row in newest.values())
    with filled(INCIDENTS, "encrypted", rows) as connection:
        found = asked(connection, SHOWN["incidents/by_place_and_kind"])
        assert found == sorted((*key, count) for key, count in by_all.items())
        for name, column in (("by_region", "region"), ("by_district", "district"), ("by_category", "category")):
            counted = {row[0]: row[1] for row in asked(connection, SHOWN[f"incidents/{name}"])}
            assert counted == Counter(row[column] for row in newest.values())


def test_the_days_of_incidents_add_up() -> None:
    row = {"Region": "north", "District": "a", "Severity": "low", "Changes": 9, "Reopened": 1}
    rows = [
        {**row, "Category": kind, "Status": status, "Incidents": 3, "Reported": 2, "Closed": 1, "Fixed": 1, "day": day}
        for day in ("2026-03-01", "2026-03-02")
        for kind in ("noise", "pothole")
        for status in STATUSES[:2]
    ]
    with filled(INCIDENTS, "curated", rows) as connection:
        found = asked(connection, SHOWN["incidents/by_day"])
    assert [(str(one[0]), one[3], *one[4:]) for one in found] == [
        (day, kind, 6, 4, 2, 2, 2) for day in ("2026-03-01", "2026-03-02") for kind in ("noise", "pothole")
    ]


def test_traffic_of_the_last_four_weeks_by_hour() -> None:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)

    def window(hours_ago: int, vehicles: int, pace: int) -> Row:
        at = now - timedelta(hours=hours_ago)
        return {
            "zone": "z-001",
            "window_start": at + timedelta(seconds=10 * vehicles),
            "vehicles": vehicles,
            "pace": pace,
            "readings": 1,
            "hour": at.strftime("%Y-%m-%d-%H"),
        }

    # At 50 km/h a vehicle adds 20,000 to the sum, at 25 km/h 40,000: the mean over both is the harmonic one.
    rows = [window(2, 1, 20_000), window(2, 3, 120_000), window(1, 0, 0), window(24 * 30, 5, 1)]
    with filled(TRAFFIC, "curated", rows) as connection:
        found = asked(connection, SHOWN["traffic_readings/by_hour"])
    assert [one[2:] for one in found] == [
        (4, pytest.approx(4 / (1 / 50 + 3 / 25)), 140_000, 2),
        (0, None, 0, 1),
    ]
    assert [one[0] for one in found] == [now - timedelta(hours=2), now - timedelta(hours=1)]


def test_the_line_chart_of_licences() -> None:
    rows = [
        {"FileYear": 2023, "Status": "Issued", "NumberofEmployees": 7, "FeePaid": "10.50", "year": "2023"},
        {"FileYear": 2023, "Status": "Issued", "NumberofEmployees": 40, "FeePaid": None, "year": "2023"},
        {"FileYear": 2024, "Status": "Issued", "NumberofEmployees": 3, "FeePaid": "2.25", "year": "2024"},
        {"FileYear": 2024, "Status": "Pending", "NumberofEmployees": 99, "FeePaid": "9", "year": "2024"},
    ]
    query = SHOWN["business_licences/employees_and_fees"]
    with filled(LICENCES, "encrypted", rows) as connection:
        found = asked(connection, query)
    assert [(year, most, str(fee), *counts) for year, most, fee, *counts in found] == [
        (2023, 40, "10.50", 2, 1),
        (2024, 3, "2.25", 1, 1),
    ]
    assert query.charted == ("Most Employees", "Average Fee Paid")
    assert [column_type(kind) for kind in query.columns.values()] == ["INTEGER"] * 2 + ["DECIMAL"] + ["INTEGER"] * 2


VALUES = {"VARCHAR": "Issued", "DATE": "2026-03-01", "BOOLEAN": True, "DOUBLE": 1.5}


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_athena_is_asked_the_same_as_duckdb(name: str) -> None:
    query = SHOWN[name]
    dataset = next(one for one in (INCIDENTS, TRAFFIC, LICENCES) if one.name == query.dataset)
    layer = "curated" if "city_curated" in query.sql else "encrypted"
    now = datetime.now(UTC)

    def value(column: str, kind: str, number: int) -> Any:
        if column == "hour":
            return now.strftime("%Y-%m-%d-%H")
        if column == "day":
            return "2026-03-01"
        return now if kind.startswith("TIMESTAMP") else VALUES.get(kind, number)

    rows = [
        {column: value(column, kind, number) for column, kind in readable(dataset, layer).items()}
        for number in range(7)
    ]
    with filled(dataset, layer, rows) as connection:
        assert asked(connection, query)


def test_encrypted_columns_are_not_there_to_ask_for() -> None:
    with warehouse([INCIDENTS]) as connection, pytest.raises(duckdb.BinderException, match="reporter"):
        connection.execute(over_tables("SELECT reporter FROM trusted", "incidents"))


def test_tables_take_the_place_of_relations_and_of_nothing_else() -> None:
    sql = over_tables(
        "WITH a AS (SELECT trusted.x FROM trusted) SELECT * FROM a JOIN curated c ON other.curated.x", "d"
    )
    assert sql == (
        "WITH a AS (SELECT trusted.x FROM city_encrypted.d AS trusted) "
        "SELECT * FROM a JOIN city_curated.d AS c ON other.curated.x"
    )


def test_every_mistake_in_the_dashboards_queries_is_told(tmp_path: Path) -> None:
    for place, text in {
        "incidents/nothing.sql": "SELECT 1 AS a FROM trusted",
        "incidents/unknown.sql": "-- How many?\nSELECT reporter FROM trusted",
        "bees/how_many.sql": "-- How many?\nSELECT 1 AS a FROM trusted",
        "incidents/charted.sql": "-- How many?\n-- chart: a, b\nSELECT 1 AS a, 2 AS b FROM trusted",
    }.items():
        file = tmp_path / place
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    with pytest.raises(InvalidDefinition) as raised:
        dashboard_queries(tmp_path, [INCIDENTS])
    told = {finding.file.partition("/")[2]: finding.problem for finding in raised.value.findings}
    assert told["incidents/nothing.sql"] == "the first line does not ask the question"
    assert told["bees/how_many.sql"] == "there is no dataset bees"
    assert "reporter" in told["incidents/unknown.sql"]
    assert told["incidents/charted.sql"].startswith("the chart asks for 'a'")


def test_a_schema_that_drifted_is_found() -> None:
    sql = template("analytics").deploy()["SchemaDriftQuery"].properties["QueryString"]
    sql = sql.replace("${CuratedDatabase}", "declared").replace("${CrawledDatabase}", "crawled")
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA declared; CREATE SCHEMA crawled")
        connection.execute("CREATE TABLE declared.same (a INT, year VARCHAR)")
        connection.execute("CREATE TABLE crawled.same (a INT, year VARCHAR, partition_1 VARCHAR)")
        connection.execute("CREATE TABLE declared.retyped (a INT, gone INT)")
        connection.execute("CREATE TABLE crawled.retyped (a VARCHAR, more INT, partition_2 VARCHAR)")
        connection.execute("CREATE TABLE declared.not_crawled_yet (a INT)")
        found = connection.execute(sqlglot.transpile(sql, read="athena", write="duckdb")[0]).fetchall()
    assert found == [
        ("retyped", "a", "INTEGER", "VARCHAR"),
        ("retyped", "gone", "INTEGER", None),
        ("retyped", "more", None, "INTEGER"),
    ]
