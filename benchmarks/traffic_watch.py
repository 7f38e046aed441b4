"""What judging a minute of the city costs: levels of 500 zones and health of 50,000 sensors, against bare reading.

    uv run python benchmarks/traffic_watch.py --minutes 8

The windows are those of a fleet that speaks once a second, in SQLite. Each minute is judged by a warm watcher, records
and events committed, and in turn the same 3,000 windows are merely read from the same file, and read and unpacked.
Seconds are of the processor.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from city_platform.local.traffic_state import SqliteTrafficState
from city_platform.traffic import congestion, health
from city_platform.traffic.congestion import MINUTE_MS
from city_platform.traffic.registry import generate
from city_platform.traffic.roads import generate_roads
from city_platform.traffic.state import BUCKETS, WINDOW_MS
from city_platform.traffic.telemetry import Readings
from city_platform.traffic.telling import Teller, zone_pages
from city_platform.traffic.watch import JUDGED_AFTER_MS, Watch
from city_platform.traffic.windows import CityWindow, FirstOfEach, cells, unpack_sensors

START = 1_780_000_020_000  # the start of a minute
REGISTRY = generate()


def window(start_ms: int) -> Readings:
    """Ten readings of every sensor, at times of their own."""
    draw = np.random.default_rng(start_ms // WINDOW_MS)
    count = 10 * len(REGISTRY)
    second = np.repeat(np.arange(10), len(REGISTRY))
    ts = start_ms + second * 1000 + np.tile(draw.integers(0, 1000, len(REGISTRY)), 10)
    vehicles = draw.poisson(3, count)
    speed = np.clip(draw.normal(450, 80, count), 10, 1500).astype(np.int64)
    none = np.full(count, -1, dtype=np.int64)
    return Readings(
        sensor=np.tile(np.arange(len(REGISTRY), dtype=np.int32), 10),
        zone=none.astype(np.int32),
        seq=ts // 1000,
        ts_ms=ts,
        interval_s=np.ones(count, dtype=np.int64),
        vehicle_count=vehicles,
        speed_x10=np.where(vehicles > 0, speed, -1),
        occupancy_x1000=np.clip(draw.normal(200, 80, count), 0, 1000).astype(np.int64),
        index_x1000=np.clip(draw.normal(300, 100, count), 0, 1000).astype(np.int64),
        arrival_ms=ts,
        record=none,
        row=none,
    )


def fill(state: SqliteTrafficState, minutes: int) -> None:
    first = FirstOfEach(cells(REGISTRY))
    for start in range(START, START + minutes * MINUTE_MS, WINDOW_MS):
        city = CityWindow(REGISTRY, start)
        city.count(window(start), first)
        state.put(city.stored(range(len(REGISTRY.zones)), (), start))


def timed(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=8)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        state = SqliteTrafficState(Path(folder) / "state.sqlite", durable=False)
        fill(state, minutes)
        now = [0]
        teller = Teller(zone_pages(None), 4)
        watch = Watch(REGISTRY, state, generate_roads(REGISTRY).free_flow_x10, teller, lambda: now[0])
        judged, read, unpacked = [], [], []
        for minute in range(minutes):
            begin = START + minute * MINUTE_MS
            now[0] = begin + MINUTE_MS + JUDGED_AFTER_MS
            starts = range(begin, begin + MINUTE_MS, WINDOW_MS)
            judged.append(timed(watch.evaluate))
            read.append(timed(lambda: [state.city(start) for start in starts]))  # noqa: B023 called at once
            unpacked.append(
                timed(lambda: [unpack_sensors(one) for start in starts for one in state.city(start)])  # noqa: B023 the same
            )
        city = health.read_city(state)
        assert city is not None
        assert city.active == len(REGISTRY)
        records = [state.record(key(at)) for key in (congestion.record_key, health.record_key) for at in range(BUCKETS)]
        sizes = [len(record.body) for record in records if record]
    print(
        f"{len(REGISTRY):,} sensors, {len(REGISTRY.zones)} zones, {minutes} minutes; medians, CPU milliseconds a minute"
    )
    base = statistics.median(read)
    for name, values in (("windows read", read), ("read and unpacked", unpacked), ("judged and committed", judged)):
        median = statistics.median(values)
        print(f"{name:22} {1000 * median:7.0f}   {median / base:5.1f}x")
    print(
        f"records: levels {max(sizes[:BUCKETS]):,} bytes at most, health {max(sizes[BUCKETS:]):,}; all {sum(sizes):,}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
