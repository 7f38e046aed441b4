"""How fast a profile is, against ydata-profiling on the same file in the same run.

    uv run python benchmarks/profile.py --rows 20_000 --rows 200_000

Each contestant runs in a process of its own, reads the CSV, computes everything its report shows and writes the HTML;
start-up and imports are not counted.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

PEER = Path(__file__).parent / "peers" / "ydata_profiling_peer.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=lambda text: int(text.replace("_", "")), action="append")
    parser.add_argument("--without-peer", action="store_true", help="only the platform")
    parser.add_argument("--minimal", action="store_true", help="let the peer leave out what it calls expensive")
    options = parser.parse_args()
    for rows in options.rows or [20_000]:
        with tempfile.TemporaryDirectory(prefix="profile-benchmark-") as folder:
            contest(rows, Path(folder), peer=not options.without_peer, minimal=options.minimal)


def contest(rows: int, folder: Path, *, peer: bool, minimal: bool) -> None:
    """Measures both on one file of generated licences, 25 columns, and prints the table."""
    from city_platform.samples import generate

    file, page = folder / "licences.csv", folder / "profile.html"
    generate("business_licences", file, rows=rows, seed=7)
    results = {"platform": run([sys.executable, __file__, "--platform", str(file), str(page)])}
    if peer:
        command = ["uv", "run", "--script", str(PEER), str(file), str(page), *(["--minimal"] if minimal else [])]
        results[f"ydata-profiling{', minimal' if minimal else ''}"] = run(command)
    print(f"\n{rows:,} rows, 25 columns")
    print(f"{'':26}{'seconds':>9}{'CPU s':>8}{'peak GB':>9}{'platform is':>14}{'by CPU':>9}")
    for name, facts in results.items():
        faster, cheaper = (facts[one] / results["platform"][one] for one in ("seconds", "cpu"))
        peak = facts["peak"] / 1e9
        print(f"{name:26}{facts['seconds']:9.2f}{facts['cpu']:8.2f}{peak:9.2f}{faster:13.1f}x{cheaper:8.1f}x")
    for name, facts in results.items():
        print(f"  {name}: {json.dumps(facts)}")


def run(command: list[str]) -> Mapping[str, float]:
    """Runs one contestant; the last line it prints is one JSON object of figures."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    figures: Mapping[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def platform(file: Path, page: Path) -> None:
    """CSV to HTML report; the figures on standard output let the two be compared."""
    from city_platform.profiling.files import profile_file
    from city_platform.profiling.report import report

    started, cpu = time.perf_counter(), time.process_time()
    found = profile_file(file, "America/Vancouver")
    page.write_text(report(found), encoding="utf-8")
    facts = {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "rows": found.rows,
        "missing_cells": found.missing_cells,
        "duplicate_rows": found.duplicate_rows,
        "html_bytes": page.stat().st_size,
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--platform":
        platform(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
