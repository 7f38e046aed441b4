"""The exact traffic handler, in updates a second and core, against the tutorials' handler and three stream processors.

    uv run python benchmarks/traffic_handler.py
    uv run --group bench-traffic python benchmarks/traffic_handler.py --peer bytewax --peer spark

The platform decodes the event, validates, removes duplicates, sums, keeps latest values and builds the items to write;
a state in memory takes them. Rates are updates by CPU second, which a shared machine disturbs least. Peers are
processes of their own that read the same readings as plain JSON lines and sum them by zone and ten seconds, no more;
each runs with fewer and with more readings, and only what the difference costs is counted: no start, no compiling.
All must find the same numbers of readings and vehicles.
"""

import argparse
import base64
import contextlib
import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from city_platform.traffic.dead_letters import DeadLetter
from city_platform.traffic.frames import encode_columns, encode_lines
from city_platform.traffic.handler import TrafficHandler
from city_platform.traffic.registry import generate, sensor_id
from city_platform.traffic.state import Conflict, Key, Window
from city_platform.traffic.telemetry import MISSING, Readings

PEERS = Path(__file__).parent / "peers"
# Fewer and more readings for each, as many seconds of the city's as it takes to see the difference.
SECONDS = {"bytewax": (2, 8), "flink": (10, 100), "spark": (10, 100), "spark-at-once": (10, 100)}
START = 1_780_000_000_000
SHARDS = 4
_ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h
REGISTRY = generate()


@dataclass
class MemoryState:
    """Takes windows under their condition, as a table does."""

    kept: dict[Key, Window] = field(default_factory=dict)

    def put(self, windows: Sequence[Window]) -> list[Conflict | None]:
        answers: list[Conflict | None] = []
        for window in windows:
            stored = self.kept.get(window.key)
            if (stored.version if stored else 0) + 1 == window.version:
                self.kept[window.key] = window
                answers.append(None)
            else:
                answers.append(Conflict(stored))
        return answers


class NoLetters:
    """Nothing of a benchmark's readings may be refused."""

    def keep(self, letters: Sequence[DeadLetter]) -> None:
        raise AssertionError(letters[0].reason)


def second(number: int) -> list[Readings]:
    """What all sensors say in one second, by zone."""
    draw = np.random.default_rng(number)
    zones = []
    for zone in range(len(REGISTRY.zones)):
        place = REGISTRY.sensors(zone)
        sensor = np.arange(place.start, place.stop, dtype=np.int32)
        count = len(sensor)
        ts = START + number * 1000 + draw.integers(0, 1000, count)
        vehicles = draw.poisson(3, count)
        index = np.clip(draw.normal(300, 100, count), 0, 1000).astype(np.int64)
        same = np.ones(count, dtype=np.int64)
        zones.append(
            Readings(
                sensor=sensor,
                zone=REGISTRY.zone[place],
                seq=ts // 1000,
                ts_ms=ts,
                interval_s=same,
                vehicle_count=vehicles,
                speed_x10=np.where(
                    vehicles > 0, np.clip(draw.normal(500, 80, count), 10, 1500).astype(np.int64), MISSING
                ),
                occupancy_x1000=np.clip(draw.normal(200, 80, count), 0, 1000).astype(np.int64),
                index_x1000=np.where(REGISTRY.percent[place], index * 100, index),
                arrival_ms=same,
                record=same,
                row=same,
            )
        )
    return zones


