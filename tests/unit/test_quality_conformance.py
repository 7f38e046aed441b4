"""Each rule type: rows in, outcome, metric and failed rows out."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from city_platform.engines.duckdb import DuckDBEngine, DuckDBSession
from city_platform.quality.evaluate import evaluate
from city_platform.quality.parser import parse_ruleset
from city_platform.quality.results import Evaluation, RuleResult

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBSession]:
    scratch: Path = tmp_path_factory.mktemp("engine")
    with DuckDBEngine(scratch).session() as opened:
        yield opened


def evaluated(session: DuckDBSession, rules: str, values: str, sql_type: str = "VARCHAR") -> Evaluation:
    """Evaluates over a table `t` with the columns `n` (the row's number) and `c`, filled from a list in SQL."""
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE t AS SELECT (row_number() OVER ())::INTEGER AS n, c::{sql_type} AS c "
        f"FROM (SELECT unnest([{values}]) AS c)"
    )
    ruleset, findings = parse_ruleset(f"Rules = [ {rules} ]", "rules.dqdl")
    assert ruleset is not None, findings
    return evaluate(session, "t", ruleset, {"n": "INTEGER", "c": sql_type}, NOW)


def one(session: DuckDBSession, rule: str, values: str, sql_type: str = "VARCHAR") -> RuleResult:
    [result] = evaluated(session, rule, values, sql_type).results
    return result


def failed_rows(session: DuckDBSession, evaluation: Evaluation) -> list[int]:
    if evaluation.failed_rules_sql is None:
        return []
    tagged = session.rows(f"SELECT n, {evaluation.failed_rules_sql} FROM t ORDER BY n")
    return [row for row, failed in tagged if failed is not None]


@dataclass(frozen=True)
class Case:
    rule: str
    values: str
    outcome: str
    metric: float | None
    failed: tuple[int, ...] | None = None  # rows with the rule routed to them; None: it has no rows
    type: str = "VARCHAR"


