"""What it costs that a power cut takes nothing: the batch path with forcing to the disk and without, in turn.

    uv run python benchmarks/durability.py --rows 20 --rows 1_000_000

Every run is a process of its own over a fresh home. Printed are, of the best of some rounds, processor seconds and how
often and for how long the process waited for the disk: only that share is the disk's, whatever else the machine does.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3
ONE_YEAR = 1000  # rows; fewer are of one year


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=lambda text: int(text.replace("_", "")), action="append")
    parser.add_argument("--through", choices=("layers", "dagster"), default="layers")
    options = parser.parse_args()
    for rows in options.rows or [20, 1_000_000]:
        runs: dict[str, list[dict[str, float]]] = {"on": [], "off": []}
        with tempfile.TemporaryDirectory(prefix="durability-") as folder:
            file = licences(Path(folder, "licences.csv"), rows)
            for _ in range(ROUNDS):
                for choice, measured in runs.items():
                    environment = {**os.environ, "CITY_PLATFORM_SYNC": choice}
                    with tempfile.TemporaryDirectory(dir=folder) as home:
                        command = [sys.executable, __file__, home, str(file), options.through]
                        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                    measured.append(json.loads(done.stdout.splitlines()[-1]))
        print(f"{rows:,} rows")
        for choice, measured in runs.items():
            best = {name: min(one[name] for one in measured) for name in measured[0]}
            print(f"  {choice:4}" + "".join(f"  {name} {value:.3f}" for name, value in best.items()))


def licences(file: Path, rows: int) -> Path:
    from city_platform.samples import generate

    generate("business_licences", file, rows=max(rows, ONE_YEAR), seed=1)
    if rows < ONE_YEAR:
        header, *lines = file.read_text("utf-8").splitlines(keepends=True)
        year = [line for line in lines if line.split(";")[0] == lines[0].split(";")[0]]
        file.write_text(header + "".join(year[:rows]), "utf-8")
    return file


def work(home: Path, file: Path, through: str) -> dict[str, float]:
    from city_platform.datasets import load_datasets
    from city_platform.layers import freshness, landing
    from city_platform.local.platform import local_platform
    from city_platform.orchestration import orchestrator

    force, waited, times = os.fsync, 0.0, 0

    def timed(handle: int) -> None:
        nonlocal waited, times
        began = time.perf_counter()
        force(handle)
        waited, times = waited + time.perf_counter() - began, times + 1

    os.fsync = timed
    dataset = next(one for one in load_datasets(Path("datasets")) if one.name == "business_licences")
    platform = local_platform(home)
    conductor = orchestrator() if through == "dagster" else None
    platform.engine  # noqa: B018 -- what it imports is not what is measured
    processor, began = time.process_time(), time.perf_counter()
    landing.land(platform, dataset, file)
    years = freshness.partitions(platform, dataset)
    for year in years:
        layers = freshness.outdated(platform, dataset, year)
        if conductor is not None:
            assert conductor.materialize(home, dataset.name, year, layers, lambda _layer: None).failure is None
            continue
        for layer in freshness.LAYERS:
            if layer.LAYER in layers:
                layer.materialize(platform, dataset, year)
    return {
        "processor": time.process_time() - processor,
        "elapsed": time.perf_counter() - began,
        "waited": waited,
        "forced": times,
        "years": len(years),
    }


if __name__ == "__main__":
    if len(sys.argv) == 4 and not sys.argv[1].startswith("--"):
        print(json.dumps(work(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])))
    else:
        main()
