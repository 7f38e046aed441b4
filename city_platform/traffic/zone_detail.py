"""A zone's sensors as they were heard last, out of the windows of the last minute."""

from collections.abc import Mapping, Sequence

import msgspec

from city_platform.traffic.state import WINDOW_MS, Key, Window
from city_platform.traffic.windows import unpack_sensors

_WINDOWS = 7  # the slowest sensors measure once a minute; one more for the way their readings take


class SensorNow(msgspec.Struct, frozen=True):
    """The latest reading of a sensor, by its number. Fixed point as telemetry has it: -1 where there is none."""

    number: int
    seq: int
    measured_ms: int
    vehicles: int
    speed_x10: int
    occupancy_x1000: int
    index_x1000: int


def keys_of(zone: str, now_ms: int) -> Sequence[Key]:
    """The windows in which the zone's sensors were heard, if they work."""
    newest = now_ms // WINDOW_MS * WINDOW_MS
    return [(zone, newest - back * WINDOW_MS) for back in range(_WINDOWS)]


def latest(windows: Sequence[Window]) -> Mapping[int, SensorNow]:
    """Each sensor's latest reading in a zone's windows: that of the highest sequence number, not the last to come."""
    found: dict[int, SensorNow] = {}
    for window in windows:
        sensors = unpack_sensors(window)
        for row in zip(
            *(
                column.tolist()
                for column in (
                    sensors.number, sensors.seq, sensors.ts_ms, sensors.vehicle_count, sensors.speed_x10,
                    sensors.occupancy_x1000, sensors.index_x1000,
                )
            ),
            strict=True,
        ):  # fmt: skip
            one = SensorNow(*row)
            known = found.get(one.number)
            if known is None or known.seq < one.seq:
                found[one.number] = one
    return found
