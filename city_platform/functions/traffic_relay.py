"""Takes what waits in the outbox of traffic to EventBridge, called by the table's stream or by a schedule."""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from city_platform.aws.event_bus import EventBridgeBus
from city_platform.aws.settings import EVENT_BUS, TRAFFIC_TABLE, IncompleteSettings
from city_platform.aws.traffic_state import DynamoTrafficState
from city_platform.ports import EventBus, EventBusUnavailable
from city_platform.traffic.relay import relay
from city_platform.traffic.state import TrafficState


def handler(event: object, context: object) -> Mapping[str, Any]:  # noqa: ARG001 Lambda gives both
    """How many events were told. What the event says does not matter: the outbox says what waits.

    Of the table's stream no record fails by itself: what waits is the outbox's, not the batch's.
    Raises EventBusUnavailable where some still wait, so that whoever called tries again.
    """
    told = relay(*parts())
    if told.waiting:
        raise EventBusUnavailable(f"{told.published} events were told, and others wait: the bus is busy")
    return {"published": told.published, "batchItemFailures": []}


@cache
def parts() -> tuple[TrafficState, EventBus]:
    """This process's outbox and bus. Raises IncompleteSettings."""
    needed = {TRAFFIC_TABLE: "the DynamoDB table of the traffic state", EVENT_BUS: "the name of the bus in EventBridge"}
    missing = [f"{name} ({what})" for name, what in needed.items() if not os.environ.get(name)]
    if missing:
        raise IncompleteSettings(f"the relay of traffic's events needs in its environment: {', '.join(missing)}")
    return DynamoTrafficState(os.environ[TRAFFIC_TABLE]), EventBridgeBus(os.environ[EVENT_BUS])
