"""A zone's history: every window once, from the lake exactly where its hour was corrected, whatever the boundary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.traffic.history import HOUR_MS, LONGEST_MS, STEPS_MS, History, Source, Sums, faults, read_history
from city_platform.traffic.state import KEEP_MS, WINDOW_MS, Window
from tests.traffic import MemoryState

ZONE = "z-001"
FIRST = 1_780_000_000_000 // HOUR_MS * HOUR_MS
HOURS = 4
PLAIN = Window(
    zone=ZONE, start_ms=FIRST, version=1, revision=0, readings=2, vehicles=9, vehicle_speed=1, pace=2, occupancy=300,
    occupancy_readings=1, index=7, index_readings=2, max_vehicles=8, max_speed_x10=-1, max_occupancy_x1000=3,
    max_index_x1000=4, active=1, sensors=b"", strays=b"", updated_ms=0, ttl=0,
)  # fmt: skip


@dataclass
class Lake:
    """Hours that were corrected, by their start; counts how often they were read."""

    hours: dict[int, Sequence[Sums]] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    after_asking: Mapping[int, Sequence[Sums]] = field(default_factory=dict)  # published once somebody looked

    def published(self, start_ms: int) -> "Hour | None":
        self.asked.append(start_ms)
        found = self.hours.get(start_ms)
        self.hours |= {hour: rows for hour, rows in self.after_asking.items() if hour == start_ms}
        return None if found is None else Hour(found)


@dataclass
class Hour:
    rows: Sequence[Sums]
    version: str = "a" * 16

    def windows(self, zone: str) -> Sequence[Sums]:
        return self.rows if zone == ZONE else ()


def sums(start_ms: int, vehicles: int) -> Sums:
    return Sums(start_ms, 1, vehicles, vehicles * 20_000, 500, 1, 1)


def state_of(vehicles: Mapping[int, int]) -> MemoryState:
    """A state whose windows count so many vehicles, by their start."""
    made = [
        msgspec.structs.replace(PLAIN, start_ms=at, vehicles=count, pace=count * 20_000)
        for at, count in vehicles.items()
    ]
    return MemoryState({one.key: one for one in made})


def read(state: MemoryState | None, lake: Lake, start: int, end: int, step: int, now: int, **more: Any) -> History:
    return read_history(
        more.get("zone", ZONE), start, end, step, state=state, hours=lake, now_ms=now, free_flow_x10=500, active=1
    )


windows_there = st.dictionaries(st.integers(0, HOURS * 360 - 1), st.integers(1, 50), max_size=60)


@given(
    live=windows_there,
    late=windows_there,
    published=st.sets(st.integers(0, HOURS - 1)),
    start_s=st.integers(0, HOURS * 3600 - 1),
    length_s=st.integers(1, HOURS * 3600),
    step=st.sampled_from(STEPS_MS),
    now=st.integers(HOURS * HOUR_MS, KEEP_MS + 3 * HOUR_MS),
)
def test_every_window_counts_once_and_from_the_lake_exactly_where_its_hour_was_corrected(
    live: dict[int, int], late: dict[int, int], published: set[int], start_s: int, length_s: int, step: int, now: int
) -> None:
    start, now = FIRST + start_s * 1000, FIRST + now
    end = start + length_s * 1000
    whole = {at: live.get(at, 0) + late.get(at, 0) for at in {*live, *late}}  # the lake has what came late, too
    lake = Lake({
        FIRST + hour * HOUR_MS: [
            sums(FIRST + at * WINDOW_MS, whole[at]) for at in sorted(whole) if at // 360 == hour
        ]
        for hour in published
    })  # fmt: skip
    state = state_of({FIRST + at * WINDOW_MS: count for at, count in live.items()})
    found = read(state, lake, start, end, step, now)
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


def test_an_hour_that_is_published_while_it_is_read_comes_from_one_of_the_two() -> None:
    state = state_of({FIRST: 5, FIRST + HOUR_MS - WINDOW_MS: 6, FIRST + HOUR_MS: 7})
    corrected = [sums(FIRST, 50), sums(FIRST + HOUR_MS - WINDOW_MS, 60)]
    lake = Lake(after_asking={FIRST: corrected})
    before = read(state, lake, FIRST, FIRST + 2 * HOUR_MS, 10_000, FIRST + 2 * HOUR_MS)
    assert [one.figures.vehicles for one in before.steps] == [5, 6, 7]
    assert lake.asked == [FIRST, FIRST + HOUR_MS], "each hour is looked for once"
    after = read(state, lake, FIRST, FIRST + 2 * HOUR_MS, 10_000, FIRST + 2 * HOUR_MS)
    assert [one.figures.vehicles for one in after.steps] == [50, 60, 7]


def test_a_corrected_hour_in_which_a_zone_said_nothing_is_not_filled_from_the_state() -> None:
    state = state_of({FIRST: 5})
    found = read(state, Lake({FIRST: []}), FIRST, FIRST + HOUR_MS, 60_000, FIRST + HOUR_MS)
    assert (list(found.steps), found.sources, found.versions) == ([], {FIRST: Source.LAKE}, {FIRST: "a" * 16})


def test_what_the_state_forgot_and_the_lake_never_had_is_said_to_be_gone() -> None:
    state, end = state_of({FIRST: 5}), FIRST + HOUR_MS
    assert read(state, Lake(), FIRST, end, 60_000, end + KEEP_MS - 1).sources == {FIRST: Source.STATE}
    assert read(state, Lake(), FIRST, end, 60_000, end + KEEP_MS).sources == {FIRST: Source.GONE}
    assert read(None, Lake({FIRST: [sums(FIRST, 3)]}), FIRST, end + 1, 60_000, end).sources == {
        FIRST: Source.LAKE,
        end: Source.GONE,
    }


def test_a_step_adds_sums_and_means_nothing_twice() -> None:
    lake = Lake({FIRST: [sums(FIRST, 10), sums(FIRST + WINDOW_MS, 30)]})
    (step,) = read(None, lake, FIRST, FIRST + HOUR_MS, HOUR_MS, FIRST + HOUR_MS).steps
    assert (step.windows, step.readings, step.figures.vehicles) == (2, 2, 40)
    assert step.figures.speed_kmh == pytest.approx(50)
    assert step.figures.coverage == 1.0
    assert step.occupancy == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("start", "end", "step", "named"),
    [
        (0, LONGEST_MS, 60_000, set()),
        (0, LONGEST_MS + 1, 60_000, {"from"}),
        (0, 0, 60_000, {"to"}),
        (5, 0, 7, {"to", "step"}),
        (0, LONGEST_MS, 10_000, {"step"}),
        (0, 1_500 * 10_000, 10_000, set()),
    ],
)
def test_a_range_is_bounded_and_all_that_is_wrong_with_it_is_named(
    start: int, end: int, step: int, named: set[str]
) -> None:
    assert set(faults(start, end, step)) == named
    if named:
        with pytest.raises(ValueError, match=next(iter(named))):
            read(None, Lake(), start, end, step, end)
