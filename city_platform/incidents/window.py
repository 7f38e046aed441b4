"""Incidents by when they were reported, across the whole city: many of the store's lists merged into one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge

from city_platform.incidents.model import UNLOCATED, Incident, Status
from city_platform.incidents.reference import Reference
from city_platform.incidents.repository import IncidentRepository, Listing, Pattern, Position

_FIRST_BATCH = 8  # there are 60 lists, and most answers are short
_BATCH_LIMIT = 512
_AFTER_ALL = "7" + "Z" * 25  # no identifier is greater


@dataclass(frozen=True, slots=True)
class Window:
    """Both ends are included; `categories` and `statuses` narrow it, None means all."""

    start: datetime
    end: datetime
    categories: frozenset[str] | None = None
    statuses: frozenset[Status] | None = None


def reported_between(repository: IncidentRepository, reference: Reference, window: Window) -> Iterator[Incident]:
    """The window's incidents from the newest to the oldest; each at most once.

    Holds a few hundred at a time, however many there are. An incident whose status changes while this runs may be left
    out, as in the store's own lists.
    """
    streams = [_stream(repository, listing, window) for listing in _listings(reference, window)]
    last: str | None = None
    for incident in merge(*streams, key=lambda one: (one.reported_at, one.incident_id), reverse=True):
        if incident.incident_id == last or not _within(incident, window):
            continue
        last = incident.incident_id
        yield incident


def _listings(reference: Reference, window: Window) -> Sequence[Listing]:
    regions = sorted({*reference.regions, UNLOCATED})
    if window.categories is not None:
        pattern, chosen = Pattern.REGION_CATEGORY, sorted(window.categories)
    else:
        # By status and not by category: categories that a city has given up are listed, too.
        pattern, chosen = Pattern.REGION_STATUS, sorted(window.statuses if window.statuses is not None else Status)
    return [Listing(pattern, (region, one)) for region in regions for one in chosen]


def _stream(repository: IncidentRepository, listing: Listing, window: Window) -> Iterator[Incident]:
    position, size = Position(window.end, _AFTER_ALL), _FIRST_BATCH
    while True:
        batch = repository.list(listing, size, position)
        for incident in batch:
            if incident.reported_at < window.start:
                return
            yield incident
        if len(batch) < size:
            return
        position = Position(batch[-1].reported_at, batch[-1].incident_id)
        size = min(2 * size, _BATCH_LIMIT)


def _within(incident: Incident, window: Window) -> bool:
    return (window.categories is None or incident.category in window.categories) and (
        window.statuses is None or incident.status in window.statuses
    )
