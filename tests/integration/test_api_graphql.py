"""GraphQL and REST are one service: the same request through both gives the same item and the same errors."""

import re
from dataclasses import fields
from typing import Any

import pytest
from strawberry import UNSET

from city_platform.api.graphql import EditInput
from city_platform.incidents.edit import EditRequest
from tests.api import Town, town
from tests.incidents import report

FIELDS = (
    "incidentId publicRef title description category severity status resolution region district lat long address "
    "addressId postalCode reportedAt updatedAt occurredAt expectedAt closedAt channel department duplicateOf "
    "supporters stillThere media { mediaId url contentType bytes moderated } attributes version visibility "
    "assignedTo reportedBy"
)
REPORT = (
    f"mutation R($report: ReportInput!, $key: String) {{ report(report: $report, idempotencyKey: $key) "
    f"{{ replayed incident {{ {FIELDS} }} possibleDuplicates {{ incidentId }} }} }}"
)
OWN = {"incidentId", "publicRef"}  # what the server makes anew for every report
RICH: list[dict[str, Any]] = [
    {},
    {"severity": "critical", "description": "two\nlines", "occurred_at": "2026-03-09T09:00:00-07:00"},
    {"attributes": {"depth_cm": 12.5, "lane": "kerb"}, "postal_code": "V5Y 1V4", "address": "453 West 12th Avenue"},
    {"category": "waste", "attributes": {"items": ["bags", "other"]}, "visibility": "private"},
    {"category": "noise", "contact": {"email": "kim@example.org"}, "description": "at 604 555 0100"},
    {"lat": None, "long": None, "address": "453 West 12th Avenue", "district": "mount-pleasant"},
]
WRONG: list[dict[str, Any]] = [
    {"title": "x", "category": "volcano"},
    {"lat": 49.9},
    {"contact": {"email": "nobody"}, "description": "<b>"},
    {"occurred_at": "yesterday"},
    {"attributes": {"width": 1}},
]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return town(tmp_path_factory.mktemp("graphql"))


