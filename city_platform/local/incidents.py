"""Incidents in one SQLite file: durable at every accepted change, and a log of changes for the stream.

Concurrent writers share one transaction, and so one flush to the disk: whoever gets the lock commits for all who wait.
"""

import json
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from city_platform.incidents import codec
from city_platform.incidents.model import Box, HistoryEntry, Incident, Status, Visibility
from city_platform.incidents.repository import (
    CHANGES_AT_ONCE,
    AlreadyDone,
    Change,
    Count,
    Counted,
    Heading,
    Listing,
    Mark,
    Pattern,
    Position,
    RepositoryUnavailable,
    VersionConflict,
)
from city_platform.local.database import Database
from city_platform.ports import Clock

_REQUESTS_AT_ONCE = 500  # in one transaction: a flush costs as much as a hundred of them
_SCHEMA = """
CREATE TABLE IF NOT EXISTS incident (
    incident_id TEXT PRIMARY KEY, version INTEGER NOT NULL, region TEXT NOT NULL, district TEXT NOT NULL,
    status TEXT NOT NULL, category TEXT NOT NULL, reported_by TEXT, reported_at TEXT NOT NULL, lat REAL, long REAL,
    item TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    incident_id TEXT NOT NULL, version INTEGER NOT NULL, item TEXT NOT NULL, PRIMARY KEY (incident_id, version)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contact (incident_id TEXT PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mark (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, incident_id TEXT NOT NULL, expires_at TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tally (
    region TEXT NOT NULL, district TEXT NOT NULL, status TEXT NOT NULL, category TEXT NOT NULL,
    incidents INTEGER NOT NULL, PRIMARY KEY (region, district, status, category)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS change (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, incident_id TEXT NOT NULL, old TEXT, new TEXT
);
CREATE TABLE IF NOT EXISTS reader (name TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
"""
Rows = list[tuple[Any, ...]]  # here, because in the repository `list` is a method
_TALLIED = ("region", "district", "status", "category")
_INDEXES: Mapping[Pattern, str] = {
    Pattern.REGION_STATUS: "incident_region_status",
    Pattern.REGION_CATEGORY: "incident_region_category",
    Pattern.DISTRICT_STATUS: "incident_district_status",
    Pattern.DISTRICT_CATEGORY: "incident_district_category",
    Pattern.REPORTED_BY: "incident_reported_by",
}
_DATES = {name: f"json_extract(item, '$.{name}')" for name in ("anonymise_after", "ttl")}  # of what was closed


@dataclass(frozen=True, slots=True)
class LoggedChange:
    """One change as it was logged: the item before (None: it is new) and after (None: it was removed)."""

    sequence: int
    at: str  # RFC 3339
    incident_id: str
    old: codec.Item | None
    new: codec.Item | None


@dataclass(slots=True)
class _Request:
    changes: Sequence[Change]
    done: bool = False
    error: Exception | None = None


