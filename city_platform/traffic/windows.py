"""The window of all zones at once: columns over the registry's sensors, and a zone's slice of them as it is stored.

A reading counts where its bit was not set before. Each sensor has a base and 64 bits from it, one for each sequence
number; what falls outside is remembered one by one. Which readings were seen, every sum and the latest values depend
on the set of readings alone, not on their order, their batches or how often they came.
"""

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from city_platform.traffic.registry import Registry
from city_platform.traffic.state import KEEP_MS, WINDOW_MS, Window
from city_platform.traffic.telemetry import MISSING, Readings

PACE = 10_000_000  # harmonic mean speed in tenths of km/h = PACE * vehicles / pace
_SLOWEST_X10 = 10  # a standing vehicle counts as 1 km/h in the harmonic mean
CLOSING_MS = 10_000  # a window is closed this long after its end
LATENESS_MS = 60_000  # and takes late readings for this long after that
MAX_STRAYS = 4096  # readings outside the bits, of one zone in one window
_BITS = 64
_SLACK = 6  # bits left below the first sequence number, for those that come out of order
_NONE = np.iinfo(np.int64).max
_SUMS = (
    "readings", "vehicles", "vehicle_speed", "pace", "occupancy", "occupancy_readings", "index", "index_readings",
)  # fmt: skip
_LATEST = ("vehicle_count", "speed_x10", "occupancy_x1000", "index_x1000")
_Unsigned: TypeAlias = NDArray[np.uint64]
_HEAD = struct.Struct("<9BQq")  # bits a value in each column, the lowest number, the lowest base
_TIMES = 4  # the column of times
_STRAY = np.dtype([("number", "<i4"), ("seq", "<i8")])
_MILLI = 1000


@dataclass(frozen=True, eq=False)
class Sensors:
    """What a zone's window holds of each sensor that was heard in it, by number: which readings, and the latest one.

    `mask` has a bit for each sequence number from `base` on; `seq` is the latest, whose values are the others.
    """

    number: NDArray[np.int64]
    base: NDArray[np.int64]
    mask: NDArray[np.uint64]
    seq: NDArray[np.int64]
    ts_ms: NDArray[np.int64]
    vehicle_count: NDArray[np.int64]
    speed_x10: NDArray[np.int64]
    occupancy_x1000: NDArray[np.int64]
    index_x1000: NDArray[np.int64]


