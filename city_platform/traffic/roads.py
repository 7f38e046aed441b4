"""Where the registry's zones and sensors lie: a grid of zones over the city, and the road segments between them.

Drawn from the registry's seed, so every process has the same roads without reading a file. A zone is a cell of the
grid; from each zone a segment leads to each of its neighbours, and a zone's sensors stand along the segments that begin
in it.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from city_platform.traffic.registry import SEED, Registry

WEST, SOUTH, EAST, NORTH = -123.225, 49.198, -123.023, 49.317  # degrees, WGS84: the city of Vancouver
_METRES_PER_DEGREE = 111_320.0  # of latitude
_POSTED_KMH = (30, 50, 60, 80)
_POSTED_SHARES = (0.25, 0.55, 0.12, 0.08)
_LANES_SHARES = (0.5, 0.4, 0.1)


@dataclass(frozen=True, eq=False)
class Roads:
    """Segments as columns of one length, in the order of the zones they begin in, and each sensor's segment.

    `start` and `end` are places in the registry's `zones`, `sensor_segment` a segment's place for each sensor index.
    `west`, `south`, `width` and `height` are a zone's cell in degrees.
    """

    registry: Registry
    west: NDArray[np.float64]
    south: NDArray[np.float64]
    width: float
    height: float
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    length_m: NDArray[np.float64]
    posted_kmh: NDArray[np.int32]
    lanes: NDArray[np.int32]
    sensor_segment: NDArray[np.int32]

    def segment_id(self, segment: int) -> str:
        """`z-000>z-001`: the zone it begins in and the one it leads to."""
        zones = self.registry.zones
        return f"{zones[int(self.start[segment])]}>{zones[int(self.end[segment])]}"

    @cached_property
    def free_flow_x10(self) -> NDArray[np.int64]:
        """What each zone's vehicles drive when the roads are empty, tenths of km/h, as the posted limits have it.

        The harmonic mean over the zone's sensors, as speeds of a zone are; nights measured in the lake replace it.
        """
        zones = self.registry.zone
        slowness = np.bincount(zones, 1.0 / self.posted_kmh[self.sensor_segment], minlength=len(self.registry.zones))
        sensors = np.bincount(zones, minlength=len(self.registry.zones))
        return np.rint(10 * sensors / slowness).astype(np.int64)

    def ring(self, zone: int) -> list[tuple[float, float]]:
        """A zone's outline, closed and counter-clockwise, as longitude and latitude (RFC 7946)."""
        west, south = float(self.west[zone]), float(self.south[zone])
        east, north = west + self.width, south + self.height
        return [(west, south), (east, south), (east, north), (west, north), (west, south)]

    def position(self, sensor: int) -> tuple[float, float]:
        """Longitude and latitude of a sensor, by its index: along its segment, from the middle of its zone."""
        segment = int(self.sensor_segment[sensor])
        zone, end = int(self.start[segment]), int(self.end[segment])
        within = int(sensor - self.registry.start[zone])
        share = 0.1 + 0.8 * (within * 0.618_033_988_749_895 % 1.0)  # the golden ratio spreads them evenly
        middle = [float(column[zone]) for column in (self.west, self.south)]
        towards = [float(column[end]) for column in (self.west, self.south)]
        half = (self.width / 2, self.height / 2)
        longitude, latitude = (
            at + share / 2 * (to - at) + of for at, to, of in zip(middle, towards, half, strict=True)
        )
        return longitude, latitude


def generate_roads(registry: Registry) -> Roads:
    """The roads of a registry: the same ones for the same registry, everywhere."""
    zones = len(registry.zones)
    columns = max(1, round(sqrt(zones * 1.25)))
    rows = ceil(zones / columns)
    place = np.arange(zones)
    column, row = place % columns, place // columns
    width, height = (EAST - WEST) / columns, (NORTH - SOUTH) / rows
    start, end = _neighbours(zones, columns)
    draw = np.random.Generator(np.random.PCG64(SEED))
    posted = draw.choice(np.array(_POSTED_KMH, dtype=np.int32), len(start), p=_POSTED_SHARES)
    lanes = draw.choice(np.arange(1, 4, dtype=np.int32), len(start), p=_LANES_SHARES)
    east_m = width * _METRES_PER_DEGREE * np.cos(np.radians((SOUTH + NORTH) / 2))
    straight = np.where(row[start] == row[end], east_m, height * _METRES_PER_DEGREE)
    first = np.searchsorted(start, place)
    each = np.bincount(start, minlength=zones)
    within = np.arange(len(registry)) - registry.start[registry.zone]
    return Roads(
        registry=registry,
        west=np.asarray(WEST + column * width, dtype=np.float64),
        south=np.asarray(NORTH - (row + 1) * height, dtype=np.float64),
        width=width,
        height=height,
        start=start,
        end=end,
        length_m=np.where(start == end, 500.0, straight) * draw.uniform(1.0, 1.3, len(start)),
        posted_kmh=posted,
        lanes=lanes,
        sensor_segment=(first[registry.zone] + within % each[registry.zone]).astype(np.int32),
    )


def _neighbours(zones: int, columns: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Segments from each zone to those beside, above and below it; a zone alone has one onto itself."""
    pairs = []
    for zone in range(zones):
        beside = [
            other
            for other, near in (
                (zone - columns, True),
                (zone - 1, zone % columns > 0),
                (zone + 1, zone % columns < columns - 1),
                (zone + columns, True),
            )
            if near and 0 <= other < zones
        ]
        pairs += [(zone, other) for other in beside or [zone]]
    start, end = np.array(pairs, dtype=np.int32).T
    return start, end
