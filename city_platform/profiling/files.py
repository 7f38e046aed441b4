"""The profile of any file, without a contract and without the lake."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from city_platform.engines.duckdb import DuckDBEngine, Session
from city_platform.ingestion.delimited import NotFlawless
from city_platform.ingestion.formats import UnreadableSource
from city_platform.ingestion.split import SourceTable, open_table
from city_platform.ingestion.unpacking import create_private
from city_platform.profiling.measure import ColumnToProfile, measure
from city_platform.profiling.model import Profile

_PARQUET = b"PAR1"
_LINES_SHOWN = 5

Progress = Callable[[int], None]


def profile_file(path: Path, timezone: str, progress: Progress | None = None) -> Profile:
    """The profile of a CSV, JSON lines, xlsx or Parquet file, the first three also gzipped.

    Texts get a type if nearly all of a column fit it; `timezone` is that of times without an offset. `progress` is
    told the columns done. Nothing outlives the call. Raises UnreadableSource, and OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        is_parquet = file.read(len(_PARQUET)) == _PARQUET
    with TemporaryDirectory(prefix="profile-") as scratch, DuckDBEngine(Path(scratch)).session() as session:
        if is_parquet:
            return _parquet(session, path, timezone, progress)
        with _rows(path, Path(scratch)) as (rows, names, findings):
            columns = [ColumnToProfile(name) for name in names]
            profile = measure(session, session.parquet([rows]), columns, path.name, timezone, progress)
            return replace(profile, findings=(*profile.findings, *findings))


def _parquet(session: Session, path: Path, timezone: str, progress: Progress | None) -> Profile:
    relation = session.parquet([path])
    try:
        columns = [ColumnToProfile(row[0], row[1]) for row in session.rows(f"DESCRIBE SELECT * FROM {relation}")]
        return measure(session, relation, columns, path.name, timezone, progress)
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        problem = "the Parquet file is damaged, or columns of it are encrypted"
        raise UnreadableSource(path.name, problem, "Fetch it again, or give a file that is not encrypted") from error


@contextmanager
def _rows(path: Path, scratch: Path) -> Iterator[tuple[Path, Sequence[str], Sequence[str]]]:
    """The file's rows as a Parquet file of texts, its columns' names and what could not be read."""
    table = open_table(path, scratch)
    if not table.names:
        raise UnreadableSource(path.name, "the file holds no rows that can be read", "Fetch it again")
    names = _distinct(table.names)
    rows = scratch / "rows.parquet"
    for read in table.readers:
        # The last reader never declines.
        with suppress(NotFlawless):
            create_private(rows)
            _write(read(), rows, names)
            break
        rows.unlink()
    yield rows, names, list(_unreadable(table))


def _write(batches: Iterator[pa.RecordBatch], rows: Path, names: Sequence[str]) -> None:
    schema = pa.schema([(name, pa.string()) for name in names])
    with pq.ParquetWriter(rows, schema, compression="lz4") as writer:
        for batch in batches:
            writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))


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
