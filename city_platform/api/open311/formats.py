"""One answer in two formats: XML, which GeoReport requires, and JSON by the Spark convention, equal in content.

A list is an element in the plural that holds elements in the singular; what is absent is null, and an empty element.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from xml.sax.saxutils import escape

from starlette.responses import Response

from city_platform.api.problems import json_bytes

_ITEMS = {
    "services": "service",
    "service_requests": "request",
    "attributes": "attribute",
    "values": "value",
    "notes": "note",
    "photos": "photo",
    "endpoints": "endpoint",
    "formats": "format",
    "errors": "error",
}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2

Value = str | int | float | bool | None | Sequence["Value"] | Mapping[str, "Value"]


class Format(StrEnum):
    XML = "xml"
    JSON = "json"

    @property
    def media_type(self) -> str:
        return "text/xml" if self is Format.XML else "application/json"


@dataclass(frozen=True, slots=True)
class Document:
    """The root element's name, which JSON does not show, and what is in it."""

    root: str
    body: Value


def response(
    document: Document, shown_as: Format, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """The document with its content type and character set."""
    text = to_xml(document) if shown_as is Format.XML else to_json(document)
    content_type = f"{shown_as.media_type}; charset=utf-8"
    return Response(text, status, {**(headers or {}), "content-type": content_type})


def to_json(document: Document) -> bytes:
    return json_bytes(document.body)


def to_xml(document: Document) -> bytes:
    return ('<?xml version="1.0" encoding="utf-8"?>\n' + "".join(_element(document.root, document.body))).encode()


def _element(name: str, value: Value) -> Iterator[str]:
    if value is None or value == "":
        yield f"<{name}/>"
        return
    yield f"<{name}>"
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _element(key, one)
    elif isinstance(value, str):
        # A parser turns a bare carriage return into a line feed.
        yield escape(_NOT_XML.sub("\ufffd", value), {"\r": "&#13;"})
    elif isinstance(value, Sequence):
        for one in value:
            yield from _element(_ITEMS[name], one)
    else:
        yield json.dumps(value)  # true, false and numbers are written the same in both
    yield f"</{name}>"
