"""Provenance by rewriting: each row of a summary carries exactly the rows it is made of, and they make it again."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from city_platform.catalog.provenance import PLACE, PLACED, NotNarrowable, provenance
from city_platform.contracts.model import Contract
from city_platform.datasets import Dataset, load_dataset
from city_platform.protection.masking import masked_type
from tests.town import FIXTURES, ROOT

FOLDERS = [*sorted(one for one in (ROOT / "datasets").iterdir() if one.is_dir()), FIXTURES / "trees"]
Row = tuple[Any, ...]
SPELT = {"YearMonth": ["2024-05", "2024-06"]}  # texts that a summary takes for more than texts


def loaded(folder: Path) -> Dataset:
    dataset, findings = load_dataset(folder)
    assert dataset is not None, findings
    return dataset


QUERIES = [
    (folder, name, sql)
    for folder in FOLDERS
    for dataset in [loaded(folder)]
    for name, sql in [("curated", dataset.curated_sql), *((one.name, one.sql) for one in dataset.questions)]
]


@cache
def database() -> duckdb.DuckDBPyConnection:
    """One for all: opening it costs more than what a test asks of it."""
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET VARIABLE report_date = DATE '2025-03-04'")
    return connection


class Town:
    """A database with rows at places, and what summaries make of them, or of some of them."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        self.connection = database()
        declared = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        self.connection.execute(f"CREATE OR REPLACE TABLE {PLACED} ({declared}, {PLACE} BIGINT)")
        self.restrict(None)

    def restrict(self, places: Sequence[int] | None) -> None:
        only = "" if places is None else f" WHERE {PLACE} IN ({', '.join(map(str, [*places, -1]))})"
        self.connection.execute(f"CREATE OR REPLACE VIEW trusted AS SELECT * EXCLUDE ({PLACE}) FROM {PLACED}{only}")

    def rows(self, sql: str) -> list[Row]:
        return self.connection.execute(sql).fetchall()

    def summary(self, sql: str) -> list[Row]:
        names = [one[0] for one in self.rows(f"DESCRIBE {sql.rstrip().removesuffix(';')}")]
        texts = ", ".join(f'CAST("{name}" AS VARCHAR)' for name in names)
        return self.rows(f"SELECT {texts} FROM ({sql.rstrip().removesuffix(';')}\n)")

    def fill(self, contract: Contract, sql: str, seed: int, rows: int) -> None:
        """Rows of few values, those among them that the summary asks for, so that groups are large and filters hit."""
        self.connection.execute(f"SELECT setseed({(seed % 1000) / 1000})")
        literals = [one.replace("'", "''") for one in re.findall(r"'((?:[^']|'')*)'", sql) if len(one) < 40]
        literals += ["a", "b.", "ZZ OLD - c"]
        columns = [_generated(masked_type(one), SPELT.get(one.name, literals)) for one in contract.columns]
        self.connection.execute(f"INSERT INTO {PLACED} SELECT {', '.join(columns)}, range FROM range({rows})")


def _generated(kind: str, literals: Sequence[str]) -> str:
    """SQL for a random value of a type."""
    nothing = "random() < 0.15"
    match kind.partition("(")[0]:
        case "VARCHAR":
            words = ", ".join(f"'{one}'" for one in literals)
            value = f"list_extract([{words}], 1 + CAST(floor(random() * {len(literals)}) AS INTEGER))"
        case "DATE":
            value = "DATE '2024-01-15' + CAST(floor(random() * 4) * 20 AS INTEGER)"
        case "TIMESTAMP WITH TIME ZONE" | "TIMESTAMPTZ":
            value = "TIMESTAMPTZ '2024-03-10 06:00:00+00' + to_seconds(CAST(floor(random() * 9) * 5000 AS BIGINT))"
        case "TIMESTAMP":
            value = "TIMESTAMP '2024-03-10 06:00:00' + to_seconds(CAST(floor(random() * 9) * 5000 AS BIGINT))"
        case "BOOLEAN":
            value = "random() < 0.5"
        case "DOUBLE" | "FLOAT":
            value = "floor(random() * 40) / 4"
        case _:
            value = f"CAST(1 + floor(random() * 11) AS {kind})"
    return f"CASE WHEN {nothing} THEN NULL ELSE {value} END"


