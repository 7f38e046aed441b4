"""What somebody sends to report an incident: read, checked against the reference, every fault named at once."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
)
from pydantic import ValidationError as PydanticError
from pydantic_core import ErrorDetails

from city_platform.errors import PermanentError
from city_platform.incidents.model import UNLOCATED, AttributeValue, Channel, Severity, Visibility
from city_platform.incidents.reference import Attribute, AttributeType, Reference
from city_platform.incidents.roles import Actor
from city_platform.incidents.text import plain, prose, without_contact, without_html

CLOCK_SKEW = timedelta(minutes=5)  # how far ahead of ours a reporter's clock may be
OLDEST = timedelta(days=36_500)  # what happened longer ago is a slip of the pen
_TEXT_LIMIT = 500  # characters of one attribute's value
_LONG_TEXT_LIMIT = 4000
_PHONE_DIGITS = 7


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field: its path (`contact.email`), a stable code, and what to do."""

    field: str
    code: str
    message: str


class InvalidRequest(PermanentError):
    """The request cannot be taken; `faults` names everything that is wrong with it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.field}: {fault.message}" for fault in faults))


def _text_of_a_time(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("write a time as RFC 3339 with its offset, such as 2026-06-01T10:03:20-07:00")  # noqa: TRY004
    return value


def _email(value: str) -> str:
    if not re.fullmatch(r"[^@\s]{1,64}@[^@\s]+\.[^@\s]+", value):
        raise ValueError("this is no e-mail address")
    return plain(value)


def _phone(value: str) -> str:
    if not re.fullmatch(r"[+]?[0-9 ().\-]{7,25}", value) or len(re.findall(r"[0-9]", value)) < _PHONE_DIGITS:
        raise ValueError("write a phone number with 7 or more digits, such as 604 555 0100")
    return value


def _postal(value: str) -> str:
    if not re.fullmatch(r"[A-Z][0-9][A-Z] ?[0-9][A-Z][0-9]", value):
        raise ValueError("write a postal code like V5Y 1V4")
    return value


def _degrees(value: float) -> float:
    return round(value, 7)  # a centimetre


Title = Annotated[
    str,
    Field(strict=True, min_length=3, max_length=120),
    StringConstraints(strip_whitespace=True),
    AfterValidator(plain),
    AfterValidator(without_html),
    AfterValidator(without_contact),
]
Prose = Annotated[str, Field(strict=True, max_length=4000), AfterValidator(prose)]
Line = Annotated[
    str,
    Field(strict=True, min_length=1, max_length=200),
    StringConstraints(strip_whitespace=True),
    AfterValidator(plain),
    AfterValidator(without_html),
]
Code = Annotated[str, Field(strict=True, min_length=1, max_length=50)]
Identifier = Annotated[str, Field(strict=True, max_length=50, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")]
Moment = Annotated[AwareDatetime, BeforeValidator(_text_of_a_time)]
Latitude = Annotated[float, Field(strict=True, ge=-90, le=90, allow_inf_nan=False), AfterValidator(_degrees)]
Longitude = Annotated[float, Field(strict=True, ge=-180, le=180, allow_inf_nan=False), AfterValidator(_degrees)]


class ContactDetails(BaseModel):
    """How to reach the reporter; kept apart, encrypted, and never published."""

    model_config = ConfigDict(extra="forbid")

    email: Annotated[str, Field(strict=True, max_length=254), AfterValidator(_email)] | None = None
    phone: Annotated[str, Field(strict=True, max_length=25), AfterValidator(_phone)] | None = None
    name: Line | None = None


class ReportRequest(BaseModel):
    """A report. A place is needed: `lat` and `long`, `address` or `address_id` (with `district`, where known)."""

    model_config = ConfigDict(extra="forbid")

    title: Title
    category: Code
    description: Prose = ""
    severity: Severity = Severity.MEDIUM
    lat: Latitude | None = None
    long: Longitude | None = None
    address: Line | None = None
    address_id: Identifier | None = None
    postal_code: Annotated[str, Field(strict=True), AfterValidator(_postal)] | None = None
    region: Code | None = None
    district: Code | None = None
    occurred_at: Moment | None = None
    contact: ContactDetails | None = None
    anonymous: Annotated[bool, Field(strict=True)] = False
    attributes: Annotated[dict[Code, Any], Field(max_length=50)] = {}
    visibility: Visibility = Visibility.PUBLIC
    channel: Channel = Channel.WEB


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report that can be taken: everything checked, and its place found."""

    request: ReportRequest
    region: str
    district: str
    attributes: Mapping[str, AttributeValue]


