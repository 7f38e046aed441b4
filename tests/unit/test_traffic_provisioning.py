"""Who may become a sensor of the city."""

from collections.abc import Iterator

import pytest

from city_platform.aws.settings import IncompleteSettings
from city_platform.functions.traffic_provisioning import handler, registry
from city_platform.traffic.registry import generate


@pytest.fixture(autouse=True)
def town(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_REGISTRY", "7:12:3")
    registry.cache_clear()
    yield
    registry.cache_clear()


def test_a_sensor_of_the_registry_gets_the_zone_it_stands_in_whatever_it_says() -> None:
    town = generate(7, 12, 3)
    for sensor, name in ((0, "s-00000"), (11, "s-00011")):
        zone = town.zones[town.zone[sensor]]
        said = {"SensorId": name, "Zone": "z-elsewhere"}
        answer = handler({"parameters": said, "clientId": "claim"}, None)
        assert answer == {"allowProvisioning": True, "parameterOverrides": {"Zone": zone}}


@pytest.mark.parametrize(
    "event",
    [
        {"parameters": {"SensorId": "s-00012"}},
        {"parameters": {"SensorId": "gw-z-001"}},
        {"parameters": {"SensorId": 3}},
        {"parameters": {"SensorId": ["s-00000"]}},
        {"parameters": {}},
        {"parameters": None},
        {},
    ],
)
def test_anybody_else_is_refused(event: dict[str, object]) -> None:
    assert handler(event, None) == {"allowProvisioning": False}


def test_a_registry_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_REGISTRY", "1:5:9")
    with pytest.raises(IncompleteSettings, match="9 zones need as many sensors"):
        handler({"parameters": {"SensorId": "s-00000"}}, None)
