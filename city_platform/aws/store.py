"""Objects in S3, through obstore (Rust object_store): one bucket, SSE-KMS by the bucket's default.

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

from city_platform.ports import ObjectExists, ObjectNotFound, StoreUnavailable

_LARGE = 32 << 20


class S3ObjectStore:
    """An ObjectStore in one S3 bucket. Create-only writes use `If-None-Match: *`."""

    def __init__(self, bucket: str, cache: Path, config: Mapping[str, Any] | None = None) -> None:
        """`config` goes to obstore's S3Store: region, endpoint, client options. Credentials are the environment's."""
        self._bucket = bucket
        self._cache = cache.absolute()
        self._store = S3Store(bucket, **dict(config or {}))

    def get(self, key: str) -> bytes:
        with _typed(key):
            return bytes(obstore.get(self._store, key).bytes())

    def put(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        with _typed(key):
            if create_only:
                obstore.put(self._store, key, data, mode="create")
            else:
                obstore.put(self._store, key, data)

    def put_file(self, key: str, file: Path) -> None:
        with _typed(key):
            obstore.put(self._store, key, file)

    def local_path(self, key: str) -> Path:
        target = self._cached(key)
        if target.is_file():
            return target
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=self.scratch())
        with _typed(key), os.fdopen(handle, "wb") as file:
            for piece in obstore.get(self._store, key).stream(min_chunk_size=_LARGE):
                file.write(piece)
        Path(name).replace(target)
        return target

    def size(self, key: str) -> int:
        with _typed(key):
            return int(obstore.head(self._store, key)["size"])

    def modified(self, key: str) -> datetime:
        with _typed(key):
            return obstore.head(self._store, key)["last_modified"].astimezone(UTC)

    def keys(self, prefix: str) -> Iterator[str]:
        # S3 lists by folder here; a prefix that ends inside a name is filtered on this side.
        folder, _, _ = prefix.rpartition("/")
        with _typed(prefix):
            found = [item["path"] for page in obstore.list(self._store, folder or None) for item in page]
        yield from sorted(key for key in found if key.startswith(prefix))

    def delete(self, key: str) -> None:
        with _typed(key):
            obstore.delete(self._store, key)
        self._cached(key).unlink(missing_ok=True)

    def _cached(self, key: str) -> Path:
        return self._cache / "objects" / quote(key, safe="/=")

    def uri(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"

    def scratch(self) -> Path:
        folder = self._cache / "scratch" / str(os.getpid())
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder


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
