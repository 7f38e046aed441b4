"""The state machine of congestion: when a level rises, falls, stays, and when nothing is known."""

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.traffic.congestion import (
    LEVELS,
    MINUTE_MS,
    Congestion,
    Figures,
    Level,
    Thresholds,
    ZoneLevel,
    after,
    decode,
    encode,
    judge,
)
from city_platform.traffic.windows import PACE

LIMITS = Thresholds()
NORMAL, SLOW, CONGESTED, SEVERE = LEVELS


def figures(index: float, *, vehicles: int = 1000, heard: int = 8, active: int = 10) -> Figures:
    """A minute of a road of 50 km/h whose index is this one."""
    speed_x10 = 500 * (1 - index / 100)
    return Figures(vehicles, round(vehicles * PACE / speed_x10) if speed_x10 else 0, heard, active, 500)


def levels(indexes: Sequence[float | None], limits: Thresholds = LIMITS) -> list[Level]:
    """The level after each minute; None stands for one of which nothing is known."""
    zone, found = ZoneLevel(), []
    for at, index in enumerate(indexes):
        minute = figures(index or 0.0, heard=0 if index is None else 8)
        zone = after(zone, 10**12 + at * MINUTE_MS, minute, limits)
        found.append(zone.level)
    return found


def changes(found: Sequence[Level]) -> int:
    return sum(one is not other for one, other in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("speed_kmh", "free_flow", "index", "tti", "service"),
    [
        (50, 50, 0.0, 1.0, "A"),
        (60, 50, 0.0, 0.833, "A"),
        (42.5, 50, 15.0, 1.176, "B"),
        (33, 50, 34.0, 1.515, "C"),
        (25, 50, 50.0, 2.0, "D"),
        (20, 50, 60.0, 2.5, "E"),
        (15, 50, 70.0, 3.333, "F"),
        (1, 80, 98.8, 80.0, "F"),
    ],
)
def test_figures_are_those_of_the_definitions(
    speed_kmh: float, free_flow: float, index: float, tti: float, service: str
) -> None:
    one = Figures(1000, round(1000 * PACE / (10 * speed_kmh)), 1, 1, round(10 * free_flow))
    assert one.speed_kmh == pytest.approx(speed_kmh)
    assert (one.index, one.tti, one.service) == (index, tti, service)


