"""Open311 GeoReport v2 through the whole API: against its specification, its Swagger, and other cities' servers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from typer.testing import CliRunner

from city_platform.api.composition import open_api
from city_platform.api.open311 import documents
from city_platform.cli.app import app
from city_platform.deployment import open_platform
from city_platform.deployment.incidents import open_incident_repository, open_incident_service
from city_platform.incidents.api_keys import ApiKeys
from city_platform.incidents.model import Incident, Resolution, Status
from city_platform.incidents.roles import ANONYMOUS, Actor
from city_platform.incidents.service import IncidentService
from city_platform.local.incidents import SqliteIncidentRepository
from tests import open311 as spec
from tests.incidents import NOW, change, incident
from tests.open311 import as_texts, spark, violations
from tests.town import StandingClock

BASE = "/open311/v2"
OFFICER = Actor.of("officer-1", ["officer"], ["mount-pleasant"])
HERE = {"lat": "49.2633", "long": "-123.0985"}


class Town:
    """The API, its service, and an application's key."""

    def __init__(self, home: Path) -> None:
        clock = StandingClock()
        self.client = TestClient(open_api(home, {}, rate_limit=0, clock=clock), raise_server_exceptions=True)
        platform = open_platform(home, {}, clock)
        self.repository = open_incident_repository(home, clock, {})
        self.service: IncidentService = open_incident_service(platform, self.repository, {})
        _, self.key = ApiKeys(platform.lake.store, clock).create("Street reporter")

    def get(self, resource: str, expected: int = 200, /, **query: str) -> Any:
        """The answer as JSON, after its XML was found equal to it."""
        shown = self.client.get(f"{BASE}/{resource}.json", params=query)
        xml = self.client.get(f"{BASE}/{resource}.xml", params=query)
        assert (shown.status_code, xml.status_code) == (expected, expected)
        assert shown.headers["content-type"] == "application/json; charset=utf-8"
        assert xml.headers["content-type"] == "text/xml; charset=utf-8"
        assert xml.content.startswith(b'<?xml version="1.0" encoding="utf-8"?>')
        assert spark(xml.content) == as_texts(shown.json())
        return shown.json()

    def send(self, **form: str | list[str]) -> Any:
        answer = self.client.post(f"{BASE}/requests.json", data={"api_key": self.key, **form})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stored(self) -> int:
        return len(self.get("requests"))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return Town(tmp_path_factory.mktemp("town") / "home")


def test_what_describes_the_interface_is_as_specified(town: Town) -> None:
    discovery = town.get("discovery")
    assert violations(spec.DISCOVERY, discovery) == []
    assert discovery["endpoints"][0]["url"] == "http://testserver/open311/v2"
    services = town.get("services", jurisdiction_id="vancouver.ca")
    assert len(services) == len(town.service.reference.categories)
    for service in services:
        assert violations(spec.SERVICE, service) == []
        definition = town.get(f"services/{service['service_code']}")
        assert spec.definition_violations(definition) == []
        assert bool(definition["attributes"]) == service["metadata"]


def test_a_request_goes_in_and_comes_out_as_specified(town: Town) -> None:
    (taken,) = town.send(
        service_code="waste",
        address_string="453 W 12th Ave",
        address_id="VAN-12345",
        description='Sofa & "chair" > 2 m\nin the lane, call 604 555 0100',
        email="jo@post.example",
        first_name="Jo",
        last_name="Public",
        media_url="https://pictures.example/a.jpg",
        **{"attribute[items][]": ["furniture", "bags"]},
        **HERE,
    )
    assert violations(spec.ACCEPTED, taken) == []
    name = taken["service_request_id"]
    (shown,) = town.get(f"requests/{name}")
    assert violations(spec.REQUEST, shown) == []
    assert shown["description"] == 'Sofa & "chair" > 2 m\nin the lane, call ▇▇▇'
    assert (shown["address"], shown["address_id"], shown["lat"]) == ("453 W 12th Ave", "VAN-12345", 49.2633)
    assert (shown["requested_datetime"], shown["status"]) == ("2026-03-09T09:30:00-07:00", "open")
    assert town.get("requests", service_request_id=f"{name},unknown", status="closed") == [shown]
    assert shown in town.get("requests", status="open", service_code="waste,noise")
    assert shown not in town.get("requests", status="closed")
    assert town.get(f"tokens/{name}") == [{"service_request_id": name, "token": name}]
    (extended,) = town.get(f"requests/{name}", extensions="true")
    assert violations(spec.REQUEST, extended, extended=True) == []
    assert [one["code"] for one in extended["attributes"]] == ["furniture", "bags"]
    assert extended["notes"] == [{"datetime": "2026-03-09T09:30:00-07:00", "type": "reported", "description": None}]
    # Who sent it and where its picture lies is for staff; how to reach the reporter is kept apart.
    (entry,) = town.service.history(name, OFFICER)
    assert entry.note is not None
    assert "Street reporter" in entry.note
    assert "https://pictures.example/a.jpg" in entry.note
    contact = town.service.contact(name, OFFICER)
    assert contact is not None
    assert (contact.email, contact.name) == ("jo@post.example", "Jo Public")
    assert "post.example" not in json.dumps(extended)


