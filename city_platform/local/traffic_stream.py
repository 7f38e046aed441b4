"""The traffic stream in one SQLite file: durable when a put returns, with the places of its readers.

Keys fall into shards as in Kinesis, by the MD5 of the key, and handlers get records in the shape of its events.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pybase64

from city_platform.local.clock import SystemClock
from city_platform.local.database import Database
from city_platform.ports import Clock
from city_platform.traffic.stream import (
    MOST_READ_BYTES,
    Entry,
    StreamRecord,
    StreamRefused,
    StreamUnavailable,
    check_limits,
    shard_of,
)

SOURCE = "local:stream/traffic"
SHARDS = 4
KEEP = timedelta(hours=24)
_NAME = "shardId-"
_MOST_TRIMMED = 10_000  # records in one transaction, so that nobody who puts waits long
_SCHEMA = (
    # AUTOINCREMENT: no number is given twice, even after the last record was trimmed.
    """CREATE TABLE IF NOT EXISTS record (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT, shard INTEGER NOT NULL, key TEXT NOT NULL,
        arrival_ms INTEGER NOT NULL, data BLOB NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS record_shard ON record (shard)",  # and by sequence, as every index of a table is
    """CREATE TABLE IF NOT EXISTS checkpoint (
        reader TEXT NOT NULL, shard INTEGER NOT NULL, sequence INTEGER NOT NULL, PRIMARY KEY (reader, shard)
    ) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS made (one INTEGER PRIMARY KEY CHECK (one = 1), shards INTEGER NOT NULL)",
)


class SqliteEventStream:
    """An EventStream in one file, mode 0600. Safe between threads and between processes.

    `shards` is how many there are from the first use on; another number later is StreamRefused, for keys would change
    their shards and so their order.
    """

    def __init__(self, path: Path, shards: int = SHARDS, clock: Clock | None = None) -> None:
        self._database = Database(path, _SCHEMA, StreamUnavailable, "the traffic stream")
        self._path = path
        self._shards = shards
        self._clock = clock or SystemClock()
        self._agreed = False

    def put(self, entries: Sequence[Entry]) -> Sequence[StreamUnavailable | None]:
        check_limits(entries)
        self._agree()
        with self._database.transaction() as connection:
            # Taken under the lock of the file, arrivals grow as the numbers do.
            now = self._now_ms()
            connection.executemany(
                "INSERT INTO record (shard, key, data, arrival_ms) VALUES (?, ?, ?, ?)",
                [(shard_of(entry.key, self._shards), entry.key, entry.data, now) for entry in entries],
            )
        return [None] * len(entries)

    def shards(self) -> Sequence[str]:
        self._agree()
        return [f"{_NAME}{number:012d}" for number in range(self._shards)]

    def read(self, shard: str, after: str | None, limit: int) -> Sequence[StreamRecord]:
        # What is read in vain is its sizes, never data beyond the limit.
        sizes = self._database.read(
            "SELECT sequence, length(data) FROM record WHERE shard = ? AND sequence > ? ORDER BY sequence LIMIT ?",
            (self._number(shard), int(after or 0), limit),
        )
        last = size = 0
        for sequence, length in sizes:
            size += length
            if last and size > MOST_READ_BYTES:
                break
            last = sequence
        rows = self._database.read(
            "SELECT sequence, key, data, arrival_ms FROM record WHERE shard = ? AND sequence > ? AND sequence <= ?"
            " ORDER BY sequence",
            (self._number(shard), int(after or 0), last),
        )
        return [StreamRecord(_sequence(number), key, data, arrival_ms) for number, key, data, arrival_ms in rows]

    def checkpoint(self, reader: str, shard: str) -> str | None:
        """The last sequence number the reader has dealt with; None: none yet."""
        rows = self._database.read(
            "SELECT sequence FROM checkpoint WHERE reader = ? AND shard = ?", (reader, self._number(shard))
        )
        return _sequence(rows[0][0]) if rows else None

    def dealt_with(self, reader: str, shard: str, sequence: str) -> None:
        """Everything of the shard up to and with that number is done, for good; a lower number changes nothing."""
        place = reader, self._number(shard), int(sequence)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO checkpoint VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET sequence = max(sequence, excluded.sequence)",
                place,
            )

    def rewind(self, reader: str, shard: str) -> None:
        """Forgets the reader's place: it begins again with the oldest record kept."""
        place = reader, self._number(shard)
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM checkpoint WHERE reader = ? AND shard = ?", place)

    def trim(self, shard: str, readers: Sequence[str], keep: timedelta = KEEP) -> int:
        """Drops records older than `keep` that all readers have dealt with, these and those with a checkpoint.

        So nothing unread is lost, and what was read can be read again for a day. Returns how many were dropped.
        """
        number, dropped = self._number(shard), 0
        oldest = self._now_ms() - int(keep / timedelta(milliseconds=1))
        while True:
            with self._database.transaction() as connection:
                places = dict(connection.execute("SELECT reader, max(sequence * (shard = ?)) FROM checkpoint"
                                                 " GROUP BY reader", (number,)))  # fmt: skip
                done = min((places.get(reader, 0) for reader in {*readers, *places}), default=0)
                gone = connection.execute(
                    "DELETE FROM record WHERE arrival_ms < ? AND sequence IN"
                    " (SELECT sequence FROM record WHERE shard = ? AND sequence <= ? ORDER BY sequence LIMIT ?)",
                    (oldest, number, done, _MOST_TRIMMED),
                ).rowcount
            dropped += gone
            if gone < _MOST_TRIMMED:
                return dropped

    def _agree(self) -> None:
        """Holds the file to the number of shards it was made with."""
        if self._agreed:
            return
        with self._database.transaction() as connection:
            connection.execute("INSERT INTO made VALUES (1, ?) ON CONFLICT DO NOTHING", (self._shards,))
            ((made,),) = connection.execute("SELECT shards FROM made")
        if made != self._shards:
            raise StreamRefused(f"{self._path} was made with {made} shards, not {self._shards}: open it with {made}")
        self._agreed = True

    def _number(self, shard: str) -> int:
        if shard not in self.shards():
            raise StreamRefused(f"{self._path} has no shard {shard!r}; it has {', '.join(self.shards())}")
        return int(shard.removeprefix(_NAME))

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class TrafficShard:
    """One shard for an event source mapping: its records as Lambda gets those of Kinesis."""

    stream: SqliteEventStream
    name: str

    def read(self, reader: str, limit: int) -> Sequence[Mapping[str, Any]]:
        """At most `limit` records after what the reader has dealt with. Raises StreamUnavailable."""
        records = self.stream.read(self.name, self.stream.checkpoint(reader, self.name), limit)
        return [event_record(self.name, record) for record in records]

    def dealt_with(self, reader: str, sequence: str) -> None:
        """Everything up to and with that number is done, for good. Raises StreamUnavailable."""
        self.stream.dealt_with(reader, self.name, sequence)

    def trim(self, readers: Sequence[str]) -> int:
        """Drops what these readers have dealt with a day ago; how many records that were."""
        return self.stream.trim(self.name, readers)


def event_record(shard: str, record: StreamRecord) -> dict[str, Any]:
    """The record as it is in an event of Kinesis."""
    return {
        "eventID": f"{shard}:{record.sequence}",
        "eventName": "aws:kinesis:record",
        "eventSource": "aws:kinesis",
        "eventSourceARN": SOURCE,
        "eventVersion": "1.0",
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record.key,
            "sequenceNumber": record.sequence,
            "data": pybase64.b64encode(record.data).decode("ascii"),
            "approximateArrivalTimestamp": record.arrival_ms / 1000,
        },
    }


def _sequence(number: int) -> str:
    # Of one length, so that names made of them sort, too.
    return f"{number:021d}"
