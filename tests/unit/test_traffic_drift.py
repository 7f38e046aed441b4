"""Clocks that are far off: what is noted of them, and when a sensor is said to have one."""

import random
from collections.abc import Sequence
from typing import Any

from city_platform.traffic.drift import MOST_SENSORS, NOTED, Notes, decode, drifting, record_key
from city_platform.traffic.events import SensorHealthChanged
from city_platform.traffic.handler import TrafficHandler
from city_platform.traffic.health import Health
from city_platform.traffic.registry import generate
from city_platform.traffic.state import Record, StateUnavailable, VersionConflict, bucket
from tests.traffic import Letters, MemoryState, Told, columns, event, record
from tests.traffic_minutes import CITY, START, Clock, due, fill, told, watching

SENSOR = next(one for one in range(len(CITY)) if CITY.interval_s[one] == 1)
NUMBER = int(CITY.number[SENSOR])
BUCKET = bucket(CITY.zones[CITY.zone[SENSOR]])


def off(count: int, by_ms: int = 400_000, first: int = 0, sensor: int = SENSOR) -> list[dict[str, Any]]:
    """Records of single readings that came a second after each other and are off by so much."""
    return [
        record(columns([Told(sensor, 100 + at, START + at * 1000 + by_ms, 1)], CITY), at, START + at * 1000)
        for at in range(first, first + count)
    ]


def handled(state: MemoryState, records: Sequence[dict[str, Any]]) -> None:
    TrafficHandler(CITY, state, Letters(), lambda: START).handle(event(*records))


def notes(state: MemoryState) -> Notes:
    stored = state.record(record_key(BUCKET))
    return decode(stored.body) if stored else {}


def test_readings_that_are_far_off_either_way_are_noted_and_others_are_not() -> None:
    state = MemoryState()
    handled(state, off(3))
    assert notes(state) == {NUMBER: [(100 + at, START + at * 1000) for at in range(3)]}
    handled(state, off(3, -400_000, first=3))  # too late for their windows
    handled(state, off(3, -90_000_000, first=6))  # ancient
    assert [seq for seq, _ in notes(state)[NUMBER]] == [104, 105, 106, 107, 108]
    other = MemoryState()
    handled(other, [*off(3, 200_000), *off(3, -200_000), *off(3, 0)])
    assert notes(other) == {}


def test_notes_do_not_depend_on_batches_and_repetitions() -> None:
    records, expected = off(4), MemoryState()
    handled(expected, records)
    for seed in range(20):
        draw, state = random.Random(seed), MemoryState()  # noqa: S311 reproducible, not secret
        again = records + draw.choices(records, k=6)
        draw.shuffle(again)
        while again:
            cut = draw.randrange(1, 4)
            handled(state, again[:cut])
            again = again[cut:]
        assert notes(state) == notes(expected)


def test_a_sensor_that_is_known_to_be_off_is_noted_once_a_minute() -> None:
    state = MemoryState()
    handler = TrafficHandler(CITY, state, Letters(), lambda: START)
    for one in off(65):
        handler.handle(event(one))
    stored = state.record(record_key(BUCKET))
    assert stored
    assert stored.version == NOTED + 1
    assert notes(state)[NUMBER][-1] == (164, START + 64_000)


class Busy(MemoryState):
    """Refuses the first commits."""

    errors: list[Exception]

    def commit(self, records: Sequence[Record], events: Any = ()) -> None:
        if self.errors:
            raise self.errors.pop(0)
        super().commit(records, events)


def test_notes_are_tried_again_against_others_and_never_hold_a_batch_up() -> None:
    state = Busy()
    state.errors = [VersionConflict("a"), VersionConflict("b")]
    handled(state, off(1))
    assert len(notes(state)[NUMBER]) == 1
    state.errors = [StateUnavailable("busy")]
    handled(state, off(1, first=1))
    assert len(notes(state)[NUMBER]) == 1
    handled(state, off(1, first=1))
    assert len(notes(state)[NUMBER]) == 2


def test_a_record_of_notes_stays_small() -> None:
    many = generate(seed=5, sensors=1000, zones=1)
    state = MemoryState()
    handler = TrafficHandler(many, state, Letters(), lambda: START)
    told_by = [Told(sensor, 100, START + 400_000, 1) for sensor in range(1000)]
    handler.handle(event(record(columns(told_by, many), 1, START)))
    stored = state.record(record_key(bucket(many.zones[0])))
    assert stored
    assert len(decode(stored.body)) == MOST_SENSORS
    later = [Told(sensor, 200, START + 5_000_000, 1) for sensor in range(900, 1000)]
    handler.handle(event(record(columns(later, many), 2, START + 4_000_000)))
    stored = state.record(record_key(bucket(many.zones[0])))
    assert stored
    assert set(decode(stored.body)) == set(range(900, 1000))


def test_five_notes_within_the_time_and_no_fewer_make_a_drift() -> None:
    five = [(at, START + at) for at in range(5)]
    noted: Notes = {1: five, 2: five[:4], 3: five}
    within = {1: 600_000, 2: 600_000}
    assert drifting(noted, START + 600_000, within) == [1]
    assert drifting(noted, START + 600_001, within) == []


def test_a_sensor_whose_clock_is_off_is_told_so_and_not_as_silent() -> None:
    state, clock, said = MemoryState(), Clock(), []
    watch = watching(state, clock)
    for minute in range(16):
        wrong = 3 <= minute < 5
        fill(state, minute, silent=[SENSOR] if wrong else ())
        if wrong:
            handled(state, off(5, first=60 * minute))
        if minute == 6:  # a gateway that catches up; the sensor is heard beside it
            handled(state, off(5, -600_000, first=60 * minute))
        clock.now_ms = due(minute)
        watch.evaluate()
        said += [(minute, one.from_, one.to) for one in told(state.outbox(99)) if isinstance(one, SensorHealthChanged)]
        state.published(state.outbox(99))
    assert said == [(3, Health.OK, Health.CLOCK_DRIFT), (5, Health.CLOCK_DRIFT, Health.OK)]
