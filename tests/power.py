"""Power cuts: what a process does to a folder is recorded, and every disk that a cut may leave behind is made of it.

Recorded are the calls of `os` that change names, and those that force bytes or names to the disk. What was forced is
on the disk. Of the names that were not, a file system may have written any: none, all, each alone, all but each, and,
where they are few, every choice of them. A file whose bytes were not forced may be empty, cut short or whole under any
name. No order is taken for granted that nobody asked for, which is less than file systems with a journal promise.
"""

import itertools
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FEW = 4  # names of which every choice is made
UNRECORDED = "scratch"  # a folder whose files are nobody's after a power cut
Disk = Mapping[str, bytes]  # files by their paths below the recorded folder
Promises = Mapping[str, tuple[bytes | None, ...]]  # what a file may be; None: it is not there


@dataclass(slots=True, eq=False)
class _File:
    """One file, whatever its names. `forced` are its bytes when they were last forced, None: never."""

    now: bytes = b""
    forced: bytes | None = None


_Named = _File | str | None  # what a name stands for: a file, _FOLDER, nothing
_FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class _Change:
    """A name that came to stand for something else: a file, a folder, or nothing any more."""

    path: str
    to: _Named

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]


@dataclass(slots=True)
class Power:
    """What happened in a folder. `disks` are all that a cut may have left, each with what was promised by then."""

    root: Path
    patch: pytest.MonkeyPatch  # undone when the recording ends
    disks: list[tuple[Disk, Promises]] = field(default_factory=list)
    forced: int = 0  # how often something was
    _files: dict[int, _File] = field(default_factory=dict)  # by inode
    _names: dict[str, _Named] = field(default_factory=dict)  # forced, by path
    _pending: list[_Change] = field(default_factory=list)
    _promised: dict[str, tuple[bytes | None, ...]] = field(default_factory=dict)
    _known: set[int] = field(default_factory=set)
    _forcing: threading.Lock = field(default_factory=threading.Lock)

    def promise(self, path: str, *contents: bytes | None) -> None:
        """From now on that file is there with those bytes, or with one of those: before one is replaced by another."""
        self._promised[path] = contents
        self._cut()

    def named(self, path: Path, *, folder: bool = False) -> None:
        inside = self._inside(path)
        if inside is not None:
            self._pending.append(_Change(inside, _FOLDER if folder else self._file(path)))
            self._cut()

    def last_name(self, path: Path) -> int | None:
        """The inode that is nobody's when this name is gone, and another file's then."""
        try:
            facts = path.lstat()
        except FileNotFoundError:
            return None
        return facts.st_ino if facts.st_nlink == 1 else None

    def let_go(self, inode: int | None) -> None:
        self._files.pop(inode or 0, None)

    def unnamed(self, path: Path) -> None:
        inside = self._inside(path)
        if inside is not None:
            self._pending.append(_Change(inside, None))
            self._cut()

    def force(self, handle: int) -> None:
        with self._forcing:
            self._force(handle)

    def _force(self, handle: int) -> None:
        facts = os.fstat(handle)
        path = Path(f"/proc/self/fd/{handle}").readlink()
        self.forced += 1
        if stat.S_ISDIR(facts.st_mode):
            inside = self._inside(path / "any")
            if inside is not None:
                self._force_names(inside.rpartition("/")[0])
        else:
            file = self._files.setdefault(facts.st_ino, _File())
            file.now = file.forced = path.read_bytes()
        self._cut()

    def _force_names(self, folder: str) -> None:
        for one in [each for each in self._pending if each.folder == folder]:
            before = self._pending[: self._pending.index(one)]
            self._pending.remove(one)
            self._names[one.path] = one.to
            if one.to is None:  # with a folder goes all that was in it
                below = f"{one.path}/"
                self._names = {path: to for path, to in self._names.items() if not path.startswith(below)}
                gone = [each for each in before if each.path.startswith(below)]
                self._pending = [each for each in self._pending if each not in gone]

    def _file(self, path: Path) -> _File:
        file = self._files.setdefault(path.stat().st_ino, _File())
        file.now = path.read_bytes()
        return file

    def _inside(self, path: Path) -> str | None:
        if not path.is_relative_to(self.root) or UNRECORDED in path.parts:
            return None
        return str(path.relative_to(self.root))

    def _cut(self) -> None:
        """Every disk that is left if the power is cut now."""
        count = len(self._pending)
        choices: Iterator[tuple[int, ...]]
        if count <= FEW:
            choices = itertools.chain.from_iterable(
                itertools.combinations(range(count), size) for size in range(count + 1)
            )
        else:
            everything = tuple(range(count))
            alone = ((one,) for one in everything)
            without = (everything[:one] + everything[one + 1 :] for one in everything)
            choices = itertools.chain([(), everything], alone, without)
        for choice in choices:
            names = dict(self._names)
            for one in choice:
                names[self._pending[one].path] = self._pending[one].to
            for spoilt in (0, 0.5, 1):
                disk = _disk(names, spoilt)
                identity = hash((frozenset(disk.items()), frozenset(self._promised.items())))
                if identity not in self._known:
                    self._known.add(identity)
                    self.disks.append((disk, dict(self._promised)))


def _disk(names: Mapping[str, _Named], share: float) -> Disk:
    """The files that are found from the root; of bytes that were not forced that share is there."""
    found: dict[str, bytes] = {}
    for path, one in names.items():
        parents = [str(each) for each in Path(path).parents if str(each) != "."]
        if isinstance(one, _File) and all(names.get(each) == _FOLDER for each in parents):
            found[path] = one.now if one.forced == one.now else one.now[: int(len(one.now) * share)]
    return found


@contextmanager
def recorded(root: Path) -> Iterator[Power]:
    """Records what this process does below a folder, which is empty."""
    with pytest.MonkeyPatch.context() as patch:
        power = Power(root, patch)

        def after(name: str, told: Callable[..., None], going: int | None = None) -> None:
            """`going` is the place of the argument whose name is gone, or another file's, after the call."""
            real = getattr(os, name)

            def call(*arguments: Any, **options: Any) -> Any:
                last = power.last_name(Path(arguments[going])) if going is not None else None
                done = real(*arguments, **options)
                power.let_go(last)
                told(*arguments)
                return done

            patch.setattr(os, name, call)

        def moved(source: Any, target: Any) -> None:
            power.named(Path(target))
            power.unnamed(Path(source))

        after("link", lambda _source, target: power.named(Path(target)))
        after("replace", moved, going=1)
        after("rename", moved, going=1)
        after("mkdir", lambda path, *_: power.named(Path(path), folder=True))
        for name in ("unlink", "remove", "rmdir"):
            after(name, lambda path, *_: power.unnamed(Path(path)), going=0)
        after("fsync", power.force)
        patch.setenv("CITY_PLATFORM_SYNC", "on")
        yield power


def laid_out(disk: Disk, folder: Path) -> Path:
    """The disk as files."""
    for path, content in disk.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.write_bytes(content)
        file.chmod(0o600)
    return folder


def broken(disk: Disk, promised: Promises) -> Sequence[str]:
    """The promises that the disk does not keep."""
    return [path for path, contents in promised.items() if disk.get(path) not in contents]
