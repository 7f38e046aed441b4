"""Minutes of a small city for tests of what is decided and told: windows as the handler writes them."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from city_platform.ports import BusEvent, EventBusRefused, EventBusUnavailable
from city_platform.traffic.events import Told, bus_event, read
from city_platform.traffic.registry import Registry, generate
from city_platform.traffic.roads import generate_roads
from city_platform.traffic.state import WINDOW_MS, Event, Record, StateUnavailable, TrafficState
from city_platform.traffic.telemetry import Readings
from city_platform.traffic.telling import Teller
from city_platform.traffic.watch import JUDGED_AFTER_MS, Watch
from city_platform.traffic.windows import CityWindow, FirstOfEach, cells
from tests.traffic import Crash, Faults, MemoryState

CITY = generate(seed=11, sensors=60, zones=6)
START = 1_780_000_020_000  # the start of a minute
MINUTE_MS = 60_000


@cache
def free_flow_x10(registry: Registry) -> NDArray[np.int64]:
    return generate_roads(registry).free_flow_x10


@dataclass
class Clock:
    """Shows what it is set to, epoch ms."""

    now_ms: int = START

    def __call__(self) -> int:
        return self.now_ms


def end_of(minute: int) -> int:
    return START + (minute + 1) * MINUTE_MS


def due(minute: int) -> int:
    """When a minute is judged."""
    return end_of(minute) + JUDGED_AFTER_MS


def fill(
    state: TrafficState,
    minute: int,
    index: Mapping[str, float] | None = None,
    *,
    silent: Collection[int] = (),
    same: Collection[int] = (),
    until_ms: int = MINUTE_MS,
    delay_ms: int = 0,
    vehicles: int = 4,
    registry: Registry = CITY,
) -> None:
    """Writes a minute's six windows: every sensor but the silent ones says its zone's index, 0 where none is given.

    Sensors in `same` repeat themselves; readings end `until_ms` into the minute; `delay_ms` shifts their times back.
    """
    first = FirstOfEach(cells(registry))
    speeds = np.array(
        [
            max(10, round(free * (1 - (index or {}).get(zone, 0.0) / 100)))
            for zone, free in zip(registry.zones, free_flow_x10(registry).tolist(), strict=True)
        ]
    )
    start = START + minute * MINUTE_MS
    # Of sensors that speak each second, each fifth reading is enough.
    told = [
        (sensor, start + at - delay_ms)
        for sensor in range(len(registry))
        if sensor not in silent
        for at in range(sensor % 7 * 100, until_ms, max(int(registry.interval_s[sensor]) * 1000, 5_000))
    ]
    if not told:
        return
    sensors, ts = (np.array(column) for column in zip(*told, strict=True))
    wobble = np.where(np.isin(sensors, list(same)), 0, ts // 1000 % 23)
    count = len(told)
    none = np.full(count, -1, dtype=np.int64)
    readings = Readings(
        sensor=sensors.astype(np.int32),
        zone=none.astype(np.int32),
        seq=ts // 100,
        ts_ms=ts,
        interval_s=np.ones(count, dtype=np.int64),
        vehicle_count=np.full(count, vehicles, dtype=np.int64),
        speed_x10=speeds[registry.zone[sensors]] if vehicles else none,
        occupancy_x1000=100 + wobble,
        index_x1000=none,
        arrival_ms=ts,
        record=none,
        row=none,
    )
    for begins in np.unique(ts // WINDOW_MS * WINDOW_MS).tolist():
        city = CityWindow(registry, begins)
        stored = state.get([(name, begins) for name in registry.zones])
        for zone, name in enumerate(registry.zones):
            city.load(zone, stored.get((name, begins)))
        some = readings.take(ts // WINDOW_MS * WINDOW_MS == begins)
        city.count(some, first)
        zones = np.unique(registry.zone[some.sensor]).tolist()
        assert set(state.put(city.stored(zones, (), begins))) == {None}


def watching(state: TrafficState, clock: Callable[[], int], registry: Registry = CITY) -> Watch:
    teller = Teller(lambda zone: f"http://127.0.0.1:8000/traffic/zones/{zone}", 4)
    return Watch(registry, state, free_flow_x10(registry), teller, clock)


def told(events: Iterable[Event]) -> list[Told]:
    """What the events of an outbox say."""
    return [read(bus_event(event)) for event in events]


@dataclass
class FaultyState(MemoryState):
    """A state at whose commits, and at clearing its outbox, things go wrong as `coming` says.

    `rival` is what somebody else does just before a commit where it says "rival", or after a record is read where
    `reads` does; `commits` counts events of each one.
    """

    coming: Faults = field(default_factory=lambda: Faults([]))
    reads: Faults = field(default_factory=lambda: Faults([]))
    rival: Callable[[], object] = lambda: None
    commits: list[int] = field(default_factory=list)

    def over(self, other: MemoryState) -> "FaultyState":
        """The same things as another state, with faults of its own."""
        self.kept, self.records, self.waiting, self.told = other.kept, other.records, other.waiting, other.told
        return self

    def commit(self, records: Sequence[Record], events: Sequence[Event] = ()) -> None:
        self._wrong(lambda: MemoryState.commit(self, records, events))
        self.commits.append(len(events))

    def record(self, key: str) -> Record | None:
        found = super().record(key)
        if self.reads.next() == "rival":
            self.rival()
        return found

    def published(self, events: Sequence[Event]) -> None:
        self._wrong(lambda: MemoryState.published(self, events))

    def _wrong(self, act: Callable[[], None]) -> None:
        fault = self.coming.next()
        if fault == "crash before":
            raise Crash
        if fault == "lost":
            raise StateUnavailable("not written")
        if fault == "rival":
            self.rival()
        act()
        if fault == "crash after":
            raise Crash
        if fault == "unheard":
            raise StateUnavailable("written, but nobody heard")


@dataclass
class MemoryBus:
    """An EventBus that keeps what it took; `coming` says what goes wrong at each call."""

    taken: list[BusEvent] = field(default_factory=list)
    coming: Faults = field(default_factory=lambda: Faults([]))

    def publish(self, events: Sequence[BusEvent]) -> list[EventBusUnavailable | EventBusRefused | None]:
        fault = self.coming.next()
        if fault == "crash before":
            raise Crash
        if fault == "busy":
            return [EventBusUnavailable("busy")] * len(events)
        taken = list(events[: len(events) // 2] if fault == "half" else events)
        self.taken += taken
        if fault == "crash after":
            raise Crash
        if fault == "unheard":
            return [EventBusUnavailable("taken, but nobody heard")] * len(events)
        return [None if event in taken else EventBusUnavailable("busy") for event in events]
