"""What every interface is given: the service, who asks, and how fast they may."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from city_platform.api.auth import TokenVerifier, Unauthorized
from city_platform.api.limits import RateLimit, address_of
from city_platform.api.problems import json_bytes
from city_platform.crossing.related import Related
from city_platform.incidents.report import Fault, InvalidRequest
from city_platform.incidents.repository import IncidentCounter
from city_platform.incidents.roles import ANONYMOUS, Actor
from city_platform.incidents.service import IncidentService
from city_platform.ports import Clock, ObjectStore, Uploads

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_JSON = {"application/json", "application/merge-patch+json"}


@dataclass(frozen=True, slots=True)
class Desk:
    """One API's parts. Shared by all requests; holds nothing of any of them."""

    service: IncidentService
    verifier: TokenVerifier
    writes: RateLimit
    reads: RateLimit
    store: ObjectStore
    uploads: Uploads
    counter: IncidentCounter
    clock: Clock
    related: Callable[[], Mapping[str, Sequence[Related]]] = dict  # public incidents by zones of traffic

    async def actor(self, request: Request) -> Actor:
        """Who asks, after their request was counted. Raises as `identify`, and TooFast."""
        actor = await self.identify(request)
        self.count(request, actor, self.reads if request.method in _READING else self.writes)
        return actor

    async def identify(self, request: Request) -> Actor:
        """Who asks. Raises Unauthorized, IssuerUnavailable, TooFast for too many tokens that had to be verified.

        A token that is wrong is refused even where nobody needs one: its sender believes to be somebody.
        """
        actor = ANONYMOUS
        header = request.headers.get("authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            if scheme.lower() != "bearer" or not token:
                raise Unauthorized("send `Authorization: Bearer` and a token, or no such header")
            known = self.verifier.remembered(token)
            if known is None:
                self.reads.take(f"unverified {address_of(request)}")  # verifying costs more than most answers
                known = await run_in_threadpool(self.verifier.actor, token)
            actor = known
        request.state.actor = actor
        return actor

    def count(self, request: Request, actor: Actor, limit: RateLimit) -> None:
        """Counts one more of this client. Raises TooFast."""
        limit.take(f"subject {actor.subject}" if actor.subject else f"address {address_of(request)}")


async def json_body(request: Request) -> Any:
    """The body as JSON values. Raises InvalidRequest; a body over the limit is refused while it is read."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    if not body:
        raise InvalidRequest([Fault("", "required", "send one JSON object")])
    if kind not in _JSON:
        raise InvalidRequest([Fault("Content-Type", "type", "send the body as application/json")])
    return parsed(body)


def parsed(body: bytes) -> Any:
    """JSON as RFC 8259 has it, without what parsers disagree about. Raises InvalidRequest."""
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_each_once)
    except InvalidRequest:
        raise
    except RecursionError:
        raise InvalidRequest([Fault("", "json", "this JSON is nested too deep")]) from None
    except ValueError as error:
        said = "this is no JSON in UTF-8"
        if isinstance(error, json.JSONDecodeError):
            said = f"this is no JSON: {error.msg} at character {error.pos}"
        raise InvalidRequest([Fault("", "json", said)]) from error


def _no_constant(name: str) -> None:
    raise InvalidRequest([Fault("", "json", f"{name} is no JSON number")])


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InvalidRequest([Fault(name[:50], "repeated", "this field is given twice") for name in twice[:20]])
    return found


def json_response(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json_bytes(body), status, dict(headers or {}), "application/json")
