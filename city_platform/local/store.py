"""Objects as files below one folder. Everything is private to its owner: folders 0700, files 0600."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from city_platform.lake.zones import zone_of
from city_platform.ports import ObjectExists, ObjectNotFound, StoreUnavailable

_ATTEMPTS = 100  # at a folder that others remove as it is made


class LocalObjectStore:
    """An ObjectStore on the local file system.

    An object is written beside its place and then renamed (or, create-only, linked) into it, so a reader or a
    `kill -9` finds it whole or not at all. Scratch lies on the same file system, which makes `put_file` a rename.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._objects = self._root / "objects"
        self._scratch_root = self._root / "scratch"

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

    def local_path(self, key: str) -> Path:
        path = self._path(key)
        if not path.is_file():
            raise ObjectNotFound(key)
        return path

    def size(self, key: str) -> int:
        return self.local_path(key).stat().st_size

    def modified(self, key: str) -> datetime:
        return datetime.fromtimestamp(self.local_path(key).stat().st_mtime, UTC)

    def keys(self, prefix: str) -> Iterator[str]:
        def unreadable(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):  # a folder that went meanwhile holds nothing
                raise StoreUnavailable(f"cannot list {prefix}: {error.strerror}") from error

        folder, _, _ = prefix.rpartition("/")
        start = str(self._path(folder) if folder else self._objects)
        found: list[str] = []
        for place, _, names in os.walk(start, onerror=unreadable):
            below = place[len(str(self._objects)) + 1 :].replace(os.sep, "/")
            found += [f"{below}/{name}" if below else name for name in names]
        yield from sorted(key for key in found if key.startswith(prefix))

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
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


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
