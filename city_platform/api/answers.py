"""What the service answers, as the OpenAPI description tells it, and the two kinds of answers built of it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from city_platform.api.problems import ProblemDocument
from city_platform.incidents.views import DuplicateView, HistoryView, IncidentView, MediaView, Moment


class ReportedAnswer(IncidentView):
    """The incident as it was stored, and reports that may be about the same thing."""

    possible_duplicates: list[DuplicateView]


class PageAnswer(BaseModel):
    """Incidents from the newest to the oldest; `next` is the cursor of the next page, null at the end."""

    incidents: list[IncidentView]
    next: str | None


class HistoryAnswer(BaseModel):
    history: list[HistoryView]


class ContactAnswer(BaseModel):
    """How to reach the reporter; absent where they left it out."""

    email: str | None = None
    phone: str | None = None
    name: str | None = None


class BulkAnswer(BaseModel):
    """For each incident: the incident as it is now, or the problem that kept it as it was."""

    incidents: dict[str, IncidentView]
    problems: dict[str, ProblemDocument]


class UploadAnswer(BaseModel):
    """Send the picture to `upload`, then POST to `finish`, which checks it and adds it to the incident."""

    media_id: str
    finish: str
    upload: "UploadInstructions"


class UploadInstructions(BaseModel):
    method: Literal["PUT", "POST"]
    url: str
    headers: dict[str, str]
    fields: Annotated[dict[str, str], Field(description="Form fields that go before the file, for POST")]
    expires_at: datetime


class AttributeAnswer(BaseModel):
    code: str
    name: str
    type: str
    required: bool
    values: dict[str, str]


class CategoryAnswer(BaseModel):
    code: str
    name: str
    description: str
    department: str
    days: int
    days_of: Literal["working", "calendar"]
    sensitive: bool
    attributes: list[AttributeAnswer]


class CategoriesAnswer(BaseModel):
    categories: list[CategoryAnswer]


class RegionAnswer(BaseModel):
    code: str
    name: str


class RegionsAnswer(BaseModel):
    regions: list[RegionAnswer]


class DistrictAnswer(BaseModel):
    code: str
    name: str
    region: str
    lat: float
    long: float


class DistrictsAnswer(BaseModel):
    districts: list[DistrictAnswer]


class CountAnswer(BaseModel):
    region: str
    district: str
    status: str
    category: str
    incidents: int


class StatsAnswer(BaseModel):
    """Public incidents as they stood at a moment: now, or where they are counted once a day, that one."""

    at: Moment
    total: int
    open: int
    by_status: dict[str, int]
    by_category: dict[str, int]
    by_district: dict[str, int]
    by_region: dict[str, int]
    counts: list[CountAnswer]


class HealthAnswer(BaseModel):
    status: Literal["ok"]


class PointAnswer(BaseModel):
    type: Literal["Point"]
    coordinates: Annotated[list[float], Field(min_length=2, max_length=2, description="Longitude, latitude")]


class FeatureAnswer(BaseModel):
    type: Literal["Feature"]
    id: str
    geometry: PointAnswer
    properties: dict[str, str | int]


class MapAnswer(BaseModel):
    """GeoJSON (RFC 7946). `truncated` says that there are more than fit."""

    type: Literal["FeatureCollection"]
    features: list[FeatureAnswer]
    truncated: bool


# Of an operation's description: nobody without a token ever gets what it does. All others answer anybody, some of them
# with less.
SIGNED_IN: dict[str, Any] = {"security": [{"token": []}]}

_PROBLEMS: Mapping[int, str] = {
    400: "The request is wrong; `errors` names every field that is",
    401: "Sign in, or the token does not count",
    403: "This is not yours to do",
    404: "There is no such thing, or you may not know of it",
    409: "Not in this state, or done before; `allowed` lists the statuses that may follow",
    412: "Somebody changed it first; `current_version` is its version now",
    413: "The body is too large",
    428: "Send If-Match with the ETag that you have read",
    429: "Too fast; Retry-After says when to go on",
    503: "Nothing was lost: try again after Retry-After",
}
_PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
_RETRY = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
_EVERYWHERE = (401, 429, 503)


def answers(status: int, model: type[BaseModel] | None, said: str, *problems: int, **more: Any) -> dict[str, Any]:
    """Keyword arguments of a route: how it answers when all is well, and its problems."""
    good: dict[str, Any] = {"description": said, **more}
    if model is not None:
        good["model"] = model
    return {
        "status_code": status,
        "response_model": None,  # the answer is written by the handler; checking it again would double its cost
        "responses": {status: good, **{code: problem_answer(code) for code in sorted({*problems, *_EVERYWHERE})}},
    }


def problem_answer(code: int) -> dict[str, Any]:
    told: dict[str, Any] = {"description": _PROBLEMS[code], "content": _PROBLEM_CONTENT}
    if code in {429, 503}:
        told["headers"] = _RETRY
    if code == 401:  # noqa: PLR2004 -- RFC 9110: a 401 carries its challenge
        told["headers"] = {"WWW-Authenticate": {"description": "RFC 6750", "schema": {"type": "string"}}}
    return told


def body_of(model: type[BaseModel], **example: Any) -> dict[str, Any]:
    """The OpenAPI description of a JSON body."""
    content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
    if example:
        content["example"] = example
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


__all__ = ["SIGNED_IN", "MediaView", "answers", "body_of", "problem_answer"]