TEN = ", ".join(str(number) for number in range(10))
CASES = [
    Case("RowCount = 3", "'a', 'b', NULL", "PASS", 3),
    Case("RowCount = 1 where \"c = 'a'\"", "'a', 'b', NULL", "PASS", 1),
    Case("RowCount between 3 and 5", "'a', 'b', NULL", "FAIL", 3),  # exclusive at both ends
    Case("RowCount not between 3 and 5", "'a', 'b', NULL", "PASS", 3),
    Case("RowCount in [1, 3]", "'a', 'b', NULL", "PASS", 3),
    Case("ColumnCount = 2", "'a'", "PASS", 2),
    Case('ColumnExists "C"', "'a'", "PASS", 1),
    Case('ColumnExists "other"', "'a'", "FAIL", 0),
    Case('ColumnNamesMatchPattern "[cn]"', "'a'", "PASS", 1),
    Case('ColumnNamesMatchPattern "^c"', "'a'", "FAIL", 0.5),
    Case('IsComplete "c"', "'a', '', NULL", "FAIL", 2 / 3, (3,)),  # an empty text is a value
    Case('IsComplete "C"', "'a', ''", "PASS", 1, ()),
    Case('Completeness "c" >= 0.5', "'a', '', NULL", "PASS", 2 / 3, (3,)),
    Case('Completeness "c" = "1.0"', "'a'", "PASS", 1, ()),
    Case('IsUnique "c"', "'a', 'a', 'b', NULL, NULL", "FAIL", 1 / 3, (1, 2)),
    Case('IsUnique "c"', "'a', 'b', NULL, NULL", "PASS", 1, ()),
    Case('IsUnique "c" "n"', "'a', 'a', NULL", "PASS", 1, ()),
    Case('IsUnique "c"', "NULL", "FAIL", None, ()),
    Case('Uniqueness "c" > 0.3', "'a', 'a', 'b', NULL", "PASS", 1 / 3, (1, 2)),
    Case('UniqueValueRatio "c" = 0.5', "'a', 'a', 'b', NULL", "PASS", 0.5),
    Case('DistinctValuesCount "c" = 2', "'a', 'a', 'b', NULL", "PASS", 2),
    Case('IsPrimaryKey "c"', "'a', 'b', NULL", "FAIL", 2 / 3, (3,)),
    Case('IsPrimaryKey "c"', "'a', 'a', 'b'", "FAIL", 1 / 3, (1, 2)),
    Case('IsPrimaryKey "c" "n"', "'a', 'a', 'b'", "PASS", 1, ()),
    Case('ColumnValues "c" > 1', "1, 2, NULL", "FAIL", 1 / 3, (1, 3), "INTEGER"),
    Case('ColumnValues "c" between 1 and 3', "1, 2, 3", "FAIL", 1 / 3, (1, 3), "INTEGER"),
    Case('ColumnValues "c" not between 1 and 3', "1, 2, 3, NULL", "FAIL", 0.5, (2, 4), "INTEGER"),
    Case('ColumnValues "c" >= 0.5', "0.49, 0.50", "FAIL", 0.5, (1,), "DECIMAL(12,2)"),
    Case('ColumnValues "c" >= 0.5', "0.25, 0.5", "FAIL", 0.5, (1,), "DOUBLE"),
    Case('ColumnValues "c" != "a"', "'a', 'b', NULL", "FAIL", 2 / 3, (1,)),
    Case('ColumnValues "c" in ["a", "b"]', "'a', 'b', NULL", "FAIL", 2 / 3, (3,)),
    Case('ColumnValues "c" in ["a", NULL]', "'a', 'b', NULL", "FAIL", 2 / 3, (2,)),
    Case('ColumnValues "c" not in ["a"]', "'a', 'b', NULL", "FAIL", 2 / 3, (1,)),
    Case('ColumnValues "c" not in ["a", NULL]', "'a', 'b', NULL", "FAIL", 1 / 3, (1, 3)),
    Case('ColumnValues "c" = NULL', "'a', NULL", "FAIL", 0.5, (1,)),
    Case('ColumnValues "c" != NULL', "'a', NULL", "FAIL", 0.5, (2,)),
    Case('ColumnValues "c" != EMPTY', "'', 'a', NULL", "FAIL", 2 / 3, (1,)),
    Case('ColumnValues "c" not in [EMPTY, WHITESPACES_ONLY]', "'', ' ', 'a', NULL", "FAIL", 0.5, (1, 2)),
    Case('ColumnValues "c" matches "[a-z]"', "'a', 'ab', NULL", "FAIL", 1 / 3, (2, 3)),  # anchored
    Case('ColumnValues "c" not matches "[a-z]"', "'a', 'ab', NULL", "FAIL", 1 / 3, (1, 3)),
    Case('ColumnValues "c" in ["A"] with ignoreCase = "true"', "'a', 'A'", "PASS", 1, ()),
    Case('ColumnValues "c" matches "[A-Z]" with ignoreCase = "true"', "'a', 'A'", "PASS", 1, ()),
    Case(
        'ColumnValues "c" > "2024-02-27"', "DATE '2024-02-27', DATE '2024-02-28', NULL", "FAIL", 1 / 3, (1, 3), "DATE"
    ),
    Case('ColumnValues "c" > (now() - 3 days)', "DATE '2024-02-27', DATE '2024-02-28'", "FAIL", 0.5, (1,), "DATE"),
    Case('ColumnValues "c" > "2024-02-27"', "'2024-02-28', 'x', '2024-02-01'", "FAIL", 1 / 3, (2, 3)),
    Case('ColumnValues "c" in ["a"] with threshold >= 0.5', "'a', 'b'", "PASS", 0.5, ()),  # tolerated
    Case('ColumnValues "c" in ["a"] with threshold > 0.5', "'a', 'b'", "FAIL", 0.5, (2,)),
    Case('ColumnValues "c" = "a" where "n < 2"', "'a', 'b'", "PASS", 1, ()),
    Case('ColumnValues "c" = "a" where "n > 1"', "'b', 'c'", "FAIL", 0, (2,)),
    Case('ColumnValues "c" = "a" where "n > 9"', "'b', 'c'", "WARN", None, ()),
    Case('ColumnValues "c" = true', "true, false", "FAIL", 0.5, (2,), "BOOLEAN"),
    Case('ColumnLength "c" between 0 and 3', "'', 'ab', NULL", "FAIL", 1 / 3, (1, 3)),  # a null has length 0 here
    Case('ColumnLength "c" = 2', "'ab', NULL", "PASS", 1, ()),
    Case('ColumnLength "c" in [2]', "'ab', NULL", "FAIL", 0.5, (2,)),
    Case('ColumnLength "c" not in [2]', "'ab', NULL", "FAIL", 0.5, (1,)),
    Case('ColumnDataType "c" = "Integer"', "'1', '2.5', 'x', NULL", "FAIL", 0.25, (2, 3, 4)),
    Case('ColumnDataType "c" != "Integer"', "'1', 'x', NULL", "FAIL", 2 / 3, (1,)),
    Case('ColumnDataType "c" = "Long"', "1, 2", "PASS", 1, (), "INTEGER"),
    Case('ColumnDataType "c" = "Integer"', "1, 2", "FAIL", 0, (1, 2), "BIGINT"),
    Case('ColumnDataType "c" = "Decimal(12,2)"', "1.5", "PASS", 1, (), "DECIMAL(10,2)"),
    Case('ColumnDataType "c" = "Date" with format = "dd/MM/yyyy"', "'31/01/2024', '01/31/2024'", "FAIL", 0.5, (2,)),
    Case('ColumnDataType "c" = "Date" with format = "dd/MM"', "'29/02', '30/02'", "FAIL", 0.5, (2,)),
    Case('ColumnDataType "c" = "Date" with threshold > 0.4', "'2024-01-31', 'x'", "PASS", 0.5, ()),
    Case('DataFreshness "c" <= 2 days', "DATE '2024-02-29', DATE '2024-02-28', NULL", "FAIL", 1 / 3, (2, 3), "DATE"),
    Case('DataFreshness "c" = 12 hours', "DATE '2024-03-01'", "PASS", 1, (), "DATE"),
    Case('DataFreshness "c" between 1 days and 60 hours', "DATE '2024-02-28'", "FAIL", 0, (1,), "DATE"),
    Case('CustomSql "select count(*) from primary" = 2', "'a', 'b'", "PASS", 2),
    Case("CustomSql \"select n, c from primary where c = 'a'\"", "'a', 'b', NULL", "FAIL", 1 / 3, (2, 3)),
    Case("CustomSql \"select c from primary where c = 'a'\" with threshold > 0.3", "'a', 'b', NULL", "PASS", 1 / 3, ()),
    Case(
        'CustomSql "select c from primary group by c having count(*) = 1"', "'a', 'a', 'b', NULL", "FAIL", 0.5, (1, 2)
    ),
    Case('Mean "c" = 1.5', "1, 2, NULL", "PASS", 1.5, None, "INTEGER"),
    Case('Mean "c" > 0', "NULL", "FAIL", None, None, "INTEGER"),
    Case('Sum "c" = 0.3', "0.1, 0.2, NULL", "PASS", 0.3, None, "DOUBLE"),
    Case('StandardDeviation "c" = 2', "2, 4, 4, 4, 5, 5, 7, 9", "PASS", 2, None, "INTEGER"),  # population
    Case('Variance "c" = 4', "2, 4, 4, 4, 5, 5, 7, 9", "PASS", 4, None, "INTEGER"),  # population
    Case('Mean "c" = 2 where "n > 1"', "9, 2, NULL", "PASS", 2, None, "INTEGER"),
    Case('Completeness "c" = 0.5 where "n > 1"', "'a', 'b', NULL", "PASS", 0.5, (3,)),
    Case('IsUnique "c" where "n > 1"', "'a', 'a', 'b'", "PASS", 1, ()),
    Case('DistinctValuesCount "c" "n" = 3', "'a', 'a', 'a'", "PASS", 3),
    Case('Entropy "c" = 0', "'a', 'a'", "PASS", 0),
    Case('ColumnCorrelation "n" "c" > 0', "1, 1, 1", "FAIL", None, None, "INTEGER"),  # no spread, no correlation
    Case('DataFreshness "c" > 30 days', "DATE '2024-01-01', DATE '2024-02-28'", "FAIL", 0.5, (2,), "DATE"),
    Case('ColumnDataType "c" = "Boolean"', "'true', 'yes', 'x'", "FAIL", 2 / 3, (3,)),
    Case('Entropy "c" between 0.69 and 0.7', "'a', 'b', NULL", "PASS", math.log(2)),  # natural logarithm
    Case('ColumnCorrelation "n" "c" = -1', "3, 2, 1", "PASS", -1, None, "INTEGER"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule} over {case.values}")
def test_semantics(session: DuckDBSession, case: Case) -> None:
    routed = case.failed is not None
    rule = case.rule + (' labels=["action"="quarantine"]' if routed else "")
    evaluation = evaluated(session, rule, case.values, case.type)
    [result] = evaluation.results
    assert result.outcome.value == case.outcome, result
    assert result.metric_value == (case.metric if case.metric is None else pytest.approx(case.metric)), result
    if case.failed is None:
        assert result.rows_failed is None
        assert evaluation.failed_rules_sql is None
    else:
        assert failed_rows(session, evaluation) == list(case.failed)
        tolerated = "with threshold" in case.rule and case.outcome == "PASS"
        assert tolerated or result.rows_failed == len(case.failed)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_no_rows_never_pass(session: DuckDBSession, case: Case) -> None:
    session.execute(f"CREATE OR REPLACE TEMP TABLE t AS SELECT 1 AS n, NULL::{case.type} AS c WHERE false")
    ruleset, _ = parse_ruleset(f"Rules = [ {case.rule} ]", "rules.dqdl")
    assert ruleset is not None
    evaluation = evaluate(session, "t", ruleset, {"n": "INTEGER", "c": case.type}, NOW)
    assert evaluation.results[0].outcome.value in {"FAIL", "ERROR"}
    assert not evaluation.passed


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ('ReferentialIntegrity "c" "other.{c}" = 1.0', "no rows of other"),
        ('DetectAnomalies "RowCount"', "no history"),
        ('Distribution "c"', "not evaluated"),
        ("RowCount > avg(last(3))", "history"),
        ("Nonsense > 1", "no rule type"),
        ('IsComplete "missing"', "no column"),
        ('ColumnValues "c" matches "("', "missing )"),
        ('Mean "c" > 1', "needs numbers"),
        ('IsComplete "c" where "nothing = 1"', "no column"),
        ('ColumnExists "c" where "n = 1"', "no `where`"),
        ('IsComplete "c" with threshold > 0.1', "no `with threshold`"),
        ('CustomSql "select count(*) from other" > 1', "not available"),
        ("CustomSql \"select * from read_csv('x')\"", "not allowed"),
        ("CustomSql \"select * from 'x.parquet'\"", "not available"),
        ('CustomSql "drop table primary"', "only one SELECT"),
        ('CustomSql "select 1; select 2" = 1', "exactly one statement"),
        ("CustomSql \"select getenv('HOME') from primary\" = 1", "not allowed"),
        ('CustomSql "select n + 1 as other from primary"', "no column"),
        ("CustomSql $undefined = 1", "not defined"),
    ],
)
def test_what_cannot_be_evaluated_is_an_error_and_leaves_the_others_alone(
    session: DuckDBSession, rule: str, reason: str
) -> None:
    evaluation = evaluated(session, f'RowCount > 0, {rule}, IsComplete "n"', "'a'")
    assert [result.outcome.value for result in evaluation.results] == ["PASS", "ERROR", "PASS"]
    assert reason in evaluation.results[1].reason
    assert not evaluation.passed


