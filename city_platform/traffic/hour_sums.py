"""A zone's windows of an hour added up: exact sums, and how many of its minutes were at which level."""

from collections.abc import Iterable
from typing import Self

import msgspec

from city_platform.traffic.congestion import MINUTE_MS, Figures, Level, Thresholds, band
from city_platform.traffic.state import WINDOW_MS

HOUR_MS = 3_600_000
_THRESHOLDS = Thresholds()


class Sums(msgspec.Struct, frozen=True):
    """What a history needs of one window or of several together; state and lake count alike (see state.Window).

    Of `windows` something was heard; `active` adds up the sensors that were heard in each.
    """

    start_ms: int
    windows: int
    readings: int
    vehicles: int
    pace: int
    occupancy: int
    occupancy_readings: int
    active: int


class LevelMinutes(msgspec.Struct, frozen=True):
    """How many minutes were at each level, by the band of their index alone; `unknown` where too little was heard."""

    normal: int = 0
    slow: int = 0
    congested: int = 0
    severe: int = 0
    unknown: int = 0

    def __add__(self, other: Self) -> "LevelMinutes":
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return LevelMinutes(*(one + more for one, more in pairs))


class HourSums(msgspec.Struct, frozen=True):
    """A zone's hour."""

    sums: Sums
    minutes: LevelMinutes


def level_minutes(windows: Iterable[Sums], first_ms: int, end_ms: int, free_flow_x10: int, active: int) -> LevelMinutes:
    """The minutes that begin in [first_ms, end_ms), a part of one at either end counting as one.

    `active` is how many of the zone's sensors are heard in ten seconds when all work. A minute is known where half of
    them were heard in its windows and five vehicles passed, as decisions have it (`congestion.Thresholds`).
    """
    by_minute: dict[int, tuple[int, int, int]] = {}
    for one in windows:
        minute = one.start_ms // MINUTE_MS
        vehicles, pace, heard = by_minute.get(minute, (0, 0, 0))
        by_minute[minute] = (vehicles + one.vehicles, pace + one.pace, heard + one.active)
    counts = dict.fromkeys(Level, 0)
    possible = active * (MINUTE_MS // WINDOW_MS)
    for vehicles, pace, heard in by_minute.values():
        figures = Figures(vehicles, pace, heard, possible, free_flow_x10)
        if figures.known(_THRESHOLDS) and figures.index is not None:
            counts[band(figures.index, _THRESHOLDS)] += 1
    minutes = max(len(by_minute), -(-end_ms // MINUTE_MS) - first_ms // MINUTE_MS)
    known = sum(counts.values())
    return LevelMinutes(**{level.value: count for level, count in counts.items()}, unknown=minutes - known)
