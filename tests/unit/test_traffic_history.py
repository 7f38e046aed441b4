"""A zone's history: every window once, from the lake exactly where its hour was corrected, whatever the boundary."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.traffic.history import (
    SETTLED_MS,
    History,
    Resolution,
    Road,
    Source,
    faults,
    read_history,
)
from city_platform.traffic.hour_sums import HOUR_MS, HourSums, LevelMinutes, Sums, level_minutes
from city_platform.traffic.state import KEEP_MS, WINDOW_MS, Window
from tests.traffic import MemoryState

ZONE = "z-001"
FIRST = 1_780_000_000_000 // HOUR_MS * HOUR_MS
HOURS = 4
DAY_MS = 24 * HOUR_MS
ROAD = Road(500, 1)
PLAIN = Window(
    zone=ZONE, start_ms=FIRST, version=1, revision=0, readings=2, vehicles=9, vehicle_speed=1, pace=2, occupancy=300,
    occupancy_readings=1, index=7, index_readings=2, max_vehicles=8, max_speed_x10=-1, max_occupancy_x1000=3,
    max_index_x1000=4, active=1, sensors=b"", strays=b"", updated_ms=0, ttl=0,
)  # fmt: skip


@dataclass
class Lake:
    """Hours that were corrected, by their start, and the days that were summed; counts what was asked."""

    hours: dict[int, "Hour"] = field(default_factory=dict)
    days: dict[int, dict[int, "Hour"]] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    after_asking: Mapping[int, "Hour"] = field(default_factory=dict)  # published once somebody looked

    def published(self, start_ms: int) -> "Hour | None":
        self.asked.append(start_ms)
        found = self.hours.get(start_ms)
        self.hours |= {hour: one for hour, one in self.after_asking.items() if hour == start_ms}
        return found

    def summed(self, start_ms: int) -> "Day | None":
        found = self.days.get(start_ms)
        return None if found is None else Day(found)


@dataclass
class Hour:
    rows: Sequence[Sums]
    revision: str = "1"

    def windows(self, zone: str) -> Sequence[Sums]:
        return self.rows if zone == ZONE else ()


@dataclass
class Day:
    """As a day of sums is made: each hour's windows added up, no row where there are none."""

    of: Mapping[int, Hour]

    @property
    def revisions(self) -> Mapping[int, str]:
        return {hour: one.revision for hour, one in self.of.items()}

    def hours(self, zone: str) -> Mapping[int, HourSums]:
        return {
            hour: HourSums(added(hour, one.rows), level_minutes(one.rows, hour, hour + HOUR_MS, 500, 1))
            for hour, one in self.of.items()
            if one.windows(zone)
        }


def added(start_ms: int, rows: Iterable[Sums]) -> Sums:
    columns = zip(*(msgspec.structs.astuple(one)[1:] for one in rows), strict=True)
    return Sums(start_ms, *map(sum, columns))


def sums(start_ms: int, vehicles: int) -> Sums:
    return Sums(start_ms, 1, 1, vehicles, vehicles * 20_000, 500, 1, 1)


def state_of(vehicles: Mapping[int, int]) -> MemoryState:
    """A state whose windows count so many vehicles, by their start."""
    made = [
        msgspec.structs.replace(PLAIN, start_ms=at, vehicles=count, pace=count * 20_000)
        for at, count in vehicles.items()
    ]
    return MemoryState({one.key: one for one in made})


def read(
    state: MemoryState | None, lake: Lake, start: int, end: int, resolution: Resolution, now: int, **more: Any
) -> History:
    return read_history(
        ZONE,
        start,
        end,
        resolution,
        state=state,
        hours=lake,
        now_ms=now,
        road=ROAD,
        timezone=more.get("timezone", ZoneInfo("America/Vancouver")),
    )


BELOW_AN_HOUR = [one for one in Resolution if one not in {Resolution.HOUR, Resolution.DAY}]
windows_there = st.dictionaries(st.integers(0, HOURS * 360 - 1), st.integers(1, 50), max_size=60)


