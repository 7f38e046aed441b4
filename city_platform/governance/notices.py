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

from city_platform.ports import Clock, Notifier, ObjectExists, ObjectStore

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
        claim = self._note(identity, subject, "claimed")
        try:
            self.store.put(key, claim, create_only=True)
        except ObjectExists:
            if not self._abandoned(key):
                return False
            self.store.put(key, claim)
        try:
            tell()
        except Exception:
            self.store.delete(key)
            raise
        self.store.put(key, self._note(identity, subject, "sent"))
        return True

    def _abandoned(self, key: str) -> bool:
        """Whether somebody meant to send it long ago and did not say that it was sent."""
        note = json.loads(self.store.get(key))
        return note["state"] == "claimed" and self.clock.now() - datetime.fromisoformat(note["at"]) > LEASE

    def _note(self, identity: str, subject: str, state: str) -> bytes:
        note = {"identity": identity, "subject": subject, "state": state}
        return json.dumps(note | {"at": self.clock.now().isoformat()}, ensure_ascii=False, sort_keys=True).encode()
