"""Who carries events, as the deployment has it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from city_platform.aws.settings import EVENT_BUS
from city_platform.deployment import deployment
from city_platform.ports import Clock, EventBus

if TYPE_CHECKING:
    from city_platform.local.event_bus import SqliteEventBus


def open_event_log(home: Path, clock: Clock) -> "SqliteEventBus":
    """The event bus of this machine, which keeps what it carried."""
    from city_platform.local.event_bus import SqliteEventBus

    return SqliteEventBus(home / "traffic" / "events.sqlite", clock)


def open_event_bus(home: Path, clock: Clock, environ: Mapping[str, str] = os.environ) -> EventBus:
    """A log below `home`, or the bus that the environment names. Raises IncompleteSettings."""
    if deployment(environ) == "local":
        return open_event_log(home, clock)
    from city_platform.aws.event_bus import EventBridgeBus, events_client
    from city_platform.aws.settings import AwsSettings, IncompleteSettings

    settings = AwsSettings.of(environ)
    if not environ.get(EVENT_BUS):
        raise IncompleteSettings(
            f"a deployment on AWS needs in its environment: {EVENT_BUS} (the name of the bus in EventBridge)"
        )
    return EventBridgeBus(environ[EVENT_BUS], lambda: events_client(settings.region, settings.endpoint))
