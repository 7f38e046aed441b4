"""MQTT topics of traffic, both ways, and who may publish on which.

A sensor publishes single messages under its own name, an edge gateway frames and messages of the zones it serves. A
client's identity is the common name of its certificate:

    s-04211     the sensor
    gw-z-031    the edge gateway of zone z-031; gw-z-03 serves z-030 to z-039: all zones whose names begin so
    gateway     the platform's own, which reads everything and publishes nothing
"""

import re
from dataclasses import dataclass

from city_platform.traffic.registry import Registry

ENVIRONMENT = "local"
GATEWAY = "gateway"
_EDGE = "gw-"
_PART = r"[a-z0-9-]{1,32}"
_TOPIC = re.compile(
    rf"city/(?P<environment>{_PART})/traffic/(?P<zone>{_PART})/(?:(?P<sensor>s-{_PART})/telemetry|frame)"
)
_IDENTITY = re.compile(rf"s-{_PART}|{_EDGE}{_PART}|{GATEWAY}")


@dataclass(frozen=True, slots=True)
class Source:
    """What a topic says a message is of: a sensor's single message, or a frame of a zone where `sensor` is None."""

    environment: str
    zone: str
    sensor: str | None

    @property
    def topic(self) -> str:
        kind = "frame" if self.sensor is None else f"{self.sensor}/telemetry"
        return f"city/{self.environment}/traffic/{self.zone}/{kind}"


def parse_topic(topic: str) -> Source | None:
    """What the topic is of; None where it is none of traffic's."""
    found = _TOPIC.fullmatch(topic)
    return Source(found["environment"], found["zone"], found["sensor"]) if found else None


def is_identity(name: str) -> bool:
    """Whether a client may be called so."""
    return _IDENTITY.fullmatch(name) is not None


def subscriptions(environment: str) -> tuple[str, str]:
    """The filters of everything the platform's gateway reads."""
    return f"city/{environment}/traffic/+/frame", f"city/{environment}/traffic/+/+/telemetry"


def may_publish(identity: str, topic: str, environment: str) -> bool:
    """Whether the client of that identity may publish on the topic."""
    source = parse_topic(topic)
    if source is None or source.environment != environment:
        return False
    if identity.startswith(_EDGE):
        return source.zone.startswith(identity.removeprefix(_EDGE))
    return source.sensor is not None and source.sensor == identity


def edge_gateways(registry: Registry, most: int) -> list[str]:
    """Identities of edge gateways that serve all zones between them: at most so many, where that can be.

    One a zone where they may be that many; else those of ten zones, of a hundred, and so on.
    """
    names = list(registry.zones)
    while len(names) > max(most, 1) and len(names[0]) > 1:
        names = list(dict.fromkeys(name[:-1] for name in names))
    return [f"{_EDGE}{name}" for name in names]


def edge_identities(registry: Registry) -> dict[str, list[str]]:
    """The zones of every edge gateway there may be, by identity."""
    served: dict[str, list[str]] = {}
    for zone in registry.zones:
        for length in range(1, len(zone) + 1):
            served.setdefault(f"{_EDGE}{zone[:length]}", []).append(zone)
    return served
