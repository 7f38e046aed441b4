"""How fast one client may go on, a token bucket each; and how large a body may be."""

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from city_platform.errors import PermanentError, TransientError
from city_platform.ports import Clock

_CLIENTS = 100_000  # remembered; who has not been seen for longest is forgotten, and starts afresh


class TooFast(TransientError):
    """The client has used up what it may do for now; `wait` is in whole seconds."""

    def __init__(self, wait: int) -> None:
        self.wait = wait
        super().__init__(f"this is too fast: go on in {wait} s")


class TooLarge(PermanentError):
    """The body is larger than its address takes; `limit` is in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"the body is larger than the {limit:,} bytes that this address takes")


def address_of(request: Request) -> str:
    """Where a request comes from: whom to count who has no name."""
    return request.client.host if request.client else "unknown"


class BodyLimit:
    """ASGI middleware: raises TooLarge in whoever reads the first byte over the limit, or is told that it will come.

    `larger` are limits of addresses, by how these begin. Starlette's own limit answers in plain text and from outside
    of every other middleware.
    """

    def __init__(self, app: ASGIApp, limit: int, larger: Mapping[str, int]) -> None:
        self._app = app
        self._limit = limit
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = next((size for start, size in self._larger.items() if scope["path"].startswith(start)), self._limit)
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        coming = int(announced) if announced.isdigit() and len(announced) < 20 else 0  # noqa: PLR2004 -- 2**64 has 20
        received = 0

        async def receiving() -> Message:
            nonlocal received
            if coming > limit:
                raise TooLarge(limit)
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > limit:
                    raise TooLarge(limit)
            return message

        await self._app(scope, receiving, send)


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
