"""Rows of a CSV file, by two readers that agree.

DuckDB reads a flawless file in parallel, at the speed of a bare scan, and stops at the first broken line. It is not
asked to set broken lines aside (`store_rejects`, `ignore_errors`): after a quote that is never closed DuckDB 2.0 then
loses up to every following row without recording one of them. The exact reader takes over instead: several times
slower, it keeps every line it cannot read with its number and reason, and after a broken quote goes on with the very
next line. And because a file read from several places at once is only as good as the guess where a record begins,
the records are counted independently; a difference also calls the exact reader.
"""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from city_platform.engines.duckdb import Session
from city_platform.ingestion.formats import BOM, SourceFormat
from city_platform.ingestion.lines import MAX_LINE_BYTES, NOT_UTF8, Unreadable, physical_lines, text_batch

_BATCH_ROWS = 16_384
_BUFFER_BYTES = 16 << 20  # of DuckDB's scan: half its default saves 0.1 GB and costs nothing
_BATCH_BYTES = 8 << 20
_SCAN_BYTES = 256 * 1024  # stays in the processor's cache: four times faster than a megabyte
_LF, _CR, _QUOTE = 10, 13, 34
_BROKEN_QUOTE = "a quote is never closed, or text follows a closing quote"


class NotFlawless(Exception):
    """The fast reader met something it cannot be trusted with."""


def flawless_rows(path: Path, form: SourceFormat, names: Sequence[str], session: Session) -> Iterator[pa.RecordBatch]:
    """All rows in order as text, empty cells null; raises NotFlawless where `exact_rows` has to read the file.

    Batches given out before that are to be thrown away.
    """
    if form.header_line > 1:  # DuckDB takes the blank line for the header
        raise NotFlawless
    rows = 0
    try:
        for batch in session.stream(_scan_sql(path, form, len(names), session)):
            rows += batch.num_rows
            yield pa.RecordBatch.from_arrays(batch.columns, names=list(names))
    except (OSError, duckdb.InvalidInputException) as error:
        # Through the Arrow stream every failure of the engine is an OSError.
        if "interrupt" in str(error).lower():
            raise duckdb.InterruptException(str(error)) from error
        raise NotFlawless from error
    if rows not in _record_counts(path, form, one_column=len(names) == 1):
        raise NotFlawless


def _scan_sql(path: Path, form: SourceFormat, columns: int, session: Session) -> str:
    text = session.dialect.text
    # Names by position: headers repeat, and the engine compares them regardless of case.
    listed = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(columns))
    return (
        f"SELECT * FROM read_csv({text(str(path))}, auto_detect = false, columns = {{{listed}}}, header = true, "
        f"delim = {text(form.delimiter)}, quote = '\"', escape = '\"', strict_mode = true, null_padding = false, "
        f"compression = 'none', buffer_size = {_BUFFER_BYTES}, max_line_size = {MAX_LINE_BYTES})"
    )


def _record_counts(path: Path, form: SourceFormat, *, one_column: bool) -> Iterator[int]:
    """How many rows the file must have: first counted cheaply by lines, then exactly by lines outside quotes.

    Where every line is a row no row can be lost, so the second count is only asked for if the first differs.
    """
    newline = _CR if form.newline == "\r" else _LF
    yield _count_lines(path, newline) - 1
    yield _count_records(path, newline, blank_counts=one_column) - 1


def _count_lines(path: Path, newline: int) -> int:
    lines = 0
    last = newline
    for block in _blocks(path):
        lines += int(np.count_nonzero(block == newline))
        last = int(block[-1])
    return lines + (last != newline)


def _count_records(path: Path, newline: int, *, blank_counts: bool) -> int:
    """Line breaks outside quotes, without those that end a blank line; 0 if a quote stays open."""
    records = 0
    inside = np.int8(0)
    before = np.array([newline, newline], np.uint8)
    for block in _blocks(path):
        tape = np.concatenate((before, block))
        marks = np.flatnonzero((block == newline) | (block == _QUOTE)) + 2
        quote = (tape[marks] == _QUOTE).view(np.int8)
        parity = np.bitwise_xor.accumulate(quote) ^ inside
        ends = marks[(quote | parity) == 0]
        blank = (tape[ends - 1] == newline) | ((tape[ends - 1] == _CR) & (tape[ends - 2] == newline))
        records += len(ends) if blank_counts else int(np.count_nonzero(~blank))
        inside = parity[-1] if len(parity) else inside
        before = tape[-2:]
    if inside:
        return 0
    return records + int(before[-1] != newline)


