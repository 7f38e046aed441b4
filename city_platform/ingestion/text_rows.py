"""Any source file as one Parquet file of texts, without a contract."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from city_platform.ingestion.delimited import NotFlawless
from city_platform.ingestion.formats import UnreadableSource
from city_platform.ingestion.lines import handfuls
from city_platform.ingestion.split import SourceTable, open_table
from city_platform.ingestion.unpacking import create_private

_LINES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class TextRows:
    """The rows that could be read, in the file's order. `unreadable` says in words what could not, if anything."""

    file: Path
    names: Sequence[str]  # of the columns; those that differ only in case are numbered
    rows: int
    unreadable_lines: int
    unreadable: Sequence[str]


def text_rows(path: Path, scratch: Path, progress: Callable[[int], None] | None = None) -> TextRows:
    """Reads a CSV, JSON lines or xlsx file, also gzipped, into `scratch`; raises UnreadableSource.

    `progress` is told the rows read so far; it starts again from the first batch if a broken line is met.
    """
    table = open_table(path, scratch)
    if not table.names:
        raise UnreadableSource(path.name, "the file holds no rows that can be read", "Fetch it again")
    names = _distinct(table.names)
    file, count = scratch / "rows.parquet", 0
    for read in table.readers:
        # The last reader never declines.
        with suppress(NotFlawless):
            create_private(file)
            count = _write(read(), file, names, progress)
            break
        file.unlink()
    return TextRows(file, names, count, len(table.unreadable.lines), tuple(_unreadable(table)))


def _write(
    batches: Iterator[pa.RecordBatch], file: Path, names: Sequence[str], progress: Callable[[int], None] | None
) -> int:
    schema = pa.schema([(name, pa.string()) for name in names])
    rows = 0
    with pq.ParquetWriter(file, schema, compression="lz4") as writer:
        for handful in handfuls(batches):
            writer.write_table(pa.Table.from_arrays(handful.columns, schema=schema), row_group_size=handful.num_rows)
            rows += handful.num_rows
            if progress is not None:
                progress(rows)
    return rows


def _distinct(names: Sequence[str]) -> Sequence[str]:
    """The engine takes names that differ only in case for one; later ones get a number."""
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        seen[name.casefold()] += 1
        result.append(name if seen[name.casefold()] == 1 else f"{name} ({seen[name.casefold()]})")
    return result


def _unreadable(table: SourceTable) -> Iterator[str]:
    lines = table.unreadable.lines
    if lines:
        places = ", ".join(f"line {one.line:,} ({one.reason})" for one in lines[:_LINES_SHOWN])
        more = ", …" if len(lines) > _LINES_SHOWN else ""
        yield f"{len(lines):,} lines could not be read and are not counted in here: {places}{more}"
