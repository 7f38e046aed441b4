"""Reads a dataset's folder once per process, however many tests load it.

A hundred commands run within the test processes, each of which loads all datasets. What comes of a folder follows from
its files alone, so the next load of the same bytes at the same place is given what the first one made.
"""

from collections.abc import Callable
from pathlib import Path

from city_platform import datasets
from city_platform.datasets import Dataset
from city_platform.errors import Finding

Loaded = tuple[Dataset | None, list[Finding]]


def remembering(load: Callable[[Path], Loaded]) -> Callable[[Path], Loaded]:
    """`load`, called once for each place and content; what cannot be read is left to it every time."""
    known: dict[tuple[Path, tuple[tuple[Path, bytes | None], ...]], Loaded] = {}

    def remembered(folder: Path) -> Loaded:
        try:
            content = tuple((one, one.read_bytes() if one.is_file() else None) for one in sorted(folder.rglob("*")))
        except OSError:
            return load(folder)
        key = (folder, content)
        if key not in known:
            known[key] = load(folder)
        dataset, findings = known[key]
        return dataset, [*findings]

    return remembered


def install() -> None:
    """From here on whoever loads datasets in this process does so. Call it before tests import the function."""
    datasets.load_dataset = remembering(datasets.load_dataset)
