"""How fast each zone's vehicles drive when the roads are empty: measured at night where enough passed, else as posted.

Kept as one record of the traffic state, so that whoever works out congestion live finds it there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from city_platform.traffic.roads import Roads
from city_platform.traffic.state import Record, TrafficState

RECORD = "free_flow"  # the record's key; its body is JSON, zone -> tenths of km/h
PERCENTILE = 85
FIRST_HOUR, LAST_HOUR = 22, 5  # of the city's clock: from the one to before the other
DAYS = 28
LEAST_VEHICLES = 200


@dataclass(frozen=True, slots=True)
class FreeFlow:
    """A zone's free-flow speed in tenths of km/h; `vehicles` were measured at night, `measured` says it is theirs."""

    zone: str
    speed_x10: int
    vehicles: int
    measured: bool


def free_flow(nights: Mapping[str, tuple[int, int]], roads: Roads) -> list[FreeFlow]:
    """Every zone's free-flow speed, from what was measured at night: the percentile in tenths of km/h, and vehicles."""
    posted = roads.free_flow_x10.tolist()
    found = []
    for zone, limit in zip(roads.registry.zones, posted, strict=True):
        speed, vehicles = nights.get(zone, (0, 0))
        measured = vehicles >= LEAST_VEHICLES and speed > 0
        found.append(FreeFlow(zone, speed if measured else limit, vehicles, measured))
    return found


def keep(state: TrafficState, found: list[FreeFlow]) -> bool:
    """Makes it the state's record; False where that says so already. Raises VersionConflict: then the same again."""
    body = msgspec.json.encode({one.zone: one.speed_x10 for one in found})
    stored = state.record(RECORD)
    if stored is not None and stored.body == body:
        return False
    state.commit([Record(RECORD, stored.version + 1 if stored else 1, body)])
    return True


def kept(state: TrafficState, roads: Roads) -> dict[str, int]:
    """Each zone's free-flow speed in tenths of km/h: the record's, and the posted one of a zone it does not name."""
    speeds = dict(zip(roads.registry.zones, roads.free_flow_x10.tolist(), strict=True))
    stored = state.record(RECORD)
    if stored is not None:
        measured = msgspec.json.decode(stored.body, type=dict[str, int])
        speeds |= {zone: speed for zone, speed in measured.items() if zone in speeds}
    return speeds
