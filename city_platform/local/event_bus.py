"""The event bus of one machine: a log in one SQLite file, which each subscriber reads from where it stopped."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from city_platform.local.database import Database
from city_platform.local.moments import moment, text
from city_platform.ports import BusEvent, Clock, EventBusRefused, EventBusUnavailable

KEPT = timedelta(days=30)  # how long events stay in the log
DETAIL_LIMIT = 256 * 1024  # bytes of an event, as EventBridge has it
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS event (
        place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, source TEXT NOT NULL, detail_type TEXT NOT NULL,
        at TEXT NOT NULL, detail TEXT NOT NULL, published_at TEXT NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS event_published ON event (published_at)",  # each publish asks what is too old
    "CREATE TABLE IF NOT EXISTS subscriber (name TEXT PRIMARY KEY, place INTEGER NOT NULL) WITHOUT ROWID",
)
_EVENT = "place, id, source, detail_type, at, detail"


@dataclass(frozen=True, slots=True)
class Received:
    """An event, and its place in the log."""

    place: int
    event: BusEvent


class SqliteEventBus:
    """An EventBus, safe between threads and between processes; what it accepted survives a power cut, for KEPT."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._database = Database(path, _SCHEMA, EventBusUnavailable, "the event bus")
        self._clock = clock

    def publish(self, events: Sequence[BusEvent]) -> Sequence[EventBusUnavailable | EventBusRefused | None]:
        now = text(self._clock.now())
        answers = [_refusal(event) for event in events]
        rows = [
            (event.id, event.source, event.detail_type, text(event.at), event.detail, now)
            for event, refused in zip(events, answers, strict=True)
            if refused is None
        ]
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM event WHERE published_at < ?", (text(self._clock.now() - KEPT),))
            connection.executemany(
                "INSERT INTO event (id, source, detail_type, at, detail, published_at) VALUES (?, ?, ?, ?, ?, ?)", rows
            )
        return answers

    def receive(self, subscriber: str, limit: int) -> Sequence[Received]:
        """At most `limit` events that this subscriber has not dealt with, in the order they were published."""
        rows = self._database.read(
            f"SELECT {_EVENT} FROM event "
            "WHERE place > coalesce((SELECT place FROM subscriber WHERE name = ?), 0) ORDER BY place LIMIT ?",
            (subscriber, limit),
        )
        return [_received(row) for row in rows]

    def dealt_with(self, subscriber: str, place: int) -> None:
        """The subscriber has dealt with all events up to this place; it never goes back."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO subscriber VALUES (?, ?) ON CONFLICT DO UPDATE SET place = max(place, excluded.place)",
                (subscriber, place),
            )

    def newest(self, limit: int) -> Sequence[BusEvent]:
        """The newest events, the newest first, each once."""
        rows = self._database.read(
            f"SELECT {_EVENT} FROM event WHERE place IN (SELECT min(place) FROM event GROUP BY id) "
            "ORDER BY at DESC, place DESC LIMIT ?",
            (limit,),
        )
        return [_received(row).event for row in rows]


def _refusal(event: BusEvent) -> EventBusRefused | None:
    size = len(event.detail.encode())
    if size > DETAIL_LIMIT:
        return EventBusRefused(f"event {event.id} has {size:,} bytes, more than the {DETAIL_LIMIT:,} of an event")
    try:
        detail = json.loads(event.detail)
    except (ValueError, RecursionError):
        detail = None
    if not (isinstance(detail, dict) and event.source and event.detail_type):
        return EventBusRefused(f"event {event.id} needs a source, a type and a JSON object as its detail")
    return None


def _received(row: tuple[Any, ...]) -> Received:
    place, name, source, detail_type, at, detail = row
    return Received(place, BusEvent(name, source, detail_type, moment(at), detail))
