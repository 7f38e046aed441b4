"""How each sensor is, from what it measured and never from its connection; and when many fail at once, of what.

Judged once for each minute, from the same six windows as congestion. Windows do not say when a reading came, so a
sensor's silence is how far it fell behind: whoever is always late is `late`, whoever stops is `silent`. Sensors of a
bucket stand side by side in columns.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from city_platform.traffic.congestion import MINUTE_MS
from city_platform.traffic.state import TrafficState

Times: TypeAlias = NDArray[np.int64]  # epoch ms; 0: never


class Health(StrEnum):
    """How a sensor is; of several that hold, the one that HEALTHS has last."""

    UNHEARD = "unheard"  # never since it was registered
    OK = "ok"
    LATE = "late"  # its readings come, but after their windows have closed
    STUCK = "stuck"  # says the same again and again
    IMPLAUSIBLE = "implausible"  # says what no road can carry
    SILENT = "silent"
    CLOCK_DRIFT = "clock_drift"  # its clock is so far off that its readings are refused
    MAINTENANCE = "maintenance"  # somebody works on it


HEALTHS = tuple(Health)
_CODE = {health: code for code, health in enumerate(HEALTHS)}
FAULTS = (Health.STUCK, Health.IMPLAUSIBLE, Health.SILENT, Health.CLOCK_DRIFT)  # what people are told
_FAULT_CODES = [_CODE[fault] for fault in FAULTS]


@dataclass(frozen=True, slots=True)
class Limits:
    """When a sensor counts as failed, and when many do. Shares 0..1."""

    silent_intervals: int = 3
    silent_ms: int = 30_000  # and at least so long
    grace_ms: int = 120_000  # after its first reading a sensor is not silent for so long
    stuck: int = 10  # readings that say the same, each at least an interval after the one before
    implausible: int = 5  # in a row; as many plausible ones end it
    drifting_intervals: int = 6  # within which five readings were refused for their time, and none counted
    drifting_ms: int = 600_000  # and at least so long
    zone_share: float = 0.5  # of a zone's active sensors silent: the zone has lost its coverage …
    zone_minutes: int = 2  # … when it was so for so many minutes
    city_share: float = 0.3  # of the city's: it is not the sensors, but what their readings go through
    shard_share: float = 0.9  # of a shard's: it is read late. Sensors that speak once a minute are silent later …
    shard_zones: int = 8  # … and a shard of fewer zones may be silent with them
    recovery: float = 0.1  # a share must fall so much below before all is well again


@dataclass(frozen=True, eq=False)
class Sensors:
    """A bucket's sensors as columns: what is known of each, and what was told.

    `health` and `told` are places in HEALTHS, `since` when the health began and `told_since` when the fault that was
    told did. `first` and `last` are the times of readings, `heard` when the last one is thought to have come; `same`
    and `odd` count identical and implausible readings, `value` is what the last one said.
    """

    number: NDArray[np.int32]
    health: NDArray[np.uint8]
    told: NDArray[np.uint8]
    same: NDArray[np.uint8]
    odd: NDArray[np.uint8]
    first: Times
    last: Times
    heard: Times
    since: Times
    told_since: Times
    value: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.number)

    def is_(self, *healths: Health) -> NDArray[np.bool_]:
        """Which sensors are one of these."""
        return np.isin(self.health, [_CODE[health] for health in healths])


@dataclass(frozen=True, eq=False)
class Observed:
    """The latest reading of each sensor that was heard in one window; `at` is its place in the columns, once each."""

    at: NDArray[np.int64]
    ts_ms: Times
    vehicle_count: NDArray[np.int64]
    speed_x10: NDArray[np.int64]
    occupancy_x1000: NDArray[np.int64]
    index_x1000: NDArray[np.int64]


class ZoneCoverage(msgspec.Struct, array_like=True, frozen=True):
    """A zone's silent and active sensors, for how many minutes too many were silent, whether its coverage is lost.

    `since_ms` is when the first of these minutes began; `told` what people were last told.
    """

    silent: int = 0
    active: int = 0
    minutes: int = 0
    lost: bool = False
    since_ms: int = 0
    told: bool = False
    told_since_ms: int = 0

    @property
    def suppresses(self) -> bool:
        """Whether its sensors' silence is the zone's, or may turn out to be."""
        return self.lost or self.minutes > 0


@dataclass(frozen=True, eq=False)
class HealthOfBucket:
    """A bucket's sensors and zones after the minute that ends at `judged_ms`."""

    judged_ms: int
    zones: Mapping[str, ZoneCoverage]
    sensors: Sensors


