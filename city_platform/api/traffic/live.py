"""The city's traffic as it was read last: one read of the state a second at the most, however many ask."""

import gzip
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from city_platform.crossing.related import Related, related
from city_platform.errors import TransientError
from city_platform.ports import Clock
from city_platform.traffic import congestion, free_flow, health
from city_platform.traffic.congestion import MINUTE_MS, Level, ZoneLevel
from city_platform.traffic.heat_map import OLD_MS, Newest, ZoneNow, expected_sensors
from city_platform.traffic.registry import Registry
from city_platform.traffic.roads import Roads, generate_roads
from city_platform.traffic.state import TrafficState

REFRESH_MS = 1_000  # what is younger is not read again
_PATIENCE_MS = 3_000  # nor does anybody wait for what is read just now, if what is there is younger than this
_RECORDS_MS = 15_000  # how long decided levels and measured free flow are believed; they change once a minute at most
_UNWATCHED_MS = 5 * MINUTE_MS  # levels that were decided before that are of a watcher that runs no more
_ANSWERS = 1_000  # kept of one second
_GZIP_FROM = 1_000  # bytes


class Status(StrEnum):
    """What the map as a whole says of now."""

    LIVE = "live"
    OLD = "old"  # nothing new for half a minute
    EMPTY = "empty"  # nothing was heard in the minutes that were looked at
    NONE = "none"  # no traffic runs in this deployment


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes to send, plain and packed, and their name."""

    body: bytes
    packed: bytes
    etag: str

    @classmethod
    def of(cls, body: bytes) -> "Answer":
        packed = gzip.compress(body, 5, mtime=0) if len(body) >= _GZIP_FROM else b""
        return cls(body, packed, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


@dataclass(slots=True)
class _Once:
    lock: threading.Lock = field(default_factory=threading.Lock)
    answer: Answer | None = None


@dataclass(frozen=True, eq=False)
class City:
    """All zones at one moment, and the answers that were made of them. `failing`: the state did not answer."""

    at_ms: int
    roads: Roads
    zones: Sequence[ZoneNow]
    expected: int  # sensors heard in ten seconds when all of them work
    running: bool
    failing: bool
    watched: bool  # levels are decided, and not the band of an index alone
    degraded: bool  # so many sensors are silent that it is the way of their readings that fails
    alerts: Mapping[str, ZoneLevel]  # zones of which people were told that they are not normal
    measured_free_flow: Mapping[str, int]  # tenths of km/h by zone, where it was
    related: Mapping[str, Sequence[Related]]  # public incidents by the zones that they have to do with
    _answers: dict[str, "_Once"] = field(default_factory=dict)

    def answer(self, name: str, made: Callable[[], bytes]) -> Answer:
        """The answer of that name, made by the first who asks; who asks meanwhile waits, and for this one only."""
        if len(self._answers) >= _ANSWERS and name not in self._answers:
            return Answer.of(made())
        once = self._answers.setdefault(name, _Once())
        with once.lock:
            if once.answer is None:
                once.answer = Answer.of(made())
            return once.answer

    def free_flow_x10(self, place: int) -> int:
        """Tenths of km/h, of a zone by its place in the registry."""
        measured = self.measured_free_flow.get(self.roads.registry.zones[place])
        return int(self.roads.free_flow_x10[place]) if measured is None else measured

    @cached_property
    def by_zone(self) -> Mapping[str, ZoneNow]:
        return {one.zone: one for one in self.zones}

    @property
    def newest_ms(self) -> int | None:
        """When the newest reading was measured, of all that were heard."""
        return max((one.measured_ms for one in self.zones), default=None)

    @property
    def age_s(self) -> float | None:
        return None if self.newest_ms is None else max(0.0, (self.at_ms - self.newest_ms) / 1000)

    @property
    def status(self) -> Status:
        if not self.running:
            return Status.NONE
        if self.newest_ms is None:
            return Status.EMPTY
        return Status.OLD if self.at_ms - self.newest_ms > OLD_MS else Status.LIVE

    @cached_property
    def coverage(self) -> float:
        """Share of the city's sensors that were heard within half a minute, 0..1."""
        heard = sum(min(one.figures.heard, one.figures.active) for one in self.zones if not one.old(self.at_ms))
        return heard / self.expected


