"""The audit log: who decided what, when and why, as a chain that shows when it was tampered with.

Layout of keys:
    audit/{sequence:010d}.json   one entry each, created and never replaced; numbers count from 1 without a gap
    audit-head.json              number and sha256 of the newest entry

An entry is canonical JSON (keys in order, no white space, UTF-8) and holds the sha256 of the entry before it; the
head holds that of the last one. So an entry that was changed, removed, inserted or put elsewhere is found, and so is
a log whose end was cut off. The number is taken by a create-only write, which makes writers on several machines take
turns on a file system and on S3 alike.

A process that has read an entry reads it again where the store's listing says anything else of it than before: a write
gives an object another tag (`StoredObject`), whatever it writes. It remembers the beginning of the log alone, as far as
it was sound, and no entry that was written just before it was listed: a file may be written twice between two ticks of
its file system's clock. `verify` reads everything, always.

What a chain cannot show: somebody who may write the store can write a whole log of his own, head included. Whoever
wants to know compares with a head noted elsewhere (`verify(expected=…)`); the weekly scorecard notes it in the
orchestrator. On S3, let only stewards put objects under `audit`, and lock them against deletion.
"""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from city_platform.errors import PermanentError, TransientError
from city_platform.ports import Clock, ObjectExists, ObjectNotFound, ObjectStore, StoredObject
from city_platform.readable import shallow

PREFIX, HEAD = "audit/", "audit-head.json"
START = "0" * 64  # what the first entry has for a predecessor
MOST_BYTES = 16_384  # of one entry
AT_ONCE = 16  # entries read
ATTEMPTS = 50  # to take the next number while others take theirs
SETTLED = timedelta(seconds=5)  # since an entry was written, by the store's clock, before it is remembered


class TamperedLog(PermanentError):
    """The audit log does not add up; `breaks` says where."""

    def __init__(self, breaks: Sequence[str]) -> None:
        self.breaks = tuple(breaks)
        super().__init__(
            f"the audit log was tampered with: {'; '.join(breaks)}. Nothing is added to it and no waiver counts until "
            "its objects are restored from a backup or from the bucket's versions."
        )


class EntryTooLarge(PermanentError):
    """The entry is larger than the log takes."""


class LogBusy(TransientError):
    """Other writers took every number this one tried for; nothing was written."""


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a log: how many entries it has and the sha256 of the last, in hex."""

    sequence: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.sequence}:{self.sha256}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was done. `at` is aware; `facts` holds JSON values and nothing personal."""

    sequence: int
    previous: str  # sha256 of the entry before, in hex
    at: datetime
    actor: str  # the role account that answers for it
    account: str  # the operating system's user who ran the command
    action: str
    facts: Mapping[str, Any]

    def to_json(self) -> bytes:
        """The same entry always gives the same bytes."""
        return _canonical(shallow(self) | {"at": self.at.isoformat()})

    @classmethod
    def from_json(cls, data: bytes) -> "Entry":
        """Raises ValueError where `data` is not exactly what `to_json` writes."""
        try:
            body = json.loads(data)
            entry = cls(**{**body, "at": datetime.fromisoformat(body["at"])})
            texts = (entry.previous, entry.actor, entry.account, entry.action)
            sound = (
                type(entry.sequence) is int
                and all(isinstance(text, str) for text in texts)
                and isinstance(entry.facts, dict)
                and entry.at.tzinfo is not None
                and entry.to_json() == data
            )
        except (TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"not an entry: {error}") from error
        if not sound:
            raise ValueError("not an entry as the log writes them")
        return entry


@dataclass(frozen=True, slots=True)
class Reading:
    """A log as it was found: the entries that could be read, in the order of their keys, and what is wrong with it."""

    entries: tuple[Entry, ...]
    breaks: tuple[str, ...]
    head: Head

    @property
    def intact(self) -> bool:
        return not self.breaks


