"""Pictures of an incident: a client asks for an upload address, sends the picture there, and says that it is done.

Only then is the picture looked at: recognised by its bytes, drawn anew without metadata, and added to the incident.
The same steps on this machine (the address is this API's) and on AWS (the address is the bucket's).
"""

from contextlib import suppress
from datetime import timedelta

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from city_platform.api.answers import SIGNED_IN, UploadAnswer, UploadInstructions, answers, body_of
from city_platform.api.desk import Desk, json_response
from city_platform.api.incidents import Json, TheDesk, Who
from city_platform.api.limits import address_of
from city_platform.api.problems import Problem
from city_platform.api.requests import MediaRequest, read
from city_platform.incidents.identity import is_incident_id, new_incident_id
from city_platform.incidents.model import INCOMING, PICTURES, Incident, Media
from city_platform.incidents.pictures import BYTES_LIMIT, redrawn
from city_platform.incidents.report import Fault, InvalidRequest
from city_platform.incidents.repository import AlreadyDone
from city_platform.incidents.roles import Actor
from city_platform.incidents.service import IncidentNotFound
from city_platform.incidents.views import IncidentView, as_json, incident_view, media_id
from city_platform.local.uploads import PATH, BadUploadAddress, SignedUploads
from city_platform.ports import ObjectExists, ObjectNotFound

_LIFE = timedelta(minutes=15)
_ENDINGS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}

router = APIRouter(tags=["pictures"])


@router.post(
    "/v1/incidents/{incident_id}/media",
    summary="Ask for an upload address for a picture",
    openapi_extra=body_of(MediaRequest, content_type="image/jpeg", bytes=245_760) | SIGNED_IN,
    **answers(201, UploadAnswer, "Where the picture goes", 400, 403, 404, 413),
)
def offer(incident_id: str, desk: TheDesk, actor: Who, payload: Json) -> Response:
    """For the reporter and the staff of the district; at most three pictures, JPEG, PNG or WebP, 10 MB each."""
    return json_response(offer_upload(desk, incident_id, payload, actor).model_dump(mode="json"), 201)


@router.post(
    "/v1/incidents/{incident_id}/media/{name}",
    summary="Add the picture that was uploaded",
    openapi_extra=dict(SIGNED_IN),
    **answers(201, IncidentView, "The incident with the picture", 400, 403, 404),
)
def finish(incident_id: str, name: str, desk: TheDesk, actor: Who) -> Response:
    """Where it was taken and with what is not kept. Saying it again changes nothing."""
    incident = finish_upload(desk, incident_id, name, actor)
    return json_response(as_json(incident_view(incident, desk.service.reference, actor)), 201)


@router.get(
    "/v1/incidents/{incident_id}/media/{name}",
    summary="Read a picture",
    **answers(
        200, None, "The picture", 404,
        content={kind: {"schema": {"type": "string", "format": "binary"}} for kind in _ENDINGS},
    ),
)  # fmt: skip
def picture(incident_id: str, name: str, desk: TheDesk, actor: Who) -> Response:
    """Everybody sees those that staff approved, the reporter and staff all."""
    incident = desk.service.get(incident_id, actor)
    shown = {one.media_id for one in incident_view(incident, desk.service.reference, actor).media}
    media = next((one for one in incident.media if media_id(one) == name and name in shown), None)
    if media is None:
        raise IncidentNotFound("there is no such picture")
    try:
        data = desk.store.get(media.key)
    except ObjectNotFound as error:  # it is being removed at a person's request
        raise IncidentNotFound("there is no such picture") from error
    headers = {"Cache-Control": "private, max-age=300", "Content-Disposition": "inline", "Vary": "Authorization"}
    return Response(data, headers=headers, media_type=media.content_type)


