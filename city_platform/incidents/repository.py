"""What the service needs of a store of incidents, as a protocol. `local` keeps them in SQLite, `aws` in DynamoDB.

One contract suite (`tests/integration/test_ports_incidents.py`) runs against both.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from city_platform.errors import PermanentError, TransientError
from city_platform.incidents.model import Box, HistoryEntry, Incident, Status, Visibility

CHANGES_AT_ONCE = 20


class VersionConflict(PermanentError):
    """Somebody changed the incident first; `current` is its version now (0: there is none)."""

    def __init__(self, incident_id: str, current: int) -> None:
        self.incident_id = incident_id
        self.current = current
        super().__init__(f"{incident_id} is at version {current} now: read it again and repeat your change on that")


class AlreadyDone(PermanentError):
    """The mark `mark` stands already: this was done before, with the incident `incident_id`."""

    def __init__(self, mark: str, incident_id: str, fingerprint: str) -> None:
        self.mark = mark
        self.incident_id = incident_id
        self.fingerprint = fingerprint
        super().__init__(f"this was done before: {incident_id}")


class RepositoryUnavailable(TransientError):
    """The store did not answer, or answered that it is busy."""


class RepositoryRefused(PermanentError):
    """The store will not take this; its settings or its rights are wrong."""


class Pattern(StrEnum):
    """The five ways to list incidents; each is one index. The value names the index in DynamoDB."""

    REGION_STATUS = "RegionStatusIndex"
    REGION_CATEGORY = "RegionCategoryIndex"
    DISTRICT_STATUS = "DistrictStatusIndex"
    DISTRICT_CATEGORY = "DistrictCategoryIndex"
    REPORTED_BY = "ReportedByIndex"

    @property
    def fields(self) -> tuple[str, ...]:
        """The incident's fields whose values together choose the list."""
        return _FIELDS[self]


_FIELDS: Mapping[Pattern, tuple[str, ...]] = {
    Pattern.REGION_STATUS: ("region", "status"),
    Pattern.REGION_CATEGORY: ("region", "category"),
    Pattern.DISTRICT_STATUS: ("district", "status"),
    Pattern.DISTRICT_CATEGORY: ("district", "category"),
    Pattern.REPORTED_BY: ("reported_by",),
}


@dataclass(frozen=True, slots=True)
class Listing:
    """A question: the pattern and a value for each of its fields."""

    pattern: Pattern
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.values) != len(self.pattern.fields):
            raise ValueError(f"{self.pattern} takes {len(self.pattern.fields)} values, not {len(self.values)}")


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a list, which runs from the newest report to the oldest."""

    reported_at: datetime
    incident_id: str


@dataclass(frozen=True, slots=True)
class Heading:
    """What it takes to pass an incident by in a list: its place there, and whether it is one of those that count."""

    reported_at: datetime
    incident_id: str
    category: str
    status: Status
    visibility: Visibility

    @classmethod
    def of(cls, incident: Incident) -> "Heading":
        return cls(incident.reported_at, incident.incident_id, incident.category, incident.status, incident.visibility)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happens once, such as one idempotency key or one supporter; dropped after `expires_at`.

    `fingerprint` tells a repetition from another request under the same key.
    """

    key: str
    fingerprint: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One incident's next version with its history entry. `sealed_contact` is the encrypted contact, if there is one.

    `incident.version` is 1 for a new incident; otherwise the store must hold the version before it. `revised` are
    earlier entries of the history as they shall be from now on; where the change is refused, they may be so all the
    same. `drops_contact` removes the sealed contact, `drops_marks` the marks of these keys: before anything else, and
    where the change is refused perhaps all the same.
    """

    incident: Incident
    entry: HistoryEntry
    marks: tuple[Mark, ...] = ()
    sealed_contact: bytes | None = None
    revised: tuple[HistoryEntry, ...] = ()
    drops_contact: bool = False
    drops_marks: tuple[str, ...] = ()


class IncidentRepository(Protocol):
    """Incidents, their history, sealed contacts and marks.

    Errors: VersionConflict, AlreadyDone, RepositoryUnavailable, RepositoryRefused.

    An accepted change survives the death of the process at any moment, and reaches the change stream exactly once.
    """

    def write(self, changes: Sequence[Change]) -> None:
        """All of them or none, history and marks included; at most CHANGES_AT_ONCE.

        Raises AlreadyDone for the first mark that stands already (before any conflict of versions), VersionConflict.
        """
        ...

    def get(self, incident_id: str) -> Incident | None:
        """The newest version; sees every change that was accepted before the call."""
        ...

    def marked(self, key: str) -> str | None:
        """The id of the incident with which a mark that never expires was set, None where there is no such mark."""
        ...

    def list(self, listing: Listing, limit: int, after: Position | None = None) -> Sequence[Incident]:
        """At most `limit` incidents from the newest to the oldest, those after `after` in that order.

        May lag behind `get` by a moment. An incident that changes its status while somebody pages through the list may
        leave it; none is shown twice, and none that stays is left out.
        """
        ...

    def headings(self, listing: Listing, limit: int, after: Position | None = None) -> Sequence[Heading]:
        """Those of what `list` gives, for whoever counts them or passes them by."""
        ...

    def near(self, district: str, category: str, box: Box, since: datetime, newest: int) -> Sequence[Incident]:
        """Incidents of a district and category that lie in the box and were reported since then, newest first.

        Looks at no more than the `newest` of the district and category. May lag behind `get` by a moment.
        """
        ...

    def history(self, incident_id: str) -> Sequence[HistoryEntry]:
        """From the first version to the last."""
        ...

    def sealed_contact(self, incident_id: str) -> bytes | None: ...

    def to_anonymise(self, now: datetime, limit: int) -> Sequence[Incident]:
        """At most `limit` incidents whose `anonymise_after` has come and whose `ttl` has not, in no order.

        May lag behind `get` by a moment.
        """
        ...

    def forget(self, incident_id: str, marks: Sequence[str] = ()) -> None:
        """Removes the marks of these keys, history and contact of an incident that has left the store, in this order;
        nothing where that was done.
        """
        ...

    def naming(self, subject: str) -> Sequence[str]:
        """Ids of the incidents that name this subject, as the reporter or in the history, in order.

        Looks at all there is: for a person's request, not for a page.
        """
        ...

    def contacts(self) -> Iterator[tuple[str, bytes]]:
        """Every sealed contact with its incident's id, in no order."""
        ...

    def drop_marks(self, fingerprint: str) -> int:
        """Removes the marks of that fingerprint; how many there were. Looks at all there is."""
        ...


@dataclass(frozen=True, slots=True)
class Count:
    """How many public incidents there are now of a region, district, status and category."""

    region: str
    district: str
    status: str
    category: str
    incidents: int


@dataclass(frozen=True, slots=True)
class Counted:
    """All counts, and when incidents stood so: in the order of region, district, status, category; none are zero."""

    at: datetime
    counts: Sequence[Count]


class NotCountedYet(TransientError):
    """Nothing has been counted so far."""


class IncidentCounter(Protocol):
    """Counts what everybody may see. Errors: NotCountedYet, those of the store it counts in."""

    def counts(self) -> Counted: ...
