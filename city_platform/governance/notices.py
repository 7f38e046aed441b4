"""Telling once: a notice that was sent is not sent again, by whichever process and after whatever restart.

`notices/{digest}.json` is created before a notice is sent and says afterwards that it was. A process that dies in
between leaves a claim; after `LEASE` another takes it over, because a notice that might come twice is better than one
that never came.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from city_platform.ports import Clock, Notifier, ObjectExists, ObjectNotFound, ObjectStore

LEASE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Notice:
    """What is to be told. Two notices of one `identity` are the same; nothing in it is personal."""

    identity: str
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class Notices:
    """Sends each notice once, and tells once what is told otherwise."""

    store: ObjectStore
    notifier: Notifier
    clock: Clock

    def send(self, notice: Notice) -> bool:
        """Whether it was sent now. Raises the notifier's errors, after which it counts as not sent."""
        return self.once(notice.identity, notice.subject, lambda: self.notifier.notify(notice.subject, notice.body))

    def once(self, identity: str, subject: str, tell: Callable[[], None]) -> bool:
        """Tells what is called `identity` unless it was told; whether it was now. If `tell` raises, it was not."""
        key = f"notices/{hashlib.sha256(identity.encode()).hexdigest()}.json"
        found = self._found(key)  # nearly always it is there, and to look costs less than to write
        if found is not None and not self._abandoned(found):
            return False
        try:
            self.store.put(key, self._note(identity, subject, "claimed"), create_only=found is None)
        except ObjectExists:
            return False  # somebody else sends it now
        try:
            tell()
        except Exception:
            self.store.delete(key)
            raise
        self.store.put(key, self._note(identity, subject, "sent"))
        return True

    def _found(self, key: str) -> bytes | None:
        try:
            return self.store.get(key)
        except ObjectNotFound:
            return None

    def _abandoned(self, found: bytes) -> bool:
        """Whether somebody meant to send it long ago and did not say that it was sent; a damaged claim says nothing."""
        try:
            note = json.loads(found)
            claimed = note["state"] == "claimed"
            return claimed and abs(self.clock.now() - datetime.fromisoformat(note["at"])) > LEASE
        except (ValueError, TypeError, KeyError):
            return True

    def _note(self, identity: str, subject: str, state: str) -> bytes:
        note = {"identity": identity, "subject": subject, "state": state}
        return json.dumps(note | {"at": self.clock.now().isoformat()}, ensure_ascii=False, sort_keys=True).encode()
