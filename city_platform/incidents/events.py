"""What is told of incidents and of their export, beside what people are told: the details of the events, version 1.

Each follows from what it tells of alone, so it is the same to the byte however often it is told.
"""

from typing import Annotated, ClassVar, Literal

import msgspec

from city_platform.events import Amount, Detail, Moment, event_id
from city_platform.incidents.model import Severity, Status, Visibility
from city_platform.incidents.reference import Reference
from city_platform.incidents.stream import Row
from city_platform.lake.manifest import Manifest


class IncidentLinks(msgspec.Struct, frozen=True):
    incident: str


class IncidentBecameCritical(Detail, frozen=True, kw_only=True):
    """An open incident is critical now, and was not, or was closed. Its place is there where it may be told."""

    SOURCE: ClassVar[str] = "city.incidents"

    incident_id: Annotated[str, msgspec.Meta(min_length=26, max_length=26)]
    public_ref: str
    became: Literal["reported", "raised", "reopened"]
    from_: Severity | None = msgspec.field(name="from")
    to: Severity
    status: Status
    category: str
    department: str
    region: str
    district: str
    lat: float | None
    long: float | None
    changed_at: Moment
    links: IncidentLinks


class ExportLinks(msgspec.Struct, frozen=True):
    manifest: str


class ExportCompleted(Detail, frozen=True, kw_only=True):
    """A partition has a new manifest of everything exported of it so far; `rows` are all of its rows.

    Of one partition the highest `sequence` counts, in whatever order they come.
    """

    SOURCE: ClassVar[str] = "city.data"

    dataset: str
    partition: str
    sequence: Amount
    version: str
    rows: Amount
    completed_at: Moment
    links: ExportLinks


def is_discreet(row: Row, reference: Reference) -> bool:
    """Whether no more may be said of an incident's place than its district: it is private, or sensitive by category."""
    category = reference.categories.get(row.category)
    return row.visibility is not Visibility.PUBLIC or category is None or category.sensitive


def became_critical(row: Row, reference: Reference, link: str) -> IncidentBecameCritical:
    """The event of a change that `alerts.entered_critical` holds for."""
    discreet = is_discreet(row, reference)
    return IncidentBecameCritical(
        schema=1,
        alert_id=event_id("incident", row.event_id),
        incident_id=row.incident_id,
        public_ref=row.public_ref,
        became=how(row),
        from_=row.old_severity,
        to=row.severity,
        status=row.status,
        category=row.category,
        department=row.department,
        region=row.region,
        district=row.district,
        lat=None if discreet else row.lat,
        long=None if discreet else row.long,
        changed_at=row.changed_at,
        links=IncidentLinks(link),
    )


def how(row: Row) -> Literal["reported", "raised", "reopened"]:
    """How an incident became critical."""
    if row.event == "INSERT":
        return "reported"
    return "reopened" if row.old_severity is Severity.CRITICAL else "raised"


def export_completed(manifest: Manifest, link: str) -> ExportCompleted:
    return ExportCompleted(
        schema=1,
        alert_id=event_id(manifest.layer, manifest.dataset, manifest.partition, str(manifest.sequence)),
        dataset=manifest.dataset,
        partition=manifest.partition,
        sequence=manifest.sequence,
        version=manifest.version,
        rows=manifest.counts["rows"],
        completed_at=manifest.published_at,
        links=ExportLinks(link),
    )
