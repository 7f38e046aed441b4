"""A day of the whole fleet: how often chance alone calls it unusual, and what is found however many zones there are."""

import numpy as np
import pytest

from city_platform.traffic.anomalies import DAY_S
from city_platform.traffic.unusual_day import (
    BLOCK_S,
    BLOCKS,
    CITY_OF,
    Change,
    Days,
    Judgement,
    Tail,
    step_up,
    two_sided,
)
from tests.traffic_fleets import HISTORY, Fleet

NOON = 4


def alarms(fleet: Fleet) -> int:
    days = fleet.flow.shape[1] - HISTORY
    return sum(bool(fleet.judge(first).changes) for first in range(days))


@pytest.mark.parametrize("tails", [None, 5.0])
def test_quiet_days_of_many_zones_are_hardly_ever_unusual(tails: float | None) -> None:
    """Four of 25 days is what a rate of 1 % brings less often than once in eight thousand fleets."""
    assert alarms(Fleet.quiet(120, HISTORY + 25, seed=11, tails=tails)) <= 3


FLEET = Fleet.quiet(200, HISTORY, seed=4)


def test_one_zone_that_loses_half_its_flow_for_three_hours_is_found_and_no_other() -> None:
    def halve(flow: np.ndarray) -> None:
        flow[7, -1, NOON] *= 0.5

    worst, *others = FLEET.judge(change=halve).changes
    assert (worst.zone, worst.start_s, worst.length_s) == ("z-007", (HISTORY - 1) * DAY_S + NOON * BLOCK_S, BLOCK_S)
    assert worst.share == pytest.approx(-0.5, abs=0.12)
    assert {one.zone for one in others} <= {"z-007"}


def test_many_smaller_changes_are_found_together() -> None:
    def less(flow: np.ndarray) -> None:
        flow[20:30, -1] *= 0.8

    found = FLEET.judge(change=less).changes
    changed = {f"z-{zone:03d}" for zone in range(20, 30)}
    assert len({one.zone for one in found} & changed) >= 3
    assert {one.zone for one in found} <= changed


def test_a_small_change_of_all_zones_is_the_citys_and_no_zones() -> None:
    def less(flow: np.ndarray) -> None:
        flow[:, -1] *= 0.95

    found = FLEET.judge(change=less).changes
    assert {one.zone for one in found} == {None}
    assert found[0].share == pytest.approx(-0.05, abs=0.02)


def test_a_few_zones_have_no_city_in_common() -> None:
    def less(flow: np.ndarray) -> None:
        flow[:, -1] *= 0.5

    few = Fleet.quiet(CITY_OF - 1, HISTORY, seed=2).judge(change=less)
    assert few.compared == (CITY_OF - 1) * (BLOCKS + 1)
    assert None not in {one.zone for one in few.changes}
    assert few.changes


def test_what_too_little_is_known_of_is_not_judged() -> None:
    flow = Fleet.quiet(20, HISTORY, seed=3).flow
    flow[0, 5:-1] = np.nan  # five days and today
    flow[1, -1, :4] = np.nan
    flow[2] = 0.0  # nothing ever drives there, which is usual
    judged = Fleet(flow).judge()
    assert judged.compared == (20 - 1) * BLOCKS - 4 + (20 - 2) + BLOCKS + 1
    assert "z-002" not in {one.zone for one in judged.changes}
    assert Fleet(flow).judge(change=lambda some: some.fill(np.nan)) == Judgement([], 0)


def test_a_day_that_is_not_over_is_judged_by_its_blocks_and_the_day_before_as_a_day() -> None:
    end, hour = 20 * DAY_S, 3600
    days = Days(0, end + 7 * hour - 300, 300)
    times = np.arange(0, end + 7 * hour, 300)
    values = np.random.default_rng(1).poisson(100, len(times)).astype(float)
    values[(times >= end + 3 * hour) & (times < end + 6 * hour)] = 10
    days.add("z", times, {"flow": values})
    found = days.judge()
    assert found.compared == 7 + 1
    assert [(one.start_s, one.length_s) for one in found.changes] == [(end + 3 * hour, BLOCK_S)]


def test_students_distribution_is_near_enough_in_its_tail() -> None:
    for freedom in (5, 10, 25):
        grid = np.linspace(0, 400, 1_000_001)
        mass = np.cumsum((1 + grid**2 / freedom) ** (-(freedom + 1) / 2))
        for t in (1.0, 3.0, 6.0):
            exact = 1 - np.interp(t, grid, mass) / mass[-1]
            assert two_sided(t, freedom) == pytest.approx(exact, rel=0.15)
    assert two_sided(0, 7) == 1


def test_step_up_keeps_all_up_to_the_last_that_stands_out() -> None:
    def family(*chances: float) -> list[Change]:
        return [Change(str(place), 0, BLOCK_S, "flow", 0.1, chance) for place, chance in enumerate(chances)]

    assert [one.chance for one in step_up(family(0.5, 0.02, 0.019, 0.018), 0.03)] == [0.018, 0.019, 0.02]
    assert step_up(family(0.5, 0.02, 0.2, 0.3), 0.03) == []
    assert step_up([], 0.03) == []


def test_a_tail_goes_on_as_its_values_do() -> None:
    draw = np.random.default_rng(8)
    for values, beyond in (
        (draw.exponential(1, 50_000), lambda x: np.exp(-x)),
        (draw.pareto(4, 50_000), lambda x: (1 + x) ** -4.0),
    ):
        tail = Tail.of(values)
        for further in (1.0, 3.0):
            x = tail.start + further
            assert tail.beyond(x) == pytest.approx(beyond(x), rel=0.6)
        assert tail.beyond(-x) == tail.beyond(x)
        assert tail.beyond(tail.start) == 0
    for too_little in (np.arange(50.0), np.zeros(5_000)):
        assert Tail.of(too_little).beyond(1e9) == 0
