"""The local traffic stream against bare SQLite: what keys, shards, order and durability cost.

    uv run python benchmarks/traffic_stream.py

Both put the same entries of 1 to 10 kB, as many at a time, and commit each time with a write-ahead log and
`synchronous = FULL`; bare SQLite appends blobs to a table of nothing else. They take turns, and the best of some rounds
counts. A city of 50,000 readings a second makes 500 entries a second, a burst ten times as many. Reading is all records
of one shard after the other, as a worker reads them.
"""

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from city_platform.local.traffic_stream import SqliteEventStream, TrafficShard
from city_platform.traffic.stream import Entry

NEEDED = 500  # entries a second
BURST = 10
ENTRIES = 3_000


def entries(count: int) -> list[Entry]:
    """Of 500 zones, with bytes that do not compress, as frames do not."""
    draw = np.random.default_rng(1)
    sizes = draw.integers(1_000, 10_001, count).tolist()
    return [Entry(f"z-{number % 500:03d}", draw.bytes(size)) for number, size in enumerate(sizes)]


class Bare:
    """A table of blobs."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("CREATE TABLE blob (data BLOB)")

    def put(self, some: Sequence[Entry]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO blob VALUES (?)", [(one.data,) for one in some])
        self._connection.execute("COMMIT")


def rate(put: Callable[[Sequence[Entry]], object], told: Sequence[Entry], at_once: int) -> float:
    """Entries a second."""
    began = time.perf_counter()
    for start in range(0, len(told), at_once):
        put(told[start : start + at_once])
    return len(told) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    told = entries(ENTRIES)
    for at_once in (1, 10, 50, 500):
        some = told if at_once > 1 else told[: ENTRIES // 5]
        bare, stream = 0.0, 0.0
        with tempfile.TemporaryDirectory() as folder:
            for number in range(options.rounds):
                bare = max(bare, rate(Bare(Path(folder) / f"bare-{number}").put, some, at_once))
                stream = max(stream, rate(SqliteEventStream(Path(folder) / f"stream-{number}").put, some, at_once))
        print(
            f"put {at_once} at a time: {stream:,.0f} entries/s, {stream / bare:.2f} of bare SQLite; "
            f"{stream / NEEDED:.0f}x what a city needs, {stream / NEEDED / BURST:.1f}x its bursts",
            flush=True,
        )
    with tempfile.TemporaryDirectory() as folder:
        full = SqliteEventStream(Path(folder) / "stream")
        rate(full.put, told, 500)
        shards = [TrafficShard(full, name) for name in full.shards()]
        began = time.perf_counter()
        found = 0
        for shard in shards:
            while records := shard.read("benchmark", 500):
                found += len(records)
                shard.dealt_with("benchmark", records[-1]["kinesis"]["sequenceNumber"])
        seconds = time.perf_counter() - began
        assert found == len(told)
        print(f"read as events, with checkpoints: {found / seconds:,.0f} entries/s, {found / seconds / NEEDED:.0f}x")


if __name__ == "__main__":
    main()
