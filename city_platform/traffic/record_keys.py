"""What the keys of the stream's records say of the readings in them.

A key that is a zone comes from the topic that its gateway may publish on, so such a record must hold no sensor of
another zone. One that is a sensor is its publisher's own, so such a record must hold nobody else's readings.
"""

import numpy as np
from numpy.typing import NDArray

from city_platform.traffic.registry import SENSOR, UNKNOWN_SENSOR, Registry
from city_platform.traffic.telemetry import NO_CLAIM, UNKNOWN_ZONE, Readings


class RecordKeys:
    """The keys of one batch's records."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._zones: dict[int, int] = {}  # by record, the zone that its key names
        self._sensors: dict[int, int] = {}  # by record, the sensor that its key names

    def add(self, record: int, key: str) -> None:
        """Notes a record's key; whatever else it is says nothing."""
        self._zones[record] = self._registry.zone_index.get(key, NO_CLAIM)
        if key.startswith(SENSOR):
            self._sensors[record] = self._registry.sensor_index.get(key, UNKNOWN_SENSOR)

    def mark(self, readings: Readings) -> None:
        """Readings of another zone than their record's key become readings of no zone."""
        named = self._named(self._zones, readings)
        readings.zone[(named != NO_CLAIM) & (named != self._registry.zone[readings.sensor])] = UNKNOWN_ZONE

    def foreign(self, readings: Readings) -> NDArray[np.int64]:
        """The rows of readings that are another sensor's than their record's key."""
        if not self._sensors:
            return np.zeros(0, dtype=np.int64)
        named = self._named(self._sensors, readings)
        return np.flatnonzero((named != NO_CLAIM) & (named != readings.sensor))

    def _named(self, said: dict[int, int], readings: Readings) -> NDArray[np.int32]:
        keys = np.full(max(self._zones) + 1, NO_CLAIM, dtype=np.int32)
        keys[list(said)] = list(said.values())
        return keys[readings.record]