@dataclass(slots=True)
class SqliteIncidentRepository:
    """An IncidentRepository in one file, mode 0600. Safe between threads and between processes."""

    path: Path
    clock: Clock
    _pending: deque[_Request] = field(default_factory=deque)
    _writing: threading.Lock = field(default_factory=threading.Lock)
    _database: Database = field(init=False)

    def __post_init__(self) -> None:
        self._database = Database(self.path, _schema(), RepositoryUnavailable, "the incident store")

    def write(self, changes: Sequence[Change]) -> None:
        if not 1 <= len(changes) <= CHANGES_AT_ONCE:
            raise ValueError(f"1 to {CHANGES_AT_ONCE} changes at once, not {len(changes)}")
        request = _Request(changes)
        self._pending.append(request)
        with self._writing:
            while not request.done:
                self._commit_pending()
        if request.error is not None:
            raise request.error

    def get(self, incident_id: str) -> Incident | None:
        row = self._database.read("SELECT item FROM incident WHERE incident_id = ?", (incident_id,))
        return codec.incident(_loaded(row[0][0])) if row else None

    def marked(self, key: str) -> str | None:
        rows = self._database.read("SELECT incident_id FROM mark WHERE key = ? AND expires_at IS NULL", (key,))
        return str(rows[0][0]) if rows else None

    def list(self, listing: Listing, limit: int, after: Position | None = None) -> Sequence[Incident]:
        return [codec.incident(_loaded(item)) for (item,) in self._listed("item", listing, limit, after)]

    def headings(self, listing: Listing, limit: int, after: Position | None = None) -> Sequence[Heading]:
        columns = "reported_at, incident_id, category, status, json_extract(item, '$.visibility')"
        return [
            Heading(datetime.fromisoformat(at), incident_id, category, Status(status), Visibility(visibility))
            for at, incident_id, category, status, visibility in self._listed(columns, listing, limit, after)
        ]

    def _listed(self, columns: str, listing: Listing, limit: int, after: Position | None) -> Rows:
        chosen = " AND ".join(f"{name} = ?" for name in listing.pattern.fields)
        sql = f"SELECT {columns} FROM incident INDEXED BY {_INDEXES[listing.pattern]} WHERE {chosen}"
        values: list[str | int] = list(listing.values)
        if after is not None:
            sql += " AND (reported_at, incident_id) < (?, ?)"
            values += [codec.rfc3339(after.reported_at), after.incident_id]
        return self._database.read(f"{sql} ORDER BY reported_at DESC, incident_id DESC LIMIT ?", (*values, limit))

    def near(self, district: str, category: str, box: Box, since: datetime, newest: int) -> Sequence[Incident]:
        # The index holds the coordinates, so that only incidents within the box are read and decoded.
        rows = self._database.read(
            "SELECT item FROM incident JOIN (SELECT incident_id AS id, lat, long FROM incident INDEXED BY "
            f"{_INDEXES[Pattern.DISTRICT_CATEGORY]} WHERE district = ? AND category = ? AND reported_at >= ? "
            "ORDER BY reported_at DESC, incident_id DESC LIMIT ?) AS newest ON id = incident_id "
            "WHERE newest.lat BETWEEN ? AND ? AND newest.long BETWEEN ? AND ? "
            "ORDER BY reported_at DESC, incident_id DESC",
            (district, category, codec.rfc3339(since), newest, box.south, box.north, box.west, box.east),
        )
        return [codec.incident(_loaded(item)) for (item,) in rows]

    def history(self, incident_id: str) -> Sequence[HistoryEntry]:
        rows = self._database.read("SELECT item FROM history WHERE incident_id = ? ORDER BY version", (incident_id,))
        return [codec.history_entry(_loaded(item)) for (item,) in rows]

    def sealed_contact(self, incident_id: str) -> bytes | None:
        rows = self._database.read("SELECT sealed FROM contact WHERE incident_id = ?", (incident_id,))
        return bytes(rows[0][0]) if rows else None

    def to_anonymise(self, now: datetime, limit: int) -> Sequence[Incident]:
        rows = self._database.read(
            f"SELECT item FROM incident INDEXED BY incident_anonymise_after WHERE {_DATES['anonymise_after']} <= ? "
            f"AND {_DATES['ttl']} > ? LIMIT ?",
            (codec.rfc3339(now), now.timestamp(), limit),
        )
        return [codec.incident(_loaded(item)) for (item,) in rows]

    def forget(self, incident_id: str, marks: Sequence[str] = ()) -> None:
        with self._writing, self._database.transaction() as connection:
            connection.executemany("DELETE FROM mark WHERE key = ?", [(key,) for key in marks])
            for table in ("history", "contact"):
                connection.execute(f"DELETE FROM {table} WHERE incident_id = ?", (incident_id,))

    def naming(self, subject: str) -> Sequence[str]:
        rows = self._database.read(
            "SELECT incident_id FROM incident WHERE reported_by = ? UNION "
            "SELECT incident_id FROM history WHERE json_extract(item, '$.actor') = ? ORDER BY 1",
            (subject, subject),
        )
        return [incident_id for (incident_id,) in rows]

    def contacts(self) -> Iterator[tuple[str, bytes]]:
        for incident_id, sealed in self._database.read("SELECT incident_id, sealed FROM contact"):
            yield incident_id, bytes(sealed)

    def drop_marks(self, fingerprint: str) -> int:
        with self._writing, self._database.transaction() as connection:
            return connection.execute("DELETE FROM mark WHERE fingerprint = ?", (fingerprint,)).rowcount

    def compact(self) -> None:
        """Writes the file anew, so that nothing that was removed stands in it any more."""
        with self._writing:
            self._database.compact()

    def expire(self, limit: int) -> int:
        """Drops at most `limit` incidents whose `ttl` has come, as DynamoDB does by itself; how many these were.

        Each drop is the incident's last change in the log. An incident of which the log holds a change waits: the log
        is trimmed of what its readers have dealt with, after an export.
        """
        now = self.clock.now()
        with self._writing, self._database.transaction() as connection:
            due = connection.execute(
                f"SELECT incident_id, item FROM incident INDEXED BY incident_ttl WHERE {_DATES['ttl']} <= ? "
                "AND incident_id NOT IN (SELECT incident_id FROM change) LIMIT ?",
                (now.timestamp(), limit),
            ).fetchall()
            for incident_id, item in due:
                connection.execute("DELETE FROM incident WHERE incident_id = ?", (incident_id,))
                _count(connection, _loaded(item), -1)
                _log(connection, now, incident_id, item, None)
        return len(due)

    def counts(self) -> Counted:
        """As an IncidentCounter: kept in the same transaction as the incidents, so never behind."""
        rows = self._database.read("SELECT * FROM tally WHERE incidents > 0 ORDER BY 1, 2, 3, 4", ())
        return Counted(self.clock.now(), [Count(*row) for row in rows])

    def changes(self, after: int, limit: int) -> Sequence[LoggedChange]:
        """The log from the first change after the sequence number `after`, in order."""
        rows = self._database.read(
            "SELECT sequence, at, incident_id, old, new FROM change WHERE sequence > ? ORDER BY sequence LIMIT ?",
            (after, limit),
        )
        return [
            LoggedChange(sequence, at, incident_id, _loaded(old) if old else None, _loaded(new) if new else None)
            for sequence, at, incident_id, old, new in rows
        ]

    def forget_changes(self, up_to: int) -> int:
        """Drops the log up to and with a sequence number that its reader has dealt with; how many changes that were."""
        with self._writing, self._database.transaction() as connection:
            return connection.execute("DELETE FROM change WHERE sequence <= ?", (up_to,)).rowcount

    def checkpoint(self, reader: str) -> int:
        """The sequence number up to which a reader of the log has dealt with it; 0 at its start."""
        rows = self._database.read("SELECT sequence FROM reader WHERE name = ?", (reader,))
        return int(rows[0][0]) if rows else 0

    def set_checkpoint(self, reader: str, sequence: int) -> None:
        """Never goes back."""
        with self._writing, self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO reader VALUES (?, ?) "
                "ON CONFLICT DO UPDATE SET sequence = max(sequence, excluded.sequence)",
                (reader, sequence),
            )

    def _commit_pending(self) -> None:
        requests = [self._pending.popleft() for _ in range(min(len(self._pending), _REQUESTS_AT_ONCE))]
        failure: Exception | None = None
        try:
            with self._database.transaction() as connection:
                for request in requests:
                    self._apply(connection, request)
        except RepositoryUnavailable as error:
            failure = error  # nothing was committed: every one of them has to hear it
        finally:
            for request in requests:
                request.error = failure or request.error
                request.done = True

    def _apply(self, connection: sqlite3.Connection, request: _Request) -> None:
        connection.execute("SAVEPOINT request")
        try:
            for change in request.changes:
                self._mark(connection, change)
            for change in request.changes:
                self._change(connection, change)
        except (AlreadyDone, VersionConflict) as error:
            connection.execute("ROLLBACK TO request")
            request.error = error
        connection.execute("RELEASE request")

    def _mark(self, connection: sqlite3.Connection, change: Change) -> None:
        now = codec.rfc3339(self.clock.now())
        for mark in change.marks:
            row = connection.execute(
                "SELECT fingerprint, incident_id FROM mark WHERE key = ? AND (expires_at IS NULL OR expires_at > ?)",
                (mark.key, now),
            ).fetchone()
            if row is not None:
                raise AlreadyDone(mark.key, incident_id=row[1], fingerprint=row[0])
            connection.execute("INSERT OR REPLACE INTO mark VALUES (?, ?, ?, ?)", _mark_row(mark, change))

    def _change(self, connection: sqlite3.Connection, change: Change) -> None:
        incident = change.incident
        row = connection.execute(
            "SELECT version, item FROM incident WHERE incident_id = ?", (incident.incident_id,)
        ).fetchone()
        current, old = row or (0, None)
        if current != incident.version - 1:
            raise VersionConflict(incident.incident_id, current)
        item = codec.to_item(incident)
        new = _dumped(item)
        columns = ("incident_id", "version", "region", "district", "status", "category", "reported_by", "reported_at")
        connection.execute(
            "INSERT OR REPLACE INTO incident VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*(item.get(name) for name in columns), incident.lat, incident.long, new),
        )
        for counted, by in ((_loaded(old) if old else None, -1), (item, 1)):
            if counted is not None:
                _count(connection, counted, by)
        connection.execute(
            "INSERT INTO history VALUES (?, ?, ?)",
            (incident.incident_id, change.entry.version, _dumped(codec.to_item(change.entry))),
        )
        connection.executemany(
            "UPDATE history SET item = ? WHERE incident_id = ? AND version = ?",
            [(_dumped(codec.to_item(one)), one.incident_id, one.version) for one in change.revised],
        )
        connection.executemany("DELETE FROM mark WHERE key = ?", [(key,) for key in change.drops_marks])
        if change.drops_contact:
            connection.execute("DELETE FROM contact WHERE incident_id = ?", (incident.incident_id,))
        if change.sealed_contact is not None:
            connection.execute(
                "INSERT OR REPLACE INTO contact VALUES (?, ?)", (incident.incident_id, change.sealed_contact)
            )
        _log(connection, self.clock.now(), incident.incident_id, old, new)


