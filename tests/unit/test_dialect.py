"""The engine's SQL against plain Python: what each expression promises, whatever the text."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from city_platform.engines.dialect import DuckDBDialect, UntypedValue

DIALECT = DuckDBDialect()
ZONE = "America/Vancouver"
SPACE = " \t\n\r\u00a0"
FEW = settings(max_examples=60)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
spaced = st.text(st.sampled_from(SPACE + "aé'"), max_size=12)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as opened:
        opened.execute("SET TimeZone = 'UTC'")
        yield opened


def value(connection: duckdb.DuckDBPyConnection, sql: str, text: str | None) -> Any:
    row = connection.execute(f"SELECT {sql} FROM (SELECT ?::VARCHAR AS x)", [text]).fetchone()
    assert row is not None
    return row[0]


@FEW
@given(texts)
def test_quoting_keeps_names_and_texts(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    name = f"n{text}"
    found = connection.execute(f"SELECT {DIALECT.text(text)} AS {DIALECT.name(name)}")
    assert found.description[0][0] == name
    assert found.fetchall() == [(text,)]


@FEW
@given(spaced)
@example(" \u00a0a\t\tb ")
def test_white_space_against_python(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    collapsed = re.sub(f"[{SPACE}]+", " ", text)
    assert value(connection, DIALECT.trim("x"), text) == text.strip(SPACE)
    assert value(connection, DIALECT.collapse_whitespace("x"), text) == collapsed
    assert value(connection, DIALECT.normalize_whitespace("x"), text) == collapsed.strip(" ")


@FEW
@given(st.one_of(texts, st.from_regex(r"[+\-]?[0-9_xe.]{1,11}", fullmatch=True)))
@example("43.0")
@example("12.5")
@example("1_000")
@example("1e3")
@example("0x1F")
@example("-0")
@example("2147483648")
@example(" 7")
def test_whole_numbers_take_only_whole_numbers(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    plain = re.fullmatch(r" *([+-]?[0-9]+)(\.0*)? *", text, flags=re.ASCII)
    number = int(plain[1]) if plain else None
    expected = number if number is not None and -(2**31) <= number < 2**31 else None
    assert value(connection, DIALECT.try_cast("x", "INTEGER"), text) == expected


@pytest.mark.parametrize("text", ["1e400", "inf", "nan", "1_0.5", "1d", "0x1p3", ""])
def test_doubles_are_finite_decimal_numbers(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    assert value(connection, DIALECT.try_cast("x", "DOUBLE"), text) is None


@FEW
@given(st.one_of(texts, st.dates().map(str), st.from_regex(r"[0-9]{3,5}-[0-9]{2}-[0-9]{2}", fullmatch=True)))
@example("209-12-31")
@example("0000-01-01")
@example("2023-01-05 x")
@example("infinity")
def test_dates_against_python(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    try:
        expected = date.fromisoformat(text) if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII) else None
    except ValueError:
        expected = None
    assert value(connection, DIALECT.parse_date("x", ()), text) == expected


@pytest.mark.parametrize(("text", "day"), [("05/31/2010", 31), ("2010-05-30", 30), ("31/05/2010", None)])
def test_dates_in_further_formats(connection: duckdb.DuckDBPyConnection, text: str, day: int | None) -> None:
    expected = date(2010, 5, day) if day else None
    assert value(connection, DIALECT.parse_date("x", ("%m/%d/%Y",)), text) == expected


@FEW
# Up to 2025: from 2026 on the time zone data of the engine and of Python need not be of the same release.
@given(st.datetimes(datetime(1997, 1, 1), datetime(2025, 12, 1)))  # noqa: DTZ001 - a wall clock's time has no zone
@example(datetime(2024, 11, 3, 1, 30))  # noqa: DTZ001 - twice that night
@example(datetime(2024, 3, 10, 2, 30))  # noqa: DTZ001 - never that night
def test_local_time_against_zoneinfo(connection: duckdb.DuckDBPyConnection, wall: datetime) -> None:
    wall = wall.replace(microsecond=0)
    expected = wall.replace(tzinfo=ZoneInfo(ZONE)).astimezone(UTC)
    assert value(connection, DIALECT.parse_timestamp("x", ZONE), wall.isoformat()) == expected


@FEW
@given(st.datetimes(datetime(1997, 1, 1), datetime(2035, 1, 1)), st.sampled_from([-480, -420, 0, 330]))  # noqa: DTZ001 - the offset is drawn beside it
def test_offsets_are_kept(connection: duckdb.DuckDBPyConnection, wall: datetime, minutes: int) -> None:
    sign, size = "-" if minutes < 0 else "+", abs(minutes)
    text = f"{wall.replace(microsecond=0).isoformat()}{sign}{size // 60:02}:{size % 60:02}"
    expected = (wall.replace(microsecond=0) - timedelta(minutes=minutes)).replace(tzinfo=UTC)
    assert value(connection, DIALECT.parse_timestamp("x", ZONE), text) == expected


@pytest.mark.parametrize(
    "text",
    ["2024-01-01 10:00 Europe/Paris", "2024-13-01T00:00:00-08:00", "infinity", "12:30", "ab-cd-efTgh:ij:kl-mn:op"],
)
def test_other_texts_are_no_timestamps(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    assert value(connection, DIALECT.parse_timestamp("x", ZONE), text) is None


@pytest.mark.parametrize(
    "sql",
    [
        DIALECT.trim("x"),
        DIALECT.normalize_whitespace("x"),
        DIALECT.capital_after("x", " "),
        DIALECT.first_match("x", "a"),
        DIALECT.parse_timestamp("x", ZONE),
        DIALECT.parse_date("x", ("%Y",)),
        DIALECT.try_cast("x", "DECIMAL(12,2)"),
    ],
)
def test_null_stays_null(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert value(connection, sql, None) is None


def test_capital_case_and_first_match(connection: duckdb.DuckDBPyConnection) -> None:
    assert value(connection, DIALECT.capital_after("x", " "), "mcLEAN de  lA rue") == "McLEAN De  LA Rue"
    assert value(connection, DIALECT.first_match("x", "[0-9]+"), "a12b3") == "12"
    assert value(connection, DIALECT.first_match("x", "[0-9]+"), "ab") is None


@pytest.mark.parametrize(
    ("replacement", "expected"),
    [("$2-$1", "2-1"), (r"\$1", "$1"), (r"a\\b", r"a\b"), ("x$", "x$"), (r"\x", "x")],
)
def test_replacements_name_groups_with_a_dollar(
    connection: duckdb.DuckDBPyConnection, replacement: str, expected: str
) -> None:
    assert value(connection, DIALECT.replace_all("x", "([0-9])([0-9])", replacement), "12") == expected


def test_untyped_values_lists_only_the_failed(connection: duckdb.DuckDBPyConnection) -> None:
    sql = DIALECT.untyped_values(
        [UntypedValue("it's", "x = 'a'", "x", "no number"), UntypedValue("b", "x = 'b'", "x", "no date")]
    )
    assert value(connection, sql, "a") == [{"column": "it's", "value": "a", "reason": "no number"}]
    assert value(connection, sql, "c") is None
    assert value(connection, DIALECT.untyped_values([]), "c") is None


@FEW
@given(st.one_of(st.none(), texts), st.lists(texts, min_size=1, max_size=4))
@example("a", ["a", "a"])
@example("it's", ["it's", "a"])
def test_membership_against_python(connection: duckdb.DuckDBPyConnection, text: str | None, members: list[str]) -> None:
    for asked in (text, members[0]):
        found = value(connection, DIALECT.is_one_of("x", [DIALECT.text(one) for one in members]), asked)
        assert bool(found) == (asked in members)
