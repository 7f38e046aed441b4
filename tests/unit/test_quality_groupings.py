"""Facts about keys against plain Python, whether a bit a number or a hash table finds them."""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from city_platform.engines.duckdb import DuckDBEngine, DuckDBSession
from city_platform.quality.groupings import Groupings, KeyFacts

_LARGEST = 2**63 - 1
_near = st.integers(-20, 20)
_far = st.sampled_from([-_LARGEST - 1, -_LARGEST, _LARGEST - 1, _LARGEST, 2**40])
_numbers = st.lists(st.one_of(st.none(), _near, _far), max_size=12) | st.lists(_near, max_size=12, unique=True)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBSession]:
    scratch: Path = tmp_path_factory.mktemp("engine")
    with DuckDBEngine(scratch, threads=1).session() as opened:
        yield opened


def expected(numbers: list[int | None]) -> KeyFacts:
    counts = Counter(one for one in numbers if one is not None)
    singles = sum(count == 1 for count in counts.values())
    weight = math.fsum(count * math.log(count) for count in counts.values())
    return KeyFacts(len(counts), counts.total(), singles, singles, weight)


def facts(session: DuckDBSession, numbers: list[int | None], where: str | None = None) -> KeyFacts:
    listed = ", ".join("NULL" if one is None else f"CAST({one} AS BIGINT)" for one in numbers)
    session.execute(f"CREATE OR REPLACE TEMP TABLE t AS SELECT unnest(CAST([{listed}] AS BIGINT[])) AS n")
    return Groupings(session, "t", {"n": "BIGINT"}).facts(['"n"'], where)


@settings(max_examples=60)
@given(_numbers)
@example([_LARGEST, _LARGEST - 1])
@example([-_LARGEST - 1])
@example([])
@example([3, 3])
def test_facts_of_a_column_of_whole_numbers(session: DuckDBSession, numbers: list[int | None]) -> None:
    found, wanted = facts(session, numbers), expected(numbers)
    assert found.n_log_n == pytest.approx(wanted.n_log_n)
    assert (found.groups, found.rows, found.singles, found.complete_singles) == (
        wanted.groups,
        wanted.rows,
        wanted.singles,
        wanted.complete_singles,
    )


def test_rows_outside_where_do_not_count(session: DuckDBSession) -> None:
    assert facts(session, [1, 2, 2, 3, 4, 5], '"n" >= 3') == KeyFacts(3, 3, 3, 3, 0.0)


def test_numbers_that_all_differ_need_no_grouping(session: DuckDBSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Groupings, "_counted", lambda *_: pytest.fail("grouped"))
    assert facts(session, [7, 9, 8, None]).singles == 3


def test_columns_known_to_repeat_are_counted_at_once(session: DuckDBSession, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    rows = session.rows
    monkeypatch.setattr(session, "rows", lambda sql: (asked.append(sql), rows(sql))[1])
    session.execute("CREATE OR REPLACE TEMP TABLE t AS SELECT unnest([1, 2, 2, NULL]) AS n")
    for repetitive in ([], ["n"]):
        found = Groupings(session, "t", {"n": "INTEGER"}, repetitive).facts(['"n"'], None)
        assert (found.groups, found.rows, found.singles) == (2, 3, 1)
    assert len(asked) == 3, "two questions where it is not known, one where it is"
