"""The traffic state in one SQLite file: a batch's windows are one transaction, and so one flush to the disk."""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from city_platform.local.database import Database
from city_platform.traffic.state import (
    BUCKETS,
    KEEP_MS,
    WINDOW_MS,
    Conflict,
    Event,
    Key,
    Record,
    StateUnavailable,
    VersionConflict,
    Window,
    bucket,
)

_COLUMNS = ", ".join(f'"{name}"' for name in Window.__struct_fields__)
_PLACES = ", ".join("?" * len(Window.__struct_fields__))
_SCHEMA = (
    f"CREATE TABLE IF NOT EXISTS window ({_COLUMNS}, PRIMARY KEY (start_ms, zone)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS record (key TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL)",
    # A published event stays, without its body, so that its id is known.
    "CREATE TABLE IF NOT EXISTS event (place INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, at_ms INTEGER, body BLOB)",
    "CREATE INDEX IF NOT EXISTS waiting ON event (place) WHERE body IS NOT NULL",
)
_SELECT = f"SELECT {_COLUMNS} FROM window WHERE zone = ?"
# A zone's windows lie apart, each beside those of the other zones: they are looked up one by one, not searched for.
_OF_ZONE = f"""
    WITH RECURSIVE starts (at) AS
        (SELECT ? AS at WHERE at < ? UNION ALL SELECT at + {WINDOW_MS} FROM starts WHERE at + {WINDOW_MS} < ?)
    SELECT {_COLUMNS} FROM starts JOIN window ON start_ms = at AND zone = ? ORDER BY start_ms
"""
_OF_CITY = f"SELECT {_COLUMNS} FROM window WHERE start_ms = ? ORDER BY zone"
_INSERT = f"INSERT INTO window VALUES ({_PLACES}) ON CONFLICT DO NOTHING"
_UPDATE = f"UPDATE window SET ({_COLUMNS}) = ({_PLACES}) WHERE zone = ? AND start_ms = ? AND version = ?"


class SqliteTrafficState:
    """A TrafficState in one file, mode 0600. Safe between threads and between processes."""

    def __init__(self, path: Path, durable: bool = True) -> None:
        """Without `durable` a power cut may take the last batches, which a stream that is read again gives back."""
        self._database = Database(path, _SCHEMA, StateUnavailable, "the traffic state", durable=durable)

    def put(self, windows: Sequence[Window]) -> Sequence[Conflict | StateUnavailable | None]:
        with self._database.transaction() as connection:
            return [_put(connection, window) for window in windows]

    def get(self, keys: Sequence[Key]) -> Mapping[Key, Window]:
        found = (Window(*row) for key in keys for row in self._database.read(f"{_SELECT} AND start_ms = ?", key))
        return {window.key: window for window in found}

    def windows(self, zone: str, start_ms: int, end_ms: int) -> Sequence[Window]:
        rows = self._database.read(_OF_ZONE, (start_ms + -start_ms % WINDOW_MS, end_ms, end_ms, zone))
        return [Window(*row) for row in rows]

    def city(self, start_ms: int, parts: Sequence[int] = range(BUCKETS)) -> Sequence[Window]:
        rows = self._database.read(_OF_CITY, (start_ms,))
        windows, wanted = [Window(*row) for row in rows], set(parts)
        return windows if len(wanted) == BUCKETS else [one for one in windows if bucket(one.zone) in wanted]

    def forget(self, now_ms: int) -> int:
        """Drops windows past their time, as DynamoDB does by itself; how many there were."""
        with self._database.transaction() as connection:
            # By their start first, for that is the table's order: nothing younger has to be looked at.
            return connection.execute(
                "DELETE FROM window WHERE start_ms < ? AND ttl < ?", (now_ms - KEEP_MS, now_ms // 1000)
            ).rowcount

    def record(self, key: str) -> Record | None:
        rows = self._database.read("SELECT key, version, body FROM record WHERE key = ?", (key,))
        return Record(*rows[0]) if rows else None

    def commit(self, records: Sequence[Record], events: Sequence[Event] = ()) -> None:
        with self._database.transaction() as connection:
            for record in records:
                (stored,) = connection.execute(
                    "SELECT max(version) FROM record WHERE key = ?", (record.key,)
                ).fetchone()
                if (stored or 0) + 1 != record.version:
                    raise VersionConflict(f"{record.key} has version {stored or 0}, not {record.version - 1}")
                connection.execute("REPLACE INTO record VALUES (?, ?, ?)", (record.key, record.version, record.body))
            for event in events:
                connection.execute(
                    "INSERT INTO event (id, at_ms, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (event.id, event.at_ms, event.body),
                )

    def outbox(self, limit: int) -> Sequence[Event]:
        rows = self._database.read(
            "SELECT id, at_ms, body FROM event WHERE body IS NOT NULL ORDER BY at_ms, place LIMIT ?", (limit,)
        )
        return [Event(*row) for row in rows]

    def published(self, events: Sequence[Event]) -> None:
        with self._database.transaction() as connection:
            for event in events:
                connection.execute("UPDATE event SET body = NULL WHERE id = ?", (event.id,))


def _put(connection: sqlite3.Connection, window: Window) -> Conflict | None:
    values = msgspec.structs.astuple(window)
    if window.version == 1:
        written = connection.execute(_INSERT, values)
    else:
        written = connection.execute(_UPDATE, (*values, *window.key, window.version - 1))
    if written.rowcount == 1:
        return None
    row = connection.execute(f"{_SELECT} AND start_ms = ?", window.key).fetchone()
    return Conflict(Window(*row) if row else None)
