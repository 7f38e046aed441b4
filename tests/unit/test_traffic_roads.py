"""Roads over a registry: every zone reachable, every sensor inside its zone, the same everywhere."""

import numpy as np
import pytest

from city_platform.traffic.registry import generate
from city_platform.traffic.roads import EAST, NORTH, SOUTH, WEST, generate_roads


@pytest.mark.parametrize(("sensors", "zones"), [(1, 1), (5, 2), (12, 3), (900, 47)])
def test_zones_and_sensors_lie_in_the_city_and_every_zone_is_reached(sensors: int, zones: int) -> None:
    registry = generate(3, sensors, zones)
    roads = generate_roads(registry)
    assert np.array_equal(registry.zone, roads.start[roads.sensor_segment])
    assert set(roads.start.tolist()) == set(roads.end.tolist()) == set(range(zones))
    assert (roads.length_m > 0).all()
    for sensor in range(sensors):
        longitude, latitude = roads.position(sensor)
        ring = roads.ring(int(registry.zone[sensor]))
        assert WEST <= ring[0][0] <= longitude <= ring[2][0] <= EAST + 1e-9
        assert SOUTH - 1e-9 <= ring[0][1] <= latitude <= ring[2][1] <= NORTH + 1e-9
    reached = {0}
    for _ in range(zones):
        reached |= {int(end) for start, end in zip(roads.start, roads.end, strict=True) if int(start) in reached}
    assert len(reached) == zones
    assert ((roads.free_flow_x10 >= 300) & (roads.free_flow_x10 <= 800)).all()


def test_the_same_registry_has_the_same_roads() -> None:
    first, second = (generate_roads(generate(3, 90, 9)) for _ in range(2))
    assert np.array_equal(first.posted_kmh, second.posted_kmh)
    assert np.array_equal(first.length_m, second.length_m)
    assert first.segment_id(0) == "z-000>z-001"
