"""What a power cut must not take: bytes and names are forced to the disk before anybody is told that they are there.

A file's bytes and its name are two things to a file system: the one is the file's to force, the other its folder's
(fsync(2), "Calling fsync() does not necessarily ensure that the entry in the directory containing the file has also
reached disk").
"""

import errno
import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from city_platform.errors import PermanentError

SYNC = "CITY_PLATFORM_SYNC"  # on, also where it says nothing, or off: `kill -9` loses nothing then, a power cut may
_CHOICES = {"on": True, "off": False}
_AT_ONCE = 8
_NO_SUCH_THING = {errno.EINVAL, errno.ENOTSUP}  # some shares force folders themselves, and cannot be asked to


class UnknownChoice(PermanentError):
    """The setting is neither on nor off."""


def enabled() -> bool:
    """Whether anything is forced. Raises UnknownChoice."""
    chosen = os.environ.get(SYNC) or "on"
    if chosen not in _CHOICES:
        raise UnknownChoice(f"{SYNC}={chosen!r} is none of: {', '.join(_CHOICES)}")
    return _CHOICES[chosen]


def sync_file(file: Path) -> None:
    """The bytes of a file, which need not be open. Raises OSError."""
    if enabled():
        _sync(file, os.O_RDONLY)


def sync_folder(folder: Path) -> None:
    """The names in a folder: what came, what went. Raises OSError."""
    if enabled():
        try:
            _sync(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if error.errno not in _NO_SUCH_THING:
                raise


def make_folder(folder: Path) -> None:
    """Makes a folder of mode 0700, and those it is to lie in, unless they are there. Raises OSError."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


def write_whole(file: Path, data: bytes) -> None:
    """The file, mode 0600, as it was or as it is to be, whatever happens. Its folder is there. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # made with mode 0600
    try:
        with os.fdopen(handle, "wb") as unfinished:
            unfinished.write(data)
        sync_file(Path(name))
        Path(name).replace(file)
    finally:
        Path(name).unlink(missing_ok=True)
    sync_folder(file.parent)


class UnsyncedNames:
    """Folders in which names changed since they were last forced, so that many changes need one forcing each.

    Safe between threads: a call of `sync` that returns has forced, or waited for, every change noted before it.
    """

    def __init__(self) -> None:
        self._folders: set[Path] = set()
        self._working = threading.Lock()

    def note(self, folder: Path) -> None:
        with self._working:
            self._folders.add(folder)

    def sync(self) -> None:
        """Raises OSError; all of it stays noted then."""
        with self._working:
            if len(self._folders) > 1 and enabled():
                # Side by side, because a file system with a journal writes once for all that wait: a third of the time.
                with ThreadPoolExecutor(_AT_ONCE) as workers:
                    list(workers.map(_sync_remaining, self._folders))
            else:
                for folder in self._folders:
                    _sync_remaining(folder)
            self._folders.clear()


def _sync_remaining(folder: Path) -> None:
    with suppress(FileNotFoundError):  # deleted with all that was in it: that is the deleter's to force
        sync_folder(folder)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
