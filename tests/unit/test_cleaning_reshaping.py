"""GROUP_BY, PIVOT and UNPIVOT as the reference describes them, rows in and rows out, and their SQL for Spark."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot.dialects.spark import Spark

from city_platform.cleaning.job import Stage, read_job, read_stages
from city_platform.cleaning.steps.reshaping import FUNCTIONS, OPERATIONS, columns_after, reshaping_select
from city_platform.engines.dialect import DuckDBDialect
from city_platform.engines.spark import SparkDialect
from city_platform.errors import Finding
from tests.unit.test_cleaning_compile import step

Rows = Sequence[tuple[Any, ...]]
COLUMNS = {"state": "VARCHAR", "party": "VARCHAR", "votes": "VARCHAR"}


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 2}) as opened:
        yield opened


def grouped(columns: Sequence[str], *options: tuple[str, str, str, str]) -> dict[str, Any]:
    names = ("sourceColumnName", "targetColumnName", "targetColumnDataType", "functionName")
    written = json.dumps([dict(zip(names, one, strict=True)) for one in options])
    sources = json.dumps(columns)
    return step("GROUP_BY", sourceColumns=sources, groupByAggFunctionOptions=written, useNewDataFrame="true")


def pivoted(function: str) -> dict[str, Any]:
    return step("PIVOT", sourceColumn="party", valueColumn="votes", aggregateFunction=function)


def unpivoted(*columns: str) -> dict[str, Any]:
    return step("UNPIVOT", sourceColumns=json.dumps(columns), unpivotColumn="what", valueColumn="value")


def read(*steps: Any, columns: Mapping[str, str] = COLUMNS, start: int = 0) -> tuple[list[Stage], list[Finding]]:
    nodes, findings = read_job(json.dumps(steps), "r.json")
    assert not findings
    return read_stages(nodes, start, "r.json", columns)


def run(
    connection: duckdb.DuckDBPyConnection,
    one: Mapping[str, Any],
    rows: Rows,
    values: Sequence[str | None] = (),
    columns: Mapping[str, str] = COLUMNS,
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The columns and the rows after a step."""
    name, parameters = one["Action"]["Operation"], one["Action"]["Parameters"]
    dialect = DuckDBDialect()
    types = ", ".join(f"{dialect.name(column)} {kind}" for column, kind in columns.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE rows_in (_row BIGINT, {types})")
    if rows:
        marks = ", ".join("?" * (len(columns) + 1))
        connection.executemany(f"INSERT INTO rows_in VALUES ({marks})", [(n, *row) for n, row in enumerate(rows)])
    sql = reshaping_select(name, parameters, columns, dialect, "rows_in", values)
    found = connection.sql(f"SELECT * FROM ({sql}) ORDER BY _row")
    assert found.columns == ["_row", *(column for column, _ in columns_after(name, parameters, columns, values))]
    given = found.fetchall()
    assert [row[0] for row in given] == list(range(len(given)))
    return found.columns[1:], [row[1:] for row in given]


@pytest.mark.parametrize("one", [pivoted("COLLECT_LIST"), unpivoted("votes", "party")], ids=["P", "U"])
def test_the_sql_is_sparks_too(one: Mapping[str, Any]) -> None:
    action = one["Action"]
    sql = reshaping_select(action["Operation"], action["Parameters"], COLUMNS, SparkDialect(), "rows_in", ["d'", None])
    assert sqlglot.parse_one(sql, dialect=Spark)


@pytest.mark.parametrize(
    ("function", "values", "expected"),
    [
        ("ANY", [None, "b", "a"], "b"),
        ("AVERAGE", ["1", "2", None, "x", "2.5"], "1.8333333333333333"),
        ("AVERAGE", ["x", None], None),
        ("COUNT", ["1", None, "x", "1"], "3"),
        ("COUNT", [None], "0"),
        ("COUNT_DISTINCT", ["1", None, "x", "1"], "2"),
        ("MAX", ["9", "10", None], "10"),
        ("MAX", ["2024-02-01", "2023-12-31"], "2024-02-01"),
        ("MAX", ["9", "10", "b"], "b"),
        ("MIN", ["9", "10", "-0.50"], "-0.5"),
        ("MEDIAN", ["1", "10", "3", None], "3"),
        ("MEDIAN", ["1", "2"], "1.5"),
        ("MODE", ["b", None, None, None, "a", "b", "a"], "a"),
        # The reference: [Sum((X - mean(X))^2)] / Count(X), so not the sample's.
        ("STANDARD_DEVIATION", ["1", "3"], "1"),
        ("VARIANCE", ["1", "3", "5"], "2.66666667"),
        ("SUM", ["0.1", "0.2", "x", None], "0.3"),
        ("SUM", ["100", "20"], "120"),
        ("SUM", [None], None),
        ("UNAGGREGATED", ["b", None, 'a"'], '["b","a\\""]'),
        ("UNAGGREGATED", [None], None),
    ],
)
def test_functions_of_a_group(
    connection: duckdb.DuckDBPyConnection, function: str, values: Sequence[str | None], expected: str | None
) -> None:
    one = grouped(["state"], ("votes", "t", "string", function))
    assert run(connection, one, [("BC", None, value) for value in values])[1] == [("BC", expected)]


def test_every_function_has_a_case() -> None:
    cases = test_functions_of_a_group.pytestmark[0].args[1]  # type: ignore[attr-defined] -- pytest puts it there
    assert {case[0] for case in cases} | {"COLLECT_LIST"} == FUNCTIONS.keys()
    for operation in OPERATIONS:
        assert operation.documentation.endswith(".")
        assert all(one.documentation for one in operation.parameters)


VOTES: Rows = [
    ("WA", "r", "2"),
    ("BC", "d", "7"),
    ("WA", "d", "10"),
    (None, "d", "1"),
    ("WA", "d", None),
    (None, None, "5"),
]


def test_groups_stand_in_the_order_of_their_first_row_and_missing_values_are_one(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    one = grouped(["state"], ("votes", "votes", "number", "SUM"), ("party", "parties", "int", "COUNT_DISTINCT"))
    columns, rows = run(connection, one, VOTES)
    assert columns == ["state", "votes", "parties"]
    assert rows == [("WA", "12", "2"), ("BC", "7", "1"), (None, "6", "1")]


def test_a_pivot_makes_a_column_of_each_value_and_a_row_of_what_is_equal(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    columns, rows = run(connection, pivoted("SUM"), VOTES, ["d", "r", None])
    assert columns == ["state", "d", "r", "null"]
    assert rows == [("WA", "10", "2", None), ("BC", "7", None, None), (None, "1", None, "5")]
    assert run(connection, pivoted("COUNT"), VOTES, ["r", "d"])[1] == [
        ("WA", "1", "1"),
        ("BC", "0", "1"),
        (None, "0", "1"),
    ]
    lists = run(connection, pivoted("COLLECT_LIST"), [*VOTES, ("WA", "d", "1")], ["d"])[1]
    assert lists == [("WA", '["10","1"]'), ("BC", '["7"]'), (None, '["1"]')]
    alone = {"party": "VARCHAR", "votes": "BIGINT"}
    assert run(connection, pivoted("MAX"), [("d'", 3), ("d'", 20)], ["d'"], alone) == (["d'"], [("20",)])


def test_unpivoted_columns_become_rows_in_their_order_and_nothing_is_left_out(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    types = {"id": "INTEGER", "a'": "DATE", "b": "VARCHAR"}
    columns, rows = run(connection, unpivoted("b", "a'"), [(7, "2024-02-01", None), (8, None, "x")], (), types)
    assert columns == ["id", "what", "value"]
    assert rows == [("7", "b", None), ("7", "a'", "2024-02-01"), ("8", "b", "x"), ("8", "a'", None)]


cells = st.none() | st.sampled_from(["a", "A", "'", '"', "0.1", "-3", "1e3", "null", "{}"])


@settings(max_examples=15)
@given(st.lists(st.tuples(cells, cells, cells), max_size=6, unique_by=lambda row: row[:2]))
def test_a_pivot_is_undone_by_unpivoting(
    connection: duckdb.DuckDBPyConnection, rows: list[tuple[str | None, ...]]
) -> None:
    """Rows that no other row shares a place with come back, and empty places come beside them."""
    given_rows = [(state, party, votes) for state, party, votes in rows if party is not None and party != "null"]
    values = sorted({row[1] for row in given_rows})
    folded = {value.casefold() for value in values}
    if not values or len(folded) < len(values) or folded & {"state", "what", "value"}:
        return
    columns, wide = run(connection, pivoted("ANY"), given_rows, values)
    _, back = run(connection, unpivoted(*values), wide, (), dict.fromkeys(columns, "VARCHAR"))
    there = [row for row in back if row[2] is not None]
    assert sorted(map(repr, there)) == sorted(repr(row) for row in given_rows if row[2] is not None)


def test_types_last_through_a_step_until_text_is_rewritten() -> None:
    typed = step("CHANGE_DATA_TYPE", sourceColumn="votes", columnDataType="decimal")
    stages, findings = read(
        typed,
        step("MOVE_TO_START", sourceColumn="votes"),
        grouped(["votes", "state"], ("party", "n", "number", "COUNT"), ("party", "m", "date", "MAX")),
        step("RENAME", sourceColumn="n", targetColumn="rows"),
        step("ADD_PREFIX", sourceColumn="m", pattern="x"),
        step("MULTIPLY", sourceColumn1="votes", value2="2", targetColumn="double"),
        unpivoted("rows", "double"),
    )
    assert not findings
    assert [dict(one.outputs) for one in stages] == [
        {"votes": "DECIMAL(38,10)", "state": "VARCHAR", "party": "VARCHAR"},
        {"votes": "DECIMAL(38,10)", "state": "VARCHAR", "rows": "BIGINT", "m": "VARCHAR", "double": "VARCHAR"},
        {"votes": "DECIMAL(38,10)", "state": "VARCHAR", "m": "VARCHAR", "what": "VARCHAR", "value": "VARCHAR"},
    ]
    assert [one.reshaping.position for one in stages if one.reshaping] == [3, 7]


def test_steps_behind_a_pivot_are_read_when_its_columns_are_known() -> None:
    steps = (pivoted("SUM"), step("RENAME", sourceColumn="d", targetColumn="state"))
    (stage,), findings = read(*steps)
    assert (stage.reshaping is not None, findings) == (True, [])
    _, (found,) = read(*steps, columns={"state": "VARCHAR", "d": "DOUBLE"}, start=1)
    assert "there is a column state already" in found.problem


@pytest.mark.parametrize(
    ("mistake", "problem"),
    [
        (grouped(["state"], ("vote", "t", "number", "SUM")), "no column vote at this point"),
        (grouped(["state"], ("votes", "t", "number", "TOTAL")), "there is no function TOTAL"),
        (grouped(["state"], ("votes", "t", "money", "SUM")), "there is no targetColumnDataType money"),
        (grouped(["state"], ("votes", "", "number", "SUM")), "a targetColumnName is empty"),
        (grouped(["state"], ("votes", "STATE", "number", "SUM")), "makes a column twice: state, STATE"),
        (grouped(["state"]), "groupByAggFunctionOptions is no JSON list of objects"),
        (step("GROUP_BY", sourceColumns='["state"]', groupByAggFunctionOptions="[1]"), "has not exactly the texts"),
        (grouped(["state", "state"], ("votes", "t", "number", "SUM")), "a column is named twice"),
        (pivoted("UNAGGREGATED"), "aggregateFunction cannot be UNAGGREGATED"),
        (step("PIVOT", sourceColumn="votes", valueColumn="votes", aggregateFunction="SUM"), "are the same"),
        (step("UNPIVOT", sourceColumns='["votes"]', unpivotColumn="t", valueColumn="t"), "are the same"),
        (step("UNPIVOT", sourceColumns='["votes"]', unpivotColumn="party", valueColumn="t"), "a column party already"),
        (
            step(
                "PIVOT", ("IS_MISSING", "votes", ""), sourceColumn="party", valueColumn="votes", aggregateFunction="SUM"
            ),
            "takes no conditions",
        ),
        (step("TRANSPOSE"), "TRANSPOSE has no place"),
        (step("RENAME", sourceColumn="votes", targetColumn="_ROW"), "the platform's own: _ROW"),
        (step("RENAME", sourceColumn="votes", targetColumn="PARTY"), "named as another one"),
    ],
)
def test_a_mistake_is_found_before_anything_runs(mistake: Any, problem: str) -> None:
    _, findings = read(mistake)
    assert [problem in one.problem for one in findings] == [True], findings


def test_a_published_version_is_a_recipe_too_and_what_is_none_is_said() -> None:
    nodes, findings = read_job(json.dumps({"Name": "x", "Steps": [unpivoted("votes")]}), "1.0.json")
    assert (len(nodes), findings) == (1, [])
    assert "a list of steps, not an object" in read_job('{"Step": []}', "r")[1][0].problem
    assert "at most 100" in read_job(json.dumps([unpivoted("votes")] * 101), "r")[1][0].problem
