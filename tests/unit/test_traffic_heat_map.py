"""The heat map: which window is read, which one a zone is shown with, what its figures mean, how old they are."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.traffic.congestion import Level, Thresholds, ZoneLevel, band
from city_platform.traffic.heat_map import LOOKBACK, OLD_MS, Newest, expected_sensors
from city_platform.traffic.registry import generate
from city_platform.traffic.roads import generate_roads
from city_platform.traffic.state import BUCKETS, WINDOW_MS, Window, bucket
from city_platform.traffic.windows import newest_ms, unpack_sensors
from tests.live_traffic import REGISTRY, ROADS, count, told
from tests.traffic import NOON, MemoryState


@dataclass
class Counting(MemoryState):
    """A state that notes each query: a window's start and the bucket."""

    queries: list[tuple[int, int]] = field(default_factory=list)

    def city(self, start_ms: int, parts: Sequence[int] = range(BUCKETS)) -> Sequence[Window]:
        self.queries += [(start_ms, part) for part in parts]
        return MemoryState.city(self, start_ms, parts)

    def read(self) -> set[int]:
        """Which windows were read since somebody asked."""
        found = {start - NOON for start, _ in self.queries}
        assert len(self.queries) <= BUCKETS
        self.queries.clear()
        return found


@pytest.fixture
def state() -> Counting:
    return Counting()


@pytest.fixture
def newest() -> Newest:
    return Newest(ROADS)


def starts(newest: Newest) -> list[int]:
    return [one.start_ms - NOON for one in newest.zones()]


def test_the_first_map_is_of_the_last_whole_window(state: Counting, newest: Newest) -> None:
    count(state, told(NOON))
    count(state, told(NOON + WINDOW_MS, last_ms=900))
    newest.read(state, NOON + 11_000)
    assert (starts(newest), state.read()) == ([0] * 4, {0})


def test_the_open_window_is_shown_once_it_says_half_of_what_the_last_one_did(state: Counting, newest: Newest) -> None:
    count(state, told(NOON))
    newest.read(state, NOON + 10_000)
    state.read()
    begun = told(NOON + WINDOW_MS, share=0.3, last_ms=900)
    count(state, begun)
    newest.read(state, NOON + 11_500)
    assert (starts(newest), state.read()) == ([0] * 4, {0, WINDOW_MS})
    heard = {one.sensor for one in begun}
    count(state, [one for one in told(NOON + WINDOW_MS, last_ms=1_900) if one.sensor not in heard])
    newest.read(state, NOON + 12_500)
    assert (starts(newest), state.read()) == ([WINDOW_MS] * 4, {WINDOW_MS})
    first = newest.zones()[0]
    assert first.age_s(NOON + 12_500) == pytest.approx(0.6, abs=0.01)
    assert not first.final


def test_a_window_read_again_is_as_it_stands_then(state: Counting, newest: Newest) -> None:
    count(state, told(NOON))
    newest.read(state, NOON + 10_000)
    assert {(one.revision, one.final) for one in newest.zones()} == {(0, False)}
    for key, window in state.kept.items():
        state.kept[key] = msgspec.structs.replace(window, version=9, revision=3)
    newest.read(state, NOON + 20_000)
    assert {(one.revision, one.final) for one in newest.zones()} == {(3, True)}


def test_a_zone_that_fell_silent_keeps_its_last_window_with_its_age(state: Counting, newest: Newest) -> None:
    count(state, told(NOON))
    newest.read(state, NOON + 10_000)
    now = NOON + 9_000 + OLD_MS
    newest.read(state, now)
    assert all(one.known and not one.old(now) and one.old(now + 1) for one in newest.zones())


