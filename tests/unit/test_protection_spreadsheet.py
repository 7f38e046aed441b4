import csv
import io

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.engines.dialect import DuckDBDialect
from city_platform.protection.spreadsheet import escape, escaped, unescape

texts = st.text(
    alphabet=st.one_of(st.sampled_from("=+-@'\t\r\n,;\" 0aA\uff1d\uff0b\uff0d\uff20"), st.characters(codec="utf-8"))
)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("=1+1", "'=1+1"),
        ("+1 604 555 0100", "'+1 604 555 0100"),
        ("-2", "'-2"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("\uff1d1", "'\uff1d1"),
        ("'=1", "''=1"),
        ("''=1", "'''=1"),
        ("'Ohana Cafe", "'Ohana Cafe"),
        ("Cafe = Bar", "Cafe = Bar"),
        ("43.0", "43.0"),
        ("", ""),
    ],
)
def test_only_what_a_spreadsheet_would_run_is_escaped(text: str, safe: str) -> None:
    assert escape(text) == safe


@given(texts)
@settings(max_examples=300)
def test_reading_the_csv_and_unescaping_gives_the_original(text: str) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerow([escape(text)])
    file.seek(0)
    [[cell]] = csv.reader(file)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
    assert unescape(cell) == text


@given(st.lists(st.one_of(st.none(), texts.filter(lambda text: "\0" not in text)), min_size=20, max_size=50))
@settings(max_examples=30)
def test_the_engine_escapes_exactly_as_python_does(values: list[str | None]) -> None:
    with duckdb.connect() as connection:
        sql = f"SELECT {escaped('x', DuckDBDialect())} FROM (SELECT unnest(?::VARCHAR[]) AS x)"
        got = [row[0] for row in connection.execute(sql, [values]).fetchall()]
    assert got == [None if value is None else escape(value) for value in values]
