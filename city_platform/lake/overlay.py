"""A store over another: reads see both, writes stay above. So a layer can be tried out without touching the lake."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from city_platform.ports import ObjectExists, ObjectNotFound, ObjectStore, StoredObject


@dataclass(frozen=True, slots=True)
class OverlayStore:
    """An ObjectStore whose writes go to `upper`; `lower` is only read. Nothing of `lower` can be deleted."""

    lower: ObjectStore
    upper: ObjectStore

    def get(self, key: str) -> bytes:
        return self._holding(key).get(key)

    def put(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        if create_only and self._holds(self.lower, key):
            raise ObjectExists(key)
        self.upper.put(key, data, create_only=create_only)

    def put_file(self, key: str, file: Path) -> None:
        self.upper.put_file(key, file)

    def local_path(self, key: str) -> Path:
        return self._holding(key).local_path(key)

    def size(self, key: str) -> int:
        return self._holding(key).size(key)

    def modified(self, key: str) -> datetime:
        return self._holding(key).modified(key)

    def keys(self, prefix: str) -> Iterator[str]:
        yield from (one.key for one in self.objects(prefix))

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        there = {one.key: one for store in (self.lower, self.upper) for one in store.objects(prefix)}
        yield from (there[key] for key in sorted(there))

    def delete(self, key: str) -> None:
        self.upper.delete(key)

    def uri(self, key: str) -> str:
        return self._holding(key).uri(key)

    def scratch(self) -> Path:
        return self.upper.scratch()

    def _holding(self, key: str) -> ObjectStore:
        return self.upper if self._holds(self.upper, key) else self.lower

    @staticmethod
    def _holds(store: ObjectStore, key: str) -> bool:
        try:
            store.size(key)
        except ObjectNotFound:
            return False
        return True