def _blocks(path: Path) -> Iterator["np.ndarray[tuple[int], np.dtype[np.uint8]]"]:
    """The file's bytes without its byte order mark; each block is valid until the next is asked for."""
    buffer = bytearray(_SCAN_BYTES)
    view = np.frombuffer(buffer, np.uint8)
    with path.open("rb", buffering=0) as file:
        if file.read(len(BOM)) != BOM:
            file.seek(0)
        while size := file.readinto(buffer):
            yield view[:size]


def exact_rows(
    path: Path, form: SourceFormat, names: Sequence[str], unreadable: Unreadable
) -> Iterator[pa.RecordBatch]:
    """The rows that can be read, in order, as text with empty cells null; the others go to `unreadable`.

    A record is left out whole if it has too few or too many cells (empty ones beyond the header's do not count), is
    not UTF-8 or is longer than MAX_LINE_BYTES. After a broken quote only the line it began on is left out.
    """
    # The module's own limit of 128 KB is shared by the whole process; raising it takes nothing from anybody.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
    feed = _Feed(path)
    reader = csv.reader(feed, delimiter=form.delimiter, strict=True)
    records: list[list[str]] = []
    size = 0
    header_seen = False
    while True:
        feed.begin_record()
        try:
            record = next(reader, None)
        except (csv.Error, _TooLong) as error:
            too_long = isinstance(error, _TooLong)
            reason = f"longer than {MAX_LINE_BYTES:,} bytes" if too_long else _BROKEN_QUOTE
            unreadable.add(feed.first_line, reason, feed.keep_first_line())
            continue
        if record is None:
            break
        if not header_seen:
            header_seen = bool(record)
            continue
        if len(record) != len(names):
            record = _fitted(record, len(names))
        if reason := feed.problem() or _wrong_width(record, len(names)):
            unreadable.add(feed.first_line, reason, feed.taken)
        elif record:
            records.append(record)
            size += feed.size
        if len(records) >= _BATCH_ROWS or size >= _BATCH_BYTES:
            yield text_batch(names, list(zip(*records, strict=True)))
            records, size = [], 0
    if records:
        yield text_batch(names, list(zip(*records, strict=True)))


def _fitted(record: list[str], width: int) -> list[str]:
    """Without empty cells beyond the header's; a blank line of a one-column file is an empty cell."""
    if width == 1 and not record:
        return [""]
    return record[:width] if not any(record[width:]) else record


def _wrong_width(record: list[str], width: int) -> str:
    return f"{len(record)} cells where the header has {width}" if record and len(record) != width else ""


class _TooLong(Exception):
    """A record grew beyond MAX_LINE_BYTES."""


class _Feed:
    """Hands lines to the csv reader and remembers those of the record in the making, to go back to."""

    def __init__(self, path: Path) -> None:
        self._lines = physical_lines(path)
        self._again: deque[bytes] = deque()
        self._line = 0
        self.begin_record()

    def begin_record(self) -> None:
        self.taken: list[bytes] = []
        self.size = 0
        self._invalid = False

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self._line += 1
        self.taken.append(line)
        self.size += len(line)
        if self.size > MAX_LINE_BYTES:
            raise _TooLong
        try:
            return line.decode()
        except UnicodeDecodeError:
            self._invalid = True
            return line.decode(errors="replace")

    @property
    def first_line(self) -> int:
        return self._line - len(self.taken) + 1

    def problem(self) -> str:
        return NOT_UTF8 if self._invalid else ""

    def keep_first_line(self) -> list[bytes]:
        """Gives back all lines of the record but the first, to be read again."""
        again = self.taken[1:]
        self._again.extendleft(reversed(again))
        self._line -= len(again)
        return self.taken[:1]
