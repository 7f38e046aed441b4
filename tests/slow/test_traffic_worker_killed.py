"""Drills of the traffic worker: killed at random moments while producers put frames, and fed with everything bad."""

from pathlib import Path

import pytest

from tests.traffic_drill import bad_input, killed_again_and_again


@pytest.mark.parametrize("seed", range(10, 16))
def test_one_worker_killed_again_and_again_ends_in_the_truth(tmp_path: Path, seed: int) -> None:
    assert killed_again_and_again(tmp_path, seed, 6) == []


@pytest.mark.parametrize("seed", range(20, 23))
def test_a_killed_parent_of_a_process_a_shard_ends_in_the_truth(tmp_path: Path, seed: int) -> None:
    """Its children may live on for a moment beside those of the next one: two writers of every window."""
    assert killed_again_and_again(tmp_path, seed, 4, "--processes") == []


def test_everything_bad_and_a_burst_ten_times_a_seconds_load(tmp_path: Path) -> None:
    bad_input(tmp_path, burst=5_000)
