"""Writing Parquet: Arrow batches in, one finished and hashed file out."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from city_platform.lake.lake import Lake, StagedFile

ROW_GROUP_ROWS = 65_536


class ParquetSink:
    """A Parquet file in the making, mode 0600. Row groups hold about `ROW_GROUP_ROWS` rows.

    The bytes depend on the rows and on how they are batched, both of which the engine keeps stable, so that the
    same input gives the same file. A sink that received nothing and was not opened with `even_empty` leaves none.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, compression: str = "zstd", even_empty: bool = True) -> None:
        self._path = path
        self._schema = schema
        self._compression = compression
        self._even_empty = even_empty
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self._writer: pq.ParquetWriter | None = None
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def write(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self._waiting.append(batch)
            self._waiting_rows += batch.num_rows
            if self._waiting_rows >= ROW_GROUP_ROWS:
                self._flush()

    def finish(self) -> list[StagedFile]:
        """Closes the file; the list is empty where nothing was to be written."""
        if self._waiting or (self._even_empty and self._writer is None):
            self._flush()
        if self._writer is None:
            return []
        self._writer.close()
        self._writer = None
        return [StagedFile.of(self._path, self.rows)]

    def _flush(self) -> None:
        if self._writer is None:
            self._path.touch(mode=0o600)
            self._writer = pq.ParquetWriter(
                self._path,
                self._schema,
                compression=self._compression,
                compression_level=1 if self._compression == "zstd" else None,
                # A dictionary that does not pay is given up early instead of at one megabyte.
                dictionary_pagesize_limit=256 * 1024,
                data_page_version="2.0",
                write_statistics=True,
            )
        table = pa.Table.from_batches(self._waiting, self._schema)
        self._writer.write_table(table, row_group_size=max(ROW_GROUP_ROWS, self._waiting_rows))
        self.rows += self._waiting_rows
        self._waiting, self._waiting_rows = [], 0


@contextmanager
def workspace(lake: Lake) -> Iterator[Path]:
    """A private folder for unfinished files, gone afterwards."""
    folder = Path(tempfile.mkdtemp(dir=lake.store.scratch()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
