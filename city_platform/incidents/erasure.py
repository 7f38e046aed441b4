"""Removes a person from the store of incidents and from what waits on its way to the lake, at the person's request.

A person is a token's subject, an e-mail address, or both. The address finds the incidents whose contact has it, and
citizens who left it while signed in are that person too. The incident stays: it is the city's record of a thing in a
street. Gone are contact, reporter, description, postal code, pictures and what the person wrote into its history.

The lake is `city_platform/layers/erasure.py`.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from city_platform.errors import PermanentError
from city_platform.incidents.codec import milliseconds
from city_platform.incidents.contact import CONTACT_KEY, unseal
from city_platform.incidents.dead_letters import DeadLetters
from city_platform.incidents.model import PICTURES, HistoryEntry, Incident
from city_platform.incidents.repository import Change, IncidentRepository, RepositoryUnavailable, VersionConflict
from city_platform.incidents.retention import anonymised, forget
from city_platform.incidents.roles import Role
from city_platform.incidents.supporters import support_mark
from city_platform.ports import KeyService, ObjectNotFound, ObjectStore

_NOTE = "At the request of a person, what told of them was removed."
_ATTEMPTS = 20  # at an incident that others change at the same time
_READS = "incidents/contact-reads"
_NOTES = "protection/incidents/erasures"
_NAME_LIMIT = 320  # characters of an address or a subject


class NobodyNamed(PermanentError):
    """The request names no person, or nothing that a person could be called."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who is to be removed. Spelling and spaces of the address do not count; a subject is exact."""

    subjects: frozenset[str] = frozenset()
    email: str | None = None

    def __post_init__(self) -> None:
        named = [*self.subjects, *([self.email] if self.email is not None else [])]
        if not named or any(not 1 <= len(one.strip()) <= _NAME_LIMIT for one in named):
            raise NobodyNamed(f"name a token's subject, an e-mail address or both, of 1 to {_NAME_LIMIT} characters")

    def reference(self, pseudonym: Callable[[str], str]) -> str:
        """Names the request in records that must not name the person: twelve hexadecimal digits.

        Keyed, as `pseudonym` is: whoever reads the records cannot try addresses until one fits.
        """
        text = json.dumps([sorted(self.subjects), _plain(self.email)])
        return pseudonym(hashlib.sha256(text.encode()).hexdigest())[:12]


@dataclass(frozen=True, slots=True)
class Found:
    """The person's traces in the store: all their subjects, the incidents that name them, and those they reported.

    `note` is where the request's own note lies while it is under way.
    """

    person: Person
    note: str
    incidents: Sequence[str]
    reported: frozenset[str]

    def names(self) -> frozenset[str]:
        """Whatever would name the person in plain text, marks' fingerprints among it."""
        # As it was typed, too: folding makes two letters of a ß, which nobody has written.
        typed = [one.strip() for one in (self.person.email,) if one is not None]
        # As it was typed, too: folding makes two letters of a ß.
        address = {*typed, *(one.casefold() for one in typed)}
        return frozenset({*self.person.subjects, *map(_fingerprint, self.person.subjects), *address})


