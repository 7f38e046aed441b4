"""Which incidents explain what traffic shows in which zones, and from when until when."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from math import radians

import numpy as np

from city_platform.incidents.model import Channel, Incident, Status, Visibility
from city_platform.incidents.reference import METRES_PER_DEGREE
from city_platform.traffic.maintenance import Known
from city_platform.traffic.roads import Roads

OLDEST = timedelta(days=60)  # what was reported longer ago explains nothing any more
MOST = 1_500  # zones that are named, by all incidents together: 270 kB of the 400 that an item of DynamoDB may have
STARTS, ENDS = "starts", "ends"  # the answers of an incident that say when it holds
TAKEN_UP = frozenset({Status.ACKNOWLEDGED, Status.IN_PROGRESS, Status.SCHEDULED, Status.FORWARDED})


def explained(
    incidents: Iterable[Incident], explains: Mapping[str, int], roads: Roads, now: datetime
) -> tuple[Mapping[str, Sequence[Known]], Sequence[str]]:
    """By zone the incidents that explain it now or will, the newest first; `explains`: metres by category.

    And the references of those that are too many: all of them together name zones MOST times, for which one item of
    DynamoDB has room.
    """
    found: dict[str, list[Known]] = {}
    left_out: list[str] = []
    named = 0
    for incident in sorted(incidents, key=lambda one: one.incident_id, reverse=True):
        within = explains.get(incident.category)
        known = holding(incident, now) if within is not None else None
        if known is None or within is None or incident.lat is None or incident.long is None:
            continue
        zones = zones_within(roads, incident.lat, incident.long, within)
        if named + len(zones) > MOST:
            left_out.append(incident.public_ref)
            continue
        named += len(zones)
        for zone in zones:
            found.setdefault(zone, []).append(known)
    return found, left_out


def holding(incident: Incident, now: datetime) -> Known | None:
    """What an incident explains while it holds; None for one that no staff stands by, and for one that is over.

    An incident that is late and says no end of its own explains nothing any more: what is forgotten keeps nobody from
    being alarmed.
    """
    by_staff = incident.channel is Channel.OFFICER and not incident.status.closed
    if incident.status not in TAKEN_UP and not by_staff:
        return None
    begins = _answered(incident, STARTS) or incident.occurred_at or incident.reported_at
    ends = _answered(incident, ENDS) or incident.expected_at
    if ends is None or ends <= max(now, begins):
        return None
    return Known(
        incident_id=incident.incident_id,
        public_ref=incident.public_ref,
        category=incident.category,
        from_ms=round(begins.timestamp() * 1000),
        until_ms=round(ends.timestamp() * 1000),
        public=incident.visibility is Visibility.PUBLIC,
    )


def zones_within(roads: Roads, lat: float, long: float, metres: float) -> Sequence[str]:
    """The zones whose cells are no farther from a point than that, in the registry's order."""
    east = np.maximum(0.0, np.maximum(roads.west - long, long - roads.west - roads.width))
    north = np.maximum(0.0, np.maximum(roads.south - lat, lat - roads.south - roads.height))
    distance = METRES_PER_DEGREE * np.hypot(north, east * np.cos(radians(lat)))
    return [roads.registry.zones[at] for at in np.flatnonzero(distance <= metres).tolist()]


def _answered(incident: Incident, question: str) -> datetime | None:
    answer = incident.attributes.get(question)
    try:
        time = datetime.fromisoformat(answer) if isinstance(answer, str) else None
    except ValueError:  # a category whose question of that name is no time
        return None
    return time if time is not None and time.tzinfo is not None else None
