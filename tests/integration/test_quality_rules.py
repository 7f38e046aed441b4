"""The datasets' own rules, on the shape of rows they are about and on the city's files, and what evaluation costs."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from city_platform.engines.duckdb import DuckDBEngine, DuckDBSession
from city_platform.quality.evaluate import evaluate
from city_platform.quality.model import Ruleset
from city_platform.quality.parser import parse_ruleset
from city_platform.quality.results import Evaluation

ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("CITY_REAL_DATA", str(ROOT.parent / "shared" / "data"))) / "vancouver"
NOW = datetime(2025, 11, 15, tzinfo=UTC)

LICENCES = """SELECT 2000 + folderyear::INTEGER AS FileYear, licencersn::BIGINT AS LicenceRSN,
    licencenumber AS LicenceNumber, licencerevisionnumber AS LicenceRevisionNumber, status AS Status,
    issueddate::TIMESTAMPTZ AS IssuedDate, TRY_CAST(expireddate AS DATE) AS ExpiredDate,
    CASE WHEN numberofemployees <> '000' THEN TRY_CAST(numberofemployees AS DOUBLE)::INTEGER END AS NumberofEmployees,
    TRY_CAST(feepaid AS DECIMAL(12,2)) AS FeePaid, province AS Province, postalcode AS PostalCode,
    localarea AS LocalArea FROM {source}"""
TICKETS = """SELECT Block::INTEGER AS Block, Street, EntryDate::DATE AS EntryDate, Bylaw::INTEGER AS Bylaw, Section,
    Status, InfractionText, "Year"::INTEGER AS "Year", BI_ID::BIGINT AS BI_ID FROM {source}"""


@pytest.fixture
def session(tmp_path: Path) -> Iterator[DuckDBSession]:
    with DuckDBEngine(tmp_path, (REAL,)).session() as opened:
        yield opened


def rules(dataset: str, file: str = "rules.dqdl") -> Ruleset:
    ruleset, findings = parse_ruleset((ROOT / "datasets" / dataset / file).read_text(encoding="utf-8"), file)
    assert ruleset is not None, findings
    return ruleset


def evaluated(session: DuckDBSession, query: str, ruleset: Ruleset) -> Evaluation:
    session.execute(f"CREATE OR REPLACE TEMP TABLE t AS {query}")
    columns = {name: sql_type for name, sql_type, *_ in session.rows("DESCRIBE t")}
    return evaluate(session, "t", ruleset, columns, NOW)


def one_licence(**changed: str) -> str:
    """Three sound licences and one with changes, as SQL."""
    values = {
        "folderyear": "'24'",
        "licencersn": "'99'",
        "licencenumber": "'24-100099'",
        "licencerevisionnumber": "'00'",
        "status": "'Issued'",
        "issueddate": "'2024-01-31T07:30:00+00:00'",
        "expireddate": "'2024-12-31'",
        "numberofemployees": "'43.0'",
        "feepaid": "'155.0'",
        "province": "'BC'",
        "postalcode": "'V6Z 1N9'",
        "localarea": "'Downtown'",
    }
    sound = ", ".join(f"{sql} AS {name}" for name, sql in (values | {"licencersn": "i::VARCHAR"}).items())
    other = ", ".join(f"{sql} AS {name}" for name, sql in (values | changed).items())
    return f"(SELECT {sound} FROM range(30) r(i) UNION ALL SELECT {other})"


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"feepaid": "'-123'"}, "fee_not_negative"),
        ({"expireddate": "'0209-12-31'"}, "expired_date_plausible"),
        ({"expireddate": "'2024-01-29'"}, "expires_after_issue"),
        ({"status": "NULL"}, "is_complete_status"),
        ({"status": "'Suspended'"}, "status_known"),
        ({"numberofemployees": "'148358'"}, "employees_plausible"),
        ({"licencersn": "'5'"}, "licence_key"),
        ({"licencersn": "NULL"}, "licence_key"),
        ({"issueddate": "'2031-01-01T00:00:00+00:00'", "expireddate": "NULL"}, "issued_not_in_future"),
        ({"licencenumber": "'24-99'"}, "licence_number_form"),
    ],
)
def test_a_licence_that_cannot_be_right_is_held_back(
    session: DuckDBSession, changed: dict[str, str], rule: str
) -> None:
    evaluation = evaluated(session, LICENCES.format(source=one_licence(**changed)), rules("business_licences"))
    found = session.rows(f"SELECT f FROM (SELECT {evaluation.failed_rules_sql} AS f FROM t) WHERE f IS NOT NULL")
    assert found
    assert all(rule in failed for (failed,) in found)
    assert evaluation.passed


def test_a_sound_licence_passes_and_an_unpaid_undated_one_too(session: DuckDBSession) -> None:
    source = one_licence(issueddate="NULL", expireddate="NULL", feepaid="NULL", numberofemployees="'000'")
    evaluation = evaluated(session, LICENCES.format(source=source), rules("business_licences"))
    assert evaluation.passed
    assert evaluation.failed_rules_sql is None


def test_the_source_rules_run_word_for_word_and_decide_nothing(session: DuckDBSession) -> None:
    ruleset = rules("business_licences", "source_rules.dqdl")
    evaluation = evaluated(session, LICENCES.format(source=one_licence(status="NULL")), ruleset)
    assert [result.rule_text for result in evaluation.results] == [
        'Completeness "status" >= 0.95',
        'Uniqueness "numberofemployees" < 20',
        'DataFreshness "issueddate" > 30 days',
    ]
    assert [result.action.value for result in evaluation.results] == ["warn"] * 3
    assert evaluation.passed
    assert evaluation.failed_rules_sql is None


@pytest.mark.real_data
@pytest.mark.parametrize("file", ["api-rows-2013-2024.csv", "api-rows-2024-plus.csv", "portal-subset-2025.csv"])
def test_the_citys_licences_pass_the_gate(session: DuckDBSession, file: str) -> None:
    path = REAL / "business-licences" / file
    if not path.exists():
        pytest.skip(f"{path} is absent: set CITY_REAL_DATA to the folder of real files")
    source = f"read_csv('{path}', all_varchar = true)"
    evaluation = evaluated(session, LICENCES.format(source=source), rules("business_licences"))
    assert evaluation.passed
    assert not [result for result in evaluation.results if result.outcome.value == "ERROR"]
    assert sum(result.rows_failed or 0 for result in evaluation.results if result.route.value == "row") < 100


@pytest.mark.real_data
def test_the_citys_parking_tickets_pass_the_gate(session: DuckDBSession) -> None:
    path = REAL / "parking-tickets" / "parking_tickets_1.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is absent: set CITY_REAL_DATA to the folder of real files")
    source = f"read_json('{path}', format = 'newline_delimited')"
    evaluation = evaluated(session, TICKETS.format(source=source), rules("parking_tickets"))
    assert evaluation.passed
    assert not [result for result in evaluation.results if result.outcome.value == "ERROR"]


def test_thirty_rules_cost_a_few_scans(session: DuckDBSession, tmp_path: Path) -> None:
    """A guard against a rule being evaluated on its own, which costs ten scans and more; the target itself is 3."""
    file = tmp_path / "rows.parquet"
    session.execute(
        f"COPY (SELECT i AS id, 'word ' || (i % 50) AS word, i % 1000 AS n, (i % 997) / 7 AS amount, "
        f"CASE WHEN i % 9 > 0 THEN 'text ' || (i % 9000) END AS label, DATE '2020-01-01' + (i % 900)::INTEGER AS day "
        f"FROM range(300000) r(i)) TO '{file}'"
    )
    session.view("t", [file])
    columns = {name: sql_type for name, sql_type, *_ in session.rows("DESCRIBE t")}
    by_column = [f'Completeness "{name}" > 0.5, IsComplete "{name}"' for name in columns]
    values = [f'ColumnValues "n" != {number}' for number in range(10)]
    others = [
        'Mean "n" > 1',
        'Sum "n" > 1',
        'IsUnique "id"',
        'DistinctValuesCount "word" < 99',
        'Entropy "word" > 1',
        'ColumnValues "day" > "2019-12-31"',
        'ColumnLength "word" < 9',
        'DataFreshness "day" < 9000 days',
    ]
    ruleset, findings = parse_ruleset(f"Rules = [ {', '.join(by_column + values + others)} ]", "rules.dqdl")
    assert ruleset is not None, findings
    assert len(ruleset.rules) == 30
    scan_sql = ", ".join(f'count("{name}"), min("{name}"), max("{name}")' for name in columns)
    scans, evaluations = [], []
    for _ in range(3):
        started = time.perf_counter()
        session.rows(f"SELECT {scan_sql} FROM t")
        scans.append(time.perf_counter() - started)
        started = time.perf_counter()
        evaluate(session, "t", ruleset, columns, NOW)
        evaluations.append(time.perf_counter() - started)
    assert min(evaluations) < 10 * min(scans)