@dataclass(slots=True)
class Removed:
    """What was removed, or would be; numbers alone."""

    incidents: int = 0
    contacts: int = 0
    history_entries: int = 0
    pictures: int = 0
    marks: int = 0
    dead_letters: int = 0
    contact_reads: int = 0

    def to_json(self) -> Mapping[str, int]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Eraser:
    """Finds and removes. Errors: those of the ports."""

    repository: IncidentRepository
    keys: KeyService
    store: ObjectStore
    dead_letters: DeadLetters
    pseudonym: Callable[[str], str]

    def find(self, person: Person) -> Found:
        """Looks at every contact, report and history entry."""
        note = f"{_NOTES}/{person.reference(self.pseudonym)}"
        by_address = set(self._with_address(person.email)) if person.email else set()
        subjects = {*person.subjects, *self._noted(note), *filter(None, map(self._citizen, by_address))}
        named = {incident_id for subject in subjects for incident_id in self.repository.naming(subject)}
        reported = {one for one in named | by_address if one in by_address or self._reporter(one) in subjects}
        whole = replace(person, subjects=frozenset(subjects))
        return Found(whole, note, sorted(named | by_address), frozenset(reported))

    def erase(self, found: Found, now: datetime, *, dry_run: bool) -> Removed:
        """Killed at any moment and called again, from `find` on, it does what is left.

        Contacts lead from an address to subjects, and go first of all: so the subjects stand in a note, sealed as
        contacts are, until `finish`.
        """
        done = Removed()
        if not dry_run and found.person.subjects:
            self.keys.ensure(CONTACT_KEY)  # nobody may have left an address so far
            text = json.dumps(sorted(found.person.subjects)).encode()
            self.store.put(found.note, self.keys.encrypt(CONTACT_KEY, text, {"purpose": found.note}))
        for incident_id in found.incidents:
            self._erase_incident(incident_id, found, now, done, dry_run=dry_run)
        for subject in found.person.subjects:
            if not dry_run:
                done.marks += self.repository.drop_marks(_fingerprint(subject))
        named = pattern_of(found.names())
        done.dead_letters = self.dead_letters.remove(
            lambda body: named.search(json.dumps(body, ensure_ascii=False)) is not None, dry_run=dry_run
        )
        for key in self._own_reads(found.person.subjects):
            done.contact_reads += 1
            if not dry_run:
                self.store.delete(key)
        return done

    def finish(self, found: Found) -> None:
        """Nothing is left, in the lake neither: the note goes, too."""
        self.store.delete(found.note)

    def _noted(self, note: str) -> Sequence[str]:
        """The subjects that an erasure which did not finish had found."""
        try:
            sealed = self.store.get(note)
        except ObjectNotFound:
            return []
        subjects: Sequence[str] = json.loads(self.keys.decrypt(CONTACT_KEY, sealed, {"purpose": note}))
        return subjects

    def _erase_incident(self, incident_id: str, found: Found, now: datetime, done: Removed, *, dry_run: bool) -> None:
        for _ in range(_ATTEMPTS):
            incident = self.repository.get(incident_id)
            if incident is None:  # it expired; what is left of it goes with its removal's delivery, or here
                if not dry_run:
                    forget(self.repository, self.store, incident_id)
                return
            mine = incident_id in found.reported
            entries = list(self._revised(incident, found, mine=mine))
            has_contact = mine and self.repository.sealed_contact(incident_id) is not None
            pictures = list(self.store.keys(f"{PICTURES}/{incident_id}/")) if mine else []
            if not dry_run:
                try:
                    self.repository.write([_change(incident, entries, now, mine=mine)])
                except VersionConflict:
                    continue
                for key in pictures:
                    self.store.delete(key)
            done.incidents += 1
            done.contacts += has_contact
            done.history_entries += len(entries)
            done.pictures += len(pictures)
            return
        raise RepositoryUnavailable(f"{incident_id} is changed again and again: try once more")

    def _revised(self, incident: Incident, found: Found, *, mine: bool) -> Iterator[HistoryEntry]:
        """The entries that name the person, or hold what they wrote. What staff did as such stays theirs."""
        for entry in self.repository.history(incident.incident_id):
            by_person = entry.actor in found.person.subjects and (mine or entry.role == Role.CITIZEN)
            if by_person or (mine and entry.version == 1 and entry.note is not None):
                yield replace(entry, actor=None if by_person else entry.actor, note=None)

    def _with_address(self, email: str | None) -> Iterator[str]:
        for incident_id, sealed in self.repository.contacts():
            if _plain(unseal(sealed, incident_id, self.keys).email) == _plain(email):
                yield incident_id

    def _citizen(self, incident_id: str) -> str | None:
        """The subject that reported it as a citizen; staff who took a call is not the person."""
        first = next(iter(self.repository.history(incident_id)), None)
        return first.actor if first is not None and first.role == Role.CITIZEN else None

    def _reporter(self, incident_id: str) -> str | None:
        incident = self.repository.get(incident_id)
        return incident.reported_by if incident is not None else None

    def _own_reads(self, subjects: Collection[str]) -> Iterator[str]:
        """Records of the person reading their own contact data; those of staff are kept, and name staff alone."""
        for key in list(self.store.keys(f"{_READS}/")):
            line = json.loads(self.store.get(key))
            if line["role"] == Role.CITIZEN and line["subject"] in subjects:
                yield key


def _change(incident: Incident, revised: Sequence[HistoryEntry], now: datetime, *, mine: bool) -> Change:
    after = replace(incident, version=incident.version + 1, updated_at=milliseconds(now))
    if mine:
        after = replace(after, reported_by=None, description="", postal_code=None, media=(), anonymise_after=None)
    return Change(after, anonymised(after, _NOTE), revised=tuple(revised), drops_contact=mine)


def pattern_of(names: Collection[str]) -> re.Pattern[str]:
    """Finds names as wholes: `jo@city.example` is not in `banjo@city.example`, nor `user-1` in `user-12`."""
    alternatives = "|".join(re.escape(one) for one in sorted(names))
    return re.compile(rf"(?<![\w@.+-])(?:{alternatives})(?![\w@+-])", re.IGNORECASE)


def _fingerprint(subject: str) -> str:
    """What the marks of a person's support keep of them, whatever incident they are about."""
    return support_mark("", subject).fingerprint


def _plain(email: str | None) -> str | None:
    return email.strip().casefold() if email is not None else None