@pytest.mark.parametrize(("present", "outcome"), [(19, "PASS"), (18, "FAIL")])
def test_the_completeness_boundary_is_exact(session: DuckDBSession, present: int, outcome: str) -> None:
    values = ", ".join(["'x'"] * present + ["NULL"] * (20 - present))
    assert one(session, 'Completeness "c" >= 0.95', values).outcome.value == outcome


def test_rows_without_a_value_are_routed_even_when_the_partition_passes(session: DuckDBSession) -> None:
    rules = 'Completeness "c" >= 0.95 labels=["action"="halt"], IsComplete "c"'
    evaluation = evaluated(session, rules, ", ".join(["'x'"] * 19 + ["NULL"]))
    assert evaluation.passed
    assert failed_rows(session, evaluation) == [20]


@pytest.mark.parametrize(
    ("rule", "outcome", "failed"),
    [
        ('(ColumnValues "n" > 1) or (ColumnValues "c" > 2)', "FAIL", []),  # on the whole dataset, as AWS does
        ('((ColumnValues "n" > 1) or (ColumnValues "c" > 2)) labels=["action"="quarantine"]', "PASS", []),
        ('((ColumnValues "n" > 1) and (ColumnValues "c" > 2)) labels=["action"="quarantine"]', "FAIL", [1, 2]),
        ('(RowCount > 1) or (IsUnique "c")', "PASS", []),
        ('(RowCount > 1) and ((IsUnique "c") or (RowCount > 9))', "PASS", []),
        ('(RowCount > 1) and (SchemaMatch "other" = 1.0)', "ERROR", []),
        ('(RowCount > 1) or (SchemaMatch "other" = 1.0)', "ERROR", []),
        ('(RowCount > 1) and (IsComplete "c" where "n > 9")', "WARN", []),
        ('(RowCount > 9) and (IsComplete "c" where "n > 9")', "FAIL", []),
        ('((IsUnique "c") and (ColumnValues "n" > 1)) labels=["action"="quarantine"]', "FAIL", [1]),
    ],
)
def test_composites(session: DuckDBSession, rule: str, outcome: str, failed: list[int]) -> None:
    evaluation = evaluated(session, rule, "3, 1", "INTEGER")
    assert evaluation.results[0].outcome.value == outcome
    assert failed_rows(session, evaluation) == failed