def test_without_vehicles_sensors_or_free_flow_nothing_is_known() -> None:
    for nothing in (
        Figures(0, 0, 9, 9, 500),
        Figures(9, 9 * PACE // 300, 9, 9, 0),
        Figures(9, 9 * PACE // 300, 0, 0, 500),
    ):
        assert not nothing.known(LIMITS)
    assert figures(40, vehicles=5).known(LIMITS)
    assert not figures(40, vehicles=4).known(LIMITS)
    assert figures(40, heard=5).known(LIMITS)
    assert not figures(40, heard=4).known(LIMITS)
    assert Figures(9, 9, 12, 10, 500).coverage == 1.0  # a sensor in maintenance may speak all the same


@pytest.mark.parametrize(
    ("indexes", "expected"),
    [
        pytest.param([30, 30], [NORMAL, SLOW], id="two of three rise"),
        pytest.param([30, 29.9, 30], [NORMAL, NORMAL, SLOW], id="with one between"),
        pytest.param([30, 0, 0, 30], [NORMAL] * 4, id="not two of four"),
        pytest.param([80, 80], [NORMAL, SEVERE], id="straight to the highest"),
        pytest.param([50, 80], [NORMAL, CONGESTED], id="as high as two reach"),
        pytest.param([35, 80, 80], [NORMAL, SLOW, SLOW], id="a level dwells two minutes"),
        pytest.param([35, 80, 80, 80], [NORMAL, SLOW, SLOW, SEVERE], id="and then rises"),
        pytest.param([60, 60, 36, 36, 36], [NORMAL] + [CONGESTED] * 4, id="just below is not enough to fall"),
        pytest.param([60, 60, 35, 35, 35], [NORMAL] + [CONGESTED] * 3 + [SLOW], id="three well below fall"),
        pytest.param([60, 60, 35, 36, 35, 35], [NORMAL] + [CONGESTED] * 5, id="three in a row"),
        pytest.param([60, 60, 0, 0, 0], [NORMAL] + [CONGESTED] * 3 + [NORMAL], id="down as far as it goes"),
        pytest.param([90, 90, 16, 16, 16], [NORMAL] + [SEVERE] * 3 + [SLOW], id="down to the level that is not left"),
        pytest.param([60, None, None, 60], [NORMAL] * 4, id="unknown minutes are no minutes above"),
        pytest.param([60, None, 60], [NORMAL, NORMAL, CONGESTED], id="nor in the way"),
        pytest.param([60, 60, 0, None, 0, 0], [NORMAL] + [CONGESTED] * 5, id="unknown minutes clear nothing"),
        pytest.param([60, 60] + [None] * 5, [NORMAL] + [CONGESTED] * 6, id="however many"),
        pytest.param([60, 60, None, None, 0, 0, 0], [NORMAL] + [CONGESTED] * 5 + [NORMAL], id="until it is known"),
    ],
)  # fmt: skip
def test_levels_rise_fall_and_stay(indexes: Sequence[float | None], expected: Sequence[Level]) -> None:
    assert levels(indexes) == expected


def test_a_zone_says_whether_its_newest_minute_is_known() -> None:
    zone = after(ZoneLevel(), MINUTE_MS * 9, figures(10), LIMITS)
    assert zone.known
    assert not after(zone, MINUTE_MS * 10, figures(10, heard=1), LIMITS).known
    assert not ZoneLevel().known


@pytest.mark.parametrize("threshold", [30.0, 50.0, 70.0])
@pytest.mark.parametrize("noise", [1.0, 4.0, 7.0])
def test_noise_about_a_threshold_does_not_flap(threshold: float, noise: float) -> None:
    """A day of it, by a labelled scenario: once up at the most, and never down. A bare comparison changes all day."""
    for seed in range(20):
        draw = random.Random(seed)  # noqa: S311 reproducible, not secret
        indexes = [min(100.0, threshold + draw.gauss(0, noise / 2)) for _ in range(1440)]
        found = levels(indexes)
        expected = LEVELS[LEVELS.index(next(level for level in LEVELS if LIMITS.on(level) == threshold))]
        assert found[-1] is expected
        assert changes(found) <= LEVELS.index(expected)
        bare = [one >= threshold for one in indexes]
        assert sum(one != other for one, other in itertools.pairwise(bare)) > 300


@pytest.mark.parametrize("level", [SLOW, CONGESTED, SEVERE])
@pytest.mark.parametrize("before", [0.0, 25.0, 45.0])
def test_a_jam_is_seen_within_three_windows_and_its_end_within_five(level: Level, before: float) -> None:
    """Whatever was before and whichever part of a minute the jam began in."""
    jam = LIMITS.on(level) + 10
    for share in (0.0, 0.3, 0.7, 1.0):  # of the first minute that the jam fills
        indexes = [before] * 10 + [before + (jam - before) * share] + [jam] * 10 + [0.0] * 10
        found = levels(indexes)
        begun = found.index(level)
        assert begun - 10 < 3 + (share < 1.0)  # the jam is there for whole windows from the next one on
        assert levels(indexes)[10 + (share < 1.0) + 2] is level
        assert found[21 + 4] is NORMAL


@given(st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=60))
def test_a_level_dwells_and_unknown_minutes_change_nothing(indexes: list[float | None]) -> None:
    found = [NORMAL, *levels(indexes)]
    moved = [at for at, (one, other) in enumerate(itertools.pairwise(found)) if one is not other]
    assert all(later - earlier >= 2 for earlier, later in itertools.pairwise(moved))
    assert all(indexes[at] is not None for at in moved)


@given(st.lists(st.floats(0, 99), min_size=3, max_size=30))  # at 100 nothing moves and no index is known
def test_a_level_is_borne_out_by_the_minutes_before_it(indexes: list[float]) -> None:
    found = levels(indexes)
    for at in range(3, len(found)):
        if LEVELS.index(found[at]) > LEVELS.index(found[at - 1]):
            assert sum(figures(one).index >= LIMITS.on(found[at]) for one in indexes[at - 2 : at + 1]) >= 2  # type: ignore[operator]
        if LEVELS.index(found[at]) < LEVELS.index(found[at - 1]):
            assert max(indexes[at - 2 : at + 1]) <= LIMITS.on(found[at - 1]) - LIMITS.margin + 0.1


def test_minutes_that_nobody_judged_count_for_nothing() -> None:
    first = judge(None, 10 * MINUTE_MS, {"z-1": figures(60)}, LIMITS)
    then = judge(first, 11 * MINUTE_MS, {"z-1": figures(60)}, LIMITS)
    later = judge(first, 12 * MINUTE_MS, {"z-1": figures(60), "z-2": figures(0)}, LIMITS)
    assert then.zones["z-1"].level is CONGESTED
    assert (later.zones["z-1"].level, later.zones["z-1"].history) == (NORMAL, (60.0,))
    assert later.zones["z-2"].level is NORMAL
    assert judge(then, 12 * MINUTE_MS, {}, LIMITS).zones == {}  # zones the registry has no more


def test_a_record_is_read_as_it_was_written() -> None:
    zones = {"z-1": after(ZoneLevel(), MINUTE_MS, figures(42.5), LIMITS), "z-2": ZoneLevel(told=SEVERE)}
    assert decode(encode(Congestion(MINUTE_MS, zones))) == Congestion(MINUTE_MS, zones)
