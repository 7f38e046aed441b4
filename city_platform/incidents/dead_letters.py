"""Records that cannot become rows, kept as they were delivered, with the reason, until somebody delivers them again."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from city_platform.ports import Message, ObjectNotFound, ObjectStore, Queue

PREFIX = "exports/incidents/dead"
_IN_A_MESSAGE = 100_000  # characters; a message has 256 KiB, and an item of the table up to 400
_LOOKING = timedelta(seconds=30)
_REDRIVING = timedelta(minutes=5)
_AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What may be shown of one: no part of the record but its numbers."""

    id: str
    event_id: str
    event: str
    sequence: str
    reason: str
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Redriven:
    """How many letters became rows at last, and why the others did not."""

    replayed: int
    refused: Sequence[str]


class Undelivered(Protocol):
    """Changes that are still in the stream, and that its reader failed at to the end."""

    def look(self, limit: int) -> Sequence[DeadLetter]:
        """Some of them; they stay."""
        ...

    def redrive(self, replay: Callable[[Mapping[str, Any]], Sequence[str]], limit: int) -> Redriven:
        """As DeadLetters.redrive; `limit` is in deliveries."""
        ...


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Letters in a queue; what is too large for a message lies in the object store. Errors: those of both."""

    queue: Queue
    store: ObjectStore

    def keep(self, records: Sequence[tuple[Mapping[str, Any], str]]) -> None:
        """Keeps records with their reasons. After an error, keep them all again: a letter may be there twice."""
        self.queue.send([self._body(record) for record, _ in records], [reason for _, reason in records])

    def look(self, limit: int) -> Sequence[DeadLetter]:
        """Some of the letters, oldest first as far as the queue can tell; they stay."""
        messages = self.queue.receive(limit, _LOOKING)
        self.queue.release(messages)
        return [self._shown(one) for one in messages]

    def redrive(self, replay: Callable[[Mapping[str, Any]], Sequence[str]], limit: int) -> Redriven:
        """Delivers letters again: `replay` takes an event of one record and says what is wrong with it, if anything.

        A letter goes once its record is dealt with; killed in between, it is delivered again, and changes nothing more.
        """
        replayed = 0
        refused: list[str] = []
        kept: list[Message] = []
        seen: set[str] = set()
        while replayed + len(refused) < limit:
            messages = self.queue.receive(min(_AT_ONCE, limit - replayed - len(refused)), _REDRIVING)
            if not messages or any(one.id in seen for one in messages):
                kept += messages
                break
            seen.update(one.id for one in messages)
            for message in messages:
                raw, place = self._raw(message)
                problems = replay({"Records": [raw]}) if raw is not None else []
                if problems:
                    refused += problems
                    kept.append(message)
                    continue
                self.queue.delete([message])
                if place is not None:
                    self.store.delete(place)
                replayed += 1
        self.queue.release(kept)
        return Redriven(replayed, refused)

    def remove(self, matches: Callable[[Any], bool], *, dry_run: bool) -> int:
        """Removes the letters whose record `matches` accepts, or counts them alone; how many. The others stay.

        Looks at what the queue gives until it gives nothing more, so what somebody else has in hand is left out.
        """
        found = 0
        held: list[Message] = []
        seen: set[str] = set()
        while (messages := self.queue.receive(_AT_ONCE, _REDRIVING)) and seen.isdisjoint(one.id for one in messages):
            seen.update(one.id for one in messages)
            for message in messages:
                raw, place = self._raw(message)
                if raw is None or not matches(raw):
                    held.append(message)
                    continue
                found += 1
                if dry_run:
                    held.append(message)
                    continue
                if place is not None:
                    self.store.delete(place)
                self.queue.delete([message])
        self.queue.release(held)
        return found

    def _body(self, record: Mapping[str, Any]) -> str:
        body = json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=str)
        if len(body) <= _IN_A_MESSAGE:
            return body
        key = f"{PREFIX}/{hashlib.sha256(body.encode()).hexdigest()}.json"
        self.store.put(key, body.encode())
        return json.dumps({"stored": key})

    def _raw(self, message: Message) -> tuple[Any, str | None]:
        """The record and where it lies; no record where it was dealt with before."""
        try:
            body = json.loads(message.body)
        except ValueError:
            return message.body, None
        place = body.get("stored") if isinstance(body, dict) else None
        if not isinstance(place, str) or not place.startswith(PREFIX):
            return body, None
        try:
            return json.loads(self.store.get(place)), place
        except ObjectNotFound:
            return None, None

    def _shown(self, message: Message) -> DeadLetter:
        raw, _ = self._raw(message)
        record = raw if isinstance(raw, dict) else {}
        told = record.get("dynamodb") or record.get("kinesis")
        told = told if isinstance(told, dict) else {}
        sequence = told.get("SequenceNumber") or told.get("sequenceNumber") or ""
        return DeadLetter(
            message.id,
            str(record.get("eventID", "")),
            str(record.get("eventName", "")),
            str(sequence),
            message.reason or "",
            message.sent_at,
        )
