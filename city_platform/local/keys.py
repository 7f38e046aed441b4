"""The key service of one machine: AES-256-GCM under keys in one private file.

The file is JSON, mode 0600 in a folder nobody else can write to:

    {"format": 1, "keys": {"alias/…": {"id": "<16 bytes, hex>", "enabled": true, "current": 2,
                                       "versions": {"1": "<32 bytes, base64>", "2": …}}}}

A ciphertext is `format (1 byte) | key id (16) | version (4, big-endian) | nonce (12) | AES-GCM ciphertext and tag`.
Header and context are authenticated: a change of either, or of any other byte, is a WrongKey. Nonces are random, so
one key version is good for 2**32 encryptions (NIST SP 800-38D, 8.3); rotate it long before.
"""

import base64
import fcntl
import json
import os
import secrets
import stat
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from city_platform.errors import PermanentError
from city_platform.local.durability import make_folder, write_whole
from city_platform.ports import (
    PLAINTEXT_LIMIT,
    KeyDenied,
    KeyDisabled,
    KeyNotFound,
    KeyServiceUnavailable,
    WrongKey,
)

_FORMAT = 1
_HEADER = struct.Struct(">B16sI")
_ID_BYTES = 16
_KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_MADE = b"There are keys in the file beside this one.\n"


class KeyExists(PermanentError):
    """A key of that name is there already; `rotate` gives it a new version."""


@dataclass(frozen=True, slots=True)
class KeyState:
    """What may be told about a key: never its bytes."""

    name: str
    enabled: bool
    version: int  # the current one, from 1


@dataclass(frozen=True, slots=True)
class _Key:
    id: bytes
    enabled: bool
    current: int
    versions: Mapping[int, bytes] = field(repr=False)

    def rotated(self) -> "_Key":
        return replace(
            self,
            current=self.current + 1,
            versions={**self.versions, self.current + 1: AESGCM.generate_key(256)},
        )


