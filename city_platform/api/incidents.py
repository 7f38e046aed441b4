"""REST `/v1/incidents`: reports, edits, changes of status, notes, supporters, history and the five lists.

A change made under `If-Match` is refused with 412 when somebody changed the incident since it was read. PATCH demands
the header (428 without it, RFC 6585), because it says what fields shall be and not what has happened; a change of
status takes it or leaves it, because the state machine refuses what no longer fits.
"""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from city_platform.api.answers import (
    SIGNED_IN,
    BulkAnswer,
    ContactAnswer,
    HistoryAnswer,
    PageAnswer,
    ReportedAnswer,
    answers,
    body_of,
)
from city_platform.api.conditional import names
from city_platform.api.desk import Desk, json_body, json_response
from city_platform.api.problems import Problem, problem_of
from city_platform.api.requests import BulkTransitionRequest, CommentRequest, TransitionRequest, read
from city_platform.incidents.contact import record_read
from city_platform.incidents.edit import EditRequest
from city_platform.incidents.model import Incident, Status
from city_platform.incidents.reference import Reference
from city_platform.incidents.report import Fault, InvalidRequest, ReportRequest
from city_platform.incidents.repository import AlreadyDone, Listing, Pattern
from city_platform.incidents.roles import Actor
from city_platform.incidents.service import PAGE_LIMIT, Reported
from city_platform.incidents.transitions import NotYours
from city_platform.incidents.views import IncidentView, as_json, duplicate_view, history_view, incident_view

_DEFAULT_PAGE = 20
_PATTERNS = "region & status, region & category, district & status, district & category, or reported_by=me"
_ETAG = {"ETag": {"description": "The version, for If-Match and If-None-Match", "schema": {"type": "string"}}}


async def the_desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


async def whoever_asks(request: Request) -> Actor:
    desk: Desk = request.app.state.desk
    return await desk.actor(request)


TheDesk = Annotated[Desk, Depends(the_desk)]
Who = Annotated[Actor, Depends(whoever_asks)]
Json = Annotated[Any, Depends(json_body)]
Once = Annotated[
    str | None, Header(alias="Idempotency-Key", description="Repeating a request under its key does it once, for a day")
]
IfMatch = Annotated[str | None, Header(description='The ETag as it was read, such as `"3"`, or `*`')]

router = APIRouter(prefix="/v1", tags=["incidents"])


@router.post(
    "/incidents",
    summary="Report an incident",
    openapi_extra=body_of(
        ReportRequest, title="Pothole in the bicycle lane", category="road_damage", lat=49.2633, long=-123.0985
    ),
    **answers(
        201, ReportedAnswer, "Accepted, and durable", 400, 403, 409, 413,
        headers=_ETAG | {"Location": {"description": "The incident", "schema": {"type": "string"}}},
    ),
)  # fmt: skip
def report(
    desk: TheDesk,
    actor: Who,
    payload: Json,
    idempotency_key: Once = None,
) -> Response:
    """A place is needed: `lat` and `long`, or an `address`. The district follows from the coordinates.

    `possible_duplicates` are hints. Whoever may not make an incident critical has suggested it: it becomes `high`.
    """
    done = desk.service.report(payload, actor, idempotency_key)
    headers = {"Location": f"/v1/incidents/{done.incident.incident_id}", "ETag": _etag(done.incident)}
    if done.replayed:
        headers["Idempotency-Replayed"] = "true"
    return json_response(reported_json(done, desk.service.reference, actor), 201, headers)


def reported_json(done: Reported, reference: Reference, actor: Actor) -> dict[str, Any]:
    """The answer to a report."""
    hints = [as_json(duplicate_view(one)) for one in done.possible_duplicates]
    return {**as_json(incident_view(done.incident, reference, actor)), "possible_duplicates": hints}


@router.get("/incidents", summary="List incidents", **answers(200, PageAnswer, "A page", 400, 403))
def list_incidents(
    request: Request,
    desk: TheDesk,
    actor: Who,
    region: str | None = None,
    district: str | None = None,
    status: str | None = None,
    category: str | None = None,
    reported_by: Annotated[str | None, Query(description="`me`")] = None,
    limit: Annotated[str | None, Query(description=f"1 to {PAGE_LIMIT}, else {_DEFAULT_PAGE}")] = None,
    cursor: Annotated[str | None, Query(description="`next` of the page before; good for a day")] = None,
) -> Response:
    """Exactly one of: region & status, region & category, district & status, district & category, reported_by=me.

    The `Link` header leads to the next page.
    """
    values = {
        "region": region, "district": district, "status": status, "category": category, "reported_by": reported_by,
    }  # fmt: skip
    faults = unknown_parameters(request, {*values, "limit", "cursor"})
    listing = read_listing(values, desk.service.reference, actor, faults)
    count = _limit(limit, faults)
    if faults or listing is None:
        raise InvalidRequest(faults)
    page = desk.service.list(listing, actor, count, cursor)
    shown = [as_json(incident_view(one, desk.service.reference, actor)) for one in page.incidents]
    headers = {}
    if page.next:
        given = {name: value for name, value in values.items() if value is not None}
        query = urlencode({**given, "limit": count, "cursor": page.next})
        headers["Link"] = f'</v1/incidents?{query}>; rel="next"'
    return json_response({"incidents": shown, "next": page.next}, headers=headers)


