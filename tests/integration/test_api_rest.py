"""REST as its clients see it: every status it promises, and nothing written where it refuses."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from city_platform.incidents.repository import RepositoryUnavailable
from tests.api import Town, town
from tests.incidents import report

CLOSING = {"to": "resolved", "resolution": "fixed", "note": "filled"}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return town(tmp_path_factory.mktemp("api"))


def test_a_report_is_read_edited_and_moved_through_its_life(here: Town) -> None:
    citizen, officer = here.auth("c1", "citizen"), here.auth("o1", "officer")
    made = here.client.post("/v1/incidents", json=report(contact={"email": "kim@example.org"}), headers=citizen)
    where = made.headers["Location"]
    assert (made.status_code, made.headers["ETag"]) == (201, '"1"')
    assert made.json()["version"] == 1
    read = here.client.get(where, headers=citizen)
    assert {**read.json(), "possible_duplicates": made.json()["possible_duplicates"]} == made.json()
    assert here.client.get(where, headers={**citizen, "If-None-Match": 'W/"1", "x"'}).status_code == 304
    assert here.client.get(where, headers={**citizen, "If-None-Match": "*"}).status_code == 304
    blind = here.client.patch(where, json={"title": "Deep pothole"}, headers=citizen)
    assert (blind.status_code, blind.json()["request_id"]) == (428, blind.headers["x-request-id"])
    # A proxy that packs answers weakens their tags.
    edited = here.client.patch(where, json={"title": "Deep pothole"}, headers={**citizen, "If-Match": 'W/"1"'})
    assert (edited.status_code, edited.headers["ETag"], edited.json()["title"]) == (200, '"2"', "Deep pothole")
    stale = here.client.patch(where, json={"title": "Deeper"}, headers={**citizen, "If-Match": '"1"'})
    assert (stale.status_code, stale.json()["current_version"]) == (412, 2)
    assert here.client.patch(where, json={"title": "Deeper"}, headers={**citizen, "If-Match": "*"}).status_code == 200
    early = here.client.post(f"{where}/transitions", json=CLOSING, headers={**officer, "If-Match": '"2"'})
    assert early.status_code == 412
    # RFC 9110, 13.2.1: who may not change it at all is told that, and no version.
    nobody = here.client.post(f"{where}/transitions", json=CLOSING, headers={"If-Match": '"2"'})
    assert nobody.status_code == 401
    closed = here.client.post(f"{where}/transitions", json=CLOSING, headers=officer)
    assert (closed.status_code, closed.json()["status"], closed.json()["resolution"]) == (200, "resolved", "fixed")
    again = here.client.post(f"{where}/transitions", json={"to": "in_progress"}, headers=officer)
    assert (again.status_code, again.json()["allowed"]) == (409, ["reopened"])
    assert again.headers["content-type"] == "application/problem+json"
    told = here.client.get(f"{where}/history").json()["history"]
    assert [(one["action"], one.get("note")) for one in told] == [("reported", None), ("transition", "filled")]
    assert all("actor" not in one for one in told)


def test_everybody_sees_public_fields_only_and_staff_of_the_district_all(here: Town) -> None:
    sent = here.report(
        here.auth("c1", "citizen"),
        category="noise",
        lat=49.26337,
        long=-123.09853,
        description="ask for Kim, 604 555 0100",
        postal_code="V5Y 1V4",
        address="453 West 12th Avenue",
    )
    where = f"/v1/incidents/{sent['incident_id']}"
    everybody = here.client.get(where).json()
    assert (everybody["lat"], everybody["long"]) == (49.263, -123.099)
    assert {"description", "address", "postal_code", "version", "reported_by", "visibility"}.isdisjoint(everybody)
    assert here.client.get(where, headers=here.auth("o2", "officer", districts=("downtown",))).json() == everybody
    staff = here.client.get(where, headers=here.auth("o1", "officer")).json()
    assert (staff["lat"], staff["reported_by"], staff["postal_code"]) == (49.26337, "c1", "V5Y 1V4")
    plain = here.report(description="ask for Kim, 604 555 0100", title="Hole at 1.5 m")
    shown = here.client.get(f"/v1/incidents/{plain['incident_id']}").json()
    assert shown["description"] == "ask for Kim, ▇▇▇"


def test_what_one_may_not_see_is_not_there(here: Town) -> None:
    private = here.report(here.auth("c1", "citizen"), visibility="private")
    where = f"/v1/incidents/{private['incident_id']}"
    assert here.client.get(where, headers=here.auth("c1", "citizen")).status_code == 200
    for headers in ({}, here.auth("c2", "citizen"), here.auth("o2", "officer", districts=("downtown",))):
        for method, path, body in (
            ("GET", where, None),
            ("GET", f"{where}/history", None),
            ("POST", f"{where}/support", None),
            ("POST", f"{where}/transitions", CLOSING),
            ("POST", f"{where}/comments", {"note": "hello"}),
        ):
            answer = here.client.request(method, path, json=body, headers=headers)
            assert answer.status_code in ({404, 401} if not headers else {404}), (method, path)
    assert here.client.get("/v1/incidents/no-such").status_code == 404
    foreign = here.report()
    assert (
        here.client.post(
            f"/v1/incidents/{foreign['incident_id']}/transitions", json=CLOSING, headers=here.auth("c2", "citizen")
        ).status_code
        == 403
    )


def test_contact_data_are_shown_to_whom_they_concern_and_every_reading_is_on_record(here: Town) -> None:
    sent = here.report(here.auth("c1", "citizen"), contact={"email": "kim@example.org", "phone": "604 555 0100"})
    where = f"/v1/incidents/{sent['incident_id']}/contact"
    store = here.app.state.desk.store
    before = set(store.keys("incidents/contact-reads/"))
    assert here.client.get(where).status_code == 401
    assert here.client.get(where, headers=here.auth("c2", "citizen")).status_code == 403
    assert set(store.keys("incidents/contact-reads/")) == before
    assert here.client.get(where, headers=here.auth("o1", "officer")).json() == {
        "email": "kim@example.org",
        "phone": "604 555 0100",
    }
    (key,) = set(store.keys("incidents/contact-reads/")) - before
    on_record = json.loads(store.get(key))
    assert (on_record["subject"], on_record["role"], on_record["incident_id"]) == ("o1", "officer", sent["incident_id"])
    assert b"kim" not in here.stored()


def test_the_same_key_gives_the_same_incident(here: Town) -> None:
    key = {"Idempotency-Key": "5a4e", **here.auth("c1", "citizen")}
    first = here.client.post("/v1/incidents", json=report(), headers=key)
    again = here.client.post("/v1/incidents", json=report(), headers=key)
    assert again.json()["incident_id"] == first.json()["incident_id"]
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert here.client.post("/v1/incidents", json=report(title="Other"), headers=key).status_code == 409


def test_a_list_is_paged_by_link_and_every_incident_is_in_it_once(here: Town) -> None:
    made = {here.report(category="graffiti", lat=49.2807, long=-123.1166)["incident_id"] for _ in range(7)}
    for pattern in ("region=central", "district=downtown"):
        found: list[str] = []
        url = f"/v1/incidents?{pattern}&category=graffiti&limit=3"
        while url:
            page = here.client.get(url)
            assert len(page.json()["incidents"]) <= 3
            found += [one["incident_id"] for one in page.json()["incidents"]]
            url = page.links["next"]["url"] if "next" in page.links else ""
            assert bool(url) == (page.json()["next"] is not None)
        assert len(found) == len(set(found))
        assert set(found) == made
    other = here.client.get(f"/v1/incidents?region=central&status=reported&limit=2&cursor={page.json()['next'] or 'x'}")
    assert other.json()["errors"][0]["field"] == "cursor"
    mine = here.client.get("/v1/incidents?reported_by=me", headers=here.auth("c9", "citizen")).json()
    assert mine == {"incidents": [], "next": None}
    on_map = here.client.get("/v1/map.geojson?district=downtown&category=graffiti")
    assert on_map.headers["content-type"] == "application/geo+json"
    assert {one["id"] for one in on_map.json()["features"]} == made
    assert on_map.json()["features"][0]["geometry"] == {"type": "Point", "coordinates": [-123.1166, 49.2807]}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", ""),
        ("region=central", ""),
        ("region=central&district=downtown", ""),
        ("region=central&status=reported&category=waste", ""),
        ("region=central&status=nothing", "status"),
        ("region=nowhere&status=reported", "region"),
        ("region=central&status=reported&order=asc", "order"),
        ("region=central&region=west&status=reported", "region"),
        ("region=central&status=reported&limit=0", "limit"),
        ("region=central&status=reported&limit=1e9", "limit"),
        ("region=central&status=reported&cursor=AAAA", "cursor"),
    ],
)
def test_any_other_list_is_refused_and_the_five_are_named(here: Town, query: str, field: str) -> None:
    answer = here.client.get(f"/v1/incidents?{query}")
    assert answer.status_code == 400
    (fault,) = answer.json()["errors"]
    assert fault["field"] == field
    if not field:
        assert "region & status" in fault["message"]


BAD: list[tuple[Any, set[str]]] = [
    ({}, {"title", "category", "lat"}),
    ([], {""}),
    (report(title="x" * 121), {"title"}),
    (report(title=7, lat="49.26"), {"title", "lat"}),
    (report(title="call kim@example.org"), {"title"}),
    (report(title="call 604 555 0100"), {"title"}),
    (report(title="a <script>alert(1)</script>"), {"title"}),
    (report(title="a \u0000 b"), {"title"}),
    (report(title="a \ud800 b"), {"title"}),
    (report(description="<b>bold</b>"), {"description"}),
    (report(lat=49.9), {"lat"}),
    (report(lat=None), {"lat"}),
    (report(category="volcano", severity="dreadful"), {"category", "severity"}),
    (report(district="downtown"), {"district"}),
    (report(colour="red", size=3), {"colour", "size"}),
    (report(**{"\ud800": 1}), {"\ufffd"}),
    (report(occurred_at="2026-03-09T20:00:00Z"), {"occurred_at"}),
    (report(contact={"email": "nobody", "fax": "1"}), {"contact.email", "contact.fax"}),
    (report(category="street_light"), {"attributes.fault"}),
    (report(attributes={"depth_cm": "deep", "width": 1}), {"attributes.depth_cm", "attributes.width"}),
]


@pytest.mark.parametrize(("body", "fields"), BAD)
def test_bad_input_is_refused_with_every_field_and_nothing_is_written(
    here: Town, body: object, fields: set[str]
) -> None:
    before = here.changes()
    answer = here.client.post("/v1/incidents", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert {one["field"].replace("?", "\ufffd") for one in answer.json()["errors"]} == fields
    assert all(one["message"] for one in answer.json()["errors"])
    assert here.changes() == before


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b'{"title": NaN}', "application/json", 400),
        (b'{"title": "a", "title": "b"}', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"9" * 100_000, "application/json", 400),
        (b"{}", "text/plain", 400),
        (b'"' + b"x" * 300_000 + b'"', "application/json", 413),
    ],
)
def test_what_is_no_report_at_all_is_refused(here: Town, content: bytes, kind: str, status: int) -> None:
    before = here.changes()
    answer = here.client.post("/v1/incidents", content=content, headers={"Content-Type": kind})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert here.changes() == before


def test_a_body_is_cut_off_while_it_is_read(here: Town) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000

    answer = here.client.post("/v1/incidents", content=endless(), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_comments_support_bulk_and_counts(here: Town) -> None:
    officer, manager = here.auth("o1", "officer"), here.auth("m1", "district_manager")
    made = [here.report(here.auth("c1", "citizen"))["incident_id"] for _ in range(2)]
    where = f"/v1/incidents/{made[0]}"
    assert here.client.post(f"{where}/support").status_code == 401
    for _ in range(2):
        assert here.client.post(f"{where}/support", headers=here.auth("c2", "citizen")).json()["supporters"] == 1
    noted = here.client.post(f"{where}/comments", json={"note": "internal", "public": False}, headers=officer)
    assert noted.status_code == 201
    once = {**officer, "Idempotency-Key": "note-1"}
    sent = [here.client.post(f"{where}/comments", json={"note": "sent twice"}, headers=once) for _ in range(2)]
    assert [one.status_code for one in sent] == [201, 201]
    assert here.client.get(f"{where}/history", headers=officer).text.count("sent twice") == 1
    assert here.client.post(f"{where}/comments", json={"note": "other"}, headers=once).status_code == 409
    assert "internal" not in here.client.get(f"{where}/history").text
    assert "internal" in here.client.get(f"{where}/history", headers=officer).text
    before = here.client.get("/v1/stats").json()
    bulk = {"incidents": [*made, "none"], "to": "rejected", "resolution": "spam", "note": "advertising"}
    assert here.client.post("/v1/incidents/transitions", json=bulk, headers=officer).status_code == 403
    done = here.client.post("/v1/incidents/transitions", json=bulk, headers=manager).json()
    assert set(done["incidents"]) == set(made)
    assert done["problems"]["none"]["status"] == 404
    after = here.client.get("/v1/stats").json()
    assert after["total"] == before["total"] == sum(one["incidents"] for one in after["counts"])
    assert before["open"] - after["open"] == 2
    assert after["by_status"]["rejected"] - before["by_status"].get("rejected", 0) == 2


def test_everything_that_is_wrong_with_the_question_for_a_list_is_said_at_once(here: Town) -> None:
    answer = here.client.get("/v1/incidents?region=atlantis&limit=0&colour=red")
    assert answer.status_code == 400
    assert {one["field"] for one in answer.json()["errors"]} == {"region", "limit", "colour", ""}


def test_who_goes_too_fast_waits_and_others_do_not(tmp_path: Path) -> None:
    slow = town(tmp_path, rate_limit=2)
    codes = [slow.client.post("/v1/incidents", json=report()).status_code for _ in range(3)]
    assert codes == [201, 201, 429]
    refused = slow.client.post("/v1/incidents", json=report())
    assert refused.headers["Retry-After"] == "30"
    assert slow.changes() == 2
    assert slow.client.post("/v1/incidents", json=report(), headers=slow.auth("c1")).status_code == 201
    slow.clock.time = slow.clock.time.replace(minute=31)
    assert slow.client.post("/v1/incidents", json=report()).status_code == 201


def test_answers_carry_their_guards_and_nobody_elses_pages_may_read_them(here: Town, tmp_path: Path) -> None:
    named = "7f3ab7a0-2a1c-4d6b-9c0e-0d5a4c1f2b3e"
    answer = here.client.get("/health", headers={"Origin": "https://elsewhere.example", "X-Request-ID": named})
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-request-id"] == named
    assert "access-control-allow-origin" not in answer.headers
    assert here.client.get("/health", headers={"X-Request-ID": "kim@example.org"}).headers["x-request-id"] != (
        "kim@example.org"
    )
    open_to = town(tmp_path, allowed_origins=["https://app.example"])
    for origin, allowed in (("https://app.example", True), ("https://elsewhere.example", False)):
        answer = open_to.client.get("/health", headers={"Origin": origin})
        assert (answer.headers.get("access-control-allow-origin") == origin) is allowed
    wrong = here.client.delete("/v1/incidents")
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET, HEAD, POST")
    assert here.client.get("/nothing").headers["content-type"] == "application/problem+json"


def test_a_failure_tells_neither_client_nor_log_what_people_wrote(
    here: Town, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    canaries = ("kim-canary@example.org", "604 555 0199", "Canary Street", "subject-canary")
    body = report(address="1 Canary Street", contact={"email": canaries[0], "phone": canaries[1]})
    headers = here.auth("subject-canary", "citizen")
    with caplog.at_level(logging.DEBUG):
        assert here.client.post("/v1/incidents?token=Canary+Street", json=body, headers=headers).status_code == 201
        assert here.client.post("/v1/incidents", json={**body, "lat": 1}, headers=headers).status_code == 400
        graph = {"query": 'mutation { report(report: {title: "Canary Street", category: "x"}) { replayed } }'}
        assert here.client.post("/graphql", json=graph, headers=headers).status_code == 200

        def broken(*_: object, **__: object) -> None:
            raise ZeroDivisionError("Canary Street")

        monkeypatch.setattr(here.app.state.desk.service, "report", broken)
        for path, sent in (("/v1/incidents", body), ("/graphql", graph)):
            failed = here.client.post(path, json=sent, headers=headers)
            assert "Canary" not in failed.text
            assert failed.status_code == (500 if path == "/v1/incidents" else 200)
    lines = [json.loads(record.message) for record in caplog.records if record.name == "city_platform.api"]
    assert [line["status"] for line in lines] == [201, 400, 200, 500, 200]
    assert [line.get("error") for line in lines[-2:]] == ["ZeroDivisionError"] * 2
    assert any("broken" in place for place in lines[-1]["where"])
    logged = "".join(record.getMessage() for record in caplog.records if not record.name.startswith("httpx"))
    for canary in (*canaries, "Canary"):
        assert canary not in logged


def test_a_store_that_does_not_answer_is_a_503_with_a_time(here: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise RepositoryUnavailable("the disk is full")

    monkeypatch.setattr(type(here.app.state.desk.counter), "get", away)
    for path in ("/health", "/v1/incidents/01J00000000000000000000000"):
        answer = here.client.get(path)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "disk" not in answer.text