def carried(town: Town, sql: str) -> list[tuple[Row, dict[str, list[int]]]]:
    """Every row of the summary as texts, with the places of each path."""
    made = provenance(sql)
    lists = [one.column for one in made.paths]
    described = [one[0] for one in town.rows(f"DESCRIBE {made.sql}") if one[0] not in lists]
    texts = ", ".join(f'CAST("{name}" AS VARCHAR)' for name in described)
    found = town.rows(f"SELECT {', '.join([texts, *lists])} FROM ({made.sql})")
    return [(row[: len(described)], dict(zip(lists, row[len(described) :], strict=True))) for row in found]


def prove(town: Town, sql: str, most: int) -> int:
    """The rewritten summary is the summary, and the rows it carries make each row again; how many rows were proved."""
    plain = town.summary(sql)
    rows = carried(town, sql)
    assert Counter(row for row, _ in rows) == Counter(plain)
    for row, lists in rows[:most]:
        places = [place for one in lists.values() for place in one]
        town.restrict(places)
        again = town.summary(sql)
        town.restrict(None)
        assert row in again, (row, again)
        if len(lists) == 1 and "ROLLUP" not in sql:
            # Nothing but this row: no row of another group was taken for one of this.
            assert set(again) == {row}, (row, again)
    return min(len(rows), most)


@pytest.mark.parametrize(
    ("folder", "sql"), [(one[0], one[2]) for one in QUERIES], ids=[f"{one[0].name}/{one[1]}" for one in QUERIES]
)
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 999), rows=st.integers(1, 80))
def test_every_cell_of_every_summary_is_made_again_of_its_rows(folder: Path, sql: str, seed: int, rows: int) -> None:
    dataset = loaded(folder)
    town = Town({one.name: masked_type(one) for one in dataset.contract.columns})
    town.fill(dataset.contract, sql, seed, rows)
    prove(town, sql, 4)
    check_aggregates(town, sql)


AGGREGATES = {
    exp.Count: len,
    exp.Sum: sum,
    exp.Max: max,
    exp.Min: min,
    exp.Avg: lambda values: sum(values) / len(values),
}


def plain_cells(sql: str) -> Iterator[tuple[str, type[exp.Expr], str | None]]:
    """Output columns that are one aggregate of one column of `trusted`, or of all rows, with which and of what.

    Read from the SQL without the code under test: only queries whose last step groups, or hands a step's group on.
    """
    query = sqlglot.parse_one(sql, dialect="duckdb")
    steps = {one.alias: one.this for one in query.ctes}

    def below(step: exp.Expr) -> str:
        return "" if step.args.get("joins") else str(step.args["from_"].this.name)

    def made(step: exp.Expr, name: str) -> exp.Expr | None:
        """What stands in a step under a name; a star hands on what is below."""
        handed = exp.column(name) if any(one.is_star for one in step.selects) else None
        return next((one.unalias() for one in step.selects if one.alias_or_name == name), handed)

    def original(step: exp.Expr, column: str | None) -> str | None:
        """The column of `trusted` that one of a step's source is, or `column` of all rows; else nothing."""
        while (source := below(step)) in steps and steps[source].args.get("group") is None:
            step = steps[source]
            found = made(step, column) if column else exp.column("*")
            if not isinstance(found, exp.Column):
                return None
            column = found.name if column else column
        return (column or "*") if source == "trusted" else None

    for select in query.selects:
        name, step, call = select.alias_or_name, query, select.unalias()
        while isinstance(call, exp.Column) and (call.table or below(step)) in steps:
            step = steps[call.table or below(step)]
            call = made(step, call.name)
        call = call.this if isinstance(call, exp.Cast) and isinstance(call.this, exp.AggFunc) else call
        if type(call) not in AGGREGATES or not isinstance(call.this, exp.Star | exp.Column):
            continue
        found = original(step, call.this.name if isinstance(call.this, exp.Column) else None)
        if found is not None:
            yield name, type(call), None if found == "*" else found


