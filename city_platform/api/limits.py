"""How fast one client may go on: a token bucket each."""

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from city_platform.errors import TransientError
from city_platform.ports import Clock

_CLIENTS = 100_000  # remembered; who has not been seen for longest is forgotten, and starts afresh


class TooFast(TransientError):
    """The client has used up what it may do for now; `wait` is in whole seconds."""

    def __init__(self, wait: int) -> None:
        self.wait = wait
        super().__init__(f"this is too fast: go on in {wait} s")


@dataclass(slots=True)
class RateLimit:
    """So many a minute on average, and as many at once after a minute of quiet; 0 is no limit.

    Counts within this process: several processes give a client several times as much.
    """

    per_minute: int
    clock: Clock
    _left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, client: str) -> None:
        """Counts one; raises TooFast."""
        if not self.per_minute:
            return
        now = self.clock.now().timestamp()
        rate = self.per_minute / 60
        with self._lock:
            left, since = self._left.pop(client, (float(self.per_minute), now))
            left = min(float(self.per_minute), left + max(0.0, now - since) * rate)
            enough = left >= 1
            self._left[client] = (left - 1 if enough else left, now)
            while len(self._left) > _CLIENTS:
                self._left.popitem(last=False)
        if not enough:
            raise TooFast(math.ceil((1 - left) / rate))
