"""One pruning of a lake on this machine: planning and removing, in files a second.

    uv run python benchmarks/prune.py --partitions 500

Each partition of four layers, chained as a dataset's are, is published four times with two files of 8 kB; the newest
stays. Planning reads every manifest and lists every file; removing writes the notes and deletes.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from city_platform.contracts.model import OldVersions
from city_platform.lake.lake import Lake, StagedFile
from city_platform.lake.pruning import Inventory, carry_out, plan
from city_platform.lake.sink import workspace
from city_platform.local.store import LocalObjectStore
from tests.town import StandingClock

LAYERS = ("raw", "cleaned", "quality_checked", "curated")
VERSIONS, PARTS, BYTES = 4, ("rows", "failed"), 8_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partitions", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="prune-benchmark-") as folder:
        clock = StandingClock()
        lake = Lake(LocalObjectStore(Path(folder)), clock)
        for number in range(options.partitions):
            fill(lake, f"{1990 + number:04}")
        clock.time = datetime.now(UTC) + timedelta(days=2)
        started, cpu = time.monotonic(), time.process_time()
        planned = plan(lake, "trees", Inventory.of(lake), OldVersions(1, timedelta(days=1)))
        told("planned", started, cpu, len(planned.files))
        started, cpu = time.monotonic(), time.process_time()
        removed = carry_out(lake, planned)
        told("removed", started, cpu, len(removed))
        print(f"{len(planned.versions):,} versions, {sum(removed.values()):,} bytes")


def fill(lake: Lake, partition: str) -> None:
    """Publishes every version of every layer."""
    for _ in range(VERSIONS):
        inputs: Mapping[str, str] = {}
        for layer in LAYERS:
            with workspace(lake) as folder:
                parts = {}
                for part in PARTS:
                    file = folder / f"{part}.bin"
                    file.write_bytes(os.urandom(BYTES))
                    parts[part] = [StagedFile.of(file, 1)]
                made = lake.publish(
                    layer, "trees", partition, inputs=inputs, parts=parts, counts={"rows": 1}, schema=[]
                )
            inputs = {layer: made.version}


def told(what: str, started: float, cpu: float, files: int) -> None:
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - cpu
    print(
        f"{what}: {files:,} files in {seconds:.2f} s, {cpu_seconds:.2f} of CPU: {files / cpu_seconds:,.0f} a CPU second"
    )


if __name__ == "__main__":
    main()
