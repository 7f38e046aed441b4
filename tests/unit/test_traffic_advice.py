"""Ways around a jam and shares of green: advice, checked against all there is and against the formulas."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.traffic.advice import (
    LONGEST_CYCLE_S,
    SHORTEST_CYCLE_S,
    SHORTEST_GREEN_S,
    Network,
    Phase,
    Road,
    green_split,
    shortest_paths,
)

ROADS = [
    Road("a", "b", 1000, 60), Road("b", "d", 1000, 60),  # the usual way: two minutes
    Road("a", "c", 1500, 60), Road("c", "d", 1500, 60),
    Road("c", "b", 600, 60), Road("d", "a", 1000, 60),
]  # fmt: skip


def test_a_jam_on_the_usual_way_is_gone_around_and_told_what_it_saves() -> None:
    empty = Network(ROADS, {}).reroute("a", "d")
    assert empty is not None
    assert (empty.usual.zones, empty.saves_s, empty.worthwhile) == (("a", "b", "d"), 0, False)
    assert [way.zones for way in empty.ways] == [("a", "b", "d"), ("a", "c", "d"), ("a", "c", "b", "d")]
    assert [way.live_s for way in empty.ways] == pytest.approx([120, 180, 186])
    assert [way.assumed for way in empty.ways] == [2, 2, 3]
    jam = Network(ROADS, {("a", "b"): 10.0, ("c", "d"): 45.0}).reroute("a", "d")
    assert jam is not None
    assert [way.zones for way in jam.ways] == [("a", "c", "b", "d"), ("a", "c", "d"), ("a", "b", "d")]
    assert jam.usual.live_s == pytest.approx(360 + 60)
    assert jam.saves_s == pytest.approx(420 - 186)
    assert jam.worthwhile
    assert jam.advisory


def test_standing_traffic_and_impossible_speeds_give_finite_times() -> None:
    odd = Network(ROADS, {("a", "b"): 0.0, ("b", "d"): 500.0, ("a", "c"): math.nan}).reroute("a", "d")
    assert odd is not None
    assert odd.usual.live_s == pytest.approx(1200 + 60)  # 3 km/h, and no faster than empty
    assert [way.assumed for way in odd.ways] == [2, 2, 0]  # a speed that is no number is none


def test_what_cannot_be_advised_is_said() -> None:
    network = Network([*ROADS, Road("x", "a", 10, 10)], {})
    assert network.reroute("a", "x") is None
    for origin, destination, ways in (("a", "nowhere", 1), ("a", "a", 1), ("a", "d", 0), ("a", "d", 11)):
        with pytest.raises(ValueError, match="two different zones with roads"):
            network.reroute(origin, destination, ways)
    with pytest.raises(ValueError, match="two roads a -> b"):
        Network([*ROADS, ROADS[0]], {})
    with pytest.raises(ValueError, match="must be above 0"):
        Road("a", "b", 0, 50)


@settings(max_examples=60)
@given(st.dictionaries(st.tuples(*[st.sampled_from("abcdef")] * 2), st.integers(1, 9), max_size=30), st.integers(1, 10))
def test_the_fastest_ways_are_those_of_all_ways_without_loops(roads: dict[tuple[str, str], int], count: int) -> None:
    times: dict[str, dict[str, float]] = {zone: {} for zone in "abcdef"}
    for (start, end), seconds in roads.items():
        if start != end:
            times[start][end] = seconds
    every = []
    for length in range(5):
        for between in itertools.permutations("bcde", length):
            path = ("a", *between, "f")
            if all(end in times[start] for start, end in itertools.pairwise(path)):
                every.append((sum(times[start][end] for start, end in itertools.pairwise(path)), path))
    found = shortest_paths(times, "a", "f", count)
    spent = [sum(times[start][end] for start, end in itertools.pairwise(path)) for path in found]
    assert spent == [seconds for seconds, _ in sorted(every)[:count]]
    assert len(set(found)) == len(found)
    assert set(found) <= {path for _, path in every}


def test_green_is_shared_as_webster_has_it() -> None:
    # Flow ratios 720/3600 = 0.2 and 720/1800 = 0.4; (1.5 x 10 + 5) / (1 - 0.6) = 50 s, of which 40 s are green.
    proposal = green_split([Phase("main", [(720, 2), (300, 1)]), Phase("side", [(720, 1)])], lost_s=10)
    assert (proposal.cycle_s, proposal.green_s) == (50, {"main": 13, "side": 27})
    assert proposal.flow_ratio == pytest.approx(0.6)
    assert not proposal.oversaturated
    assert proposal.advisory

    def webster(demand: float, lanes: int, green: int) -> float:
        share = green / 50
        x, q = demand / (lanes * 1800 * share), demand / 3600
        return 0.9 * (50 * (1 - share) ** 2 / (2 * (1 - share * x)) + x * x / (2 * q * (1 - x)))

    expected = (720 * webster(720, 2, 13) + 300 * webster(300, 1, 13) + 720 * webster(720, 1, 27)) / 1740
    assert proposal.delay_s == pytest.approx(expected)


def test_too_much_traffic_is_marked_and_gets_the_longest_cycle() -> None:
    proposal = green_split([Phase("main", [(1500, 1)]), Phase("side", [(500, 1)])], lost_s=10)
    assert proposal.oversaturated
    assert (proposal.cycle_s, proposal.green_s) == (LONGEST_CYCLE_S, {"main": 83, "side": 27})
    assert proposal.delay_s is None


@settings(max_examples=60)
@given(st.lists(st.floats(0, 4000), min_size=2, max_size=6), st.integers(0, 30))
def test_all_green_is_handed_out_and_nobody_goes_without(demands: list[float], lost: int) -> None:
    phases = [Phase(f"p{index}", [(demand, 1)]) for index, demand in enumerate(demands)]
    proposal = green_split(phases, lost)
    greens = list(proposal.green_s.values())
    assert sum(greens) + lost == proposal.cycle_s
    assert min(greens) >= SHORTEST_GREEN_S
    assert SHORTEST_CYCLE_S <= proposal.cycle_s <= LONGEST_CYCLE_S
    for (one, green), (other, less) in itertools.permutations(zip(demands, greens, strict=True), 2):
        assert one < other or green >= less - 1  # with as much demand no less green, but for rounding
    assert green_split(phases, lost) == proposal


def test_impossible_junctions_are_refused() -> None:
    one, other = Phase("one", [(100, 1)]), Phase("other", [(100, 1)])
    for phases, lost in (([one], 10), ([one, one], 10), ([one, other], 110), ([one, other], -1)):
        with pytest.raises(ValueError, match="two or more phases of different names"):
            green_split(phases, lost)
    with pytest.raises(ValueError, match="at least a lane"):
        Phase("empty", [(-1, 1)])
