"""GeoReport v2 as its specification has it: what each answer holds, written down a second time to hold ours against.

Tables: wiki.open311.org/GeoReport_v2 and wiki.open311.org/Service_Discovery. XML turns into values by the Spark
convention, so that both formats can be compared.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree as ET

Check = Callable[[Any], bool]
_W3C = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_PLURALS = {
    "services": "service", "service_requests": "request", "attributes": "attribute", "values": "value",
    "endpoints": "endpoint", "formats": "format", "errors": "error", "notes": "note", "photos": "photo",
}  # fmt: skip


def text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def moment(value: Any) -> bool:
    return isinstance(value, str) and _W3C.fullmatch(value) is not None


def truth(value: Any) -> bool:
    return isinstance(value, bool)


def maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def one_of(*values: str) -> Check:
    return lambda value: value in values


def many(table: Mapping[str, Check]) -> Check:
    return lambda value: isinstance(value, list) and not any(violations(table, one) for one in value)


SERVICE: Mapping[str, Check] = {
    "service_code": text,
    "service_name": text,
    "description": text,
    "metadata": truth,
    "type": one_of("realtime", "batch", "blackbox"),
    "keywords": maybe(text),
    "group": maybe(text),
}
VALUE: Mapping[str, Check] = {"key": text, "name": text}
ATTRIBUTE: Mapping[str, Check] = {
    "variable": truth,
    "code": text,
    "datatype": one_of("string", "number", "datetime", "text", "singlevaluelist", "multivaluelist"),
    "required": truth,
    "datatype_description": maybe(text),
    "order": lambda value: number(value) and value > 0,
    "description": text,
}
REQUEST: Mapping[str, Check] = {
    "service_request_id": text,
    "status": one_of("open", "closed"),
    "status_notes": maybe(text),
    "service_name": text,
    "service_code": text,
    "description": maybe(text),
    "agency_responsible": maybe(text),
    "service_notice": maybe(text),
    "requested_datetime": moment,
    "updated_datetime": moment,
    "expected_datetime": maybe(moment),
    "address": maybe(text),
    "address_id": maybe(text),
    "zipcode": maybe(text),
    "lat": maybe(number),
    "long": maybe(number),
    "media_url": maybe(text),
}
ACCEPTED: Mapping[str, Check] = {"service_request_id": text, "service_notice": maybe(text), "account_id": maybe(text)}
TOKEN: Mapping[str, Check] = {"service_request_id": text, "token": text}
ERROR: Mapping[str, Check] = {"code": number, "description": text}
ENDPOINT: Mapping[str, Check] = {
    "specification": one_of("http://wiki.open311.org/GeoReport_v2"),
    "url": text,
    "changeset": text,
    "type": one_of("production", "test"),
    "formats": lambda value: "text/xml" in value,
}
DISCOVERY: Mapping[str, Check] = {
    "changeset": text,
    "contact": text,
    "key_service": text,
    "endpoints": many(ENDPOINT),
}


def violations(table: Mapping[str, Check], body: Any, *, extended: bool = False) -> list[str]:
    """Fields that are missing, unknown (but for extensions) or wrong."""
    if not isinstance(body, Mapping):
        return [f"no object: {body!r}"]
    found = [f"{name} is missing" for name in table if name not in body]
    if not extended:
        found += [f"{name} is not in the specification" for name in body if name not in table]
    return found + [
        f"{name}: {body[name]!r}" for name, check in table.items() if name in body and not check(body[name])
    ]


def definition_violations(body: Any) -> list[str]:
    """A service definition: its attributes have orders of their own, and exactly lists have values."""
    found = violations({"service_code": text, "attributes": lambda value: isinstance(value, list)}, body)
    orders = [one["order"] for one in body["attributes"]]
    if len(set(orders)) != len(orders):
        found.append(f"orders: {orders}")
    for attribute in body["attributes"]:
        listed = "list" in attribute["datatype"]
        table = ATTRIBUTE | {"values": many(VALUE)} if listed else ATTRIBUTE
        found += violations(table, attribute)
        if listed and not attribute["values"]:
            found.append(f"{attribute['code']} has no values")
    return found


def spark(document: bytes) -> Any:
    """XML as values; all of them texts, since XML does not tell."""
    return _value(ET.fromstring(document))  # noqa: S314 -- our own answer, or a file that lies beside


def _value(element: ET.Element) -> Any:
    if element.tag in _PLURALS:
        assert {child.tag for child in element} <= {_PLURALS[element.tag]}
        return [_value(child) for child in element] or None
    if len(element):
        return {child.tag: _value(child) for child in element}
    return element.text


def as_texts(value: Any) -> Any:
    """JSON as XML can tell it: numbers and truths as texts, nothing for what is empty."""
    if isinstance(value, Mapping):
        return {name: as_texts(one) for name, one in value.items()}
    if isinstance(value, list):
        return [as_texts(one) for one in value] or None
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return value or None
