"""Each step's documented behaviour and the promises of the whole SELECT, run on DuckDB."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.cleaning.compile import cleaning_select
from city_platform.cleaning.recipe import parse_recipe
from city_platform.contracts.model import Classification, Column, Contract, Partitioning, PartitionTransform
from city_platform.engines.dialect import DuckDBDialect

Connection = duckdb.DuckDBPyConnection
Steps = Sequence[Mapping[str, Any]]
DATABREW = {"INTEGER": "int", "DATE": "date", "DECIMAL(6,2)": "decimal", "TIMESTAMP WITH TIME ZONE": "timestamp"}


def contract(**types: str) -> Contract:
    columns = tuple(
        Column(name, name, (), "string", kind, Classification.PUBLIC, "", False, True, None, None, 1)
        for name, kind in types.items()
    )
    return Contract(
        id="c",
        name="c",
        title="C",
        purpose="",
        version="1.0.0",
        owner="team:c",
        domain="",
        licence="",
        source_url="",
        cadence="daily",
        freshness=timedelta(days=1),
        columns=columns,
        partitioning=Partitioning("a", PartitionTransform.FOUR_DIGITS),
        latest_by=None,
    )


def step(operation: str, *conditions: tuple[str, str, str], **parameters: str) -> dict[str, Any]:
    listed = [{"Condition": one, "TargetColumn": column, "Value": value} for one, column, value in conditions]
    for one in listed:
        if not one["Value"]:
            del one["Value"]
    written: dict[str, Any] = {"Action": {"Operation": operation, "Parameters": parameters}}
    return written | ({"ConditionExpressions": listed} if listed else {})


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    with duckdb.connect(config={"threads": 1}) as opened:
        opened.execute("SET TimeZone = 'UTC'")
        yield opened


def cleaned(
    connection: Connection, steps: Steps, agreed: Contract, rows: Mapping[str, Sequence[str | None]]
) -> list[dict[str, Any]]:
    """The rows after cleaning, in the order of `_row`, by column."""
    typing = [
        step("CHANGE_DATA_TYPE", sourceColumn=one.name, columnDataType=DATABREW[one.sql_type])
        for one in agreed.columns
        if one.sql_type != "VARCHAR"
    ]
    recipe, findings = parse_recipe(json.dumps([*steps, *typing]), "recipe.json", agreed)
    assert recipe is not None, findings
    count = len(next(iter(rows.values())))
    arrays = {name: pa.array(values, pa.string()) for name, values in rows.items()}
    table = pa.table({**arrays, "_row": pa.array(range(count), pa.int64())})
    connection.register("rows_in", table)
    sql = cleaning_select(recipe, agreed, DuckDBDialect(), {name: name for name in rows}, "rows_in", source_index=3)
    found = connection.sql(f"SELECT * FROM ({sql}) ORDER BY _row")
    names = [*(one.name for one in agreed.columns), "_source", "_row", "_untyped", "_removed"]
    assert found.columns == names
    first = found.fetchall()
    assert connection.sql(f"SELECT * FROM ({sql}) ORDER BY _row").fetchall() == first
    return [dict(zip(names, row, strict=True)) for row in first]


def remove(**flags: str) -> dict[str, Any]:
    return step("REMOVE_COMBINED", sourceColumn="a", **flags)


def replace(pattern: str, value: str, *conditions: tuple[str, str, str]) -> dict[str, Any]:
    return step("REPLACE_TEXT", *conditions, sourceColumn="a", pattern=pattern, value=value)


TRIM, COLLAPSE = {"removeLeadingAndTrailingWhitespace": "true"}, {"collapseConsecutiveWhitespace": "true"}


@pytest.mark.parametrize(
    ("given_step", "before", "after"),
    [
        (step("UPPER_CASE", sourceColumn="a"), "éab", "ÉAB"),
        (step("LOWER_CASE", sourceColumn="a"), "ÉAB", "éab"),
        (step("CAPITAL_CASE", sourceColumn="a"), "ab cD", "Ab Cd"),
        (remove(**TRIM), "\t a  b\u00a0", "a  b"),
        (remove(**COLLAPSE), " a \n b", " a b"),
        (remove(**TRIM, **COLLAPSE), " a \r\n b ", "a b"),
        (remove(removeCustomValue="true", customValue="ab"), "xabyab", "xy"),
        (remove(removeCustomCharacters="true", customCharacters="]^-"), "a]b^c-d", "abcd"),
        (remove(removeAllPunctuation="true"), "a.b!c,d?e;", "abcde;"),
        (remove(removeAllQuotes="true"), "a'b\"c", "abc"),
        (remove(removeLetters="true"), "aZ1é", "1é"),
        (remove(removeNumbers="true"), "a1b2", "ab"),
        (remove(removeSpecialCharacters="true"), "a-b[c]\\d~", "abcd"),
        (remove(removeAllWhitespace="true"), "a b\tc", "abc"),
        (remove(removeLeadingAndTrailingPunctuation="true"), "..a.b!", "a.b"),
        (remove(removeLeadingAndTrailingQuotes="true"), "\"'a'b'", "a'b"),
        (replace("x", "a"), "xyx", "aya"),
        (replace("[0-9]", "!"), "a1", "a!"),
        (replace("^(one|two)$", "1"), "two", "1"),
        (replace("^(one|two)$", "1"), "two!", "two!"),
        (replace("^one|two$", "1"), "onetwo", "11"),
        (replace("^([a-z])([0-9])$", "$2-$1"), "a1", "1-a"),
        (replace("^a", "$0\\$"), "ab", "a$b"),
        (replace("b", "c", ("STARTS_WITH", "a", "a")), "bab", "bab"),
        (replace("b", "c", ("STARTS_WITH", "a", "a")), "ab", "ac"),
        (step("FORMAT_DATE", sourceColumn="a", targetDateFormat="dd month yyyy"), "2024-05-01", "01 May 2024"),
        (step("FORMAT_DATE", sourceColumn="a", targetDateFormat="mm-dd-yyyy"), "05/01/2024", "05-01-2024"),
        (step("FORMAT_DATE", sourceColumn="a", targetDateFormat="mm-dd-yyyy"), "soon", "soon"),
        (step("FILL_WITH_CUSTOM", sourceColumn="a", value="v", columnDataType="string"), "x", "x"),
    ],
)
def test_steps_rewrite_text_and_leave_null(
    connection: Connection, given_step: Mapping[str, Any], before: str, after: str
) -> None:
    rows = cleaned(connection, [given_step], contract(a="VARCHAR"), {"a": [before, None]})
    assert rows[0]["a"] == after
    filled = given_step["Action"]["Operation"] == "FILL_WITH_CUSTOM"
    assert rows[1]["a"] == ("v" if filled else None)
    assert [row["_source"] for row in rows] == [3, 3]


@pytest.mark.parametrize(
    ("more", "expected"),
    [({"keepOthers": "true"}, ["1", "z", None]), ({"other": "9"}, ["1", "9", None]), ({}, ["1", None, None])],
)
def test_mapping_and_structure_steps(connection: Connection, more: dict[str, str], expected: list[str | None]) -> None:
    steps = [
        step(
            "CATEGORICAL_MAPPING",
            sourceColumn="a",
            targetColumn="m",
            mapType="TEXT",
            categoryMap='{"it\'s": "1"}',
            **more,
        ),
        step("DELETE", sourceColumn="a"),
        step("RENAME", sourceColumn="m", targetColumn="a"),
    ]
    rows = cleaned(connection, steps, contract(a="VARCHAR"), {"a": ["it's", "z", None]})
    assert [row["a"] for row in rows] == expected


def test_extract_and_duplicate(connection: Connection) -> None:
    steps = [
        step("DUPLICATE", sourceColumn="a", targetColumn="copy"),
        step("UPPER_CASE", sourceColumn="a"),
        step("DELETE", sourceColumn="b"),
        step("EXTRACT_PATTERN", sourceColumn="copy", targetColumn="b", pattern="[a-z]+"),
    ]
    rows = cleaned(
        connection, steps, contract(a="VARCHAR", b="VARCHAR"), {"a": ["1ab", "2", None], "b": ["x", "y", "z"]}
    )
    assert [(row["a"], row["b"]) for row in rows] == [("1AB", "ab"), ("2", None), (None, None)]


@pytest.mark.parametrize(
    ("condition", "value", "removed"),
    [
        ("IS", '["1","2"]', [0]),
        ("IS", "1", [0]),
        ("IS_NOT", "1", [1, 2]),
        ("IS_BETWEEN", '["1","5"]', [0, 1]),
        ("CONTAINS", "x", [2]),
        ("NOT_CONTAINS", "x", [0, 1]),
        ("STARTS_WITH", "5", [1]),
        ("NOT_STARTS_WITH", "5", [0, 2]),
        ("ENDS_WITH", "0", [1]),
        ("NOT_ENDS_WITH", "0", [0, 2]),
        ("LESS_THAN", "5", [0]),
        ("LESS_THAN_EQUAL", "5", [0, 1]),
        ("GREATER_THAN", "1", [1]),
        ("GREATER_THAN_EQUAL", "1", [0, 1]),
        ("IS_MISSING", "", [3, 4]),
    ],
)
def test_conditions_choose_the_rows_to_remove(
    connection: Connection, condition: str, value: str, removed: list[int]
) -> None:
    steps = [step("REMOVE_VALUES", (condition, "a", value), sourceColumn="a")]
    rows = cleaned(connection, steps, contract(a="VARCHAR"), {"a": ["1", "5.0", "x", None, ""]})
    expected = {
        "IS_NOT": [1, 2, 4],
        "NOT_CONTAINS": [0, 1, 4],
        "NOT_STARTS_WITH": [0, 2, 4],
        "NOT_ENDS_WITH": [0, 2, 4],
    }
    assert [row["_row"] for row in rows if row["_removed"]] == expected.get(condition, removed)
    assert {row["_removed"] for row in rows} - {None} == {
        f"recipe step 1, REMOVE_VALUES on a, where a {condition} {value}".strip()
    }


def test_equal_rows_go_but_the_first_and_the_first_reason_stays(connection: Connection) -> None:
    steps = [
        step("REMOVE_VALUES", ("IS", "b", "drop"), sourceColumn="b"),
        step("DELETE_DUPLICATE_ROWS"),
    ]
    rows = cleaned(
        connection,
        steps,
        contract(a="VARCHAR", b="VARCHAR"),
        {"a": ["1", "1", "1", None, None], "b": ["drop", "k", "k", "k", "k"]},
    )
    reasons = [(row["_removed"] or "").split(",")[0] for row in rows]
    assert reasons == ["recipe step 1", "", "recipe step 2", "", "recipe step 2"]


def test_a_condition_sees_the_column_as_it_was_at_its_step(connection: Connection) -> None:
    steps = [
        step("UPPER_CASE", ("IS", "b", "old"), sourceColumn="a"),
        step("REPLACE_TEXT", sourceColumn="b", pattern="^old$", value="new"),
        step("REMOVE_COMBINED", ("IS", "b", "new"), sourceColumn="a", removeNumbers="true", removeAllQuotes="true"),
        step("REPLACE_TEXT", sourceColumn="b", pattern="^new$", value="last"),
        step("LOWER_CASE", ("IS", "b", "new"), sourceColumn="a"),
    ]
    rows = cleaned(connection, steps, contract(a="VARCHAR", b="VARCHAR"), {"a": ["x'1", "x'1"], "b": ["old", "other"]})
    assert [(row["a"], row["b"]) for row in rows] == [("X", "last"), ("x'1", "other")]


TYPED = contract(a="INTEGER", b="DATE", c="DECIMAL(6,2)", d="TIMESTAMP WITH TIME ZONE", e="VARCHAR")


def test_values_get_their_type_or_a_reason(connection: Connection) -> None:
    rows = cleaned(
        connection,
        [],
        TYPED,
        {
            "a": ["43.0", "x"],
            "b": ["2024-02-29", "209-12-31"],
            "c": ["-123", "123456"],
            "d": ["2024-07-01T00:00:00-07:00", "2024-07-01 00:00"],
            "e": ["", "e"],
        },
    )
    moment = datetime(2024, 7, 1, 7, tzinfo=UTC)
    assert (rows[0]["a"], rows[0]["b"], rows[0]["c"], rows[0]["d"]) == (43, date(2024, 2, 29), -123, moment)
    assert rows[0]["e"] is None
    assert rows[0]["_untyped"] is None
    assert (rows[1]["a"], rows[1]["b"], rows[1]["c"], rows[1]["d"], rows[1]["e"]) == (None, None, None, moment, "e")
    assert [(one["column"], one["value"]) for one in rows[1]["_untyped"]] == [
        ("a", "x"),
        ("b", "209-12-31"),
        ("c", "123456"),
    ]
    assert [one["reason"].rpartition("(")[0].strip() for one in rows[1]["_untyped"]][
        1
    ] == "not a calendar date as YYYY-MM-DD"
    assert "DECIMAL(6,2)" in rows[1]["_untyped"][2]["reason"]


def test_an_absent_column_is_null_of_its_type(connection: Connection) -> None:
    rows = cleaned(connection, [], TYPED, {"e": ["x"]})
    assert rows[0]["a"] is None
    assert rows[0]["_untyped"] is None
    assert connection.sql("SELECT * FROM rows_in").fetchall()


def test_a_header_may_look_like_one_of_ours(connection: Connection) -> None:
    names = ["c1", "c0", "from", 'quo"te', "it's"]
    agreed = contract(**dict.fromkeys(names, "VARCHAR"))
    steps = [step("UPPER_CASE", sourceColumn=name) for name in names]
    rows = cleaned(connection, steps, agreed, {name: [f"v{number}"] for number, name in enumerate(names)})
    assert [rows[0][name] for name in names] == ["V0", "V1", "V2", "V3", "V4"]


def test_many_steps_on_one_column_do_not_multiply(connection: Connection) -> None:
    steps = [remove(**TRIM, **COLLAPSE, removeNumbers="true"), step("UPPER_CASE", sourceColumn="a")] * 40
    assert cleaned(connection, steps, contract(a="VARCHAR"), {"a": [" a 1  b "]})[0]["a"] == "A B"


dirty = st.none() | st.text(st.sampled_from(" \t\u00a00123456789-./:TZabAB'\"{}é"), max_size=14)
TIDY = [step("REMOVE_COMBINED", sourceColumn=name, **TRIM, **COLLAPSE) for name in ("a", "b", "c", "d", "e")] + [
    step("REPLACE_TEXT", ("CONTAINS", "b", "/"), sourceColumn="b", pattern="^([0-9])/", value="0$1/"),
    step("UPPER_CASE", sourceColumn="e"),
    step("REPLACE_TEXT", ("ENDS_WITH", "e", "."), sourceColumn="e", pattern="^(.*[^. ])[. ]+$", value="$1"),
    step("REMOVE_COMBINED", ("IS", "a", "000"), sourceColumn="a", removeCustomValue="true", customValue="000"),
]


@settings(max_examples=20)
@given(st.lists(st.tuples(dirty, dirty, dirty, dirty, dirty), min_size=1, max_size=12))
def test_no_row_and_no_value_is_lost(connection: Connection, values: list[tuple[str | None, ...]]) -> None:
    table = {name: [row[number] for row in values] for number, name in enumerate("abcde")}
    rows = cleaned(connection, TIDY, TYPED, table)
    assert [row["_row"] for row in rows] == list(range(len(values)))
    for row, before in zip(rows, values, strict=True):
        untyped = {one["column"] for one in row["_untyped"] or []}
        assert row["_untyped"] is None or untyped
        for name, text in zip("abcd", before, strict=False):
            blank = text is None or not text.strip(" \t\u00a0") or (name == "a" and text.strip(" \t\u00a0") == "000")
            assert (name in untyped) == (row[name] is None and not blank)


@settings(max_examples=20)
@given(st.lists(dirty, min_size=1, max_size=12))
def test_clean_text_stays_as_it_is(connection: Connection, values: list[str | None]) -> None:
    agreed = contract(a="VARCHAR", b="VARCHAR", c="VARCHAR", d="VARCHAR", e="VARCHAR")
    once = cleaned(connection, TIDY, agreed, dict.fromkeys("abcde", values))
    again = cleaned(connection, TIDY, agreed, {name: [row[name] for row in once] for name in "abcde"})
    assert again == once
