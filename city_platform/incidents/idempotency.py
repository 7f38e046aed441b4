"""Requests that may be sent again: a mark for each key, so that what was done under it is done once."""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from city_platform.errors import PermanentError
from city_platform.incidents.report import Fault, InvalidRequest
from city_platform.incidents.repository import AlreadyDone, Mark
from city_platform.incidents.roles import Actor

_LIFE = timedelta(days=1)  # how long a key is remembered
_LIMIT = 255  # characters of a key


class KeyReused(PermanentError):
    """The idempotency key was used for another request."""


def replay_marks(payload: object, actor: Actor, key: str | None, now: datetime) -> tuple[Mark, ...]:
    """The mark of a request under its key, none without one. Raises InvalidRequest for what is no key."""
    if key is None:
        return ()
    if not 1 <= len(key) <= _LIMIT:
        raise InvalidRequest([Fault("Idempotency-Key", "length", f"use 1 to {_LIMIT} characters")])
    # Whoever has no name shares the space of names with all others: a key of theirs has to be long by chance.
    owner = actor.subject or "anonymous"
    name = hashlib.sha256(f"{owner}\0{key}".encode()).hexdigest()
    body = json.dumps(payload, sort_keys=True, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")
    return (Mark(f"idempotency#{name}", hashlib.sha256(body).hexdigest(), now + _LIFE),)


def require_same(done: AlreadyDone, marks: Sequence[Mark]) -> None:
    """Raises KeyReused where what was done before under this key was something else."""
    if done.fingerprint != marks[0].fingerprint:
        raise KeyReused("this idempotency key was used for another request: use a new one") from done