def read_report(payload: object, reference: Reference, actor: Actor, now: datetime) -> Report:
    """Reads a JSON object; raises InvalidRequest with every fault of every field."""
    values, faults = read_fields(ReportRequest, payload)
    region, district = locate(values, faults, reference)
    attributes: Mapping[str, AttributeValue] = {}
    category = reference.categories.get(str(values.get("category")))
    if category is None and "category" in values:
        faults.append(Fault("category", "unknown", f"choose one of: {', '.join(reference.categories)}"))
    if category is not None and "attributes" in values:
        attributes = read_attributes(values["attributes"], category.attributes, faults)
    occurred = values.get("occurred_at")
    if occurred is not None and occurred > now + CLOCK_SKEW:
        faults.append(Fault("occurred_at", "future", "this time has not come yet"))
    if occurred is not None and occurred < now - OLDEST:
        faults.append(Fault("occurred_at", "past", "this is more than a hundred years ago"))
    if values.get("visibility") is Visibility.HIDDEN:
        faults.append(Fault("visibility", "not_allowed", "a report is public or private; only a manager hides one"))
    channel = values.get("channel")
    if channel is not None and not actor.may_report_by(channel):
        faults.append(Fault("channel", "not_allowed", f"your roles do not report by {channel}: leave channel out"))
    if faults:
        raise InvalidRequest(faults)
    return Report(
        request=ReportRequest.model_construct(**values), region=region, district=district, attributes=attributes
    )


def read_fields(model: type[BaseModel], payload: object) -> tuple[dict[str, Any], list[Fault]]:
    """Each field that is right, by its name, with the defaults of those that are absent; and what is wrong.

    Raises InvalidRequest for anything that has no fields.
    """
    if not isinstance(payload, Mapping):
        raise InvalidRequest([Fault("", "type", "send one JSON object")])
    faults = [
        Fault(str(name)[:50], "unknown_field", f"there is no such field; there are: {', '.join(model.model_fields)}")
        for name in payload
        if name not in model.model_fields
    ]
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if name not in payload:
            if field.is_required():
                faults.append(Fault(name, "required", "this is needed"))
            else:
                values[name] = field.get_default(call_default_factory=True)
            continue
        try:
            values[name] = _reader(model, name).validate_python(payload[name])
        except PydanticError as error:
            faults.extend(
                Fault(".".join((name, *map(str, one["loc"]))), one["type"], _said(one)) for one in error.errors()
            )
    return values, faults