class _Stored(msgspec.Struct, array_like=True):
    judged_ms: int
    zones: dict[str, ZoneCoverage]
    count: int
    columns: bytes


class City(msgspec.Struct, frozen=True):
    """Whether the way of the readings is degraded, after the minute that ends at `judged_ms`: the record `ingest`.

    `late` are the numbers of the stream's shards of which hardly anything is heard.
    """

    judged_ms: int
    silent: int = 0
    active: int = 0
    degraded: bool = False
    since_ms: int = 0
    late: tuple[int, ...] = ()


CITY_KEY = "ingest"


def record_key(bucket: int) -> str:
    """The record that holds the health of a bucket's sensors."""
    return f"health#{bucket:02d}"


def unheard(number: NDArray[np.int32]) -> Sensors:
    """Sensors of whom nothing is known."""
    count = len(number)
    code = np.full(count, _CODE[Health.UNHEARD], dtype=np.uint8)
    none, never = np.zeros(count, dtype=np.uint8), np.zeros(count, dtype=np.int64)
    told = np.full(count, _CODE[Health.OK], dtype=np.uint8)
    return Sensors(number, code, told, none, none, never, never, never, never, never, never)


def encode(health: HealthOfBucket) -> bytes:
    """As it is stored: how long before the judging each time was, column by column."""
    columns = []
    for name, column in _columns(health.sensors).items():
        kept = np.where(column == 0, -1, health.judged_ms - column) if name in _TIMES else column
        # The bytes of one weight lie together, so that zeros do.
        columns.append(np.ascontiguousarray(kept).view(np.uint8).reshape(len(kept), kept.dtype.itemsize).T.tobytes())
    packed = zlib.compress(b"".join(columns), 1)
    return msgspec.msgpack.encode(_Stored(health.judged_ms, dict(health.zones), len(health.sensors), packed))


def read(state: TrafficState, bucket: int) -> HealthOfBucket | None:
    """A bucket's health as it is stored; None before the first judgement."""
    record = state.record(record_key(bucket))
    return decode(record.body) if record else None


def read_city(state: TrafficState) -> City | None:
    """The city's, likewise."""
    record = state.record(CITY_KEY)
    return msgspec.json.decode(record.body, type=City) if record else None


def decode(body: bytes) -> HealthOfBucket:
    """A stored record."""
    stored = msgspec.msgpack.decode(body, type=_Stored)
    data = memoryview(zlib.decompress(stored.columns))
    found, at = {}, 0
    for field in fields(Sensors):
        dtype = np.dtype(_DTYPES.get(field.name, np.uint8))
        end = at + dtype.itemsize * stored.count
        raw = np.frombuffer(data[at:end], dtype=np.uint8).reshape(dtype.itemsize, stored.count)
        column = np.ascontiguousarray(raw.T).view(dtype).reshape(stored.count)
        if field.name in _TIMES:
            column = np.where(column == -1, 0, stored.judged_ms - column)
        found[field.name], at = column, end
    return HealthOfBucket(stored.judged_ms, stored.zones, Sensors(**found))


def of_registry(stored: HealthOfBucket, zones: Sequence[str], number: NDArray[np.int32]) -> HealthOfBucket:
    """The same of a registry's zones and sensors, in its order: of what has come since, nothing is known."""
    covered = {zone: stored.zones.get(zone, ZoneCoverage()) for zone in zones}
    return HealthOfBucket(stored.judged_ms, covered, _aligned(stored.sensors, number))


