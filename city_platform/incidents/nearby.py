"""Reports that may be about the same thing: same category, near, recent and still open. A hint, never a refusal."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import hypot

from city_platform.incidents.model import Box, Incident, Visibility
from city_platform.incidents.reference import METRES_PER_DEGREE, Reference, cosine
from city_platform.incidents.repository import IncidentRepository

WINDOW = timedelta(days=14)
_LOOKED_AT = 200  # newest reports of the category in each district: more than two weeks of the busiest
_SHOWN = 5


def metres_between(lat: float, long: float, other_lat: float, other_long: float) -> float:
    """The distance on a map that is flat here: right to a thousandth over a city."""
    return METRES_PER_DEGREE * hypot(other_lat - lat, (other_long - long) * cosine((lat + other_lat) / 2))


def box_around(lat: float, long: float, metres: float) -> Box:
    """The box that a circle around the point touches."""
    reach = metres / METRES_PER_DEGREE
    wide = reach / max(0.01, cosine(lat))
    return Box(lat - reach, long - wide, lat + reach, long + wide)


def possible_duplicates(
    repository: IncidentRepository, reference: Reference, category: str, lat: float, long: float, now: datetime
) -> Sequence[Incident]:
    """Public ones from the nearest to the farthest."""
    within = reference.categories[category].duplicates_within
    box = box_around(lat, long, within)
    found: list[tuple[float, Incident]] = []
    for district in reference.districts_in(box):
        for incident in repository.near(district, category, box, now - WINDOW, _LOOKED_AT):
            if incident.lat is None or incident.long is None or incident.status.closed:
                continue
            distance = metres_between(lat, long, incident.lat, incident.long)
            if distance <= within and incident.visibility is Visibility.PUBLIC:
                found.append((distance, incident))
    found.sort(key=lambda one: (one[0], one[1].incident_id))
    return [incident for _, incident in found[:_SHOWN]]
