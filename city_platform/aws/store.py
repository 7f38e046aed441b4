"""Objects in S3, through obstore (Rust object_store): a bucket for each zone, SSE-KMS by the bucket's default.

Files are read from a content cache on this machine: objects are immutable, so a cached one is never stale.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import S3Store

from city_platform.lake.zones import UnknownPlace, Zone, zone_of, zones_under
from city_platform.ports import ObjectExists, ObjectNotFound, StoredObject, StoreUnavailable

_LARGE = 32 << 20


class S3ObjectStore:
    """An ObjectStore in the S3 buckets of the lake's zones. Create-only writes use `If-None-Match: *`."""

    def __init__(self, buckets: Mapping[Zone, str], cache: Path, config: Mapping[str, Any] | None = None) -> None:
        """`buckets` names one for each zone, and may name the same one again.

        `config` goes to obstore's S3Store: region, endpoint, client options. Credentials are the environment's.
        """
        self._buckets = {zone: buckets[zone] for zone in Zone}
        self._cache = cache.absolute()
        self._stores = {name: S3Store(name, **dict(config or {})) for name in set(self._buckets.values())}

    def get(self, key: str) -> bytes:
        with _typed(key):
            return bytes(obstore.get(self._holding(key), key).bytes())

    def put(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        store = self._stores[self._buckets[zone_of(key)]]
        with _typed(key):
            if create_only:
                obstore.put(store, key, data, mode="create")
            else:
                obstore.put(store, key, data)

    def put_file(self, key: str, file: Path) -> None:
        store = self._stores[self._buckets[zone_of(key)]]
        with _typed(key):
            obstore.put(store, key, file)

    def local_path(self, key: str) -> Path:
        target = self._cached(key)
        if target.is_file():
            return target
        store = self._holding(key)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=self.scratch())
        with _typed(key), os.fdopen(handle, "wb") as file:
            for piece in obstore.get(store, key).stream(min_chunk_size=_LARGE):
                file.write(piece)
        Path(name).replace(target)
        return target

    def size(self, key: str) -> int:
        with _typed(key):
            return int(obstore.head(self._holding(key), key)["size"])

    def modified(self, key: str) -> datetime:
        with _typed(key):
            return obstore.head(self._holding(key), key)["last_modified"].astimezone(UTC)

    def keys(self, prefix: str) -> Iterator[str]:
        yield from (one.key for one in self.objects(prefix))

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        # S3 lists by folder here; a prefix that ends inside a name is filtered on this side, and so is what others
        # put into the buckets.
        folder, _, _ = prefix.rpartition("/")
        zones = zones_under(prefix)
        found: list[StoredObject] = []
        for bucket in sorted({self._buckets[zone] for zone in zones}):
            with _typed(prefix):
                for page in obstore.list(self._stores[bucket], folder or None):
                    found += [_facts(item) for item in page if self._lies_in(bucket, item["path"], prefix)]
        yield from sorted(found, key=lambda one: one.key)

    def delete(self, key: str) -> None:
        try:
            store = self._holding(key)
        except ObjectNotFound:
            return
        with _typed(key):
            obstore.delete(store, key)
        self._cached(key).unlink(missing_ok=True)

    def _cached(self, key: str) -> Path:
        return self._cache / "objects" / quote(key, safe="/=")

    def uri(self, key: str) -> str:
        return f"s3://{self._buckets[zone_of(key)]}/{key}"

    def scratch(self) -> Path:
        folder = self._cache / "scratch" / str(os.getpid())
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def _holding(self, key: str) -> S3Store:
        """Where the object is, if it is anywhere; raises ObjectNotFound for what is nobody's."""
        try:
            return self._stores[self._buckets[zone_of(key)]]
        except UnknownPlace as error:
            raise ObjectNotFound(key) from error

    def _lies_in(self, bucket: str, key: str, prefix: str) -> bool:
        try:
            return key.startswith(prefix) and self._buckets[zone_of(key)] == bucket
        except UnknownPlace:
            return False


def _facts(item: Any) -> StoredObject:
    return StoredObject(item["path"], int(item["size"]), item["last_modified"].astimezone(UTC), item["e_tag"] or "")


@contextmanager
def _typed(key: str) -> Iterator[None]:
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise ObjectNotFound(key) from error
    except AlreadyExistsError as error:
        raise ObjectExists(key) from error
    except BaseError as error:
        raise StoreUnavailable(f"S3 did not serve {key}: {type(error).__name__}") from error
