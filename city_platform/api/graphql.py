"""GraphQL over the same service, answers and errors as REST. Bounded in depth, size and aliases.

Types are made of REST's own models, so a field cannot be in one and not in the other. An error's `extensions` are the
problem document that REST would have answered.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, TypeVar

import strawberry
from fastapi import APIRouter, Request, Response
from graphql import GraphQLError, OperationDefinitionNode
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from strawberry.experimental import pydantic as from_model
from strawberry.extensions import MaxAliasesLimiter, MaxTokensLimiter, QueryDepthLimiter, SchemaExtension
from strawberry.scalars import JSON
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from city_platform.api import answers as told
from city_platform.api import city, media
from city_platform.api.desk import Desk, json_response
from city_platform.api.incidents import Json, TheDesk, contact_json, read_listing, supported
from city_platform.api.limits import RateLimit
from city_platform.api.observing import note
from city_platform.api.problems import ProblemDocument, problem_of
from city_platform.api.requests import read
from city_platform.incidents.codec import rfc3339
from city_platform.incidents.model import Incident, Resolution, Severity, Status, Visibility
from city_platform.incidents.report import ContactDetails, Fault, InvalidRequest, ReportRequest
from city_platform.incidents.roles import Actor
from city_platform.incidents.views import (
    DuplicateView,
    HistoryView,
    IncidentView,
    MediaView,
    duplicate_view,
    history_view,
    incident_view,
)


def _parsed_moment(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("a time is a text")  # noqa: TRY004 -- what GraphQL takes for a wrong value
    return datetime.fromisoformat(value)


Kind = TypeVar("Kind")
DEPTH, TOKENS, ALIASES = 6, 1000, 10
_LENGTH_LIMIT = 20_000  # characters of a document

_MOMENT = strawberry.scalar(
    name="DateTime", description="RFC 3339, in UTC with milliseconds", serialize=rfc3339, parse_value=_parsed_moment
)


@from_model.type(model=MediaView, all_fields=True, name="Media")
class MediaType: ...


@from_model.type(model=IncidentView, all_fields=True, name="Incident")
class IncidentType:
    media: list[MediaType]
    attributes: JSON


@from_model.type(model=DuplicateView, all_fields=True, name="PossibleDuplicate")
class DuplicateType: ...


@from_model.type(model=HistoryView, all_fields=True, name="Change")
class HistoryType: ...


@from_model.type(model=told.ContactAnswer, all_fields=True, name="Contact")
class ContactType: ...


@from_model.type(model=told.AttributeAnswer, all_fields=True, name="Attribute")
class AttributeType:
    values: JSON


@from_model.type(model=told.CategoryAnswer, name="Category")
class CategoryType:
    code: strawberry.auto
    name: strawberry.auto
    description: strawberry.auto
    department: strawberry.auto
    days: strawberry.auto
    days_of: str
    sensitive: strawberry.auto
    attributes: list[AttributeType]


@from_model.type(model=told.RegionAnswer, all_fields=True, name="Region")
class RegionType: ...


@from_model.type(model=told.DistrictAnswer, all_fields=True, name="District")
class DistrictType: ...


@from_model.type(model=told.CountAnswer, all_fields=True, name="Count")
class CountType: ...


@from_model.type(model=told.StatsAnswer, all_fields=True, name="Stats")
class StatsType:
    by_status: JSON
    by_category: JSON
    by_district: JSON
    by_region: JSON
    counts: list[CountType]


@from_model.type(model=told.UploadInstructions, name="UploadInstructions")
class UploadInstructionsType:
    method: str
    url: strawberry.auto
    headers: JSON
    fields: JSON
    expires_at: strawberry.auto


@from_model.type(model=told.UploadAnswer, all_fields=True, name="Upload")
class UploadType:
    upload: UploadInstructionsType


@strawberry.type(name="Page")
class PageType:
    incidents: list[IncidentType]
    next: str | None


@strawberry.type(name="Reported")
class ReportedType:
    incident: IncidentType
    possible_duplicates: list[DuplicateType]
    replayed: bool


@strawberry.type(name="Closed")
class ClosedType:
    incidents: list[IncidentType]
    problems: JSON


@from_model.input(model=ContactDetails, all_fields=True)
class ContactInput: ...


@from_model.input(model=ReportRequest, all_fields=True)
class ReportInput:
    contact: ContactInput | None = None
    occurred_at: str | None = None  # as REST takes it, so that REST's words tell what is wrong with it
    attributes: JSON | None = None


@strawberry.input
class EditInput:
    # Not made of REST's model, whose fields would be null where they are absent: null empties a field.
    title: str | None = strawberry.UNSET
    description: str | None = strawberry.UNSET
    category: str | None = strawberry.UNSET
    severity: Severity | None = strawberry.UNSET
    lat: float | None = strawberry.UNSET
    long: float | None = strawberry.UNSET
    address: str | None = strawberry.UNSET
    district: str | None = strawberry.UNSET
    assigned_to: str | None = strawberry.UNSET
    visibility: Visibility | None = strawberry.UNSET
    attributes: JSON | None = strawberry.UNSET


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to GraphQL, as the resolvers know it."""

    desk: Desk
    actor: Actor
    request: Request
    named: bool  # whether it says which operation of its document to run

    def shown(self, incident: Incident) -> IncidentType:
        return _typed(IncidentType, incident_view(incident, self.desk.service.reference, self.actor))

    def reading(self) -> "Asked":
        return self._counted(self.desk.reads)

    def writing(self) -> "Asked":
        return self._counted(self.desk.writes)

    def _counted(self, limit: RateLimit) -> "Asked":
        # Counted for each field, because one request may hold many.
        self.desk.count(self.request, self.actor, limit)
        return self