@dataclass(frozen=True, slots=True)
class _Records:
    """What others write beside the windows: free flow where it was measured, levels where somebody watches."""

    read_ms: int
    free_flow: Mapping[str, int]
    levels: Mapping[str, ZoneLevel]
    degraded: bool


class Live:
    """Shared by all requests, safe between threads. Opens the state at the first question, once it is there."""

    def __init__(
        self,
        registry: Callable[[], Registry],
        find_state: Callable[[], TrafficState | None],
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._find_state = find_state
        self.clock = clock
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._opened: TrafficState | None = None
        self._city: City | None = None
        self._newest: Newest | None = None
        self._records: _Records | None = None
        self._related: tuple[int, Mapping[str, Sequence[Related]]] = 0, {}

    @cached_property
    def roads(self) -> Roads:
        """Raises IncompleteSettings where the environment names no registry."""
        return generate_roads(self._registry())

    @cached_property
    def expected(self) -> NDArray[np.int64]:
        """How many sensors of each zone are heard in ten seconds when all of them work."""
        return expected_sensors(self.roads)

    def state(self) -> TrafficState | None:
        """None while no traffic runs here."""
        with self._opening:
            if self._opened is None:
                self._opened = self._find_state()
            return self._opened

    def now_ms(self) -> int:
        return int(self.clock.now().timestamp() * 1000)

    def city(self) -> City:
        """At most a second old; where the state does not answer, what was read last, with its age."""
        now, city = self.now_ms(), self._city
        age = None if city is None else now - city.at_ms
        if city is not None and age is not None and 0 <= age < REFRESH_MS:
            return city
        waiting = city is None or age is None or not 0 <= age < _PATIENCE_MS
        if not self._lock.acquire(blocking=waiting) and city is not None:
            return city
        try:
            if self._city is None or self._city is city or not 0 <= now - self._city.at_ms < REFRESH_MS:
                self._city = self._read(now)
            return self._city
        finally:
            self._lock.release()

    def related(self) -> Mapping[str, Sequence[Related]]:
        """Public incidents by the zones that they have to do with; read again as seldom as what else is decided.

        Where the state does not answer, what was read last.
        """
        now, (read_ms, known) = self.now_ms(), self._related
        state = self.state()
        if state is None or 0 <= now - read_ms < _RECORDS_MS:
            return known
        try:
            public = {zone: [one for one in some if one.public] for zone, some in related(state, now).items()}
        except TransientError:
            return known
        self._related = now, {zone: some for zone, some in public.items() if some}
        return self._related[1]

    def _read(self, now: int) -> City:
        state = self.state()
        newest = self._newest = self._newest or Newest(self.roads)
        failing = False
        if state is not None:
            try:
                newest.read(state, now)
                if self._records is None or not 0 <= now - self._records.read_ms < _RECORDS_MS:
                    self._records = _records(state, self.roads, now)
            except TransientError:
                failing = True
        records = self._records or _Records(now, {}, {}, degraded=False)
        return City(
            at_ms=now,
            roads=self.roads,
            zones=newest.zones(records.free_flow, records.levels),
            expected=int(self.expected.sum()),
            running=state is not None,
            failing=failing,
            watched=bool(records.levels),
            degraded=records.degraded,
            alerts={zone: one for zone, one in records.levels.items() if one.told is not Level.NORMAL},
            measured_free_flow=records.free_flow,
            related=self.related(),
        )


def _records(state: TrafficState, roads: Roads, now_ms: int) -> _Records:
    levels, city = congestion.levels(state), health.read_city(state)
    recent = now_ms - _UNWATCHED_MS
    return _Records(
        read_ms=now_ms,
        free_flow=free_flow.kept(state, roads),
        levels=levels.zones if levels is not None and levels.judged_ms > recent else {},
        degraded=city is not None and city.degraded and city.judged_ms > recent,
    )
