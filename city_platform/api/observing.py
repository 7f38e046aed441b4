"""Around every request: its name, security headers, one line in the access log, and failures without their details.

A log line holds no personal data: the route's template and not the path, the role and not the subject, the kind of a
failure and where it happened, and not its message.
"""

import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from city_platform.api.html import answer_of
from city_platform.api.problems import Problem, problem_of
from city_platform.incidents.codec import rfc3339
from city_platform.incidents.roles import Actor
from city_platform.ports import Clock

LOGGER = logging.getLogger("city_platform.api")
_NAME = re.compile(rb"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")  # a UUID says nothing about anybody
_FRAMES = 12
_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
_HSTS = (b"strict-transport-security", b"max-age=31536000")


class Observing:
    """ASGI middleware. `request.state.request_id` names the request; a client's own UUID is taken over."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given.decode() if _NAME.fullmatch(given) else str(uuid4())
        scope.setdefault("state", {})["request_id"] = request_id
        started, status, sent = time.perf_counter(), 0, 0

        async def answering(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _with_headers(message.get("headers", ()), scope, request_id)
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        failure: Exception | None = None
        try:
            await self._app(scope, receive, answering)
        except Exception as error:  # noqa: BLE001 -- whatever failed, the client gets an answer and the log a place
            failure = error
            if not status:
                await answer_of(problem_of(error), scope, request_id)(scope, receive, answering)
        self._log(scope, request_id, status, sent, time.perf_counter() - started, failure)

    def _log(
        self, scope: Scope, request_id: str, status: int, sent: int, seconds: float, failure: Exception | None
    ) -> None:
        actor: Actor | None = scope["state"].get("actor")
        line: dict[str, Any] = {
            "at": rfc3339(self._clock.now()),
            "request_id": request_id,
            "method": scope["method"],
            "route": getattr(scope.get("route"), "path", None),
            "status": status,
            "ms": round(seconds * 1000, 2),
            "bytes": sent,
            "role": str(actor.role) if actor else None,
        }
        error = failure or scope["state"].get("error")
        if error is not None:
            line["error"] = type(error).__name__
            line["where"] = places(error)
        LOGGER.log(logging.ERROR if error is not None else logging.INFO, json.dumps(line, separators=(",", ":")))


def places(error: BaseException) -> Sequence[str]:
    """Where an error came from, innermost last: functions and lines, and none of the values they worked with."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]


def log_to(stream: Any = None) -> None:
    """Writes the access log, one JSON object a line, to a stream (standard error)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    LOGGER.handlers = [handler]
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


def note(state: Any, problem: Problem, error: Exception) -> None:
    """Keeps a failure of ours for the log line of its request."""
    if problem.status >= 500:  # noqa: PLR2004 -- what is ours to mend
        state.error = error


def _with_headers(headers: Any, scope: Scope, request_id: str) -> list[tuple[bytes, bytes]]:
    found = [*headers, (b"x-request-id", request_id.encode())]
    named = {name.lower() for name, _ in found}
    found += [pair for pair in _SECURITY if pair[0] not in named]
    if scope.get("scheme") == "https":
        found.append(_HSTS)
    return found
