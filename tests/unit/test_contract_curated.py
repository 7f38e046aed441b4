"""`curated.sql`: what the check refuses, and what the city's two summaries say of a few rows worked out by hand."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.contracts.curated import check_curated
from city_platform.contracts.load import load_contract
from city_platform.contracts.model import Contract

DATASETS = Path(__file__).parents[2] / "datasets"


def contract_of(name: str) -> Contract:
    contract, _ = load_contract((DATASETS / name / "contract.yaml").read_text("utf-8"), name)
    assert contract is not None
    return contract


TICKETS = contract_of("parking_tickets")
LICENCES = contract_of("business_licences")


@pytest.mark.parametrize(
    "query",
    [
        'SELECT Status AS "Status", count(*) AS n FROM trusted GROUP BY ALL ORDER BY "Status"',
        "WITH a AS (SELECT Status s FROM trusted), b AS (SELECT s FROM a) SELECT b.s FROM b ORDER BY s;",
        "SELECT Status AS s, sum(Block) OVER w AS t FROM trusted WINDOW w AS (PARTITION BY Street) ORDER BY s, t",
        "SELECT (SELECT max(b.Block) FROM trusted b WHERE b.Street = t.Street) AS m FROM trusted t ORDER BY m",
        "SELECT t.status AS s FROM trusted t, range(3) r(n) WHERE n < 2 ORDER BY s -- trailing comment",
        "SELECT s.x FROM (SELECT Block x FROM trusted) s ORDER BY x",
        "SELECT getvariable('report_date') AS d, Status FROM trusted ORDER BY Status",
        "SELECT * EXCLUDE (Year) FROM trusted ORDER BY ALL",
        "SELECT list_transform([Block], lambda x : x + 1) AS l FROM trusted ORDER BY l",
        "FROM trusted SELECT Status ORDER BY Status",
        "SELECT a.Status AS s, unnest([1, 2]) AS u FROM trusted a ORDER BY s, u",
    ],
)
def test_allowed(query: str) -> None:
    assert [str(one) for one in check_curated(query, "f", TICKETS)] == []


@pytest.mark.parametrize(
    ("query", "place", "problem", "remedy"),
    [
        ("SELECT *\nFROM read_csv('x')\nORDER BY 1", (2, 6), "reads from read_csv()", "read from trusted alone"),
        ("SELECT * FROM read_parquet(['x']) ORDER BY 1", (1, 15), "read_parquet()", "trusted alone"),
        ("SELECT * FROM glob('*') ORDER BY 1", (1, 15), "glob()", "trusted alone"),
        ("SELECT * FROM query('SELECT 1') ORDER BY 1", (1, 15), "query()", "trusted alone"),
        ("SELECT * FROM duckdb_secrets() ORDER BY 1", (1, 15), "duckdb_secrets()", "trusted alone"),
        ("SELECT *\nFROM 'x.csv' ORDER BY 1", (2, 6), "reads from 'x.csv'", "trusted alone"),
        ("SELECT * FROM passed ORDER BY 1", (1, 15), "reads from 'passed'", "trusted alone"),
        ("SELECT * FROM other.trusted ORDER BY 1", (1, 15), "'other.trusted'", "trusted alone"),
        ("SELECT 1 AS a FROM trusted WHERE 1 IN (SELECT a FROM 'x.csv') ORDER BY 1", (1, 54), "'x.csv'", "alone"),
        (
            (
                'SELECT 1 AS a FROM trusted WHERE EXISTS (WITH "x.csv" AS (SELECT 1 AS a) SELECT a FROM "x.csv")\n'
                'AND 1 IN (SELECT 1 FROM "x.csv") ORDER BY a'
            ),
            (2, 25),
            "'x.csv'",
            "trusted alone",
        ),
        (
            "WITH trusted AS (SELECT 1 AS a) SELECT a FROM trusted ORDER BY a",
            (1, 6),
            "a step is called",
            "another name",
        ),
        ("COPY trusted TO 'x'", (1, 1), "COPY", "write one SELECT"),
        ("ATTACH 'x'", (1, 1), "ATTACH", "write one SELECT"),
        ("INSTALL httpfs", (1, 1), "INSTALL", "write one SELECT"),
        ("LOAD httpfs", (1, 1), "statement of kind", "write one SELECT"),
        ("-- why\nPRAGMA database_list", (2, 1), "PRAGMA", "write one SELECT"),
        ("SET threads = 1", (1, 1), "SET", "write one SELECT"),
        ("DROP TABLE trusted", (1, 1), "DROP", "write one SELECT"),
        ("CREATE TABLE a AS SELECT * FROM trusted", (1, 1), "CREATE", "write one SELECT"),
        ("SELECT * FROM trusted UNION SELECT * FROM trusted ORDER BY 1", (1, 1), "UNION", "write one SELECT"),
        ("SELECT 1 AS a FROM trusted ORDER BY 1;\nSELECT Status FROM trusted", (2, 8), "second", "keep one statement"),
        ("", (1, 1), "no query", "write one SELECT"),
        ("-- nothing\n;", (1, 1), "no query", "write one SELECT"),
        ("SELECT Status\nFRM trusted WHERE", (2, 5), "not valid SQL", "near 'trusted'"),
        ("SELECT 'abc", (1, 1), "not closed", "close it"),
        ("SELECT " + "(" * 5000, (1, 1), "nests too deep", "WITH"),
        ("SELECT\n    Stauts\nFROM trusted ORDER BY 1", (2, 5), "no column 'Stauts'", "write 'Status'"),
        ("SELECT Status FROM trusted WHERE Blok > 1 ORDER BY 1", (1, 34), "no column 'Blok'", "write 'Block'"),
        (
            "WITH a AS (SELECT Block b FROM trusted)\nSELECT Block FROM a ORDER BY 1",
            (2, 8),
            "'Block'",
            "write one of: b",
        ),
        ("SELECT Status\nFROM trusted", (2, 1), "in no order", "ORDER BY"),
        ("SELECT\n  current_date AS d FROM trusted ORDER BY 1", (2, 3), "current_date", "getvariable('report_date')"),
        ("SELECT now() AS d FROM trusted ORDER BY 1", (1, 8), "now gives", "getvariable"),
        ("SELECT Status FROM trusted ORDER BY random()", (1, 37), "random gives", "getvariable"),
        ("SELECT foo(Status) AS f\nFROM trusted ORDER BY f", (1, 8), "foo does not exist", "floor"),
        ("SELECT\n  Status + Block AS f FROM trusted ORDER BY f", (2, 10), "No function matches", "correct"),
        ("SELECT Status AS s, count(*) AS n FROM trusted ORDER BY 1", (1, 8), "GROUP BY", "add it to the GROUP BY"),
        ("SELECT Status,\n  Block AS YEAR FROM trusted ORDER BY 1", (2, 3), "a column 'YEAR'", "leave it out"),
        ("SELECT * FROM trusted ORDER BY ALL", (1, 1), "a column 'Year'", "leave it out"),
        ("SELECT Status, Block AS status FROM trusted ORDER BY 1", (1, 16), "two columns", "another name"),
    ],
)
def test_refused(query: str, place: tuple[int, int], problem: str, remedy: str) -> None:
    finding, *_ = check_curated(query, "f", TICKETS)
    assert (finding.line, finding.column) == place, str(finding)
    assert problem in finding.problem
    assert remedy in finding.remedy


def test_all_mistakes_at_once() -> None:
    findings = check_curated("SELECT Stauts, now() AS n\nFROM trusted\nWHERE Blok > 1", "f", TICKETS)
    assert [(one.line, one.problem) for one in findings] == [
        (1, "there is no column 'Stauts' here"),
        (1, "now gives another value at each run"),
        (3, "the rows come in no order"),
        (3, "there is no column 'Blok' here"),
    ]


def test_columns_of_a_forbidden_relation_are_not_guessed_at() -> None:
    (finding,) = check_curated("SELECT whatever FROM 'x.csv' ORDER BY 1", "f", TICKETS)
    assert "reads from 'x.csv'" in finding.problem


_WORDS = st.sampled_from(
    [
        *("SELECT", "FROM", "trusted", "Status", "Blok", "WITH", "a", "AS", "(", ")", ",", "*", "ORDER BY", "'x'"),
        *(";", "JOIN", "ON", "=", "1", "read_csv", "UNION", "\n", "VALUES", "PIVOT", "LATERAL", "unnest", "--", '"'),
    ]
)


@settings(max_examples=200)
@given(st.lists(_WORDS, max_size=14))
def test_any_text_is_judged(words: list[str]) -> None:
    text = " ".join(words)
    for finding in check_curated(text, "f", TICKETS):
        assert 1 <= finding.line <= text.count("\n") + 1
        assert finding.column >= 1
        assert finding.problem
        assert finding.remedy


def summary(contract: Contract, columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> list[tuple[Any, ...]]:
    """What the dataset's summary gives for rows of which only some columns matter."""
    sql = (DATASETS / contract.name / "curated.sql").read_text("utf-8")
    assert check_curated(sql, "curated.sql", contract) == []
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET VARIABLE report_date = DATE '2024-12-01'")
        declared = ", ".join(f'"{column.name}" {column.sql_type}' for column in contract.columns)
        connection.execute(f"CREATE TABLE trusted ({declared})")
        names = ", ".join(columns)
        if rows:
            marks = ", ".join("?" for _ in columns)
            connection.executemany(f"INSERT INTO trusted ({names}) VALUES ({marks})", rows)
        result = connection.execute(sql)
        names_and_types = [(column[0], str(column[1])) for column in result.description or ()]
        found = result.fetchall()
    assert "year" not in {name.casefold() for name, _ in names_and_types}
    return [tuple(names_and_types), *found]


