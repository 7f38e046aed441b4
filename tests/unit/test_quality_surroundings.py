"""Rules about more than the partition's own rows: what is around them in, outcome out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from city_platform.engines.duckdb import DuckDBEngine, DuckDBSession
from city_platform.quality.evaluate import evaluate
from city_platform.quality.parser import parse_ruleset
from city_platform.quality.references import Extent, ReferenceUse
from city_platform.quality.results import Evaluation
from city_platform.quality.surroundings import Reference, SourceFile, Surroundings

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
COLUMNS = {"id": "INTEGER", "area": "VARCHAR", "amount": "DECIMAL(6,2)", "day": "DATE"}
ROWS = """(1, 'North', 1.50, DATE '2024-01-01'), (2, 'South', 2.50, DATE '2024-01-02'),
    (3, NULL, NULL, NULL), (4, 'West', 4.00, DATE '2024-01-04')"""
# The reference has the same rows but one: another amount for 2, no 4, and a name that nobody uses.
OTHER = """(1::BIGINT, 'North', 1.5::DECIMAL(8,3)), (2, 'South', 9), (3, NULL, NULL), (7, 'Centre', 4)"""
DIGESTS = ("a" * 64, "b" * 64, "a" * 64)
FILES = tuple(
    SourceFile(name, size, digest, NOW - timedelta(days=age))
    for name, size, digest, age in zip(
        ("a.csv", "b.csv", "c.jsonl"), (1024, 3 << 20, 1024), DIGESTS, (1, 5, 30), strict=True
    )
)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBSession]:
    with DuckDBEngine(tmp_path_factory.mktemp("engine")).session() as opened:
        names = ", ".join(COLUMNS)
        opened.execute(f"CREATE TEMP TABLE t AS SELECT * FROM (VALUES {ROWS}) AS v({names})")
        opened.execute("UPDATE t SET amount = amount")
        opened.execute(f"CREATE TEMP TABLE other AS SELECT * FROM (VALUES {OTHER}) AS v(key, name, amount)")
        opened.execute("CREATE TEMP TABLE nothing AS SELECT * FROM other WHERE false")
        opened.execute("CREATE TEMP TABLE twice AS SELECT * FROM other UNION ALL SELECT * FROM other")
        opened.execute(f"CREATE TEMP TABLE copy AS SELECT * FROM (VALUES {ROWS}) AS v({names})")
        yield opened


def references() -> Mapping[ReferenceUse, Reference | str]:
    columns = {"key": "BIGINT", "name": "VARCHAR", "amount": "DECIMAL(8,3)"}
    tables = {
        "other": Reference("other", columns),
        "nothing": Reference("nothing", columns),
        "twice": Reference("twice", columns),
        "copy": Reference("copy", COLUMNS),
        "absent": "no checked data of absent is in the lake",
    }
    return {ReferenceUse(name, extent): table for name, table in tables.items() for extent in Extent}


def evaluated(session: DuckDBSession, rules: str, around: Surroundings, analyzers: str = "") -> Evaluation:
    text = f"Rules = [ {rules} ] " + (f"Analyzers = [ {analyzers} ]" if analyzers else "")
    ruleset, findings = parse_ruleset(text, "rules.dqdl")
    assert ruleset is not None, findings
    return evaluate(session, "t", ruleset, COLUMNS, NOW, around)


@dataclass(frozen=True)
class Case:
    rule: str
    outcome: str
    metric: float | None = None
    failed: tuple[int, ...] | None = None  # ids of the rows routed to failed/
    reason: str = ""


COMPARISONS = [
    Case('ReferentialIntegrity "id" "other.key" = 0.75', "PASS", 0.75, (4,)),
    Case('ReferentialIntegrity "id" "other.{key}" > 0.9', "FAIL", 0.75, (4,)),
    Case('ReferentialIntegrity "area" "other.name" >= 0.5', "PASS", 0.5, (3, 4)),  # a missing key has no counterpart
    Case('ReferentialIntegrity "id,area" "other.{key, name}" = 0.5', "PASS", 0.5, (3, 4)),
    Case('ReferentialIntegrity "amount" "other.amount" = 0.5', "PASS", 0.5, (2, 3)),  # 4.00 is 4.000
    Case('ReferentialIntegrity "id" "nothing.key" = 0.0', "PASS", 0, (1, 2, 3, 4)),
    Case('ReferentialIntegrity "id" "primary.id" = 1.0', "PASS", 1, ()),
    Case('ReferentialIntegrity "id" "other.name" = 1.0', "ERROR", reason="cannot be compared"),
    Case('ReferentialIntegrity "id" "other.nowhere" = 1.0', "ERROR", reason='no column "nowhere" in other'),
    Case('ReferentialIntegrity "id,area" "other.key" = 1.0', "ERROR", reason="2 columns cannot be compared with 1"),
    Case('ReferentialIntegrity "id" "absent.key" = 1.0', "ERROR", reason="no checked data of absent"),
    Case('ReferentialIntegrity "id" "unknown.key" = 1.0', "ERROR", reason="no rows of unknown"),
    Case('DatasetMatch "other" "id->key" "amount" = 0.5', "PASS", 0.5, (2, 4)),  # missing amounts match each other
    Case('DatasetMatch "other" "id->key" "amount, area->name" >= 0.6', "FAIL", 0.5, (2, 4)),
    Case('DatasetMatch "copy" "id" = 1.0', "PASS", 1, ()),  # every other column
    Case('DatasetMatch "other" "id->key" = 1.0', "ERROR", reason='no column "area" in other'),
    Case('DatasetMatch "twice" "id->key" "amount" = 1.0', "ERROR", reason="not unique in twice"),
    Case('RowCountMatch "other" = 1.0', "PASS", 1),
    Case('RowCountMatch "twice" between 0.4 and 0.6', "PASS", 0.5),
    Case('RowCountMatch "nothing" = 1.0', "FAIL", None),
    Case('SchemaMatch "copy" = 1.0', "PASS", 1),
    Case('SchemaMatch "other" = 0', "PASS", 0),  # other numbers of columns
    Case('AggregateMatch "sum(amount)" "sum(copy.amount)" = 1.0', "PASS", 1),
    Case('AggregateMatch "avg(amount)" "avg(other.amount)" < 0.6', "PASS", (8 / 3) / (14.5 / 3)),
    Case('AggregateMatch "sum(amount)" "sum(nothing.amount)" > 0', "FAIL", None),
    Case('AggregateMatch "SUM(id)" "sum(id)" = 1.0', "PASS", 1),
    Case('AggregateMatch "sum(area)" "sum(amount)" = 1.0', "ERROR", reason="needs numbers"),
    Case('AggregateMatch "count(id)" "sum(amount)" = 1.0', "ERROR", reason="is no aggregate"),
]


@pytest.mark.parametrize("case", COMPARISONS, ids=lambda case: case.rule)
def test_comparisons_between_datasets(session: DuckDBSession, case: Case) -> None:
    routed = ' labels=["action"="quarantine"]' if case.failed is not None else ""
    evaluation = evaluated(session, case.rule + routed, Surroundings(references=references()))
    [result] = evaluation.results
    assert result.outcome.value == case.outcome, result
    assert case.reason in result.reason
    if case.outcome != "ERROR":
        assert result.metric_value == (case.metric if case.metric is None else pytest.approx(case.metric))
    if case.failed is not None:
        tag = evaluation.failed_rules_sql or "NULL"
        assert session.rows(f"SELECT id FROM t WHERE ({tag}) IS NOT NULL ORDER BY id") == [
            (row,) for row in case.failed
        ]


EARLIER = {"RowCount": (1.0, 2.0, 6.0), 'Completeness "area"': (0.75,), 'ColumnValues "amount" minimum': (1.5, 1.0)} | {
    'ColumnValues "amount" maximum': (3.0, 4.0),
    'ColumnValues "area" = "North"': (0.2,),
}
DYNAMIC = [
    Case("RowCount > last()", "FAIL", 4),  # the newest of before is 6
    Case("RowCount > last(1)", "FAIL", 4),
    Case("RowCount > avg(last(3))", "PASS", 4),
    Case("RowCount = avg(last(2))", "PASS", 4),
    Case("RowCount >= min(last(2)) * 2", "PASS", 4),
    Case("RowCount < max(last(10)) - 1", "PASS", 4),  # fewer than ten are all there are
    Case("RowCount = median(last(3)) + 2", "PASS", 4),
    Case("RowCount < sum(last(2))", "PASS", 4),
    Case("RowCount between avg(last(3)) - std(last(3)) and avg(last(3)) + std(last(3))", "PASS", 4),
    Case("RowCount = std(last(2)) + 2", "PASS", 4),  # of the population
    Case("RowCount = percentile(last(3), 50) * 2", "PASS", 4),
    Case("RowCount = percentile(last(3), 75)", "PASS", 4),
    Case("RowCount = index(last(3), 1) * 2", "PASS", 4),
    Case("RowCount = abs(last() - 10)", "PASS", 4),
    Case("RowCount in [1, last(1) - 2]", "PASS", 4),
    Case('Completeness "area" = last()', "PASS", 0.75),
    Case('Completeness "Area" >= last()', "PASS", 0.75),  # columns whatever their case
    Case('Completeness "day" >= last()', "WARN", 0.75, reason="no earlier partition"),
    Case("RowCount > index(last(5), 4)", "WARN", 4, reason="only 3 earlier"),
    Case("RowCount > last(2)", "ERROR", reason="say which one is meant"),
    Case("RowCount > last(0)", "ERROR", reason="from 1 to 100"),
    Case("RowCount > last(101)", "ERROR", reason="from 1 to 100"),
    Case("RowCount > index(last(3), 3)", "ERROR", reason="counts from 0"),
    Case("RowCount > mode(last(3))", "ERROR", reason="is not understood"),
    Case("RowCount > percentile(last(3), 0.9)", "ERROR", reason="percent from 0 to 100"),
    Case("RowCount > last() / 0", "ERROR", reason="division by zero"),
    # Values are compared with the smallest and the largest of before.
    Case('ColumnValues "amount" >= min(last(2))', "FAIL", 0.75),
    Case('ColumnValues "amount" >= min(last(2)) where "amount is not null"', "WARN", None, reason="no earlier"),
    Case('ColumnValues "amount" <= max(last(2))', "FAIL", 0.75),
    Case('ColumnValues "amount" between last() - 1 and last() + 1 with threshold >= 0.75', "PASS", 0.75),
    Case('ColumnValues "amount" = last()', "ERROR", reason="by <, <=, >, >= and between"),
    Case('ColumnValues "area" = "North" with threshold > last()', "PASS", 0.25),
    Case('ColumnValues "area" = "South" with threshold > last()', "WARN", 0.25, reason="no earlier"),
]


@pytest.mark.parametrize("case", DYNAMIC, ids=lambda case: case.rule)
def test_dynamic_rules(session: DuckDBSession, case: Case) -> None:
    [result] = evaluated(session, case.rule, Surroundings(earlier=EARLIER)).results
    assert result.outcome.value == case.outcome, result
    assert case.reason in result.reason
    if case.outcome != "ERROR":
        assert result.metric_value == (case.metric if case.metric is None else pytest.approx(case.metric))


def test_a_rule_that_abstains_moves_no_rows_and_leaves_its_figures(session: DuckDBSession) -> None:
    rules = (
        'RowCount > last(), ColumnValues "amount" > last() labels=["action"="quarantine"], '
        'ColumnValues "area" = "North" with threshold > last() labels=["action"="quarantine"]'
    )
    evaluation = evaluated(session, rules, Surroundings(earlier={}))
    assert [result.outcome.value for result in evaluation.results] == ["WARN"] * 3
    assert evaluation.failed_rules_sql is None
    assert evaluation.passed
    assert evaluation.figures == {
        "RowCount": 4,
        'ColumnValues "amount" minimum': 1.5,
        'ColumnValues "amount" maximum': 4,
        'ColumnValues "area" = "North"': 0.25,
    }


@pytest.mark.parametrize("rule", ["RowCount > last()", 'DetectAnomalies "RowCount"'])
def test_without_a_history_there_is_nothing_to_judge_by(session: DuckDBSession, rule: str) -> None:
    [result] = evaluated(session, rule, Surroundings()).results
    assert result.outcome.value == "ERROR"
    assert "no history" in result.reason


FILE_CASES = [
    Case("FileSize > 1 KB", "FAIL", 1 / 3),
    Case("FileSize >= 1 KB", "PASS", 1),
    Case("FileSize between 2 MB and 1 GB with threshold > 0.3", "PASS", 1 / 3),
    Case("FileSize < 2 MB with recentFiles = 1", "PASS", 1),
    Case("FileFreshness > (now() - 2 days) with recentFiles = 1", "PASS", 1),
    Case('FileSize > 2 MB with uriRegex = "^b"', "PASS", 1),
    Case('FileSize > 2 MB with uriRegex = "^z"', "ERROR", reason="no file"),
    Case("FileFreshness > (now() - 6 days)", "FAIL", 2 / 3),
    Case("FileFreshness > (now() - 6 days) with threshold > 0.5", "PASS", 2 / 3),
    Case('FileFreshness between "2024-01-01" and "2024-03-01"', "PASS", 1),
    Case('FileFreshness > "soon"', "ERROR", reason="is not a date"),
    Case(f'FileMatch in ["{"a" * 64}", "{"B" * 64}"]', "PASS", 1),
    Case(f'FileMatch in ["{"a" * 64}"]', "FAIL", 2 / 3),
    Case(f'FileMatch in ["{"a" * 32}"] with hashAlgorithm = "MD5"', "ERROR", reason="SHA-256 only"),
    Case('FileMatch in ["abc"]', "ERROR", reason="64 hexadecimal"),
    Case("FileUniqueness > 0.3", "PASS", 1 / 3),
    Case('FileSize "s3://bucket/file" > 1 KB', "ERROR", reason="leave the path out"),
]


@pytest.mark.parametrize("case", FILE_CASES, ids=lambda case: case.rule)
def test_rules_about_the_files(session: DuckDBSession, case: Case) -> None:
    [result] = evaluated(session, case.rule, Surroundings(files=FILES)).results
    assert result.outcome.value == case.outcome, result
    assert case.reason in result.reason
    if case.outcome != "ERROR":
        assert result.metric_value == pytest.approx(case.metric)


@pytest.mark.parametrize(
    ("earlier", "outcome", "said"),
    [
        ((4, 4), "WARN", "2 earlier partitions have this figure, and 3 are needed"),
        ((4, 4, 4), "PASS", "4 where about 4 was expected"),
        ((4.03, 4.03, 4.03), "PASS", "between 3.9"),  # a hair is no alarm
        ((9, 9, 9), "FAIL", "4 where about 9 was expected (between 8.91 and 9.09, from 3 earlier partitions)"),
        ((10, 9, 8, 7, 6, 5), "PASS", "about 4 was expected"),  # it has been falling all the time
        ((9, 9, 900, 9, 9, 9, 9), "FAIL", "about 9 was expected"),  # one bad partition of before moves nothing
    ],
)
def test_anomalies(session: DuckDBSession, earlier: Sequence[float], outcome: str, said: str) -> None:
    around = Surroundings(earlier={"RowCount": earlier})
    [result] = evaluated(session, 'DetectAnomalies "RowCount"', around).results
    assert result.outcome.value == outcome, result
    assert said in result.explanation
    assert result.metric_value == (1.0 if outcome == "FAIL" else 0.0)


def test_anomalies_know_the_season(session: DuckDBSession) -> None:
    week = [100, 100, 100, 100, 100, 4, 4]
    earlier = {"RowCount": [*week, *week, *week[:5]]}  # the next day is a Saturday
    [flat] = evaluated(session, 'DetectAnomalies "RowCount"', Surroundings(earlier=earlier)).results
    [weekly] = evaluated(session, 'DetectAnomalies "RowCount"', Surroundings(earlier=earlier, season=7)).results
    assert (flat.outcome.value, weekly.outcome.value) == ("FAIL", "PASS")
    assert "the season considered" in weekly.explanation


@pytest.mark.parametrize(
    ("rule", "watched", "outcome"),
    [
        ('DetectAnomalies "Mean" "amount"', 'Mean "amount"', "PASS"),
        ('DetectAnomalies "ColumnValues" "amount"', 'ColumnValues "amount" maximum', "FAIL"),
        ('DetectAnomalies "ColumnLength" "area"', 'ColumnLength "area" minimum', "FAIL"),
        (
            'DetectAnomalies "CustomSQL" "select max(id) from primary"',
            'CustomSql "select max(id) from primary"',
            "FAIL",
        ),
    ],
)
def test_what_can_be_watched(session: DuckDBSession, rule: str, watched: str, outcome: str) -> None:
    evaluation = evaluated(session, rule, Surroundings(earlier={watched: [8 / 3] * 5}))
    assert evaluation.results[0].outcome.value == outcome, evaluation.results
    assert watched in evaluation.figures
    assert watched in evaluation.results[0].explanation


def test_what_has_no_figures_cannot_be_watched(session: DuckDBSession) -> None:
    [result] = evaluated(session, 'DetectAnomalies "IsComplete" "id"', Surroundings(earlier={})).results
    assert result.outcome.value == "ERROR"
    assert "no figures to watch" in result.reason


def test_analyzers_measure_and_demand_nothing(session: DuckDBSession) -> None:
    evaluation = evaluated(
        session, "RowCount > 0", Surroundings(), 'AllStatistics "amount", ColumnLength "area", Sum "area"'
    )
    assert [result.rule_id for result in evaluation.results] == ["row_count"]
    assert evaluation.figures == {
        "ColumnCount": 4,
        'ColumnLength "area" maximum': 5,
        'ColumnLength "area" minimum': 4,
        'ColumnValues "amount" maximum': 4,
        'ColumnValues "amount" minimum': 1.5,
        'Completeness "amount"': 0.75,
        'Entropy "amount"': pytest.approx(1.0986122887),
        'Mean "amount"': pytest.approx(8 / 3),
        "RowCount": 4,
        'StandardDeviation "amount"': pytest.approx(1.0274023338),
        'Sum "amount"': 8,
        'Uniqueness "amount"': 1,
    }
    assert evaluation.unmeasured == {'Sum "area"': 'Sum needs numbers, and "area" is VARCHAR'}


@pytest.mark.parametrize("case", [*COMPARISONS, *DYNAMIC, *FILE_CASES], ids=lambda case: case.rule)
def test_no_rows_never_pass(session: DuckDBSession, case: Case) -> None:
    session.execute("CREATE OR REPLACE TEMP TABLE empty AS SELECT * FROM t WHERE false")
    ruleset, _ = parse_ruleset(f"Rules = [ {case.rule} ]", "rules.dqdl")
    assert ruleset is not None
    around = Surroundings(references=references(), earlier=EARLIER, files=FILES)
    evaluation = evaluate(session, "empty", ruleset, COLUMNS, NOW, around)
    assert evaluation.results[0].outcome.value in {"FAIL", "ERROR"}
    assert not evaluation.passed
    assert not evaluation.figures  # nothing is no evidence for the next partition either
