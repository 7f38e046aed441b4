"""Tells people what EventBridge says of traffic. Unlike the other functions of traffic it reads a table of routes, and
speaks to Slack: its bundle has pydantic, PyYAML and httpx2, too.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from city_platform.deployment.alerts import open_router
from city_platform.errors import CityPlatformError, PermanentError, TransientError
from city_platform.events import InvalidEvent
from city_platform.functions import home
from city_platform.local.clock import SystemClock
from city_platform.ports import BusEvent
from city_platform.traffic.routing import Router


class AlertsRefused(PermanentError):
    """Some channels will not take an alert; their settings are wrong, and the event goes to the dead letters."""


class AlertsUnavailable(TransientError):
    """Some channels did not take an alert: the same event again, the others will not hear it twice."""


def handler(event: Mapping[str, Any], context: object) -> Mapping[str, str]:  # noqa: ARG001 Lambda gives it
    """What became of the event on each channel. Each is tried, whatever the others say. Raises InvalidEvent."""
    told = bus_event(event)
    alerts, done = router(), {}
    failed: list[CityPlatformError] = []
    for channel in alerts.routes.channels:
        try:
            done[channel.value] = alerts.deliver(told, channel).value
        except InvalidEvent:
            raise
        except CityPlatformError as error:
            failed.append(error)
    if failed:
        passing = any(isinstance(error, TransientError) for error in failed)
        kind = AlertsUnavailable if passing else AlertsRefused
        raise kind("; ".join(map(str, failed))) from failed[0]
    return done


def bus_event(event: Mapping[str, Any]) -> BusEvent:
    """An event as EventBridge hands it to its targets. Raises InvalidEvent."""
    try:
        detail = event["detail"]
        at = datetime.fromisoformat(event["time"])
        return BusEvent(detail["alert_id"], event["source"], event["detail-type"], at, json.dumps(detail))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidEvent(f"this is no event of traffic as EventBridge gives it: {type(error).__name__}") from error


@cache
def router() -> Router:
    return open_router(home(), SystemClock())