def test_a_zone_most_of_whose_sensors_fell_silent_becomes_unknown_after_a_minute(
    state: Counting, newest: Newest
) -> None:
    count(state, told(NOON))
    newest.read(state, NOON + 10_000)
    for back in range(1, LOOKBACK + 2):
        start = NOON + back * WINDOW_MS
        count(state, told(start, share=0.3))
        newest.read(state, start + 9_500)
        newest.read(state, start + 12_500)
        assert {one.level is None for one in newest.zones()} == {back > LOOKBACK}
    assert all(one.figures.coverage < 0.5 for one in newest.zones())


def test_the_newest_time_is_that_of_the_unpacked_sensors(state: Counting) -> None:
    for turn in range(3):
        count(state, told(NOON + turn * WINDOW_MS, share=0.2 + turn / 5, last_ms=2_345 * turn + 90))
    assert len(state.kept) == 12
    for window in state.kept.values():
        assert newest_ms(window) == int(unpack_sensors(window).ts_ms.max())


def test_a_quiet_zone_stays_as_it_was_until_its_window_is_over(state: Counting, newest: Newest) -> None:
    for start in (NOON, NOON + WINDOW_MS):
        count(state, told(start, [0]))
    quiet = state.kept["z-000", NOON + WINDOW_MS]
    state.kept[quiet.key] = msgspec.structs.replace(quiet, vehicles=4)
    newest.read(state, NOON + 10_000)
    newest.read(state, NOON + 19_500)
    assert [(one.start_ms, one.known) for one in newest.zones()] == [(NOON, True)]
    for seconds in (21, 24, 27):
        newest.read(state, NOON + seconds * 1000)
    assert [(one.start_ms, one.known) for one in newest.zones()] == [(NOON + WINDOW_MS, False)]


def test_nothing_heard_is_no_row(state: Counting, newest: Newest) -> None:
    count(state, told(NOON, [1]))
    newest.read(state, NOON + 10_000)
    assert [one.zone for one in newest.zones()] == ["z-001"]


def test_a_city_of_which_few_sensors_speak_is_read_where_they_do(state: Counting, newest: Newest) -> None:
    """A fleet that is being built: no zone says enough to be known, and all are still of now."""
    for turn in range(5):
        count(state, told(NOON + turn * WINDOW_MS, share=0.1, last_ms=1_000))
        newest.read(state, NOON + turn * WINDOW_MS + 5_000)
        newest.read(state, NOON + turn * WINDOW_MS + 9_500)
        assert starts(newest) == [turn * WINDOW_MS] * 4
        assert not any(one.known for one in newest.zones())


def test_where_zones_are_missing_and_there_is_time_older_windows_are_read_in_between(
    state: Counting, newest: Newest
) -> None:
    count(state, told(NOON - 4 * WINDOW_MS, [3]))
    for start in (NOON - WINDOW_MS, NOON):
        count(state, told(start, [0, 1, 2], last_ms=900))
    read = []
    for second in range(1, 10):
        newest.read(state, NOON + 1_000 * second)
        read.append(state.read())
        assert starts(newest)[:3] == [-WINDOW_MS if second == 1 else 0] * 3, "an older window replaces no newer one"
    assert read[:4] == [{-WINDOW_MS}, {0}, {-2 * WINDOW_MS}, {0}]
    assert starts(newest) == [0, 0, 0, -4 * WINDOW_MS]


def test_behind_a_slow_stream_the_newest_window_that_has_anything_is_found(state: Counting, newest: Newest) -> None:
    for turn in range(8):
        count(state, told(NOON + turn * WINDOW_MS))
    for poll in range(8):  # what was measured is stored a good half minute later
        now = NOON + 8 * WINDOW_MS + 36_000
        newest.read(state, now + poll * 500)
    assert starts(newest) == [7 * WINDOW_MS] * 4