class LocalKeyService:
    """A KeyService in one file, shared by any number of processes: each sees the others' changes at its next call.

    Beside the port it manages keys: `create`, `rotate`, `retire`, `disable`, `enable`, `keys`. The file appears
    with the first key; encrypting never makes one, and where the file is lost no key takes the place of those that
    were. A file that others could read or exchange is a KeyDenied that says what to do; a damaged one is a KeyNotFound.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._seen: tuple[int, int, int] | None = None
        self._loaded: Mapping[str, _Key] = {}

    def encrypt(self, key: str, plaintext: bytes, context: Mapping[str, str]) -> bytes:
        if not 1 <= len(plaintext) <= PLAINTEXT_LIMIT:
            raise ValueError(f"a key service encrypts 1 to {PLAINTEXT_LIMIT} bytes, not {len(plaintext)}")
        found = self._enabled(key)
        header = _HEADER.pack(_FORMAT, found.id, found.current)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(found.versions[found.current]).encrypt(nonce, plaintext, header + _canonical(context))
        return header + nonce + sealed

    def decrypt(self, key: str, ciphertext: bytes, context: Mapping[str, str]) -> bytes:
        found = self._enabled(key)
        wrong = WrongKey(f"the ciphertext was not made with {key} and this context, or was changed since")
        if len(ciphertext) <= _HEADER.size + _NONCE_BYTES + _TAG_BYTES:
            raise wrong
        header, body = ciphertext[: _HEADER.size], ciphertext[_HEADER.size :]
        layout, identity, version = _HEADER.unpack(header)
        if layout != _FORMAT or identity != found.id or version not in found.versions:
            raise wrong
        try:
            return AESGCM(found.versions[version]).decrypt(
                body[:_NONCE_BYTES], body[_NONCE_BYTES:], header + _canonical(context)
            )
        except InvalidTag:
            raise wrong from None

    def current(self, key: str) -> str:
        found = self._named(key, self._read())
        return _id_text(found.id, found.current)

    def id_of(self, ciphertext: bytes) -> str:
        if len(ciphertext) <= _HEADER.size:
            raise WrongKey("what is too short to name its key was not made by this service")
        _, identity, version = _HEADER.unpack(ciphertext[: _HEADER.size])
        return _id_text(identity, version)

    def keys(self) -> list[KeyState]:
        """Every key by name; empty where there is no file yet."""
        return [KeyState(name, key.enabled, key.current) for name, key in sorted(self._read().items())]

    def create(self, key: str) -> None:
        """Makes a key; raises KeyExists if the name is taken."""
        with self._changing() as keys:
            if key in keys:
                raise KeyExists(f"{key} exists already; rotate it to get a new version")
            keys[key] = _generated()

    def ensure(self, key: str) -> None:
        """Makes a key unless it is there."""
        if key not in self._read():
            with self._changing() as keys:
                keys.setdefault(key, _generated())

    def rotate(self, key: str) -> None:
        """Encrypts with a fresh version from now on; earlier versions stay for what they encrypted."""
        self._change(key, _Key.rotated)

    def retire(self, key: str, kept: str) -> int:
        """Destroys every version older than `kept`; how many these were. Versions that came meanwhile stay."""
        with self._changing() as keys:
            found = self._named(key, keys)
            oldest = next((one for one in found.versions if _id_text(found.id, one) == kept), None)
            if oldest is None:
                raise WrongKey(f"{kept} is no version of {key}: nothing was destroyed")
            staying = {number: data for number, data in found.versions.items() if number >= oldest}
            keys[key] = replace(found, versions=staying)
        return len(found.versions) - len(staying)

    def disable(self, key: str) -> None:
        """Refuses the key, for encryption and decryption, until it is enabled again."""
        self._change(key, lambda found: replace(found, enabled=False))

    def enable(self, key: str) -> None:
        self._change(key, lambda found: replace(found, enabled=True))

    def _change(self, key: str, change: Callable[[_Key], _Key]) -> None:
        with self._changing() as keys:
            keys[key] = change(self._named(key, keys))

    def _enabled(self, key: str) -> _Key:
        found = self._named(key, self._read())
        if not found.enabled:
            raise KeyDisabled(f"{key} is disabled in {self._path}; its owner has to enable it")
        return found

    def _named(self, key: str, keys: Mapping[str, _Key]) -> _Key:
        if key not in keys:
            raise KeyNotFound(f"there is no key {key} in {self._path}; create it first")
        return keys[key]

    def _read(self) -> Mapping[str, _Key]:
        """The keys in the file, read again only when it was replaced."""
        try:
            status = self._path.stat()
            # Every change replaces the file, so a new inode or time tells of it.
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            self._refuse_exposed(status)
            if seen != self._seen:
                self._loaded, self._seen = self._parse(self._path.read_bytes()), seen
        except FileNotFoundError:
            return {}
        except PermissionError as error:
            raise KeyDenied(f"{self._path} belongs to somebody else: {error.strerror}") from error
        except OSError as error:
            raise KeyServiceUnavailable(f"cannot read {self._path}: {error.strerror}") from error
        return self._loaded

    def _refuse_exposed(self, status: os.stat_result) -> None:
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            raise KeyDenied(
                f"{self._path} is open to others (mode {mode:04o}): run `chmod 600 {self._path}`, and rotate its keys "
                "if somebody may have read them"
            )
        folder = stat.S_IMODE(self._path.parent.stat().st_mode)
        if folder & 0o022:
            raise KeyDenied(
                f"others can replace files in {self._path.parent} (mode {folder:04o}): "
                f"run `chmod 700 {self._path.parent}`"
            )

    def _parse(self, data: bytes) -> Mapping[str, _Key]:
        keys = _decoded(data)
        if keys is None:
            # Raised here and not while the parser's error is handled: that one carries the file's whole text.
            raise KeyNotFound(f"{self._path} is not a key file of format {_FORMAT}: restore it from a backup")
        return keys

    @contextmanager
    def _changing(self) -> Iterator[dict[str, _Key]]:
        """The keys to be changed, one process at a time; what the body leaves replaces the file as a whole."""
        try:
            make_folder(self._path.parent)
            lock = os.open(self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise KeyDenied(f"cannot write beside {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = dict(self._read())
            if os.fstat(lock).st_size and not self._path.exists():
                raise KeyNotFound(
                    f"{self._path} is gone, and had keys: restore it from a backup. Without one nothing that is "
                    f"encrypted opens again, and removing {self._path.name}.lock lets new keys be made"
                )
            yield keys
            self._write(keys)
            if not os.fstat(lock).st_size:
                os.write(lock, _MADE)
        finally:
            os.close(lock)

    def _write(self, keys: Mapping[str, _Key]) -> None:
        try:
            write_whole(self._path, _encoded(keys))  # what it encrypts is lost without it
        except OSError as error:
            raise KeyServiceUnavailable(f"cannot write {self._path}: {error.strerror}") from error


def _generated() -> _Key:
    return _Key(secrets.token_bytes(_ID_BYTES), enabled=True, current=1, versions={1: AESGCM.generate_key(256)})


def _id_text(identity: bytes, version: int) -> str:
    return f"{identity.hex()}/{version}"


def _canonical(context: Mapping[str, str]) -> bytes:
    """One byte string for one context, whatever order it was built in."""
    return json.dumps(dict(context), sort_keys=True, separators=(",", ":")).encode()


def _encoded(keys: Mapping[str, _Key]) -> bytes:
    document = {
        "format": _FORMAT,
        "keys": {
            name: {
                "id": key.id.hex(),
                "enabled": key.enabled,
                "current": key.current,
                "versions": {str(number): base64.b64encode(data).decode() for number, data in key.versions.items()},
            }
            for name, key in sorted(keys.items())
        },
    }
    return json.dumps(document, indent=2).encode()


def _decoded(data: bytes) -> dict[str, _Key] | None:
    """The file's keys, or None if it is not such a file."""
    try:
        document = json.loads(data)
        keys = {
            name: _Key(
                id=bytes.fromhex(entry["id"]),
                enabled=bool(entry["enabled"]),
                current=int(entry["current"]),
                versions={int(number): base64.b64decode(text) for number, text in entry["versions"].items()},
            )
            for name, entry in document["keys"].items()
        }
        whole = document["format"] == _FORMAT and all(
            len(key.id) == _ID_BYTES
            and key.current in key.versions
            and all(len(version) == _KEY_BYTES for version in key.versions.values())
            for key in keys.values()
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return keys if whole else None
