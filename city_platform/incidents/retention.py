"""What becomes of an incident after it was closed: its reporter is removed, and later the incident itself.

Closing dates both, opening again takes both dates back. `anonymise` is called again and again; the store drops what is
past its `ttl` by itself (time to live of DynamoDB, `SqliteIncidentRepository.expire`). The removal comes through the
stream behind every change before it, and whoever takes it to the lake then calls `forget`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from city_platform.incidents.codec import milliseconds
from city_platform.incidents.model import INCOMING, PICTURES, HistoryEntry, Incident
from city_platform.incidents.reference import Retention
from city_platform.incidents.repository import Change, IncidentRepository, VersionConflict
from city_platform.incidents.roles import SYSTEM, Role
from city_platform.incidents.supporters import marks_in
from city_platform.ports import ObjectStore

AT_ONCE = 1_000  # incidents of one turn
_UPLOADS_KEPT = timedelta(days=1)  # as the bucket's lifecycle rule has it
_NOTE = "The time for keeping them is over: contact data and the reporter were removed."


def dated(incident: Incident, retention: Retention) -> Incident:
    """The incident with the times of its closing's consequences, and with none where it is open."""
    if incident.closed_at is None:
        return replace(incident, anonymise_after=None, ttl=None)
    return replace(
        incident,
        anonymise_after=incident.closed_at + timedelta(days=retention.anonymise_days),
        ttl=(incident.closed_at + timedelta(days=retention.remove_days)).replace(microsecond=0),
    )


def anonymise(repository: IncidentRepository, now: datetime, limit: int = AT_ONCE) -> int:
    """Removes contact data and reporter of incidents whose time has come, at most `limit`; how many these were.

    History says that it was done and names no citizen any more, neither reporter nor supporter; who of the staff did
    what stays, unless the report was their own. The marks by which supporters count once go, too. Killed at any moment
    and called again, it does what is left. Raises the store's errors.
    """
    done = 0
    for incident in repository.to_anonymise(now, limit):
        after = replace(
            incident,
            version=incident.version + 1,
            updated_at=milliseconds(now),
            reported_by=None,
            anonymise_after=None,
        )
        history = repository.history(incident.incident_id)
        revised, marks = tuple(_unnamed(history, incident)), tuple(marks_in(history))
        try:
            repository.write(
                [Change(after, anonymised(after, _NOTE), revised=revised, drops_contact=True, drops_marks=marks)]
            )
        except VersionConflict:
            continue  # somebody did something with it just now: if it is still closed, the next turn does it
        done += 1
    return done


def anonymised(after: Incident, note: str) -> HistoryEntry:
    """The entry of a version that tells less of a person than the one before."""
    return HistoryEntry(
        incident_id=after.incident_id,
        version=after.version,
        at=after.updated_at,
        actor=SYSTEM.subject,
        role=SYSTEM.role,
        action="anonymised",
        from_status=after.status,
        to_status=after.status,
        note=note,
    )


def forget(repository: IncidentRepository, store: ObjectStore, incident_id: str) -> None:
    """Removes pictures, marks, history and contact of an incident that has left its store; nothing where that was done.

    Raises the errors of both stores.
    """
    for key in list(store.keys(f"{PICTURES}/{incident_id}/")):
        store.delete(key)
    repository.forget(incident_id, marks_in(repository.history(incident_id)))


def drop_uploads(store: ObjectStore, now: datetime) -> int:
    """Removes pictures that were uploaded and never added to their incident; how many. Raises the store's errors."""
    left = [one.key for one in store.objects(f"{INCOMING}/") if now - one.modified > _UPLOADS_KEPT]
    for key in left:
        store.delete(key)
    return len(left)


def _unnamed(history: Iterable[HistoryEntry], incident: Incident) -> Iterator[HistoryEntry]:
    for entry in history:
        if entry.actor is not None and (entry.role == Role.CITIZEN or entry.actor == incident.reported_by):
            yield replace(entry, actor=None)
