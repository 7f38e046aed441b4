"""The event bus in Amazon EventBridge. Who receives what, archives and dead letters are the infrastructure's rules."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from city_platform.aws.client_errors import typed
from city_platform.ports import BusEvent, EventBusRefused, EventBusUnavailable

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

_AT_ONCE = 10  # entries of PutEvents
_BYTES_AT_ONCE = 256 * 1024  # of all its entries, as the API has long had it
_TIME_BYTES = 14  # what a time counts
_PASSING = {"ThrottlingException", "InternalFailure", "InternalException", "InternalError"}


def events_client(region: str | None = None, endpoint_url: str | None = None) -> "EventBridgeClient":
    """A client whose calls end: 2 s to connect, 5 s to answer, at most five attempts."""
    settings = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 5})
    return boto3.client("events", region_name=region, endpoint_url=endpoint_url, config=settings)


class EventBridgeBus:
    """An EventBus over one bus of EventBridge."""

    def __init__(self, name: str, connect: "Callable[[], EventBridgeClient]" = events_client) -> None:
        """`name` is a bus's name or ARN; `connect` is called once, at the first event."""
        self._name = name
        self._connect = connect

    def publish(self, events: Sequence[BusEvent]) -> Sequence[EventBusUnavailable | EventBusRefused | None]:
        answers: list[EventBusUnavailable | EventBusRefused | None] = [None] * len(events)
        group: list[int] = []
        held = 0
        for place, event in enumerate(events):
            size = _size(event)
            if size > _BYTES_AT_ONCE:
                answers[place] = EventBusRefused(f"event {event.id} has {size:,} bytes, more than {_BYTES_AT_ONCE:,}")
                continue
            if len(group) == _AT_ONCE or held + size > _BYTES_AT_ONCE:
                self._put(events, group, answers)
                group, held = [], 0
            group.append(place)
            held += size
        if group:
            self._put(events, group, answers)
        return answers

    def _put(
        self,
        events: Sequence[BusEvent],
        group: Sequence[int],
        answers: list[EventBusUnavailable | EventBusRefused | None],
    ) -> None:
        """One call; what it says of each event goes into `answers`."""
        try:
            with typed(f"the event bus {self._name}", EventBusUnavailable, EventBusRefused):
                entries: Any = [self._entry(events[place]) for place in group]
                said = self._client.put_events(Entries=entries)["Entries"]
        except (EventBusUnavailable, EventBusRefused) as error:
            for place in group:
                answers[place] = error
            return
        for place, one in zip(group, said, strict=True):
            code = one.get("ErrorCode")
            if code:
                kind = EventBusUnavailable if code in _PASSING else EventBusRefused
                answers[place] = kind(f"the event bus {self._name} did not take {events[place].id}: {code}")

    def _entry(self, event: BusEvent) -> dict[str, Any]:
        return {
            "EventBusName": self._name,
            "Source": event.source,
            "DetailType": event.detail_type,
            "Time": event.at,
            "Detail": event.detail,
        }

    @cached_property
    def _client(self) -> "EventBridgeClient":
        return self._connect()


def _size(event: BusEvent) -> int:
    """As PutEvents counts an entry: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html"""
    return _TIME_BYTES + sum(len(text.encode()) for text in (event.source, event.detail_type, event.detail))
