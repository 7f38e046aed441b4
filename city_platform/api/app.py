"""The API as one ASGI application, put together of a deployment's parts."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException

from city_platform.api import city, dashboard, graphql, home, incident_page, incidents, media, report_form
from city_platform.api.answers import MapAnswer
from city_platform.api.desk import Desk
from city_platform.api.heads import HeadAsGet
from city_platform.api.html import answer_of
from city_platform.api.limits import BodyLimit
from city_platform.api.observing import Observing, note
from city_platform.api.problems import Problem, ProblemDocument, problem_of
from city_platform.api.requests import BulkTransitionRequest, CommentRequest, MediaRequest, TransitionRequest
from city_platform.api.traffic.answers import TrafficMap
from city_platform.errors import CityPlatformError
from city_platform.incidents.edit import EditRequest
from city_platform.incidents.pictures import BYTES_LIMIT
from city_platform.incidents.reference import Reference
from city_platform.incidents.report import Fault, ReportRequest
from city_platform.local.uploads import PATH

BODY_LIMIT = 256 * 1024  # bytes; uploads have a limit of their own
_MODELS = (
    ProblemDocument, ReportRequest, EditRequest, TransitionRequest, BulkTransitionRequest, CommentRequest, MediaRequest,
    MapAnswer, TrafficMap, graphql.GraphQLRequest,
)  # fmt: skip
_DESCRIPTION = """\
Report incidents to the city, follow them, and deal with them.

Without a token one is anonymous: may report, and read what is public. Errors are `application/problem+json` (RFC 9457)
and name every bad field at once. Unknown fields and parameters are refused, never ignored.
"""


def create_app(desk: Desk, *, allowed_origins: Sequence[str] = (), routers: Sequence[APIRouter] = ()) -> FastAPI:
    """The application; further `routers` are served beside its own. Opens no connection.

    Browsers of other sites may use it from `allowed_origins` only; there are none unless they are named.
    """
    app = FastAPI(
        title=f"Incidents of {desk.service.reference.city.name}",
        description=_DESCRIPTION,
        version="1",
        openapi_url="/v1/openapi.json",
        docs_url=None,  # the page that FastAPI ships loads its scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.desk = desk
    served = [
        incidents.router, media.router, city.router, graphql.router, report_form.router, dashboard.router(),
        incident_page.router, home.router, *routers,
    ]  # fmt: skip
    for router in served:
        app.include_router(router)
    app.state.served = [route for router in served for route in router.routes if isinstance(route, APIRoute)]
    app.add_exception_handler(CityPlatformError, _refused)
    app.add_exception_handler(HTTPException, _not_served)
    app.add_exception_handler(RequestValidationError, _wrong_parameters)
    if allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(allowed_origins),
            allow_methods=["GET", "POST", "PATCH", "PUT"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key"],
            expose_headers=["ETag", "Link", "Location", "Retry-After", "X-Request-ID", "Idempotency-Replayed"],
        )
    app.add_middleware(BodyLimit, limit=BODY_LIMIT, larger={PATH: BYTES_LIMIT})
    app.add_middleware(HeadAsGet)
    app.add_middleware(Observing, clock=desk.clock)  # the last one added is the outermost
    app.openapi = lambda: _described(app, desk.service.reference)  # type: ignore[method-assign]  # as FastAPI documents
    return app


async def _refused(request: Request, error: Exception) -> Response:
    problem = problem_of(error, getattr(request.state, "actor", None))
    note(request.state, problem, error)
    return answer_of(problem, request.scope, request.state.request_id)


async def _not_served(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 -- registered for it
    said = {
        404: "there is nothing at this address; /v1/openapi.json describes what there is for programs",
        405: f"this address does not take {request.method}",
    }
    headers = dict(error.headers or {})
    if error.status_code == 405:  # noqa: PLR2004 -- several routes share an address, and each knows of itself alone
        here = [route.methods for route in request.app.state.served if route.path_regex.match(request.url.path)]
        taken = set().union(*here)
        headers["Allow"] = ", ".join(sorted(taken | {"HEAD"} if "GET" in taken else taken))
    problem = Problem(error.status_code, "not-served", said.get(error.status_code, str(error.detail)), headers=headers)
    return answer_of(problem, request.scope, request.state.request_id)


async def _wrong_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 -- registered for it
    faults = [Fault(str(one["loc"][-1]), one["type"], one["msg"]) for one in error.errors()]
    problem = Problem(400, "invalid", "the request's parameters are wrong", faults)
    return answer_of(problem, request.scope, request.state.request_id)


def _described(app: FastAPI, reference: Reference) -> dict[str, Any]:
    """OpenAPI 3.1 of what the application does, with the city's own codes in it."""
    if app.openapi_schema is None:
        found = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes,
            openapi_version="3.1.0",
        )  # fmt: skip
        _, defined = models_json_schema(
            [(one, "validation") for one in _MODELS], ref_template="#/components/schemas/{model}"
        )
        schemas: dict[str, Any] = found.setdefault("components", {}).setdefault("schemas", {})
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        schemas |= defined["$defs"]
        _name_codes(schemas, reference)
        found["components"]["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "OpenID Connect"}
        }
        for path in found["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
                operation.setdefault("security", [{}, {"token": []}])
        app.openapi_schema = found
    return app.openapi_schema


def _name_codes(schemas: Mapping[str, Any], reference: Reference) -> None:
    codes = {
        "category": list(reference.categories),
        "district": list(reference.districts),
        "region": list(reference.regions),
    }
    for name in ("ReportRequest", "EditRequest"):
        for field, values in codes.items():
            schema = schemas[name]["properties"].get(field)
            for kind in schema.get("anyOf", [schema]) if schema else ():
                if kind.get("type") == "string":
                    kind["enum"] = values
