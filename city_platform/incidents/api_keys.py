"""Keys of applications that send reports through Open311. Only their hashes are kept.

A key names the application and not the person who reports. It reads `ID.SECRET`: the first part finds the record, the
second has 256 random bits, so that one round of SHA-256 keeps it well.
"""

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from city_platform.errors import PermanentError
from city_platform.incidents.codec import rfc3339
from city_platform.incidents.text import plain, without_contact
from city_platform.ports import Clock, ObjectNotFound, ObjectStore

_PREFIX = "incidents/api-keys/"
_KEY = re.compile(r"([0-9a-f]{12})\.([A-Za-z0-9_-]{43})")
_NAME_LIMIT = 100
_MEMORY = 30.0  # seconds that a record is not read again: so long a revoked key may still work
_REMEMBERED = 10_000


class UnknownApiKey(PermanentError):
    """No key has this identifier."""


class BadApplicationName(PermanentError):
    """The name of an application cannot be kept."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key."""

    key_id: str
    application: str
    sha256: str  # of the secret, hexadecimal
    created_at: datetime
    revoked_at: datetime | None = None


@dataclass(slots=True)
class ApiKeys:
    """The registry, one object a key in the object store. Errors: those of the store."""

    store: ObjectStore
    clock: Clock
    _seen: dict[str, tuple[float, ApiKey]] = field(default_factory=dict)

    def create(self, application: str) -> tuple[ApiKey, str]:
        """A new key for an application: its record, and the key itself, which nobody can show again.

        Raises BadApplicationName.
        """
        try:
            name = without_contact(plain(application.strip()))
        except ValueError as error:
            raise BadApplicationName(f"the application's name: {error}") from error
        if not 1 <= len(name) <= _NAME_LIMIT:
            raise BadApplicationName(f"the application's name has 1 to {_NAME_LIMIT} characters")
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        record = ApiKey(key_id, name, _hash(secret), self.clock.now())
        self.store.put(_place(key_id), _written(record), create_only=True)
        return record, f"{key_id}.{secret}"

    def all(self) -> Sequence[ApiKey]:
        """Every key, also those revoked, by when they were created."""
        found = [_read(self.store.get(place)) for place in self.store.keys(_PREFIX)]
        return sorted(found, key=lambda one: (one.created_at, one.key_id))

    def revoke(self, key_id: str) -> ApiKey:
        """Ends a key; one that is revoked stays as it is. Raises UnknownApiKey."""
        record = self._record(key_id)
        if record is None:
            raise UnknownApiKey(f"there is no key {key_id[:20]!r}; `keys list` shows them")
        if record.revoked_at is None:
            record = replace(record, revoked_at=self.clock.now())
            self.store.put(_place(key_id), _written(record))
        self._seen.pop(key_id, None)
        return record

    def owner(self, key: str) -> ApiKey | None:
        """The record of a key that is right and not revoked."""
        parts = _KEY.fullmatch(key)
        if parts is None:
            return None
        record = self._remembered(parts[1])
        if record is None or not hmac.compare_digest(record.sha256, _hash(parts[2])):
            return None
        return record if record.revoked_at is None else None

    def _remembered(self, key_id: str) -> ApiKey | None:
        until, known = self._seen.get(key_id, (0.0, None))
        if known is not None and time.monotonic() < until:
            return known
        record = self._record(key_id)
        if record is not None:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            self._seen[key_id] = (time.monotonic() + _MEMORY, record)
        return record

    def _record(self, key_id: str) -> ApiKey | None:
        if not re.fullmatch(r"[0-9a-f]{12}", key_id):
            return None
        try:
            return _read(self.store.get(_place(key_id)))
        except ObjectNotFound:
            return None


def _place(key_id: str) -> str:
    return f"{_PREFIX}{key_id}.json"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _written(record: ApiKey) -> bytes:
    body: dict[str, Any] = {
        "key_id": record.key_id,
        "application": record.application,
        "sha256": record.sha256,
        "created_at": rfc3339(record.created_at),
        "revoked_at": rfc3339(record.revoked_at) if record.revoked_at else None,
    }
    return json.dumps(body, ensure_ascii=False).encode()


def _read(body: bytes) -> ApiKey:
    found = json.loads(body)
    revoked = found["revoked_at"]
    return ApiKey(
        found["key_id"],
        found["application"],
        found["sha256"],
        datetime.fromisoformat(found["created_at"]),
        datetime.fromisoformat(revoked) if revoked else None,
    )
