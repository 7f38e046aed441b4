"""Queues in one SQLite file: at least once, invisible while somebody works, dead letters after too many attempts."""

import secrets
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

from city_platform.local.database import Database
from city_platform.local.moments import moment, text
from city_platform.ports import Clock, Message, QueueRefused, QueueUnavailable

BODY_LIMIT = 256 * 1024  # bytes, as SQS has long had it
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS message (
        number INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, body TEXT NOT NULL, reason TEXT,
        sent_at TEXT NOT NULL, visible_at TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, receipt TEXT
    )""",
    "CREATE INDEX IF NOT EXISTS message_visible ON message (queue, visible_at, number)",
)


class SqliteQueue:
    """The queue `name` of a file that may hold several. Safe between threads and between processes."""

    def __init__(
        self, path: Path, name: str, clock: Clock, *, dead_letters: str | None = None, max_receives: int = 5
    ) -> None:
        """After `max_receives` receivings a message goes to the queue `dead_letters` of the same file."""
        self._database = Database(path, _SCHEMA, QueueUnavailable, "the queue")
        self._name = name
        self._clock = clock
        self._dead_letters = dead_letters
        self._max_receives = max_receives

    def send(self, bodies: Sequence[str], reasons: Sequence[str] | None = None) -> None:
        for body in bodies:
            if len(body.encode()) > BODY_LIMIT:
                raise QueueRefused(f"a message has at most {BODY_LIMIT} bytes")
        now = text(self._clock.now())
        why: Sequence[str | None] = reasons or [None] * len(bodies)
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO message (queue, body, reason, sent_at, visible_at) VALUES (?, ?, ?, ?, ?)",
                [(self._name, body, reason, now, now) for body, reason in zip(bodies, why, strict=True)],
            )

    def receive(self, limit: int, visibility: timedelta) -> Sequence[Message]:
        now = self._clock.now()
        chosen = "FROM message WHERE queue = ? AND visible_at <= ?"
        with self._database.transaction() as connection:
            if self._dead_letters is not None:
                connection.execute(
                    "UPDATE message SET queue = ?, attempts = 0, receipt = NULL, reason = ?, sent_at = ? "
                    "WHERE queue = ? AND visible_at <= ? AND attempts >= ?",
                    (
                        self._dead_letters,
                        f"was received {self._max_receives} times and never dealt with",
                        text(now),
                        self._name,
                        text(now),
                        self._max_receives,
                    ),
                )
            found = connection.execute(
                f"SELECT number, body, reason, sent_at, attempts {chosen} ORDER BY number LIMIT ?",
                (self._name, text(now), limit),
            ).fetchall()
            messages = [
                Message(str(number), body, reason, moment(sent_at), attempts + 1, f"{number}.{secrets.token_hex(8)}")
                for number, body, reason, sent_at, attempts in found
            ]
            connection.executemany(
                "UPDATE message SET visible_at = ?, attempts = attempts + 1, receipt = ? WHERE number = ?",
                [(text(now + visibility), one.receipt, int(one.id)) for one in messages],
            )
        return messages

    def delete(self, messages: Sequence[Message]) -> None:
        self._change("DELETE FROM message WHERE receipt = ?", ((one.receipt,) for one in messages))

    def release(self, messages: Sequence[Message]) -> None:
        now = text(self._clock.now())
        self._change("UPDATE message SET visible_at = ? WHERE receipt = ?", ((now, one.receipt) for one in messages))

    def compact(self) -> None:
        """Writes the file anew, so that no deleted message stands in it any more."""
        self._database.compact()

    def _change(self, sql: str, rows: Iterable[tuple[str, ...]]) -> None:
        with self._database.transaction() as connection:
            connection.executemany(sql, list(rows))
