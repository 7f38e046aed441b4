"""What may be reported, field by field; every fault of a report is named at once."""

import contextlib
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.incidents.model import UNLOCATED
from city_platform.incidents.report import InvalidRequest, read_report
from city_platform.incidents.roles import ANONYMOUS, Actor
from city_platform.incidents.text import masked
from tests.incidents import ADMIN, CITIZEN, NOW, OFFICER, STEWARD, reference, report


def faults(body: object, actor: Actor = CITIZEN) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as refusal:
        read_report(body, reference(), actor, NOW)
    return {fault.field: fault.code for fault in refusal.value.faults}


def test_a_report_finds_its_district_and_its_answers() -> None:
    taken = read_report(report(attributes={"depth_cm": "12", "lane": "kerb"}), reference(), CITIZEN, NOW)
    assert (taken.region, taken.district) == ("central", "mount-pleasant")
    assert taken.attributes == {"depth_cm": 12, "lane": "kerb"}


def test_an_address_alone_waits_for_somebody_to_locate_it() -> None:
    body = report(lat=None, long=None, address="453 West 12th Avenue")
    assert read_report(body, reference(), CITIZEN, NOW).district == UNLOCATED
    known = read_report(body | {"district": "fairview"}, reference(), CITIZEN, NOW)
    assert (known.region, known.district) == ("central", "fairview")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"title": "ab"}, "title"),
        ({"title": "x" * 121}, "title"),
        ({"title": "line\nbreak"}, "title"),
        ({"title": "bell\x07"}, "title"),
        ({"title": "<b>bold</b>"}, "title"),
        ({"title": "write to sam@example.org"}, "title"),
        ({"title": "call 604-555-0100"}, "title"),
        ({"title": "call \uff16\uff10\uff14-\uff15\uff15\uff15-\uff10\uff11\uff10\uff10"}, "title"),
        ({"title": 12}, "title"),
        ({"title": "a     "}, "title"),
        ({"title": "\u200b\u200b\u200b"}, "title"),
        ({"title": "pot\u2028hole"}, "title"),
        ({"title": "elohtop\u202e"}, "title"),
        ({"lat": None, "long": None, "address": "   "}, "address"),
        ({"description": "x" * 4001}, "description"),
        ({"description": "<script>"}, "description"),
        ({"category": "volcano"}, "category"),
        ({"severity": "huge"}, "severity"),
        ({"lat": "49.26"}, "lat"),
        ({"lat": float("nan")}, "lat"),
        ({"lat": 51.0}, "lat"),
        ({"lat": 200}, "lat"),
        ({"long": None}, "long"),
        ({"lat": None}, "lat"),
        ({"lat": None, "long": None}, "lat"),
        ({"district": "downtown"}, "district"),
        ({"district": "atlantis"}, "district"),
        ({"region": "south"}, "region"),
        ({"postal_code": "v5y 1v4"}, "postal_code"),
        ({"postal_code": "V\u0665Y 1V4"}, "postal_code"),
        ({"occurred_at": "2026-03-09T16:36:00Z"}, "occurred_at"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at"),
        ({"occurred_at": "2026-03-09T16:30:00"}, "occurred_at"),
        ({"occurred_at": 1773073800}, "occurred_at"),
        ({"contact": {"email": "nobody"}}, "contact.email"),
        ({"contact": {"email": "sam\x07@example.org"}}, "contact.email"),
        ({"contact": {"phone": "12"}}, "contact.phone"),
        ({"contact": {"phone": "(   ) - "}}, "contact.phone"),
        ({"contact": {"fax": "1"}}, "contact.fax"),
        ({"anonymous": "yes"}, "anonymous"),
        ({"visibility": "hidden"}, "visibility"),
        ({"channel": "pigeon"}, "channel"),
        ({"attributes": {"depth_cm": "deep"}}, "attributes.depth_cm"),
        ({"attributes": {"depth_cm": True}}, "attributes.depth_cm"),
        ({"attributes": {"lane": "left"}}, "attributes.lane"),
        ({"attributes": {"colour": "red"}}, "attributes.colour"),
        ({"category": "street_light"}, "attributes.fault"),
        ({"incident_id": "mine"}, "incident_id"),
    ],
)
def test_each_wrong_field_is_named(changes: dict[str, Any], field: str) -> None:
    assert list(faults(report(**changes))) == [field]


def test_a_region_that_there_is_not_is_refused_where_nothing_else_tells_the_place() -> None:
    nowhere = {"lat": None, "long": None, "address": "12 Main Street"}
    assert faults(report(**nowhere, region="atlantis")) == {"region": "unknown"}
    taken = read_report(report(**nowhere, region="central"), reference(), CITIZEN, NOW)
    assert (taken.region, taken.district) == ("central", "unlocated")


@pytest.mark.parametrize("channel", ["phone", "officer", "sensor"])
def test_nobody_says_that_staff_or_a_sensor_reported_who_is_neither(channel: str) -> None:
    for actor in (ANONYMOUS, CITIZEN, STEWARD):
        assert faults(report(channel=channel), actor) == {"channel": "not_allowed"}
    sensors = Actor.of("traffic-1", ["traffic_admin"])
    for actor, may in ((OFFICER, channel != "sensor"), (sensors, channel == "sensor"), (ADMIN, True)):
        with contextlib.nullcontext() if may else pytest.raises(InvalidRequest):
            read_report(report(channel=channel), reference(), actor, NOW)


def test_all_faults_come_at_once() -> None:
    body = {"title": "a", "category": "nothing", "lat": 1.5, "long": 2.5, "contact": {"email": "x"}, "foo": 1}
    assert set(faults(body)) == {"title", "category", "lat", "contact.email", "foo"}


@pytest.mark.parametrize("body", [None, [], "text", 1, {}])
def test_what_is_no_report_says_what_is_needed(body: object) -> None:
    assert faults(body)


def test_a_clock_five_minutes_ahead_is_believed() -> None:
    soon = (NOW + timedelta(minutes=5)).isoformat()
    assert read_report(report(occurred_at=soon), reference(), CITIZEN, NOW).request.occurred_at is not None


def test_blanks_around_a_line_are_not_kept_and_line_ends_become_one_kind() -> None:
    taken = read_report(
        report(title="  Pothole ", description="one\r\ntwo\u2028three\rfour"), reference(), CITIZEN, NOW
    )
    assert (taken.request.title, taken.request.description) == ("Pothole", "one\ntwo\nthree\nfour")


def test_letters_of_any_script_and_joined_signs_are_text() -> None:
    for title in ("Une rue défoncée", "می‌خواهم", "路面坑洞", "Lamp 👩‍👧 out"):
        assert read_report(report(title=title), reference(), CITIZEN, NOW).request.title == title


def test_a_full_width_address_is_masked_for_everybody() -> None:
    assert masked("write to sam\uff20example.org, café") == "write to ▇▇▇, café"
    assert masked("½ a metre") == "½ a metre"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    "title",
    "category",
    "lat",
    "long",
    "address",
    "attributes",
    "contact",
    "occurred_at",
    "description",
    "region",
]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6))
def test_any_json_is_taken_or_refused_by_name(body: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidRequest):
        taken = read_report(report() | body, reference(), CITIZEN, NOW)
        assert taken.district in {*reference().districts, UNLOCATED}
