"""Leaving rows out of a batch: the others stay in their order, whether pieces are cut or the batch is copied."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.layers import cleaned


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 40))
def test_rows_left_out_are_gone_and_the_others_in_order(out: list[bool], few: int) -> None:
    batch = pa.record_batch({"row": pa.array(range(len(out)), pa.int64())})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cleaned, "_FEW", few)
        pieces = cleaned._without(batch, pa.array(out))
    assert [row for piece in pieces for row in piece["row"].to_pylist()] == [
        row for row, left_out in enumerate(out) if not left_out
    ]


@given(st.lists(st.integers(0, 60), max_size=30), st.sets(st.integers(0, 60)))
def test_rows_are_found_among_others_wherever_these_lie(batch: list[int], others: set[int]) -> None:
    found = cleaned._among(pa.array(batch, pa.int64()), np.array(sorted(others), np.int64))
    assert (found.to_pylist() if found else [False] * len(batch)) == [one in others for one in batch]
