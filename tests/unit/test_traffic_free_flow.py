"""Free-flow speeds: whose, and what the traffic state remembers of them."""

from city_platform.traffic.free_flow import LEAST_VEHICLES, RECORD, FreeFlow, free_flow, keep, kept
from city_platform.traffic.roads import generate_roads
from city_platform.traffic.state import Record
from tests.traffic import TOWN, MemoryState

ROADS = generate_roads(TOWN)
POSTED = dict(zip(TOWN.zones, ROADS.free_flow_x10.tolist(), strict=True))


def test_a_zone_that_enough_drove_through_is_as_measured_and_the_others_as_posted() -> None:
    first, second, third = TOWN.zones
    found = free_flow({first: (612, LEAST_VEHICLES), second: (700, LEAST_VEHICLES - 1)}, ROADS)
    assert found == [
        FreeFlow(first, 612, LEAST_VEHICLES, measured=True),
        FreeFlow(second, POSTED[second], LEAST_VEHICLES - 1, measured=False),
        FreeFlow(third, POSTED[third], 0, measured=False),
    ]


def test_the_state_is_written_where_it_says_something_else() -> None:
    state = MemoryState()
    assert kept(state, ROADS) == POSTED
    found = free_flow({TOWN.zones[0]: (612, 500)}, ROADS)
    assert [keep(state, found), keep(state, found)] == [True, False]
    assert kept(state, ROADS) == POSTED | {TOWN.zones[0]: 612}
    assert keep(state, free_flow({}, ROADS))
    assert state.records[RECORD].version == 2
    assert kept(state, ROADS) == POSTED


def test_zones_of_another_registry_are_left_out() -> None:
    state = MemoryState()
    state.commit([Record(RECORD, 1, b'{"z-777": 900}')])
    assert kept(state, ROADS) == POSTED
