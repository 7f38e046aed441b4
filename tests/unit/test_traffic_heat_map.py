"""The heat map: which window is read, which one a zone is shown with, what its figures mean, how old they are."""

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.traffic.congestion import Level, Thresholds, ZoneLevel
from city_platform.traffic.handler import TrafficHandler
from city_platform.traffic.heat_map import LOOKBACK, OLD_MS, SETTLING_MS, Newest, band, expected_sensors
from city_platform.traffic.registry import generate
from city_platform.traffic.roads import generate_roads
from city_platform.traffic.state import WINDOW_MS, Window
from tests.traffic import NOON, Letters, MemoryState, Told, columns, event, record

REGISTRY = generate(seed=7, sensors=60, zones=4)
ROADS = generate_roads(REGISTRY)


def told(start_ms: int, zones: Iterable[int] = range(4), share: float = 1.0, last_ms: int = 9_000) -> list[Told]:
    """A reading of each sensor of these zones in the window, or of a share of them; the last one then."""
    found = []
    for zone in zones:
        own = REGISTRY.sensors(zone)
        count = round((own.stop - own.start) * share)
        found += [Told(own.start + at, start_ms // 1000 + at, start_ms + last_ms - at, 20 + at) for at in range(count)]
    return found


def windows(readings: list[Told]) -> list[Window]:
    state = MemoryState()
    zones = {int(REGISTRY.zone[one.sensor]) for one in readings}
    packed = [columns([one for one in readings if REGISTRY.zone[one.sensor] == zone], REGISTRY) for zone in zones]
    arrival = max(one.ts_ms for one in readings)
    records = [record(data, at, arrival) for at, data in enumerate(packed)]
    outcome = TrafficHandler(REGISTRY, state, Letters(), lambda: arrival).handle(event(*records))
    assert outcome.accepted == len(readings)
    return list(state.kept.values())


def test_a_zone_is_shown_with_its_newest_window_once_half_of_its_sensors_were_heard() -> None:
    newest = Newest(ROADS)
    newest.add(NOON, windows(told(NOON)), NOON + 11_000)
    assert {one.start_ms for one in newest.zones()} == {NOON}
    newest.add(NOON + WINDOW_MS, windows(told(NOON + WINDOW_MS, share=0.2, last_ms=900)), NOON + 11_000)
    assert {one.start_ms for one in newest.zones()} == {NOON}, "a window that has only begun says too little"
    (second,) = windows(told(NOON + WINDOW_MS, [2], last_ms=1_900))
    newest.add(NOON + WINDOW_MS, [msgspec.structs.replace(second, version=2)], NOON + 12_000)
    shown = {one.zone: one for one in newest.zones()}
    assert [one.start_ms - NOON for one in shown.values()] == [0, 0, WINDOW_MS, 0]
    assert shown["z-002"].age_s(NOON + 12_000) == pytest.approx(0.1)
    assert shown["z-000"].age_s(NOON + 12_000) == pytest.approx(3.0)
    assert not shown["z-002"].final


def test_an_older_window_read_later_changes_nothing_and_a_newer_version_does() -> None:
    newest = Newest(ROADS)
    newest.add(NOON + WINDOW_MS, windows(told(NOON + WINDOW_MS)), NOON + 25_000)
    newest.add(NOON, windows(told(NOON)), NOON + 26_000)
    (first, *_) = newest.zones()
    assert first.start_ms == NOON + WINDOW_MS
    late = [msgspec.structs.replace(one, version=9, revision=3) for one in windows(told(NOON + WINDOW_MS))]
    newest.add(NOON + WINDOW_MS, late, NOON + 40_000)
    assert {(one.revision, one.final) for one in newest.zones()} == {(3, True)}


def test_a_zone_that_fell_silent_keeps_its_last_window_with_its_age() -> None:
    newest = Newest(ROADS)
    newest.add(NOON, windows(told(NOON)), NOON + 10_000)
    now = NOON + 9_000 + OLD_MS + 1
    newest.add(NOON + 40_000, [], now)
    assert all(one.known and one.old(now) for one in newest.zones())
    assert not any(one.old(now - 1) for one in newest.zones())


def test_a_zone_most_of_whose_sensors_fell_silent_becomes_unknown_after_a_minute() -> None:
    newest = Newest(ROADS)
    newest.add(NOON, windows(told(NOON)), NOON + 10_000)
    for back in range(1, LOOKBACK + 2):
        start = NOON + back * WINDOW_MS
        newest.add(start, windows(told(start, share=0.3)), start + WINDOW_MS)
        unknown = {one.level is None for one in newest.zones()}
        assert unknown == {back > LOOKBACK}
    assert all(one.figures.coverage < 0.5 for one in newest.zones())


def test_nothing_heard_is_no_row() -> None:
    newest = Newest(ROADS)
    newest.add(NOON, windows(told(NOON, [1])), NOON + 10_000)
    assert [one.zone for one in newest.zones()] == ["z-001"]


def test_what_was_decided_stands_before_the_band_and_nothing_before_unknown() -> None:
    newest = Newest(ROADS)
    newest.add(NOON, windows(told(NOON, [0, 1]) + told(NOON, [2], share=0.3)), NOON + 10_000)
    severe = ZoneLevel(Level.SEVERE, since_ms=NOON - 1)
    assert [(one.level, one.since_ms) for one in newest.zones(levels={"z-001": severe, "z-002": severe})] == [
        (band(newest.zones()[0].figures.index or 0, Thresholds()), None),
        (Level.SEVERE, NOON - 1),
        (None, None),
    ]
    assert newest.zones({"z-000": 777})[0].figures.free_flow_x10 == 777


def test_vehicles_an_hour_count_the_time_that_was_measured() -> None:
    newest = Newest(ROADS)
    newest.add(NOON, windows(told(NOON, last_ms=4_000)), NOON + 5_000)
    newest.add(NOON, windows(told(NOON, last_ms=4_000)), NOON + 5_500)
    assert [one.vehicles_per_hour for one in newest.zones()] == [one.figures.vehicles * 720 for one in newest.zones()]
    newest.add(NOON, windows(told(NOON, last_ms=4_000)), NOON + 20_000)
    assert [one.vehicles_per_hour for one in newest.zones()] == [one.figures.vehicles * 360 for one in newest.zones()]


def test_the_newest_window_is_read_three_seconds_after_it_began() -> None:
    newest = Newest(ROADS)
    for now in range(NOON, NOON + 60_000, 1_000):
        start = newest.next_start(now)
        assert start == (now - SETTLING_MS) // WINDOW_MS * WINDOW_MS
        newest.add(start, windows(told(start, last_ms=min(9_999, now - start + 900))), now)


def test_after_a_start_and_behind_a_slow_stream_older_windows_are_looked_at_one_by_one() -> None:
    newest, looked = Newest(ROADS), []
    for now in range(NOON + 3_000, NOON + 13_000, 1_000):
        looked.append(newest.next_start(now) - NOON)
        newest.add(looked[-1] + NOON, [], now)
    assert looked[::2] == [0] * 5, "every second read is of the newest"
    assert looked[1::2] == [-WINDOW_MS * back for back in range(1, 6)]


def test_who_asks_seldom_sees_the_newest_window_even_where_a_zone_is_dead() -> None:
    newest = Newest(ROADS)
    for now in range(NOON + 4_000, NOON + 60_000, 5_000):
        start = newest.next_start(now)
        assert start == (now - SETTLING_MS) // WINDOW_MS * WINDOW_MS
        newest.add(start, windows(told(start, [0, 1, 2])), now)


@given(st.lists(st.tuples(st.integers(0, 7_000), st.booleans()), max_size=40))
def test_a_read_is_of_a_window_that_may_be_there_and_never_further_back_than_a_minute(
    turns: list[tuple[int, bool]],
) -> None:
    newest, now = Newest(ROADS), NOON
    some = windows(told(NOON))
    for step, there in turns:
        now += step
        start = newest.next_start(now)
        assert start % WINDOW_MS == 0
        assert now - SETTLING_MS - (LOOKBACK + 1) * WINDOW_MS < start <= now - SETTLING_MS
        found = [msgspec.structs.replace(one, start_ms=start) for one in some] if there else []
        newest.add(start, found, now)


@pytest.mark.parametrize(
    ("index", "level"),
    [(0.0, Level.NORMAL), (29.9, Level.NORMAL), (30.0, Level.SLOW), (50.0, Level.CONGESTED), (70.0, Level.SEVERE)],
)
def test_the_band_of_an_index_is_that_of_the_watchers_thresholds(index: float, level: Level) -> None:
    assert band(index, Thresholds()) is level


def test_sensors_that_measure_once_a_minute_are_expected_in_every_sixth_window() -> None:
    every = expected_sensors(ROADS)
    for zone in range(len(REGISTRY.zones)):
        interval = REGISTRY.interval_s[REGISTRY.sensors(zone)]
        assert every[zone] == round(sum(min(1, 10 / one) for one in interval.tolist()))
