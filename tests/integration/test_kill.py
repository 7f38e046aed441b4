"""`kill -9` at any write, then the same again: the same final bytes as an undisturbed run."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from city_platform.lake.lake import Lake
from city_platform.local.store import LocalObjectStore
from tests.town import ROOT, StandingClock, Tree, bad_trees, good_trees, trees_csv

# A process that does all the work and kills itself, as the machine would, just before or after its nth write.
WORKER = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from city_platform.datasets import load_datasets
    from city_platform.layers import freshness, landing
    from city_platform.local.platform import local_platform
    from city_platform.local.store import LocalObjectStore
    from tests.town import FIXTURES, StandingClock

    home, file, deadly, moment = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    writes = 0
    move = LocalObjectStore._move

    def counted(self, *arguments, **options):
        global writes
        writes += 1
        if writes == deadly and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        move(self, *arguments, **options)
        if writes == deadly and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    LocalObjectStore._move = counted
    platform = local_platform(home, StandingClock())
    (trees,) = load_datasets(FIXTURES)
    landing.land(platform, trees, file)
    for year in freshness.partitions(platform, trees):
        for layer in freshness.LAYERS:
            if layer.LAYER in freshness.outdated(platform, trees, year):
                layer.materialize(platform, trees, year)
    print(writes)
    """
)


def work(home: Path, file: Path, deadly: int = 0, moment: str = "before") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WORKER, str(home), str(file), str(deadly), moment]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def content(home: Path) -> dict[str, object]:
    """What every published partition consists of; the encrypted layer's bytes are random, so its row count."""
    lake = Lake(LocalObjectStore(home / "lake"), StandingClock())
    found: dict[str, object] = {}
    for layer in ("landing", "raw", "cleaned", "quality_checked", "rejected", "curated", "encrypted"):
        for partition in lake.partitions(layer, "trees"):
            manifest = lake.require(layer, "trees", partition)
            for file in manifest.files:
                assert lake.store.size(file.key) == file.bytes
            found[f"{layer}/{partition}"] = manifest.counts if layer == "encrypted" else manifest.sha256
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    rows: list[Tree] = [*good_trees(2023), *bad_trees(2024, count=5), *good_trees(2025)]
    return trees_csv(folder / "trees.csv", rows)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, file: Path) -> tuple[dict[str, object], int]:
    home = tmp_path_factory.mktemp("undisturbed")
    done = work(home, file)
    assert done.returncode == 0, done.stderr
    return content(home), int(done.stdout)


def moments_of(writes: int) -> list[tuple[int, str]]:
    """Every moment at which the process can die: before and after each write."""
    return [(n, moment) for n in range(1, writes + 1) for moment in ("before", "after")]


def drill(tmp_path: Path, file: Path, expected: dict[str, object], n: int, moment: str) -> None:
    """Kills a run at one moment, looks at what it left, runs again."""
    home = tmp_path / f"{n}-{moment}"
    killed = work(home, file, n, moment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    content(home)  # whatever is published is whole
    mended = work(home, file)
    assert mended.returncode == 0, mended.stderr
    assert content(home) == expected, f"killed {moment} write {n}"


def test_a_killed_run_leaves_whole_versions_and_is_mended_by_the_next(
    tmp_path: Path, file: Path, undisturbed: tuple[dict[str, object], int]
) -> None:
    expected, writes = undisturbed
    assert writes > 20
    for n, moment in moments_of(writes)[7::27]:  # a few here; tests/slow takes every one
        drill(tmp_path, file, expected, n, moment)
