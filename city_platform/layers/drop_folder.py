"""The drop folder: `drop/<dataset>/` is where a person or another system puts source files.

A file that has landed moves to `landed/` beside it, one that cannot land moves to `refused/` with the reason in a
text file next to it. So the folder itself shows what is waiting, and nothing is ever deleted.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from city_platform.datasets import Dataset
from city_platform.errors import PermanentError
from city_platform.layers.landing import Landing, land
from city_platform.layers.platform import Platform

LANDED, REFUSED = "landed", "refused"
SETTLE_SECONDS = 10.0  # a file written to more recently may still be growing


def waiting(folder: Path, datasets: Sequence[Dataset], now: float) -> Iterator[tuple[Dataset, Path]]:
    """The files that can land, oldest first. `now` is in seconds since 1970, as file times are."""
    for dataset in datasets:
        files = [path for path in folder.joinpath(dataset.name).glob("*") if path.is_file() and path.name[0] != "."]
        settled = [path for path in files if now - path.stat().st_mtime >= SETTLE_SECONDS]
        for path in sorted(settled, key=lambda path: (path.stat().st_mtime, path.name)):
            yield dataset, path


def take(platform: Platform, dataset: Dataset, file: Path) -> Landing:
    """Lands a dropped file and moves it out of the way. A permanent error refuses the file and is raised again."""
    try:
        landing = land(platform, dataset, file)
    except PermanentError as error:
        moved = _move(file, REFUSED)
        moved.with_name(f"{moved.name}.reason.txt").write_text(f"{error}\n", encoding="utf-8")
        platform.notifier.notify(f"{dataset.name}: a dropped file was refused", f"{file.name}: {type(error).__name__}")
        raise
    _move(file, LANDED)
    return landing


def _move(file: Path, where: str) -> Path:
    """Moves the file into the folder `where`, numbering it if that name is taken."""
    folder = file.parent / where
    folder.mkdir(mode=0o700, exist_ok=True)
    target, count = folder / file.name, 1
    while target.exists():
        count += 1
        target = folder / f"{file.stem}-{count}{file.suffix}"
    return file.rename(target)
