"""Incidents by when they were reported, across the whole city: many of the store's lists merged into one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import TypeVar

from city_platform.incidents.model import UNLOCATED, Incident, Status, Visibility
from city_platform.incidents.reference import Reference
from city_platform.incidents.repository import Heading, IncidentRepository, Listing, Pattern, Position

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


def reported_between(
    repository: IncidentRepository, reference: Reference, window: Window, after: Position | None = None
) -> Iterator[Incident]:
    """The window's incidents from the newest to the oldest, those after `after`; each at most once.

    Holds a few hundred at a time, however many there are. An incident whose status changes while this runs may be left
    out, as in the store's own lists.
    """
    return _merged(repository.list, reference, window, after)


def place_of_public(
    repository: IncidentRepository, reference: Reference, window: Window, number: int
) -> Position | None:
    """Where the public incident of that number stands, counted from 1; None where the window has not so many."""
    public = (
        one for one in _merged(repository.headings, reference, window, None) if one.visibility is Visibility.PUBLIC
    )
    found = next(islice(public, number - 1, None), None)
    return Position(found.reported_at, found.incident_id) if found else None


_One = TypeVar("_One", Incident, Heading)
_Read = Callable[[Listing, int, Position | None], Sequence[_One]]


def _merged(read: _Read[_One], reference: Reference, window: Window, after: Position | None) -> Iterator[_One]:
    streams = [_stream(read, listing, window, after) for listing in _listings(reference, window)]
    last: str | None = None
    for one in merge(*streams, key=lambda one: (one.reported_at, one.incident_id), reverse=True):
        if one.incident_id == last or not _within(one, window):
            continue
        last = one.incident_id
        yield one


def _listings(reference: Reference, window: Window) -> Sequence[Listing]:
    regions = sorted({*reference.regions, UNLOCATED})
    if window.categories is not None:
        pattern, chosen = Pattern.REGION_CATEGORY, sorted(window.categories)
    else:
        # By status and not by category: categories that a city has given up are listed, too.
        pattern, chosen = Pattern.REGION_STATUS, sorted(window.statuses if window.statuses is not None else Status)
    return [Listing(pattern, (region, one)) for region in regions for one in chosen]


def _stream(read: _Read[_One], listing: Listing, window: Window, after: Position | None) -> Iterator[_One]:
    position, size = after or Position(window.end, _AFTER_ALL), _FIRST_BATCH
    while True:
        batch = read(listing, size, position)
        for one in batch:
            if one.reported_at < window.start:
                return
            yield one
        if len(batch) < size:
            return
        position = Position(batch[-1].reported_at, batch[-1].incident_id)
        size = min(2 * size, _BATCH_LIMIT)


def _within(incident: Incident | Heading, window: Window) -> bool:
    return (window.categories is None or incident.category in window.categories) and (
        window.statuses is None or incident.status in window.statuses
    )
