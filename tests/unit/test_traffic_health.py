"""How sensors are: what each state is, when it begins and ends, and what is told of many at once."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.traffic.health import (
    HEALTHS,
    City,
    Health,
    HealthOfBucket,
    Limits,
    Observed,
    Sensors,
    ZoneCoverage,
    city,
    coverage,
    decode,
    encode,
    judge,
    of_registry,
    tell,
    to_tell,
    unheard,
)

T0 = 1_780_000_020_000
MINUTE = 60_000
LIMITS = Limits()


class Sensor:
    """One sensor and what it is after each minute."""

    def __init__(self, interval_s: int = 1) -> None:
        self.interval_ms = np.array([interval_s * 1000])
        self.sensors = unheard(np.array([7], dtype=np.int32))
        self.minute = 0

    def hears(self, *readings: tuple[float, int, int, int], follows: bool = True, **how: Any) -> Health:
        """One more minute; readings are seconds into it, vehicles, tenths of km/h and thousandths of occupancy."""
        start = T0 + self.minute * MINUTE
        self.minute += 1
        by_window: dict[int, tuple[int, int, int, int]] = {}
        for at, *says in readings:
            by_window[int(at // 10)] = (start + round(at * 1000), *says)  # type: ignore[assignment]
        observed = [one(*by_window[at]) if at in by_window else one() for at in range(min(by_window, default=0), 6)]
        self.sensors = judge(self.sensors, start + MINUTE, observed, self.interval_ms, follows=follows, **how)
        return HEALTHS[self.sensors.health[0]]

    def well(self, until: float = 60, behind: float = 0) -> Health:
        """A minute as it should be, up to a second of it, all of it measured so much earlier."""
        step = max(10, int(self.interval_ms[0] // 1000))
        return self.hears(*((at + 9 - behind, 3, 400 + self.minute * 7 + at, 100) for at in range(0, int(until), step)))


def one(ts: int | None = None, vehicles: int = 0, speed: int = -1, occupancy: int = 0) -> Observed:
    there = ts is not None
    return Observed(
        *(np.array([value] * there, dtype=np.int64) for value in (0, ts or 0, vehicles, speed, occupancy, 50))
    )


def test_before_its_first_reading_and_for_a_while_after_a_sensor_is_not_silent() -> None:
    sensor = Sensor()
    assert [sensor.hears() for _ in range(5)] == [Health.UNHEARD] * 5
    assert sensor.well(until=10) is not Health.SILENT  # its first reading, and nothing since
    assert sensor.hears() is not Health.SILENT
    assert sensor.hears() is Health.SILENT


@pytest.mark.parametrize(("interval", "limit"), [(1, 30), (10, 30), (60, 180)])
def test_a_sensor_is_silent_after_three_intervals_and_half_a_minute_at_least(interval: int, limit: int) -> None:
    for age, silent in ((limit - 1, False), (limit + 1, True)):
        sensor = Sensor(interval)
        for _ in range(4):
            sensor.well()
        minutes = -(-age // 60)
        found = [sensor.hears((60 * minutes - age, 3, 444, 100)), *(sensor.hears() for _ in range(minutes - 1))]
        assert (found[-1] is Health.SILENT) == silent
        assert Health.SILENT not in found[:-1]


def test_silence_begins_with_the_last_reading_and_ends_with_the_next() -> None:
    sensor = Sensor()
    for _ in range(4):
        sensor.well()
    assert sensor.well(until=20) is Health.SILENT
    assert sensor.sensors.since[0] == T0 + 4 * MINUTE + 19_000
    assert sensor.hears() is Health.SILENT
    assert sensor.sensors.since[0] == T0 + 4 * MINUTE + 19_000
    assert sensor.well() is Health.OK


def test_whoever_always_comes_late_is_late_and_silent_when_it_stops() -> None:
    """Forty seconds on the way: when a minute is judged, its last forty seconds are missing."""
    sensor = Sensor()
    for _ in range(4):
        sensor.well()
    first = sensor.well(until=20)
    then = [
        sensor.hears(*((at, 3, 300 + at + sensor.minute, 90) for at in (-31, -21, -11, -1, 9, 19))) for _ in range(4)
    ]
    assert first is Health.SILENT  # for all anybody knows
    assert then == [Health.LATE] * 4
    assert sensor.hears() is Health.SILENT
    assert sensor.well() is Health.OK


def test_the_same_reading_again_and_again_is_stuck_but_an_empty_road_is_not() -> None:
    sensor, empty = Sensor(10), Sensor(10)
    found = [sensor.hears(*((at, 3, 444, 100) for at in range(5, 60, 10))) for _ in range(3)]
    assert found == [Health.OK, Health.STUCK, Health.STUCK]  # the tenth reading is in the second minute
    assert sensor.well() is Health.OK
    assert [empty.hears(*((at, 0, -1, 0) for at in range(5, 60, 10))) for _ in range(9)] == [Health.OK] * 9


def test_nine_of_the_same_are_not_stuck() -> None:
    sensor = Sensor(10)
    sensor.hears((5, 3, 444, 100), (15, 3, 445, 100), *((at, 3, 446, 100) for at in range(25, 60, 10)))
    assert sensor.hears(*((at, 3, 446, 100) for at in range(5, 50, 10))) is Health.OK
    assert sensor.hears((5, 3, 446, 100), (35, 3, 446, 100)) is Health.STUCK


@pytest.mark.parametrize("wrong", [(99, 400, 100), (3, 2_100, 100), (3, 700, 950)])
def test_what_no_road_can_carry_is_implausible_until_as_much_is_plausible(wrong: tuple[int, int, int]) -> None:
    sensor = Sensor()
    assert sensor.hears(*((at, *wrong) for at in (1, 11, 21, 31)), (41, 3, 400, 100)) is Health.OK
    assert sensor.hears(*((at, wrong[0], wrong[1] + at, wrong[2]) for at in (1, 11, 21))) is not Health.OK
    assert sensor.hears(*((at, 3, 400 + at, 100) for at in (1, 11, 21, 31))) is Health.IMPLAUSIBLE
    assert sensor.well() is Health.OK


def test_a_clock_that_is_far_off_and_maintenance_come_before_silence() -> None:
    sensor = Sensor()
    for _ in range(4):
        sensor.well()
    yes = np.array([True])
    assert sensor.hears(drifting=yes) is Health.CLOCK_DRIFT
    assert sensor.hears(drifting=yes, maintained=yes) is Health.MAINTENANCE
    assert sensor.hears() is Health.SILENT


def test_nobody_is_silent_for_minutes_that_nobody_looked_at() -> None:
    sensor = Sensor(60)
    for _ in range(4):
        sensor.well()
    sensor.minute += 100
    assert sensor.hears(follows=False) is not Health.SILENT
    assert [sensor.hears() for _ in range(3)][-1] is Health.SILENT


def many(count: int, silent: int, unheard_ones: int = 0) -> Sensors:
    sensors = unheard(np.arange(count, dtype=np.int32))
    sensors.health[:] = HEALTHS.index(Health.OK)
    sensors.health[:silent] = HEALTHS.index(Health.SILENT)
    sensors.health[count - unheard_ones :] = HEALTHS.index(Health.UNHEARD)
    return sensors


def zone_after(silents: Sequence[int], count: int = 10) -> list[ZoneCoverage]:
    zones: dict[str, ZoneCoverage] = {}
    found = []
    for minute, silent in enumerate(silents):
        end = T0 + (minute + 1) * MINUTE
        zones = coverage(zones, ["z-1"], np.zeros(count, dtype=np.int64), many(count, silent), LIMITS, end)
        found.append(zones["z-1"])
    return found


def test_a_zone_is_lost_when_half_of_it_is_silent_for_two_minutes() -> None:
    assert [zone.lost for zone in zone_after([4, 5, 4, 5, 5, 5, 4, 3])] == [
        False, False, False, False, True, True, True, False,
    ]  # fmt: skip
    assert [zone.suppresses for zone in zone_after([4, 5, 4])] == [False, True, False]
    assert zone_after([0, 5, 6])[-1].since_ms == T0 + MINUTE


def test_sensors_that_were_never_heard_and_those_in_maintenance_are_not_missing() -> None:
    sensors = many(10, 2, unheard_ones=4)
    sensors.health[2:4] = HEALTHS.index(Health.MAINTENANCE)
    found = coverage({}, ["z-1"], np.zeros(10, dtype=np.int64), sensors, LIMITS, T0)["z-1"]
    assert (found.silent, found.active, found.minutes) == (2, 4, 1)
    assert coverage({}, ["z-1", "z-2"], np.zeros(10, dtype=np.int64), sensors, LIMITS, T0)["z-2"] == ZoneCoverage(
        since_ms=T0 - MINUTE
    )


def test_the_city_is_degraded_from_three_tenths_on_until_it_is_well_below() -> None:
    before, found = None, []
    for minute, silent in enumerate((29, 30, 25, 20, 19, 29)):
        zones = {"z-1": ZoneCoverage(silent // 2, 50), "z-2": ZoneCoverage(silent - silent // 2, 50)}
        before = city(before, zones, {"z-1": 0, "z-2": 0}, LIMITS, T0 + minute * MINUTE)
        found.append((before.degraded, before.since_ms, before.silent, before.active))
    since = [T0 - MINUTE, T0, T0 + 3 * MINUTE]
    assert [one[:2] for one in found] == [(False, since[0])] + [(True, since[1])] * 3 + [(False, since[2])] * 2
    assert found[0][2:] == (29, 100)
    assert city(None, {}, {}, LIMITS, T0) == City(T0, since_ms=T0 - MINUTE)


@pytest.mark.parametrize(("zones", "silent", "late"), [(8, 90, True), (8, 89, False), (7, 100, False)])
def test_a_shard_of_which_hardly_anything_is_heard_is_read_late(zones: int, silent: int, late: bool) -> None:
    """A quarter of the city at the most, and not the fault of its sensors."""
    names = [f"z-{at:03d}" for at in range(80)]
    shard_of = {name: 3 if at < zones else 0 for at, name in enumerate(names)}
    covered = {name: ZoneCoverage(silent if shard_of[name] else 0, 100) for name in names}
    found = city(None, covered, shard_of, LIMITS, T0)
    assert (found.degraded, found.late) == (late, (3,) if late else ())
    before = City(T0 - MINUTE, degraded=True)
    assert city(before, covered, shard_of, LIMITS, T0).degraded == (zones == 8)  # it must be well below to clear


def test_what_was_told_is_told_no_more_and_its_end_is() -> None:
    sensors = many(4, 2)
    sensors.health[2] = HEALTHS.index(Health.LATE)
    assert to_tell(sensors).tolist() == [True, True, False, False]
    told = tell(sensors, [0])
    assert to_tell(told).tolist() == [False, True, False, False]
    told.health[0] = HEALTHS.index(Health.OK)
    assert to_tell(told).tolist() == [True, True, False, False]
    assert not to_tell(tell(told, [0, 1])).any()


COLUMN = {
    np.dtype(np.uint8): st.integers(0, 7),
    np.dtype(np.int32): st.integers(0, 9_999_999),
    np.dtype(np.int64): st.one_of(st.just(0), st.integers(T0 - 10**10, T0)),
}


@given(st.data(), st.integers(0, 12))
def test_a_record_is_read_as_it_was_written(data: st.DataObject, count: int) -> None:
    columns = {}
    for name, empty in {
        field.name: getattr(unheard(np.zeros(0, np.int32)), field.name) for field in fields(Sensors)
    }.items():
        unique = name == "number"
        values = data.draw(st.lists(COLUMN[empty.dtype], min_size=count, max_size=count, unique=unique))
        columns[name] = np.array(sorted(values) if unique else values, dtype=empty.dtype)
    health = HealthOfBucket(T0, {"z-1": ZoneCoverage(1, 2, 3, True, 5, True, 7)}, Sensors(**columns))
    again = decode(encode(health))
    assert (again.judged_ms, again.zones) == (health.judged_ms, health.zones)
    for name, column in columns.items():
        stored = getattr(again.sensors, name)
        assert (stored.tolist(), stored.dtype) == (column.tolist(), column.dtype)


def test_a_record_follows_its_sensors_when_the_registry_changes() -> None:
    sensors = many(5, 2)
    sensors.last[:] = T0 + np.arange(5)
    zones = {"z-1": ZoneCoverage(silent=1), "z-2": ZoneCoverage(silent=2)}
    record = decode(encode(HealthOfBucket(T0 + 9, zones, sensors)))
    now = of_registry(record, ["z-3", "z-2"], np.array([9, 1, 3], dtype=np.int32))
    assert list(now.zones.items()) == [("z-3", ZoneCoverage()), ("z-2", ZoneCoverage(silent=2))]
    found = now.sensors
    assert found.number.tolist() == [9, 1, 3]
    assert [HEALTHS[code] for code in found.health] == [Health.UNHEARD, Health.SILENT, Health.OK]
    assert found.last.tolist() == [0, T0 + 1, T0 + 3]
