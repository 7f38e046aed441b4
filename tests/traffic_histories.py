"""Random minutes of a small city, what has to be told of them, and trials of whether it is, with crashes everywhere."""

import random
from collections.abc import Mapping, Sequence
from functools import cache

import msgspec

from city_platform.traffic.events import Told, bus_event
from city_platform.traffic.maintenance import Known, explain
from city_platform.traffic.relay import relay
from city_platform.traffic.state import Event, Key, Record, Window
from tests.traffic import Crash, Faults, MemoryState
from tests.traffic_minutes import CITY, START, Clock, FaultyState, MemoryBus, due, end_of, fill, told, watching

MINUTES = 12


def history(seed: int) -> MemoryState:
    """Twelve minutes of jams, failing sensors, zones and the whole city, at random; incidents explain some of it."""
    state = MemoryState(dict(_history(seed)))
    draw = random.Random(-1 - seed)  # noqa: S311 reproducible, not secret
    zones = {
        zone: [known_incident(draw.randint(0, 4), draw.randint(4, MINUTES))] for zone in draw.sample(CITY.zones, 3)
    }
    explain(state, zones, START)
    return state


def known_incident(first: int, last: int) -> Known:
    """An incident that explains what is seen from the end of the first of these minutes until that of the last."""
    return Known("01K9Z0QG4M0000000000000000", "VAN-2026-000000", "road_closure", end_of(first), end_of(last), True)


@cache
def _history(seed: int) -> Mapping[Key, Window]:
    draw, state = random.Random(seed), MemoryState()  # noqa: S311 reproducible, not secret
    jam = {zone: draw.choice((10.0, 55.0, 80.0)) for zone in CITY.zones}
    broken = draw.sample(range(len(CITY)), 4)
    dark = sensors_of(draw.choice(CITY.zones))
    for minute in range(MINUTES):
        silent = set(broken[2:]) if 3 <= minute < 9 else set()
        silent |= set(dark) if 4 <= minute < 8 or draw.random() < 0.1 else set()
        silent |= set(range(len(CITY))) if draw.random() < 0.08 else set()
        index = {zone: at + draw.uniform(-8, 8) for zone, at in jam.items() if minute < 6}
        fill(state, minute, index, silent=silent, same=broken[:2] if minute < 7 else ())
    return state.kept


def outcome(state: MemoryState) -> tuple[dict[str, Told], dict[str, bytes]]:
    """All events by id, without the time they were detected at, and all records."""
    said = {one.alert_id: msgspec.structs.replace(one, detected_at=one.window_end) for one in told(state.outbox(9999))}
    return said, {key: record.body for key, record in state.records.items()}


@cache
def expected(seed: int) -> tuple[Mapping[str, Told], Mapping[str, bytes]]:
    """What one watcher makes of a history, minute by minute and undisturbed."""
    state, clock = history(seed), Clock()
    watch = watching(state, clock)
    for minute in range(MINUTES):
        clock.now_ms = due(minute)
        watch.evaluate()
    return outcome(state)


def sensors_of(zone: str, share: float = 1.0) -> list[int]:
    place = CITY.sensors(CITY.zone_index[zone])
    return list(range(place.start, place.start + round((place.stop - place.start) * share)))


class Inline(FaultyState):
    """Publishes an event beside the commit instead of putting it into the outbox: the design that the trial refutes."""

    bus: MemoryBus

    def commit(self, records: Sequence[Record], events: Sequence[Event] = ()) -> None:
        super().commit(records)
        if events:
            self.bus.publish([bus_event(event) for event in events])


def trial(seed: int, state: FaultyState, bus: MemoryBus) -> bool:
    """Whether receivers end with exactly the events there were, with a crash at any side effect."""
    base = history(seed % 10)
    draw = random.Random(seed)  # noqa: S311 reproducible, not secret
    crashes = (None, None, None, None, None, None, "crash before", "crash after")
    state.over(base).coming = Faults(draw.choices(crashes, k=80))
    bus.coming = Faults(draw.choices((*crashes, "busy", "half", "unheard"), k=40))
    clock = Clock()
    watch = watching(state, clock)
    minute = 0
    while minute < MINUTES or state.waiting:
        clock.now_ms = due(min(minute, MINUTES - 1))
        try:
            watch.evaluate()
            relay(state, bus)
        except Crash:
            watch = watching(state, clock)
            continue
        minute += 1
    return {event.id for event in bus.taken} == set(expected(seed % 10)[0])