class CityWindow:
    """One window of the whole city. A zone is what was stored of it last, plus what was counted since."""

    def __init__(self, registry: Registry, start_ms: int) -> None:
        sensors, zones = len(registry), len(registry.zones)
        self._registry = registry
        self.start_ms = start_ms
        self.version = np.zeros(zones, dtype=np.int64)
        self._revision = np.zeros(zones, dtype=np.int64)
        self._base = np.full(sensors, _NONE, dtype=np.int64)
        self._mask = np.zeros(sensors, dtype=np.uint64)
        self._seq = np.full(sensors, -1, dtype=np.int64)
        self._ts = np.zeros(sensors, dtype=np.int64)
        self._latest = np.zeros((len(_LATEST), sensors), dtype=np.int64)
        self._sums = np.zeros((len(_SUMS), zones), dtype=np.int64)
        self._maxima = np.full((len(_LATEST), zones), MISSING, dtype=np.int64)
        self._strays: dict[int, set[tuple[int, int]]] = {}  # by zone: sensor and sequence number

    @property
    def heard(self) -> NDArray[np.int64]:
        """How many sensors of each zone were heard."""
        return np.bincount(self._registry.zone[self._base != _NONE], minlength=len(self._registry.zones))

    def count(self, readings: Readings, first: "FirstOfEach") -> "Counted":
        """Counts what was not counted before. All readings are this window's, of known sensors, and valid."""
        sensor, seq = readings.sensor.astype(np.intp), readings.seq
        unheard = self._base[sensor] == _NONE
        if unheard.any():
            np.minimum.at(self._base, sensor[unheard], seq[unheard] - _SLACK)
        offset = seq - self._base[sensor]
        near = (offset >= 0) & (offset < _BITS)
        bit = np.where(near, offset, 0).astype(np.uint64)
        fresh = np.flatnonzero(near & ((self._mask[sensor] >> bit) & np.uint64(1) == 0))
        counted = fresh[first(sensor[fresh] * _BITS + offset[fresh])]
        refused: list[int] = []
        if not near.all():
            stray, refused = self._count_strays(readings, np.flatnonzero(~near))
            counted = np.concatenate((counted, np.array(stray, dtype=np.int64)))
            inside = counted[: len(counted) - len(stray)]
        else:
            inside = counted
        # Bits are different ones, so adding them is setting them.
        np.add.at(self._mask, sensor[inside], np.uint64(1) << bit[inside])
        self._sum(readings, counted)
        self._remember_latest(readings, counted)
        return Counted(counted, np.array(refused, dtype=np.int64))

    def load(self, zone: int, stored: Window | None) -> None:
        """Makes a zone what is stored of it; None: nothing."""
        place = self._registry.sensors(zone)
        self._base[place], self._mask[place], self._seq[place] = _NONE, 0, -1
        self._strays.pop(zone, None)
        self.version[zone] = stored.version if stored else 0
        self._revision[zone] = stored.revision if stored else 0
        self._sums[:, zone] = [getattr(stored, name) for name in _SUMS] if stored else 0
        self._maxima[:, zone] = (
            (stored.max_vehicles, stored.max_speed_x10, stored.max_occupancy_x1000, stored.max_index_x1000)
            if stored
            else MISSING
        )
        if stored is None:
            return
        sensors = unpack_sensors(stored)
        index = self._registry.index_of(sensors.number)
        # A sensor that was moved to another zone since cannot be counted in this one again: its sums stay, no more.
        here = (index >= place.start) & (index < place.stop)
        index = index[here]
        self._base[index], self._mask[index], self._seq[index] = (
            sensors.base[here],
            sensors.mask[here],
            sensors.seq[here],
        )
        self._ts[index] = sensors.ts_ms[here]
        for row, name in enumerate(_LATEST):
            self._latest[row, index] = getattr(sensors, name)[here]
        if strays := unpack_strays(stored):
            by_number = self._registry.index_of(np.array([number for number, _ in strays], dtype=np.int64)).tolist()
            self._strays[zone] = {(one, seq) for one, (_, seq) in zip(by_number, strays, strict=True) if one >= 0}

    def stored(self, zones: Sequence[int], late: Iterable[int], now_ms: int) -> list[Window]:
        """The chosen zones, ascending, as they are to be stored next: one version on, and a revision where `late`."""
        registry, revised = self._registry, set(late)
        starts, lengths = registry.start[zones], np.diff(registry.start)[zones]
        place = np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
        place = place[self._base[place] != _NONE]
        ends = np.searchsorted(registry.zone[place], zones, side="right").tolist()
        packed = self._pack(place, [0, *ends])
        figures = np.concatenate((self._sums[:, zones], self._maxima[:, zones])).T.tolist()
        ttl = (self.start_ms + WINDOW_MS + KEEP_MS) // _MILLI
        windows = []
        for at, (zone, version, revision) in enumerate(
            zip(zones, self.version[zones].tolist(), self._revision[zones].tolist(), strict=True)
        ):
            named = registry.zones[zone], self.start_ms, version + 1, revision + (zone in revised)
            values: Any = (*named, *figures[at], *packed[at], self._pack_strays(zone), now_ms, ttl)
            windows.append(Window(*values))
        return windows

    def written(self, zone: int, window: Window) -> None:
        """Takes note that the store has this version now."""
        self.version[zone], self._revision[zone] = window.version, window.revision

    def _count_strays(self, readings: Readings, rows: NDArray[np.int64]) -> tuple[list[int], list[int]]:
        counted, refused = [], []
        zones = self._registry.zone
        for row in rows.tolist():
            sensor = int(readings.sensor[row])
            seen = self._strays.setdefault(int(zones[sensor]), set())
            identity = (sensor, int(readings.seq[row]))
            if identity in seen:
                continue
            if len(seen) >= MAX_STRAYS:
                refused.append(row)
                continue
            seen.add(identity)
            counted.append(row)
        return counted, refused

    def _sum(self, readings: Readings, rows: NDArray[np.int64]) -> None:
        zone = self._registry.zone[readings.sensor[rows]].astype(np.intp)
        vehicles, speed = readings.vehicle_count[rows], readings.speed_x10[rows]
        occupancy, index = readings.occupancy_x1000[rows], readings.index_x1000[rows]
        slowness = np.maximum(speed, _SLOWEST_X10)
        with_occupancy, with_index = occupancy != MISSING, index != MISSING
        values = (
            1,
            vehicles,
            vehicles * np.maximum(speed, 0),
            (vehicles * PACE + slowness // 2) // slowness,
            occupancy * with_occupancy,
            with_occupancy.astype(np.int64),
            index * with_index,
            with_index.astype(np.int64),
        )
        for total, value in zip(self._sums, values, strict=True):
            np.add.at(total, zone, value)
        for maximum, value in zip(self._maxima, (vehicles, speed, occupancy, index), strict=True):
            np.maximum.at(maximum, zone, value)

    def _remember_latest(self, readings: Readings, rows: NDArray[np.int64]) -> None:
        sensor, seq = readings.sensor[rows].astype(np.intp), readings.seq[rows]
        np.maximum.at(self._seq, sensor, seq)
        newest = self._seq[sensor] == seq
        rows, sensor = rows[newest], sensor[newest]
        self._ts[sensor] = readings.ts_ms[rows]
        for latest, name in zip(self._latest, _LATEST, strict=True):
            latest[sensor] = getattr(readings, name)[rows]

    def _pack(self, place: NDArray[np.int64], bounds: Sequence[int]) -> list[tuple[int, bytes]]:
        """For each zone between two bounds: how many sensors were heard, and all that is kept of them."""
        number = self._registry.number[place].astype(np.int64)
        base, seq = self._base[place], self._seq[place]
        starts, lengths = np.array(bounds[:-1]), np.diff(bounds)
        lowest_number = np.minimum.reduceat(number, starts)
        lowest_base = np.minimum.reduceat(base, starts)
        columns = (
            number - np.repeat(lowest_number, lengths),
            base - np.repeat(lowest_base, lengths),
            self._mask[place],
            seq - base,
            self._ts[place] - self.start_ms,
            *(self._latest[:, place] + 1),
        )
        widths, words = _together([column.astype(np.uint64) for column in columns])
        return [
            (
                stop - start,
                b"".join((_HEAD.pack(*widths, number0, base0), *(word[start:stop].tobytes() for word in words))),
            )
            for start, stop, number0, base0 in zip(
                bounds[:-1], bounds[1:], lowest_number.tolist(), lowest_base.tolist(), strict=True
            )
        ]

    def _pack_strays(self, zone: int) -> bytes:
        strays = self._strays.get(zone)
        if not strays:
            return b""
        number = self._registry.number
        return zlib.compress(np.array(sorted((int(number[at]), seq) for at, seq in strays), dtype=_STRAY).tobytes(), 1)


class FirstOfEach:
    """Finds the first of equal cells in time linear in their number; cells are below `cells`."""

    def __init__(self, cells: int) -> None:
        self._place = np.empty(cells, dtype=np.int32)

    def __call__(self, cells: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which cells were not there before in `cells`."""
        order = np.arange(len(cells), dtype=np.int32)
        # Written backwards, so that of equal cells the first one's place is what remains.
        self._place[cells[::-1]] = order[::-1]
        return np.asarray(self._place[cells] == order)


@dataclass(frozen=True, eq=False)
class Counted:
    """Which of a batch's readings were counted, and which were refused for being too many; the others came before."""

    rows: NDArray[np.int64]
    refused: NDArray[np.int64]


def cells(registry: Registry) -> int:
    """How many different cells a FirstOfEach for this registry meets."""
    return len(registry) * _BITS


def unpack_sensors(window: Window) -> Sensors:
    """What `sensors` of a stored window says."""
    *widths, number0, base0 = _HEAD.unpack_from(window.sensors)
    number, base, mask, seq, ts, *latest = _apart(widths, window.sensors[_HEAD.size :], window.active)
    bases = base.astype(np.int64) + base0
    return Sensors(
        number.astype(np.int64) + number0,
        bases,
        mask,
        bases + seq.astype(np.int64),
        ts.astype(np.int64) + window.start_ms,
        *(column.astype(np.int64) - 1 for column in latest),
    )


def newest_ms(window: Window) -> int:
    """When the newest of a stored window's latest readings was measured; its start where it has none."""
    *widths, _, _ = _HEAD.unpack_from(window.sensors)
    times = _apart(widths, window.sensors[_HEAD.size :], window.active, _TIMES)[_TIMES]
    return window.start_ms + int(times.max(initial=0))


def unpack_strays(window: Window) -> list[tuple[int, int]]:
    """The readings of a stored window that fell outside the bits, as number of the sensor and sequence number."""
    if not window.strays:
        return []
    return [(number, seq) for number, seq in np.frombuffer(zlib.decompress(window.strays), dtype=_STRAY).tolist()]


def _together(columns: Sequence[_Unsigned]) -> tuple[list[int], list[NDArray[np.uint8]]]:
    """Columns side by side, each in as many bits as its largest value needs; the bits, and words of a few bytes a row.

    Half the size of their values in bytes, three quarters of what zlib makes of those, in a twentieth of its time.
    """
    widths = [int(column.max(initial=0)).bit_length() for column in columns]
    words = []
    for shared in _shared_words(widths):
        word = np.zeros(len(columns[0]), dtype="<u8")
        for column, shift in shared:
            word |= columns[column] << np.uint64(shift)
        words.append(word.view(np.uint8).reshape(-1, 8)[:, : _bytes(widths, shared)])
    return widths, words


def _apart(widths: Sequence[int], data: bytes, count: int, only: int | None = None) -> list[_Unsigned]:
    """The columns that `_together` put side by side, of `count` rows; with `only`, that one, and the others empty."""
    columns = [np.zeros(count if only in {None, column} else 0, dtype=np.uint64) for column in range(len(widths))]
    at = 0
    for shared in _shared_words(widths):
        width = _bytes(widths, shared)
        if only is not None and only not in {column for column, _ in shared}:
            at += width * count
            continue
        whole = np.zeros((count, 8), dtype=np.uint8)
        whole[:, :width] = np.frombuffer(data, dtype=np.uint8, count=width * count, offset=at).reshape(count, width)
        at += width * count
        word = whole.view("<u8").reshape(count).astype(np.uint64)
        for column, shift in shared:
            if only in {None, column}:
                columns[column] = (word >> np.uint64(shift)) & np.uint64((1 << widths[column]) - 1)
    return columns


def _shared_words(widths: Sequence[int]) -> list[list[tuple[int, int]]]:
    """Which columns share a word of 64 bits, each with the bit it starts at."""
    words: list[list[tuple[int, int]]] = []
    free = 0
    for column, width in enumerate(widths):
        if width > free or not words:
            words.append([])
            free = _BITS
        words[-1].append((column, _BITS - free))
        free -= width
    return words


def _bytes(widths: Sequence[int], shared: Sequence[tuple[int, int]]) -> int:
    column, shift = shared[-1]
    return (shift + widths[column] + 7) // 8
