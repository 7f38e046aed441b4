"""From the newest windows to ways around and shares of green."""

import numpy as np
import pytest

from city_platform.traffic import live_advice
from city_platform.traffic.handler import TrafficHandler
from city_platform.traffic.live_advice import (
    EAST_WEST,
    LOST_S,
    NORTH_SOUTH,
    GreenProposal,
    Live,
    WayAround,
    green_proposals,
    live,
    ways_around,
)
from city_platform.traffic.registry import generate
from city_platform.traffic.roads import Roads, generate_roads
from tests.traffic import NOON, Letters, MemoryState, event, record
from tests.traffic_lake import Measured, measured_frames

CITY = generate(seed=3, sensors=600, zones=30)
ROADS = generate_roads(CITY)
FREE = dict.fromkeys(CITY.zones, 500)


def now(speeds_kmh: dict[int, float]) -> Live:
    """All sensors heard once; those of the segments that begin in these zones drive slower."""
    told = [
        Measured(sensor, 100, NOON + 1_000, 10, round(10 * speeds_kmh.get(int(zone), 50.0)))
        for sensor, zone in enumerate(CITY.zone)
    ]
    state = MemoryState()
    handler = TrafficHandler(CITY, state, Letters(), lambda: NOON)
    assert handler.handle(event(*(record(one, n) for n, one in enumerate(measured_frames(told, CITY))))).rejected == {}
    return live(ROADS, state.city(NOON), FREE)


def inner_zone(roads: Roads) -> int:
    """A zone with roads in all four directions."""
    return next(zone for zone in range(len(CITY.zones)) if (roads.end == zone).sum() == 4)


def test_live_speed_flow_and_index_are_those_that_were_measured() -> None:
    zone = inner_zone(ROADS)
    found = now({zone: 20.0})
    slow = ROADS.start == zone
    assert found.speed_kmh[slow] == pytest.approx(20.0)
    assert found.speed_kmh[~slow] == pytest.approx(50.0)
    assert found.index[zone] == pytest.approx(60.0, abs=0.01)
    assert np.delete(found.index, zone) == pytest.approx(0.0, abs=0.01)
    segment = int(np.flatnonzero(slow)[0])
    rates = 10 * 3600 / CITY.interval_s[ROADS.sensor_segment == segment]
    assert found.flow_vph[segment] == pytest.approx(rates.mean())


def test_nothing_heard_is_not_nothing_moving() -> None:
    found = live(ROADS, [], FREE)
    assert np.isnan(found.speed_kmh).all()
    assert np.isnan(found.index).all()
    assert not list(ways_around(found))
    assert not list(green_proposals(found))


def test_zones_without_a_vehicle_are_not_congested() -> None:
    told = [Measured(sensor, 100, NOON + 1_000, 0, None) for sensor in range(len(CITY))]
    state = MemoryState()
    TrafficHandler(CITY, state, Letters(), lambda: NOON).handle(
        event(*(record(one, n) for n, one in enumerate(measured_frames(told, CITY))))
    )
    found = live(ROADS, state.city(NOON), FREE)
    assert np.isnan(found.index).all()
    assert not list(ways_around(found))
    [first, *_] = green_proposals(found)
    assert set(first.demand_vph.values()) == {0.0}


def test_a_jam_has_ways_around_it_that_are_worth_their_while_and_marked() -> None:
    zone = inner_zone(ROADS)
    ways = list(ways_around(now({zone: 2.0})))
    assert ways
    for one in ways:
        assert isinstance(one, WayAround)
        assert one.advisory
        assert one.zone == CITY.zones[zone]
        assert one.zone in one.usual.zones[1:-1]
        assert one.zone not in one.way.zones
        assert one.saves_s == pytest.approx(one.usual.live_s - one.way.live_s)
        assert one.saves_s >= 60
        assert one.way.assumed == 0
    assert not list(ways_around(now({})))


def test_of_many_jams_the_worst_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = [zone for zone in range(len(CITY.zones)) if (ROADS.end == zone).sum() == 4]
    jams = now({inner[0]: 2.0, inner[-1]: 3.0})
    both = {CITY.zones[inner[0]], CITY.zones[inner[-1]]}
    assert {one.zone for one in ways_around(jams)} == both
    monkeypatch.setattr(live_advice, "MOST_ZONES", 1)
    assert {one.zone for one in ways_around(jams)} == {CITY.zones[inner[0]]}


def test_green_is_shared_by_the_demand_of_the_directions() -> None:
    found = now({})
    proposals = {one.zone: one for one in green_proposals(found)}
    zone = inner_zone(ROADS)
    one = proposals[CITY.zones[zone]]
    assert isinstance(one, GreenProposal)
    assert one.advisory
    assert set(one.split.green_s) == {NORTH_SOUTH, EAST_WEST}
    assert sum(one.split.green_s.values()) + LOST_S == one.split.cycle_s
    quiet = (ROADS.end == zone) & (ROADS.south[ROADS.start] == ROADS.south[ROADS.end])
    found.flow_vph[quiet] /= 100
    changed = next(other for other in green_proposals(found) if other.zone == CITY.zones[zone])
    assert changed.split.green_s[EAST_WEST] < one.split.green_s[EAST_WEST]
    assert changed.demand_vph[EAST_WEST] == pytest.approx(one.demand_vph[EAST_WEST] / 100)
    found.flow_vph[quiet] = np.nan
    assert CITY.zones[zone] not in {other.zone for other in green_proposals(found)}
