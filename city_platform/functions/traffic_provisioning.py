"""The Lambda function that AWS IoT asks before it gives a new sensor its identity: a pre-provisioning hook.

A claim certificate is shared by every sensor of a delivery, so it proves little. What a sensor may become is the
registry's to say: a sensor of the city, in the zone where it stands, whatever else it says of itself.
"""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from city_platform.aws.settings import IncompleteSettings
from city_platform.traffic.registry import Registry, registry_of

SENSOR_ID, ZONE = "SensorId", "Zone"  # the provisioning template's parameters; the second is set here


def handler(event: Mapping[str, Any], context: object) -> Mapping[str, Any]:  # noqa: ARG001 Lambda gives it
    """Whether the sensor may be provisioned, and in which zone.

    Source: Fleet provisioning, pre-provisioning hooks, AWS IoT Core Developer Guide.
    """
    said = event.get("parameters")
    name = said.get(SENSOR_ID) if isinstance(said, Mapping) else None
    city = registry()
    sensor = city.sensor_index.get(name) if isinstance(name, str) else None
    if sensor is None:
        return {"allowProvisioning": False}
    return {"allowProvisioning": True, "parameterOverrides": {ZONE: city.zones[city.zone[sensor]]}}


@cache
def registry() -> Registry:
    """The city's sensors. Raises IncompleteSettings."""
    try:
        return registry_of(os.environ)
    except ValueError as error:
        raise IncompleteSettings(f"the provisioning of sensors needs in its environment: {error}") from error
