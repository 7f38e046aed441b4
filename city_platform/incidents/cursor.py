"""Places in a list that a client keeps: signed, bound to their question, and good for a day."""

import base64
import binascii
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

from city_platform.errors import PermanentError
from city_platform.incidents.repository import Listing, Position

LIFE = timedelta(days=1)
_DIGEST_BYTES = 16
_LENGTH_LIMIT = 1000  # characters; ours are about 200


class BadCursor(PermanentError):
    """The cursor is not one of ours, is of another list, or is too old: start the list from its beginning."""


class Cursors:
    """Writes and reads cursors; `secret` is the deployment's, at least 32 bytes."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < hashlib.sha256().digest_size:
            raise ValueError("the secret has to be at least 32 bytes")
        self._secret = secret

    def write(self, listing: Listing, position: Position, now: datetime) -> str:
        body = json.dumps(
            {
                "at": position.reported_at.astimezone(UTC).isoformat(),
                "id": position.incident_id,
                "of": _question(listing),
                "until": int((now + LIFE).timestamp()),
            }
        ).encode()
        return base64.urlsafe_b64encode(self._sign(body) + body).decode().rstrip("=")

    def read(self, text: str, listing: Listing, now: datetime) -> Position:
        """Raises BadCursor."""
        try:
            if len(text) > _LENGTH_LIMIT:
                raise BadCursor("this is no cursor of this service: start the list from its beginning")
            raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            signature, body = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
            if not hmac.compare_digest(signature, self._sign(body)):
                raise BadCursor("this is no cursor of this service: start the list from its beginning")
            document = json.loads(body)
        except (binascii.Error, UnicodeError, ValueError) as error:
            raise BadCursor("this is no cursor of this service: start the list from its beginning") from error
        if document["of"] != _question(listing):
            raise BadCursor("this cursor belongs to another list: repeat that list's parameters with it")
        if document["until"] < now.timestamp():
            raise BadCursor("this cursor is more than a day old: start the list from its beginning")
        return Position(datetime.fromisoformat(document["at"]), document["id"])

    def _sign(self, body: bytes) -> bytes:
        return hmac.new(self._secret, body, hashlib.sha256).digest()[:_DIGEST_BYTES]


def _question(listing: Listing) -> str:
    return hashlib.sha256(json.dumps([listing.pattern, *listing.values]).encode()).hexdigest()[:16]
