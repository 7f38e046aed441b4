"""Writing Parquet: Arrow batches in, one finished and hashed file out."""

import errno
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from city_platform.engines.parquet import ordered_columns, repetitive_columns
from city_platform.lake.lake import Lake, StagedFile
from city_platform.ports import StoreUnavailable

ROW_GROUP_ROWS = 24_576  # several in an ordinary year, so that readers can share them out


class ParquetSink:
    """A Parquet file in the making, mode 0600. Row groups hold about `ROW_GROUP_ROWS` rows.

    A thread of its own encodes, while the caller goes on computing the next rows; at most two row groups wait. The
    bytes depend on the rows alone and not on how they are batched, so that every engine gives the same file. A sink
    that received nothing and was not opened with `even_empty` leaves none.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, compression: str = "zstd", even_empty: bool = True) -> None:
        self._path = path
        self._schema = schema
        self._compression = compression
        self._even_empty = even_empty
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self._writer: pq.ParquetWriter | None = None
        self._encoder: ThreadPoolExecutor | None = None
        self._encoding: deque[Future[None]] = deque()
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def write(self, batch: pa.RecordBatch) -> None:
        rest = batch
        while rest.num_rows:
            piece = rest.slice(0, ROW_GROUP_ROWS - self._waiting_rows)
            self._waiting.append(piece)
            self._waiting_rows += piece.num_rows
            rest = rest.slice(piece.num_rows)
            if self._waiting_rows == ROW_GROUP_ROWS:
                self._flush()

    def finish(self) -> list[StagedFile]:
        """Closes the file; the list is empty where nothing was to be written. Raises what encoding raised."""
        if self._waiting or (self._even_empty and self._writer is None):
            self._flush()
        if self._writer is None:
            return []
        while self._encoding:
            self._encoding.popleft().result()
        self._close()
        return [StagedFile.of(self._path, self.rows)]

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._waiting, self._schema).combine_chunks()
        self.rows += self._waiting_rows
        self._waiting, self._waiting_rows = [], 0
        if self._writer is None:
            self._open(table)
        if self._encoder is None:
            self._encode(table)  # the only row group so far: a thread is not worth its while
            self._encoder = ThreadPoolExecutor(1, thread_name_prefix="parquet")
            return
        while len(self._encoding) > 1:
            self._encoding.popleft().result()
        self._encoding.append(self._encoder.submit(self._encode, table))

    def _encode(self, table: pa.Table) -> None:
        if self._writer is not None:
            self._writer.write_table(table, row_group_size=ROW_GROUP_ROWS)

    def _open(self, table: pa.Table) -> None:
        self._path.touch(mode=0o600)
        self._writer = pq.ParquetWriter(
            self._path,
            self._schema,
            compression=self._compression,
            compression_level=1 if self._compression == "zstd" else None,
            use_dictionary=repetitive_columns(table) or False,
            data_page_version="2.0",
            write_statistics=ordered_columns(self._schema),
        )

    def _close(self) -> None:
        if self._encoder is not None:
            self._encoder.shutdown(wait=True, cancel_futures=True)
            self._encoder = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None


_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}  # a disk that takes nothing more


@contextmanager
def workspace(lake: Lake) -> Iterator[Path]:
    """A private folder for unfinished files, gone afterwards. A disk that takes nothing more is a StoreUnavailable."""
    scratch = lake.store.scratch()
    try:
        folder = Path(tempfile.mkdtemp(dir=scratch))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise StoreUnavailable(f"cannot write below {scratch}: {os.strerror(error.errno)}") from error