def check_aggregates(town: Town, sql: str) -> int:
    """Sums, counts, means and extremes, computed by Python from the carried rows; how many cells."""
    cells = list(plain_cells(sql))
    if not cells:
        return 0
    trusted = {}
    names = [one[0] for one in town.rows(f"DESCRIBE {PLACED}")]
    for row in town.rows(f"SELECT * FROM {PLACED}"):
        values = {name.casefold(): value for name, value in zip(names, row, strict=True)}
        trusted[values[PLACE]] = values
    checked = 0
    for name, kind, column in cells:
        made = provenance(sql, name)
        lists = [one.column for one in made.paths if one.driving] + ([made.cell] if made.cell else [])
        for value, *places in town.rows(f'SELECT "{name}", {", ".join(lists)} FROM ({made.sql})'):
            counted = places[-1]  # what the figure counts, else what the row is made of
            assert len(set(counted)) == len(counted)
            found = [trusted[place] if column is None else trusted[place][column.casefold()] for place in counted]
            if column is not None:
                everything = [trusted[place][column.casefold()] for place in places[0]]
                assert found == [one for one in everything if one is not None]
            expected = AGGREGATES[kind](found) if found or kind is exp.Count else None
            if isinstance(value, Decimal | float) and expected is not None:
                assert abs(Decimal(value) - Decimal(expected)) <= Decimal("0.06"), (name, value, expected)
            else:
                assert value == expected, (name, value, expected)
            checked += 1
    return checked


def test_the_figures_checked_by_plain_python_are_many() -> None:
    covered = {f"{folder.name}/{name}": [cell for cell, *_ in plain_cells(sql)] for folder, name, sql in QUERIES}
    assert sum(map(len, covered.values())) >= 40
    assert covered["business_licences/curated"] == ["Latest Expiry Date", "Licences"]
    assert covered["contact_centre_metrics/curated"][:4] == [
        "Days",
        "Calls Offered",
        "Calls Handled",
        "Calls Abandoned",
    ]
    assert covered["parking_tickets/curated"] == ["Tickets"]


SHAPES = {
    "filter and group": "SELECT g, count(*) AS n, sum(v) AS s FROM trusted WHERE v > 2 GROUP BY g ORDER BY g",
    "nested groups": "WITH a AS (SELECT g, h, sum(v) AS s FROM trusted GROUP BY g, h) "
    "SELECT g, max(s) AS m FROM a WHERE s IS NOT NULL GROUP BY g ORDER BY g",
    "having": "SELECT g, count(*) AS n FROM trusted GROUP BY g HAVING count(*) > 2 ORDER BY g",
    "rollup": "SELECT g, h, count(*) AS n FROM trusted GROUP BY ROLLUP (g, h) ORDER BY ALL",
    "window": "WITH a AS (SELECT g, v, row_number() OVER (PARTITION BY g ORDER BY v, h) AS r FROM trusted) "
    "SELECT g, min(r) AS m FROM a GROUP BY g ORDER BY g",
    "star": "WITH a AS (SELECT * FROM trusted WHERE h = 'x') SELECT g, count(*) AS n FROM a GROUP BY g ORDER BY g",
    "row by row": "SELECT g, h, v FROM trusted ORDER BY ALL",
    "everything": "SELECT count(*) AS n, avg(v) AS a FROM trusted ORDER BY n",
    "join": "WITH a AS (SELECT g, count(*) AS n FROM trusted GROUP BY g), b AS (SELECT g, max(v) AS m FROM trusted "
    "WHERE h = 'x' GROUP BY g) SELECT a.g, a.n, b.m FROM a LEFT JOIN b ON a.g = b.g ORDER BY ALL",
    "joined with itself": "WITH a AS (SELECT g, sum(v) AS s FROM trusted GROUP BY g) "
    "SELECT x.g, x.s, y.s AS t FROM a AS x JOIN a AS y ON x.g >= y.g ORDER BY ALL",
    "subquery after FROM": "SELECT g, sum(n) AS n FROM (SELECT g, h, count(*) AS n FROM trusted GROUP BY ALL) AS q "
    "GROUP BY g ORDER BY g",
    "aggregate over aggregates": "SELECT g, sum(count(*)) OVER (ORDER BY g) AS running FROM trusted GROUP BY g "
    "ORDER BY g",
    "distinct values": "SELECT g, count(DISTINCT h) AS n FROM trusted GROUP BY g ORDER BY g",
}
CELLS = st.lists(
    st.tuples(st.sampled_from(["p", "q", None]), st.sampled_from(["x", "y", None]), st.none() | st.integers(0, 5)),
    max_size=14,
)


