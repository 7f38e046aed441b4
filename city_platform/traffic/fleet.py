"""What every sensor of the city measures at a time: the same readings of the same second, whoever asks and when.

Vehicles follow the hour of the city's day, speeds the segment's posted limit and how full the road is; in some zones an
incident jams the roads for a while; some sensors fall silent and some are stuck at one value. Every second's chance is
drawn from the seed and the second alone. Sensors report evenly: at a rate below one a second each, each second has its
share of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from city_platform.traffic.registry import SEED, Registry, sensor_id
from city_platform.traffic.roads import Roads
from city_platform.traffic.telemetry import MAX_INTERVAL_S, MAX_SPEED_X10, MISSING, Reading, Readings, joined

CITY_ZONE = "America/Vancouver"
JAMMED = 0.02  # share of zones in which an incident begins, of each spell
SILENT = 0.003  # share of sensors that say nothing during a spell
STUCK = 0.002  # share of sensors that say the same again and again
SPELL_S = 1800
_SHORTEST_S, _LONGEST_S = 600, 1500  # an incident ends within the spell it begins in or the next
_WORKING = (2, 1, 1, 1, 2, 5, 12, 20, 22, 17, 15, 15, 16, 16, 18, 22, 24, 23, 17, 12, 9, 7, 5, 3)  # of a day's traffic
_WEEKEND = (4, 3, 2, 2, 2, 2, 4, 6, 9, 13, 16, 18, 19, 19, 19, 18, 17, 16, 14, 12, 9, 8, 7, 5)
_BUSIEST = 24
_SATURDAY = 5
_CAPACITY_A_LANE = 1800.0  # vehicles an hour
_VEHICLE_M = 6.0  # what a vehicle and the loop it crosses are long
_BLOCKED = 0.25  # of the speed, in a jam
_SPELLS, _SENDING = 1 << 62, 1 << 61  # their numbers begin above those of seconds
_MS = 1000
_LATEST_S = 30  # a late reading comes at most this much later


@dataclass(frozen=True, eq=False)
class _Spell:
    """What goes wrong in a half hour: when each zone's incident begins and ends (seconds, 0 where none), which sensors
    are silent or stuck."""

    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    silent: NDArray[np.bool_]
    stuck: NDArray[np.bool_]


class Fleet:
    """The sensors at the places of `sensors` in the registry, `rate` readings a second of all of them together.

    Raises ValueError for a rate that would have a sensor report more than once a second, or not within the longest
    interval a reading may have.
    """

    def __init__(self, roads: Roads, sensors: int, rate: int, seed: int = SEED) -> None:
        registry = roads.registry
        if not 1 <= sensors <= len(registry):
            raise ValueError(f"there are {len(registry):,} sensors, not {sensors:,}")
        slowest = -(-sensors // MAX_INTERVAL_S)
        if not slowest <= rate <= sensors:
            raise ValueError(
                f"{sensors:,} sensors make {slowest:,} to {sensors:,} readings a second, not {rate:,}: each reports "
                f"every 1 to {MAX_INTERVAL_S} seconds"
            )
        self.roads = roads
        self.registry = registry
        self.rate = rate
        self._seed = seed
        # Spread over the registry, so that no zone is left out.
        self._sensors = np.arange(sensors) * len(registry) // sensors
        draw = _chance(seed, 0)
        self._place = draw.permutation(sensors)
        self._offset_ms = draw.integers(0, _MS, sensors)
        segment = roads.sensor_segment[self._sensors]
        self._free_kmh = roads.posted_kmh[segment] * draw.uniform(0.9, 1.1, sensors)
        self._lanes = roads.lanes[segment].astype(np.float64)
        self._busy = draw.uniform(0.2, 0.95, sensors)  # of its capacity in the busiest hour
        self._interval_s = max(1, round(sensors / rate))
        self._city = ZoneInfo(CITY_ZONE)
        self._spell = lru_cache(4)(self._drawn_spell)
        self._flow = lru_cache(4)(self._drawn_flow)  # a spell's first second is asked for again and again

    def __len__(self) -> int:
        return len(self._sensors)

    def measured(self, second: int) -> Readings:
        """The readings of a second since the epoch, by sensor. `record` and `row` are zero, `arrival_ms` the second."""
        due = np.flatnonzero((second * self.rate + self._place) % len(self) >= len(self) - self.rate)
        spell = self._spell(second // SPELL_S)
        due = due[~spell.silent[due]]
        vehicles, speed_kmh = self._flow(second)
        if spell.stuck.any():
            at_first, speed_at_first = self._flow(second // SPELL_S * SPELL_S)
            vehicles = np.where(spell.stuck, np.maximum(at_first, 1), vehicles)
            speed_kmh = np.where(spell.stuck, speed_at_first, speed_kmh)
        vehicles, speed_kmh = vehicles[due], speed_kmh[due]
        sensor = self._sensors[due].astype(np.int32)
        speed_x10 = np.clip(np.rint(speed_kmh * 10), 10, MAX_SPEED_X10).astype(np.int64)
        seconds_over = vehicles * _VEHICLE_M / (speed_x10 / 36.0) / self._lanes[due]
        index = np.rint(1000 * np.clip(1 - speed_kmh / self._free_kmh[due], 0, 1)).astype(np.int64)
        empty = vehicles == 0
        nothing = np.zeros(len(due), dtype=np.int64)
        return Readings(
            sensor=sensor,
            zone=self.registry.zone[sensor],
            # The sensor's clock: it never goes back to zero, and no second has it twice.
            seq=np.full(len(due), second, dtype=np.int64),
            ts_ms=second * _MS + self._offset_ms[due],
            interval_s=np.full(len(due), self._interval_s, dtype=np.int64),
            vehicle_count=vehicles,
            speed_x10=np.where(empty, MISSING, speed_x10),
            occupancy_x1000=np.rint(1000 * np.clip(seconds_over / self._interval_s, 0, 1)).astype(np.int64),
            index_x1000=np.where(empty, 0, index) * np.where(self.registry.percent[sensor], 100, 1),
            arrival_ms=np.full(len(due), second * _MS, dtype=np.int64),
            record=nothing,
            row=nothing,
        )

    def jammed(self, second: int) -> NDArray[np.bool_]:
        """Which zones an incident jams in that second."""
        spells = (self._spell(second // SPELL_S), self._spell(second // SPELL_S - 1))
        first, second_ = ((spell.begins <= second) & (second < spell.ends) for spell in spells)
        return np.asarray(first | second_)

    def _drawn_flow(self, second: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Vehicles within the interval that ends in that second, and their mean speed in km/h, for every sensor."""
        draw = _chance(self._seed, second)
        jammed = self.jammed(second)[self.registry.zone[self._sensors]]
        load = self._busy * _share_of_day(datetime.fromtimestamp(second, self._city))
        a_second = load * self._lanes * _CAPACITY_A_LANE / 3600 * np.where(jammed, 0.5, 1.0)
        vehicles = draw.poisson(a_second * self._interval_s)
        # The curve of the Bureau of Public Roads: speeds fall slowly, then fast, as the road fills.
        speed = self._free_kmh / (1 + 0.15 * load**4) * np.where(jammed, _BLOCKED, 1.0)
        return vehicles, speed * np.clip(draw.normal(1, 0.06, len(self)), 0.7, 1.3)

    def _drawn_spell(self, number: int) -> _Spell:
        draw = _chance(self._seed, _SPELLS + number)
        zones = len(self.registry.zones)
        begins = number * SPELL_S + draw.integers(0, SPELL_S, zones)
        lasts = draw.integers(_SHORTEST_S, _LONGEST_S, zones)
        happens = draw.random(zones) < JAMMED
        fate = draw.random(len(self))
        return _Spell(
            begins=np.where(happens, begins, 0),
            ends=np.where(happens, begins + lasts, 0),
            silent=fate < SILENT,
            stuck=(fate >= SILENT) & (fate < SILENT + STUCK),
        )