@router.post(
    "/v1/incidents/{incident_id}/media/{name}/approval",
    summary="Show a picture to everybody",
    openapi_extra=dict(SIGNED_IN),
    **answers(200, IncidentView, "The incident", 403, 404),
)
def approve(incident_id: str, name: str, desk: TheDesk, actor: Who) -> Response:
    """For the staff of the district."""
    after = approve_picture(desk, incident_id, name, actor)
    return json_response(as_json(incident_view(after, desk.service.reference, actor)))


def offer_upload(desk: Desk, incident_id: str, payload: object, actor: Actor) -> UploadAnswer:
    """An upload address. Raises InvalidRequest, IncidentNotFound, NotYours."""
    wanted = read(MediaRequest, payload)
    desk.service.admits_media(incident_id, actor)
    now = desk.clock.now()
    name = new_incident_id(now)
    upload = desk.uploads.offer(_incoming(incident_id, name), wanted.content_type, BYTES_LIMIT, now + _LIFE)
    return UploadAnswer(
        media_id=name,
        finish=f"/v1/incidents/{incident_id}/media/{name}",
        upload=UploadInstructions(
            method="PUT" if upload.method == "PUT" else "POST",
            url=upload.url,
            headers={"Content-Type": wanted.content_type} if upload.method == "PUT" else {},
            fields=dict(upload.fields),
            expires_at=upload.expires_at,
        ),
    )


def finish_upload(desk: Desk, incident_id: str, name: str, actor: Actor) -> Incident:
    """The incident with the uploaded picture; once. Raises InvalidRequest, IncidentNotFound, NotYours."""
    incident = desk.service.get(incident_id, actor)
    if any(media_id(one) == name for one in incident.media):
        return incident
    desk.service.admits_media(incident_id, actor)
    incoming = _incoming(incident_id, name if is_incident_id(name) else "none")
    try:
        data = desk.store.get(incoming)
    except ObjectNotFound as error:
        raise InvalidRequest([Fault("file", "required", "nothing was uploaded to that address")]) from error
    try:
        clean, kind = redrawn(data)
    except InvalidRequest:
        desk.store.delete(incoming)
        raise
    key = f"{PICTURES}/{incident_id}/{name}.{_ENDINGS[kind]}"
    desk.store.put(key, clean)
    with suppress(AlreadyDone):
        incident = desk.service.attach(incident_id, Media(key, kind, len(clean)), actor)
    desk.store.delete(incoming)
    return incident


def approve_picture(desk: Desk, incident_id: str, name: str, actor: Actor) -> Incident:
    """The incident with the picture shown to everybody. Raises IncidentNotFound, NotYours."""
    incident = desk.service.get(incident_id, actor)
    key = next((one.key for one in incident.media if media_id(one) == name), "")
    return desk.service.moderate(incident_id, key, actor)


@router.put(
    PATH + "{token}",
    summary="Send a picture to its upload address",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _ENDINGS},
        }
    },
    **answers(204, None, "It has arrived", 400, 404, 409, 413),
)
async def receive(token: str, request: Request, desk: TheDesk) -> Response:
    """The address is all the right that is needed, and good for one picture."""
    desk.writes.take(f"upload {address_of(request)}")
    if not isinstance(desk.uploads, SignedUploads):
        raise IncidentNotFound("uploads go to another address")
    try:
        offered = desk.uploads.read(token)
    except BadUploadAddress as error:
        return Problem(404, "not-found", str(error)).response(request.state.request_id)
    data = await request.body()
    if request.headers.get("content-type") != offered.content_type or not data or len(data) > offered.limit:
        said = f"send 1 to {offered.limit} bytes as {offered.content_type}"
        raise InvalidRequest([Fault("file", "type", said)])
    try:
        await run_in_threadpool(desk.store.put, offered.key, data, create_only=True)
    except ObjectExists:
        said = "something was sent to this address before: ask for another one"
        return Problem(409, "repeated", said).response(request.state.request_id)
    return Response(status_code=204)


def _incoming(incident_id: str, name: str) -> str:
    return f"{INCOMING}/{incident_id}/{name}"