Info = strawberry.Info[Asked, None]


@strawberry.type
class Query:
    @strawberry.field
    def incident(self, info: Info, incident_id: str) -> IncidentType:
        asked = info.context.reading()
        return asked.shown(asked.desk.service.find(incident_id, asked.actor))

    @strawberry.field
    def incidents(
        self,
        info: Info,
        region: str | None = None,
        district: str | None = None,
        status: Status | None = None,
        category: str | None = None,
        mine: bool = False,
        limit: int = 20,
        cursor: str | None = None,
    ) -> PageType:
        asked = info.context.reading()
        given = {"region": region, "district": district, "status": status, "category": category}
        faults: list[Fault] = []
        by = {**given, "reported_by": "me" if mine else None}
        listing = read_listing(by, asked.desk.service.reference, asked.actor, faults)
        if faults or listing is None:
            raise InvalidRequest(faults)
        page = asked.desk.service.list(listing, asked.actor, limit, cursor)
        return PageType(incidents=[asked.shown(one) for one in page.incidents], next=page.next)

    @strawberry.field
    def history(self, info: Info, incident_id: str) -> list[HistoryType]:
        asked = info.context.reading()
        entries = asked.desk.service.history(incident_id, asked.actor)
        return [_typed(HistoryType, history_view(one)) for one in entries]

    @strawberry.field
    def contact(self, info: Info, incident_id: str) -> ContactType:
        asked = info.context.reading()
        found = contact_json(asked.desk, incident_id, asked.actor)
        return _typed(ContactType, told.ContactAnswer(**found))

    @strawberry.field
    def categories(self, info: Info) -> list[CategoryType]:
        found = city.categories_of(info.context.reading().desk.service.reference)
        return [_typed(CategoryType, one) for one in found.categories]

    @strawberry.field
    def regions(self, info: Info) -> list[RegionType]:
        found = city.regions_of(info.context.reading().desk.service.reference)
        return [_typed(RegionType, one) for one in found.regions]

    @strawberry.field
    def districts(self, info: Info) -> list[DistrictType]:
        found = city.districts_of(info.context.reading().desk.service.reference)
        return [_typed(DistrictType, one) for one in found.districts]

    @strawberry.field
    def stats(self, info: Info) -> StatsType:
        return _typed(StatsType, city.stats_of(info.context.reading().desk))


