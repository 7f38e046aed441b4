"""Upload addresses of one machine: paths of the API, signed, each good for one object and a few minutes."""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

from city_platform.errors import PermanentError
from city_platform.ports import Clock, Upload

PATH = "/v1/uploads/"
_DIGEST_BYTES = 16
_LENGTH_LIMIT = 1000  # characters; ours are about 250


class BadUploadAddress(PermanentError):
    """The address is not one of ours, or its time is over: ask for another one."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What may be written under one address."""

    key: str
    content_type: str
    limit: int  # bytes


@dataclass(frozen=True, slots=True)
class SignedUploads:
    """Uploads whose bytes this API takes itself; `secret` is the deployment's, at least 32 bytes."""

    secret: bytes = field(repr=False)
    clock: Clock

    def offer(self, key: str, content_type: str, limit: int, until: datetime) -> Upload:
        body = json.dumps([key, content_type, limit, int(until.timestamp())], separators=(",", ":")).encode()
        token = base64.urlsafe_b64encode(self._sign(body) + body).decode().rstrip("=")
        return Upload("PUT", f"{PATH}{token}", {}, datetime.fromtimestamp(int(until.timestamp()), UTC))

    def read(self, token: str) -> Offer:
        """What the address lets its holder write; raises BadUploadAddress."""
        refused = BadUploadAddress("this upload address is not valid, or its time is over: ask for another one")
        if len(token) > _LENGTH_LIMIT:
            raise refused
        try:
            raw = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        except (binascii.Error, ValueError) as error:
            raise refused from error
        signature, body = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
        if not hmac.compare_digest(signature, self._sign(body)):
            raise refused
        key, content_type, limit, until = json.loads(body)
        if until < self.clock.now().timestamp():
            raise refused
        return Offer(key, content_type, limit)

    def _sign(self, body: bytes) -> bytes:
        # Another purpose than the cursors', which the same secret signs.
        return hmac.new(self.secret, b"upload\0" + body, hashlib.sha256).digest()[:_DIGEST_BYTES]