def _count(connection: sqlite3.Connection, item: codec.Item, by: int) -> None:
    if item["visibility"] == Visibility.PUBLIC:
        connection.execute(
            "INSERT INTO tally VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET incidents = incidents + ?",
            (*(item[name] for name in _TALLIED), by, by),
        )


def _log(connection: sqlite3.Connection, at: datetime, incident_id: str, old: str | None, new: str | None) -> None:
    connection.execute(
        "INSERT INTO change (at, incident_id, old, new) VALUES (?, ?, ?, ?)",
        (codec.rfc3339(at), incident_id, old, new),
    )


def _schema() -> Sequence[str]:
    statements = [one for one in _SCHEMA.split(";") if one.strip()]
    for pattern, index in _INDEXES.items():
        places = ("lat", "long") if pattern is Pattern.DISTRICT_CATEGORY else ()
        columns = ", ".join((*pattern.fields, "reported_at", "incident_id", *places))
        known = " WHERE reported_by IS NOT NULL" if pattern is Pattern.REPORTED_BY else ""
        statements.append(f"CREATE INDEX IF NOT EXISTS {index} ON incident ({columns}){known}")
    statements += [
        f"CREATE INDEX IF NOT EXISTS incident_{name} ON incident ({date}) WHERE {date} IS NOT NULL"
        for name, date in _DATES.items()
    ]
    return statements


def _mark_row(mark: Mark, change: Change) -> tuple[str, str, str, str | None]:
    until = codec.rfc3339(mark.expires_at) if mark.expires_at else None
    return mark.key, mark.fingerprint, change.incident.incident_id, until


def _dumped(item: Mapping[str, Any]) -> str:
    return json.dumps(item, ensure_ascii=False, separators=(",", ":"), default=_number)


def _number(value: Any) -> float:
    if isinstance(value, Decimal):
        return float(value)  # it came from a float: the same digits come back
    raise TypeError(f"an item holds no {type(value).__name__}")


_DECODER = json.JSONDecoder(parse_float=Decimal)  # made once: `json.loads` would make one for each item


def _loaded(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = _DECODER.decode(text)
    return loaded