LICENCE_COLUMNS = ("Status", "NumberofEmployees", "IssuedDate", "ExpiredDate", "FeePaid")
LICENCE_TITLES = (
    ("Issued Date", "DATE"),
    ("Last Issued LTZ", "VARCHAR"),
    ("Latest Expiry Date", "DATE"),
    ("Average Fee Paid", "DECIMAL(12,2)"),
    ("Licences", "BIGINT"),
    ("Licences With Fee", "BIGINT"),
    ("Report Date", "DATE"),
)
REPORT = date(2024, 12, 1)


def licence(
    issued: str | None, fee: str | None = None, employees: int | None = 16, status: str = "Issued"
) -> tuple[object, ...]:
    return (status, employees, issued, "2024-12-31", None if fee is None else Decimal(fee))


def licences(*rows: tuple[object, ...]) -> list[tuple[Any, ...]]:
    titles, *found = summary(LICENCES, LICENCE_COLUMNS, rows)
    assert titles == LICENCE_TITLES
    return found


def test_licences_count_only_larger_businesses_that_are_issued() -> None:
    found = licences(
        licence("2024-05-01 20:00:00+00", "100.00"),
        licence("2024-05-01 20:00:00+00", "100.00", employees=15),
        licence("2024-05-01 20:00:00+00", "100.00", employees=None),
        licence("2024-05-01 20:00:00+00", "100.00", status="Cancelled"),
    )
    day, expiry = date(2024, 5, 1), date(2024, 12, 31)
    assert found == [(day, "2024-05-01T13:00:00-07:00", expiry, Decimal("100.00"), 1, 1, REPORT)]


