"""The heat map: of each zone the newest window that says enough, whatever of the city was read last.

A map costs sixteen queries at the most, as many as there are buckets of zones. The first ones, one bucket each, look
for the newest window that says enough: the open one, or the last, or with a stream that is behind one further back; the
others read that one. What was read is remembered, so a zone that falls silent keeps its last window, with its age.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from city_platform.traffic.congestion import Figures, Level, Thresholds, ZoneLevel, band
from city_platform.traffic.roads import Roads
from city_platform.traffic.state import BUCKETS, WINDOW_MS, TrafficState, Window, bucket
from city_platform.traffic.windows import CLOSING_MS, newest_ms

LOOKBACK = 6  # windows before the open one that are looked at
OLD_MS = 30_000  # a zone that was not heard for so long is shown as old
_ENOUGH = 0.5  # of the sensors that a zone had in its last whole window, and of the zones of a bucket
_OFTEN_MS = 2_000  # who reads so often has reads to spare for older windows
_AGAIN_MS = 5_000
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
        self._registry = roads.registry
        self._thresholds = thresholds or Thresholds()
        self._posted = roads.free_flow_x10
        self.expected = expected_sensors(roads)
        self._buckets = sorted({bucket(zone) for zone in roads.registry.zones})
        self._telling: dict[str, _Seen] = {}  # the newest window of each zone that says enough
        self._heard: dict[str, _Seen] = {}  # the newest in which anything was heard
        self._usual: dict[str, int] = {}  # sensors heard in the last window of each zone that was over
        self._read: dict[int, int] = {}  # when each start was read last
        self._turn = 0
        self._newest_ms: int | None = None  # when the newest windows were read last

    def read(self, state: TrafficState, now_ms: int) -> None:
        """Reads what can tell most, in BUCKETS queries at the most. Raises StateUnavailable."""
        opened = now_ms // WINDOW_MS * WINDOW_MS
        older = self._older(opened, now_ms)
        if older is not None or not self._read:
            # At first the last whole window: it has every zone, and is younger than ten seconds.
            start = opened - WINDOW_MS if older is None else older
            self._newest_ms = None
            self._add(start, state.city(start), now_ms)
            return
        order, trying = self._order(opened)
        for back in range(LOOKBACK + 1):
            start, place = opened - back * WINDOW_MS, back % trying
            tried = state.city(start, [order[place]])
            self._add(start, tried, now_ms)
            others = [*order[place + 1 :], *order[:place]][: BUCKETS - back - 1]
            if self._says_enough(tried, order[place]) if start == opened else tried:
                break
        else:
            start, others = opened - WINDOW_MS, order[: BUCKETS - LOOKBACK - 1]
        self._add(start, state.city(start, others), now_ms)
        self._newest_ms = now_ms

    def _order(self, opened: int) -> tuple[list[int], int]:
        """The buckets, another one first at each read, and how many of them are worth trying a window with: all, or
        those that come first, of which something was heard in the last minute.
        """
        recent = opened - LOOKBACK * WINDOW_MS
        alive = {bucket(zone) for zone, one in self._heard.items() if one.window.start_ms >= recent}
        self._turn = (self._turn + 1) % len(self._buckets)
        turned = [*self._buckets[self._turn :], *self._buckets[: self._turn]]
        return sorted(turned, key=lambda part: part not in alive), len(alive) or len(turned)

    def _older(self, opened: int, now_ms: int) -> int | None:
        """An older window to read in between: where zones are missing, each of the last minute until it has closed."""
        if self._newest_ms is None or not 0 <= now_ms - self._newest_ms <= _OFTEN_MS or not self._missing(opened):
            return None
        for start in range(opened - WINDOW_MS, opened - (LOOKBACK + 1) * WINDOW_MS, -WINDOW_MS):
            read = self._read.get(start, 0)
            if read < start + WINDOW_MS + CLOSING_MS and now_ms - read > _AGAIN_MS:
                return start
        return None

    def _says_enough(self, windows: Sequence[Window], part: int) -> bool:
        """Whether a bucket's windows, open as they are, have half of what half of its zones had in the last ones."""
        usual = {zone: sensors for zone, sensors in self._usual.items() if bucket(zone) == part}
        enough = sum(one.active >= _ENOUGH * usual.get(one.zone, 1) for one in windows)
        return enough > 0 and enough >= _ENOUGH * len(usual)

    def _add(self, start_ms: int, windows: Sequence[Window], now_ms: int) -> None:
        """Takes note of zones' windows of one start, as they were read."""
        self._read[start_ms] = now_ms
        for past in [start for start in self._read if start < start_ms - 2 * LOOKBACK * WINDOW_MS]:
            del self._read[past]
        for window in windows:
            place = self._registry.zone_index.get(window.zone)
            if place is None:  # the registry has another zone in its place since
                continue
            seen = self._seen(window, now_ms)
            _keep(self._heard, seen)
            over = start_ms + WINDOW_MS <= now_ms
            # On a quiet road vehicles take their time: an open window with too few says nothing yet.
            vehicles = over or window.vehicles >= self._thresholds.vehicles
            if vehicles and window.active >= self._thresholds.coverage * self.expected[place]:
                _keep(self._telling, seen)
            if over and self._heard[window.zone].window.start_ms <= start_ms + WINDOW_MS:
                self._usual[window.zone] = window.active

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

    def _missing(self, opened: int) -> bool:
        """Whether some zone has no window that says enough among those that may be read."""
        oldest = opened - LOOKBACK * WINDOW_MS
        there = sum(one.window.start_ms >= oldest for one in self._telling.values())
        return there < len(self._registry.zones)

    def _seen(self, window: Window, now_ms: int) -> _Seen:
        known = self._heard.get(window.zone)
        if known is not None and known.window.key == window.key and known.window.version == window.version:
            return _Seen(window, known.measured_ms, now_ms)
        return _Seen(window, newest_ms(window), now_ms)


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
