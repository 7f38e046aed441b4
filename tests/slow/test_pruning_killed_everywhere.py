"""Pruning, killed at every single change."""

from pathlib import Path

from city_platform.datasets import Dataset
from city_platform.layers.platform import Platform
from tests.integration.conftest import clock, home, platform, trees
from tests.integration.test_old_versions import drill, made, three

__all__ = ["clock", "home", "made", "platform", "three", "trees"]  # fixtures


def test_killed_at_every_change(three: Platform, trees: Dataset, home: Path, tmp_path: Path) -> None:
    drill(three, trees, home, tmp_path, every=1)
