"""Incidents for tests: a reference, reports that are right, and incidents as a store would hold them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from city_platform.incidents.identity import new_incident_id, new_public_ref
from city_platform.incidents.model import Channel, HistoryEntry, Incident, Severity, Status
from city_platform.incidents.reference import Reference, load_reference
from city_platform.incidents.repository import Change
from city_platform.incidents.roles import Actor

NOW = datetime(2026, 3, 9, 16, 30, tzinfo=UTC)
CITIZEN = Actor.of("citizen-1", ["citizen"])
OTHER = Actor.of("citizen-2", ["citizen"])
OFFICER = Actor.of("officer-1", ["officer"], ["mount-pleasant"])
STRANGE_OFFICER = Actor.of("officer-2", ["officer"], ["downtown"])
MANAGER = Actor.of("manager-1", ["district_manager"], ["mount-pleasant"])
ADMIN = Actor.of("admin-1", ["admin"])
STEWARD = Actor.of("steward-1", ["steward"])
PLACE = {"lat": 49.2633, "long": -123.0985}  # in Mount Pleasant


@cache
def reference() -> Reference:
    return load_reference()


def report(**changes: Any) -> dict[str, Any]:
    """A report that is right; a field given as None is left out."""
    body = {"title": "Pothole in the bicycle lane", "category": "road_damage", **PLACE, **changes}
    return {name: value for name, value in body.items() if value is not None}


def incident(minutes: float = 0, **changes: Any) -> Incident:
    """An incident reported so many minutes after NOW."""
    at = NOW + timedelta(minutes=minutes)
    plain = Incident(
        incident_id=new_incident_id(at),
        public_ref=new_public_ref("VAN", at.year),
        version=1,
        title="Pothole in the bicycle lane",
        description="",
        category="road_damage",
        severity=Severity.MEDIUM,
        status=Status.REPORTED,
        region="central",
        district="mount-pleasant",
        reported_at=at,
        updated_at=at,
        channel=Channel.WEB,
        department="streets",
        reported_by="citizen-1",
        **PLACE,
    )
    return replace(plain, **changes)


def change(after: Incident, before: Incident | None = None, **more: Any) -> Change:
    """The change that makes an incident of what was there before."""
    entry = HistoryEntry(
        incident_id=after.incident_id,
        version=after.version,
        at=after.updated_at,
        actor=after.reported_by,
        role="citizen",
        action="edited" if before else "reported",
        from_status=before.status if before else None,
        to_status=after.status,
    )
    return Change(after, entry, **more)
