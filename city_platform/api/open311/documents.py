"""What GeoReport shows: services, their definitions, requests. Every field of the specification is there, or null."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from city_platform.api.open311.formats import Document, Format, Value
from city_platform.incidents.model import HistoryEntry, Incident
from city_platform.incidents.published import status_notes, w3c
from city_platform.incidents.reference import Attribute, AttributeType, Category, Reference
from city_platform.incidents.text import masked
from city_platform.incidents.views import IncidentView, public_view

SPECIFICATION = "http://wiki.open311.org/GeoReport_v2"
_LISTS = {AttributeType.SINGLEVALUELIST, AttributeType.MULTIVALUELIST}


def discovery(reference: Reference, endpoint: str) -> Document:
    """Where the interface is and what it speaks; clients keep what they know until the changeset changes."""
    changeset = _local(reference.changed_at, reference)
    city, contact = reference.city.name, reference.city.contact
    return Document(
        "discovery",
        {
            "changeset": changeset,
            "contact": f"Questions about this interface of {city}: {contact}",
            "key_service": f"Applications that send requests need a key: write to {contact}",
            "endpoints": [
                {
                    "specification": SPECIFICATION,
                    "url": endpoint,
                    "changeset": changeset,
                    "type": "production",
                    "formats": [one.media_type for one in Format],
                }
            ],
        },
    )


def services(reference: Reference) -> Document:
    return Document("services", [_service(code, one) for code, one in reference.categories.items()])


def _service(code: str, category: Category) -> Value:
    return {
        "service_code": code,
        "service_name": category.name,
        "description": category.description,
        "metadata": bool(category.attributes),
        "type": "realtime",
        "keywords": ",".join(category.keywords) or None,
        "group": category.department,
    }


def definition(code: str, category: Category) -> Document:
    attributes = [_attribute(order, *one) for order, one in enumerate(category.attributes.items(), 1)]
    return Document("service_definition", {"service_code": code, "attributes": attributes})


def _attribute(order: int, code: str, attribute: Attribute) -> Value:
    shown: dict[str, Value] = {
        "variable": True,
        "code": code,
        "datatype": attribute.type.value,
        "required": attribute.required,
        "datatype_description": None,
        "order": order,
        "description": attribute.name,
    }
    if attribute.type in _LISTS:
        shown["values"] = [{"key": key, "name": name} for key, name in attribute.values.items()]
    return shown


def accepted(incident: Incident, reference: Reference) -> Document:
    """The answer to a request that was taken."""
    return Document(
        "service_requests",
        [
            {
                "service_request_id": incident.incident_id,
                "service_notice": _notice(incident, reference),
                "account_id": None,
            }
        ],
    )


def request(incident: Incident, reference: Reference, base: str) -> dict[str, Value]:
    """A request as everybody sees it; `base` is the address of this server, without a slash at its end."""
    view = public_view(incident, reference)
    category = reference.categories.get(incident.category)
    closed = incident.closed_at if incident.status.closed else None
    return {
        "service_request_id": incident.incident_id,
        "status": "closed" if incident.status.closed else "open",
        "status_notes": status_notes(incident),
        "service_name": category.name if category else incident.category,
        "service_code": incident.category,
        "description": view.description or None,
        "agency_responsible": incident.department,
        "service_notice": _notice(incident, reference),
        "requested_datetime": _local(incident.reported_at, reference),
        "updated_datetime": _local(closed or incident.updated_at, reference),
        "expected_datetime": _local(incident.expected_at, reference) if incident.expected_at else None,
        "address": view.address,
        "address_id": None if category is None or category.sensitive else incident.address_id,
        "zipcode": None,  # a postal code is a dozen houses: staff alone see it
        "lat": view.lat,
        "long": view.long,
        "media_url": base + view.media[0].url if view.media else None,
    }


def extensions(incident: Incident, reference: Reference, base: str) -> dict[str, Value]:
    """What many cities' servers say beside: answers to the service's questions, and details."""
    view = public_view(incident, reference)
    return {
        "attributes": list(_answers(view, reference)),
        "extended_attributes": {
            "reference": view.public_ref,
            "title": view.title,
            "status": view.status.value,
            "severity": view.severity.value,
            "resolution": view.resolution.value if view.resolution else None,
            "channel": view.channel.value,
            "region": view.region,
            "district": view.district,
            "supporters": view.supporters,
            "duplicate_of": view.duplicate_of,
            "closed_datetime": _local(view.closed_at, reference) if view.closed_at else None,
            "photos": [{"media_url": base + one.url, "content_type": one.content_type} for one in view.media],
        },
    }


def _answers(view: IncidentView, reference: Reference) -> Iterator[Value]:
    category = reference.categories.get(view.category)
    for name, answer in view.attributes.items():
        attribute = category.attributes.get(name) if category else None
        for one in answer if isinstance(answer, list) else [answer]:
            code = str(one) if attribute is not None and attribute.type in _LISTS else None
            yield {
                "label": attribute.name if attribute else name,
                "name": name,
                "value": attribute.values.get(code, code) if attribute and code is not None else str(one),
                "code": code,
            }


def notes(history: Sequence[HistoryEntry], reference: Reference) -> list[Value]:
    """The changes that everybody may see, oldest first."""
    return [
        {
            "datetime": _local(one.at, reference),
            "type": one.to_status.value,
            "description": masked(one.note) if one.note else None,
        }
        for one in history
    ]


def _local(time: datetime, reference: Reference) -> str:
    return w3c(time.astimezone(reference.zone))


def _notice(incident: Incident, reference: Reference) -> str | None:
    if incident.expected_at is None or incident.status.closed:
        return None
    return f"The city aims to deal with this by {incident.expected_at.astimezone(reference.zone).date().isoformat()}."
