"""How congested each zone is, decided once for each minute: an index, and a level that neither flaps nor lingers.

A level rises when two of the last three minutes reach its threshold and falls when three in a row lie well below it.
What is shown and what is decided on are the same rounded numbers. Travel time indexes of roads with different free
flow cannot be compared with each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

import msgspec

from city_platform.traffic.state import BUCKETS, TrafficState
from city_platform.traffic.windows import PACE

MINUTE_MS = 60_000  # a decision window: six windows of the state
_REMEMBERED = 3  # minutes


class Level(StrEnum):
    """How congested a zone is; LEVELS has them in their order."""

    NORMAL = "normal"
    SLOW = "slow"
    CONGESTED = "congested"
    SEVERE = "severe"


LEVELS = tuple(Level)
# Highway Capacity Manual, urban streets: travel speed over free flow must be above this for A, B, … E; F is the rest.
# Editions differ in the first one, 0.85 here and 0.80 elsewhere.
Service: TypeAlias = Literal["A", "B", "C", "D", "E", "F"]
_SERVICE: Sequence[tuple[Service, float]] = (("A", 0.85), ("B", 0.67), ("C", 0.50), ("D", 0.40), ("E", 0.30))


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a zone's level changes. Indexes and margin 0..100, shares 0..1."""

    slow: float = 30.0
    congested: float = 50.0
    severe: float = 70.0
    margin: float = 15.0  # so much below its threshold a level is left
    rising: int = 2  # of the last three minutes that reach a threshold
    dwell_ms: int = 120_000  # a level stays at least so long
    coverage: float = 0.5  # of the active sensors that were heard; with less nothing is known
    vehicles: int = 5  # and with fewer of these

    def on(self, level: Level) -> float:
        """The index from which on a zone is at this level."""
        return {Level.SLOW: self.slow, Level.CONGESTED: self.congested, Level.SEVERE: self.severe}.get(level, 0.0)


class Figures(msgspec.Struct, array_like=True, frozen=True):
    """A zone's minute: sums of its windows (`pace` as windows.PACE), and how many of its active sensors were heard.

    `last_seq` is the highest sequence number in it, -1 where nothing was heard.
    """

    vehicles: int
    pace: int
    heard: int
    active: int
    free_flow_x10: int
    last_seq: int = -1

    @property
    def coverage(self) -> float:
        """Share of the active sensors that were heard, 0..1; 0 where none is active."""
        return min(1.0, self.heard / self.active) if self.active else 0.0

    @property
    def speed_kmh(self) -> float | None:
        """The vehicles' harmonic mean; None without vehicles."""
        return PACE * self.vehicles / self.pace / 10 if self.pace else None

    @property
    def ratio(self) -> float | None:
        """Speed over free flow."""
        speed = self.speed_kmh
        return None if speed is None or not self.free_flow_x10 else 10 * speed / self.free_flow_x10

    @property
    def index(self) -> float | None:
        """0 at free flow or faster, 100 where nothing moves; in tenths."""
        ratio = self.ratio
        return None if ratio is None else round(min(100.0, max(0.0, 100 * (1 - ratio))), 1)

    @property
    def tti(self) -> float | None:
        """Travel time index: travel time over that at free flow."""
        ratio = self.ratio
        return None if ratio is None else round(1 / ratio, 3)

    @property
    def service(self) -> Service | None:
        """The level of service, A to F."""
        ratio = self.ratio
        return None if ratio is None else next((name for name, above in _SERVICE if ratio > above), "F")

    def known(self, thresholds: Thresholds) -> bool:
        """Whether enough sensors and vehicles say something of the zone."""
        enough = self.coverage >= thresholds.coverage and self.vehicles >= thresholds.vehicles
        return enough and self.index is not None


def band(index: float, thresholds: Thresholds) -> Level:
    """The level that an index alone would give, whatever the zone was before."""
    return next(level for level in reversed(LEVELS) if index >= thresholds.on(level))


class ZoneLevel(msgspec.Struct, array_like=True, frozen=True):
    """A zone's level, since when (0: always), and the indexes of the newest minutes, None where they were not known.

    `told` is the level that people were last told; `figures` are those of the newest minute.
    """

    level: Level = Level.NORMAL
    since_ms: int = 0
    history: tuple[float | None, ...] = ()
    told: Level = Level.NORMAL
    figures: Figures | None = None

    @property
    def known(self) -> bool:
        """Whether the newest minute said anything: if not, the level is one of before."""
        return bool(self.history) and self.history[-1] is not None


class Congestion(msgspec.Struct, frozen=True):
    """The levels of a bucket's zones after the minute that ends at `judged_ms`: the record `congestion#07`."""

    judged_ms: int
    zones: dict[str, ZoneLevel]


def record_key(bucket: int) -> str:
    """The record that holds a bucket's levels."""
    return f"congestion#{bucket:02d}"


def levels(state: TrafficState) -> Congestion | None:
    """The levels of the whole city, as of the bucket that was judged longest ago; None before the first judgement."""
    records = [record for number in range(BUCKETS) if (record := state.record(record_key(number)))]
    found = [decode(record.body) for record in records]
    if not found:
        return None
    return Congestion(
        min(one.judged_ms for one in found), {zone: at for one in found for zone, at in one.zones.items()}
    )


def decode(body: bytes) -> Congestion:
    """A record's body."""
    return msgspec.json.decode(body, type=Congestion)


def encode(congestion: Congestion) -> bytes:
    return msgspec.json.encode(congestion)


def judge(before: Congestion | None, end_ms: int, minute: Mapping[str, Figures], thresholds: Thresholds) -> Congestion:
    """The levels after the minute that ends then. Where minutes were left out, what came before them counts no more."""
    follows = before is not None and before.judged_ms == end_ms - MINUTE_MS
    zones = {}
    for zone, figures in minute.items():
        last = before.zones.get(zone, ZoneLevel()) if before else ZoneLevel()
        if not follows:
            last = msgspec.structs.replace(last, history=())
        zones[zone] = after(last, end_ms, figures, thresholds)
    return Congestion(end_ms, zones)


def after(last: ZoneLevel, end_ms: int, figures: Figures, thresholds: Thresholds) -> ZoneLevel:
    """A zone after one more minute."""
    index = figures.index if figures.known(thresholds) else None
    history = (*last.history, index)[-_REMEMBERED:]
    level, since = last.level, last.since_ms
    if index is not None and end_ms - since >= thresholds.dwell_ms:
        level = _changed(level, history, thresholds)
    if level is not last.level:
        since = end_ms
    return ZoneLevel(level, since, history, last.told, figures)


def _changed(level: Level, history: Sequence[float | None], thresholds: Thresholds) -> Level:
    place = LEVELS.index(level)
    for higher in range(len(LEVELS) - 1, place, -1):
        reached = sum(one is not None and one >= thresholds.on(LEVELS[higher]) for one in history)
        if reached >= thresholds.rising:
            return LEVELS[higher]
    known = [one for one in history if one is not None]
    if len(known) == _REMEMBERED:
        while place and max(known) <= thresholds.on(LEVELS[place]) - thresholds.margin:
            place -= 1
    return LEVELS[place]
