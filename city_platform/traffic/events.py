"""What is told of traffic: the details of its events, version 1, and how each is called.

Nothing in an event is personal: zones, sensors, and what was measured.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec

from city_platform import events
from city_platform.events import Amount, InvalidEvent, Moment, event_id
from city_platform.ports import BusEvent
from city_platform.traffic.congestion import Level, Service
from city_platform.traffic.health import Health
from city_platform.traffic.state import Event

SOURCE = "city.traffic"

ZoneId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Direction: TypeAlias = Literal["up", "down"]  # up is worse


class Trace(msgspec.Struct, frozen=True):
    """Where to look for the readings behind an event: the stream's shards, and the highest sequence number."""

    shards: list[str]
    last_seq: Annotated[int, msgspec.Meta(ge=-1)]


class Links(msgspec.Struct, frozen=True):
    dashboard: str


class KnownIncident(msgspec.Struct, frozen=True):
    """An incident that explains what is told, and until when it does."""

    incident_id: Annotated[str, msgspec.Meta(min_length=26, max_length=26)]
    public_ref: str
    category: str
    until: Moment


class Detail(events.Detail, frozen=True, kw_only=True):
    """What all details of traffic have. The minute from `window_start` to `window_end` is what brought the change.

    `known` are the incidents that explain it. `withheld`: people are not told, because of these or, of the end of
    something, because they were not told that it began.
    """

    SOURCE: ClassVar[str] = SOURCE

    direction: Direction
    window_start: Moment
    window_end: Moment
    detected_at: Moment
    links: Links
    known: tuple[KnownIncident, ...] = ()
    withheld: bool = False


class CongestionLevelChanged(Detail, frozen=True, kw_only=True):
    """A zone's level changed. `index` 0..100, `tti` travel time over that at free flow, `los` the level of service."""

    zone_id: ZoneId
    from_: Level = msgspec.field(name="from")
    to: Level
    index: Annotated[float, msgspec.Meta(ge=0, le=100)]
    tti: Annotated[float, msgspec.Meta(ge=0)]
    los: Service
    vehicles: Amount
    coverage: Share
    trace: Trace


class SensorHealthChanged(Detail, frozen=True, kw_only=True):
    """A sensor fails, fails otherwise, or is well again, then with how long it was not."""

    zone_id: ZoneId
    sensor_id: Annotated[str, msgspec.Meta(pattern="^s-[0-9]{5,7}$")]
    from_: Health = msgspec.field(name="from")
    to: Health
    last_heard: Moment
    duration_s: Amount | None


class ZoneCoverageLost(Detail, frozen=True, kw_only=True):
    """Half of a zone's sensors or more are silent; or (`down`) no longer, with how long they were."""

    zone_id: ZoneId
    silent: Amount
    active: Amount
    duration_s: Amount | None


class PlatformIngestDegraded(Detail, frozen=True, kw_only=True):
    """So much of the city, or of a shard of the stream, is silent that it is not the sensors; or (`down`) no longer.

    `duration_s` is how long it was.
    """

    silent: Amount
    active: Amount
    late_shards: list[str]
    duration_s: Amount | None


Told: TypeAlias = CongestionLevelChanged | SensorHealthChanged | ZoneCoverageLost | PlatformIngestDegraded
TYPES: Mapping[str, type[Told]] = {
    kind.__name__: kind
    for kind in (CongestionLevelChanged, SensorHealthChanged, ZoneCoverageLost, PlatformIngestDegraded)
}


class _Envelope(msgspec.Struct, frozen=True):
    """An event as the outbox has it."""

    source: str
    detail_type: str
    detail: msgspec.Raw


def alert_id(about: str, what: str, window_start_ms: int) -> str:
    """16 hexadecimal digits: the same for the same zone (or sensor), level (or state) and minute."""
    return event_id(about, what, str(window_start_ms))


def moment(epoch_ms: int) -> datetime:
    """Aware, in UTC."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def outbox_event(detail: Told) -> Event:
    """What goes into the outbox beside the change it tells of."""
    envelope = _Envelope(SOURCE, type(detail).__name__, msgspec.Raw(msgspec.json.encode(detail)))
    return Event(detail.alert_id, round(detail.window_end.timestamp() * 1000), msgspec.json.encode(envelope))


def bus_event(event: Event) -> BusEvent:
    """An event of the outbox as the bus takes it. Raises InvalidEvent."""
    try:
        envelope = msgspec.json.decode(event.body, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidEvent(f"event {event.id} of the outbox is not one: {error}") from error
    detail = bytes(envelope.detail).decode()
    return BusEvent(event.id, envelope.source, envelope.detail_type, moment(event.at_ms), detail)


def read(event: BusEvent) -> Told:
    """The detail of an event from the bus, held to its schema. Raises InvalidEvent."""
    return events.read(event, TYPES)