@strawberry.type
class Mutation:
    @strawberry.mutation
    def report(self, info: Info, report: ReportInput, idempotency_key: str | None = None) -> ReportedType:
        asked = info.context.writing()
        done = asked.desk.service.report(_payload(report, ReportRequest), asked.actor, idempotency_key)
        hints = [_typed(DuplicateType, duplicate_view(one)) for one in done.possible_duplicates]
        return ReportedType(incident=asked.shown(done.incident), possible_duplicates=hints, replayed=done.replayed)

    @strawberry.mutation
    def edit(self, info: Info, incident_id: str, version: int, changes: EditInput) -> IncidentType:
        asked = info.context.writing()
        payload = {name: _plain(value) for name, value in vars(changes).items() if value is not strawberry.UNSET}
        return asked.shown(asked.desk.service.edit(incident_id, payload, asked.actor, version))

    @strawberry.mutation
    def change_status(
        self,
        info: Info,
        incident_id: str,
        to: Status,
        note: str | None = None,
        resolution: Resolution | None = None,
        duplicate_of: str | None = None,
        version: int | None = None,
    ) -> IncidentType:
        asked = info.context.writing()
        after = asked.desk.service.transition(
            incident_id,
            to,
            asked.actor,
            note=note,
            resolution=resolution,
            duplicate_of=duplicate_of,
            expected_version=version,
        )
        return asked.shown(after)

    @strawberry.mutation
    def close_in_bulk(
        self, info: Info, incidents: list[str], to: Status, note: str, resolution: Resolution
    ) -> ClosedType:
        asked = info.context.writing()
        done = asked.desk.service.close_in_bulk(incidents, to, asked.actor, note=note, resolution=resolution)
        problems = {
            name: problem_of(one, asked.actor).document() for name, one in done.items() if not isinstance(one, Incident)
        }
        closed = [asked.shown(one) for one in done.values() if isinstance(one, Incident)]
        return ClosedType(incidents=closed, problems=JSON(problems))

    @strawberry.mutation
    def comment(
        self, info: Info, incident_id: str, note: str, public: bool = False, idempotency_key: str | None = None
    ) -> IncidentType:
        asked = info.context.writing()
        after = asked.desk.service.comment(
            incident_id, note, asked.actor, public=public, idempotency_key=idempotency_key
        )
        return asked.shown(after)

    @strawberry.mutation
    def support(self, info: Info, incident_id: str) -> IncidentType:
        asked = info.context.writing()
        return asked.shown(supported(asked.desk, incident_id, asked.actor))

    @strawberry.mutation
    def offer_upload(self, info: Info, incident_id: str, content_type: str, bytes: int) -> UploadType:  # noqa: A002 -- REST's name
        asked = info.context.writing()
        payload = {"content_type": content_type, "bytes": bytes}
        return _typed(UploadType, media.offer_upload(asked.desk, incident_id, payload, asked.actor))

    @strawberry.mutation
    def finish_upload(self, info: Info, incident_id: str, media_id: str) -> IncidentType:
        asked = info.context.writing()
        return asked.shown(media.finish_upload(asked.desk, incident_id, media_id, asked.actor))

    @strawberry.mutation
    def approve_picture(self, info: Info, incident_id: str, media_id: str) -> IncidentType:
        asked = info.context.writing()
        return asked.shown(media.approve_picture(asked.desk, incident_id, media_id, asked.actor))


class OneOperation(SchemaExtension):
    """Of several operations in a document the request names one (GraphQL, 6.1); the library would run the first."""

    def on_validate(self) -> Iterator[None]:
        document = self.execution_context.graphql_document
        found = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)] if document else []
        if len(found) > 1 and not self.execution_context.context.named:
            raise CannotGetOperationTypeError(None)
        yield


