"""What can be done with incidents: the one service beneath REST, GraphQL and Open311."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from city_platform.errors import PermanentError
from city_platform.incidents import contact as contacts
from city_platform.incidents.codec import milliseconds
from city_platform.incidents.cursor import Cursors
from city_platform.incidents.edit import edited, read_edit
from city_platform.incidents.idempotency import replay_marks, require_same
from city_platform.incidents.identity import is_incident_id, new_incident_id, new_public_ref, read_public_ref
from city_platform.incidents.model import (
    Contact,
    HistoryEntry,
    Incident,
    Media,
    Resolution,
    Severity,
    Status,
)
from city_platform.incidents.nearby import possible_duplicates
from city_platform.incidents.reference import Reference
from city_platform.incidents.report import Fault, InvalidRequest, Report, read_report
from city_platform.incidents.repository import (
    AlreadyDone,
    Change,
    IncidentRepository,
    Listing,
    Mark,
    Pattern,
    Position,
    RepositoryUnavailable,
    VersionConflict,
)
from city_platform.incidents.retention import dated
from city_platform.incidents.roles import ANONYMOUS, SYSTEM, Actor
from city_platform.incidents.supporters import STILL_THERE, SUPPORT, still_there_mark, support_mark
from city_platform.incidents.text import masked, prose
from city_platform.incidents.transitions import NotYours, transition
from city_platform.incidents.window import Window, place_of_public, reported_between
from city_platform.ports import Clock, KeyService

PAGE_LIMIT = 100
BULK_LIMIT = 50
MEDIA_LIMIT = 3
_REFERENCE_ATTEMPTS = 5  # a taken reference is one in a thousand million; five in a row is a defect
_RACES = 10  # how often a change of a counter is tried again when others change the same incident
_ROUNDS = 20  # pages of hidden incidents that one page may skip
NOTE_LIMIT = 4000
_DOUBTED = (Status.RESOLVED, Status.REJECTED)  # what others may say of that it is still there
_BUSY = "others are changing this incident all the time: try again"


class IncidentNotFound(PermanentError):
    """There is no such incident, or this actor may not know of it: the same answer for both."""


@dataclass(frozen=True, slots=True)
class Reported:
    """An accepted report. `replayed` if it had been accepted before under the same idempotency key."""

    incident: Incident
    possible_duplicates: Sequence[Incident]
    replayed: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Incidents from the newest to the oldest; `next` continues the list, None at its end."""

    incidents: Sequence[Incident]
    next: str | None


