"""The heat map: of each zone the newest window that says enough, whatever of the city was read last.

A map costs one question for the city at one time, sixteen queries at the most. What was read before is remembered, so
a window that has only begun leaves a zone with the one before, and a zone that fell silent keeps its last window, with
its age.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from city_platform.traffic.congestion import LEVELS, Figures, Level, Thresholds, ZoneLevel
from city_platform.traffic.roads import Roads
from city_platform.traffic.state import WINDOW_MS, Window
from city_platform.traffic.windows import CLOSING_MS, unpack_sensors

SETTLING_MS = 3_000  # a window that began less than this before says too little to be worth reading
LOOKBACK = 6  # windows before the newest that are read where zones are missing
OLD_MS = 30_000  # a zone that was not heard for so long is shown as old
_FRESH_MS = 2_000  # the newest window was read so shortly before that there is time to look further back
_HOUR_MS = 3_600_000


class ZoneNow(msgspec.Struct, frozen=True):
    """A zone's row of the map.

    `level` is None where coverage or vehicles are too few to say; `since_ms` since when it was decided to be so, None
    where nobody watches and it is the band of the index alone. `vehicles_per_hour` counts at all of the zone's sensors
    together. `final` is false while its window still takes readings on time. Times in epoch ms.
    """

    zone: str
    figures: Figures
    level: Level | None
    since_ms: int | None
    start_ms: int
    measured_ms: int  # when the newest of its readings was measured
    vehicles_per_hour: int
    readings: int
    revision: int
    final: bool

    @property
    def known(self) -> bool:
        return self.level is not None

    def age_s(self, now_ms: int) -> float:
        """Seconds since the newest reading was measured; sensors' clocks may run ahead, ages do not."""
        return max(0.0, (now_ms - self.measured_ms) / 1000)

    def old(self, now_ms: int) -> bool:
        """Whether this is of the past rather than of now."""
        return now_ms - self.measured_ms > OLD_MS


@dataclass(frozen=True, slots=True)
class _Seen:
    """A zone's window as it was read, and what is costly to find in it."""

    window: Window
    measured_ms: int
    read_ms: int


