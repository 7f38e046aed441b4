"""One Parquet file a partition, all being written at once, in bounded memory and to the same bytes every time.

A row group is cut after ROW_GROUP_ROWS rows or ROW_GROUP_BYTES of text of its partition, counted over that
partition's rows alone: neither the batches the rows came in nor the speed of the threads show in the file.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from city_platform.engines.arrays import int64_array
from city_platform.engines.parquet import ordered_columns, repetitive_columns
from city_platform.ingestion.unpacking import create_private

ROW_GROUP_ROWS = 32_768
ROW_GROUP_BYTES = 4 << 20
LANES = 2
_UNDERWAY = 2
_KEPT_ALIVE = 8  # calls of `add` whose rows may be kept in memory by the few of them that still wait
_DICTIONARY_SHARE = 0.1  # a column with more distinct values than this in the sample is written plainly


class PartitionFiles:
    """Takes rows, and which of them go where; one thread shares them out, two write, each file always the same one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lanes = [ThreadPoolExecutor(1, f"partition-files-{lane}") for lane in range(LANES)]
        self._files: dict[str, _PartitionFile] = {}
        self._orderer = ThreadPoolExecutor(1, "partition-files-order")
        self._underway: deque[Future[Sequence[Future[None]]]] = deque()
        self._added = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lane in (self._orderer, *self._lanes):
            lane.shutdown(wait=True, cancel_futures=True)
        for file in self._files.values():
            file.abandon()

    def add(self, rows: pa.Table, places: Sequence[tuple[str, npt.NDArray[np.int64]]]) -> None:
        """Appends to each named file the rows at those positions; the rows of a file share one schema."""
        self._underway.append(self._orderer.submit(self._share_out, rows, places))
        if len(self._underway) > _UNDERWAY:
            self._wait()

    def finish(self) -> dict[str, tuple[Path, int]]:
        """Closes all files: name to path and rows, in the order of the names."""
        while self._underway:
            self._wait()
        for task in [self._submit(name, file.close) for name, file in self._files.items()]:
            task.result()
        return {name: (file.path, file.rows) for name, file in sorted(self._files.items())}

    def _share_out(self, rows: pa.Table, places: Sequence[tuple[str, npt.NDArray[np.int64]]]) -> Sequence[Future[None]]:
        """Gives each file its rows; runs on one thread, so that they arrive in order."""
        tasks = []
        for name, pieces in _apart(rows, places):
            if name not in self._files:
                self._files[name] = _PartitionFile(self._folder / f"{name}.parquet")
            tasks.append(self._submit(name, self._files[name].add, pieces))
        self._added += 1
        if self._added % _KEPT_ALIVE == 0:
            tasks += [self._submit(name, file.let_go) for name, file in self._files.items()]
        return tasks

    def _wait(self) -> None:
        """Until the rows of one call of `add` are written or wait for their row group; raises what that raised."""
        for task in self._underway.popleft().result():
            task.result()

    def _submit(self, name: str, work: Callable[..., None], *args: object) -> Future[None]:
        lane = list(self._files).index(name) % LANES
        return self._lanes[lane].submit(work, *args)


def _apart(
    rows: pa.Table, places: Sequence[tuple[str, npt.NDArray[np.int64]]]
) -> Iterator[tuple[str, list[pa.RecordBatch]]]:
    """Each place's rows. They are put in order all at once and cut: one copy of everything instead of one a place."""
    order = np.concatenate([positions for _, positions in places]) if places else np.empty(0, np.int64)
    in_order = len(order) == rows.num_rows and bool((order == np.arange(len(order))).all())
    ordered = rows if in_order else rows.take(int64_array(order))
    start = 0
    for name, positions in places:
        yield name, ordered.slice(start, len(positions)).to_batches()
        start += len(positions)


class _PartitionFile:
    """One file and the rows waiting for their row group. Belongs to one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._waiting: list[pa.RecordBatch] = []
        self._own = 0  # of these, the first so many are no part of anything larger
        self._waiting_rows = 0
        self._waiting_bytes = 0
        self._writer: pq.ParquetWriter | None = None

    def add(self, pieces: Sequence[pa.RecordBatch]) -> None:
        for piece in pieces:
            self._waiting.append(piece)
            self._waiting_rows += piece.num_rows
            self._waiting_bytes += int(_text_ends(piece)[-1])
        if self._waiting_rows >= ROW_GROUP_ROWS or self._waiting_bytes >= ROW_GROUP_BYTES:
            self._write_full_groups()

    def let_go(self) -> None:
        """Copies the rows that came since the last time, so that the rows they were a part of are not kept alive."""
        if len(self._waiting) > self._own:
            came = self._waiting[self._own :]
            # An empty one beside it, because a single one would not be copied.
            self._waiting[self._own :] = [pa.concat_batches([*came, came[0].slice(0, 0)])]
            self._own = len(self._waiting)

    def close(self) -> None:
        if self._waiting_rows:
            self._write(pa.concat_batches(self._waiting))
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def abandon(self) -> None:
        """Lets go of a file that will not be used."""
        self._waiting = []
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write_full_groups(self) -> None:
        rows = pa.concat_batches(self._waiting)
        ends = _text_ends(rows)
        start = 0
        while True:
            by_bytes = int(np.searchsorted(ends, (ends[start - 1] if start else 0) + ROW_GROUP_BYTES)) + 1
            stop = min(by_bytes, start + ROW_GROUP_ROWS)
            if stop > rows.num_rows:
                break
            self._write(rows.slice(start, stop - start))
            start = stop
        rest = rows.slice(start)
        self._waiting = [rest] if rest.num_rows else []
        self._own = 0
        self._waiting_rows = rest.num_rows
        self._waiting_bytes = int(ends[-1] - (ends[start - 1] if start else 0))

    def _write(self, group: pa.RecordBatch) -> None:
        if self._writer is None:
            self._writer = _open_writer(self.path, group)
        self._writer.write_batch(group, row_group_size=max(group.num_rows, 1))
        self.rows += group.num_rows


def _text_ends(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """For each row the bytes of all text up to its end: the same whatever the batch was cut from."""
    rows = batch.num_rows
    total = np.zeros(rows + 1, np.int64)
    for column in batch.columns:
        if pa.types.is_string(column.type) and rows:
            offsets = np.frombuffer(column.buffers()[1], np.int32)
            total += offsets[column.offset : column.offset + rows + 1]
    ends: npt.NDArray[np.int64] = total[1:] - total[0]
    return ends


def _open_writer(path: Path, first: pa.RecordBatch) -> pq.ParquetWriter:
    """LZ4 because these rows are read within the minute and compressing harder takes longer than writing them."""
    numbers = ordered_columns(first.schema)
    repeating = [name for name in repetitive_columns(first, _DICTIONARY_SHARE) if name not in numbers]
    return pq.ParquetWriter(
        create_private(path),
        first.schema,
        compression="lz4",
        use_dictionary=repeating or False,
        column_encoding=dict.fromkeys(numbers, "DELTA_BINARY_PACKED") or None,
        write_statistics=False,
        data_page_version="2.0",
        store_schema=False,
    )
