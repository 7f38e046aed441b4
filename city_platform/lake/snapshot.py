"""A store as it stood at one moment, for whoever looks at nearly all of it again and again: sensors.

What is asked for is listed once, a whole shelf at a time; sizes and moments come from the listing, and bytes that were
read are kept and read again only when the listing says that the object was written anew. So a look at a lake in which
nothing happened costs a listing a shelf, and no object is read.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from threading import Lock

from city_platform.lake.lake import MANIFESTS, PRUNED
from city_platform.ports import ObjectNotFound, ObjectStore, StoredObject

_MOST_BYTES = 64 << 20
_AT_ONCE = 16  # calls; on S3 each takes tens of milliseconds
_SHELVES = {MANIFESTS: 3, PRUNED: 3, "evaluations": 2, "audit": 1, "notices": 1}  # folders that make a shelf
_EXPORTS = f"{MANIFESTS}/exports/"  # of which there may be one a minute: a shelf a partition


class KnownBytes:
    """Bytes of small objects as they were read, the least used go first. Safe between threads."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most = most_bytes
        self._size = 0
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, StoredObject], bytes] = OrderedDict()

    def get(self, store: ObjectStore, one: StoredObject) -> bytes:
        """The object's bytes as it was listed. Raises the store's errors."""
        name = (store.uri(one.key), one)
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        data = store.get(one.key)
        with self._lock:
            if name not in self._kept and len(data) <= self._most:
                self._kept[name] = data
                self._size += len(data)
            while self._size > self._most:
                _, dropped = self._kept.popitem(last=False)
                self._size -= len(dropped)
        return data


class Snapshot:
    """An ObjectStore over another. Reads see each shelf as it was at the first look; writes go through."""

    def __init__(self, store: ObjectStore, known: KnownBytes) -> None:
        self._store = store
        self._known = known
        self._listed: dict[str, dict[str, StoredObject]] = {}
        self._beside: dict[str, bytes] = {}  # what lies on no shelf, as it was read

    def fetch(self, prefixes: Iterable[str], newest: int) -> None:
        """Lists the shelves beside each other, and reads the last object of each one's newest folders."""
        with ThreadPoolExecutor(_AT_ONCE) as workers:
            listings = list(workers.map(self._listing, prefixes))
            folders = [list({key.rpartition("/")[0]: key for key in one}.values())[-newest:] for one in listings]
            list(workers.map(self._seen, (key for keys in folders for key in keys)))

    def get(self, key: str) -> bytes:
        shelf = _shelf(key)
        if shelf is not None:
            return self._known.get(self._store, self._one(shelf, key))
        if key not in self._beside:
            self._beside[key] = self._store.get(key)
        return self._beside[key]

    def put(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        try:
            self._store.put(key, data, create_only=create_only)
        finally:
            self._forget(key)

    def put_file(self, key: str, file: Path) -> None:
        self._store.put_file(key, file)
        self._forget(key)

    def local_path(self, key: str) -> Path:
        return self._store.local_path(key)

    def size(self, key: str) -> int:
        shelf = _shelf(key)
        return self._store.size(key) if shelf is None else self._one(shelf, key).bytes

    def modified(self, key: str) -> datetime:
        shelf = _shelf(key)
        return self._store.modified(key) if shelf is None else self._one(shelf, key).modified

    def keys(self, prefix: str) -> Iterator[str]:
        yield from (one.key for one in self.objects(prefix))

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        shelf = _shelf(prefix)
        if shelf is None:
            yield from self._store.objects(prefix)
        else:
            yield from (one for key, one in self._listing(shelf).items() if key.startswith(prefix))

    def delete(self, key: str) -> None:
        self._store.delete(key)
        self._forget(key)

    def uri(self, key: str) -> str:
        return self._store.uri(key)

    def scratch(self) -> Path:
        return self._store.scratch()

    def _listing(self, shelf: str) -> dict[str, StoredObject]:
        if shelf not in self._listed:
            self._listed[shelf] = {one.key: one for one in self._store.objects(shelf)}
        return self._listed[shelf]

    def _one(self, shelf: str, key: str) -> StoredObject:
        try:
            return self._listing(shelf)[key]
        except KeyError:
            raise ObjectNotFound(key) from None

    def _seen(self, key: str) -> None:
        try:
            self.get(key)
        except ObjectNotFound:
            return  # deleted since it was listed: whoever asks for it hears so

    def _forget(self, key: str) -> None:
        self._beside.pop(key, None)
        self._listed.pop(_shelf(key) or "", None)


def _shelf(key: str) -> str | None:
    """The shelf on which a key, or all that starts with a prefix, lies; None where there is no such."""
    first, *more = key.split("/")[:-1] or [""]
    depth = _SHELVES.get(first, 0) + key.startswith(_EXPORTS)
    return "/".join([first, *more[: depth - 1], ""]) if depth and len(more) >= depth - 1 else None
