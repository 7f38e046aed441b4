"""Topics both ways, and who may publish on which."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.traffic.registry import generate
from city_platform.traffic.topics import (
    Source,
    edge_gateways,
    edge_identities,
    is_identity,
    may_publish,
    parse_topic,
)

CITY = generate(seed=1, sensors=2_000, zones=200)
_names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=32)


@given(_names, _names, st.none() | _names.map("s-{}".format))
def test_a_topic_is_read_as_it_was_written(environment: str, zone: str, sensor: str | None) -> None:
    source = Source(environment, zone, sensor)
    assert parse_topic(source.topic) == (source if sensor is None or len(sensor) <= 34 else None)


@given(st.text(max_size=80) | st.from_regex(r"city/[^/]*/traffic/.*", fullmatch=True))
def test_no_text_is_two_things_or_an_error(topic: str) -> None:
    source = parse_topic(topic)
    assert source is None or source.topic == topic


@pytest.mark.parametrize(
    ("identity", "topic", "may"),
    [
        ("s-04211", "city/local/traffic/z-031/s-04211/telemetry", True),
        ("s-04211", "city/local/traffic/z-031/s-04212/telemetry", False),
        ("s-04211", "city/local/traffic/z-031/frame", False),
        ("s-04211", "city/other/traffic/z-031/s-04211/telemetry", False),
        ("s-04211", "city/local/traffic/z-031/s-04211/telemetry/more", False),
        ("gw-z-031", "city/local/traffic/z-031/frame", True),
        ("gw-z-031", "city/local/traffic/z-032/frame", False),
        ("gw-z-031", "city/local/traffic/z-031/s-04211/telemetry", True),
        ("gw-z-03", "city/local/traffic/z-039/frame", True),
        ("gw-z-03", "city/local/traffic/z-040/frame", False),
        ("gateway", "city/local/traffic/z-031/frame", False),
        ("gateway", "city/local/traffic/z-031/s-04211/telemetry", False),
    ],
)
def test_everybody_publishes_their_own(identity: str, topic: str, may: bool) -> None:
    assert is_identity(identity)
    assert may_publish(identity, topic, "local") is may


@pytest.mark.parametrize("name", ["", "root", "s-", "s-1/2", "s-+", "gw-", "gateways", "s-1\n", "S-1"])
def test_nobody_else_has_an_identity(name: str) -> None:
    assert not is_identity(name)


@pytest.mark.parametrize(("most", "count"), [(500, 200), (200, 200), (199, 20), (20, 20), (5, 2), (1, 1), (0, 1)])
def test_edge_gateways_serve_every_zone_once(most: int, count: int) -> None:
    gateways = edge_gateways(CITY, most)
    assert len(gateways) == count
    known = edge_identities(CITY)
    served = sorted(zone for gateway in gateways for zone in known[gateway])
    assert served == sorted(CITY.zones)
    for gateway in gateways:
        mine = {zone for zone in CITY.zones if may_publish(gateway, Source("local", zone, None).topic, "local")}
        assert mine == set(known[gateway])
