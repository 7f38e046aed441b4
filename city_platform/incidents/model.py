"""An incident, its history and its words. Times are aware and in UTC, to the millisecond; coordinates are WGS 84."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

SCHEMA_VERSION = 1
PICTURES = "incidents/media"  # where pictures lie in the object store, a folder an incident
INCOMING = "incidents/incoming"  # pictures as they were uploaded, until they are added
UNLOCATED = "unlocated"  # region and district of a report that has an address and no coordinates yet

AttributeValue: TypeAlias = str | int | float | tuple[str, ...]


class Severity(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Status(StrEnum):
    REPORTED = "reported"
    ACKNOWLEDGED = "acknowledged"
    IN_PROGRESS = "in_progress"
    SCHEDULED = "scheduled"
    INFO_REQUESTED = "info_requested"
    INFO_RECEIVED = "info_received"
    FORWARDED = "forwarded"
    RESOLVED = "resolved"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    CANCELLED = "cancelled"
    REOPENED = "reopened"

    @property
    def closed(self) -> bool:
        """As Open311 counts: everything else is open."""
        return self in _CLOSED


_CLOSED = frozenset({Status.RESOLVED, Status.REJECTED, Status.DUPLICATE, Status.CANCELLED})


class Resolution(StrEnum):
    FIXED = "fixed"
    NOT_FIXED = "not_fixed"
    NO_ACTION_NEEDED = "no_action_needed"
    NOT_RESPONSIBLE = "not_responsible"
    DUPLICATE = "duplicate"
    CANNOT_LOCATE = "cannot_locate"
    SPAM = "spam"


class Channel(StrEnum):
    WEB = "web"
    MOBILE = "mobile"
    PHONE = "phone"
    OFFICER = "officer"
    OPEN311 = "open311"
    SENSOR = "sensor"


class Visibility(StrEnum):
    PUBLIC = "public"
    PRIVATE = "private"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on the map, in degrees, its edges included."""

    south: float
    west: float
    north: float
    east: float


@dataclass(frozen=True, slots=True)
class Media:
    """A picture: where it lies in the object store, its type and size in bytes."""

    key: str
    content_type: str
    bytes: int
    moderated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One incident as it is stored, without its reporter's contact data, which live apart under their own key."""

    incident_id: str  # ULID
    public_ref: str  # VAN-2026-7K3MQ9
    version: int  # from 1, raised by every change
    title: str
    description: str
    category: str
    severity: Severity
    status: Status
    region: str
    district: str
    reported_at: datetime
    updated_at: datetime
    channel: Channel
    department: str
    visibility: Visibility = Visibility.PUBLIC
    lat: float | None = None  # degrees, seven decimals
    long: float | None = None
    address: str | None = None
    address_id: str | None = None  # in the city's own register of addresses
    postal_code: str | None = None
    occurred_at: datetime | None = None
    expected_at: datetime | None = None
    closed_at: datetime | None = None
    resolution: Resolution | None = None
    reported_by: str | None = None  # the token's subject; absent for an anonymous report
    assigned_to: str | None = None
    duplicate_of: str | None = None
    supporters: int = 0
    still_there: int = 0  # how many have said so since it was closed
    media: tuple[Media, ...] = ()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    anonymise_after: datetime | None = None  # when its reporter is to be removed; absent where that was done
    ttl: datetime | None = None  # when the store may drop it, in whole seconds; only after its export
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One version's change: who, in which role, from what to what; the note is shown to everybody if `public`."""

    incident_id: str
    version: int
    at: datetime
    actor: str | None = None
    role: str
    action: str  # reported, edited, transition, comment, support, still_there, media, anonymised
    from_status: Status | None = None  # None for the report itself
    to_status: Status
    note: str | None = None
    public: bool = False


@dataclass(frozen=True, slots=True)
class Contact:
    """How to reach the reporter. Never in an incident, an export, a log or a message."""

    email: str | None = None
    phone: str | None = None
    name: str | None = None
