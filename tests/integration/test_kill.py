"""`kill -9` at any write, then the same again: the same final bytes as an undisturbed run."""

import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from city_platform.lake.lake import Lake
from city_platform.local.store import LocalObjectStore
from tests.town import ROOT, StandingClock, Tree, bad_trees, good_trees, trees_csv

# Loads everything once; then for each line of its input a process of its own does all the work, forked off before
# anything ran, and kills itself, as the machine would, just before or after its nth write. For each it prints how many
# writes there were, if it came to its end, and its exit code.
WORKER = textwrap.dedent(
    """
    import json, os, signal, sys, traceback
    from pathlib import Path
    from city_platform.datasets import load_datasets
    from city_platform.layers import freshness, landing
    from city_platform.local.platform import local_platform
    from city_platform.local.store import LocalObjectStore
    from tests.town import FIXTURES, StandingClock

    def work(home, file, deadly, moment):
        writes = 0
        move = LocalObjectStore._move

        def counted(self, *arguments, **options):
            nonlocal writes
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
        print(writes, end=" ", flush=True)

    for line in sys.stdin:
        home, file, deadly, moment = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                work(Path(home), Path(file), deadly, moment)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    """
)


class Runs:
    """Runs of all layers over one file, each a process."""

    def __init__(self, process: "subprocess.Popen[str]", file: Path) -> None:
        self._process, self._file = process, file

    def killed(self, home: Path, deadly: int, moment: str) -> None:
        """One that dies `before` or `after` its nth write."""
        assert self._run(home, deadly, moment) == [-signal.SIGKILL]

    def whole(self, home: Path) -> int:
        """One that nothing disturbs; how often it wrote."""
        writes, code = self._run(home, 0, "")
        assert code == 0
        return writes

    def _run(self, home: Path, deadly: int, moment: str) -> list[int]:
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps([str(home), str(self._file), deadly, moment]), file=self._process.stdin, flush=True)
        return [int(word) for word in self._process.stdout.readline().split()]


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
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("source")
    rows: list[Tree] = [*good_trees(2023), *bad_trees(2024, count=5), *good_trees(2025)]
    file = trees_csv(folder / "trees.csv", rows)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", WORKER], cwd=ROOT, text=True, **pipes) as process:
        yield Runs(process, file)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, runs: Runs) -> tuple[dict[str, object], int]:
    home = tmp_path_factory.mktemp("undisturbed")
    writes = runs.whole(home)
    return content(home), writes


def moments_of(writes: int) -> list[tuple[int, str]]:
    """Every moment at which the process can die: before and after each write."""
    return [(n, moment) for n in range(1, writes + 1) for moment in ("before", "after")]


def drill(tmp_path: Path, runs: Runs, expected: dict[str, object], n: int, moment: str) -> None:
    """Kills a run at one moment, looks at what it left, runs again."""
    home = tmp_path / f"{n}-{moment}"
    runs.killed(home, n, moment)
    content(home)  # whatever is published is whole
    runs.whole(home)
    assert content(home) == expected, f"killed {moment} write {n}"


def test_a_killed_run_leaves_whole_versions_and_is_mended_by_the_next(
    tmp_path: Path, runs: Runs, undisturbed: tuple[dict[str, object], int]
) -> None:
    expected, writes = undisturbed
    assert writes > 20
    for n, moment in moments_of(writes)[7::27]:  # a few here; tests/slow takes every one
        drill(tmp_path, runs, expected, n, moment)
