"""What recipe steps do under a dataset's secret: hash texts, or encrypt them so that equal ones stay equal.

A step's `secretId` is part of the key, so that two names give unrelated values. Hashes are HMAC-SHA256 (RFC 2104) in
hexadecimal digits; encryption is AES-256-GCM-SIV (RFC 8452) in base64, which tells of two values only that they are
equal.
"""

import base64
import hmac
from collections.abc import Callable

import pyarrow as pa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from duckdb.func import FunctionNullHandling

from city_platform.engines.duckdb import DuckDBSession
from city_platform.errors import PermanentError

_NONCE = bytes(12)  # always the same, so that equal texts come out equal; this cipher is made to bear it


class NotEncrypted(PermanentError):
    """A text was not encrypted by DETERMINISTIC_ENCRYPT under this dataset's secret and this `secretId`."""


def register_keyed(session: DuckDBSession, key: bytes) -> str:
    """Gives the session a SQL function of (purpose, secret, value) and returns its name. Null stays null."""

    def apply(purpose: pa.ChunkedArray, secret: pa.ChunkedArray, value: pa.ChunkedArray) -> pa.Array:
        # A call is one piece of one expression, whose purpose and secret are literals.
        work = _WORK[purpose[0].as_py()](key, secret[0].as_py())
        encoded = value.combine_chunks().dictionary_encode()
        found = [work(one) for one in encoded.dictionary.to_pylist()]
        return pa.array(found, pa.string()).take(encoded.indices)

    parameters = ["VARCHAR", "VARCHAR", "VARCHAR"]
    return session.function(apply, parameters, "VARCHAR", null_handling=FunctionNullHandling.SPECIAL)


def hashing(key: bytes, secret: str) -> Callable[[str], str]:
    """From texts to hashes: 64 hexadecimal digits."""
    derived = _derived(key, "hash", secret)
    return lambda value: hmac.digest(derived, value.encode(), "sha256").hex()


def encrypting(key: bytes, secret: str) -> Callable[[str], str]:
    """From texts to what `decrypting` reads."""
    cipher = AESGCMSIV(_derived(key, "encrypt", secret))
    return lambda value: base64.b64encode(cipher.encrypt(_NONCE, value.encode(), None)).decode()


def decrypting(key: bytes, secret: str) -> Callable[[str], str]:
    """Back to the texts; raises NotEncrypted."""
    cipher = AESGCMSIV(_derived(key, "encrypt", secret))

    def decrypt(value: str) -> str:
        try:
            return cipher.decrypt(_NONCE, base64.b64decode(value, validate=True), None).decode()
        except (InvalidTag, ValueError) as error:
            raise NotEncrypted("the text was not encrypted under this secret: give the step's secretId") from error

    return decrypt


def _derived(key: bytes, purpose: str, secret: str) -> bytes:
    return hmac.digest(key, f"recipe/{purpose}/{secret}".encode(), "sha256")


_WORK = {"hash": hashing, "encrypt": encrypting}
