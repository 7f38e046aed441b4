"""Errors as clients see them: RFC 9457, `application/problem+json`, naming every bad field at once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from city_platform.api.auth import Unauthorized
from city_platform.api.limits import TooFast, TooLarge
from city_platform.errors import TransientError
from city_platform.incidents.cursor import BadCursor
from city_platform.incidents.idempotency import KeyReused
from city_platform.incidents.report import Fault, InvalidRequest
from city_platform.incidents.repository import AlreadyDone, VersionConflict
from city_platform.incidents.roles import Actor
from city_platform.incidents.service import IncidentNotFound
from city_platform.incidents.transitions import IllegalTransition, IncompleteTransition, NotYours

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5  # after a failure that passes
_URN = "urn:city-platform:problem:"


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: Annotated[str, Field(description="Its path, such as contact.email; empty for the request as a whole")]
    code: Annotated[str, Field(description="Stable, for machines")]
    message: Annotated[str, Field(description="What to do, for people")]


class ProblemDocument(BaseModel):
    """RFC 9457; `allowed` are the statuses that may follow, `request_id` is the request's name in the service's log."""

    type: Annotated[str, Field(examples=[_URN + "invalid"])]
    title: str
    status: int
    detail: str | None = None
    errors: list[FieldProblem] | None = None
    allowed: list[str] | None = None
    current_version: int | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One error before it is written: as a response here, as an extension in GraphQL."""

    status: int
    code: str
    detail: str
    errors: Sequence[Fault] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self, request_id: str | None = None) -> dict[str, Any]:
        body: dict[str, Any] = {
            "type": _URN + self.code,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [{"field": one.field, "code": one.code, "message": one.message} for one in self.errors]
        body |= self.more
        if request_id is not None:
            body["request_id"] = request_id
        return body

    def response(self, request_id: str | None = None) -> Response:
        return Response(json_bytes(self.document(request_id)), self.status, dict(self.headers), MEDIA_TYPE)


def json_bytes(value: object) -> bytes:
    # A lone surrogate of a client's own text must not become a failure of ours.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def problem_of(error: Exception, actor: Actor | None = None) -> Problem:  # noqa: PLR0911, PLR0912, C901 -- one line an error
    """How an error is told. What is none of the client's business is told as a failure without details."""
    match error:
        case InvalidRequest():
            count = len(error.faults)
            said = (
                "one of the request's fields is wrong" if count == 1 else f"{count} of the request's fields are wrong"
            )
            return Problem(400, "invalid", said, error.faults)
        case IncompleteTransition():
            faults = [Fault(name, "required", what) for name, what in error.faults.items()]
            return Problem(400, "invalid", "the change lacks something", faults)
        case BadCursor():
            return Problem(400, "invalid", "the cursor cannot be used", [Fault("cursor", "invalid", str(error))])
        case Unauthorized():
            return unauthorized(error.description, "invalid_token")
        case NotYours() if actor is not None and actor.subject is None:
            return unauthorized(f"{error}; sign in first")
        case NotYours():
            return Problem(403, "forbidden", str(error))
        case IncidentNotFound():
            return Problem(404, "not-found", str(error))
        case IllegalTransition():
            return Problem(409, "transition", str(error), more={"allowed": [str(one) for one in error.allowed]})
        case KeyReused() | AlreadyDone():
            return Problem(409, "repeated", str(error))
        case VersionConflict():
            return Problem(412, "version", str(error), more={"current_version": error.current})
        case TooLarge():
            return Problem(413, "too-large", str(error))
        case TooFast():
            return Problem(429, "too-fast", str(error), headers={"Retry-After": str(error.wait)})
        case TransientError():
            detail = "the service cannot answer now, nothing was lost: try again"
            return Problem(503, "unavailable", detail, headers={"Retry-After": str(RETRY_SECONDS)})
    return Problem(500, "failure", "the service failed; the request's name leads to the cause in its log")


def unauthorized(detail: str, error: str | None = None) -> Problem:
    """401 with the challenge of RFC 6750."""
    challenge = 'Bearer realm="city-platform"'
    if error:
        challenge += f', error="{error}", error_description="{detail}"'
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": challenge})