def batches(size: int, columnar: bool, count: int) -> list[tuple[str, int]]:
    """Events of about `size` updates, as JSON text: the zones of one shard of four or of all, second by second."""
    zones = range(0, len(REGISTRY.zones), SHARDS if size < len(REGISTRY) // 2 else 1)
    frames = ((number, zone, one) for number in range(99) for zone, one in _chosen(second(number), zones))
    made = []
    for _ in range(count):
        records: list[dict[str, Any]] = []
        updates = 0
        while updates < size * 0.98:
            number, zone, one = next(frames)
            data = (
                encode_columns(REGISTRY.zones[zone], one, REGISTRY.number)
                if columnar
                else encode_lines(one, REGISTRY.number)
            )
            records.append(_record(data, len(records), REGISTRY.zones[zone], START + number * 1000 + 1500))
            updates += len(one)
        made.append((json.dumps({"Records": records}), updates))
    return made


def _chosen(zones: list[Readings], which: range) -> list[tuple[int, Readings]]:
    return [(zone, zones[zone]) for zone in which]


def _record(data: bytes, number: int, key: str, arrival_ms: int) -> dict[str, Any]:
    kinesis = {
        "kinesisSchemaVersion": "1.0",
        "partitionKey": key,
        "sequenceNumber": f"4959033827149025660855969253836157109592157598913{number:07d}",
        "data": base64.b64encode(data).decode(),
        "approximateArrivalTimestamp": arrival_ms / 1000,
    }
    return {
        "eventID": f"shardId-000000000006:{kinesis['sequenceNumber']}",
        "eventSource": "aws:kinesis",
        "kinesis": kinesis,
    }


def platform(events: Sequence[tuple[str, int]], repeats: int) -> float:
    """Updates a CPU second in the best of some repeats: the median over the batches after the first, which is cold."""
    best = 0.0
    for _ in range(repeats):
        state = MemoryState()
        handler = TrafficHandler(REGISTRY, state, NoLetters(), lambda: START + 60_000)
        rates = []
        for text, updates in events:
            began = time.process_time()
            outcome = handler.handle(json.loads(text))
            rates.append(updates / (time.process_time() - began))
            assert (outcome.accepted, outcome.failed) == (updates, [])
        assert sum(window.readings for window in state.kept.values()) == sum(updates for _, updates in events)
        best = max(best, statistics.median(rates[1:]))
    return best


def lines(seconds: Iterable[int], file: Path) -> tuple[int, int]:
    """Writes these seconds as JSON lines with their zone; how many readings and vehicles there are."""
    readings = vehicles = 0
    with file.open("w") as out:
        for number in seconds:
            for zone, one in enumerate(second(number)):
                out.writelines(f"{line}\n" for line in _lines(zone, one))
                readings += len(one)
                vehicles += int(one.vehicle_count.sum())
    return readings, vehicles


def _lines(zone: int, one: Readings) -> list[str]:
    columns = one.sensor, one.seq, one.ts_ms, one.vehicle_count, one.speed_x10, one.occupancy_x1000, one.index_x1000
    return [
        json.dumps(
            {
                "sensor_id": sensor_id(sensor),
                "zone_id": REGISTRY.zones[zone],
                "seq": seq,
                "ts": ts,
                "vehicle_count": vehicles,
                "avg_speed_kmh": None if speed == MISSING else speed / 10,
                "occupancy": occupancy / 1000,
                "congestion_index": index / 1000,
            },
            separators=(",", ":"),
        )
        for sensor, seq, ts, vehicles, speed, occupancy, index in zip(*(c.tolist() for c in columns), strict=True)
    ]


def tutorial(folder: Path, *options: str) -> float:
    """Updates a CPU second of the tutorials' handler: one reading a record, 10,000 records an event."""
    lines([0], folder / "lines.ndjson")
    all_lines = (folder / "lines.ndjson").read_text().splitlines()
    with (folder / "events.ndjson").open("w") as out:
        for start in range(0, len(all_lines), 10_000):
            records = [
                _record(line.encode(), number, f"s-{number}", START)
                for number, line in enumerate(all_lines[start : start + 10_000])
            ]
            out.write(json.dumps({"Records": records}) + "\n")
    rates = []
    for _ in range(3):
        command = [sys.executable, str(PEERS / "traffic_tutorial_peer.py"), str(folder / "events.ndjson"), *options]
        found = _run(command)
        assert found["readings"] == len(all_lines)
        rates.append(found["readings"] / found["cpu"])
    return max(rates)


def peer(name: str, python: str, folder: Path) -> float:
    """Updates a CPU second of a stream processor: what more readings cost more."""
    costs = []
    for seconds in SECONDS[name]:
        source = folder / f"{name}-{seconds}"
        source.mkdir()
        # Spark streams in small batches, a second of the city each; at once it is one batch, as in catching up.
        files = [[number] for number in range(seconds)] if name == "spark" else [range(seconds)]
        written = [lines(numbers, source / f"readings-{at:03d}.json") for at, numbers in enumerate(files)]
        readings, vehicles = (sum(column) for column in zip(*written, strict=True))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = _run([python, str(PEERS / f"traffic_{name.partition('-')[0]}_peer.py"), str(source)])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert (found["readings"], found["vehicles"]) == (readings, vehicles), f"{name} found {found}"
        costs.append((readings, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    (fewer, less), (more, dear) = costs
    if dear <= less:
        raise SystemExit(
            f"{name}: {more:,} readings cost no more CPU than {fewer:,}; the machine is too busy to measure it"
        )
    return (more - fewer) / (dear - less)


def _run(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    with contextlib.suppress(ChildProcessError):
        while os.wait():  # what it left behind, a Java machine, ends with it and has to be counted
            pass
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, action="append", help="updates a batch; 12500, 50000 and 62000 without it")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer", action="append", default=[], choices=sorted(SECONDS))
    parser.add_argument("--peer-python", default=sys.executable, help="an interpreter that has the peers installed")
    options = parser.parse_args()
    if sys.platform == "linux":  # elsewhere the Java machines of peers are not counted
        ctypes.CDLL(None).prctl(_ADOPT_ORPHANS, 1, 0, 0, 0)
    rates: dict[str, list[float]] = {"columnar": [], "NDJSON": []}
    for size in options.batch or (12_500, 50_000, 62_000):
        for name, found in rates.items():
            found.append(platform(batches(size, name == "columnar", 10), options.repeats))
            print(f"platform, {name} zlib, batches of {size:,}: {found[-1] / 1e6:.2f} M updates/s/core", flush=True)
    slowest = {name: min(found) for name, found in rates.items()}
    with tempfile.TemporaryDirectory() as folder:
        _print_ratio("tutorial, an update a record", tutorial(Path(folder)), slowest)
        _print_ratio("tutorial, summed in memory", tutorial(Path(folder), "--summed"), slowest)
        for name in options.peer:
            _print_ratio(name, peer(name, options.peer_python, Path(folder)), slowest)


def _print_ratio(name: str, rate: float, slowest: dict[str, float]) -> None:
    ratios = ", ".join(f"{own / rate:.1f}x with {kind}" for kind, own in slowest.items())
    print(f"{name}: {rate / 1e6:.3f} M updates/s/core; the platform is faster {ratios}", flush=True)


if __name__ == "__main__":
    main()