def _chance(seed: int, what: int) -> np.random.Generator:
    """Chance of its own for a second, a spell or whatever has a number."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, what], dtype=np.uint64)))


def _share_of_day(local: datetime) -> float:
    """How busy a time is, 1 in the busiest hour; between two hours it goes straight from one to the other."""
    hours = _WEEKEND if local.weekday() >= _SATURDAY else _WORKING
    into = (local.minute * 60 + local.second) / 3600
    return ((1 - into) * hours[local.hour] + into * hours[(local.hour + 1) % 24]) / _BUSIEST


@dataclass(slots=True)
class Transmission:
    """What is sent each second: its readings, but that some come late and some come twice, by the shares given."""

    duplicates: float = 0.0
    late: float = 0.0
    seed: int = SEED
    _due: dict[int, list[Readings]] = field(default_factory=dict)  # by second

    def sent(self, second: int, readings: Readings) -> Readings:
        """What is sent in a second, of what is measured in it; seconds come one after the other."""
        parts = self._due.pop(second, [])
        if self.late or self.duplicates:
            draw = _chance(self.seed, _SENDING + second)
            delay = np.where(draw.random(len(readings)) < self.late, draw.integers(1, _LATEST_S + 1, len(readings)), 0)
            for seconds in np.unique(delay[delay > 0]).tolist():
                self._due.setdefault(second + seconds, []).append(readings.take(delay == seconds))
            again = draw.random(len(readings)) < self.duplicates
            self._due.setdefault(second + 1, []).append(readings.take(again & (delay == 0)))
            readings = readings.take(delay == 0)
        return joined([readings, *parts])

    def rest(self) -> Readings | None:
        """What is still to come after the last second."""
        parts = [part for second in sorted(self._due) for part in self._due[second]]
        self._due.clear()
        return joined(parts) if parts else None


def by_zone(readings: Readings) -> Iterator[tuple[int, Readings]]:
    """The readings of each zone, by its place in the registry, in their order."""
    order = np.argsort(readings.zone, kind="stable")
    zones = readings.zone[order]
    bounds = np.flatnonzero(np.diff(zones)) + 1
    for rows in np.split(order, bounds) if len(order) else ():
        yield int(readings.zone[rows[0]]), readings.take(rows)


def messages(readings: Readings, registry: Registry) -> Iterator[tuple[str, bytes]]:
    """Each reading as a single message, with its sensor's id."""
    columns = (readings.seq, readings.ts_ms, readings.vehicle_count, readings.speed_x10, readings.index_x1000,
               readings.occupancy_x1000, readings.interval_s)  # fmt: skip
    encode = msgspec.json.Encoder().encode
    numbers, zones = registry.number[readings.sensor].tolist(), readings.zone.tolist()
    for number, zone, seq, ts, vehicles, speed, index, occupancy, interval in zip(
        numbers, zones, *(column.tolist() for column in columns), strict=True
    ):
        name = sensor_id(number)
        kmh = None if speed == MISSING else speed / 10
        yield (
            name,
            encode(
                Reading(name, seq, ts, vehicles, kmh, index / 1000, registry.zones[zone], occupancy / 1000, interval)
            ),
        )
