"""Incidents and history as plain items of text, whole numbers and decimals: what both stores keep.

Times are RFC 3339 in UTC with milliseconds, so that text order is time order; absent fields are absent.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from city_platform.incidents.model import (
    Channel,
    HistoryEntry,
    Incident,
    Media,
    Resolution,
    Severity,
    Status,
    Visibility,
)

Item = Mapping[str, Any]

_ENUMS: Mapping[str, type[Enum]] = {
    "severity": Severity,
    "status": Status,
    "resolution": Resolution,
    "channel": Channel,
    "visibility": Visibility,
    "from_status": Status,
    "to_status": Status,
}
_TIMES = {"reported_at", "updated_at", "occurred_at", "expected_at", "closed_at", "anonymise_after", "at"}
_NUMBERS = {"lat", "long"}


def rfc3339(time: datetime) -> str:
    """`2026-06-01T17:03:20.000Z`."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(time: datetime) -> datetime:
    """The time as it will be read back: in UTC, cut to the millisecond."""
    return time.astimezone(UTC).replace(microsecond=time.microsecond // 1000 * 1000)


def to_item(record: Incident | HistoryEntry) -> dict[str, Any]:
    """Reading the item back gives an equal record."""
    item: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if value is None:
            continue
        item[field.name] = _written(field.name, value)
    return item


def _written(name: str, value: Any) -> Any:  # noqa: PLR0911 -- one line a kind of value
    if name == "ttl":
        return int(value.timestamp())  # as DynamoDB's time to live wants it: whole seconds
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, float):
        return Decimal(repr(value))
    if name == "media":
        return [
            {"key": one.key, "content_type": one.content_type, "bytes": one.bytes, "moderated": one.moderated}
            for one in value
        ]
    if name == "attributes":
        return {code: _attribute(answer) for code, answer in value.items()}
    return value


def _attribute(answer: Any) -> Any:
    if isinstance(answer, tuple):
        return list(answer)
    return Decimal(repr(answer)) if isinstance(answer, float) else answer


def incident(item: Item) -> Incident:
    """The incident of an item; unknown fields of a later schema version are left out."""
    return Incident(**_read(item, _INCIDENT))


def history_entry(item: Item) -> HistoryEntry:
    return HistoryEntry(**_read(item, _HISTORY))


def _read(item: Item, readers: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    return {name: readers[name](value) for name, value in item.items() if name in readers}


def _answer(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def _same(value: Any) -> Any:
    return value


def _media(value: Any) -> tuple[Media, ...]:
    return tuple(Media(one["key"], one["content_type"], int(one["bytes"]), one["moderated"]) for one in value)


def _readers(record: type[Incident] | type[HistoryEntry]) -> Mapping[str, Callable[[Any], Any]]:
    special: dict[str, Callable[[Any], Any]] = {
        **_ENUMS,
        **dict.fromkeys(_TIMES, datetime.fromisoformat),
        **dict.fromkeys(_NUMBERS, float),
        **dict.fromkeys(("version", "schema_version", "supporters", "still_there"), int),
        "ttl": lambda value: datetime.fromtimestamp(int(value), UTC),
        "media": _media,
        "attributes": lambda value: {code: _answer(one) for code, one in value.items()},
    }
    return {field.name: special.get(field.name, _same) for field in fields(record)}


_INCIDENT = _readers(Incident)
_HISTORY = _readers(HistoryEntry)