def test_licences_belong_to_the_local_day_when_the_clock_goes_forward() -> None:
    # 2024-03-10: 01:59:59 -08:00 is followed by 03:00:00 -07:00.
    found = licences(
        licence("2024-03-10 07:59:59+00"),  # still the 9th, 23:59:59 -08:00
        licence("2024-03-10 09:59:59+00"),  # 01:59:59 -08:00
        licence("2024-03-10 10:00:00+00"),  # 03:00:00 -07:00
        licence("2024-03-11 06:59:59+00"),  # 23:59:59 -07:00, the last second of the 23 hours
        licence("2024-03-11 07:00:00+00"),
    )
    assert [(row[0], row[1], row[4]) for row in found] == [
        (date(2024, 3, 9), "2024-03-09T23:59:59-08:00", 1),
        (date(2024, 3, 10), "2024-03-10T23:59:59-07:00", 3),
        (date(2024, 3, 11), "2024-03-11T00:00:00-07:00", 1),
    ]


def test_licences_tell_the_repeated_hour_apart_when_the_clock_goes_back() -> None:
    # 2024-11-03: 01:59:59 -07:00 is followed by 01:00:00 -08:00.
    assert licences(licence("2024-11-03 08:30:00+00"))[0][1] == "2024-11-03T01:30:00-07:00"
    assert licences(licence("2024-11-03 09:30:00+00"))[0][1] == "2024-11-03T01:30:00-08:00"
    both = licences(licence("2024-11-03 08:45:00+00"), licence("2024-11-03 09:30:00+00"))
    assert [(row[0], row[1], row[4]) for row in both] == [(date(2024, 11, 3), "2024-11-03T01:30:00-08:00", 2)]