class Newest:
    """What was read of the city's last minutes, zone by zone. Not for use by two threads at once."""

    def __init__(self, roads: Roads, thresholds: Thresholds | None = None) -> None:
        self._thresholds = thresholds or Thresholds()
        self._registry = roads.registry
        self.expected = expected_sensors(roads)
        self._posted = roads.free_flow_x10
        self._telling: dict[str, _Seen] = {}  # the newest window of each zone that says enough
        self._heard: dict[str, _Seen] = {}  # the newest in which anything was heard
        self._read: dict[int, int] = {}  # when each start was read last
        self._last: int | None = None

    def next_start(self, now_ms: int) -> int:
        """Which window of the city to read now.

        It is the newest that began three seconds ago or earlier. Where zones are missing (after a start, or because
        the stream is behind), every second time an older one of the last minute, until each was read once it closed.
        """
        newest = (now_ms - SETTLING_MS) // WINDOW_MS * WINDOW_MS
        if self._last != newest or not self._missing(newest):
            return newest
        if now_ms - self._read[newest] > _FRESH_MS and self._says_something(newest):
            return newest
        older = [newest - back * WINDOW_MS for back in range(1, LOOKBACK + 1)]
        due = [start for start in older if self._read.get(start, -1) < start + WINDOW_MS + CLOSING_MS]
        return min(due, key=lambda start: (self._read.get(start, -1), -start), default=newest)

    def add(self, start_ms: int, windows: Sequence[Window], now_ms: int) -> None:
        """Takes note of all zones' windows of one start, as they were read."""
        self._last = start_ms
        self._read[start_ms] = now_ms
        for past in [start for start in self._read if start < start_ms - 2 * LOOKBACK * WINDOW_MS]:
            del self._read[past]
        zones = self._registry.zone_index
        for window in windows:
            place = zones.get(window.zone)
            if place is None:  # the registry has another zone in its place since
                continue
            seen = self._seen(window, now_ms)
            _keep(self._heard, seen)
            if window.active >= self._thresholds.coverage * self.expected[place]:
                _keep(self._telling, seen)

    def zones(
        self, free_flow_x10: Mapping[str, int] | None = None, levels: Mapping[str, ZoneLevel] | None = None
    ) -> Sequence[ZoneNow]:
        """A row for each zone of which anything was heard, in the registry's order.

        `free_flow_x10` is what was measured, tenths of km/h by zone, where it was; `levels` what was decided.
        """
        return [
            self._row(place, seen, (free_flow_x10 or {}).get(zone), (levels or {}).get(zone))
            for place, zone in enumerate(self._registry.zones)
            if (seen := self._shown(zone)) is not None
        ]

    def _shown(self, zone: str) -> _Seen | None:
        heard, telling = self._heard.get(zone), self._telling.get(zone)
        if heard is None or telling is None:
            return heard
        # A zone most of whose sensors have been silent for a minute has become unknown; it is not as it was.
        recent = heard.window.start_ms - telling.window.start_ms <= LOOKBACK * WINDOW_MS
        return telling if recent else heard

    def _row(self, place: int, seen: _Seen, free_flow_x10: int | None, decided: ZoneLevel | None) -> ZoneNow:
        window = seen.window
        figures = Figures(
            vehicles=window.vehicles,
            pace=window.pace,
            heard=window.active,
            active=int(self.expected[place]),
            free_flow_x10=int(self._posted[place]) if free_flow_x10 is None else free_flow_x10,
        )
        level, since = None, None
        if figures.known(self._thresholds) and figures.index is not None:
            level = decided.level if decided else band(figures.index, self._thresholds)
            since = decided.since_ms if decided else None
        final = seen.read_ms >= window.start_ms + WINDOW_MS + CLOSING_MS
        counted_ms = WINDOW_MS if final else min(WINDOW_MS, max(1000, seen.measured_ms + 1000 - window.start_ms))
        return ZoneNow(
            zone=window.zone,
            figures=figures,
            level=level,
            since_ms=since,
            start_ms=window.start_ms,
            measured_ms=seen.measured_ms,
            vehicles_per_hour=round(window.vehicles * _HOUR_MS / counted_ms),
            readings=window.readings,
            revision=window.revision,
            final=final,
        )

    def _missing(self, newest: int) -> bool:
        """Whether some zone has no window that says enough among those that may be read."""
        oldest = newest - LOOKBACK * WINDOW_MS
        there = sum(one.window.start_ms >= oldest for one in self._telling.values())
        return there < len(self._registry.zones)

    def _says_something(self, start_ms: int) -> bool:
        return any(one.window.start_ms == start_ms for one in self._telling.values())

    def _seen(self, window: Window, now_ms: int) -> _Seen:
        known = self._heard.get(window.zone)
        if known is not None and known.window.key == window.key and known.window.version == window.version:
            return _Seen(window, known.measured_ms, now_ms)
        return _Seen(window, int(unpack_sensors(window).ts_ms.max(initial=window.start_ms)), now_ms)


def band(index: float, thresholds: Thresholds) -> Level:
    """The level that an index alone would give, whatever the zone was before."""
    return next(level for level in reversed(LEVELS) if index >= thresholds.on(level))


def expected_sensors(roads: Roads) -> NDArray[np.int64]:
    """How many of each zone's sensors are heard in ten seconds when all of them work; one at least."""
    registry = roads.registry
    shares = np.minimum(1.0, WINDOW_MS / 1000 / registry.interval_s)
    return np.maximum(1, np.rint(np.bincount(registry.zone, shares, len(registry.zones)))).astype(np.int64)


def _keep(kept: dict[str, _Seen], seen: _Seen) -> None:
    """Keeps the newest window, and of one window what was read last."""
    known = kept.get(seen.window.zone)
    if known is None or known.window.start_ms <= seen.window.start_ms:
        kept[seen.window.zone] = seen
