"""The resources of GeoReport v2 under `/open311/v2`."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from city_platform.api.limits import RateLimit, address_of
from city_platform.api.open311 import documents
from city_platform.api.open311.errors import BAD, FORBIDDEN, NOT_FOUND, Mistake, Refused, told
from city_platform.api.open311.formats import Document, Format, Value, response
from city_platform.api.open311.query import read_query, wants_extensions
from city_platform.api.open311.submission import (
    Fields,
    filled,
    jurisdiction_mistakes,
    read_form,
    report_of,
    single,
)
from city_platform.errors import CityPlatformError
from city_platform.incidents.api_keys import ApiKeys
from city_platform.incidents.model import Incident
from city_platform.incidents.roles import ANONYMOUS
from city_platform.incidents.service import IncidentNotFound, IncidentService
from city_platform.ports import Clock

PREFIX = "/open311/v2"


class _Route(APIRoute):
    """Tells errors as GeoReport does, in the format the client asked for."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await answer(request)
            except CityPlatformError as error:
                said = told(error)
                if said is None:
                    raise
                status, document, headers = said
                asked = request.path_params.get("shown_as", "").lower()
                return response(document, Format(asked) if asked in set(Format) else Format.XML, status, headers)

        return handler


@dataclass(frozen=True, slots=True)
class GeoReport:
    """The resources over the service. `public_url` is this server's address for its readers; None: as they asked.

    Whoever sends a request needs a key; its limit counts by key, and that of readers by their address.
    """

    service: IncidentService
    keys: ApiKeys
    clock: Clock
    reads: RateLimit
    writes: RateLimit
    public_url: str | None = None

    def discovery(self, request: Request, shown_as: str) -> Response:
        found = self._counted(request, shown_as)
        return response(documents.discovery(self.service.reference, self._base(request) + PREFIX), found)

    def services(self, request: Request, shown_as: str) -> Response:
        return response(documents.services(self.service.reference), self._checked(request, shown_as))

    def definition(self, request: Request, code: str, shown_as: str) -> Response:
        found = self._checked(request, shown_as)
        category = self.service.reference.categories.get(code)
        if category is None:
            raise Refused(Mistake(NOT_FOUND, f"service_code was not found: {code[:50]}"))
        return response(documents.definition(code, category), found)

    def requests(self, request: Request, shown_as: str) -> Response:
        found = self._counted(request, shown_as)
        query = read_query(request.query_params.multi_items(), self.service.reference, self.clock.now())
        if query.ids is not None:
            return self._named(request, query.ids, found, extended=query.extensions)
        first = (query.page - 1) * query.page_size
        page = islice(self.service.reported_after(query.window, first), query.page_size)
        rows: list[Value] = [self._shown(one, request, extended=query.extensions) for one in page]
        return response(Document("service_requests", rows), found)

    def request(self, request: Request, request_id: str, shown_as: str) -> Response:
        found = self._checked(request, shown_as)
        extended = wants_extensions(request.query_params.get("extensions", ""))
        return self._named(request, [request_id], found, extended=extended)

    def token(self, request: Request, token: str, shown_as: str) -> Response:
        """Every service answers at once with the request's identifier, which is its own token."""
        found = self._checked(request, shown_as)
        try:
            incident = self.service.get(token, ANONYMOUS)
        except IncidentNotFound as error:
            raise Refused(Mistake(NOT_FOUND, "token was not found")) from error
        rows: list[Value] = [{"service_request_id": incident.incident_id, "token": token}]
        return response(Document("service_requests", rows), found)

    async def send(self, request: Request, shown_as: str) -> Response:
        found = self._counted(request, shown_as)
        fields = [*filled(request.query_params.multi_items())]
        fields += read_form(await request.body(), request.headers.get("content-type", ""))
        once = request.headers.get("idempotency-key")
        return response(await run_in_threadpool(self._take, fields, once), found)

    def _take(self, fields: Fields, once: str | None) -> Document:
        reference = self.service.reference
        owner = self.keys.owner(single(fields).get("api_key", ""))
        if owner is None:
            raise Refused(Mistake(FORBIDDEN, "api_key is missing or not valid"))
        self.writes.take(f"api key {owner.key_id}")
        report, picture = report_of(fields, reference)
        # Nobody has looked at the picture, and it lies elsewhere: staff see where, and no one else.
        seen = f", with a picture: {picture}" if picture else ""
        note = f"sent by {owner.application} (key {owner.key_id}){seen}"
        done = self.service.report(report, ANONYMOUS, f"{owner.key_id} {once}" if once else None, note=note)
        return documents.accepted(done.incident, reference)

    def _named(self, request: Request, ids: Sequence[str], shown_as: Format, *, extended: bool) -> Response:
        """Those of the requests that there are. Raises Refused where there is none."""
        rows: list[Value] = []
        for one in ids:
            try:
                incident = self.service.get(one, ANONYMOUS)
            except IncidentNotFound:
                continue
            row = self._shown(incident, request, extended=extended)
            if extended:
                row["notes"] = documents.notes(self.service.history(one, ANONYMOUS), self.service.reference)
            rows.append(row)
        if not rows:
            raise Refused(Mistake(NOT_FOUND, "service_request_id was not found"))
        return response(Document("service_requests", rows), shown_as)

    def _shown(self, incident: Incident, request: Request, *, extended: bool) -> dict[str, Value]:
        reference, base = self.service.reference, self._base(request)
        found = documents.request(incident, reference, base)
        return found | documents.extensions(incident, reference, base) if extended else found

    def _base(self, request: Request) -> str:
        return (self.public_url or str(request.base_url)).rstrip("/")

    def _counted(self, request: Request, shown_as: str) -> Format:
        """The format asked for, after the reader was counted. Raises Refused, TooFast."""
        self.reads.take(f"address {address_of(request)}")
        try:
            return Format(shown_as.lower())
        except ValueError as error:
            raise Refused(Mistake(BAD, f"there is no format {shown_as[:20]}: ask for .xml or .json")) from error

    def _checked(self, request: Request, shown_as: str) -> Format:
        """The same, where the jurisdiction is all there is to check beside."""
        found = self._counted(request, shown_as)
        given = dict(filled(request.query_params.multi_items()))
        mistakes = jurisdiction_mistakes(given.get("jurisdiction_id"), self.service.reference)
        if mistakes:
            raise Refused(*mistakes)
        return found


def router(resources: GeoReport) -> APIRouter:
    """The resources at their addresses. They describe themselves, by discovery and by the specification, and so are
    not in OpenAPI.
    """
    routes = APIRouter(prefix=PREFIX, route_class=_Route, include_in_schema=False)
    routes.get("/discovery.{shown_as}")(resources.discovery)
    routes.get("/services.{shown_as}")(resources.services)
    routes.get("/services/{code}.{shown_as}")(resources.definition)
    routes.get("/requests.{shown_as}")(resources.requests)
    routes.get("/requests/{request_id}.{shown_as}")(resources.request)
    routes.get("/tokens/{token}.{shown_as}")(resources.token)
    routes.post("/requests.{shown_as}")(resources.send)
    return routes