class Schema(strawberry.Schema):
    def process_errors(self, errors: list[GraphQLError], execution_context: Any = None) -> None:
        """Nothing: the library would log messages and traces, which may hold what people wrote."""


SCHEMA = Schema(
    Query,
    Mutation,
    config=StrawberryConfig(scalar_map={datetime: _MOMENT}),
    extensions=[
        lambda: QueryDepthLimiter(max_depth=DEPTH),
        lambda: MaxTokensLimiter(max_token_count=TOKENS),
        lambda: MaxAliasesLimiter(max_alias_count=ALIASES),
        OneOperation,
    ],
)


class GraphQLRequest(BaseModel):
    """A document, its variables, and which of its operations to run."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[str, Field(strict=True, min_length=1, max_length=_LENGTH_LIMIT)]
    variables: dict[str, Any] | None = None
    operationName: Annotated[str, Field(strict=True, max_length=100)] | None = None  # noqa: N815 -- the protocol's name


class GraphQLProblem(BaseModel):
    message: str
    path: list[str | int] | None = None
    extensions: ProblemDocument | None = None


class GraphQLAnswer(BaseModel):
    """`data` as asked for; an error's `extensions` are the problem that REST would have answered."""

    data: dict[str, Any] | None = None
    errors: list[GraphQLProblem] | None = None


router = APIRouter(tags=["graphql"])


@router.post(
    "/graphql",
    summary="GraphQL",
    openapi_extra=told.body_of(GraphQLRequest, query="{ stats { total open } }"),
    **told.answers(200, GraphQLAnswer, "Data, errors, or both", 400, 413),
)
async def execute(request: Request, desk: TheDesk, payload: Json) -> Response:
    """The schema is to be had by introspection. Every field of a query or mutation counts as one request."""
    actor = await desk.identify(request)
    wanted = read(GraphQLRequest, payload)
    try:
        result = await run_in_threadpool(
            SCHEMA.execute_sync,
            wanted.query,
            variable_values=wanted.variables,
            context_value=Asked(desk, actor, request, wanted.operationName is not None),
            operation_name=wanted.operationName,
        )
    except (CannotGetOperationTypeError, InvalidOperationTypeError) as error:
        said = "the document has no such operation, or several and `operationName` chooses none"
        raise InvalidRequest([Fault("operationName", "unknown", said)]) from error
    body: dict[str, Any] = {"data": result.data}
    if result.errors:
        body["errors"] = [_told(one, request, actor) for one in result.errors]
    return json_response(body)


def _told(error: GraphQLError, request: Request, actor: Actor) -> Mapping[str, Any]:
    shown: dict[str, Any] = {"message": error.message}
    if error.path:
        shown["path"] = error.path
    if error.original_error is not None and not isinstance(error.original_error, GraphQLError):
        problem = problem_of(error.original_error, actor)
        note(request.state, problem, error.original_error)
        shown["message"] = problem.detail
        shown["extensions"] = problem.document(request.state.request_id)
    elif error.locations:
        shown["locations"] = [{"line": one.line, "column": one.column} for one in error.locations]
    return shown


def _typed(kind: type[Kind], model: BaseModel) -> Kind:
    """The GraphQL type's value of a model."""
    made: Kind = kind.from_pydantic(model)  # type: ignore[attr-defined]  # the library's decorator gives the class this
    return made


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _payload(given: Any, model: type[BaseModel]) -> dict[str, Any]:
    """What REST would have been sent: no field that is absent or as it is by default."""
    payload: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        value = getattr(given, name)
        if isinstance(value, ContactInput):
            value = _payload(value, ContactDetails)
        value = _plain(value)
        if value is not None and value != field.default:
            payload[name] = value
    return payload
