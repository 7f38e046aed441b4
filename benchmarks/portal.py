"""All parking tickets of an era, from the open data portal to the curated summary, measured in one run.

    uv run python benchmarks/portal.py --rows 2_500_000

A portal of this machine (tests/portal_server.py, a process of its own) serves generated tickets of 2020 to 2024 as CSV.
Each contestant is a process of its own. Printed are seconds, CPU seconds, peak memory and ratios against
    download  the export written to disk and nothing else,
    pandas    the same work as its users write it,
    duckdb    the same work as one plain DuckDB script: no years that stay, no versions, no retries, no counts.
Then the same fetch once more, when nothing has changed, and once more after one ticket came.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from batch import PEERS, ROOT, WORKERS, Measured, measure

PORTAL_ID = "parking-tickets-2020-2025"
EXPORT = f"/api/explore/v2.1/catalog/datasets/{PORTAL_ID}/exports/csv?use_labels=true&delimiter=%3B"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=lambda text: int(text.replace("_", "")), default=2_500_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="portal-benchmark-") as folder:
        contest(options.rows, Path(folder))


def contest(rows: int, folder: Path) -> None:
    """Measures everybody on one export and prints the table."""
    from city_platform.samples import generate

    file, grown = folder / "tickets.csv", folder / "grown.csv"
    generate("parking_tickets", file, rows=rows, seed=7)
    print(f"{rows:,} tickets, {file.stat().st_size / 1e6:,.0f} MB")
    # The newest ticket stands at the top, as exports sorted by date have it: every other row moves.
    header, body = file.read_bytes().split(b"\n", 1)
    grown.write_bytes(header + b"\n1200;W BROADWAY;2024-12-31;2849;17.1;IS;;2024;999999999\r\n" + body)
    with served(file) as before, served(grown) as after:
        home = str(folder / "home")
        me = [sys.executable, __file__]
        results = [
            measure("download", [*me, "--download", before, home]),
            measure("platform", [*me, "--platform", before, home]),
            measure("platform, nothing changed", [*me, "--platform", before, home]),
            measure("platform, one ticket came", [*me, "--platform", after, home]),
        ]
        for name in ("duckdb", "pandas"):
            peer = str(PEERS / f"tickets_{name}_peer.py")
            results.append(measure(name, [sys.executable, peer, before + EXPORT, str(folder / name)]))
    show(rows, results)


@contextmanager
def served(file: Path) -> Iterator[str]:
    """The address of a portal that serves the file."""
    command = [sys.executable, "-m", "tests.portal_server", f"{PORTAL_ID}={file}"]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait()


def show(rows: int, results: Sequence[Measured]) -> None:
    download, platform = results[:2]
    print(
        f"\n{rows:,} rows\n{'':28}{'seconds':>9}{'CPU s':>8}{'rows/s':>12}{'peak GB':>9}"
        f"{'x download':>12}{'platform is':>13}"
    )
    for one in results:
        print(
            f"{one.name:28}{one.seconds:9.2f}{one.facts['cpu']:8.2f}{rows / one.seconds:12,.0f}{one.peak / 1e9:9.2f}"
            f"{one.seconds / download.seconds:12.1f}{one.seconds / platform.seconds:12.1f}x"
        )
    for one in results:
        print(f"  {one.name}: {json.dumps(one.facts)}")


def download_only(portal: str, home: Path) -> Mapping[str, object]:
    """The export written to disk in large pieces."""
    import httpx2

    home.mkdir(parents=True, exist_ok=True)
    file = home / "download.csv"
    started = time.perf_counter()
    with httpx2.stream("GET", portal + EXPORT) as response, file.open("wb") as writer:
        for piece in response.iter_raw():
            writer.write(piece)
    seconds = time.perf_counter() - started
    file.unlink()
    return {"seconds": seconds, "cpu": time.process_time()}


def platform(portal: str, home: Path) -> Mapping[str, object]:
    """Fetch, land, and every layer to curated of the years that are behind, two years at a time, without Dagster."""
    from city_platform.datasets import load_datasets
    from city_platform.layers import cleaned, curated, fetching, freshness, quality_checked, raw
    from city_platform.local.platform import local_platform
    from city_platform.portal.client import PortalClient
    from city_platform.portal.settings import PortalSettings

    adapters = local_platform(home)
    dataset = next(one for one in load_datasets(ROOT / "datasets") if one.name == "parking_tickets")
    source = next(one for one in dataset.sources if one.portal_id == PORTAL_ID)
    begun = time.process_time()
    started = time.perf_counter()
    with PortalClient(PortalSettings(base=portal), adapters.clock) as client:
        fetching.fetch(adapters, dataset, source, client)
    fetched = time.perf_counter()
    layers = (raw, cleaned, quality_checked, curated)
    # The encrypted layer is no part of the comparison, so it is always behind.
    behind = [
        year
        for year in freshness.partitions(adapters, dataset)
        if raw.LAYER in freshness.outdated(adapters, dataset, year)
    ]

    def year_through(year: str) -> None:
        for layer in layers:
            layer.materialize(adapters, dataset, year)

    with ThreadPoolExecutor(WORKERS) as workers:
        list(workers.map(year_through, behind))
    ended = time.perf_counter()
    years = freshness.partitions(adapters, dataset)
    made = {
        layer.LAYER: [adapters.lake.require(layer.LAYER, dataset.name, year).counts for year in years]
        for layer in layers
    }
    return {
        "rows": sum(one["rows"] for one in made[raw.LAYER]),
        "seconds": ended - started,
        "cpu": round(time.process_time() - begun, 2),
        "passed": sum(one["rows"] for one in made[quality_checked.LAYER]),
        "failed": sum(one["failed"] for one in made[quality_checked.LAYER]),
        "summary_rows": sum(one["rows"] for one in made[curated.LAYER]),
        "years_made": len(behind),
        "fetch_and_land": round(fetched - started, 2),
    }


if __name__ == "__main__":
    work = {"--download": download_only, "--platform": platform}
    if len(sys.argv) == 4 and sys.argv[1] in work:
        print(json.dumps(work[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))))
    else:
        main()
