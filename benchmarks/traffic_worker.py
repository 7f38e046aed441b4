"""The local worker over a real stream, state and metrics file: a city's minute, exact, against real time.

    uv run python benchmarks/traffic_worker.py

50,000 sensors speak once a second; their frames, 500 a second, stand in the stream's file, a tenth of them twice and a
twentieth late by half a minute. One worker takes them all, as fast as it can. Then each zone's windows must say exactly
what the readings say when they are summed in one go. Rates are by wall clock and by CPU second of the worker.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from traffic_handler import REGISTRY, START, second

from city_platform.deployment.traffic import local_letters, local_state
from city_platform.local.rotated_file import RotatedFile
from city_platform.local.traffic_stream import SqliteEventStream, TrafficShard
from city_platform.local.traffic_worker import TrafficWorker
from city_platform.traffic.frames import encode_columns
from city_platform.traffic.handler import TrafficHandler
from city_platform.traffic.state import WINDOW_MS
from city_platform.traffic.stream import Entry

NEEDED = 50_000  # updates a second
TWICE, LATE = 0.1, 0.05
LATE_S = 30
MILLI = 1000


@dataclass
class Clock:
    """The stream's, set by hand."""

    at_ms: int

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at_ms / MILLI, UTC)


def fill(stream: SqliteEventStream, clock: Clock, seconds: int) -> tuple[dict[int, np.ndarray], int]:
    """Puts the frames; by each window's start the zones' readings and vehicles, and how many updates were put."""
    draw = np.random.default_rng(5)
    truth: dict[int, np.ndarray] = {}
    late: dict[int, list[Entry]] = {}
    put = 0
    for number in range(seconds + LATE_S):
        clock.at_ms = START + number * MILLI + 1500
        due = late.pop(number, [])
        for zone, one in enumerate(second(number) if number < seconds else []):
            entry = Entry(REGISTRY.zones[zone], encode_columns(REGISTRY.zones[zone], one, REGISTRY.number))
            for start in np.unique(one.ts_ms // WINDOW_MS * WINDOW_MS).tolist():
                inside = one.ts_ms // WINDOW_MS * WINDOW_MS == start
                sums = truth.setdefault(start, np.zeros((len(REGISTRY.zones), 2), dtype=np.int64))
                sums[zone] += inside.sum(), one.vehicle_count[inside].sum()
            times = 1 + int(draw.random() < TWICE)
            put += times * len(one)
            if draw.random() < LATE:
                late.setdefault(number + LATE_S, []).extend([entry] * times)
            else:
                due += [entry] * times
        for start in range(0, len(due), 100):
            stream.put(due[start : start + 100])
    return truth, put


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home, clock = Path(folder), Clock(START)
        stream = SqliteEventStream(home / "traffic" / "stream.sqlite", clock=clock)
        truth, put = fill(stream, clock, options.seconds)
        state, letters = local_state(home), local_letters(home)
        worker = TrafficWorker(
            [TrafficShard(stream, name) for name in stream.shards()],
            TrafficHandler(REGISTRY, state, letters, lambda: clock.at_ms),
            letters,
            RotatedFile(home / "metrics.jsonl").append,
            lambda: clock.at_ms,
            time.sleep,
        )
        wall, cpu = time.perf_counter(), time.process_time()
        while worker.turn():
            pass
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        for start, expected in truth.items():
            stored = {window.zone: (window.readings, window.vehicles) for window in state.city(start)}
            found = np.array([stored.get(zone, (0, 0)) for zone in REGISTRY.zones])
            assert (found == expected).all(), f"window {start} differs"
        total = worker.total
        assert total.accepted + total.duplicates == put
        assert not total.rejected
        print(
            f"{put:,} updates, {total.duplicates:,} of them twice and {total.late:,} late, all {len(truth)} windows of "
            f"{len(REGISTRY.zones)} zones exact: {put / wall:,.0f} updates/s by the wall clock "
            f"({put / wall / NEEDED:.1f}x a city), {put / cpu:,.0f} a CPU second ({put / cpu / NEEDED:.1f}x)"
        )


if __name__ == "__main__":
    main()
