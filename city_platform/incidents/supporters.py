"""The marks by which a person's support of an incident counts once.

A mark names the person by a digest of their subject. Whoever knows the subjects can try them, so a mark is as
personal as a name, and goes when the names in the history go.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime

from city_platform.incidents.codec import rfc3339
from city_platform.incidents.model import HistoryEntry
from city_platform.incidents.repository import Mark

SUPPORT, STILL_THERE = "support", "still_there"  # as history calls them


def support_mark(incident_id: str, subject: str) -> Mark:
    """Whoever has seen an incident counts once."""
    return Mark(f"{SUPPORT}#{incident_id}#{_person(subject)}", _person(subject))


def still_there_mark(incident_id: str, closed_at: datetime, subject: str) -> Mark:
    """Whoever says that a closed incident is still there counts once after each closing."""
    return Mark(f"{STILL_THERE}#{incident_id}#{rfc3339(closed_at)}#{_person(subject)}", _person(subject))


def marks_in(history: Iterable[HistoryEntry]) -> Sequence[str]:
    """The keys of the marks of everybody whom an incident's history still names as a supporter; `history` in order."""
    found: dict[str, None] = {}
    closed_at: datetime | None = None
    for entry in history:
        if entry.from_status != entry.to_status:
            closed_at = entry.at if entry.to_status.closed else None
        if entry.actor is None:
            continue
        if entry.action == SUPPORT:
            found[support_mark(entry.incident_id, entry.actor).key] = None
        elif entry.action == STILL_THERE and closed_at is not None:
            found[still_there_mark(entry.incident_id, closed_at, entry.actor).key] = None
    return list(found)


def _person(subject: str) -> str:
    return hashlib.sha256(subject.encode()).hexdigest()
