"""Whether a row's key belongs to a set of keys, as a function inside a query.

A join would answer it too, and give up the order of the rows, on which byte-identical files rest; so would
`IN (SELECT ...)`, which is a join in other words.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


class HashSet:
    """A set of 64-bit hashes, eight bytes a member."""

    def __init__(self, chunks: Sequence[pa.Array]) -> None:
        # Chunk by chunk: joining no chunks at all makes pyarrow import pandas.
        found = [_numbers(chunk) for chunk in chunks]
        self._hashes = np.sort(np.concatenate(found)) if found else np.empty(0, dtype=np.uint64)

    def contains(self, asked: pa.ChunkedArray | pa.Array) -> pa.Array:
        """Of each hash, whether it is in the set."""
        values = _numbers(asked.combine_chunks() if isinstance(asked, pa.ChunkedArray) else asked)
        if not len(self._hashes):
            return _booleans(np.zeros(len(values), dtype=bool))
        places = np.minimum(np.searchsorted(self._hashes, values), len(self._hashes) - 1)
        return _booleans(self._hashes[places] == values)


# Through buffers, because pyarrow's own conversions import pandas, which takes a second.
def _numbers(array: pa.Array) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    """A UBIGINT array without nulls, which a hash never is."""
    if not len(array):
        return np.empty(0, dtype=np.uint64)
    return np.frombuffer(array.buffers()[1], dtype=np.uint64)[array.offset : array.offset + len(array)]


def _booleans(values: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> pa.Array:
    bits = np.packbits(values, bitorder="little")
    return pa.BooleanArray.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits.tobytes())])