@pytest.mark.parametrize("every", [1_000, 3_000, 5_000])
@pytest.mark.parametrize("takes", [500, 2_000, 3_500])
@pytest.mark.parametrize("when", [500, 4_000, 9_000])
def test_a_reading_is_on_the_map_within_ten_seconds(
    state: Counting, newest: Newest, every: int, takes: int, when: int
) -> None:
    """All sensors measure at one moment of each ten seconds, the worst they can do, and one zone is dead."""
    measured = [NOON + turn * WINDOW_MS + when for turn in range(12)]
    shown: dict[int, int] = {}
    for now in range(NOON, NOON + 130_000, 500):
        for moment in measured:
            if moment + takes <= now < moment + takes + 500:
                count(state, told(moment - when, [0, 1, 3], last_ms=when))
        if (now - NOON) % every == 0:
            newest.read(state, now)
            state.read()
            for one in newest.zones():
                if one.zone == "z-000":
                    shown.setdefault(one.measured_ms, now)
    assert sorted(shown)[-11:] == measured[-11:]
    assert max(shown[moment] - moment for moment in measured[1:]) <= takes + every + 2_000 <= 10_500


@pytest.mark.parametrize("behind", range(8))
def test_of_a_whole_city_a_read_is_sixteen_queries_however_far_it_looks(state: Counting, behind: int) -> None:
    registry = generate(seed=7, sensors=200, zones=100)
    assert {bucket(zone) for zone in registry.zones} == set(range(BUCKETS))
    newest = Newest(generate_roads(registry))
    count(state, told(NOON, [0]))
    (one,) = state.kept.values()
    state.kept = {(zone, NOON): msgspec.structs.replace(one, zone=zone) for zone in registry.zones}
    seen: set[str] = set()
    now = NOON + behind * WINDOW_MS + 5_000
    for turn in range(6):
        newest.read(state, now + turn * 2_100)
        assert len(state.queries) == BUCKETS
        state.read()
        seen |= {one.zone for one in newest.zones()}
    assert len(seen) == (100 if behind <= LOOKBACK else 0)


@given(st.lists(st.tuples(st.integers(0, 25_000), st.booleans()), max_size=25))
@settings(max_examples=40)
def test_no_read_asks_more_than_one_query_a_bucket_nor_further_back_than_a_minute(
    turns: list[tuple[int, bool]],
) -> None:
    state, newest, now = Counting(), Newest(ROADS), NOON
    count(state, told(NOON))
    (first, *rest) = list(state.kept.values())
    for step, there in turns:
        now += step
        if there:
            for one in (first, *rest):
                moved = msgspec.structs.replace(one, start_ms=now // WINDOW_MS * WINDOW_MS)
                state.kept[moved.key] = moved
        before = {one.zone: one.start_ms for one in newest.zones()}
        newest.read(state, now)
        opened = now // WINDOW_MS * WINDOW_MS
        for start in state.read():
            assert opened - (LOOKBACK + 1) * WINDOW_MS < start + NOON <= opened
        after = {one.zone: one.start_ms for one in newest.zones()}
        assert all(after[zone] >= start for zone, start in before.items())


def test_what_was_decided_stands_before_the_band_and_nothing_before_unknown(state: Counting, newest: Newest) -> None:
    count(state, told(NOON, [0, 1]) + told(NOON, [2], share=0.3))
    newest.read(state, NOON + 10_000)
    severe = ZoneLevel(Level.SEVERE, since_ms=NOON - 1)
    assert [(one.level, one.since_ms) for one in newest.zones(levels={"z-001": severe, "z-002": severe})] == [
        (band(newest.zones()[0].figures.index or 0, Thresholds()), None),
        (Level.SEVERE, NOON - 1),
        (None, None),
    ]
    assert newest.zones({"z-000": 777})[0].figures.free_flow_x10 == 777


def test_vehicles_an_hour_count_the_time_that_was_measured(state: Counting, newest: Newest) -> None:
    count(state, told(NOON, last_ms=4_000))
    newest.read(state, NOON + 10_000)
    assert [one.vehicles_per_hour for one in newest.zones()] == [one.figures.vehicles * 720 for one in newest.zones()]
    newest.read(state, NOON + 20_000)
    assert [one.vehicles_per_hour for one in newest.zones()] == [one.figures.vehicles * 360 for one in newest.zones()]


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
