"""How columns are written follows from what is in them."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from city_platform.engines.parquet import Footers, ordered_columns, repetitive_columns

ROWS = pa.table(
    {
        "city": pa.array(["Vancouver", "Burnaby", None, "Vancouver"] * 5_000, pa.string()),
        "name": pa.array([f"Shop {number}" for number in range(20_000)], pa.string()),
        "issued": pa.array([date(2024, 1, 1)] * 20_000, pa.date32()),
        "rules": pa.array([["a"]] * 20_000, pa.list_(pa.string())),
    }
)


@pytest.mark.parametrize("rows", [ROWS, ROWS.combine_chunks().to_batches()[0]], ids=["table", "batch"])
def test_a_dictionary_is_for_columns_whose_values_repeat(rows: pa.Table | pa.RecordBatch) -> None:
    assert repetitive_columns(rows) == ["city", "issued"]
    assert repetitive_columns(rows, share=1.0) == ["city", "name", "issued"]


def test_a_single_row_and_no_row_count_as_repeating() -> None:
    for rows in (ROWS.slice(0, 1), ROWS.slice(0, 0)):
        assert repetitive_columns(rows) == ["city", "name", "issued"]


def test_statistics_are_for_what_has_an_order_to_search_by() -> None:
    assert ordered_columns(ROWS.schema) == ["issued"]


def test_footers_tell_how_many_values_there_are_and_what_has_a_dictionary(tmp_path: Path) -> None:
    rows = pa.table({"n": pa.array([1, None, 3], pa.int64()), "word": pa.array(["a", None, "a"], pa.string())})
    told, silent = tmp_path / "told.parquet", tmp_path / "silent.parquet"
    pq.write_table(rows, told, write_statistics=["n"], use_dictionary=["word"])
    pq.write_table(rows, silent, write_statistics=False, use_dictionary=["n"])
    assert Footers.of([told, told]) == Footers({"n": 4}, frozenset({"word"}))
    assert Footers.of([told, silent]) == Footers({}, frozenset({"word", "n"}))
    assert Footers.of([]) == Footers({}, frozenset())
