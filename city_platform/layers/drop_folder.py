"""The drop folder: `drop/<dataset>/` is where a person or another system puts source files.

A file that has landed moves to `landed/` beside it, one that cannot land moves to `refused/` with the reason in a
text file next to it. So the folder itself shows what is waiting, and nothing is ever deleted.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from city_platform.datasets import Dataset
from city_platform.errors import PermanentError
from city_platform.layers.landing import Landing, land, refuse_unspeakable
from city_platform.layers.platform import Platform

LANDED, REFUSED = "landed", "refused"
SETTLE_SECONDS = 10.0  # a file written to more recently may still be growing
_NAME_BYTES = 255  # of one name, on the usual file systems
_REASON = ".reason.txt"


class NotDropped(PermanentError):
    """What lies in the drop folder is no file that somebody put there."""


def waiting(folder: Path, datasets: Sequence[Dataset], now: float) -> Iterator[tuple[Dataset, Path]]:
    """The files that can land, oldest first. `now` is in seconds since 1970, as file times are."""
    for dataset in datasets:
        found: list[tuple[float, str, Path]] = []
        for path in folder.joinpath(dataset.name).glob("*"):
            with suppress(FileNotFoundError):  # somebody took it away just now
                changed = path.stat(follow_symlinks=False).st_mtime
                if path.name[0] != "." and path.is_file() and now - changed >= SETTLE_SECONDS:
                    found.append((changed, path.name, path))
        for *_, path in sorted(found):
            yield dataset, path


def set_aside(platform: Platform, dataset: Dataset, file: Path) -> bool:
    """Whether the file was refused for what it is, before anybody reads it or passes on its name."""
    try:
        _look_at(file)
    except PermanentError as error:
        _refuse(platform, dataset, file, error)
        return True
    return False


def take(platform: Platform, dataset: Dataset, file: Path) -> Landing:
    """Lands a dropped file and moves it out of the way. A permanent error refuses the file and is raised again.

    One that was written anew meanwhile stays and waits: nobody has read what it is now. Raises FileNotFoundError where
    another run has taken it.
    """
    before = _facts(file)
    try:
        _look_at(file)
        landing = land(platform, dataset, file)
    except PermanentError as error:
        if _facts(file) == before:
            _refuse(platform, dataset, file, error)
        raise
    with suppress(FileNotFoundError):  # another run landed the same bytes, and was first to move it
        if _facts(file) == before:
            _move(file, LANDED)
    return landing


def _facts(file: Path) -> tuple[int, int, int]:
    """What is another one after every write."""
    facts = file.stat(follow_symlinks=False)
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _look_at(file: Path) -> None:
    if file.is_symlink():
        raise NotDropped(f"{file.name} is a link: put the file itself here, because a link reads whatever it points at")
    refuse_unspeakable(file)


def _refuse(platform: Platform, dataset: Dataset, file: Path, error: PermanentError) -> None:
    moved = _move(file, REFUSED)
    moved.with_name(_fitting(moved.name, _REASON)).write_text(f"{error}\n", encoding="utf-8")
    name = file.name if file.name.isprintable() else ascii(file.name)
    platform.notifier.notify(f"{dataset.name}: a dropped file was refused", f"{name}: {type(error).__name__}")


def _move(file: Path, where: str) -> Path:
    """Moves the file into the folder `where`, numbering it if that name is taken."""
    folder = file.parent / where
    folder.mkdir(mode=0o700, exist_ok=True)
    target, count = folder / file.name, 1
    while os.path.lexists(target):
        count += 1
        target = folder / _fitting(file.stem, f"-{count}{file.suffix}")
    return file.rename(target)


def _fitting(name: str, ending: str) -> str:
    """The name with that ending, cut off where a file system would not take it."""
    while len(os.fsencode(name + ending)) > _NAME_BYTES and name:
        name = name[:-1]
    return name + ending
