"""Replication and restoring, killed at every single change: what is there is whole, and the next call does the rest."""

import shutil
from collections.abc import Callable
from pathlib import Path

from city_platform.datasets import Dataset
from city_platform.lake.lake import Lake
from city_platform.lake.replica import compare
from city_platform.layers.platform import Platform
from city_platform.local.replicator import LocalReplicator
from tests.integration.conftest import clock, home, platform, trees
from tests.integration.test_old_versions import killed_at, made, prune, three, whole

__all__ = ["clock", "home", "made", "platform", "three", "trees"]  # fixtures


def drill(work: Callable[[], object], begin: Callable[[], None], look: Callable[[], None], most: int) -> None:
    """Does the work from the same beginning, killed at each of its changes, and looks at what there is then.

    Before one and after the next, in turn: what lies between two changes is met at the one or at the other.
    """
    for change in range(1, most):
        begin()
        killed = killed_at(change, "before" if change % 2 else "after", work)
        look()
        if not killed:
            assert change > 30
            return
    raise AssertionError(f"more than {most} changes")


def test_killed_at_every_change_the_copy_is_a_lake_and_the_next_call_does_the_rest(
    three: Platform, trees: Dataset, home: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    LocalReplicator(home / "lake", copy, three.clock).replicate()
    shutil.copytree(copy, tmp_path / "old")
    prune(three, trees)  # notes, manifests, deletions
    three.audit.append(actor="a", account="b", action="c", facts={})
    shutil.copytree(home, tmp_path / "pruned")
    for beginning in (None, tmp_path / "old"):  # from nothing, and from what there was before pruning

        def begin(beginning: Path | None = beginning) -> None:
            for folder, source in ((copy, beginning), (home, tmp_path / "pruned")):
                shutil.rmtree(folder, ignore_errors=True)
                if source is not None:
                    shutil.copytree(source, folder)

        def look() -> None:
            whole(Lake(LocalReplicator(home / "lake", copy, three.clock).copy, three.clock))
            replicator = LocalReplicator(home / "lake", copy, three.clock)
            assert replicator.replicate().held == {}
            assert compare(replicator.source, replicator.copy, replicator.deletions).differences == []
            assert replicator.deletions.pending() == []

        drill(lambda: LocalReplicator(home / "lake", copy, three.clock).replicate(), begin, look, 500)


def test_killed_at_every_change_a_lake_that_comes_back_is_a_lake(three: Platform, home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    LocalReplicator(home / "lake", copy, three.clock).replicate()

    def begin() -> None:
        shutil.rmtree(home / "lake")

    def look() -> None:
        replicator = LocalReplicator(home / "lake", copy, three.clock)
        whole(Lake(replicator.source, three.clock))
        assert replicator.restore().held == {}
        assert compare(replicator.source, replicator.copy, replicator.deletions).differences == []

    drill(lambda: LocalReplicator(home / "lake", copy, three.clock).restore(), begin, look, 500)
