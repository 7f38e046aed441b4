"""How the city's traffic stands, as it was judged last: levels, coverage, sensors."""

from collections import Counter
from datetime import datetime
from typing import TypedDict

import numpy as np

from city_platform.traffic import congestion, health
from city_platform.traffic.congestion import LEVELS, Level
from city_platform.traffic.events import moment
from city_platform.traffic.health import HEALTHS
from city_platform.traffic.state import BUCKETS, TrafficState


class Overview(TypedDict):
    """Counts of zones by level and of sensors by health, and the zones that are not as they should be.

    `unknown` counts zones of which too little was heard: their level is one of before. `judged_at` is the end of the
    newest judged minute, None before the first.
    """

    judged_at: datetime | None
    degraded: bool
    levels: dict[str, int]
    unknown: int
    zones: dict[str, list[str]]
    coverage_lost: list[str]
    sensors: dict[str, int]


def overview(state: TrafficState) -> Overview:
    """Reads the records of all buckets."""
    city, now = health.read_city(state), congestion.levels(state)
    zones = now.zones if now else {}
    buckets = [well for bucket in range(BUCKETS) if (well := health.read(state, bucket))]
    codes = np.concatenate([well.sensors.health for well in buckets]) if buckets else np.empty(0, dtype=np.uint8)
    sensors = np.bincount(codes, minlength=len(HEALTHS)).tolist()
    levels = Counter(zone.level for zone in zones.values())
    return Overview(
        judged_at=moment(city.judged_ms) if city else None,
        degraded=city.degraded if city else False,
        levels={level.value: levels[level] for level in LEVELS},
        unknown=sum(not zone.known for zone in zones.values()),
        zones={
            level.value: sorted(name for name, zone in zones.items() if zone.level is level)
            for level in LEVELS[::-1]
            if level is not Level.NORMAL
        },
        coverage_lost=sorted(name for well in buckets for name, zone in well.zones.items() if zone.lost),
        sensors={name.value: count for name, count in zip(HEALTHS, sensors, strict=True) if count},
    )