def ask(here: Town, query: str, headers: dict[str, str] | None = None, **variables: Any) -> dict[str, Any]:
    answer = here.client.post("/graphql", json={"query": query, "variables": variables}, headers=headers or {})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def camel(value: Any, of: str = "") -> Any:
    """REST's names and values as GraphQL writes them."""
    if isinstance(value, dict):
        kept = of == "attributes"  # the city's own codes
        return {
            name if kept else re.sub(r"_(.)", lambda found: found[1].upper(), name): camel(one, name)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [camel(one) for one in value]
    return value.upper() if of in {"severity", "status", "channel", "visibility", "resolution"} and value else value


@pytest.mark.parametrize("more", RICH)
@pytest.mark.parametrize("who", ["anonymous", "citizen", "officer"])
def test_the_same_report_gives_the_same_item(here: Town, more: dict[str, Any], who: str) -> None:
    headers = {} if who == "anonymous" else here.auth(who, who)
    rest = here.client.post("/v1/incidents", json=report(**more), headers=headers).json()
    rest.pop("possible_duplicates")
    found = ask(here, REPORT, headers, report=camel(report(**more)))["data"]["report"]["incident"]
    graph = {name: value for name, value in found.items() if value is not None}
    shown = camel(rest)
    assert {name: value for name, value in graph.items() if name not in OWN} == {
        name: value for name, value in shown.items() if name not in OWN
    }
    if more.get("visibility") == "private" and who == "anonymous":
        return
    query = f"query Q($id: String!) {{ incident(incidentId: $id) {{ {FIELDS} }} }}"
    assert ask(here, query, headers, id=rest["incident_id"])["data"]["incident"] == (
        {name: shown.get(name) for name in found}
    )


@pytest.mark.parametrize("more", WRONG)
def test_the_same_mistakes_give_the_same_errors(here: Town, more: dict[str, Any]) -> None:
    before = here.changes()
    rest = here.client.post("/v1/incidents", json=report(**more)).json()
    (error,) = ask(here, REPORT, report=camel(report(**more)))["errors"]
    assert {**error["extensions"], "request_id": ""} == {**rest, "request_id": ""}
    assert here.changes() == before


def test_a_key_counts_through_both(here: Town) -> None:
    headers = here.auth("c5", "citizen")
    rest = here.client.post("/v1/incidents", json=report(), headers={**headers, "Idempotency-Key": "k1"}).json()
    graph = ask(here, REPORT, headers, report=camel(report()), key="k1")["data"]["report"]
    assert (graph["replayed"], graph["incident"]["incidentId"]) == (True, rest["incident_id"])


def test_null_empties_a_field_and_an_absent_one_stays(here: Town) -> None:
    officer = here.auth("o1", "officer")
    sent = here.report(here.auth("c1", "citizen"), address="453 West 12th Avenue", description="Deep")
    step = "edit(incidentId: $id, version: $version, changes: $changes) { assignedTo address description version }"
    change = f"mutation M($id: String!, $version: Int!, $changes: EditInput!) {{ {step} }}"
    for version, changes in ((1, {"assignedTo": "Crew 4"}), (2, {"address": None})):
        answer = ask(here, change, officer, id=sent["incident_id"], version=version, changes=changes)
        assert "errors" not in answer, answer
    assert answer["data"]["edit"] == {"assignedTo": "Crew 4", "address": None, "description": "Deep", "version": 3}
    where = f"/v1/incidents/{sent['incident_id']}"
    read = here.client.patch(where, json={"assigned_to": None}, headers={**officer, "If-Match": '"3"'}).json()
    assert ("assigned_to" in read, read["description"]) == (False, "Deep")
    # A field of REST's that had another default here would be emptied by every change of another one.
    assert {one.name: one.default for one in fields(EditInput)} == dict.fromkeys(EditRequest.model_fields, UNSET)


def test_a_life_through_graphql_reads_the_same_through_rest(here: Town) -> None:
    citizen, officer = here.auth("c1", "citizen"), here.auth("o1", "officer")
    sent = here.report(citizen)
    where = f"/v1/incidents/{sent['incident_id']}"
    steps = [
        (citizen, 'edit(incidentId: $id, version: 1, changes: {title: "Deep pothole"}) { version }'),
        (here.auth("c2", "citizen"), "support(incidentId: $id) { supporters }"),
        (officer, 'comment(incidentId: $id, note: "seen", public: true) { version }'),
        (officer, "changeStatus(incidentId: $id, to: IN_PROGRESS) { status }"),
        (officer, 'changeStatus(incidentId: $id, to: RESOLVED, resolution: FIXED, note: "filled") { status }'),
    ]
    for headers, step in steps:
        answer = ask(here, f"mutation M($id: String!) {{ {step} }}", headers, id=sent["incident_id"])
        assert "errors" not in answer, answer
    read = here.client.get(where, headers=officer).json()
    assert (read["title"], read["supporters"], read["status"], read["version"]) == ("Deep pothole", 1, "resolved", 6)
    query = (
        "query Q($id: String!) { history(incidentId: $id) { version action note } "
        'incidents(district: "mount-pleasant", status: RESOLVED) { incidents { incidentId } next } '
        "categories { code attributes { code values } } regions { code } districts { code lat } "
        "stats { total byStatus } contact(incidentId: $id) { email } }"
    )
    found = ask(here, query, officer, id=sent["incident_id"])["data"]
    history = here.client.get(f"{where}/history", headers=officer).json()["history"]
    assert [one["note"] for one in found["history"]] == [one.get("note") for one in history]
    listed = here.client.get("/v1/incidents?district=mount-pleasant&status=resolved").json()["incidents"]
    assert [one["incidentId"] for one in found["incidents"]["incidents"]] == [one["incident_id"] for one in listed]
    assert found["stats"]["byStatus"] == here.client.get("/v1/stats").json()["by_status"]
    stuck = ask(
        here, "mutation M($id: String!) { changeStatus(incidentId: $id, to: SCHEDULED) { status } }", officer,
        id=sent["incident_id"],
    )  # fmt: skip
    assert stuck["errors"][0]["extensions"]["allowed"] == ["reopened"]
    stale = 'mutation M($id: String!) { edit(incidentId: $id, version: 1, changes: {title: "Another"}) { version } }'
    assert ask(here, stale, officer, id=sent["incident_id"])["errors"][0]["extensions"]["status"] == 412
    bulk = (
        'mutation M($ids: [String!]!) { closeInBulk(incidents: $ids, to: REJECTED, resolution: SPAM, note: "no") '
        "{ incidents { status } problems } }"
    )
    done = ask(here, bulk, here.auth("m1", "district_manager"), ids=[sent["incident_id"], here.report()["incident_id"]])
    closed = done["data"]["closeInBulk"]
    assert [one["status"] for one in closed["incidents"]] == ["REJECTED"]
    assert closed["problems"][sent["incident_id"]]["status"] == 409


def test_what_one_may_not_do_is_refused_as_by_rest(here: Town) -> None:
    private = here.report(here.auth("c1", "citizen"), visibility="private")["incident_id"]
    for query, headers, status in (
        (f'{{ incident(incidentId: "{private}") {{ title }} }}', {}, 404),
        (f'{{ contact(incidentId: "{private}") {{ email }} }}', here.auth("c2", "citizen"), 404),
        ("{ incidents(mine: true) { next } }", {}, 401),
        ('{ incidents(region: "central") { next } }', {}, 400),
        (f'mutation {{ support(incidentId: "{here.report()["incident_id"]}") {{ title }} }}', {}, 401),
    ):
        (error,) = ask(here, query, headers)["errors"]
        assert error["extensions"]["status"] == status, query
    token = {"Authorization": "Bearer forged.token.here"}
    assert here.client.post("/graphql", json={"query": "{ stats { total } }"}, headers=token).status_code == 401


def test_documents_are_bounded(here: Town) -> None:
    deep = "{ categories " + "{ attributes " * 8 + "{ code }" + " }" * 8 + " }"
    wide = "{ " + " ".join(f"a{number}: stats {{ total }}" for number in range(11)) + " }"
    long = "{ stats { " + "total " * 1001 + "} }"
    curious = "{ __schema { types " + "{ fields { type " * 6 + "{ name }" + " } }" * 6 + " } }"
    for query, said in (
        (deep, "depth"),
        (wide, "aliases"),
        (long, "tokens"),
        (curious, "depth"),
        ("{", "Syntax Error"),
        ("{ nothing }", "nothing"),
        ("{ " * 900, "Syntax Error"),
    ):
        answer = ask(here, query)
        assert any(said in one["message"] for one in answer["errors"]), query[:40]
        assert answer["data"] is None
    for query in ("", "x" * 20_001):
        assert here.client.post("/graphql", json={"query": query}).status_code == 400
    two = {"query": "query A { stats { total } } query B { stats { total } }"}
    assert here.client.post("/graphql", json=two).status_code == 400
    assert here.client.post("/graphql", json={**two, "operationName": "C"}).status_code == 400
    assert here.client.post("/graphql", json={**two, "operationName": "B"}).json()["data"]["stats"]["total"] >= 0
    assert here.client.get("/graphql?query={stats{total}}").status_code == 405


def test_every_field_counts_against_the_rate(tmp_path_factory: pytest.TempPathFactory) -> None:
    slow = town(tmp_path_factory.mktemp("slow"), rate_limit=2)
    body = 'report(report: {title: "Pothole", category: "road_damage", lat: 49.2633, long: -123.0985}) { replayed }'
    answer = ask(slow, "mutation { " + " ".join(f"a{number}: {body}" for number in range(4)) + " }")
    assert {one["extensions"]["status"] for one in answer["errors"]} == {429}
    assert slow.changes() == 2
