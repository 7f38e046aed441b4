"""Which incidents and zones have to do with each other, as the traffic state says: for pages and lists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from city_platform.crossing import episodes
from city_platform.traffic import maintenance
from city_platform.traffic.state import TrafficState

How: TypeAlias = Literal["explains", "opened"]


@dataclass(frozen=True, slots=True)
class Related:
    """An incident that explains what a zone shows, or that was opened for it. Times in epoch ms.

    `until_ms` is None where nobody knows; `public` whether everybody may see the incident.
    """

    how: How
    incident_id: str
    public_ref: str
    since_ms: int
    until_ms: int | None
    public: bool


def related(state: TrafficState, at_ms: int) -> Mapping[str, Sequence[Related]]:
    """By zone (episodes.CITY for all), what explains it at that time and then what was opened for it.

    Raises StateUnavailable.
    """
    found: dict[str, list[Related]] = {}
    known = maintenance.read(state)
    for zone in known.zones:
        for one in known.known(zone, at_ms):
            of_zone = found.setdefault(zone, [])
            of_zone.append(Related("explains", one.incident_id, one.public_ref, one.from_ms, one.until_ms, one.public))
    for episode in episodes.read(state)[1].episodes.values():
        if episode.incident_id:
            of_zone = found.setdefault(episode.zone, [])
            of_zone.append(
                Related("opened", episode.incident_id, episode.public_ref, episode.since_ms, None, episode.public)
            )
    return found


def zones_of(incident_id: str, relations: Mapping[str, Sequence[Related]]) -> Sequence[tuple[str, How]]:
    """The zones that an incident has to do with, and how, in order."""
    return sorted((zone, one.how) for zone, some in relations.items() for one in some if one.incident_id == incident_id)
