"""The physical lines of a file, however they end, and the record of those that could not be read."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from city_platform.ingestion.formats import BOM

MAX_LINE_BYTES = 2 << 20  # one record; the longest polygon of the city's files has 60 KB
_BLOCK_BYTES = 1 << 20
_HANDFUL_BYTES = 8 << 20
_KEPT_TEXT = 1_000
_KEPT_TEXTS = 100_000  # of more broken lines only number and reason: such a file is refused anyway
NOT_UTF8 = "not valid UTF-8"


@dataclass(frozen=True, slots=True)
class UnreadableLine:
    line: int  # from 1, in the unpacked file
    reason: str  # holds no value of the line
    text: str  # the line's first thousand characters


@dataclass(slots=True)
class Unreadable:
    """What a reader had to leave out, in the order of the file."""

    lines: list[UnreadableLine] = field(default_factory=list)

    def add(self, line: int, reason: str, text: Sequence[bytes]) -> None:
        if len(self.lines) >= _KEPT_TEXTS:
            text = ()
        # No character takes more than four bytes, so the first bytes hold the first characters.
        shown = b"".join(part[: 4 * _KEPT_TEXT] for part in text[:_KEPT_TEXT]).decode(errors="replace")
        self.lines.append(UnreadableLine(line, reason, shown.rstrip("\r\n")[:_KEPT_TEXT]))


def physical_lines(path: Path) -> Iterator[bytes]:
    r"""Lines with their ends (\n, \r\n or \r), without a leading byte order mark.

    A line longer than MAX_LINE_BYTES comes cut to MAX_LINE_BYTES + 1, which is how it is told apart; memory stays
    bounded by that and one block.
    """
    pending = b""
    skipping = False  # inside an over-long line, of which the beginning was given out
    with path.open("rb") as file:
        if file.read(len(BOM)) != BOM:
            file.seek(0)
        while block := file.read(_BLOCK_BYTES):
            lines = (pending + block).splitlines(keepends=True)
            # The last piece may go on in the next block, as may the \n of a \r\n.
            pending = b"" if lines[-1].endswith(b"\n") else lines.pop()
            if skipping and lines:
                del lines[0]
                skipping = False
            yield from lines
            if not pending.endswith(b"\r") and (skipping or len(pending) > MAX_LINE_BYTES):
                if not skipping:
                    yield pending[: MAX_LINE_BYTES + 1]
                pending, skipping = b"", True
    if pending and not skipping:
        yield pending


def text_batch(names: Sequence[str], columns: Sequence[Sequence[str | None]]) -> pa.RecordBatch:
    """Columns of text as a batch, empty text as null."""
    arrays = [pa.array([cell or None for cell in column], pa.string()) for column in columns]
    return pa.RecordBatch.from_arrays(arrays, names=list(names))


def handfuls(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The batches in order, several at once: what is done with rows costs as much for a few as for many."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        waiting.append(batch)
        size += batch.nbytes
        if size >= _HANDFUL_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting, size = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting)