@pytest.mark.parametrize(
    ("rule", "passed"),
    [
        ('IsComplete "c" labels=["action"="halt"]', False),
        ('IsComplete "c" labels=["action"="quarantine"]', True),
        ('IsComplete "c" labels=["action"="warn"]', True),
        ('IsComplete "missing" labels=["action"="warn"]', True),
        ('IsComplete "missing" labels=["action"="quarantine"]', False),  # nobody knows which rows to hold back
        ('IsComplete "c" where "n > 9" labels=["action"="halt"]', True),
    ],
)
def test_what_closes_the_gate(session: DuckDBSession, rule: str, passed: bool) -> None:
    assert evaluated(session, rule, "'a', NULL").passed is passed


def test_a_failed_row_lists_every_rule_it_failed(session: DuckDBSession) -> None:
    evaluation = evaluated(session, 'IsComplete "c", ColumnValues "n" < 2', "'a', NULL")
    assert session.rows(f"SELECT {evaluation.failed_rules_sql} FROM t ORDER BY n") == [
        (None,),
        (["is_complete_c", "column_values_n"],),
    ]


def test_a_quote_in_a_name_or_value_stays_a_value(session: DuckDBSession) -> None:
    session.execute("""CREATE OR REPLACE TEMP TABLE t AS SELECT 'x' AS "a""b'c" """)
    ruleset, findings = parse_ruleset(r"""Rules = [ ColumnValues "a\"b'c" in ["it's", "x"] ]""", "rules.dqdl")
    assert ruleset is not None, findings
    evaluation = evaluate(session, "t", ruleset, {"a\"b'c": "VARCHAR"}, NOW)
    assert evaluation.results[0].outcome.value == "PASS"


def test_the_same_question_is_asked_once(session: DuckDBSession, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    ask = DuckDBSession.rows
    monkeypatch.setattr(DuckDBSession, "rows", lambda self, sql: asked.append(sql) or ask(self, sql))
    uniqueness = 'IsUnique "n", Uniqueness "n" > 0, DistinctValuesCount "n" > 0'
    rules = f'{uniqueness}, IsComplete "c", Completeness "c" > 0, RowCount > 0'
    evaluated(session, rules, "'a', 'b'")
    assert len(asked) == 3  # the least and the greatest number, how many there are, and everything else
    assert asked[-1].count('count("c")') == 1
