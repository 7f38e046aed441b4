"""GeoReport's formats, its questions and its forms, without a server."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.api.open311.errors import Refused
from city_platform.api.open311.formats import Document, to_json, to_xml
from city_platform.api.open311.query import SPAN, read_query
from city_platform.api.open311.submission import read_form, report_of
from city_platform.incidents.api_keys import ApiKeys, BadApplicationName, UnknownApiKey
from city_platform.incidents.model import UNLOCATED, Status, Visibility
from city_platform.incidents.repository import Position
from city_platform.incidents.window import Window, place_of_public, reported_between
from city_platform.local.incidents import SqliteIncidentRepository
from city_platform.local.store import LocalObjectStore
from tests.incidents import NOW, change, incident, reference
from tests.open311 import as_texts, spark
from tests.town import StandingClock

FORM = "application/x-www-form-urlencoded"
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
requests = st.lists(
    st.fixed_dictionaries({"description": leaves, "attributes": st.lists(st.fixed_dictionaries({"value": leaves}))})
)


@given(requests)
@settings(max_examples=60)
def test_xml_and_json_say_the_same(body: list[dict[str, Any]]) -> None:
    document = Document("service_requests", body)
    shown = json.loads(to_json(document))

    def legal(value: Any) -> Any:  # what XML 1.0 has no character for is replaced, in XML alone
        if isinstance(value, str):
            return "".join(
                one if one in "\t\n\r" or (one >= "\x20" and one not in "\ufffe\uffff") else "\ufffd" for one in value
            )
        if isinstance(value, list):
            return [legal(one) for one in value]
        return {name: legal(one) for name, one in value.items()} if isinstance(value, dict) else value

    assert spark(to_xml(document)) == as_texts(legal(shown))


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ([], NOW - SPAN, NOW),
        ([("start_date", ""), ("status", "")], NOW - SPAN, NOW),  # empty is absent
        ([("start_date", "2026-01-01T00:00:00Z")], datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)),
        (
            [("end_date", "2026-01-01T00:00:00-08:00")],
            datetime(2025, 10, 3, 8, tzinfo=UTC),
            datetime(2026, 1, 1, 8, tzinfo=UTC),
        ),
        (
            [("start_date", "2026-01-01T00:00:00 01:00"), ("end_date", "2026-01-02T00:00Z")],  # a plus sign was lost
            datetime(2025, 12, 31, 23, tzinfo=UTC),
            datetime(2026, 1, 2, tzinfo=UTC),
        ),
    ],
)
def test_dates_that_are_missing_make_ninety_days(query: list[tuple[str, str]], start: datetime, end: datetime) -> None:
    window = read_query(query, reference(), NOW).window
    assert (window.start, window.end) == (start, end)


def test_lists_come_with_commas_or_several_times() -> None:
    query = read_query(
        [("service_code", "waste,noise"), ("service_code", "waste"), ("status", "open"), ("page", "2")],
        reference(),
        NOW,
    )
    assert query.window.categories == {"waste", "noise"}
    assert query.window.statuses == frozenset(one for one in Status if not one.closed)
    assert (query.page, query.page_size, query.extensions) == (2, 1000, False)


def test_every_wrong_parameter_is_told_at_once() -> None:
    with pytest.raises(Refused) as told:
        read_query(
            [
                ("status", "open,done"),
                ("service_code", "waste,moon"),
                ("start_date", "2026-01-01"),  # no time and no offset
                ("page", "0"),
                ("page_size", "5000"),
                ("jurisdiction_id", "sfgov.org"),
            ],
            reference(),
            NOW,
        )
    said = [(one.code, one.description.partition(":")[0]) for one in told.value.mistakes]
    assert said == [
        (404, "jurisdiction_id was not found"),
        (404, "service_code was not found"),
        (400, "status"),
        (400, "start_date"),
        (400, "page"),
        (400, "page_size"),
    ]
    for start, end in [
        ("2026-01-01T00:00:00Z", "2026-04-02T00:00:01Z"),
        ("2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    ]:
        with pytest.raises(Refused):
            read_query([("start_date", start), ("end_date", end)], reference(), NOW)


def test_identifiers_override_all_else() -> None:
    query = read_query([("service_request_id", "a, b,a"), ("status", "nonsense")], reference(), NOW)
    assert query.ids == ["a", "b"]


@given(st.lists(st.tuples(st.sampled_from(["start_date", "end_date", "page", "status", "service_code"]), st.text())))
@settings(max_examples=50)
def test_whatever_is_asked_is_answered_or_refused(parameters: list[tuple[str, str]]) -> None:
    try:
        window = read_query(parameters, reference(), NOW).window
    except Refused:
        return
    assert timedelta(0) <= window.end - window.start <= SPAN


def test_a_form_becomes_a_report() -> None:
    body = (
        "service_code=waste&lat=49.2633&long=-123.0985&address_string=&description=Sofa%0Aand+chair&first_name=Jo"
        "&email=jo%40post.example&attribute[items][]=furniture&attribute%5Bitems%5D%5B%5D=bags&device_id=tt222"
        "&media_url=https%3A%2F%2Fpictures.example%2Fa.jpg"
    )
    report, picture = report_of(read_form(body.encode(), f"{FORM}; charset=utf-8"), reference())
    assert report == {
        "title": "Waste",
        "category": "waste",
        "description": "Sofa\nand chair",
        "lat": 49.2633,
        "long": -123.0985,
        "contact": {"email": "jo@post.example", "name": "Jo"},
        "attributes": {"items": ["furniture", "bags"]},
        "channel": "open311",
    }
    assert picture == "https://pictures.example/a.jpg"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"service_code=waste", "application/json"),
        (b"description=\xff", FORM),
        (b"description=%ff", FORM),
        (b"a=1&" * 201, FORM),
        (b"service_code=waste&lat=49.2&lat=49.3", FORM),
        (b"service_code=moon", FORM),
        (b"lat=49.2", FORM),
        (b"service_code=waste&media_url=javascript:alert(1)", FORM),
    ],
)
def test_a_form_that_cannot_be_read_is_refused(body: bytes, kind: str) -> None:
    with pytest.raises(Refused):
        report_of(read_form(body, kind), reference())


@given(st.text(max_size=40), st.text(min_size=1, max_size=40))
@settings(max_examples=50)
def test_attributes_reach_the_report_as_they_were_sent(code: str, value: str) -> None:
    field = f"attribute[{code}]"
    report, _ = report_of(
        read_form(f"service_code=other&{quote_plus(field)}={quote_plus(value)}".encode(), FORM), reference()
    )
    plain = code != "" and not set(code) & set("[]")
    expected = {code: value.strip()} if plain and value.strip() else {}
    assert report["attributes"] == expected


def test_a_window_is_the_plain_list_cut_and_sorted(tmp_path: Path) -> None:
    clock = StandingClock()
    repository = SqliteIncidentRepository(tmp_path / "incidents.sqlite", clock)
    places = [("central", "mount-pleasant"), ("west", "kitsilano"), (UNLOCATED, UNLOCATED)]
    categories = ["waste", "noise", "given_up"]  # the last one is in no reference any more
    every = [
        incident(
            number // 2,  # two at a time
            region=places[number % 3][0],
            district=places[number % 3][1],
            category=categories[number % 5 % 3],
            status=list(Status)[number % 7],
            visibility=Visibility.HIDDEN if number % 4 == 1 else Visibility.PUBLIC,
        )
        for number in range(120)
    ]
    for first in range(0, len(every), 20):
        repository.write([change(one) for one in every[first : first + 20]])
    newest_first = sorted(every, key=lambda one: (one.reported_at, one.incident_id), reverse=True)
    start, end = NOW + timedelta(minutes=5), NOW + timedelta(minutes=50)
    for wanted, statuses in [
        (None, None),
        (frozenset({"waste"}), None),
        (None, frozenset({Status.REPORTED})),
        (frozenset({"noise", "waste"}), frozenset({Status.REPORTED, Status.RESOLVED})),
    ]:
        window = Window(start, end, wanted, statuses)
        found = list(reported_between(repository, reference(), window))
        assert found == [
            one
            for one in newest_first
            if start <= one.reported_at <= end
            and (wanted is None or one.category in wanted)
            and (statuses is None or one.status in statuses)
        ]
        assert found
        public = [one for one in found if one.visibility is Visibility.PUBLIC]
        for number, one in enumerate(public, 1):
            place = place_of_public(repository, reference(), window, number)
            assert place == Position(one.reported_at, one.incident_id)
            rest = list(reported_between(repository, reference(), window, place))
            assert [each for each in rest if each.visibility is Visibility.PUBLIC] == public[number:]
        assert place_of_public(repository, reference(), window, len(public) + 1) is None


def test_a_request_that_changes_while_the_lists_are_read_comes_once(tmp_path: Path) -> None:
    repository = SqliteIncidentRepository(tmp_path / "incidents.sqlite", StandingClock())
    newer = [incident(number, status=Status.RESOLVED) for number in range(1, 101)]
    moving = incident(0)
    for first in range(0, 100, 20):
        repository.write([change(one) for one in newer[first : first + 20]])
    repository.write([change(moving)])
    reading = reported_between(repository, reference(), Window(NOW, NOW + SPAN))
    found = [next(reading)]
    repository.write([change(replace(moving, version=2, status=Status.RESOLVED), moving)])
    found += reading
    assert [one.incident_id for one in found] == [one.incident_id for one in (*reversed(newer), moving)]


def test_a_key_is_kept_as_a_hash_and_ends_when_it_is_revoked(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    keys = ApiKeys(store, StandingClock())
    record, key = keys.create("  Street reporter ")
    assert record.application == "Street reporter"
    kept = [store.get(place) for place in store.keys("incidents/api-keys/")]
    secret = key.partition(".")[2]
    assert len(kept) == 1
    assert secret.encode() not in kept[0]
    other = ApiKeys(store, StandingClock())  # another process
    assert other.owner(key) == record
    other_key = key[:-1] + ("A" if key[-1] != "A" else "B")
    assert [other.owner(one) for one in (other_key, secret, "", "../" + key, record.key_id + ".")] == [None] * 5
    assert keys.revoke(record.key_id).revoked_at is not None
    assert keys.owner(key) is None
    assert [one.key_id for one in keys.all()] == [record.key_id]
    with pytest.raises(UnknownApiKey):
        keys.revoke("000000000000")
    for name in ("", "jo@post.example", "x" * 101, "two\nlines"):
        with pytest.raises(BadApplicationName):
            keys.create(name)
