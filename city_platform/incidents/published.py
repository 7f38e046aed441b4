"""An incident as a row of open data: the columns of Open311's bulk format first, then what it has no word for.

Only public incidents become rows, and only of what everybody may see of them: `views.public_view` decides that.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from city_platform.incidents.model import Incident
from city_platform.incidents.reference import Reference
from city_platform.incidents.views import public_view

TEXT, TIME, NUMBER, WHOLE = "text", "time", "number", "whole"
COLUMNS: Mapping[str, str] = {
    "service_request_id": TEXT,
    "requested_datetime": TIME,
    "updated_datetime": TIME,
    "closed_date": TIME,
    "status_description": TEXT,
    "status_notes": TEXT,
    "source": TEXT,
    "service_name": TEXT,
    "service_subtype": TEXT,
    "description": TEXT,
    "agency_responsible": TEXT,
    "address": TEXT,
    "lat": NUMBER,
    "long": NUMBER,
    # Open311's bulk format ends here.
    "service_code": TEXT,
    "reference": TEXT,
    "title": TEXT,
    "severity": TEXT,
    "resolution": TEXT,
    "region": TEXT,
    "district": TEXT,
    "expected_datetime": TIME,
    "duplicate_of": TEXT,
    "supporters": WHOLE,
}


def row(incident: Incident, reference: Reference) -> dict[str, Any]:
    """The values of COLUMNS, in their order: texts, numbers, times as `w3c` writes them in the city's zone, or None."""
    view = public_view(incident, reference)
    category = reference.categories.get(incident.category)
    closed = incident.closed_at if incident.status.closed else None
    return {
        "service_request_id": incident.incident_id,
        "requested_datetime": _local(incident.reported_at, reference),
        "updated_datetime": _local(closed or incident.updated_at, reference),
        "closed_date": _local(closed, reference),
        "status_description": incident.status.value,
        "status_notes": status_notes(incident),
        "source": incident.channel.value,
        "service_name": category.name if category else incident.category,
        "service_subtype": None,
        "description": view.description or None,
        "agency_responsible": incident.department,
        "address": view.address,
        "lat": view.lat,
        "long": view.long,
        "service_code": incident.category,
        "reference": incident.public_ref,
        "title": view.title,
        "severity": incident.severity.value,
        "resolution": incident.resolution.value if incident.resolution else None,
        "region": incident.region,
        "district": incident.district,
        "expected_datetime": _local(incident.expected_at, reference),
        "duplicate_of": incident.duplicate_of,
        "supporters": incident.supporters,
    }


def status_notes(incident: Incident) -> str:
    """More about the state than that it is open or closed: `Resolved: fixed`."""
    text = incident.status.value.replace("_", " ").capitalize()
    if incident.duplicate_of is not None:
        return f"{text} of {incident.duplicate_of}"
    return f"{text}: {incident.resolution.value.replace('_', ' ')}" if incident.resolution else text


def w3c(time: datetime) -> str:
    """A time as Open311 writes it, with its offset: 2026-03-09T09:30:00-07:00."""
    return time.isoformat(timespec="seconds")


def _local(time: datetime | None, reference: Reference) -> str | None:
    return w3c(time.astimezone(reference.zone)) if time is not None else None