class IncidentService:
    """Holds no state of its own; safe to share between threads as far as its repository is."""

    def __init__(
        self, repository: IncidentRepository, reference: Reference, keys: KeyService, clock: Clock, cursors: Cursors
    ) -> None:
        self._repository = repository
        self.reference = reference
        self._keys = keys
        self._clock = clock
        self._cursors = cursors

    def report(
        self, payload: object, actor: Actor, idempotency_key: str | None = None, *, note: str | None = None
    ) -> Reported:
        """Takes a report; when this returns, it is durable. The note goes into its history, for staff.

        Raises InvalidRequest with every fault, NotYours, KeyReused, and the ports' errors. Whoever may not make an
        incident critical has suggested it: their report becomes `high`, which the answer shows.
        """
        if not actor.may_report():
            raise NotYours("your roles do not report incidents")
        now = self._now()
        report = read_report(payload, self.reference, actor, now)
        marks = replay_marks(payload, actor, idempotency_key, now)
        request = report.request
        hints: Sequence[Incident] = ()
        if request.lat is not None and request.long is not None:
            hints = possible_duplicates(
                self._repository, self.reference, request.category, request.lat, request.long, now
            )
        for _ in range(_REFERENCE_ATTEMPTS):
            incident = self._new_incident(report, actor, now)
            taken = Mark(_reference_mark(incident.public_ref), incident.incident_id)
            try:
                self._repository.write([self._first_change(incident, report, actor, (*marks, taken), note)])
            except AlreadyDone as done:
                if done.mark == taken.key:
                    continue
                require_same(done, marks)
                others = [one for one in hints if one.incident_id != done.incident_id]
                return Reported(self._existing(done.incident_id), others, replayed=True)
            return Reported(incident, hints, replayed=False)
        raise AssertionError("five references in a row were taken")  # one in 10^45: the generator is broken

    def get(self, incident_id: str, actor: Actor) -> Incident:
        """Raises IncidentNotFound."""
        incident = self._repository.get(incident_id) if is_incident_id(incident_id) else None
        if incident is None or not actor.may_see(incident):
            raise IncidentNotFound("there is no such incident")
        return incident

    def find(self, name: str, actor: Actor) -> Incident:
        """By its identifier, or by the reference that people are told. Raises IncidentNotFound."""
        reference = read_public_ref(name, self.reference.city.reference_prefix)
        incident_id = name if reference is None else self._repository.marked(_reference_mark(reference))
        return self.get(incident_id or "", actor)

    def contact(self, incident_id: str, actor: Actor) -> Contact | None:
        """How to reach the reporter, for the reporter and the staff of the district. Who asked is to be logged.

        Raises IncidentNotFound, NotYours.
        """
        incident = self.get(incident_id, actor)
        if not actor.may_see_contact(incident):
            raise NotYours("contact data are for the staff of the incident's district")
        sealed = self._repository.sealed_contact(incident_id)
        return contacts.unseal(sealed, incident_id, self._keys) if sealed else None

    def history(self, incident_id: str, actor: Actor) -> Sequence[HistoryEntry]:
        """All of it for staff; for others the changes of status, with the notes that are public, masked."""
        incident = self.get(incident_id, actor)
        entries = self._repository.history(incident_id)
        if actor.manages(incident):
            return entries
        shown = [one for one in entries if one.public or one.from_status != one.to_status]
        return [replace(one, actor=None, note=masked(one.note) if one.public and one.note else None) for one in shown]

    def edit(self, incident_id: str, payload: object, actor: Actor, expected_version: int) -> Incident:
        """Changes fields. Raises InvalidRequest, IncidentNotFound, NotYours, VersionConflict."""
        incident = self.get(incident_id, actor)
        own = actor.reported(incident) and incident.status is Status.REPORTED
        if not (actor.manages(incident) or own):
            raise NotYours("staff of the district edit an incident, and its reporter until it is acknowledged")
        changed = read_edit(payload, incident, actor, self.reference)
        # After the request's own faults (RFC 9110, 13.2.1): what can never be done is no matter of versions.
        if incident.version != expected_version:
            raise VersionConflict(incident_id, incident.version)
        now = self._now()
        note = f"changed: {', '.join(edited(incident, changed))}"
        after = self._next(changed, now)
        self._repository.write([Change(after, _entry(after, incident, actor, "edited", note))])
        return after

    def transition(
        self,
        incident_id: str,
        to: Status,
        actor: Actor,
        *,
        note: str | None = None,
        resolution: Resolution | None = None,
        duplicate_of: str | None = None,
        expected_version: int | None = None,
    ) -> Incident:
        """Changes the status; closing as a duplicate moves the supporters to the original, with the reporter as one
        more, who is taken back when the duplicate is opened again.

        Raises IllegalTransition, NotYours, IncompleteTransition, InvalidRequest, IncidentNotFound, VersionConflict.
        """
        note = _readable(note) if note is not None else None
        for _ in range(_RACES):
            incident = self.get(incident_id, actor)
            original = self._original(duplicate_of)
            after = transition(
                incident, to, actor=actor, now=self._now(), note=note, resolution=resolution, original=original
            )
            # After the request's own faults, as for an edit: nobody hears of versions who may not change it anyway.
            if expected_version not in (None, incident.version):
                raise VersionConflict(incident_id, incident.version)
            after = dated(after, self.reference.retention)
            # Who is asked for information has to read the question.
            public = bool(note) and (after.status.closed or after.status is Status.INFO_REQUESTED)
            changes = [Change(after, _entry(after, incident, actor, "transition", note, public=public))]
            if original is not None:
                changes.append(self._supported(original, incident.supporters + 1, after.updated_at))
            elif incident.duplicate_of is not None:
                left = self._repository.get(incident.duplicate_of)
                changes += [self._supported(left, -1, after.updated_at)] if left is not None else []
            try:
                self._repository.write(changes)
            except VersionConflict as conflict:
                # Somebody else's change of the original is no concern of the caller's.
                if expected_version is not None and conflict.incident_id == incident_id:
                    raise
                continue
            return after
        raise RepositoryUnavailable(_BUSY)

    def close_in_bulk(
        self, incident_ids: Sequence[str], to: Status, actor: Actor, *, note: str, resolution: Resolution
    ) -> Mapping[str, Incident | PermanentError]:
        """Each incident closed, or why it was not; needs a manager and a reason."""
        if not actor.may_close_in_bulk():
            raise NotYours("closing many incidents at once needs a district manager")
        if not note.strip() or not 0 < len(incident_ids) <= BULK_LIMIT or not to.closed:
            raise InvalidRequest(
                [Fault("incidents", "bulk", f"give 1 to {BULK_LIMIT} incidents, a closed status and a reason")]
            )
        results: dict[str, Incident | PermanentError] = {}
        for incident_id in dict.fromkeys(incident_ids):
            try:
                results[incident_id] = self.transition(incident_id, to, actor, note=note, resolution=resolution)
            except PermanentError as error:
                results[incident_id] = error
        return results

    def comment(
        self, incident_id: str, note: str, actor: Actor, *, public: bool, idempotency_key: str | None = None
    ) -> Incident:
        """Adds a note to the history; once, if it is sent again under its key. Raises as `get`, NotYours, KeyReused.

        Staff write internal and public ones, the reporter public ones.
        """
        incident = self.get(incident_id, actor)
        if not (actor.manages(incident) or actor.reported(incident)):
            raise NotYours("comments are for the reporter and the staff of the district")
        if not (actor.manages(incident) or public):
            raise NotYours("only staff write internal notes: a reporter's are public, so send it as one")
        text = _readable(note)
        marks = replay_marks(["comment", incident_id, text, public], actor, idempotency_key, self._now())
        try:
            return self._raced(incident_id, actor, lambda one: one, "comment", note=text, public=public, marks=marks)
        except AlreadyDone as done:
            require_same(done, marks)
            return self.get(incident_id, actor)

    def support(self, incident_id: str, actor: Actor) -> Incident:
        """Counts one more person who has seen it or, where it was closed, who says that it is still there.

        The same person counts once, and once more after each closing. Raises AlreadyDone.
        """
        if actor.subject is None:
            raise NotYours("sign in to support an incident")
        for _ in range(_RACES):
            incident = self.get(incident_id, actor)
            if incident.status in _DOUBTED and incident.closed_at is not None:
                counted = replace(incident, still_there=incident.still_there + 1)
                action, mark = STILL_THERE, still_there_mark(incident_id, incident.closed_at, actor.subject)
            else:
                counted = replace(incident, supporters=incident.supporters + 1)
                action, mark = SUPPORT, support_mark(incident_id, actor.subject)
            after = self._next(counted, self._now())
            with suppress(VersionConflict):
                entry = _entry(after, incident, actor, action, None)
                self._repository.write([Change(after, entry, (mark,))])
                return after
        raise RepositoryUnavailable(_BUSY)

    def admits_media(self, incident_id: str, actor: Actor) -> Incident:
        """The incident, if this actor may add a picture to it. Raises IncidentNotFound, NotYours, InvalidRequest."""
        incident = self.get(incident_id, actor)
        if not (actor.manages(incident) or actor.reported(incident)):
            raise NotYours("pictures are added by the reporter and the staff of the district")
        _room_for_media(incident)
        return incident

    def attach(self, incident_id: str, media: Media, actor: Actor) -> Incident:
        """Adds a picture that lies in the object store already; the same one once. Raises as `admits_media`."""
        self.admits_media(incident_id, actor)

        def added(incident: Incident) -> Incident:
            if any(one.key == media.key for one in incident.media):
                raise AlreadyDone(media.key, incident_id, media.key)
            return replace(_room_for_media(incident), media=(*incident.media, media))

        return self._raced(incident_id, actor, added, "media")

    def moderate(self, incident_id: str, key: str, actor: Actor) -> Incident:
        """Shows a picture to everybody. Raises IncidentNotFound (also without such a picture), NotYours."""
        incident = self.get(incident_id, actor)
        if not actor.manages(incident):
            raise NotYours("the staff of the district decide which pictures everybody sees")
        if all(one.key != key for one in incident.media):
            raise IncidentNotFound("there is no such picture")

        def approved(incident: Incident) -> Incident:
            seen = tuple(replace(one, moderated=True) if one.key == key else one for one in incident.media)
            return replace(incident, media=seen)

        return self._raced(incident_id, actor, approved, "media")

    def list(self, listing: Listing, actor: Actor, limit: int, cursor: str | None = None) -> Page:
        """One page of what the actor may see. Raises NotYours, BadCursor, InvalidRequest."""
        if not 1 <= limit <= PAGE_LIMIT:
            raise InvalidRequest([Fault("limit", "range", f"ask for 1 to {PAGE_LIMIT} incidents")])
        if listing.pattern is Pattern.REPORTED_BY and listing.values != (actor.subject,):
            raise NotYours("you may list your own reports")
        now = self._now()
        position = self._cursors.read(cursor, listing, now) if cursor else None
        found: list[Incident] = []
        for _ in range(_ROUNDS):
            batch = self._repository.list(listing, limit + 1, position)
            for incident in batch:
                if actor.may_see(incident):
                    if len(found) == limit:
                        return Page(found, self._cursors.write(listing, _position(found[-1]), now))
                    found.append(incident)
                position = _position(incident)
            if len(batch) <= limit:
                return Page(found, None)
        # So many hidden ones in a row: the reader goes on from here with the next page.
        return Page(found, self._cursors.write(listing, position, now) if position else None)

    def reported(self, window: Window, actor: Actor) -> Iterator[Incident]:
        """What the actor may see of the incidents reported in the window, newest first, read as it is consumed."""
        return self._reported(window, actor, None)

    def reported_after(self, window: Window, count: int) -> Iterator[Incident]:
        """What everybody may see of them, without the first `count`, which are passed by and not read."""
        after = place_of_public(self._repository, self.reference, window, count) if count else None
        return iter(()) if count and after is None else self._reported(window, ANONYMOUS, after)

    def _reported(self, window: Window, actor: Actor, after: Position | None) -> Iterator[Incident]:
        found = reported_between(self._repository, self.reference, window, after)
        return (one for one in found if actor.may_see(one))

    def _now(self) -> datetime:
        return milliseconds(self._clock.now())

    def _new_incident(self, report: Report, actor: Actor, now: datetime) -> Incident:
        request, city = report.request, self.reference.city
        allowed = actor.may_set_severity(request.severity, report.district)
        local_year = now.astimezone(self.reference.zone).year
        return Incident(
            incident_id=new_incident_id(now),
            public_ref=new_public_ref(city.reference_prefix, local_year),
            version=1,
            title=request.title,
            description=request.description,
            category=request.category,
            severity=request.severity if allowed else Severity.HIGH,
            status=Status.REPORTED,
            region=report.region,
            district=report.district,
            reported_at=now,
            updated_at=now,
            channel=request.channel,
            department=self.reference.categories[request.category].department,
            visibility=request.visibility,
            lat=request.lat,
            long=request.long,
            address=request.address,
            address_id=request.address_id,
            postal_code=request.postal_code,
            occurred_at=milliseconds(request.occurred_at) if request.occurred_at else None,
            expected_at=self.reference.expected_at(request.category, now).astimezone(UTC),
            reported_by=None if request.anonymous else actor.subject,
            attributes=report.attributes,
        )

    def _first_change(
        self, incident: Incident, report: Report, actor: Actor, marks: tuple[Mark, ...], note: str | None
    ) -> Change:
        details = report.request.contact
        contact = Contact(**details.model_dump()) if details is not None else None
        sealed = contacts.seal(contact, incident.incident_id, self._keys) if contact and contact != Contact() else None
        entry = HistoryEntry(
            incident_id=incident.incident_id,
            version=1,
            at=incident.reported_at,
            actor=incident.reported_by,
            role=actor.role,
            action="reported",
            from_status=None,
            to_status=incident.status,
            note=note,
        )
        return Change(incident, entry, marks, sealed)

    def _existing(self, incident_id: str) -> Incident:
        incident = self._repository.get(incident_id)
        if incident is None:
            raise IncidentNotFound(f"there is no incident {incident_id}")
        return incident

    def _original(self, incident_id: str | None) -> Incident | None:
        if incident_id is None:
            return None
        original = self._repository.get(incident_id) if is_incident_id(incident_id) else None
        if original is None:
            raise InvalidRequest([Fault("duplicate_of", "unknown", "there is no such incident")])
        return original

    def _raced(  # one change that is worth repeating when somebody else changed the incident meanwhile
        self,
        incident_id: str,
        actor: Actor,
        change: Callable[[Incident], Incident],
        action: str,
        *,
        note: str | None = None,
        public: bool = False,
        marks: tuple[Mark, ...] = (),
    ) -> Incident:
        for _ in range(_RACES):
            incident = self.get(incident_id, actor)
            try:
                after = self._next(change(incident), self._now())
                entry = _entry(after, incident, actor, action, note, public=public)
                self._repository.write([Change(after, entry, marks)])
            except VersionConflict:
                continue
            return after
        raise RepositoryUnavailable(_BUSY)

    def _supported(self, incident: Incident, people: int, now: datetime) -> Change:
        after = self._next(replace(incident, supporters=max(0, incident.supporters + people)), now)
        return Change(after, _entry(after, incident, SYSTEM, "support", None))

    @staticmethod
    def _next(incident: Incident, now: datetime) -> Incident:
        return replace(incident, version=incident.version + 1, updated_at=now)


