"""A twentieth of the whole city's hour through every layer: all of it adds up, and memory stays where it is."""

import re
import subprocess
import sys
from pathlib import Path

from tests.town import ROOT

MOST_MB = 1_200  # of any step; a whole hour, twenty times as many readings, took 955
STEPS = ("exports", "raw", "cleaned", "quality_checked", "curated", "encrypted", "zone_hours")


def test_nine_million_readings_add_up_in_bounded_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/traffic_hour.py", "--seconds", "180", "--home", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr  # it compares rows in and out, and sums with windows
    told = {name: line.split() for name, line in re.findall(r"^(\w+) +(.*)$", done.stdout, re.MULTILINE)}
    rows = {name: int(told[name][0].replace(",", "")) for name in STEPS}
    assert rows["exports"] == rows["raw"] > 9_000_000
    assert rows["cleaned"] == rows["quality_checked"] == rows["encrypted"] > 8_900_000
    assert rows["curated"] == 500 * 18
    assert rows["zone_hours"] == 500
    peak = {name: int(told[name][4].replace(",", "")) for name in STEPS}
    assert max(peak.values()) < MOST_MB, peak
