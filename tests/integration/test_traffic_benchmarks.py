"""What is claimed of the detector on real labelled series."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.real_data
def test_unusual_traffic_is_found_on_series_that_had_no_part_in_the_choice(real_data: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "nab.py", "--data", real_data / "traffic"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "absent:  TravelTime_451, occupancy_t4013, speed_6005, speed_t4013" in done.stdout


@pytest.mark.real_data
def test_every_forecast_of_real_loops_beats_seasonal_naive_with_honest_intervals(real_data: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "forecast.py", "--data", real_data / "traffic"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("  yes") == 19