def judge(
    before: Sensors,
    end_ms: int,
    observed: Sequence[Observed],
    interval_ms: NDArray[np.int64],
    *,
    follows: bool = True,
    maintained: NDArray[np.bool_] | None = None,
    drifting: NDArray[np.bool_] | None = None,
    limits: Limits | None = None,
) -> Sensors:
    """Sensors after the minute that ends then, from its windows in order.

    `follows` says whether `before` is the minute before; if it is not, nobody is silent for what nobody looked at.
    """
    limits = limits or Limits()
    limit = np.maximum(limits.silent_intervals * interval_ms, limits.silent_ms)
    known = before.health != _CODE[Health.UNHEARD]
    was_silent = before.health == _CODE[Health.SILENT]
    last, same, odd, value = before.last.copy(), before.same.copy(), before.odd.copy(), before.value.copy()
    for one in observed:
        _read(one, interval_ms, last, same, odd, value, limits)
    advanced = last > before.last
    # A reading came as long after the one before as it was measured after it; of the first after a silence all that is
    # known is that it came by now.
    steady = np.clip(before.heard + (last - before.last), last, np.maximum(last, end_ms))
    came = np.where(end_ms - last <= limit, last, end_ms)
    heard = np.where(advanced, np.where(known & ~was_silent, steady, came), before.heard)
    if not follows:
        heard = np.where(known & ~was_silent & ~advanced, np.maximum(heard, end_ms - MINUTE_MS), heard)
    first = np.where(~known & advanced, last, before.first)
    known = known | advanced

    health = np.where(known, _CODE[Health.OK], _CODE[Health.UNHEARD]).astype(np.uint8)
    was_odd = before.health == _CODE[Health.IMPLAUSIBLE]
    silent = (end_ms - heard > limit) & (end_ms - first > limits.grace_ms)
    for name, holds in (
        (Health.LATE, end_ms - last > limit),
        (Health.STUCK, same >= limits.stuck),
        (Health.IMPLAUSIBLE, (odd >= limits.implausible) | (was_odd & (odd > 0))),
        (Health.SILENT, silent),
    ):
        health[known & holds] = _CODE[name]
    if drifting is not None:
        # Whoever catches up after an outage sends old readings, too, and beside them new ones.
        health[drifting & (last < end_ms - MINUTE_MS)] = _CODE[Health.CLOCK_DRIFT]
    if maintained is not None:
        health[maintained] = _CODE[Health.MAINTENANCE]
    began = np.where(health == _CODE[Health.SILENT], heard, end_ms)
    since = np.where(health == before.health, before.since, began)
    return replace(
        before, health=health, same=same, odd=odd, first=first, last=last, heard=heard, since=since, value=value
    )


def coverage(
    before: Mapping[str, ZoneCoverage],
    zones: Sequence[str],
    zone_of: NDArray[np.int64],
    sensors: Sensors,
    limits: Limits,
    end_ms: int,
) -> dict[str, ZoneCoverage]:
    """Each zone's coverage after the minute; `zone_of` is each sensor's place in `zones`."""
    silent = np.bincount(zone_of[nothing_heard(sensors)], minlength=len(zones)).tolist()
    active = np.bincount(zone_of[active_sensors(sensors)], minlength=len(zones)).tolist()
    found = {}
    for at, zone in enumerate(zones):
        last = before.get(zone, ZoneCoverage())
        share = silent[at] / active[at] if active[at] else 0.0
        bad = share >= limits.zone_share - limits.recovery * last.lost
        minutes = last.minutes + 1 if bad else 0
        since = last.since_ms if last.minutes else end_ms - MINUTE_MS
        lost = bad and minutes >= limits.zone_minutes
        found[zone] = ZoneCoverage(silent[at], active[at], minutes, lost, since, last.told, last.told_since_ms)
    return found


def city(
    before: City | None, zones: Mapping[str, ZoneCoverage], shard_of: Mapping[str, int], limits: Limits, end_ms: int
) -> City:
    """Whether the readings of all zones come, after the minute; `shard_of` is each zone's shard of the stream."""
    was = before.degraded if before else False
    easier = limits.recovery * was
    of_shard: dict[int, list[ZoneCoverage]] = {}
    for name, zone in zones.items():
        of_shard.setdefault(shard_of[name], []).append(zone)
    silent, active, share = _silence(zones.values())
    late = [
        shard
        for shard, some in sorted(of_shard.items())
        if len(some) >= limits.shard_zones and _silence(some)[2] >= limits.shard_share - easier
    ]
    degraded = bool(late) or (active > 0 and share >= limits.city_share - easier)
    since = before.since_ms if before and was == degraded else end_ms - MINUTE_MS
    return City(end_ms, silent, active, degraded, since, tuple(late))


