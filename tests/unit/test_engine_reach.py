"""No query reaches a file that the engine was not given, and no rule names one."""

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from city_platform.engines.duckdb import DuckDBEngine, DuckDBSession
from city_platform.quality.operands import NotEvaluable
from city_platform.quality.statements import statement, where_clause

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("elsewhere") / "secret.csv"
    file.write_text("name\nKim\n", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake")
    folder.joinpath("rows.csv").write_text("name\nJo\n", encoding="utf-8")
    return folder


def _session(lake: Path) -> DuckDBEngine:
    return DuckDBEngine(lake / "scratch" / "engine", (lake,))


def test_the_engine_reads_where_it_was_told_to(lake: Path) -> None:
    with _session(lake).session() as session:
        assert session.rows(f"FROM read_csv('{lake}/rows.csv')") == [("Jo",)]


def test_a_home_behind_a_link_is_read_as_well(lake: Path, tmp_path: Path) -> None:
    tmp_path.joinpath("home").symlink_to(lake)
    with _session(tmp_path / "home").session() as session:
        assert session.rows(f"FROM read_csv('{tmp_path}/home/rows.csv')") == [("Jo",)]


@pytest.mark.parametrize(
    "sql",
    [
        "FROM read_csv('{secret}')",
        "FROM '{secret}'",
        "FROM read_text('/etc/passwd')",
        "FROM read_csv('{lake}/../{below}')",
        "FROM read_csv('{lake}/link/secret.csv')",
        "COPY (SELECT 1) TO '{secret}.out' (FORMAT csv)",
        "ATTACH '{secret}.duckdb'",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "SET allowed_paths = ['{secret}']",
        "FROM sql",  # a variable of the caller's
    ],
)
def test_the_engine_reaches_nothing_else(lake: Path, secret: Path, sql: str) -> None:
    link = lake / "link"
    if not link.exists():
        link.symlink_to(secret.parent)
    below = f"{secret.parent.name}/{secret.name}"
    with _session(lake).session() as session, pytest.raises(duckdb.Error):
        session.rows(sql.format(secret=secret, lake=lake, below=below))
    assert not Path(f"{secret}.out").exists()


@pytest.mark.parametrize(
    "text",
    [
        # The name of a step is one only where the step can be seen; anywhere else the engine looks for a file.
        "SELECT name FROM `{file}` JOIN (WITH `{file}` AS (SELECT 1 AS a) SELECT a FROM `{file}`) AS x ON TRUE",
        "WITH `{file}` AS (SELECT * FROM `{file}`) SELECT * FROM `{file}`",
        "WITH a AS (SELECT * FROM `{file}`), `{file}` AS (SELECT 1 AS n) SELECT * FROM a",
        "SELECT * FROM primary WHERE id IN (SELECT name FROM `{file}`)",
        "SELECT (WITH `{file}` AS (SELECT 1) SELECT 1), x.* FROM primary, `{file}` AS x",
    ],
)
def test_a_rule_reads_no_file_under_the_name_of_a_step(secret: Path, text: str) -> None:
    with pytest.raises(NotEvaluable, match="not available"):
        statement(text.format(file=secret), "rows", NOW)


@pytest.mark.parametrize(
    "text",
    [
        "WITH a AS (SELECT id FROM primary), b AS (SELECT id FROM A) SELECT * FROM B WHERE id IN (SELECT id FROM a)",
        "SELECT * FROM (WITH a AS (SELECT id FROM primary) SELECT id FROM a) AS x",
        "WITH primary AS (SELECT id FROM primary WHERE id > 0) SELECT * FROM primary",
        "WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM n WHERE id < 3) SELECT * FROM n",
    ],
)
def test_steps_are_seen_where_the_engine_sees_them(lake: Path, text: str) -> None:
    sql = statement(text, "rows", NOW).sql
    with _session(lake).session() as session:
        assert _ids(session, sql)


def _ids(session: DuckDBSession, sql: str) -> list[tuple[int]]:
    session.execute("CREATE TEMP TABLE rows AS SELECT 1 AS id")
    return session.rows(sql)


@pytest.mark.parametrize("call", ["rand()", "randn()", "uuid()", "localtimestamp()"])
def test_a_rule_says_the_same_of_the_same_rows(call: str) -> None:
    with pytest.raises(NotEvaluable, match="not allowed in a rule"):
        where_clause(f"{call} IS NOT NULL", NOW)


def test_a_rule_looks_at_all_rows() -> None:
    with pytest.raises(NotEvaluable, match="not allowed in a rule"):
        statement("SELECT id FROM primary TABLESAMPLE (10 PERCENT)", "rows", NOW)
