"""A session's statements: the same words asked of other rows, and by several threads at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from city_platform.engines.duckdb import DuckDBEngine


def test_the_same_words_are_about_each_sessions_own_rows(tmp_path: Path) -> None:
    engine = DuckDBEngine(tmp_path / "scratch", (tmp_path,), threads=1)
    for number in range(8):
        rows = pa.table({"n": pa.array(range(number, number + 1_000), pa.int64())})
        pq.write_table(rows, tmp_path / f"{number}.parquet")

    def asked(number: int) -> tuple[object, ...]:
        with engine.session() as session:
            session.view("rows", [tmp_path / f"{number}.parquet"])
            streamed = session.stream("SELECT n FROM rows WHERE n % 2 = 0").read_all()
            largest = session.numbers("SELECT max(n) FROM rows")
            return session.rows("SELECT min(n), count(*) FROM rows")[0], streamed.num_rows, int(largest[0])

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(asked, [*range(8)] * 6))
    assert found == [((number, 1_000), 500, number + 999) for number in range(8)] * 6


def test_numbers_of_no_row(tmp_path: Path) -> None:
    with DuckDBEngine(tmp_path, threads=1).session() as session:
        assert session.numbers("SELECT 1::BIGINT AS n WHERE false").tolist() == []


def test_several_statements_in_one_text_and_words_that_mean_nothing(tmp_path: Path) -> None:
    with DuckDBEngine(tmp_path, threads=1).session() as session:
        session.execute("CREATE TEMP TABLE a AS SELECT 1 AS n; CREATE TEMP TABLE b AS SELECT 2 AS n")
        assert session.rows("SELECT * FROM a, b") == [(1, 2)]
        for _ in range(2):
            with pytest.raises(duckdb.ParserException):
                session.rows("SELEC 1")