def test_a_closed_request_was_updated_when_it_was_closed(town: Town) -> None:
    (taken,) = town.send(service_code="road_damage", **HERE)
    name = taken["service_request_id"]
    town.service.transition(name, Status.RESOLVED, OFFICER, note="Filled.", resolution=Resolution.FIXED)
    (shown,) = town.get(f"requests/{name}", extensions="true")
    assert (shown["status"], shown["status_notes"], shown["service_notice"]) == ("closed", "Resolved: fixed", None)
    assert [one["description"] for one in shown["notes"]] == [None, "Filled."]
    assert shown["updated_datetime"] == "2026-03-09T09:30:00-07:00"
    later = incident(60, version=3, status=Status.RESOLVED, closed_at=NOW)  # somebody wrote a note an hour later
    assert documents.request(later, town.service.reference, "")["updated_datetime"] == "2026-03-09T09:30:00-07:00"


def test_a_sensitive_request_shows_no_text_and_no_exact_place(town: Town) -> None:
    (taken,) = town.send(
        service_code="noise", lat="49.26331", long="-123.09851", description="Jo at 12", address_id="X1"
    )
    (shown,) = town.get(f"requests/{taken['service_request_id']}", extensions="true")
    assert (shown["lat"], shown["long"], shown["description"]) == (49.263, -123.099, None)
    assert (shown["address"], shown["address_id"], shown["extended_attributes"]["title"]) == (None, None, "Noise")


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ({"api_key": ""}, 403, ["api_key is missing or not valid"]),
        ({"api_key": "0123456789ab." + "x" * 43}, 403, ["api_key is missing or not valid"]),
        ({"service_code": ""}, 400, ["service_code was not provided"]),
        ({"service_code": "moon"}, 404, ["service_code was not found: moon"]),
        ({"jurisdiction_id": "sfgov.org", "service_code": "moon"}, 404, ["jurisdiction_id", "service_code"]),
        ({"lat": "", "long": ""}, 400, ["lat: say where it is"]),
        ({"long": ""}, 400, ["long: lat and long come together"]),
        ({"lat": "nan"}, 400, ["lat"]),
        ({"lat": "37.76", "long": "-122.42"}, 400, ["lat: this place is outside Vancouver"]),
        (
            {"description": "x" * 4001, "email": "jo", "phone": "1", "attribute[lane]": "moon", "attribute[moon]": "1"},
            400,
            ["description", "email", "phone", "attribute[moon]", "attribute[lane]"],
        ),
        ({"description": "<b>big</b>"}, 400, ["description: HTML"]),
        ({"address_string": "\x00", "address_id": "' OR 1=1"}, 400, ["address_string", "address_id"]),
    ],
)
def test_what_is_wrong_with_a_form_is_told_and_nothing_is_kept(
    town: Town, form: Mapping[str, str], status: int, said: list[str]
) -> None:
    before = town.stored()
    right = {"api_key": town.key, "service_code": "road_damage", **HERE}
    for shown_as in ("json", "xml"):
        answer = town.client.post(f"{BASE}/requests.{shown_as}", data={**right, **form})
        assert answer.status_code == status
        errors = answer.json() if shown_as == "json" else spark(answer.content)
        told = [one["description"] for one in errors]
        assert all(any(one.startswith(start) for one in told) for start in said), told
        assert shown_as == "xml" or [violations(spec.ERROR, one) for one in errors] == [[]] * len(errors)
        assert int(errors[0]["code"]) == status
    assert town.stored() == before


def test_what_is_not_there_is_not_found(town: Town) -> None:
    for resource in ("services/moon", "requests/moon", "tokens/moon"):
        assert [one["code"] for one in town.get(resource, 404)] == [404]
    assert town.get("services", 404, jurisdiction_id="sfgov.org")[0]["code"] == 404
    answer = town.client.get(f"{BASE}/services.yaml")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "text/xml; charset=utf-8")


def test_the_same_request_sent_again_is_one_request(town: Town) -> None:
    form = {"api_key": town.key, "service_code": "graffiti", **HERE}
    headers = {"Idempotency-Key": "f3b0c442"}
    first, again = (town.client.post(f"{BASE}/requests.json", data=form, headers=headers).json() for _ in range(2))
    assert first == again


