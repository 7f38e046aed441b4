"""One source file in, one Parquet file a partition out, with what could not be read or placed beside them."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from city_platform.contracts.model import Contract, Partitioning
from city_platform.engines.arrays import int64_array
from city_platform.ingestion.delimited import NotFlawless, exact_rows, flawless_rows
from city_platform.ingestion.formats import FormatKind, UnreadableSource, recognise
from city_platform.ingestion.headers import BreakingDrift, Drift, HeaderMatch, match_headers, named_headers
from city_platform.ingestion.json_lines import spool_json_lines
from city_platform.ingestion.lines import NOT_UTF8, Unreadable, UnreadableLine, handfuls
from city_platform.ingestion.partition_files import PartitionFiles
from city_platform.ingestion.partitions import Placement, expected_text, snapshot_year
from city_platform.ingestion.spreadsheet import open_sheet
from city_platform.ingestion.unpacking import create_private, unpack, unpacked_limit

_TOLERATED_ROWS = 10
_TOLERATED_SHARE = 0.01
_UNPLACED = "unplaced"
_SHOWN = 5

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class PartitionRows:
    """A partition's rows: the file's own columns as text, then `_row` BIGINT, in the order of the source."""

    partition: str
    file: Path
    rows: int


@dataclass(frozen=True, slots=True)
class Split:
    """A source file in parts. `rows` is the sum of the partitions' rows and `unplaced`; `unreadable` counts beside.

    `unplaced_file` holds the file's columns, `_row` and `_reason`; `unreadable_file` line BIGINT (from 1 in the
    unpacked file), reason and the line's beginning as text. Both are None where there is nothing to hold.
    """

    rows: int
    unreadable: int
    unplaced: int
    partitions: tuple[PartitionRows, ...]
    headers: tuple[str, ...]  # the rows' column names, in the file's order
    present: Mapping[str, str]  # contract source name -> header
    drift: tuple[Drift, ...]
    unplaced_file: Path | None = None
    unreadable_file: Path | None = None


def split_source(
    path: Path,
    contract: Contract,
    out: Path,
    progress: Progress | None = None,
    landed: datetime | None = None,
) -> Split:
    """Splits the file into `out`, a folder that is made if absent and must hold nothing of an earlier split.

    `progress` is told the rows read so far; it starts again from the first batch if a broken line is met. `_row` counts
    the rows that could be read, from 0. Raises UnreadableSource for a file that is no dataset (also if more than 1 % of
    it, and more than ten rows, could not be read or placed) and BreakingDrift, before any row is read, for one of
    another shape. After an error nothing in `out` is of use. All rows of a snapshot are of one year: that of the file's
    name, else that of `landed` (aware), when it came; without either UnreadableSource is raised.
    """
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    with TemporaryDirectory(prefix="scratch-", dir=out) as scratch:
        table = open_table(path, Path(scratch))
        if not table.names:
            _refuse_hopeless(path.name, 0, None, table.unreadable.lines)
        match = match_headers(table.names, contract)
        if match.breaking:
            raise BreakingDrift(path.name, contract.name, match.drift)
        partitioning = contract.partitioning
        taken = _snapshot_year(path.name, partitioning, landed) if partitioning.source_name is None else None
        for read in table.readers:
            # The last reader never declines.
            with suppress(NotFlawless):
                rows, files = _write(read(), match, partitioning, taken, out, progress)
                break
            for file in out.glob("*.parquet"):
                file.unlink()
    unplaced_file, unplaced = files.pop(_UNPLACED, (None, 0))
    _refuse_hopeless(path.name, rows, unplaced_file, table.unreadable.lines)
    return Split(
        rows=rows,
        unreadable=len(table.unreadable.lines),
        unplaced=unplaced,
        partitions=tuple(PartitionRows(partition, file, count) for partition, (file, count) in files.items()),
        headers=table.names,
        present=match.present,
        drift=match.drift,
        unplaced_file=unplaced_file,
        unreadable_file=_write_unreadable(table.unreadable, out),
    )


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A recognised file: its columns' names and the readers of its rows, to be tried in this order."""

    names: tuple[str, ...]
    readers: tuple[Callable[[], Iterator[pa.RecordBatch]], ...]
    unreadable: Unreadable  # filled while the last reader reads