@cache
def _reader(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    field = model.model_fields[name]
    kind: Any = field.annotation
    return TypeAdapter(Annotated[(kind, *field.metadata)] if field.metadata else kind)


def _said(error: ErrorDetails) -> str:
    """What to do, for people; pydantic tells programmers what is the case."""
    wanted = _WORDS.get(error["type"])
    if wanted is None:
        return error["msg"].removeprefix("Value error, ")
    return wanted.format(**error.get("ctx", {}))


_WORDS: Mapping[str, str] = {
    "string_too_short": "write {min_length} or more characters",
    "string_too_long": "write at most {max_length} characters",
    "string_type": "give a text",
    "bool_type": "give true or false",
    "int_type": "give a whole number",
    "float_type": "give a number",
    "finite_number": "give a number",
    "greater_than_equal": "give {ge} or more",
    "less_than_equal": "give {le} or less",
    "enum": "choose one of: {expected}",
    "extra_forbidden": "there is no such field",
    "model_type": "give an object with fields",
    "dict_type": "give an object with fields",
    "list_type": "give a list",
    "too_short": "give at least {min_length}",
    "too_long": "give at most {max_length}",
    "timezone_aware": "write the time with its offset, such as 2026-06-01T10:03:20-07:00",
    "datetime_from_date_parsing": "write a time as RFC 3339, such as 2026-06-01T10:03:20-07:00",
    "datetime_parsing": "write a time as RFC 3339, such as 2026-06-01T10:03:20-07:00",
}


def locate(values: Mapping[str, Any], faults: list[Fault], reference: Reference) -> tuple[str, str]:
    """Region and district: from the coordinates where there are any, else as the reporter says."""
    wrong = {fault.field for fault in faults}
    lat, long, said, region = (values.get(name) for name in ("lat", "long", "district", "region"))
    if said is not None and said not in reference.districts:
        faults.append(Fault("district", "unknown", f"choose one of: {', '.join(reference.districts)}"))
        said = None
    if region is not None and region not in reference.regions:
        faults.append(Fault("region", "unknown", f"choose one of: {', '.join(reference.regions)}"))
        region = None
    found = said
    if {"lat", "long"} & wrong:
        pass  # said already
    elif (lat is None) != (long is None):
        faults.append(Fault("lat" if lat is None else "long", "required", "lat and long come together"))
    elif lat is not None and long is not None:
        found = reference.district_at(lat, long)
        if found is None:
            faults.append(Fault("lat", "outside", f"this place is outside {reference.city.name}"))
        elif said is not None and said != found:
            faults.append(Fault("district", "inconsistent", f"the coordinates are in {found}: leave district out"))
    elif all(values.get(name) is None and name not in wrong for name in ("address", "address_id")):
        faults.append(Fault("lat", "required", "say where it is: lat and long, or an address"))
    if found is None:
        return region or UNLOCATED, UNLOCATED
    belongs = reference.districts[found].region
    if region is not None and region != belongs:
        faults.append(Fault("region", "inconsistent", f"{found} is in the region {belongs}: leave region out"))
    return belongs, found


def read_attributes(
    given: Mapping[str, Any], definition: Mapping[str, Attribute], faults: list[Fault]
) -> Mapping[str, AttributeValue]:
    """The answers to a category's questions, each as its type; adds to `faults` what does not fit."""
    answers: dict[str, AttributeValue] = {}
    for code in given:
        if code not in definition:
            known = ", ".join(definition) or "none"
            faults.append(Fault(f"attributes.{code}", "unknown_field", f"this category asks for: {known}"))
    for code, attribute in definition.items():
        value = given.get(code)
        if value is None or value == "":
            if attribute.required:
                faults.append(Fault(f"attributes.{code}", "required", f"this category asks: {attribute.name}"))
            continue
        try:
            answers[code] = _answer(value, attribute)
        except ValueError as error:
            faults.append(Fault(f"attributes.{code}", "type", str(error)))
    return answers


def _answer(value: object, attribute: Attribute) -> AttributeValue:
    match attribute.type:
        case AttributeType.NUMBER:
            return _number(value)
        case AttributeType.SINGLEVALUELIST:
            return _choice(value, attribute)
        case AttributeType.MULTIVALUELIST:
            if not isinstance(value, list | tuple) or not value or len(value) > len(attribute.values):
                raise ValueError(f"give a list of one or more of: {', '.join(attribute.values)}")
            return tuple(dict.fromkeys(_choice(one, attribute) for one in value))
        case AttributeType.DATETIME:
            try:
                return _moment().validate_python(value).isoformat()
            except PydanticError as error:
                raise ValueError(_said(error.errors()[0])) from error
        case AttributeType.STRING | AttributeType.TEXT:
            limit = _TEXT_LIMIT if attribute.type is AttributeType.STRING else _LONG_TEXT_LIMIT
            if not isinstance(value, str) or len(value) > limit:
                raise ValueError(f"give a text of at most {limit} characters")
            return prose(value) if attribute.type is AttributeType.TEXT else without_html(plain(value))


@cache
def _moment() -> TypeAdapter[datetime]:
    return TypeAdapter(Moment)


def _number(value: object) -> int | float:
    # Forms and Open311 send numbers as text.
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        number = None
    if number is None or not abs(number) < 1e15:  # noqa: PLR2004 -- beyond, a float has no decimals left
        raise ValueError("give a number")
    return int(number) if number.is_integer() else number


def _choice(value: object, attribute: Attribute) -> str:
    if not isinstance(value, str) or value not in attribute.values:
        raise ValueError(f"choose from: {', '.join(attribute.values)}")
    return value