@dataclass(frozen=True, slots=True)
class _Beginning:
    """The first entries of a log, each as it was listed when it was read; nothing was wrong with them."""

    listed: tuple[StoredObject, ...] = ()
    entries: tuple[Entry, ...] = ()
    last: str = START  # sha256 of the last one

    def up_to(self, count: int) -> "_Beginning":
        if count == len(self.entries):
            return self
        return _Beginning(self.listed[:count], self.entries[:count], self.sha256(count))

    def sha256(self, sequence: int) -> str:
        """Of an entry, 0 for what the first one follows: the next one says it, and was found to follow it."""
        return self.last if sequence == len(self.entries) else self.entries[sequence].previous


_beginnings: dict[str, _Beginning] = {}  # by where the log is: a store is opened anew for every step of a run


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The one place that reads and writes the log."""

    store: ObjectStore
    clock: Clock

    def append(self, *, actor: str, account: str, action: str, facts: Mapping[str, Any]) -> Entry:
        """Adds an entry; it is in the log when this returns.

        Raises TamperedLog where the log does not verify, EntryTooLarge, LogBusy, and the store's errors.
        """
        for _ in range(ATTEMPTS):
            log = self.read()
            if not log.intact:
                raise TamperedLog(log.breaks)
            entry = Entry(log.head.sequence + 1, log.head.sha256, self.clock.now(), actor, account, action, dict(facts))
            data = entry.to_json()
            if len(data) > MOST_BYTES:
                raise EntryTooLarge(
                    f"an entry of {len(data):,} bytes; the audit log takes {MOST_BYTES:,}: say it shorter"
                )
            try:
                if entry.sequence == 1:
                    self._begin()
                self.store.put(_key(entry.sequence), data, create_only=True)
            except ObjectExists:
                continue
            self._move_head()
            return entry
        raise LogBusy("other decisions are being written to the audit log: try again")

    def read(self) -> Reading:
        """All entries, with everything that is wrong with the log; of what this process has read before only what was
        touched since.
        """
        return self._read(_beginnings.get(self.store.uri(HEAD), _Beginning()))

    def verify(self, expected: Head | None = None) -> Reading:
        """As `read`, and reads everything; with `expected`, also that the log still holds what it held when that head
        was noted.
        """
        log = self._read(_Beginning())
        if expected is None:
            return log
        try:
            digests = {expected.sequence: _sha256(self.store.get(_key(expected.sequence)))}
        except ObjectNotFound:
            digests = {}
        return Reading(log.entries, (*log.breaks, *_against(expected, digests, "the head that was noted")), log.head)

    def _read(self, known: _Beginning) -> Reading:
        # The head first: a writer adds its entry before it moves the head, so entries listed later include the head's.
        head, breaks = self._head()
        now = self.clock.now()
        listed = list(self.store.objects(PREFIX))
        if listed and head is None and not breaks:  # the first entry may have come between the two questions
            head, breaks = self._head()
        known = known.up_to(_same(known.listed, listed))
        rest = listed[len(known.listed) :]
        pieces: dict[str, bytes] = {}
        for one, piece in zip(rest, self._pieces(rest), strict=True):
            if isinstance(piece, str):
                breaks.append(piece)
            else:
                pieces[one.key] = piece
        entries, found = _chained(pieces, known)
        breaks += found
        digests = {_number(key): _sha256(data) for key, data in pieces.items()}
        if not breaks:
            settled = list(itertools.takewhile(lambda one: now - one.modified >= SETTLED, rest))
            if settled:
                _beginnings[self.store.uri(HEAD)] = _Beginning(
                    (*known.listed, *settled),
                    (*known.entries, *entries[: len(settled)]),
                    digests[len(known.listed) + len(settled)],
                )
        if head is not None:
            if 0 < head.sequence <= len(known.entries):
                digests[head.sequence] = known.sha256(head.sequence)
            breaks += _against(head, digests, "the head of the log")
        elif listed and not breaks:
            breaks.append(f"{HEAD} is missing")
        last = max(digests, default=0)
        end = Head(last, digests[last]) if last > len(known.entries) else Head(len(known.entries), known.last)
        return Reading((*known.entries, *entries), tuple(breaks), end)

    def _pieces(self, listed: Sequence[StoredObject]) -> Sequence[bytes | str]:
        """The objects' bytes, or what is wrong with one. Several at once: on S3 each takes tens of milliseconds."""
        if len(listed) <= AT_ONCE:
            return [self._piece(one) for one in listed]
        with ThreadPoolExecutor(AT_ONCE) as readers:
            return list(readers.map(self._piece, listed))

    def _piece(self, one: StoredObject) -> bytes | str:
        if one.bytes > MOST_BYTES:
            return f"{one.key} is larger than any entry"
        try:
            return self.store.get(one.key)
        except ObjectNotFound:
            return f"{one.key} vanished while the log was read"

    def _head(self) -> tuple[Head | None, list[str]]:
        try:
            data = self.store.get(HEAD)
        except ObjectNotFound:
            return None, []
        try:
            body = json.loads(data)
            head = Head(**body)
            sound = data == _canonical(body) and type(head.sequence) is int
        except (ValueError, TypeError, RecursionError):
            sound = False
        if not sound:
            return None, [f"{HEAD} was changed: it is no head of a log"]
        return head, []

    def _begin(self) -> None:
        """The head stands before the first entry does, so that entries without a head are always a break."""
        with suppress(ObjectExists):
            self.store.put(HEAD, _canonical(asdict(Head(0, START))), create_only=True)

    def _move_head(self) -> None:
        """Writes the newest entry's digest, until no newer entry has come meanwhile: so the last writer leaves the
        newest head, in whatever order writers get here.
        """
        written = 0
        while (newest := max(map(_number, self.store.keys(PREFIX)))) != written:
            written = newest
            head = Head(written, _sha256(self.store.get(_key(written))))
            self.store.put(HEAD, _canonical(asdict(head)))


