"""What the sensors really said, each reading once: to hold the state against after a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from city_platform.traffic.registry import Registry
from city_platform.traffic.state import WINDOW_MS
from city_platform.traffic.telemetry import Readings

_SUMS = ("readings", "vehicles", "vehicle_speed")


@dataclass(slots=True)
class Truth:
    """Sums by window and zone: readings, vehicles, and vehicles times tenths of km/h, as `state.Window` has them."""

    registry: Registry
    windows: dict[int, NDArray[np.int64]] = field(default_factory=dict)  # start in ms -> sums of all zones

    def add(self, readings: Readings) -> None:
        """Adds readings that were not added before."""
        start = readings.ts_ms // WINDOW_MS * WINDOW_MS
        for window in np.unique(start).tolist():
            own = start == window
            zone, vehicles = readings.zone[own], readings.vehicle_count[own]
            sums = self.windows.setdefault(window, np.zeros((len(_SUMS), len(self.registry.zones)), dtype=np.int64))
            np.add.at(sums[0], zone, 1)
            np.add.at(sums[1], zone, vehicles)
            np.add.at(sums[2], zone, vehicles * np.maximum(readings.speed_x10[own], 0))

    def to_json(self) -> Mapping[str, Any]:
        """Sums by zone and start of window (epoch ms); only what has readings."""
        zones: dict[str, dict[str, dict[str, int]]] = {}
        for start, sums in sorted(self.windows.items()):
            for zone in np.flatnonzero(sums[0]).tolist():
                values = dict(zip(_SUMS, sums[:, zone].tolist(), strict=True))
                zones.setdefault(self.registry.zones[zone], {})[str(start)] = values
        total = np.sum([sums.sum(axis=1) for sums in self.windows.values()] or [np.zeros(len(_SUMS), int)], axis=0)
        return {"window_ms": WINDOW_MS, **dict(zip(_SUMS, total.tolist(), strict=True)), "zones": zones}
