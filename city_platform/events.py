"""What all events of the platform have, whoever tells them: a version, a source, and an id that stays the same.

The detail of an event is a type; its name is the event's type on the bus, its JSON Schema lies beside `event_types`.
Nothing in an event is personal.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Literal, TypeVar

import msgspec

from city_platform.errors import PermanentError
from city_platform.ports import BusEvent, EventBus

AlertId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$", description="The same for the same thing told again.")]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Amount = Annotated[int, msgspec.Meta(ge=0)]


class InvalidEvent(PermanentError):
    """An event is not what its schema says; its sender and this are of different versions, or it is somebody else's."""


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """What all details have. Receivers tell a repetition by `alert_id`."""

    SOURCE: ClassVar[str]

    schema: Literal[1]
    alert_id: AlertId


_D = TypeVar("_D", bound=Detail)


def event_id(*about: str) -> str:
    """16 hexadecimal digits: the same for the same thing."""
    return hashlib.sha256("|".join(about).encode()).hexdigest()[:16]


def publish(bus: EventBus, detail: Detail, at: datetime) -> None:
    """Hands one event to the bus, which has it for good when this returns. `at` is when it happened.

    Raises EventBusUnavailable and EventBusRefused: it may be on the bus all the same, and is to be told again.
    """
    kind, said = type(detail), msgspec.json.encode(detail).decode()
    (answer,) = bus.publish([BusEvent(detail.alert_id, kind.SOURCE, kind.__name__, at, said)])
    if answer is not None:
        raise answer


def read(event: BusEvent, types: Mapping[str, type[_D]]) -> _D:
    """The detail of an event from the bus, held to the schema of one of these types. Raises InvalidEvent."""
    kind = types.get(event.detail_type)
    if kind is None or event.source != kind.SOURCE:
        raise InvalidEvent(f"{event.source}/{event.detail_type} is none of these events: {', '.join(types)}")
    try:
        return msgspec.json.decode(event.detail, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidEvent(f"{event.detail_type} {event.id} is not as its schema says: {error}") from error
