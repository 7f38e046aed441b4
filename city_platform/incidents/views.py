"""What may be shown of an incident, and to whom: the one place that decides it for every interface.

Everybody sees public fields, with e-mail addresses and phone numbers masked in free text. Of a sensitive category they
see a place rounded to about 100 m and no free text beside the title. The reporter sees what they sent; staff of the
district see all but the contact data, which have an answer of their own.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, Field, PlainSerializer, WithJsonSchema

from city_platform.incidents.codec import rfc3339
from city_platform.incidents.model import (
    Channel,
    HistoryEntry,
    Incident,
    Media,
    Resolution,
    Severity,
    Status,
    Visibility,
)
from city_platform.incidents.reference import AttributeType, Reference
from city_platform.incidents.roles import Actor
from city_platform.incidents.text import masked

_SENSITIVE_DECIMALS = 3  # of a degree: 111 m north to south, 73 m east to west at this latitude
_FREE_TEXT = {AttributeType.STRING, AttributeType.TEXT}

Moment = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-06-01T17:03:20.000Z"]}),
]
JsonAttribute = str | int | float | list[str]


class MediaView(BaseModel):
    """A picture. `url` is where its bytes are; until it is `moderated`, only the reporter and staff see it."""

    media_id: str
    url: str
    content_type: str
    bytes: int
    moderated: bool


class IncidentView(BaseModel):
    """An incident as its reader may see it; fields they may not see, and fields without a value, are absent."""

    incident_id: Annotated[str, Field(description="ULID", examples=["01JZ8Q6W7R2M4V9T3K5N8P1X0A"])]
    public_ref: Annotated[str, Field(description="Short enough for the telephone", examples=["VAN-2026-7K3MQ9"])]
    title: str
    description: str | None = None
    category: str
    severity: Severity
    status: Status
    resolution: Resolution | None = None
    region: str
    district: str
    lat: Annotated[float | None, Field(description="Degrees, WGS 84")] = None
    long: Annotated[float | None, Field(description="Degrees, WGS 84")] = None
    address: str | None = None
    address_id: Annotated[str | None, Field(description="In the city's register of addresses")] = None
    postal_code: Annotated[str | None, Field(description="For the reporter and staff")] = None
    reported_at: Moment
    updated_at: Moment
    occurred_at: Moment | None = None
    expected_at: Annotated[Moment | None, Field(description="By when it should be dealt with")] = None
    closed_at: Moment | None = None
    channel: Channel
    department: str
    duplicate_of: Annotated[str | None, Field(description="The incident that this one repeats")] = None
    supporters: Annotated[int, Field(description="How many more people have seen it")]
    still_there: Annotated[int, Field(description="How many say, since it was closed, that it is still there")] = 0
    media: list[MediaView] = []
    attributes: Annotated[dict[str, JsonAttribute], Field(description="Answers to the category's questions")] = {}
    version: Annotated[int | None, Field(description="For the reporter and staff")] = None
    visibility: Annotated[Visibility | None, Field(description="For the reporter and staff")] = None
    assigned_to: Annotated[str | None, Field(description="For staff")] = None
    reported_by: Annotated[str | None, Field(description="The reporter's subject, for staff")] = None


class HistoryView(BaseModel):
    """One change. Internal notes and who acted are for staff."""

    version: int
    at: Moment
    action: str
    role: str
    actor: str | None = None
    from_status: Status | None = None
    to_status: Status
    note: str | None = None
    public: bool


class DuplicateView(BaseModel):
    """A report that may be about the same thing."""

    incident_id: str
    public_ref: str
    title: str
    status: Status
    reported_at: Moment
    supporters: int


def incident_view(incident: Incident, reference: Reference, actor: Actor) -> IncidentView:
    """The incident as this actor may see it; that they may see it at all is decided before."""
    staff, own = actor.manages(incident), actor.reported(incident)
    if not (staff or own):
        return public_view(incident, reference)
    return _view(
        incident,
        title=incident.title,
        description=incident.description,
        lat=incident.lat,
        long=incident.long,
        address=incident.address,
        address_id=incident.address_id,
        postal_code=incident.postal_code,
        media=[_media(incident, one) for one in incident.media],
        attributes={code: _answer(value) for code, value in incident.attributes.items()},
        version=incident.version,
        visibility=incident.visibility,
        assigned_to=incident.assigned_to if staff else None,
        reported_by=incident.reported_by if staff else None,
    )


def public_view(incident: Incident, reference: Reference) -> IncidentView:
    """What everybody may see of a public incident."""
    category = reference.categories.get(incident.category)
    # A category that the city no longer has may have been a sensitive one.
    sensitive = category is None or category.sensitive
    kinds = {code: one.type for code, one in category.attributes.items()} if category else {}
    attributes: dict[str, JsonAttribute] = {}
    for code, value in incident.attributes.items():
        free = kinds.get(code, AttributeType.TEXT) in _FREE_TEXT
        if not (free and sensitive):
            attributes[code] = masked(str(value)) if free else _answer(value)
    return _view(
        incident,
        title=masked(incident.title),
        description=None if sensitive else masked(incident.description),
        lat=_place(incident.lat, sensitive=sensitive),
        long=_place(incident.long, sensitive=sensitive),
        address=None if sensitive or incident.address is None else masked(incident.address),
        address_id=None if sensitive else incident.address_id,
        media=[_media(incident, one) for one in incident.media if one.moderated],
        attributes=attributes,
    )


def duplicate_view(incident: Incident) -> DuplicateView:
    """A hint at a public incident."""
    return DuplicateView(
        incident_id=incident.incident_id,
        public_ref=incident.public_ref,
        title=masked(incident.title),
        status=incident.status,
        reported_at=incident.reported_at,
        supporters=incident.supporters,
    )


def history_view(entry: HistoryEntry) -> HistoryView:
    """An entry that the service gave to this actor, so what they may not see is gone already."""
    return HistoryView(**{name: getattr(entry, name) for name in HistoryView.model_fields})


def media_id(media: Media) -> str:
    """A picture's name within its incident."""
    return PurePosixPath(media.key).stem


def _view(incident: Incident, **shown: Any) -> IncidentView:
    same = {name: getattr(incident, name) for name in _SAME}
    # Everything comes from a checked incident: checking it once more would cost as much as the rest of the answer.
    return IncidentView.model_construct(**same, **shown)


_SAME = (
    "incident_id", "public_ref", "category", "severity", "status", "resolution", "region", "district", "reported_at",
    "updated_at", "occurred_at", "expected_at", "closed_at", "channel", "department", "duplicate_of", "supporters",
    "still_there",
)  # fmt: skip


def _media(incident: Incident, media: Media) -> MediaView:
    name = media_id(media)
    return MediaView(
        media_id=name,
        url=f"/v1/incidents/{incident.incident_id}/media/{name}",
        content_type=media.content_type,
        bytes=media.bytes,
        moderated=media.moderated,
    )


def _answer(value: Any) -> JsonAttribute:
    return list(value) if isinstance(value, tuple) else value


def _place(degrees: float | None, *, sensitive: bool) -> float | None:
    return round(degrees, _SENSITIVE_DECIMALS) if sensitive and degrees is not None else degrees


def as_json(view: BaseModel) -> Mapping[str, Any]:
    """JSON values, without what is absent."""
    return view.model_dump(mode="json", exclude_none=True)
