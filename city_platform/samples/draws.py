"""Seeded random draws, fast enough that writing the file is the slower half.

Every column of a chunk is drawn as 16-bit numbers. `Choices` turns one into a text by looking it up in a wheel:
65,536 slots, shared out among the texts by their weights, so that a weighted draw costs one array look-up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SLOTS = 65_536

Draw = NDArray[np.uint16]  # uniform in 0..65535
Indices = NDArray[np.int64]


def generator(seed: int, *stream: int) -> np.random.Generator:
    """An independent generator for every (seed, stream), whichever thread asks for it and when."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, *stream))))


def draws(rng: np.random.Generator, columns: int, rows: int) -> Iterator[Draw]:
    """`columns` arrays of `rows` uniform draws, one after the other."""
    words = rng.integers(0, np.iinfo(np.uint64).max, size=(columns * rows + 3) // 4, dtype=np.uint64, endpoint=True)
    return iter(words.view(np.uint16)[: columns * rows].reshape(columns, rows))


def scaled(draw: Draw, count: int) -> Indices:
    """The draw as an integer in 0..count-1."""
    return (draw.astype(np.int64) * count) >> 16


def wheel(weights: Sequence[float]) -> NDArray[np.int32]:
    """65,536 slots holding 0..len(weights)-1 in proportion to `weights`.

    Whatever has a weight has a slot, so the rarest draw comes up once in 65,536 rows.
    """
    shares = np.asarray(weights, dtype=np.float64)
    slots = np.where(shares > 0, np.maximum(1, np.rint(shares / shares.sum() * SLOTS)), 0).astype(np.int64)
    slots[np.argmax(slots)] += SLOTS - slots.sum()
    return np.repeat(np.arange(len(slots), dtype=np.int32), slots)


@dataclass(frozen=True, slots=True)
class Choices:
    """Texts drawn by weight. Each row belongs to one of several eras, and each era has weights of its own."""

    texts: Any  # pyarrow StringArray
    wheels: NDArray[np.int32]  # eras x 65,536 indices into `texts`

    def indices(self, draw: Draw, era: Indices | int = 0) -> NDArray[np.int32]:
        picked: NDArray[np.int32] = self.wheels[era, draw]
        return picked

    def pick(self, draw: Draw, era: Indices | int = 0) -> Any:
        """One text a row, as a pyarrow StringArray."""
        return take(self.texts, self.indices(draw, era))


def choices(*eras: Sequence[tuple[str, float]]) -> Choices:
    """Choices from (text, weight) pairs, one sequence an era."""
    texts = [text for era in eras for text, _ in era]
    starts = np.cumsum([0, *(len(era) for era in eras)])
    wheels = [start + wheel([weight for _, weight in era]) for start, era in zip(starts, eras, strict=False)]
    return Choices(strings(texts), np.stack(wheels).astype(np.int32))


# The arrays are put together from buffers because `pyarrow.array` imports pandas, which takes longer than the sample.


def strings(texts: Sequence[str]) -> Any:
    """The texts as a pyarrow StringArray."""
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))


def take(texts: Any, indices: NDArray[Any]) -> Any:
    """texts[indices], as a pyarrow StringArray."""
    return texts.take(_integers(indices))


def integers(values: Indices) -> Any:
    """The numbers' digits, as a pyarrow StringArray."""
    return _integers(values).cast(pa.string())


def _integers(values: NDArray[Any]) -> Any:
    flat = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(flat.dtype), len(flat), [None, pa.py_buffer(flat)])