def _reference_mark(public_ref: str) -> str:
    """The mark that keeps a reference from being given twice, and leads from it to its incident."""
    return f"ref#{public_ref}"


def _entry(
    after: Incident, before: Incident, actor: Actor, action: str, note: str | None, *, public: bool = False
) -> HistoryEntry:
    return HistoryEntry(
        incident_id=after.incident_id,
        version=after.version,
        at=after.updated_at,
        actor=actor.subject,
        role=actor.role,
        action=action,
        from_status=before.status,
        to_status=after.status,
        note=note,
        public=public,
    )


def _room_for_media(incident: Incident) -> Incident:
    if len(incident.media) >= MEDIA_LIMIT:
        raise InvalidRequest([Fault("media", "length", f"an incident has at most {MEDIA_LIMIT} pictures")])
    return incident


def _readable(note: str) -> str:
    """The note as others will read it; raises InvalidRequest."""
    try:
        text = prose(note).strip()
    except ValueError as error:
        raise InvalidRequest([Fault("note", "text", str(error))]) from error
    if not 1 <= len(text) <= NOTE_LIMIT:
        raise InvalidRequest([Fault("note", "length", f"write 1 to {NOTE_LIMIT} characters")])
    return text


def _position(incident: Incident) -> Position:
    return Position(incident.reported_at, incident.incident_id)
