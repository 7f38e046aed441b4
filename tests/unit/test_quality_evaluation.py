"""What holds for any rows and any rules."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from city_platform.engines.duckdb import DuckDBEngine, DuckDBSession
from city_platform.quality.evaluate import evaluate
from city_platform.quality.parser import parse_ruleset
from city_platform.quality.references import Extent, ReferenceUse
from city_platform.quality.results import Evaluation, Outcome
from city_platform.quality.surroundings import Reference, Surroundings

NOW = datetime(2024, 3, 1, tzinfo=UTC)
COLUMNS = {"n": "BIGINT", "word": "VARCHAR", "amount": "DOUBLE", "day": "DATE"}
ROW = st.tuples(
    st.none() | st.integers(-3, 3),
    st.none() | st.sampled_from(["a", "b", "A", "", " ", "12", "2024-01-31", "it's"]),
    st.none() | st.sampled_from([0.1, 0.2, 0.3, -1.5, 1e6]),
    st.none() | st.sampled_from([date(2024, 2, 29), date(2024, 1, 1), date(2030, 1, 1)]),
)
# Rules that judge rows, with the share of rows as the metric where no `where` narrows it.
BY_ROW = [
    'IsComplete "word"',
    'Completeness "n" > 0.5',
    'IsUnique "n"',
    'IsUnique "n" "word"',
    'IsPrimaryKey "n"',
    'IsPrimaryKey "n" "word"',
    'ColumnValues "n" > 0',
    'ColumnValues "n" not between -1 and 2',
    'ColumnValues "word" in ["a", NULL]',
    'ColumnValues "word" not in ["a", EMPTY]',
    'ColumnValues "word" != "a" where "n > 0"',
    'ColumnValues "word" matches "[a-z]*" with threshold > 0.5',
    'ColumnLength "word" >= 1',
    'ColumnDataType "word" = "Integer"',
    'DataFreshness "day" < 10 days',
    'ColumnValues "day" <= now()',
    'CustomSql "select * from primary where n > 0"',
    'CustomSql "select n, word from primary group by n, word having count(*) = 1"',
    '(IsComplete "n") or (ColumnValues "word" = "a")',
    'ReferentialIntegrity "n,word" "other.{n,word}" = 1.0',
    '(IsUnique "word") and (ColumnValues "n" > 0 where "amount > 0")',
]
WHOLE = [
    "RowCount > 3",
    'Mean "amount" > 0.2',
    'Sum "amount" > 0.6',
    'StandardDeviation "amount" < 1',
    'Entropy "word" > 0.5',
    'ColumnCorrelation "n" "amount" > 0',
    'DistinctValuesCount "word" > 2',
    'UniqueValueRatio "word" > 0.5',
    'Variance "amount" < 1',
    'DatasetMatch "other" "n" "word" > 0.5',
    'RowCountMatch "other" > 1',
    'AggregateMatch "sum(amount)" "avg(other.amount)" > 1',
    'IsComplete "nowhere"',
]
OTHER = "VALUES (1, 'a', 0.1), (2, NULL, 0.2), (3, 'b', 0.3)"
AROUND = Surroundings(
    references={
        ReferenceUse("other", extent): Reference("other", {"n": "INTEGER", "word": "VARCHAR", "amount": "DOUBLE"})
        for extent in Extent
    }
)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBSession]:
    with DuckDBEngine(tmp_path_factory.mktemp("engine"), (tmp_path_factory.getbasetemp(),)).session() as opened:
        opened.execute(f"CREATE TEMP TABLE other AS SELECT * FROM ({OTHER}) AS v(n, word, amount)")
        yield opened


def table(rows: list[tuple[object, ...]]) -> pa.Table:
    types = [pa.int64(), pa.string(), pa.float64(), pa.date32()]
    columns = [pa.array([row[place] for row in rows], kind) for place, kind in enumerate(types)]
    return pa.table([*columns, pa.array(range(len(rows)), pa.int64())], names=[*COLUMNS, "_row"])


def judged(session: DuckDBSession, rows: list[tuple[object, ...]], rules: list[str], action: str) -> Evaluation:
    session.connection.register("source", table(rows))
    session.execute("CREATE OR REPLACE TEMP TABLE t AS SELECT * FROM source")
    return evaluated(session, rules, action)


def evaluated(session: DuckDBSession, rules: list[str], action: str, files: Sequence[Path] = ()) -> Evaluation:
    labelled = ", ".join(
        f'({rule}) labels=["action"="{action}", "name"="rule_{place}"]' for place, rule in enumerate(rules)
    )
    ruleset, findings = parse_ruleset(f"Rules = [ {labelled} ]", "rules.dqdl")
    assert ruleset is not None, findings
    return evaluate(session, "t", ruleset, COLUMNS, NOW, AROUND, files)


def failed(session: DuckDBSession, evaluation: Evaluation) -> dict[int, list[str]]:
    if evaluation.failed_rules_sql is None:
        return {}
    tagged = session.rows(f"SELECT _row, {evaluation.failed_rules_sql} AS _failed_rules FROM t")
    return {row: rules for row, rules in tagged if rules is not None}


quick = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(st.lists(ROW, max_size=12), st.lists(st.sampled_from(BY_ROW), max_size=6, unique=True))
def test_every_row_is_passed_or_failed_and_every_failed_row_says_why(
    session: DuckDBSession, rows: list[tuple[object, ...]], rules: list[str]
) -> None:
    evaluation = judged(session, rows, rules, "quarantine")
    failing = failed(session, evaluation)
    assert all(failing.values())
    known = {result.rule_id: result for result in evaluation.results}
    for result in known.values():
        routed = sum(result.rule_id in names for names in failing.values())
        tolerated = "with threshold" in result.rule_text and result.outcome is Outcome.PASS
        assert routed == (0 if tolerated else result.rows_failed or 0), result
    passed = session.rows(f"SELECT count(*) FROM t WHERE ({evaluation.failed_rules_sql or 'NULL'}) IS NULL")[0][0]
    assert passed + len(failing) == evaluation.rows == len(rows)


@quick
@given(st.lists(ROW, min_size=1, max_size=12), st.sampled_from(BY_ROW))
@example([(None, "a", None, None)], '(IsUnique "word") and (ColumnValues "n" > 0 where "amount > 0")')
def test_the_partition_and_its_rows_agree(session: DuckDBSession, rows: list[tuple[object, ...]], rule: str) -> None:
    evaluation = judged(session, rows, [rule], "quarantine")
    [result] = evaluation.results
    assert result.rows_failed is not None
    if result.metric_value is None:
        assert result.outcome in {Outcome.WARN, Outcome.FAIL}
        return
    if result.metric_name in {"compliance", "completeness", "complete_and_unique", "referential_integrity"}:
        share = (result.rows_checked - result.rows_failed) / result.rows_checked
        assert result.metric_value == pytest.approx(share)
    if result.outcome is Outcome.WARN:  # a part had nothing to judge, the rest no fault to find
        assert result.rows_failed == 0
    elif ">" not in result.threshold:
        assert (result.outcome is Outcome.PASS) is (result.rows_failed == 0)


@settings(quick, max_examples=15)
@given(st.lists(ROW, max_size=12).flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))))
def test_the_order_of_the_rows_does_not_matter(
    session: DuckDBSession, rows: tuple[list[tuple[object, ...]], list[tuple[object, ...]]]
) -> None:
    first, second = (judged(session, one, BY_ROW + WHOLE, "halt").results for one in rows)
    assert first == second


@settings(quick, max_examples=10)
@given(st.lists(ROW, min_size=1, max_size=12), st.sets(st.integers(0, 12)))
def test_how_the_rows_are_split_into_files_does_not_matter(
    session: DuckDBSession, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]], cuts: set[int]
) -> None:
    whole, folder = table(rows), tmp_path_factory.mktemp("files")
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    files = [folder / f"{start}.parquet" for start in edges[:-1]]
    for file, (start, end) in zip(files, pairwise(edges), strict=True):
        # Footers that tell nothing of some columns, or of some files.
        told = ["n", "amount"] if start else ["n", "word"]
        pq.write_table(whole.slice(start, end - start), file, write_statistics=told)
    in_one = judged(session, rows, BY_ROW + WHOLE, "quarantine")
    failing = failed(session, in_one)
    session.execute("DROP TABLE t")
    session.view("t", files)
    in_many = evaluated(session, BY_ROW + WHOLE, "quarantine", files)
    found = failed(session, in_many)
    session.execute("DROP VIEW t")
    assert (in_many.results, in_many.figures) == (in_one.results, in_one.figures)
    assert found == failing


def test_what_footers_tell_is_not_counted_again(session: DuckDBSession, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    rows = pa.table({"n": pa.array([1, None, 3], pa.int64()), "word": pa.array(["a", None, None], pa.string())})
    pq.write_table(rows, file, write_statistics=["n"])
    # The relation is another one on purpose: who says that it is the file's rows is believed.
    session.execute(
        "CREATE OR REPLACE TEMP TABLE t AS SELECT 1::BIGINT AS n, 'a' AS word, 0.1 AS amount, NULL::DATE AS day"
    )
    found = evaluated(session, ['IsComplete "n"', 'IsComplete "word"'], "quarantine", [file, file])
    session.execute("DROP TABLE t")
    assert [one.metric_value for one in found.results] == [4.0, 1.0]


@pytest.mark.parametrize(
    ("rule", "failing"),
    [
        ('IsUnique "n" where "n > 100000"', 99_998),
        ('ColumnValues "n" not in [1, 2, 3, 4, 5, 6, 7, 8]', 16),
        ('ColumnValues "n" < 5 where "n in (1, 2, 3, 4, 5, 6, 7)"', 6),
        ('CustomSql "select * from primary where n not in (1, 2, 3, 4, 5, 6, 7)"', 14),
        ('CustomSql "select n from primary where n > (select max(n) - 10 from primary)"', 299_980),
        ('CustomSql "select * from primary where n > (select max(n) - 10 from primary)"', 299_980),
    ],
)
def test_rows_keep_their_order_when_their_failures_are_streamed(
    session: DuckDBSession, rule: str, failing: int
) -> None:
    session.execute("CREATE OR REPLACE TEMP TABLE t AS SELECT i AS _row, i // 2 AS n FROM range(300000) r(i)")
    ruleset, _ = parse_ruleset(f"Rules = [ {rule} ]", "rules.dqdl")
    assert ruleset is not None
    evaluation = evaluate(session, "t", ruleset, {"n": "BIGINT"}, NOW)
    assert evaluation.results[0].rows_failed == failing, evaluation.results
    tag = evaluation.failed_rules_sql or "NULL"
    table = session.stream(f"SELECT _row, {tag} AS failed FROM t").read_all()
    assert table["_row"].to_pylist() == list(range(300_000))
    assert len(table) - table["failed"].null_count == failing


@pytest.mark.parametrize("failure", [duckdb.OutOfMemoryException, duckdb.IOException])
def test_a_machine_without_room_judges_nothing(
    session: DuckDBSession, monkeypatch: pytest.MonkeyPatch, failure: type[duckdb.Error]
) -> None:
    def without_room(*_: object) -> list[tuple[object, ...]]:
        raise failure("no room")

    session.execute("CREATE OR REPLACE TEMP TABLE t AS SELECT 1 AS n, 0 AS _row")
    monkeypatch.setattr(DuckDBSession, "rows", without_room)
    with pytest.raises(failure):  # and not a verdict that says the rows or the rules are wrong
        evaluated(session, ['IsUnique "n"', "RowCount > 0"], "block")
