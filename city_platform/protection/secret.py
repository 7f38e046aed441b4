"""Secrets of the platform's own: random bytes, kept in the object store wrapped under a key of the key service."""

import secrets
from collections.abc import Mapping

from city_platform.ports import KeyService, ObjectExists, ObjectNotFound, ObjectStore

_BYTES = 32


def kept_secret(keys: KeyService, store: ObjectStore, place: str, master: str, context: Mapping[str, str]) -> bytes:
    """32 bytes, made at the first call and the same ever after, for every process of the deployment.

    They lie at the key `place`, wrapped under the key `master` and bound to `context`. Raises the errors of both.
    """
    try:
        wrapped = store.get(place)
    except ObjectNotFound:
        wrapped = keys.encrypt(master, secrets.token_bytes(_BYTES), context)
        try:
            store.put(place, wrapped, create_only=True)
        except ObjectExists:
            wrapped = store.get(place)
    return keys.decrypt(master, wrapped, context)


def wrap_again(keys: KeyService, store: ObjectStore, place: str, master: str, context: Mapping[str, str]) -> bool:
    """Wraps the secret under what the key encrypts with now; False where there is none. The secret stays the same.

    The object is replaced whole: whoever dies in it leaves the earlier or the new wrapping, and both open.
    """
    try:
        wrapped = store.get(place)
    except ObjectNotFound:
        return False
    store.put(place, keys.encrypt(master, keys.decrypt(master, wrapped, context), context))
    return True
