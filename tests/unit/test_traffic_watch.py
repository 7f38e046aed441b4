"""What a watcher decides and tells of whole minutes, and that it does not depend on who watched, how often, or died."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from city_platform.errors import TransientError
from city_platform.events import InvalidEvent
from city_platform.ports import BusEvent, EventBusRefused
from city_platform.traffic import congestion, health
from city_platform.traffic.congestion import Level
from city_platform.traffic.events import TYPES as TRAFFIC
from city_platform.traffic.events import (
    CongestionLevelChanged,
    PlatformIngestDegraded,
    SensorHealthChanged,
    Told,
    ZoneCoverageLost,
    alert_id,
    bus_event,
    outbox_event,
    read,
)
from city_platform.traffic.health import Health
from city_platform.traffic.registry import generate
from city_platform.traffic.relay import EventsRefused, relay
from city_platform.traffic.state import BUCKETS, Event, Record, bucket
from city_platform.traffic.stream import shard_of
from city_platform.traffic.watch import EVENTS_AT_ONCE, MOST_BEHIND, InvalidRecord
from tests.traffic import Crash, Faults, MemoryState
from tests.traffic_histories import MINUTES, Inline, expected, history, outcome, sensors_of, trial
from tests.traffic_minutes import (
    CITY,
    START,
    Clock,
    FaultyState,
    MemoryBus,
    due,
    end_of,
    fill,
    told,
    watching,
)

JAM, SLOW_ZONE, QUIET = CITY.zones[0], CITY.zones[1], CITY.zones[2]


def watched(state: MemoryState, minutes: Sequence[Callable[[int], None]]) -> list[list[Told]]:
    """What is told at each minute, each filled as it comes."""
    clock, found = Clock(), []
    watch = watching(state, clock)
    for minute, filled in enumerate(minutes):
        filled(minute)
        clock.now_ms = due(minute)
        watch.evaluate()
        found.append(told(state.outbox(999)))
        state.published(state.outbox(999))
    return found


def filled(state: MemoryState, **how: Any) -> Callable[[int], None]:
    return lambda minute: fill(state, minute, **how)


def test_a_jam_is_told_when_it_comes_and_when_it_goes() -> None:
    state = MemoryState()
    calm, jam = filled(state), filled(state, index={JAM: 72.0})
    found = watched(state, [calm, calm, jam, jam, jam, calm, calm, calm])
    assert [len(some) for some in found] == [0, 0, 0, 1, 0, 0, 0, 1]
    up, down = found[3][0], found[7][0]
    said = msgspec.to_builtins(up)
    assert said == {
        "schema": 1, "alert_id": alert_id(JAM, "severe", end_of(2)), "direction": "up", "zone_id": JAM,
        "from": "normal", "to": "severe", "index": 72.0, "tti": pytest.approx(1 / 0.28, 0.02), "los": "F",
        "vehicles": said["vehicles"], "coverage": 1.0, "detected_at": said["detected_at"],
        "window_start": "2026-05-28T20:30:00Z", "window_end": "2026-05-28T20:31:00Z",
        "trace": {"shards": [f"shardId-{shard_of(JAM, 4):012d}"], "last_seq": said["trace"]["last_seq"]},
        "links": {"dashboard": f"http://127.0.0.1:8000/traffic/zones/{JAM}"},
    }  # fmt: skip
    assert said["vehicles"] > 100
    assert said["trace"]["last_seq"] == max(
        (end_of(3) - 5_000 + sensor % 7 * 100) // 100 if CITY.interval_s[sensor] == 1 else 0
        for sensor in sensors_of(JAM)
    )
    assert msgspec.to_builtins(down) | {"from": "severe", "to": "normal", "direction": "down"} == msgspec.to_builtins(
        down
    )


def test_half_of_a_zone_silent_is_told_as_one_and_its_end_with_how_long_it_was() -> None:
    state = MemoryState()
    calm, lost = filled(state), filled(state, silent=sensors_of(QUIET, 0.8))
    some = filled(state, silent=sensors_of(QUIET)[:1])
    quick = [sensor for sensor in sensors_of(QUIET, 0.8) if CITY.interval_s[sensor] < 60]
    assert len(quick) * 2 >= len(sensors_of(QUIET))  # or it would take three minutes
    found = watched(state, [calm, calm, calm, lost, lost, lost, some])
    assert [len(one) for one in found] == [0, 0, 0, 0, 1, 0, 2]
    (up,), (down, alone) = found[4], found[6]
    assert isinstance(up, ZoneCoverageLost)
    assert isinstance(down, ZoneCoverageLost)
    assert (up.zone_id, up.direction, up.duration_s) == (QUIET, "up", None)
    assert (down.zone_id, down.direction, down.duration_s) == (QUIET, "down", 240)
    assert isinstance(alone, SensorHealthChanged)
    assert (alone.sensor_id, alone.to, alone.direction) == (f"s-{sensors_of(QUIET)[0]:05d}", Health.SILENT, "up")


def test_a_sensor_alone_is_told_and_its_recovery_with_how_long_it_was_silent() -> None:
    state = MemoryState()
    silent = next(one for one in sensors_of(JAM) if CITY.interval_s[one] == 1)
    calm, less = filled(state), filled(state, silent=[silent])
    found = watched(state, [calm, calm, calm, less, less, calm])
    assert [len(one) for one in found] == [0, 0, 0, 1, 0, 1]
    (up,), (down,) = found[3], found[5]
    assert isinstance(up, SensorHealthChanged)
    assert isinstance(down, SensorHealthChanged)
    assert (up.from_, up.to, up.duration_s) == (Health.OK, Health.SILENT, None)
    assert (down.from_, down.to) == (Health.SILENT, Health.OK)
    assert down.duration_s is not None
    assert 180 <= down.duration_s <= 186


def test_when_the_city_falls_silent_that_is_all_that_is_told() -> None:
    state = MemoryState()
    calm, nothing = filled(state), filled(state, silent=range(len(CITY)))
    found = watched(state, [calm, calm, calm, nothing, nothing, nothing, calm])
    assert [[type(one).__name__ for one in some] for some in found] == [
        [], [], [], ["PlatformIngestDegraded"], [], [], ["PlatformIngestDegraded"],
    ]  # fmt: skip
    (up,), (down,) = found[3], found[6]
    assert isinstance(down, PlatformIngestDegraded)
    assert (up.direction, down.direction, down.duration_s) == ("up", "down", 240)


def test_a_zone_of_which_little_is_heard_keeps_its_level_untold() -> None:
    state = MemoryState()
    jam, few = filled(state, index={JAM: 60}), filled(state, index={JAM: 0}, silent=sensors_of(JAM, 0.7))
    found = watched(state, [jam, jam, few, few, few, few])
    assert [one.to for some in found for one in some if isinstance(one, CongestionLevelChanged)] == [Level.CONGESTED]
    record = state.record(congestion.record_key(bucket(JAM)))
    assert record
    zone = congestion.decode(record.body).zones[JAM]
    assert (zone.level, zone.known) == (Level.CONGESTED, False)


def test_readings_that_come_after_the_judgement_change_it_no_more() -> None:
    state = MemoryState()
    clock = Clock()
    watch = watching(state, clock)
    for minute in range(3):
        fill(state, minute)
        clock.now_ms = due(minute)
        watch.evaluate()
    before = dict(state.records)
    fill(state, 2, {JAM: 99}, vehicles=50, delay_ms=50)
    clock.now_ms = due(3) - 1
    assert watch.evaluate().minutes == 0
    assert state.records == before


def test_measured_free_flow_counts_before_posted_limits_and_maintenance_before_silence() -> None:
    state = MemoryState()
    state.commit([Record("free_flow", 1, json.dumps({SLOW_ZONE: 20_000}).encode())])
    working = {sensor: end_of(99) for sensor in sensors_of(QUIET)}
    state.commit([Record("maintenance", 1, json.dumps(working).encode())])
    calm, without = filled(state), filled(state, silent=sensors_of(QUIET))
    found = watched(state, [calm, calm, without, without, without])
    (slow,) = [one for some in found for one in some]
    assert isinstance(slow, CongestionLevelChanged)
    assert (slow.zone_id, slow.to) == (SLOW_ZONE, Level.SEVERE)
    state.commit([Record("free_flow", 2, b'{"z-000": "fast"}')])
    with pytest.raises(InvalidRecord, match="free_flow"):
        watching(state, Clock(due(5))).evaluate()


def test_after_a_long_time_without_a_watcher_the_older_minutes_are_left_out() -> None:
    state, clock = MemoryState(), Clock(due(0))
    watch = watching(state, clock)
    fill(state, 0)
    watch.evaluate()
    clock.now_ms = due(MOST_BEHIND + 11)
    done = watch.evaluate()
    assert (done.minutes, done.skipped, done.judged_ms) == (MOST_BEHIND + 1, 10, end_of(MOST_BEHIND + 11))


def test_more_events_than_a_commit_takes_are_told_in_several() -> None:
    """A batch of faulty sensors that all repeat themselves."""
    many = generate(seed=3, sensors=300, zones=2)
    state, clock = FaultyState(), Clock()
    watch = watching(state, clock, many)
    for minute in range(3):
        fill(state, minute, same=range(300), registry=many)
        clock.now_ms = due(minute)
        watch.evaluate()
    stuck = {one.sensor_id for one in told(state.outbox(999)) if isinstance(one, SensorHealthChanged)}
    assert len(stuck) > 5 * EVENTS_AT_ONCE
    assert max(state.commits) == EVENTS_AT_ONCE


# What is told does not depend on who watched.


FAULTS = (None, None, None, "crash before", "crash after", "lost", "unheard", "rival")


@settings(max_examples=15)
@given(
    st.integers(0, 9),
    st.lists(st.sampled_from(FAULTS), max_size=60),
    st.lists(st.sampled_from((None, None, "rival")), max_size=60),
    st.lists(st.integers(0, 5), max_size=20),
)
def test_what_is_told_depends_on_the_minutes_alone(
    seed: int, faults: list[str | None], reads: list[str | None], pauses: list[int]
) -> None:
    """However evaluations are cut, repeated, crash, go unheard or run at once: the same events and the same records."""
    state, clock = history(seed), Clock(due(0))
    mine = FaultyState(coming=Faults(list(faults)), reads=Faults(list(reads))).over(state)
    mine.rival = watching(state, clock).evaluate
    watch, minute = watching(mine, clock), 0
    while minute < MINUTES:
        clock.now_ms = due(minute)
        try:
            watch.evaluate()
        except Crash:
            watch = watching(mine, clock)
            continue
        except TransientError:
            continue
        last = MINUTES - 1
        minute += min(pauses.pop(), last - minute) if pauses and minute < last else 1
    assert outcome(state) == expected(seed)


def test_the_histories_hold_every_kind_of_event() -> None:
    """Or the test above would show little."""
    kinds = {(type(one), one.direction) for seed in range(10) for one in expected(seed)[0].values()}
    assert kinds == {(kind, direction) for kind in TRAFFIC.values() for direction in ("up", "down")}


# The outbox, against publishing where the change is written.


TRIALS = 4


def test_the_outbox_tells_everything_and_publishing_inline_does_not() -> None:
    outbox = [trial(seed, FaultyState(), MemoryBus()) for seed in range(TRIALS)]
    inline = []
    for seed in range(TRIALS):
        state, bus = Inline(), MemoryBus()
        state.bus = bus
        inline.append(trial(seed, state, bus))
    assert all(outbox)
    assert sum(inline) < TRIALS / 2, f"publishing inline was exact in {sum(inline)} of {TRIALS}"


def test_an_event_the_bus_refuses_stays_and_the_others_are_told() -> None:
    state = MemoryState()
    events = [Event(f"{at:016x}", START + at, b'{"source":"s","detail_type":"t","detail":{}}') for at in range(3)]
    state.commit([], events)

    class Refusing(MemoryBus):
        def publish(self, events: Sequence[BusEvent]) -> Any:
            answers = super().publish([event for event in events if not event.id.endswith("1")])
            return [answers[0], EventBusRefused("too odd"), answers[1]]

    with pytest.raises(EventsRefused, match=r"1 event\(s\) stay in the outbox; of the first: too odd"):
        relay(state, Refusing())
    assert [event.id for event in state.outbox(9)] == [events[1].id]
    assert relay(state, MemoryBus(coming=Faults(["busy"]))).waiting
    assert relay(state, MemoryBus()).published == 1


# Events as documents.


def test_every_event_of_every_history_is_as_its_schema_says() -> None:
    for seed in range(10):
        for event in (bus_event(outbox_event(one)) for one in expected(seed)[0].values()):
            packaged = files("city_platform.event_types").joinpath(f"schemas/{event.detail_type}.json").read_text()
            validator = Draft202012Validator(json.loads(packaged), format_checker=Draft202012Validator.FORMAT_CHECKER)
            detail = json.loads(event.detail)
            validator.validate(detail)
            assert detail["alert_id"] == event.id
            for name in ("schema", "alert_id", "direction", "window_end"):
                assert list(validator.iter_errors({key: value for key, value in detail.items() if key != name}))


def test_what_is_no_event_of_traffic_is_refused() -> None:
    event = bus_event(outbox_event(next(iter(expected(0)[0].values()))))
    for wrong in (
        replace(event, source="city.incidents"),
        replace(event, detail_type="Else"),
        replace(event, detail="{"),
        replace(event, detail=event.detail.replace('"schema":1', '"schema":2')),
        replace(event, detail=event.detail.replace(event.id, "../../etc")),
    ):
        with pytest.raises(InvalidEvent):
            read(wrong)
    with pytest.raises(InvalidEvent):
        bus_event(Event("a", START, b"\xff"))


def test_a_zones_readings_are_all_in_one_shard() -> None:
    found = [shard_of(zone, 4) for zone in generate().zones]
    assert {found.count(at) for at in range(4)} <= set(range(90, 160))


def test_a_bucket_that_a_rival_judged_meanwhile_is_not_judged_again() -> None:
    """The city was read before the rival's minutes, the bucket after them."""
    state, clock = history(0), Clock(due(0))
    watching(state, clock).evaluate()
    clock.now_ms = due(MINUTES - 1)
    mine = FaultyState(reads=Faults(["rival"])).over(state)
    mine.rival = watching(state, clock).evaluate
    watch = watching(mine, clock)
    assert watch.evaluate().conflicts == 1
    assert outcome(state) == expected(0)


@pytest.mark.parametrize("zones", [3, 64])
def test_a_watcher_goes_on_when_the_registry_has_changed(zones: int) -> None:
    """Zones came or went while minutes were judged, and nobody judged them anew."""
    state, clock = MemoryState(), Clock(due(0))
    fill(state, 0)
    watching(state, clock).evaluate()
    grown = generate(seed=11, sensors=10 * zones, zones=zones)
    fill(state, 1, registry=grown)
    clock.now_ms = due(1)
    assert watching(state, clock, grown).evaluate().minutes == 1
    judged = [record for number in range(BUCKETS) if (record := state.record(health.record_key(number)))]
    now = [one for one in map(health.decode, (record.body for record in judged)) if one.judged_ms == end_of(1)]
    assert sorted(zone for one in now for zone in one.zones) == sorted(grown.zones)