def test_pages_hold_every_request_once(town: Town) -> None:
    for _ in range(4):  # on its own: which tests came before is the scheduler's to choose
        town.send(service_code="graffiti", **HERE)
    everything = town.get("requests")
    assert len(everything) >= 4
    pages = [town.get("requests", page=str(page), page_size="3") for page in range(1, len(everything) // 3 + 3)]
    assert [one for page in pages for one in page] == everything
    dates = [one["requested_datetime"] for one in everything]
    assert dates == sorted(dates, reverse=True)


def test_private_requests_stay_private(town: Town) -> None:
    report = {"title": "Light out", "category": "other", "lat": 49.2633, "long": -123.0985, "visibility": "private"}
    hidden = town.service.report(report, ANONYMOUS).incident
    assert hidden.incident_id not in {one["service_request_id"] for one in town.get("requests")}
    town.get(f"requests/{hidden.incident_id}", 404)
    town.get(f"tokens/{hidden.incident_id}", 404)


def test_answers_keep_to_the_swagger_and_to_other_cities_shapes(town: Town, real_data: Path) -> None:
    files = real_data / "open311"
    swagger = json.loads((files / "georeport-v2_swagger.json").read_bytes())

    def hold(kind: str, body: Any) -> None:
        schema = {"definitions": swagger["definitions"], "$ref": f"#/definitions/{kind}"}
        # Swagger 2 knows no null: a field without a value is absent.
        jsonschema.Draft4Validator(schema).validate(_without_nulls(body))

    (taken,) = town.send(service_code="other", **HERE)
    hold("RequestResponse", taken)
    hold("TokenResponse", town.get(f"tokens/{taken['service_request_id']}")[0])
    for request in town.get("requests"):
        hold("Request", request)
    for service in town.get("services"):
        hold("Service", service)
        hold("ServiceDefinition", town.get(f"services/{service['service_code']}"))
    assert {one for service in spark((files / "dc_services.xml").read_bytes()) for one in service} == set(spec.SERVICE)
    theirs = json.loads((files / "bloomington_requests.json").read_bytes())
    assert {one for request in theirs for one in request} <= set(spec.REQUEST)
    assert set(json.loads((files / "discovery_boston.json").read_bytes())) == set(spec.DISCOVERY)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def test_keys_are_made_listed_and_ended_on_the_command_line(tmp_path: Path) -> None:
    def call(*arguments: str) -> Any:
        done = CliRunner().invoke(app, [*arguments, "--home", str(tmp_path), "--json"])
        return done.exit_code, json.loads(done.stdout)

    status, made = call("open311", "keys", "create", "Street reporter")
    assert (status, made["application"]) == (0, "Street reporter")
    client = TestClient(open_api(tmp_path, {}, rate_limit=0))
    form = {"api_key": made["api_key"], "service_code": "graffiti", **HERE}
    assert client.post(f"{BASE}/requests.json", data=form).status_code == 200
    assert call("open-data", "publish")[1]["years"][0]["rows"] == 1
    assert call("open311", "keys", "revoke", made["key"])[0] == 0
    status, listed = call("open311", "keys", "list")
    assert listed["keys"][0]["revoked_at"] is not None
    assert made["api_key"] not in json.dumps(listed)
    client = TestClient(open_api(tmp_path, {}, rate_limit=0))  # one that runs notices within half a minute
    assert client.post(f"{BASE}/requests.json", data=form).status_code == 403
    assert call("open311", "keys", "revoke", "000000000000")[0] == 2
    assert call("open311", "keys", "create", "jo@post.example")[0] == 3


words = st.text(max_size=12) | st.sampled_from(
    ["waste", "moon", "open", "2026-01-01T00:00:00Z", "true", "1", "-1", "nan"]
)
names = st.sampled_from(
    [
        "service_request_id", "service_code", "start_date", "end_date", "status", "page", "page_size", "extensions",
        "jurisdiction_id", "lat", "long", "address_string", "address_id", "description", "email", "phone", "first_name",
        "media_url", "attribute[items]", "attribute[items][]", "attribute[", "account_id",
    ]
)  # fmt: skip
paths = st.sampled_from(["requests", "services", "services/waste", "discovery"]) | st.builds(
    "{}/{}".format,
    st.sampled_from(["requests", "services", "tokens"]),
    st.text(min_size=1, max_size=20).map(lambda one: quote(one, safe="")),
)


def test_a_short_page_reads_few_of_each_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town(tmp_path)
    reported = [incident(-minute) for minute in range(100)]
    for first in range(0, 100, 20):
        town.repository.write([change(one) for one in reported[first : first + 20]])
    read: list[Incident] = []
    listed = SqliteIncidentRepository.list

    def counting(*given: Any) -> Sequence[Incident]:
        found = listed(*given)
        read.extend(found)
        return found

    monkeypatch.setattr(SqliteIncidentRepository, "list", counting)
    assert [one["service_request_id"] for one in town.get("requests", page_size="5")] == [
        one.incident_id for one in reported[:5]
    ]
    assert len(read) <= 2 * 10  # for XML and JSON


@given(paths, st.sampled_from(["xml", "json", "XML"]), st.lists(st.tuples(names, words), max_size=6), st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_makes_it_fail(
    town: Town, path: str, shown_as: str, fields: list[tuple[str, str]], sending: bool
) -> None:
    if sending:
        form: dict[str, str | list[str]] = {"api_key": town.key, "service_code": "waste", **HERE, **dict(fields)}
        answer = town.client.post(f"{BASE}/requests.{shown_as}", data=form)
    else:
        answer = town.client.get(f"{BASE}/{path}.{shown_as}", params=fields)
    assert answer.status_code in {200, 400, 404}
    if answer.headers["content-type"] == "application/problem+json":  # no resource of ours has this address
        return
    body = answer.json() if shown_as == "json" else spark(answer.content)
    if answer.status_code != 200:
        assert {int(one["code"]) for one in body} <= {400, 404}