def _silence(zones: Iterable[ZoneCoverage]) -> tuple[int, int, float]:
    """Silent and active sensors, and the share."""
    both = [(zone.silent, zone.active) for zone in zones]
    silent, active = sum(one for one, _ in both), sum(one for _, one in both)
    return silent, active, silent / active if active else 0.0


def active_sensors(sensors: Sensors) -> NDArray[np.bool_]:
    """Those that are to be heard: that were before, and on which nobody works."""
    return ~sensors.is_(Health.UNHEARD, Health.MAINTENANCE)


def nothing_heard(sensors: Sensors) -> NDArray[np.bool_]:
    """Those of whom nothing comes in time. Many clocks do not go wrong at once: then it is what readings go through."""
    return sensors.is_(Health.SILENT, Health.CLOCK_DRIFT)


def to_tell(sensors: Sensors) -> NDArray[np.bool_]:
    """Which sensors' faults, or the end of them, people have not been told."""
    now = np.where(np.isin(sensors.health, _FAULT_CODES), sensors.health, _CODE[Health.OK])
    return np.asarray(now != sensors.told)


def tell(sensors: Sensors, at: Sequence[int]) -> Sensors:
    """The same where people were told of these."""
    told, told_since = sensors.told.copy(), sensors.told_since.copy()
    faulty = np.isin(sensors.health[at], _FAULT_CODES)
    told[at] = np.where(faulty, sensors.health[at], _CODE[Health.OK])
    told_since[at] = sensors.since[at]
    return replace(sensors, told=told, told_since=told_since)


_TIMES = frozenset(("first", "last", "heard", "since", "told_since"))
_DTYPES = {"number": np.int32, "value": np.int64} | dict.fromkeys(_TIMES, np.int64)
_MOST_ODD, _MOST_SAME = 20, 200


def _columns(sensors: Sensors) -> dict[str, NDArray[np.generic]]:
    return {field.name: getattr(sensors, field.name) for field in fields(sensors)}


def _aligned(stored: Sensors, number: NDArray[np.int32]) -> Sensors:
    if np.array_equal(stored.number, number):
        return stored
    _, there, here = np.intersect1d(stored.number, number, assume_unique=True, return_indices=True)
    found = _columns(unheard(number))
    for name, column in _columns(stored).items():
        changed = found[name].copy()
        changed[here] = column[there]
        found[name] = changed
    return Sensors(**found)  # type: ignore[arg-type]  # the columns have the dtypes of their fields


def _read(
    one: Observed,
    interval_ms: NDArray[np.int64],
    last: Times,
    same: NDArray[np.uint8],
    odd: NDArray[np.uint8],
    value: NDArray[np.int64],
    limits: Limits,
) -> None:
    """Takes one window's readings into the columns."""
    at = one.at
    # Side by side in one number: what it counted, speed in 12 bits, the shares in 10 each; 1 is added, for -1 is none.
    shares = ((one.occupancy_x1000 + 1) << 10) | (one.index_x1000 + 1)
    says = (one.vehicle_count << 32) | ((one.speed_x10 + 1) << 20) | shares
    again = np.minimum(same[at], _MOST_SAME) + np.uint8(1)
    same[at] = np.where(one.vehicle_count > 0, np.where(says == value[at], again, 1), 0)
    value[at] = says
    counted = odd[at].astype(np.int64) + np.where(implausible(one, interval_ms[at]), 1, -1)
    odd[at] = np.clip(counted, 0, limits.implausible)
    last[at] = np.maximum(last[at], one.ts_ms)


def implausible(one: Observed, interval_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which readings say what no road can carry, within generous bounds.

    More than three vehicles a second and ten; faster than 200 km/h; or over 60 km/h where the road is occupied nine
    tenths of the time and traffic stands.
    """
    too_many = 1000 * one.vehicle_count > _VEHICLES_PER_S * interval_ms + 1000 * _VEHICLES_AT_ONCE
    standing = one.occupancy_x1000 >= _STANDING_X1000
    return too_many | (one.speed_x10 > _FASTEST_X10) | (standing & (one.speed_x10 >= _MOVING_X10))


_VEHICLES_PER_S, _VEHICLES_AT_ONCE = 3, 10  # all lanes; a lane carries 0.7 a second at the most
_FASTEST_X10, _MOVING_X10, _STANDING_X1000 = 2_000, 600, 900