def _same(known: Sequence[StoredObject], listed: Sequence[StoredObject]) -> int:
    """How many objects at the beginning are listed as they were."""
    for number, (one, other) in enumerate(zip(known, listed, strict=False)):
        if one != other:
            return number
    return min(len(known), len(listed))


def _chained(pieces: Mapping[str, bytes], known: _Beginning) -> tuple[list[Entry], list[str]]:
    """The entries after the known ones that can be read, and every place where the chain does not hold."""
    entries: list[Entry] = []
    breaks: list[str] = []
    previous, expected = known.last, len(known.entries) + 1
    for key in sorted(pieces):
        data = pieces[key]
        number = _number(key)
        if number < expected:
            breaks.append(f"{key} is none of the log's")
            continue
        if number > expected:
            breaks.append(f"entry {expected} is missing before {key}")
        try:
            entry = Entry.from_json(data)
        except ValueError:
            breaks.append(f"{key} was changed: it is no entry as the log writes them")
        else:
            if entry.sequence != number:
                breaks.append(f"{key} holds entry {entry.sequence}")
            if entry.previous != previous and number == expected:
                breaks.append(f"entry {number} does not follow the entry before it: one of the two was changed")
            entries.append(entry)
        previous, expected = _sha256(data), number + 1
    return entries, breaks


def _against(head: Head, digests: Mapping[int, str], what: str) -> list[str]:
    """Whether the log still has the entry that `head` names; `digests` are entries' sha256 by their numbers."""
    if head.sequence == 0:
        return []
    digest = digests.get(head.sequence)
    if digest is None:
        return [f"entry {head.sequence} is gone, which {what} names"]
    return [] if digest == head.sha256 else [f"entry {head.sequence} is not the one {what} names"]


def _key(sequence: int) -> str:
    return f"{PREFIX}{sequence:010d}.json"


def _number(key: str) -> int:
    """The number in an entry's key; -1 where it is the key of none."""
    digits = key.removeprefix(PREFIX).removesuffix(".json")
    return int(digits) if digits.isascii() and digits.isdecimal() and key == _key(int(digits)) else -1


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