def open_table(path: Path, scratch: Path) -> SourceTable:
    """Recognises the file; `scratch` is a folder for what unpacking it needs. Raises UnreadableSource."""
    form = recognise(path, unpacked_limit(scratch))
    plain = path
    if form.gzip:
        plain = scratch / path.name
        unpack(path, plain)
        form = recognise(plain, unpacked_limit(scratch))
    unreadable = Unreadable()
    match form.kind:
        case FormatKind.CSV:
            names = named_headers(form.headers)
            fast = partial(flawless_rows, plain, form, names)
            return SourceTable(names, (fast, partial(exact_rows, plain, form, names, unreadable)), unreadable)
        case FormatKind.JSON_LINES:
            spool = spool_json_lines(plain, path.name, scratch, unreadable)
            names = named_headers(spool.keys)
            return SourceTable(names, (partial(spool.rows, names),), unreadable)
        case FormatKind.XLSX:
            sheet = open_sheet(plain, path.name)
            names = named_headers(sheet.headers)
            return SourceTable(names, (partial(sheet.rows, names),), unreadable)


def _snapshot_year(name: str, partitioning: Partitioning, landed: datetime | None) -> str:
    """The year of all rows of a snapshot; raises UnreadableSource where nothing tells it."""
    year = snapshot_year(name, landed, partitioning)
    if year is None:
        raise UnreadableSource(name, "nothing tells the year of this list", f"Give {expected_text(partitioning)}")
    return year


def _write(
    batches: Iterator[pa.RecordBatch],
    match: HeaderMatch,
    partitioning: Partitioning,
    snapshot: str | None,
    out: Path,
    progress: Progress | None,
) -> tuple[int, dict[str, tuple[Path, int]]]:
    """All rows read, and for each partition (and `unplaced`) its file and rows. `snapshot` is that of all, if any."""
    header = match.present.get(partitioning.source_name or "", "")
    placement = Placement(partitioning)
    rows = 0
    with PartitionFiles(out) as files:
        for handful in handfuls(batches):
            numbers = np.arange(rows, rows + handful.num_rows, dtype=np.int64)
            numbered = handful.append_column("_row", int64_array(numbers))
            places = [(snapshot, np.arange(len(numbered)))] if snapshot else placement.of(handful.column(header))
            files.add(numbered, [(one, positions) for one, positions in places if one is not None])
            for positions in (positions for one, positions in places if one is None):
                strays = numbered.take(int64_array(positions))
                reasons = _reasons(strays.column(header), header, partitioning)
                files.add(strays.append_column("_reason", reasons), [(_UNPLACED, np.arange(len(strays)))])
            rows += handful.num_rows
            if progress is not None:
                progress(rows)
        return rows, files.finish()


def _reasons(texts: pa.ChunkedArray, header: str, partitioning: Partitioning) -> pa.Array:
    empty = f"{header} is empty"
    wrong = f"{header} is not {expected_text(partitioning)}"
    return pa.array([wrong if valid else empty for valid in texts.is_valid().to_pylist()], pa.string())


def _write_unreadable(unreadable: Unreadable, out: Path) -> Path | None:
    if not unreadable.lines:
        return None
    table = pa.table(
        {
            "line": pa.array([one.line for one in unreadable.lines], pa.int64()),
            "reason": pa.array([one.reason for one in unreadable.lines], pa.string()),
            "text": pa.array([one.text for one in unreadable.lines], pa.string()),
        }
    )
    file = create_private(out / "unreadable.parquet")
    pq.write_table(table, file, compression="lz4", store_schema=False)
    return file


def _refuse_hopeless(name: str, rows: int, unplaced_file: Path | None, unreadable: Sequence[UnreadableLine]) -> None:
    """Raises UnreadableSource where so little could be read that it is no dataset."""
    if rows == 0 and not unreadable:
        raise UnreadableSource(name, "the file has a header and no rows", "Fetch it again, or remove it")
    reasons = Counter(one.reason for one in unreadable)
    examples: dict[str, list[str]] = {}
    for one in unreadable:
        examples.setdefault(one.reason, []).append(f"line {one.line:,}")
    if unplaced_file is not None:
        strays = pq.read_table(unplaced_file, columns=["_row", "_reason"])
        for row, reason in zip(strays["_row"].to_pylist(), strays["_reason"].to_pylist(), strict=True):
            reasons[reason] += 1
            examples.setdefault(reason, []).append(f"row {row:,}")
    bad = reasons.total()
    if rows and (bad <= _TOLERATED_ROWS or bad <= _TOLERATED_SHARE * (rows + len(unreadable))):
        return
    listed = "; ".join(
        f"{count:,} x {reason} ({', '.join(examples[reason][:_SHOWN])}{', ...' if count > _SHOWN else ''})"
        for reason, count in reasons.most_common(_SHOWN)
    )
    remedy = "Correct the file, or check that it belongs to this dataset"
    if reasons.most_common(1)[0][0] == NOT_UTF8:
        remedy = "Save the file as UTF-8 (it may be Latin-1: iconv -f LATIN1 -t UTF-8 FILE > NEW_FILE)"
    problem = f"{bad:,} of {rows + len(unreadable):,} rows could not be read or placed in a year: {listed}"
    raise UnreadableSource(name, problem, remedy)
