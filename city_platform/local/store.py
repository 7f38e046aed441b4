"""Objects as files below one folder. Everything is private to its owner: folders 0700, files 0600."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from city_platform.errors import PermanentError
from city_platform.lake.zones import zone_of
from city_platform.local.deletions import LocalDeletions
from city_platform.ports import ObjectExists, ObjectNotFound, StoredObject, StoreUnavailable

_ATTEMPTS = 100  # at a folder that others remove as it is made


class MomentsNotKept(PermanentError):
    """A file system, as FAT, rounds the moments at which files were written."""


class LocalObjectStore:
    """An ObjectStore on the local file system.

    An object is written beside its place and then renamed (or, create-only, linked) into it, so a reader or a
    `kill -9` finds it whole or not at all. Scratch lies on the same file system, which makes `put_file` a rename.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._objects = self._root / "objects"
        self._scratch_root = self._root / "scratch"
        self.deletions = LocalDeletions(self._root / "deleted")

    def get(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError as error:
            raise ObjectNotFound(key) from error
        except OSError as error:
            raise StoreUnavailable(f"cannot read {key}: {error.strerror}") from error

    def put(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        handle, name = tempfile.mkstemp(dir=self.scratch())
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            self._move(Path(name), key, create_only=create_only)
        except OSError as error:
            raise StoreUnavailable(f"cannot write {key}: {error.strerror}") from error
        finally:
            Path(name).unlink(missing_ok=True)

    def put_file(self, key: str, file: Path) -> None:
        file.chmod(0o600)
        self._move(file, key, create_only=False)

    def put_copy(self, key: str, file: Path, modified: datetime) -> None:
        """As `put_file`, of a copy of an object that was written at that moment elsewhere: it says so, too.

        Raises MomentsNotKept.
        """
        at_ns = round(modified.timestamp() * 1_000_000) * 1000
        os.utime(file, ns=(at_ns, at_ns))
        if _modified(file.stat()) != modified:
            raise MomentsNotKept(
                f"the file system of {self._root} does not keep to the microsecond when a file was written, so nobody "
                "could tell what changed since it was copied: name a folder on another one, as ext4, XFS or APFS"
            )
        self.put_file(key, file)

    def local_path(self, key: str) -> Path:
        path = self._path(key)
        if not path.is_file():
            raise ObjectNotFound(key)
        return path

    def size(self, key: str) -> int:
        return self.local_path(key).stat().st_size

    def modified(self, key: str) -> datetime:
        return _modified(self.local_path(key).stat())

    def keys(self, prefix: str) -> Iterator[str]:
        yield from sorted(key for key, _ in self._below(prefix))

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        found = []
        for key, entry in self._below(prefix):
            with suppress(FileNotFoundError):  # it was there when its folder was listed
                facts = entry.stat()
                found.append(StoredObject(key, facts.st_size, _modified(facts), f"{facts.st_ino}-{facts.st_ctime_ns}"))
        yield from sorted(found, key=lambda one: one.key)

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            if self.deletions.kept and path.is_file():
                self.deletions.note(key)
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreUnavailable(f"cannot remove {key}: {error.strerror}") from error
        # Folders are only a part of keys here: one that holds nothing goes, so that listing does not walk it for ever.
        for folder in path.parents:
            if folder == self._objects:
                break
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                break

    def uri(self, key: str) -> str:
        return self._path(key).as_uri()

    def scratch(self) -> Path:
        """This process's folder for unfinished files; what dead processes left behind is removed first."""
        mine = self._scratch_root / str(os.getpid())
        if not mine.is_dir():
            try:
                self._make_folders(mine)
            except OSError as error:
                raise StoreUnavailable(f"cannot write below {self._root}: {error.strerror}") from error
            for other in self._scratch_root.iterdir():
                if other.name.isdecimal() and not _alive(int(other.name)):
                    shutil.rmtree(other, ignore_errors=True)
        return mine

    def _below(self, prefix: str) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
        folder, _, _ = prefix.rpartition("/")
        skipped = len(str(self._objects)) + 1
        waiting = [str(self._path(folder) if folder else self._objects)]
        while waiting:
            try:
                with os.scandir(waiting.pop()) as entries:
                    there = list(entries)
            except (FileNotFoundError, NotADirectoryError):  # nothing was put there, or all of it was deleted meanwhile
                continue
            except OSError as error:
                raise StoreUnavailable(f"cannot list {prefix}: {error.strerror}") from error
            for entry in there:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif (key := entry.path[skipped:]).startswith(prefix) and entry.is_file():
                    yield key, entry

    def _path(self, key: str) -> Path:
        path = self._objects / key
        if not key or ".." in Path(key).parts or path == self._objects or key.startswith("/"):
            raise ObjectNotFound(f"not an object key: {key!r}")
        return path

    def _move(self, file: Path, key: str, *, create_only: bool) -> None:
        target = self._path(key)
        zone_of(key)  # of no use here, but what has no place on AWS shall not find one on this machine
        try:
            self._put_in_place(file, target, create_only=create_only)
        except FileExistsError as error:
            file.unlink(missing_ok=True)
            raise ObjectExists(key) from error
        except OSError as error:
            raise StoreUnavailable(f"cannot write {key}: {error.strerror}") from error

    def _put_in_place(self, file: Path, target: Path, *, create_only: bool) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._make_folders(target.parent)
                if create_only:
                    # A hard link fails where the name is taken, atomically; a rename would replace it.
                    os.link(file, target)
                    file.unlink()
                else:
                    file.replace(target)
            except FileNotFoundError:  # somebody deleted the folder's last object just now
                if attempt == _ATTEMPTS or not file.exists():
                    raise
            else:
                return

    def _make_folders(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make_folders(folder.parent)
            with suppress(FileExistsError):  # `exist_ok` looks whether it is there, and by then it may be gone again
                folder.mkdir(mode=0o700)


def _modified(facts: os.stat_result) -> datetime:
    return datetime.fromtimestamp(facts.st_mtime, UTC)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