@pytest.mark.parametrize("sql", SHAPES.values(), ids=SHAPES)
@settings(max_examples=8, deadline=None)
@given(cells=CELLS)
def test_whatever_shape_a_summary_has(sql: str, cells: Sequence[Row]) -> None:
    town = Town({"g": "VARCHAR", "h": "VARCHAR", "v": "INTEGER"})
    if cells:
        town.connection.executemany(
            f"INSERT INTO {PLACED} VALUES (?, ?, ?, ?)", [[*row, place * 3] for place, row in enumerate(cells)]
        )
    if "OVER (ORDER BY g)" in sql:  # a running sum is of other groups, too: said, and not made again
        assert any("looks at other rows" in one for one in provenance(sql).notes)
        assert Counter(row for row, _ in carried(town, sql)) == Counter(town.summary(sql))
        return
    prove(town, sql, 20)
    if "ROLLUP" not in sql and "HAVING" not in sql and len(provenance(sql).paths) == 1:
        # Each row of the partition is behind one row of the summary at the most, and behind some row if no filter says
        # otherwise.
        places = [place for _, lists in carried(town, sql) for one in lists.values() for place in one]
        assert len(places) == len(set(places))
        if "WHERE" not in sql:
            assert sorted(places) == [place * 3 for place in range(len(cells))]


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT DISTINCT g FROM trusted ORDER BY g", "DISTINCT"),
        ("WITH a AS (SELECT g FROM trusted UNION ALL SELECT h FROM trusted) SELECT g FROM a ORDER BY g", "UNION"),
        ("SELECT * FROM trusted NATURAL JOIN trusted AS b ORDER BY ALL", "NATURAL"),
        ("SELECT COLUMNS('g|h') FROM trusted ORDER BY ALL", "COLUMNS"),
        ("WITH RECURSIVE a AS (SELECT g FROM trusted) SELECT g FROM a ORDER BY g", "recursive"),
        ("SELECT g FROM trusted WHERE g IN (SELECT * FROM (SELECT h FROM trusted)) ORDER BY g", "(*)"),
    ],
)
def test_what_cannot_be_narrowed_is_said(sql: str, why: str) -> None:
    with pytest.raises(NotNarrowable, match=re.escape(why)):
        provenance(sql)


def test_a_figure_counts_only_the_rows_that_its_aggregates_take() -> None:
    sql = (
        "WITH a AS (SELECT g, h, count(*) FILTER (WHERE v > 2) AS n FROM trusted GROUP BY g, h) "
        "SELECT g, sum(n) AS n, max(n) / count(*) AS share, 'x' AS same FROM a GROUP BY g ORDER BY g"
    )
    town = Town({"g": "VARCHAR", "h": "VARCHAR", "v": "INTEGER"})
    town.connection.execute(
        f"INSERT INTO {PLACED} VALUES ('p', 'x', 1, 10), ('p', 'x', 3, 11), ('p', 'y', 4, 12), ('q', 'y', 0, 13)"
    )
    made = provenance(sql, "n")
    assert made.counted == "v > 2"
    found = {row[0]: sorted(row[1]) for row in town.rows(f"SELECT g, {made.cell} FROM ({made.sql})")}
    assert found == {"p": [11, 12], "q": []}
    assert provenance(sql, "share").cell is None  # its aggregates do not agree
    assert provenance(sql).paths_of("same") == ()
    starred = provenance("WITH a AS (SELECT * FROM trusted) SELECT * FROM a ORDER BY ALL", "H")
    assert starred.paths_of("H") == (starred.paths[0].column,)
    joined = provenance(
        "WITH a AS (SELECT g FROM trusted) SELECT a.g, count(b.v) AS n FROM a LEFT JOIN trusted AS b ON a.g = b.h "
        "GROUP BY a.g ORDER BY a.g",
        "n",
    )
    found = {row[0]: sorted(row[1]) for row in town.rows(f"SELECT g, {joined.cell} FROM ({joined.sql})")}
    assert found == {"p": [], "q": []}  # what is counted is of the other side, and there is none
    calendar = provenance(
        "SELECT d.range AS v, count(trusted.v) AS n FROM range(5) AS d LEFT JOIN trusted ON d.range = trusted.v "
        "GROUP BY ALL ORDER BY ALL"
    )
    assert [one.driving for one in calendar.paths] == [True]
    assert [row[0] for row in town.rows(f"SELECT {calendar.paths[0].column} FROM ({calendar.sql}) ORDER BY v")] == [
        [13], [10], [], [11], [12]
    ]  # fmt: skip
