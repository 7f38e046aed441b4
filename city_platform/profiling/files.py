"""The profile of any file, without a contract and without the lake."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from city_platform.engines.duckdb import DuckDBEngine, DuckDBSession
from city_platform.ingestion.formats import UnreadableSource
from city_platform.ingestion.text_rows import text_rows
from city_platform.profiling.measure import ColumnToProfile, measure
from city_platform.profiling.model import Profile

_PARQUET = b"PAR1"

Progress = Callable[[int], None]


def profile_file(path: Path, timezone: str, progress: Progress | None = None) -> Profile:
    """The profile of a CSV, JSON lines, xlsx or Parquet file, the first three also gzipped.

    Texts get a type if nearly all of a column fit it; `timezone` is that of times without an offset. `progress` is
    told the columns done. Nothing outlives the call. Raises UnreadableSource, and OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        is_parquet = file.read(len(_PARQUET)) == _PARQUET
    with TemporaryDirectory(prefix="profile-") as scratch, DuckDBEngine(Path(scratch), (path,)).session() as session:
        if is_parquet:
            return _parquet(session, path, timezone, progress)
        read = text_rows(path, Path(scratch))
        columns = [ColumnToProfile(name) for name in read.names]
        profile = measure(session, session.parquet([read.file]), columns, path.name, timezone, progress)
        return replace(profile, findings=(*profile.findings, *read.unreadable))


def _parquet(session: DuckDBSession, path: Path, timezone: str, progress: Progress | None) -> Profile:
    relation = session.parquet([path])
    try:
        columns = [ColumnToProfile(row[0], row[1]) for row in session.rows(f"DESCRIBE SELECT * FROM {relation}")]
        return measure(session, relation, columns, path.name, timezone, progress)
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        problem = "the Parquet file is damaged, or columns of it are encrypted"
        raise UnreadableSource(path.name, problem, "Fetch it again, or give a file that is not encrypted") from error
