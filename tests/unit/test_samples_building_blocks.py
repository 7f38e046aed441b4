import csv
import io
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.samples.chunks import CHUNK_ROWS, joined, write_chunks
from city_platform.samples.csvtext import cells
from city_platform.samples.draws import SLOTS, choices, draws, generator, strings, wheel
from city_platform.samples.instants import DAY_SECONDS, Instants, day_texts, epoch_day

VANCOUVER = ZoneInfo("America/Vancouver")
FIRST, LAST = date(2013, 1, 1), date(2025, 12, 31)


@given(st.lists(st.floats(min_value=1e-9, max_value=1e3), min_size=1, max_size=200))
@settings(max_examples=100)
def test_a_wheel_shares_its_slots_by_weight_and_leaves_nobody_out(weights: list[float]) -> None:
    counts = np.bincount(wheel(weights), minlength=len(weights))

    assert counts.sum() == SLOTS
    assert counts.min() >= 1
    expected = np.array(weights) / sum(weights) * SLOTS
    rounding = np.sort(np.abs(counts - expected))[:-1]  # one of the largest shares takes up what rounding leaves
    assert rounding.max(initial=0) <= 1


def test_a_weight_of_zero_is_never_drawn() -> None:
    assert set(wheel([1.0, 0.0, 3.0]).tolist()) == {0, 2}


def test_each_era_draws_its_own_texts() -> None:
    drawn = choices([("old", 1.0)], [("a", 1.0), ("b", 1.0)])
    draw = np.array([0, 0, 65_535], dtype=np.uint16)

    assert drawn.pick(draw, np.array([0, 1, 1])).to_pylist() == ["old", "a", "b"]


def test_draws_are_those_of_the_seed_and_stream_and_cover_their_range() -> None:
    first = np.stack(list(draws(generator(7, 0, 3), 5, 9_999)))

    assert np.array_equal(first, np.stack(list(draws(generator(7, 0, 3), 5, 9_999))))
    assert not np.array_equal(first, np.stack(list(draws(generator(7, 0, 4), 5, 9_999))))
    assert first.shape == (5, 9_999)
    assert first.min() < 100
    assert first.max() > SLOTS - 100


@given(st.lists(st.text(alphabet='ab;,"\n\r é=', max_size=8), min_size=2, max_size=5), st.sampled_from(";,"))
@settings(max_examples=200)
def test_cells_read_back_as_they_were(texts: list[str], delimiter: str) -> None:
    line = cells(texts, delimiter)

    assert next(csv.reader(io.StringIO(line, newline=""), delimiter=delimiter)) == [*texts, ""]


@pytest.fixture(scope="module")
def vancouver() -> Instants:
    return Instants(FIRST, LAST, VANCOUVER)


@given(
    st.lists(
        st.integers((epoch_day(FIRST) + 1) * DAY_SECONDS, (epoch_day(LAST)) * DAY_SECONDS - 1), min_size=1, max_size=20
    )
)
@settings(max_examples=100)
def test_instants_are_written_as_the_zone_database_says(vancouver: Instants, seconds: list[int]) -> None:
    utc = np.array(seconds, dtype=np.int64)
    present = np.ones(len(utc), dtype=np.bool_)

    written = bytes(joined(*vancouver.fragments(utc, present), strings(["\n"] * len(utc)))).decode().splitlines()

    assert written == [datetime.fromtimestamp(second, VANCOUVER).isoformat() for second in seconds]


@pytest.mark.parametrize(
    ("utc", "written"),
    [
        ("2024-03-10T09:59:59+00:00", "2024-03-10T01:59:59-08:00"),
        ("2024-03-10T10:00:00+00:00", "2024-03-10T03:00:00-07:00"),
        ("2024-11-03T08:30:00+00:00", "2024-11-03T01:30:00-07:00"),
        ("2024-11-03T09:30:00+00:00", "2024-11-03T01:30:00-08:00"),
    ],
)
def test_the_hours_when_the_clock_changes(vancouver: Instants, utc: str, written: str) -> None:
    second = np.array([int(datetime.fromisoformat(utc).timestamp())], dtype=np.int64)

    assert bytes(joined(*vancouver.fragments(second, np.array([True])))).decode() == written
    assert bytes(joined(*vancouver.fragments(second, np.array([False])))).decode() == ""


def test_every_day_is_there_once() -> None:
    texts = day_texts(date(2023, 12, 30), date(2024, 3, 1), "%m/%d/%Y")

    assert texts[:3] == ["12/30/2023", "12/31/2023", "01/01/2024"]
    assert texts[-2:] == ["02/29/2024", "03/01/2024"]
    assert len(texts) == 63


def test_chunks_are_written_in_order_with_their_numbers_and_rows(tmp_path: Path) -> None:
    rows = 2 * CHUNK_ROWS + 5
    seen: list[int] = []

    file = write_chunks(
        tmp_path / "new" / "out.csv",
        b"head\n",
        lambda number, first, count: (memoryview(f"{number} {first} {count}\n".encode()),),
        rows,
        threads=3,
        progress=seen.append,
    )

    expected = f"head\n0 0 {CHUNK_ROWS}\n1 {CHUNK_ROWS} {CHUNK_ROWS}\n2 {2 * CHUNK_ROWS} 5\n"
    assert file.path.read_text() == expected
    assert (file.rows, file.size_bytes) == (rows, len(expected))
    assert seen == [CHUNK_ROWS, 2 * CHUNK_ROWS, rows]


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("earlier")

    def failing(number: int, first: int, count: int) -> tuple[memoryview]:
        if number == 1:
            raise OSError(f"no space for rows {first} to {first + count}")
        return (memoryview(b"rows"),)

    with pytest.raises(OSError, match="no space"):
        write_chunks(out, b"", failing, 3 * CHUNK_ROWS, threads=2)

    assert [file.name for file in tmp_path.iterdir()] == ["out.csv"]
    assert out.read_text() == "earlier"
