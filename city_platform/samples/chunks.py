"""Writes a generated file: chunks made on several threads, written in order, whole or not at all."""

import gzip
import os
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow.compute as pc

from city_platform.samples.draws import strings

CHUNK_ROWS = 16_384  # part of the file's definition: another size draws other rows

Chunk = Callable[[int, int, int], Sequence[memoryview]]  # (chunk's number, its first row, its rows) -> their bytes
Progress = Callable[[int], None]

_NO_SEPARATOR = strings([""])[0]


@dataclass(frozen=True, slots=True)
class GeneratedFile:
    """A finished sample file."""

    path: Path
    rows: int  # data rows, duplicates included, the header not
    size_bytes: int


def write_chunks(
    out: Path, header: bytes, chunk: Chunk, rows: int, *, threads: int | None = None, progress: Progress | None = None
) -> GeneratedFile:
    """Writes `header` and `rows` rows to `out`, gzipped where its name ends in `.gz`.

    At most `threads` + 1 chunks (a chunk is about 5 MB) are in memory. `progress` gets the number of rows written so
    far. Raises OSError from the file system; `out` then holds what it held before.
    """
    workers = threads or os.cpu_count() or 1
    with _replacing(out) as file, ThreadPoolExecutor(workers, thread_name_prefix="samples") as pool:
        file.write(header)
        pending: deque[tuple[int, Future[Sequence[memoryview]]]] = deque()

        def write_oldest() -> None:
            end, future = pending.popleft()
            for part in future.result():
                file.write(part)
            if progress is not None:
                progress(end)

        for number, first in enumerate(range(0, rows, CHUNK_ROWS)):
            count = min(CHUNK_ROWS, rows - first)
            pending.append((first + count, pool.submit(chunk, number, first, count)))
            if len(pending) > workers:
                write_oldest()
        while pending:
            write_oldest()
    return GeneratedFile(out, rows, out.stat().st_size)


def joined(*fragments: Any) -> memoryview:
    """The fragments of each row, one after the other, and the rows one after the other: the bytes of the file.

    A row's fragments carry their own delimiters and line end, so the buffer behind pyarrow's string array is the file.
    """
    rows = pc.binary_join_element_wise(*fragments, _NO_SEPARATOR)
    if not len(rows):
        return memoryview(b"")
    _, offsets, data = rows.buffers()
    return memoryview(data)[: int(np.frombuffer(offsets, dtype=np.int32)[len(rows)])]


@contextmanager
def _replacing(out: Path) -> Iterator[BinaryIO]:
    """A file to write that becomes `out` at the end and vanishes if anything goes wrong.

    It is not forced onto the disk: that would take longer than making it, and the seed makes it again.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}.{uuid.uuid4().hex}.unfinished")
    try:
        with unfinished.open("wb") as raw:
            if out.suffix == ".gz":
                # No name and no time in the header: the same rows are the same bytes.
                with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
                    yield cast("BinaryIO", packed)
            else:
                yield raw
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
