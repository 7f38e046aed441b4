"""Which sensors there are and which zone each stands in.

A sensor has a number for life (`s-04211` is 4211) and an index, its place in this registry. All columns of the traffic
path are indexed by it: a zone's sensors stand side by side, so a zone is a slice. Indexes change when sensors are
added; what is stored names sensors by number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

REGISTRY = "CITY_PLATFORM_TRAFFIC_REGISTRY"  # the environment's word for seed, sensors and zones: 20260601:50000:500
SENSORS = 50_000
ZONES = 500
SEED = 20_260_601
SENSOR = "s-"  # every sensor's id begins so
UNKNOWN_SENSOR = -1  # the index of one that there is none of
_NUMBERS = 10_000_000  # ids have at most seven digits, which bounds the table of numbers
_ID_CHARACTERS = 7  # of an id whose number has five digits or fewer
_POWERS = 10 ** np.arange(_ID_CHARACTERS - 3, -1, -1)
_BETWEEN = "\n"
_PERCENT = 0.1  # share of sensors of the model that sends its congestion index as 0..100
_INTERVALS = (1, 10, 60)


@dataclass(frozen=True, eq=False)
class Registry:
    """Sensors in the order of their zones. Arrays are as long as there are sensors, but `start`, one longer than zones.

    `percent` marks sensors whose congestion index runs 0..100 instead of 0..1; `interval_s` is the time between two
    readings.
    """

    zones: Sequence[str]
    start: NDArray[np.int64]
    number: NDArray[np.int32]
    percent: NDArray[np.bool_]
    interval_s: NDArray[np.int32]

    def __post_init__(self) -> None:
        lengths = {len(self.number), len(self.percent), len(self.interval_s), int(self.start[-1])}
        if len(lengths) != 1 or len(self.start) != len(self.zones) + 1 or self.start[0] != 0:
            raise ValueError("a registry's columns must be equally long and its zones must cover them")
        if np.any(np.diff(self.start) < 0) or len(set(self.zones)) != len(self.zones):
            raise ValueError("a registry's zones must follow each other and have different names")
        if len(np.unique(self.number)) != len(self.number) or self.number.min(initial=0) < 0:
            raise ValueError("a registry's sensors must have different numbers")
        if self.number.max(initial=0) >= _NUMBERS:
            raise ValueError(f"a sensor's number must be below {_NUMBERS:,}")

    def __len__(self) -> int:
        return len(self.number)

    @cached_property
    def zone(self) -> NDArray[np.int32]:
        """Each sensor's zone, as its place in `zones`."""
        return np.repeat(np.arange(len(self.zones), dtype=np.int32), np.diff(self.start))

    @cached_property
    def zone_index(self) -> dict[str, int]:
        """A zone's place in `zones` by its name."""
        return {zone: index for index, zone in enumerate(self.zones)}

    @cached_property
    def sensor_index(self) -> dict[str, int]:
        """A sensor's index by its id."""
        return {sensor_id(number): index for index, number in enumerate(self.number.tolist())}

    def index_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int32]:
        """Sensors' indexes by their numbers; -1 where there is no such sensor."""
        known = (numbers >= 0) & (numbers < len(self._by_number))
        return np.where(known, self._by_number[np.where(known, numbers, 0)], np.int32(-1))

    def index_of_ids(self, ids: Sequence[str]) -> NDArray[np.int32]:
        """Sensors' indexes by their ids; -1 where there is no such sensor.

        Where all ids are as long as most are, they are read as digits at once, which spares looking up each.
        """
        text, width = _BETWEEN.join(ids), _ID_CHARACTERS + 1
        # Only where all that stands between ids is what was put there, each of them is as long as it should be.
        alike = len(text) == width * len(ids) - 1 and text.isascii() and text.count(_BETWEEN) == len(ids) - 1
        letters = np.frombuffer(f"{text}{_BETWEEN}".encode() if alike else b"", dtype=np.uint8).reshape(-1, width)
        if not alike or (letters[:, -1] != ord(_BETWEEN)).any():
            return np.fromiter(map(self.sensor_index.get, ids, repeat(-1)), np.int32, len(ids))
        digits = letters[:, 2:-1] - np.uint8(ord("0"))  # what is below 0 becomes large
        is_id = (letters[:, 0] == ord("s")) & (letters[:, 1] == ord("-")) & (digits <= 9).all(axis=1)  # noqa: PLR2004
        return np.where(is_id, self.index_of(digits @ _POWERS), np.int32(-1))

    def sensors(self, zone: int) -> slice:
        """The indexes of a zone's sensors."""
        return slice(int(self.start[zone]), int(self.start[zone + 1]))

    @cached_property
    def _by_number(self) -> NDArray[np.int32]:
        table = np.full(int(self.number.max(initial=0)) + 1, -1, dtype=np.int32)
        table[self.number] = np.arange(len(self.number), dtype=np.int32)
        return table


def sensor_id(number: int) -> str:
    """`s-04211` for 4211."""
    return f"{SENSOR}{number:05d}"


def registry_of(environ: Mapping[str, str]) -> Registry:
    """The registry that the environment names, or the default one; ValueError where it names none."""
    said = environ.get(REGISTRY) or f"{SEED}:{SENSORS}:{ZONES}"
    try:
        seed, sensors, zones = map(int, said.split(":"))
        return generate(seed, sensors, zones)
    except ValueError as error:
        raise ValueError(
            f"{REGISTRY}={said!r} is not seed:sensors:zones, such as {SEED}:{SENSORS}:{ZONES}: {error}"
        ) from error


def generate(seed: int = SEED, sensors: int = SENSORS, zones: int = ZONES) -> Registry:
    """The registry of a seed: the same one every time and everywhere. Each zone has a sensor at least."""
    if not 1 <= zones <= sensors:
        raise ValueError(f"{zones} zones need as many sensors at least, not {sensors}")
    draw = np.random.Generator(np.random.PCG64(seed))
    # Zones differ in size, as a city's do: between half and one and a half times the mean.
    weights = draw.uniform(0.5, 1.5, zones)
    bounds = np.cumsum(weights) / weights.sum() * (sensors - zones)
    start = np.concatenate(([0], np.rint(bounds).astype(np.int64) + np.arange(1, zones + 1)))
    width = max(3, len(str(zones - 1)))
    return Registry(
        zones=tuple(f"z-{zone:0{width}d}" for zone in range(zones)),
        start=start,
        number=np.arange(sensors, dtype=np.int32),
        percent=draw.random(sensors) < _PERCENT,
        interval_s=draw.choice(np.array(_INTERVALS, dtype=np.int32), sensors, p=(0.8, 0.15, 0.05)),
    )
