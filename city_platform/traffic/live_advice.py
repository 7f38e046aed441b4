"""Advice from the newest windows: ways around congested zones, and shares of green where roads meet.

The latest readings of a segment's sensors give its travel time and its demand. Everything is for people to judge:
every row says so, and nothing takes one as a command.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from city_platform.traffic.advice import GreenSplit, Network, Phase, Road, Way, green_split
from city_platform.traffic.roads import Roads
from city_platform.traffic.state import Window
from city_platform.traffic.windows import PACE, unpack_sensors

CONGESTED = 50.0  # the index from which ways around a zone are looked for
MOST_ZONES = 25  # the worst ones: advice nobody can read helps nobody
LOST_S = 8  # of a cycle: yellow and all red, four seconds for each of two phases
NORTH_SOUTH, EAST_WEST = "north and south", "east and west"
_SLOWEST_X10 = 10  # as in windows: a standing vehicle counts as 1 km/h
_HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class WayAround:
    """The usual way through a congested zone, and the fastest one now."""

    advisory: ClassVar[bool] = True
    zone: str
    index: float
    usual: Way
    way: Way
    saves_s: float


@dataclass(frozen=True, slots=True)
class GreenProposal:
    """How a zone's junction may share its green; `demand_vph` and `lanes` are those of the phases' fullest roads."""

    advisory: ClassVar[bool] = True
    zone: str
    demand_vph: Mapping[str, float]
    lanes: Mapping[str, int]
    split: GreenSplit


@dataclass(frozen=True, eq=False)
class Live:
    """What the newest windows say: of each segment km/h and vehicles an hour (NaN: no sensor of it was heard), of each
    zone the congestion index 0..100 (NaN without vehicles).
    """

    roads: Roads
    speed_kmh: NDArray[np.float64]
    flow_vph: NDArray[np.float64]
    index: NDArray[np.float64]


def live(roads: Roads, windows: Sequence[Window], free_flow_x10: Mapping[str, int]) -> Live:
    """Takes windows of any zones and of a minute or so; `free_flow_x10` is each zone's, in tenths of km/h."""
    registry, segments, zones = roads.registry, len(roads.start), len(roads.registry.zones)
    vehicles, pace = np.zeros(segments), np.zeros(segments)
    rate, heard = np.zeros(len(registry)), np.zeros(len(registry))
    zone_vehicles, zone_pace = np.zeros(zones), np.zeros(zones)
    for window in windows:
        place = registry.zone_index.get(window.zone)
        if place is None:
            continue  # a zone of a registry that was
        zone_vehicles[place] += window.vehicles
        zone_pace[place] += window.pace
        latest = unpack_sensors(window)
        sensor = registry.index_of(latest.number)
        known = sensor >= 0
        sensor, count, speed = sensor[known], latest.vehicle_count[known], latest.speed_x10[known]
        segment = roads.sensor_segment[sensor]
        vehicles += np.bincount(segment, count, minlength=segments)
        pace += np.bincount(segment, count / np.maximum(speed, _SLOWEST_X10), minlength=segments)
        np.add.at(rate, sensor, count * (_HOUR_S / registry.interval_s[sensor]))
        np.add.at(heard, sensor, 1)
    sensors = np.flatnonzero(heard)
    of_segment = roads.sensor_segment[sensors]
    # Sensors along one segment see the same vehicles, so its flow is their mean.
    flow = np.bincount(of_segment, rate[sensors] / heard[sensors], minlength=segments).astype(np.float64)
    free = np.array([free_flow_x10[zone] for zone in registry.zones], dtype=np.float64)
    speed_x10 = _ratio(PACE * zone_vehicles, zone_pace)
    return Live(
        roads=roads,
        speed_kmh=_ratio(vehicles, pace) / 10,
        flow_vph=_ratio(flow, np.bincount(of_segment, minlength=segments).astype(np.float64)),
        index=np.clip(100 * (1 - speed_x10 / free), 0, 100),
    )


def ways_around(now: Live) -> Iterator[WayAround]:
    """Ways around the worst congested zones, for whoever usually drives through from one neighbour to another."""
    roads, zones = now.roads, now.roads.registry.zones
    congested = np.flatnonzero(now.index >= CONGESTED)
    worst = congested[np.argsort(-now.index[congested], kind="stable")][:MOST_ZONES].tolist()
    if not worst:
        return
    apart = [one for one in range(len(roads.start)) if roads.start[one] != roads.end[one]]
    ends = {one: (zones[int(roads.start[one])], zones[int(roads.end[one])]) for one in apart}
    network = Network(
        [Road(*ends[one], float(roads.length_m[one]), float(roads.posted_kmh[one])) for one in apart],
        {ends[one]: float(now.speed_kmh[one]) for one in apart},
    )
    for place in worst:
        zone = zones[place]
        before = [start for start, end in ends.values() if end == zone]
        after = [end for start, end in ends.values() if start == zone]
        for origin in before:
            for destination in after:
                if origin == destination:
                    continue
                advice = network.reroute(origin, destination)
                if advice and advice.worthwhile and zone in advice.usual.zones and zone not in advice.ways[0].zones:
                    index = float(now.index[place])
                    yield WayAround(zone, index, advice.usual, advice.ways[0], advice.saves_s)


def green_proposals(now: Live) -> Iterator[GreenProposal]:
    """Shares of green for every zone that measured roads lead into from both directions."""
    roads = now.roads
    across = roads.south[roads.start] == roads.south[roads.end]
    for place, zone in enumerate(roads.registry.zones):
        incoming = (roads.end == place) & (roads.start != place) & np.isfinite(now.flow_vph)
        streams = {
            name: [
                (float(now.flow_vph[one]), int(roads.lanes[one])) for one in np.flatnonzero(incoming & chosen).tolist()
            ]
            for name, chosen in ((NORTH_SOUTH, ~across), (EAST_WEST, across))
        }
        if not all(streams.values()):
            continue
        fullest = {name: max(of, key=lambda stream: stream[0] / stream[1]) for name, of in streams.items()}
        yield GreenProposal(
            zone=zone,
            demand_vph={name: demand for name, (demand, _) in fullest.items()},
            lanes={name: lanes for name, (_, lanes) in fullest.items()},
            split=green_split([Phase(name, of) for name, of in streams.items()], LOST_S),
        )


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN where there is nothing below."""
    result = np.full(len(above), np.nan)
    np.divide(above, below, out=result, where=below > 0)
    return result