@router.post(
    "/incidents/transitions",
    summary="Close many incidents for one reason",
    openapi_extra=body_of(BulkTransitionRequest) | SIGNED_IN,
    **answers(200, BulkAnswer, "What became of each", 400, 403, 413),
)
def close_in_bulk(desk: TheDesk, actor: Who, payload: Json) -> Response:
    """For district managers. Each incident is closed or left as it was, and the answer says which."""
    wanted = read(BulkTransitionRequest, payload)
    done = desk.service.close_in_bulk(
        wanted.incidents, wanted.to, actor, note=wanted.note, resolution=wanted.resolution
    )
    closed: dict[str, Mapping[str, Any]] = {}
    problems: dict[str, Mapping[str, Any]] = {}
    for incident_id, outcome in done.items():
        if isinstance(outcome, Incident):
            closed[incident_id] = as_json(incident_view(outcome, desk.service.reference, actor))
        else:
            problems[incident_id] = problem_of(outcome, actor).document()
    return json_response({"incidents": closed, "problems": problems})


@router.get(
    "/incidents/{incident_id}",
    summary="Read an incident",
    **answers(200, IncidentView, "The incident, as you may see it", 404, headers=_ETAG),
)
def get_incident(
    incident_id: str, desk: TheDesk, actor: Who, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """By its `incident_id`, or by its `public_ref` as people read it out. `If-None-Match` with the ETag gives 304 while
    it has not changed.
    """
    return _shown(desk, actor, desk.service.find(incident_id, actor), if_none_match)


@router.patch(
    "/incidents/{incident_id}",
    summary="Change an incident's fields",
    openapi_extra=body_of(EditRequest, title="Deep pothole in the bicycle lane") | SIGNED_IN,
    **answers(200, IncidentView, "The incident after the change", 400, 403, 404, 412, 413, 428, headers=_ETAG),
)
def edit(
    incident_id: str, request: Request, desk: TheDesk, actor: Who, payload: Json, if_match: IfMatch = None
) -> Response:
    """Staff of the district change all that can be changed; the reporter what they wrote, until it is acknowledged."""
    if if_match is None:
        said = "send If-Match with the ETag that you have read"
        return Problem(428, "precondition", said).response(request.state.request_id)
    version = _version(if_match)
    if version is None:
        version = desk.service.get(incident_id, actor).version
    return _shown(desk, actor, desk.service.edit(incident_id, payload, actor, version))


@router.post(
    "/incidents/{incident_id}/transitions",
    summary="Change an incident's status",
    openapi_extra=body_of(TransitionRequest, to="acknowledged") | SIGNED_IN,
    **answers(200, IncidentView, "The incident after the change", 400, 403, 404, 409, 412, 413, headers=_ETAG),
)
def change_status(incident_id: str, desk: TheDesk, actor: Who, payload: Json, if_match: IfMatch = None) -> Response:
    """A status that may not follow is a 409 whose `allowed` lists those that may."""
    wanted = read(TransitionRequest, payload)
    after = desk.service.transition(
        incident_id,
        wanted.to,
        actor,
        note=wanted.note,
        resolution=wanted.resolution,
        duplicate_of=wanted.duplicate_of,
        expected_version=_version(if_match) if if_match else None,
    )
    return _shown(desk, actor, after)


@router.post(
    "/incidents/{incident_id}/comments",
    summary="Add a note",
    openapi_extra=body_of(CommentRequest, note="The crew comes on Tuesday.", public=True) | SIGNED_IN,
    **answers(201, IncidentView, "The incident after the note", 400, 403, 404, 409, 413, headers=_ETAG),
)
def comment(incident_id: str, desk: TheDesk, actor: Who, payload: Json, idempotency_key: Once = None) -> Response:
    """Staff write internal and public notes, the reporter public ones."""
    wanted = read(CommentRequest, payload)
    after = desk.service.comment(incident_id, wanted.note, actor, public=wanted.public, idempotency_key=idempotency_key)
    return _shown(desk, actor, after, status=201)


@router.post(
    "/incidents/{incident_id}/support",
    summary="Say that you have seen it too",
    openapi_extra=dict(SIGNED_IN),
    **answers(200, IncidentView, "The incident", 403, 404, headers=_ETAG),
)
def support(incident_id: str, desk: TheDesk, actor: Who) -> Response:
    """Of a closed one: that it is still there. The same person counts once; saying it again changes nothing."""
    return _shown(desk, actor, supported(desk, incident_id, actor))


def supported(desk: Desk, incident_id: str, actor: Actor) -> Incident:
    """The incident with this supporter counted, now or before."""
    try:
        return desk.service.support(incident_id, actor)
    except AlreadyDone:
        return desk.service.get(incident_id, actor)


@router.get(
    "/incidents/{incident_id}/history",
    summary="Read what happened",
    **answers(200, HistoryAnswer, "From the first change to the last", 404),
)
def history(incident_id: str, desk: TheDesk, actor: Who) -> Response:
    """All of it for staff; for others the changes of status, with the notes that are public."""
    entries = desk.service.history(incident_id, actor)
    return json_response({"history": [as_json(history_view(one)) for one in entries]})


@router.get(
    "/incidents/{incident_id}/contact",
    summary="Read how to reach the reporter",
    openapi_extra=dict(SIGNED_IN),
    **answers(200, ContactAnswer, "What the reporter left", 403, 404),
)
def contact(incident_id: str, desk: TheDesk, actor: Who) -> Response:
    """For the reporter and the staff of the district. Every reading is on record before it is answered."""
    return json_response(contact_json(desk, incident_id, actor))


def contact_json(desk: Desk, incident_id: str, actor: Actor) -> dict[str, str]:
    """The contact data, after its reading was put on record."""
    found = desk.service.contact(incident_id, actor)
    record_read(desk.store, incident_id, actor, desk.clock.now())
    given = {"email": found.email, "phone": found.phone, "name": found.name} if found else {}
    return {name: value for name, value in given.items() if value is not None}


def unknown_parameters(request: Request, known: set[str], there_are: str = f"lists are by {_PATTERNS}") -> list[Fault]:
    """A fault for each query parameter that is unknown or given twice."""
    names = [name for name, _ in request.query_params.multi_items()]
    return [
        Fault(name[:50], "repeated", "give this once")
        if name in known
        else Fault(name[:50], "unknown_field", f"there is no such parameter; {there_are}")
        for name in dict.fromkeys(names)
        if name not in known or names.count(name) > 1
    ]


def read_listing(
    values: Mapping[str, str | None], reference: Reference, actor: Actor, faults: list[Fault]
) -> Listing | None:
    """The question that the parameters ask; adds to `faults` where it is none of the five."""
    given = {name: value for name, value in values.items() if value is not None}
    known: Mapping[str, list[str]] = {
        "region": list(reference.regions),
        "district": list(reference.districts),
        "status": [one.value for one in Status],
        "category": list(reference.categories),
        "reported_by": ["me"],
    }
    for name, value in given.items():
        # What has an address and no coordinates yet is in no district, and staff have to find it.
        if value not in known[name] and not (name in {"region", "district"} and value == "unlocated"):
            faults.append(Fault(name, "unknown", f"choose one of: {', '.join(known[name])}"))
    pattern = next((one for one in Pattern if set(one.fields) == set(given)), None)
    if pattern is None:
        faults.append(Fault("", "pattern", f"list incidents by {_PATTERNS}"))
        return None
    if pattern is Pattern.REPORTED_BY:
        if actor.subject is None:
            raise NotYours("your own reports are listed for you alone")
        return Listing(pattern, (actor.subject,))
    return Listing(pattern, tuple(given[name] for name in pattern.fields))


def _limit(text: str | None, faults: list[Fault]) -> int:
    if text is None:
        return _DEFAULT_PAGE
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= PAGE_LIMIT):  # noqa: PLR2004
        faults.append(Fault("limit", "range", f"ask for 1 to {PAGE_LIMIT} incidents"))
        return _DEFAULT_PAGE
    return int(text)


def _shown(
    desk: Desk, actor: Actor, incident: Incident, if_none_match: str | None = None, status: int = 200
) -> Response:
    headers = {"ETag": _etag(incident), "Vary": "Authorization", "Cache-Control": "private, no-cache"}
    if if_none_match is not None and names(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return json_response(as_json(incident_view(incident, desk.service.reference, actor)), status, headers)


def _etag(incident: Incident) -> str:
    return f'"{incident.version}"'


def _version(if_match: str) -> int | None:
    """The version that a client has read; None for any."""
    if if_match.strip() == "*":
        return None
    # A proxy that compresses makes the tag a weak one; a version says the same either way.
    number = if_match.strip().removeprefix("W/").strip('"')
    if not (number.isascii() and number.isdigit() and len(number) < 10):  # noqa: PLR2004 -- more than versions there are
        return 0  # no version of ours: the precondition fails
    return int(number)
