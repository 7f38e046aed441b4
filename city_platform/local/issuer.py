"""Tokens of one machine, for a city that has no identity provider yet: issued and verified with keys of its own.

The keys are a JSON Web Key Set (RFC 7517) of EC P-256 private keys, mode 0600, made at the first use. The last one
signs; the others still verify what they signed.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from city_platform.errors import PermanentError
from city_platform.local.durability import make_folder, write_whole
from city_platform.ports import Clock

ISSUER = "urn:city-platform:local"
AUDIENCE = "city-platform"
KEPT_KEYS = 3


class ExposedIssuer(PermanentError):
    """Others could read or exchange the file of keys, so that anybody could issue tokens."""


@dataclass(frozen=True, slots=True)
class LocalIssuer:
    """Issues tokens shaped like Amazon Cognito's access tokens, so that both are verified alike."""

    path: Path
    clock: Clock

    def token(self, subject: str, roles: Iterable[str], districts: Iterable[str], life: timedelta) -> str:
        """A signed token; roles and districts are the caller's to check."""
        key = self._keys()[-1]
        now = self.clock.now()
        claims = {
            "iss": ISSUER,
            "client_id": AUDIENCE,
            "token_use": "access",
            "sub": subject,
            "cognito:groups": list(roles),
            "custom:districts": " ".join(districts),
            "iat": int(now.timestamp()),
            "exp": int((now + life).timestamp()),
        }
        signing = ECAlgorithm.from_jwk(json.dumps(key))
        return jwt.encode(claims, signing, algorithm="ES256", headers={"kid": key["kid"]})  # type: ignore[arg-type]  # from_jwk gives the private key it was given

    def public_keys(self) -> Sequence[Mapping[str, Any]]:
        """The public half of every key, as JSON Web Keys."""
        return [{name: value for name, value in key.items() if name != "d"} for key in self._keys()]

    def rotate(self) -> None:
        """Signs with a fresh key from now on; the newest earlier ones still verify."""
        with self._locked():
            self._write([*self._read(), _generated()][-KEPT_KEYS:])

    def _keys(self) -> list[dict[str, Any]]:
        found = self._read()
        if not found:
            with self._locked():
                found = self._read()
                if not found:
                    found = [_generated()]
                    self._write(found)
        return found

    def _read(self) -> list[dict[str, Any]]:
        try:
            if self.path.stat().st_mode & 0o077:
                raise ExposedIssuer(f"{self.path} is open to others: run `chmod 600 {self.path}` and rotate its keys")
            keys: list[dict[str, Any]] = json.loads(self.path.read_bytes())["keys"]
        except FileNotFoundError:
            return []
        return keys

    def _write(self, keys: Sequence[Mapping[str, Any]]) -> None:
        write_whole(self.path, json.dumps({"keys": keys}).encode())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        make_folder(self.path.parent)
        lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _generated() -> dict[str, Any]:
    key: dict[str, Any] = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    return {**key, "kid": secrets.token_hex(8), "alg": "ES256", "use": "sig"}
