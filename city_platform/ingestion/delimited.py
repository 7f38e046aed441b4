"""Rows of a CSV file, by two readers that agree.

Arrow reads a flawless file at the speed of a bare scan, and stops at the first broken line. It is lenient where a
record is not: text after a closing quote it takes for a part of the cell. So the file's bytes are looked at once more,
independently: every quote has to stand where a cell begins or ends, every line to end as the header's does, and there
have to be as many records as rows. A file that is not like that is left to the exact reader: several times slower, it
keeps every line it cannot read with its number and reason, and after a broken quote goes on with the very next line.
"""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from threading import Event

import numpy as np
import pyarrow as pa
import pyarrow.csv

from city_platform.ingestion.formats import BOM, SourceFormat
from city_platform.ingestion.lines import MAX_LINE_BYTES, NOT_UTF8, Unreadable, physical_lines, text_batch

_BATCH_ROWS = 16_384
_BATCH_BYTES = 8 << 20
# Arrow reads a record that begins in one block and ends in the next, and no longer one: none above MAX_LINE_BYTES.
_BLOCK_BYTES = MAX_LINE_BYTES // 2
_SCAN_BYTES = 256 * 1024  # stays in the processor's cache: four times faster than a megabyte
_LF, _CR, _QUOTE = 10, 13, 34
_BROKEN_QUOTE = "a quote is never closed, or text follows a closing quote"


class NotFlawless(Exception):
    """The fast reader met something it cannot be trusted with."""


def flawless_rows(path: Path, form: SourceFormat, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """All rows in order as text, empty cells null; raises NotFlawless where `exact_rows` has to read the file.

    That quotes and lines are flawless is looked at beside reading, by a thread that is ahead of it.

    Batches given out before that are to be thrown away.
    """
    # Arrow takes a blank line before the header for the header.
    if form.header_line > 1:
        raise NotFlawless
    rows, given_up = 0, Event()
    with ThreadPoolExecutor(1, "flawless") as beside:
        looking = beside.submit(_lines_of_a_flawless_file, path, form, given_up)
        try:
            for batch in read_blocks(path, form, len(names)):
                if looking.done() and looking.result() is None:
                    raise NotFlawless
                rows += batch.num_rows
                yield pa.RecordBatch.from_arrays(batch.columns, names=list(names))
            lines = looking.result()
        except pa.ArrowInvalid as error:
            raise NotFlawless from error
        finally:
            given_up.set()
    # Where every line is a row none can be lost; only where not, the lines outside quotes are counted, which is slower.
    if lines is None or (rows != lines - 1 and rows != _count_records(path, form, blank_counts=len(names) == 1) - 1):
        raise NotFlawless


def read_blocks(path: Path, form: SourceFormat, columns: int) -> Iterator[pa.RecordBatch]:
    """The rows as Arrow reads them, block by block; raises ArrowInvalid where it cannot."""
    texts = {f"c{place}": pa.string() for place in range(columns)}  # by position: headers repeat
    with pa.OSFile(str(path)) as file:  # by its path Arrow would unpack what is called .gz
        yield from pyarrow.csv.open_csv(
            file,
            pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES, column_names=list(texts), skip_rows_after_names=1),
            pyarrow.csv.ParseOptions(
                delimiter=form.delimiter,
                newlines_in_values=True,
                # An empty line of a one-column file is an empty cell.
                ignore_empty_lines=columns > 1,
            ),
            pyarrow.csv.ConvertOptions(column_types=texts, null_values=[""], strings_can_be_null=True),
        )


def _lines_of_a_flawless_file(path: Path, form: SourceFormat, given_up: Event) -> int | None:
    """How many lines the file has; None unless quotes, two by two, stand where a cell begins and ends, and every line
    ends as the header's does, and also where nobody waits for the answer any more.

    A quote inside a quoted cell is written twice, which is one cell's end beside another's beginning.
    """
    newline, stray = (_CR, _LF) if form.newline == "\r" else (_LF, _CR)
    edge = np.zeros(256, np.bool_)
    edge[[ord(form.delimiter), _LF, _CR, _QUOTE]] = True
    quotes = lines = 0
    before = np.array([newline], np.uint8)
    for block in chain(_blocks(path), [before]):
        if given_up.is_set():
            return None
        # Looked at is every byte that has its neighbours here: the last one waits for the next block.
        tape = np.concatenate((before, block))
        places = np.flatnonzero(tape[1:-1] == _QUOTE) + 1
        begins, ends = places[quotes % 2 :: 2], places[1 - quotes % 2 :: 2]
        if not (edge[tape[begins - 1]].all() and edge[tape[ends + 1]].all()):
            return None
        quotes += len(places)
        lines += int(np.count_nonzero(tape[1:-1] == newline))
        strays = tape[1:-1] == stray
        if strays.any() and (newline == _CR or (strays & (tape[2:] != _LF)).any()):
            return None
        before = tape[-2:]
    return None if quotes % 2 else lines + int(before[0] != newline)


def _count_records(path: Path, form: SourceFormat, *, blank_counts: bool) -> int:
    """Line breaks outside quotes, without those that end a blank line; 0 if a quote stays open."""
    newline = _CR if form.newline == "\r" else _LF
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
