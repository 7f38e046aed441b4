"""Changes of an incident's fields: read, checked and applied as a whole, or refused with every fault."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from city_platform.incidents.model import Incident, Severity, Visibility
from city_platform.incidents.reference import Reference
from city_platform.incidents.report import (
    Code,
    Fault,
    InvalidRequest,
    Latitude,
    Line,
    Longitude,
    Prose,
    Title,
    locate,
    read_attributes,
    read_fields,
)
from city_platform.incidents.roles import Actor, Role
from city_platform.incidents.transitions import NotYours

_REPORTERS = {"title", "description", "lat", "long", "address", "attributes"}  # what a reporter may still correct
_EMPTIED: Mapping[str, Any] = {  # what null makes of a field; the others always have a value
    "description": "", "lat": None, "long": None, "address": None, "district": None, "assigned_to": None,
    "attributes": {},
}  # fmt: skip


class EditRequest(BaseModel):
    """Fields to change; those that are absent stay as they are, and null empties one (RFC 7396)."""

    model_config = ConfigDict(extra="forbid")

    title: Title | None = None
    description: Prose | None = None
    category: Code | None = None
    severity: Severity | None = None
    lat: Latitude | None = None
    long: Longitude | None = None
    address: Line | None = None
    district: Code | None = None
    assigned_to: Annotated[Line, Field(max_length=100)] | None = None
    visibility: Visibility | None = None
    attributes: Annotated[dict[Code, Any], Field(max_length=50)] | None = None


def read_edit(payload: object, incident: Incident, actor: Actor, reference: Reference) -> Incident:
    """The incident with the changes; version and times are the caller's to raise.

    A new category brings its department and the attributes given with it. Raises InvalidRequest, NotYours.
    """
    values, faults = read_fields(EditRequest, payload)
    given = {name: value for name, value in values.items() if value is not None}
    if isinstance(payload, Mapping):
        _empty(given, [name for name in values if name in payload and payload[name] is None], faults)
    if not faults and not given:
        faults.append(Fault("", "required", f"name a field to change: {', '.join(EditRequest.model_fields)}"))
    foreign = sorted(set(given) - _REPORTERS)
    if foreign and not actor.manages(incident):
        raise NotYours(f"staff of the district change: {', '.join(foreign)}")
    category = reference.categories.get(given.get("category", incident.category))
    if category is None:
        faults.append(Fault("category", "unknown", f"choose one of: {', '.join(reference.categories)}"))
    else:
        if "category" in given:
            given["department"] = category.department
        if "attributes" in given or "category" in given:
            given["attributes"] = read_attributes(given.get("attributes", {}), category.attributes, faults)
    if {"lat", "long", "address", "district"} & set(given):
        known = {name: getattr(incident, name) for name in ("lat", "long", "address", "address_id")}
        given["region"], given["district"] = locate({**known, **given}, faults, reference)
    _allowed(given, incident, actor, faults)
    if faults:
        raise InvalidRequest(faults)
    return replace(incident, **given)


def edited(before: Incident, after: Incident) -> list[str]:
    """Names of the fields that differ."""
    return sorted(one.name for one in fields(before) if getattr(before, one.name) != getattr(after, one.name))


def _empty(given: dict[str, Any], names: list[str], faults: list[Fault]) -> None:
    for name in names:
        if name in _EMPTIED:
            given[name] = _EMPTIED[name]
        else:
            faults.append(Fault(name, "required", "this always has a value: give another one, or leave it out"))


def _allowed(given: dict[str, Any], incident: Incident, actor: Actor, faults: list[Fault]) -> None:
    severity = given.get("severity")
    if severity is not None and not actor.may_set_severity(severity, incident.district):
        faults.append(Fault("severity", "not_allowed", "only staff of the district make an incident critical"))
    visibility = given.get("visibility", incident.visibility)
    hides = visibility is not incident.visibility and Visibility.HIDDEN in (visibility, incident.visibility)
    if hides and not actor.has(Role.DISTRICT_MANAGER, Role.ADMIN):
        faults.append(Fault("visibility", "not_allowed", "only a district manager hides an incident or shows it again"))
