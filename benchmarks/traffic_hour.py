"""An hour of the whole city, from readings through five layers to the sums: rows, processor seconds, memory and bytes.

    uv run python benchmarks/traffic_hour.py                                    # 180 s, a twentieth of an hour
    uv run python benchmarks/traffic_hour.py --seconds 3600 --home /data/hour   # 180 million readings; 15 GB of disk

The simulator's sensors measure, a second after the other; some readings come late and some twice, and they go into
the archive's files as the archive writes them, a file a minute, without the stream's frames in between. Each step is a
process of its own, so that its peak memory is its own; with `--home` what was made already is not made again. Ends
with an error where rows in and rows out do not add up.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from city_platform.datasets import Dataset, load_dataset
from city_platform.layers import freshness, traffic_hours
from city_platform.layers.platform import Platform
from city_platform.layers.traffic_history import ZONE_HOURS
from city_platform.local.platform import local_platform
from city_platform.traffic.archive import LAYER, TrafficArchive, hour_name
from city_platform.traffic.fleet import Fleet, Transmission
from city_platform.traffic.registry import generate
from city_platform.traffic.roads import generate_roads

DATASETS = Path(__file__).parents[1] / "datasets"
SENSORS = 50_000
START_S = 1_780_002_000  # 2026-05-28 21:00 UTC, the afternoon's peak
HOUR = hour_name(START_S * 1000)
DAY = traffic_hours.day_of(HOUR)
TAKEN_AFTER_MS = 1_500  # by the stream
DUPLICATES, LATE = 0.05, 0.02  # shares of the readings
A_FILE_S = 60


@dataclass(frozen=True, slots=True)
class Cost:
    """What a step took: rows it published, seconds by the clock and of the processor, MB at its peak."""

    rows: int
    seconds: float
    cpu: float
    peak_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=180, help="of the city's, 50,000 readings each; 3600 at most")
    parser.add_argument("--home", type=Path, help="where to keep the lake; else it is gone afterwards")
    options = parser.parse_args()
    if not 1 <= options.seconds <= 3600:
        parser.error("--seconds is 1 to 3600: one hour")
    if options.home:
        options.home.mkdir(parents=True, exist_ok=True)
        run(options.home, options.seconds)
        return
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), options.seconds)


def run(home: Path, seconds: int) -> None:
    print(f"{SENSORS * seconds:,} readings measured\n{'':18}{'rows':>14}{'s':>9}{'CPU s':>9}{'rows/CPU s':>13}"
          f"{'peak MB':>9}{'MB':>9}{'B/row':>7}")  # fmt: skip
    steps: list[tuple[str, Callable[[Path, int], int]]] = [(LAYER, archived)]
    steps += [(layer.LAYER, Layer(index)) for index, layer in enumerate(freshness.LAYERS)]
    steps.append((ZONE_HOURS, summed))
    whole = 0.0
    for name, work in steps:
        if local_platform(home).lake.latest(name, "traffic_readings", DAY if name == ZONE_HOURS else HOUR):
            print(f"{name:18}made before")
            continue
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            cost = process.submit(measured, work, home, seconds).result()
        whole += cost.cpu
        size = stored_bytes(home / "lake", name)
        print(f"{name:18}{cost.rows:14,}{cost.seconds:9.0f}{cost.cpu:9.1f}{cost.rows / cost.cpu:13,.0f}"
              f"{cost.peak_mb:9,.0f}{size / 1e6:9,.0f}{size / cost.rows:7.1f}", flush=True)  # fmt: skip
    print(f"CPU of all {whole:.0f} s; the lake {stored_bytes(home / 'lake', '') / 1e9:.2f} GB")
    check(local_platform(home))


def measured(work: Callable[[Path, int], int], home: Path, seconds: int) -> Cost:
    began = time.perf_counter()
    rows = work(home, seconds)
    return Cost(
        rows,
        time.perf_counter() - began,
        time.process_time(),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def archived(home: Path, seconds: int) -> int:
    registry = generate()
    fleet = Fleet(generate_roads(registry), SENSORS, SENSORS)
    sending = Transmission(duplicates=DUPLICATES, late=LATE)
    archive = TrafficArchive(local_platform(home).lake, registry)
    rows = 0
    for first in range(0, seconds, A_FILE_S):
        with archive.filing() as filing:
            last = min(first + A_FILE_S, seconds)
            for second in range(START_S + first, START_S + last):
                sent = sending.sent(second, fleet.measured(second))
                taken = np.full(len(sent), second * 1000 + TAKEN_AFTER_MS, dtype=np.int64)
                filing.add_readings(replace(sent, arrival_ms=taken))
            if last == seconds and (rest := sending.rest()) is not None:
                filing.add_readings(replace(rest, arrival_ms=rest.ts_ms + 30_000))
            rows += filing.publish().readings
    return rows


@dataclass(frozen=True, slots=True)
class Layer:
    """Makes one of the layers, by its place among them."""

    index: int

    def __call__(self, home: Path, _seconds: int) -> int:
        layer = freshness.LAYERS[self.index]
        layer.materialize(local_platform(home), traffic_readings(), HOUR)
        return local_platform(home).lake.require(layer.LAYER, "traffic_readings", HOUR).counts["rows"]


def summed(home: Path, _seconds: int) -> int:
    platform, roads = local_platform(home), generate_roads(generate())
    posted = dict(zip(roads.registry.zones, roads.free_flow_x10.tolist(), strict=True))
    manifest = traffic_hours.materialize(platform, traffic_readings(), DAY, roads, posted)
    if wrong := traffic_hours.differing(platform, traffic_readings(), DAY):
        sys.exit(f"sums are not those of their windows: {wrong[:9]}")
    return manifest.counts["rows"]


def traffic_readings() -> Dataset:
    dataset, mistakes = load_dataset(DATASETS / "traffic_readings")
    if dataset is None:
        raise SystemExit(mistakes)
    return dataset


def stored_bytes(lake: Path, layer: str) -> int:
    """Of the files of a layer, or of all."""
    return sum(one.stat().st_size for one in (lake / "objects" / layer).rglob("*") if one.is_file())


def check(platform: Platform) -> None:
    """Whether every row of the archive is in a window, in failed or a duplicate."""
    lake = platform.lake

    def count(layer: str, name: str) -> int:
        return lake.require(layer, "traffic_readings", HOUR).counts[name]

    with platform.engine.session() as session:
        files = lake.paths(lake.require("curated", "traffic_readings", HOUR), "parquet")
        ((windows,),) = session.rows(f"SELECT CAST(sum(readings) AS BIGINT) FROM {session.parquet(files)}")
    rest = count("cleaned", "duplicates") + count("cleaned", "removed") + count("quality_checked", "failed")
    if windows + rest != count(LAYER, "rows"):
        sys.exit(f"{count(LAYER, 'rows'):,} rows came in, {windows:,} are in windows and {rest:,} were held back")


if __name__ == "__main__":
    main()