@pytest.mark.parametrize(
    ("fees", "average", "with_fee"),
    [
        (["0.01", "0.02"], "0.02", 2),  # 1.5 cents
        (["-0.01", "-0.02"], "-0.02", 2),  # away from zero
        (["10.00", None, "20.01"], "15.01", 2),  # 1500.5 cents; the missing fee counts nowhere
        (["0.01", "0.00", "0.00"], "0.00", 3),
        (["9999999999.99", "9999999999.98"], "9999999999.99", 2),  # a double would lose the cents
        ([None, None], None, 0),
    ],
)
def test_licences_average_fees_exactly(fees: list[str | None], average: str | None, with_fee: int) -> None:
    ((_, _, _, found, count, counted, _),) = licences(*(licence("2024-05-01 20:00:00+00", fee) for fee in fees))
    assert found == (None if average is None else Decimal(average))
    assert (count, counted) == (len(fees), with_fee)


def test_licences_keep_those_without_an_issue_date_at_the_end() -> None:
    found = licences(licence(None, "5.00"), licence("2024-05-01 20:00:00+00"))
    assert [(row[0], row[1], row[4]) for row in found] == [
        (date(2024, 5, 1), "2024-05-01T13:00:00-07:00", 1),
        (None, None, 1),
    ]


def test_no_licences() -> None:
    assert licences() == []


def test_tickets_per_day_offence_and_status() -> None:
    columns = ("EntryDate", "Bylaw", "Section", "Status", "InfractionText")
    titles, *found = summary(
        TICKETS,
        columns,
        [
            ("2024-03-10", 2849, "17.1", "IS", "NO STOPPING."),
            ("2024-03-10", 2849, "17.1", "IS", "NO STOPPING"),
            ("2024-03-10", 2849, "17.1", "IS", "STOPPING"),
            ("2024-03-10", 2849, "17.1", "WR", None),
            ("2024-11-03", 2849, "17.1", "IS", None),  # the offence's text is known from other days
            ("2024-03-10", 2952, "5", "IS", "BOTH B"),  # as often as the next: the first in the alphabet
            ("2024-03-10", 2952, "5", "IS", "BOTH A."),
            ("2024-03-10", 2952, "6", "IS", None),
            ("2024-03-10", 2952, "6", "IS", " . "),
            (None, None, None, None, "LOST"),
        ],
    )
    assert [name for name, _ in titles] == ["Entry Date", "Bylaw", "Section", "Infraction Text", "Status", "Tickets"]
    march, november = date(2024, 3, 10), date(2024, 11, 3)
    assert found == [
        (march, 2849, "17.1", "NO STOPPING", "IS", 3),
        (march, 2849, "17.1", "NO STOPPING", "WR", 1),
        (march, 2952, "5", "BOTH A", "IS", 2),
        (march, 2952, "6", None, "IS", 2),
        (november, 2849, "17.1", "NO STOPPING", "IS", 1),
        (None, None, None, "LOST", None, 1),
    ]


def test_the_summaries_publish_nothing_internal_or_personal() -> None:
    for contract in (TICKETS, LICENCES):
        titles, *_ = summary(contract, ("Status",), [])
        hidden = {column.name.casefold() for column in contract.columns if column.classification != "public"}
        assert not hidden & {name.casefold().replace(" ", "") for name, _ in titles}
