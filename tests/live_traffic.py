"""A small city that is watched: readings of its zones, counted as they come in."""

from collections.abc import Iterable, Sequence

from city_platform.traffic.handler import TrafficHandler
from city_platform.traffic.registry import generate
from city_platform.traffic.roads import generate_roads
from city_platform.traffic.state import TrafficState
from tests.traffic import Letters, Told, columns, event, record

REGISTRY = generate(seed=7, sensors=60, zones=4)
ROADS = generate_roads(REGISTRY)
SAID = {"CITY_PLATFORM_TRAFFIC_REGISTRY": "7:60:4"}


def told(start_ms: int, zones: Iterable[int] = range(4), share: float = 1.0, last_ms: int = 9_000) -> list[Told]:
    """A reading of each sensor of these zones in the window, or of a share of them; the last one then."""
    found = []
    for zone in zones:
        own = REGISTRY.sensors(zone)
        count = round((own.stop - own.start) * share)
        found += [Told(own.start + at, start_ms // 1000 + at, start_ms + last_ms - at, 20 + at) for at in range(count)]
    return found


def count(state: TrafficState, readings: Sequence[Told]) -> None:
    """Has the handler count them, as they come in; none of them was counted before."""
    zones = sorted({int(REGISTRY.zone[one.sensor]) for one in readings})
    frames = [columns([one for one in readings if REGISTRY.zone[one.sensor] == zone], REGISTRY) for zone in zones]
    arrival = max(one.ts_ms for one in readings)
    handler = TrafficHandler(REGISTRY, state, Letters(), lambda: arrival)
    outcome = handler.handle(event(*(record(frame, at, arrival) for at, frame in enumerate(frames))))
    assert outcome.accepted == len(readings)
