"""How fast readings reach the lake and become corrected windows, beside bare Parquet and bare DuckDB in the same run.

    uv run python benchmarks/traffic_lake.py --seconds 120

Readings of the whole city, a second after the other, as columnar frames. The archive decodes, checks and writes them;
its peer, pandas, decodes the same frames with json and writes the same columns by hour, without a check. The layers
take what the archive wrote; their peer is one DuckDB query that counts the same windows from the archive's files,
without keeping anything. CPU seconds: a shared machine disturbs them least. Sums must be the same on both sides.
"""

import argparse
import json
import resource
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from traffic_handler import REGISTRY, START, second

from city_platform.datasets import load_dataset
from city_platform.layers import freshness
from city_platform.layers.platform import Platform
from city_platform.local.platform import local_platform
from city_platform.traffic.archive import TrafficArchive
from city_platform.traffic.frames import encode_columns
from city_platform.traffic.stream import StreamRecord

DATASETS = Path(__file__).parents[1] / "datasets"
REPEATED = 20  # every so many records one comes twice, as gateways do that try again
WANTED = 50_000  # readings a second
WINDOWS = """
    SELECT zone, epoch_ms(measured_at) // 10000 AS w, count(*) AS readings, sum(vehicles) AS vehicles
    FROM (SELECT DISTINCT ON (sensor, seq) * FROM {files}) GROUP BY ALL
"""


@contextmanager
def measured(what: str, readings: int, told: dict[str, float]) -> Iterator[None]:
    began, cpu = time.perf_counter(), time.process_time()
    yield
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    told[what] = cpu
    print(f"{what:34}{seconds:9.2f}{cpu:9.2f}{readings / cpu:16,.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="of the city's, 50,000 readings each")
    options = parser.parse_args()
    dataset, mistakes = load_dataset(DATASETS / "traffic_readings")
    if dataset is None:
        raise SystemExit(mistakes)
    told: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        platform = local_platform(Path(folder))
        records = list(frames(options.seconds))
        readings = sum(count for _, count in records)
        print(f"{readings:,} readings\n{'':34}{'seconds':>9}{'CPU s':>9}{'readings/CPU s':>16}")
        with measured("archive", readings, told):
            rows = archived(platform, [record for record, _ in records])
        with measured("pandas, unchecked", readings, told):
            by_pandas(Path(folder), [record for record, _ in records])
        del records
        hours = platform.lake.partitions("exports", dataset.name)
        for layer in freshness.LAYERS:
            with measured(layer.LAYER, rows, told):
                for hour in hours:
                    layer.materialize(platform, dataset, hour)
        sums = windows(platform, hours, "curated", "SELECT count(*), sum(readings), sum(vehicles) FROM {files}")
        with measured("DuckDB, windows alone", rows, told):
            bare = windows(
                platform, hours, "exports", f"SELECT count(*), sum(readings), sum(vehicles) FROM ({WINDOWS})"
            )
        if sums != bare:
            raise SystemExit(f"curated says {sums}, DuckDB {bare}")
    layers = sum(told[layer.LAYER] for layer in freshness.LAYERS)
    print(
        f"\narchive: {readings / told['archive'] / WANTED:.1f} times {WANTED:,}/s on one core, "
        f"{told['pandas, unchecked'] / told['archive']:.1f} times pandas"
        f"\nfive layers: {rows / layers / WANTED:.1f} times {WANTED:,}/s on one core, "
        f"{layers / told['DuckDB, windows alone']:.1f} times what DuckDB takes for the windows alone"
        f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB"
    )


def frames(seconds: int) -> Iterator[tuple[StreamRecord, int]]:
    """Records and how many readings each has."""
    number = 0
    for at in range(seconds):
        for zone, one in enumerate(second(at)):
            data = encode_columns(REGISTRY.zones[zone], one, REGISTRY.number)
            number += 1
            for _ in range(1 if number % REPEATED else 2):
                yield StreamRecord(f"{number:021d}", REGISTRY.zones[zone], data, START + at * 1000 + 1500), len(one)


def archived(platform: Platform, records: list[StreamRecord]) -> int:
    with TrafficArchive(platform.lake, REGISTRY).filing() as filing:
        for first in range(0, len(records), 500):
            filing.add(records[first : first + 500])
        return filing.publish().readings


def by_pandas(folder: Path, records: list[StreamRecord]) -> None:
    """A minute of records at a time, as a script would."""
    zone_of = {int(number): REGISTRY.zones[zone] for number, zone in zip(REGISTRY.number, REGISTRY.zone, strict=True)}
    for first in range(0, len(records), 30_000):
        parts = []
        for record in records[first : first + 30_000]:
            frame = json.loads(zlib.decompress(record.data))
            part = pd.DataFrame({name: frame[name] for name in COLUMNS})
            part["seq"] += frame["seq0"]
            part["measured_at"] = pd.to_datetime(part.pop("t") + frame["t0"], unit="ms", utc=True)
            part["arrived_at"] = pd.to_datetime(record.arrival_ms, unit="ms", utc=True)
            parts.append(part)
        rows = pd.concat(parts)
        rows["zone"] = rows["sensor"].map(zone_of)
        for hour, some in rows.groupby(rows["measured_at"].dt.floor("h")):
            some.to_parquet(folder / f"{hour:%Y-%m-%d-%H}-{first}.parquet", compression="zstd", index=False)


COLUMNS = ("sensor", "seq", "t", "vehicle_count", "speed_x10", "index_x1000", "occupancy_x1000")


def windows(platform: Platform, hours: Sequence[str], layer: str, sql: str) -> list[tuple[int, ...]]:
    paths = [
        path
        for hour in hours
        for path in platform.lake.paths(platform.lake.require(layer, "traffic_readings", hour), "parquet")
    ]
    with platform.engine.session() as session:
        return session.rows(sql.format(files=session.parquet(paths)))


if __name__ == "__main__":
    main()
