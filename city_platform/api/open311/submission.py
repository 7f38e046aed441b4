"""A request as an application sends it, a form, turned into a report."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from city_platform.api.open311.errors import BAD, NOT_FOUND, Mistake, Refused
from city_platform.incidents.reference import AttributeType, Category, Reference
from city_platform.incidents.text import plain

_FIELDS_LIMIT = 200
_ATTRIBUTE = re.compile(r"attribute\[([^\[\]]{1,100})\](\[\])?")
_DEGREES = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{1,20})?")
_URL_LIMIT = 2000
_ONCE = (
    "jurisdiction_id", "service_code", "lat", "long", "address_string", "address_id", "email", "device_id",
    "account_id", "first_name", "last_name", "phone", "description", "media_url", "api_key",
)  # fmt: skip

Fields = Sequence[tuple[str, str]]


def read_form(body: bytes, content_type: str) -> Fields:
    """The form's fields that have a value; an empty one is as good as none. Raises Refused."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind and kind != "application/x-www-form-urlencoded":
        raise Refused(Mistake(BAD, "send the request as application/x-www-form-urlencoded"))
    try:
        text = body.decode("utf-8")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_LIMIT)
    except ValueError as error:
        raise Refused(Mistake(BAD, f"send a form in UTF-8 with at most {_FIELDS_LIMIT} fields")) from error
    return filled(pairs)


def filled(pairs: Fields) -> Fields:
    """Parameters without the empty ones, which count as absent."""
    return [(name, value.strip()) for name, value in pairs if value.strip()]


def single(fields: Fields) -> Mapping[str, str]:
    """The fields that may come once, by name. Raises Refused for those that come with several values."""
    found: dict[str, str] = {}
    several = set()
    for name, value in fields:
        if name in _ONCE and found.setdefault(name, value) != value:
            several.add(name)
    if several:
        raise Refused(*(Mistake(BAD, f"{name} is given more than once") for name in sorted(several)))
    return found


def report_of(fields: Fields, reference: Reference) -> tuple[dict[str, Any], str | None]:
    """The report that the form makes, still to be checked, and where a picture of it is. Raises Refused."""
    given = single(fields)
    mistakes = [*jurisdiction_mistakes(given.get("jurisdiction_id"), reference)]
    code = given.get("service_code")
    category = reference.categories.get(code) if code else None
    if code is None:
        mistakes.append(Mistake(BAD, "service_code was not provided"))
    elif category is None:
        mistakes.append(Mistake(NOT_FOUND, f"service_code was not found: {code[:50]}"))
    picture = given.get("media_url")
    if picture is not None and not _is_url(picture):
        mistakes.append(Mistake(BAD, f"media_url: give an http or https address of at most {_URL_LIMIT} characters"))
    if mistakes or category is None:
        raise Refused(*mistakes)
    contact = {
        "email": given.get("email"),
        "phone": given.get("phone"),
        "name": " ".join(given[name] for name in ("first_name", "last_name") if name in given) or None,
    }
    report = {
        # Everybody reads a title, even of a sensitive service: it must not come from the reporter's text.
        "title": category.name,
        "category": code,
        "description": given.get("description"),
        "lat": _degrees(given.get("lat")),
        "long": _degrees(given.get("long")),
        "address": given.get("address_string"),
        "address_id": given.get("address_id"),
        "contact": {name: value for name, value in contact.items() if value} or None,
        "attributes": _attributes(fields, category),
        "channel": "open311",
    }
    return {name: value for name, value in report.items() if value is not None}, picture


def jurisdiction_mistakes(given: str | None, reference: Reference) -> Sequence[Mistake]:
    """Whoever names a jurisdiction has to name this one; nobody has to name any."""
    own = reference.city.jurisdiction_id
    if given is None or own is None or given.casefold() == own.casefold():
        return ()
    return (Mistake(NOT_FOUND, f"jurisdiction_id was not found: this is {own}"),)


def _attributes(fields: Fields, category: Category) -> dict[str, Any]:
    answers: dict[str, list[str]] = {}
    for name, value in fields:
        parts = _ATTRIBUTE.fullmatch(name)
        if parts:
            answers.setdefault(parts[1], []).append(value)
    return {code: _answer(values, category, code) for code, values in answers.items()}


def _answer(values: list[str], category: Category, code: str) -> Any:
    attribute = category.attributes.get(code)
    several = attribute is not None and attribute.type is AttributeType.MULTIVALUELIST
    return values if several or len(values) > 1 else values[0]


def _degrees(text: str | None) -> float | str | None:
    # What is no number stays text, so that the report's own check names it.
    return float(text) if text is not None and _DEGREES.fullmatch(text) else text


def _is_url(text: str) -> bool:
    try:
        plain(text)
    except ValueError:
        return False
    return len(text) <= _URL_LIMIT and re.match(r"https?://[^\s/]+", text) is not None