@given(
    live=windows_there,
    late=windows_there,
    published=st.sets(st.integers(0, HOURS - 1)),
    start_s=st.integers(0, HOURS * 3600 - 1),
    length_s=st.integers(1, HOURS * 3600),
    resolution=st.sampled_from(BELOW_AN_HOUR),
    now=st.integers(HOURS * HOUR_MS, KEEP_MS + 3 * HOUR_MS),
)
def test_every_window_counts_once_and_from_the_lake_exactly_where_its_hour_was_corrected(
    live: dict[int, int],
    late: dict[int, int],
    published: set[int],
    start_s: int,
    length_s: int,
    resolution: Resolution,
    now: int,
) -> None:
    start, now, step = FIRST + start_s * 1000, FIRST + now, resolution.step_ms
    end = start + length_s * 1000
    whole = {at: live.get(at, 0) + late.get(at, 0) for at in {*live, *late}}  # the lake has what came late, too
    lake = Lake({
        FIRST + hour * HOUR_MS: Hour([
            sums(FIRST + at * WINDOW_MS, whole[at]) for at in sorted(whole) if at // 360 == hour
        ])
        for hour in published
    })  # fmt: skip
    state = state_of({FIRST + at * WINDOW_MS: count for at, count in live.items()})
    found = read(state, lake, start, end, resolution, now)
    expected: dict[int, int] = {}
    for at in sorted(whole):
        began, hour = FIRST + at * WINDOW_MS, at // 360
        forgotten = FIRST + (hour + 1) * HOUR_MS + KEEP_MS <= now
        count = whole[at] if hour in published else 0 if forgotten else live.get(at, 0)
        if start <= began < end and count:
            expected[began // step * step] = expected.get(began // step * step, 0) + count
    assert {one.start_ms: one.figures.vehicles for one in found.steps} == expected
    assert [one.start_ms for one in found.steps] == sorted(expected)
    for one in found.steps:
        assert one.source is found.sources[one.start_ms // HOUR_MS * HOUR_MS]
    assert sorted(found.sources) == list(range(start // HOUR_MS * HOUR_MS, end, HOUR_MS))
    for hour, source in found.sources.items():
        assert (source is Source.LAKE) == ((hour - FIRST) // HOUR_MS in published)


def started(resolution: Resolution, timezone: ZoneInfo, at_ms: int) -> int:
    """The start of the step that a moment lies in."""
    if resolution is Resolution.HOUR:
        return at_ms // HOUR_MS * HOUR_MS
    day = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(timezone).date()
    return int(datetime(day.year, day.month, day.day, tzinfo=timezone).timestamp() * 1000)


HOURS_OF_DAYS = 72
# Days on which clocks go forward and back, in Vancouver, on Lord Howe (by half an hour, at half hours), and where
# midnight does not come.
CLOCKS = (
    ("America/Vancouver", "2026-03-07"), ("America/Vancouver", "2026-10-31"), ("America/St_Johns", "2026-10-31"),
    ("Australia/Lord_Howe", "2026-04-04"), ("America/Santiago", "2026-09-05"), ("UTC", "2026-05-28"),
)  # fmt: skip


# How far an hour has come in the lake: what was corrected first has no late readings, what was corrected again has;
# the sums of its day are of the first version or were made again since.
STATES = ("live", "corrected", "corrected again", "summed", "summed, then corrected again", "summed again")
by_hour = st.lists(st.integers(0, 9), min_size=HOURS_OF_DAYS, max_size=HOURS_OF_DAYS)


@settings(max_examples=50)
@given(
    clock=st.sampled_from(CLOCKS),
    live=by_hour,  # vehicles of the hour's window
    late=by_hour,  # and what came late of them, in another window
    states=st.lists(st.sampled_from(STATES), min_size=HOURS_OF_DAYS, max_size=HOURS_OF_DAYS),
    minutes=st.tuples(st.integers(0, 59), st.integers(0, 59)),
    start_min=st.integers(0, HOURS_OF_DAYS * 60 - 1),
    length_min=st.integers(1, HOURS_OF_DAYS * 60),
    resolution=st.sampled_from([Resolution.HOUR, Resolution.DAY]),
    now_h=st.integers(24, 150) | st.integers(KEEP_MS // HOUR_MS, KEEP_MS // HOUR_MS + HOURS_OF_DAYS),
)
def test_hours_and_days_have_every_window_once_whatever_was_summed_corrected_and_late(
    clock: tuple[str, str],
    live: list[int],
    late: list[int],
    states: list[str],
    minutes: tuple[int, int],
    start_min: int,
    length_min: int,
    resolution: Resolution,
    now_h: int,
) -> None:
    timezone = ZoneInfo(clock[0])
    first = int(datetime.fromisoformat(f"{clock[1]}T00:00Z").timestamp() * 1000)
    start, now = first + start_min * 60_000, first + now_h * HOUR_MS
    end = min(start + length_min * 60_000, first + HOURS_OF_DAYS * HOUR_MS)

    def rows(hour: int, *counted: list[int]) -> list[Sums]:
        """A window for each list, at its minute of the hour; both may be the same one."""
        of_minute: dict[int, int] = {}
        for minute, counts in zip(minutes, counted, strict=False):
            of_minute[minute] = of_minute.get(minute, 0) + counts[hour]
        began = first + hour * HOUR_MS
        return [sums(began + minute * 60_000, some) for minute, some in sorted(of_minute.items()) if some]

    old = {hour: Hour(rows(hour, live), "1") for hour, said in enumerate(states) if said != "live"}
    new = {hour: Hour(rows(hour, live, late), "2") if "again" in states[hour] else one for hour, one in old.items()}
    days: dict[int, dict[int, Hour]] = {}
    for hour in old:
        at = first + hour * HOUR_MS
        if states[hour].startswith("summed"):
            version = new if states[hour] == "summed again" else old
            days.setdefault(at // DAY_MS * DAY_MS, {})[at] = version[hour]
    lake = Lake({first + hour * HOUR_MS: one for hour, one in new.items()}, days)
    state = state_of({one.start_ms: one.vehicles for hour in range(HOURS_OF_DAYS) for one in rows(hour, live)})
    found = read(state, lake, start, end, resolution, now, timezone=timezone)

    def step_of(at_ms: int) -> int:
        return started(resolution, timezone, at_ms)

    def counted(hour: int) -> Hour:
        began, ended = first + hour * HOUR_MS, first + (hour + 1) * HOUR_MS
        if hour not in new:
            return Hour([] if ended + KEEP_MS <= now else rows(hour, live))
        # Long after its end, an hour's sums count though they are not made again yet; but a part of it has none.
        whole = start <= began and ended <= end and step_of(began) == step_of(ended - 1)
        stale = states[hour] == "summed, then corrected again" and whole and ended + SETTLED_MS <= now
        return old[hour] if stale else new[hour]

    expected: dict[int, int] = {}
    for one in (one for hour in range(HOURS_OF_DAYS) for one in counted(hour).rows if start <= one.start_ms < end):
        expected[step_of(one.start_ms)] = expected.get(step_of(one.start_ms), 0) + one.vehicles
    assert {one.start_ms: one.figures.vehicles for one in found.steps} == expected
    for one, after in zip(found.steps, found.steps[1:], strict=False):
        assert one.end_ms <= after.start_ms
    for one in found.steps:
        assert one.minutes is not None
        within = min(one.end_ms, end, max(now, start)) - max(one.start_ms, start)
        assert sum(msgspec.structs.astuple(one.minutes)) * 60_000 >= within
        assert step_of(one.end_ms) != one.start_ms == step_of(one.end_ms - 1)
        if one.source is not Source.MIXED and one.source is not Source.STATE:
            assert one.revision in ({"1", "2"} if resolution is Resolution.HOUR else {None})


def test_a_month_asks_the_lake_for_its_days_and_for_the_newest_hours_alone() -> None:
    start = FIRST // DAY_MS * DAY_MS
    hours = {start + hour * HOUR_MS: Hour([sums(start + hour * HOUR_MS, 7)]) for hour in range(31 * 24)}
    days: dict[int, dict[int, Hour]] = {}
    for at, one in hours.items():
        days.setdefault(at // DAY_MS * DAY_MS, {})[at] = one
    lake = Lake(hours, days)
    end = start + 31 * DAY_MS
    found = read(None, lake, start, end, Resolution.HOUR, end)
    assert [one.figures.vehicles for one in found.steps] == [7] * 31 * 24
    assert lake.asked == list(range(end - SETTLED_MS, end, HOUR_MS))


def test_a_day_lasts_as_long_as_the_citys_clock_says() -> None:
    spring = int(datetime(2026, 3, 8, 8, tzinfo=UTC).timestamp() * 1000)  # midnight there
    lake = Lake({spring: Hour([sums(spring, 3)])})
    (step,) = read(None, lake, spring, spring + DAY_MS, Resolution.DAY, spring + 9 * DAY_MS).steps
    assert timedelta(milliseconds=step.end_ms - step.start_ms) == timedelta(hours=23)


def test_minutes_are_told_by_the_band_of_their_index_and_unknown_where_too_little_was_heard() -> None:
    def minute(number: int, vehicles: int, kmh: int, heard: int) -> Sums:
        return Sums(FIRST + number * 60_000, 6, heard, vehicles, vehicles * 1_000_000 // kmh, 0, 0, heard)

    windows = [
        minute(0, 50, 50, 6), minute(1, 50, 34, 6), minute(2, 50, 20, 6), minute(3, 50, 10, 6),
        minute(4, 4, 50, 6), minute(5, 50, 50, 2),
    ]  # fmt: skip
    assert level_minutes(windows, FIRST, FIRST + HOUR_MS, 500, 1) == LevelMinutes(1, 1, 1, 1, 56)
    assert level_minutes([], FIRST, FIRST + 90_000, 500, 1) == LevelMinutes(unknown=2)


def test_an_hour_that_is_published_while_it_is_read_comes_from_one_of_the_two() -> None:
    state = state_of({FIRST: 5, FIRST + HOUR_MS - WINDOW_MS: 6, FIRST + HOUR_MS: 7})
    corrected = Hour([sums(FIRST, 50), sums(FIRST + HOUR_MS - WINDOW_MS, 60)])
    lake = Lake(after_asking={FIRST: corrected})
    asked = (FIRST, FIRST + 2 * HOUR_MS, Resolution.MINUTE, FIRST + 2 * HOUR_MS)
    assert [one.figures.vehicles for one in read(state, lake, *asked).steps] == [5, 6, 7]
    assert lake.asked == [FIRST, FIRST + HOUR_MS], "each hour is looked for once"
    assert [one.figures.vehicles for one in read(state, lake, *asked).steps] == [50, 60, 7]


def test_a_corrected_hour_in_which_a_zone_said_nothing_is_not_filled_from_the_state() -> None:
    state = state_of({FIRST: 5})
    for resolution in (Resolution.MINUTE, Resolution.HOUR, Resolution.DAY):
        day = {FIRST // DAY_MS * DAY_MS: {FIRST: Hour([])}}
        found = read(state, Lake({FIRST: Hour([])}, day), FIRST, FIRST + HOUR_MS, resolution, FIRST + HOUR_MS)
        assert (list(found.steps), found.sources) == ([], {FIRST: Source.LAKE})


def test_what_the_state_forgot_and_the_lake_never_had_is_said_to_be_gone() -> None:
    state, end = state_of({FIRST: 5}), FIRST + HOUR_MS
    asked = (FIRST, end, Resolution.MINUTE)
    assert read(state, Lake(), *asked, end + KEEP_MS - 1).sources == {FIRST: Source.STATE}
    assert read(state, Lake(), *asked, end + KEEP_MS).sources == {FIRST: Source.GONE}
    assert read(None, Lake({FIRST: Hour([sums(FIRST, 3)])}), FIRST, end + 1, Resolution.MINUTE, end).sources == {
        FIRST: Source.LAKE,
        end: Source.GONE,
    }


def test_a_day_that_is_not_over_is_of_the_lake_and_of_the_state() -> None:
    lake = Lake({FIRST: Hour([sums(FIRST, 10)])})
    state = state_of({FIRST: 9, FIRST + HOUR_MS: 7})
    (step,) = read(state, lake, FIRST, FIRST + 2 * HOUR_MS, Resolution.DAY, FIRST + 2 * HOUR_MS).steps
    assert (step.source, step.figures.vehicles, step.revision) == (Source.MIXED, 17, None)
    assert step.minutes == LevelMinutes(unknown=120), "one window of six tells nothing of its minute"


def test_a_step_adds_sums_and_means_nothing_twice() -> None:
    lake = Lake({FIRST: Hour([sums(FIRST, 10), sums(FIRST + WINDOW_MS, 30)])})
    (step,) = read(None, lake, FIRST, FIRST + HOUR_MS, Resolution.HOUR, FIRST + HOUR_MS).steps
    assert (step.windows, step.readings, step.figures.vehicles, step.revision) == (2, 2, 40, "1")
    assert step.figures.speed_kmh == pytest.approx(50)
    assert step.figures.coverage == pytest.approx(2 / 360)
    assert step.occupancy == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("start", "end", "resolution", "named"),
    [
        (0, DAY_MS, Resolution.MINUTE, set()),
        (0, DAY_MS + 1, Resolution.MINUTE, {"from"}),
        (0, 0, Resolution.MINUTE, {"to"}),
        (0, DAY_MS, Resolution.TEN_SECONDS, {"resolution"}),
        (0, 1_500 * 10_000, Resolution.TEN_SECONDS, set()),
        (0, 62 * DAY_MS, Resolution.HOUR, set()),
        (0, 62 * DAY_MS + 1, Resolution.HOUR, {"from"}),
        (0, 184 * DAY_MS, Resolution.DAY, set()),
        (0, 184 * DAY_MS + 1, Resolution.DAY, {"from"}),
    ],
)
def test_a_range_is_bounded_and_what_is_wrong_with_it_is_named(
    start: int, end: int, resolution: Resolution, named: set[str]
) -> None:
    assert set(faults(start, end, resolution)) == named
    if named:
        with pytest.raises(ValueError, match=next(iter(named))):
            read(None, Lake(), start, end, resolution, end)
