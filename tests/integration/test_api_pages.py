"""The site as a browser meets it: its first page, a page for an incident, pages for errors, and HEAD."""

from pathlib import Path

import pytest

from city_platform.incidents.repository import RepositoryUnavailable
from city_platform.local.incidents import SqliteIncidentRepository
from tests.api import Town, town
from tests.integration.test_api_form import accessible

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return town(tmp_path_factory.mktemp("pages"))


@pytest.mark.parametrize("address", ["/", "/report?category=waste", "/dashboard", "/traffic", "/open-data", "/health"])
def test_head_answers_as_get_without_the_body(here: Town, address: str) -> None:
    whole, head = here.client.get(address), here.client.head(address)
    assert (head.status_code, head.content) == (200, b"")
    passing = {"x-request-id", "content-security-policy", "etag"}  # a form's key is another one each time
    assert {*head.headers} - passing == {*whole.headers} - passing
    assert head.headers["content-length"] == whole.headers["content-length"]


def test_head_is_not_taken_where_get_is_not(here: Town) -> None:
    refused = here.client.head("/graphql")
    assert (refused.status_code, refused.headers["allow"], refused.content) == (405, "POST", b"")


def test_every_page_leads_to_the_others_and_says_which_it_is(here: Town) -> None:
    for address in ("/", "/report", "/dashboard", "/traffic", "/open-data"):
        text = here.client.get(address).text
        assert f'<a href="{address}" aria-current=page>' in text
        assert text.count(" aria-current=") == 1
        assert '<nav aria-label="This site">' in text


def test_what_was_reported_is_followed_by_its_number(here: Town) -> None:
    officer = here.auth("o1", "officer")
    made = here.report(title="Hole & <3", description="First line\nkim@example.org", address="1 Main Street")
    closing = {"to": "resolved", "resolution": "fixed", "note": "Filled on Tuesday."}
    of_it = f"/v1/incidents/{made['incident_id']}"
    here.client.post(f"{of_it}/comments", json={"note": "internal canary"}, headers=officer)
    assert here.client.post(f"{of_it}/transitions", json=closing, headers=officer).status_code == 200
    start = here.client.get("/")
    accessible(start.text)
    assert '<form class="search" action="/incidents">' in start.text
    page = here.client.get("/incidents", params={"number": made["public_ref"].lower()})
    accessible(page.text)
    for said in (made["public_ref"], "resolved, fixed", "Filled on Tuesday.", "Hole &amp; &lt;3", "Mount Pleasant"):
        assert said in page.text
    assert "09:30 PDT" in page.text  # the city's time
    for secret in ("canary", "kim@example.org", "o1"):
        assert secret not in page.text
    assert here.client.get(f"/v1/incidents/{made['public_ref']}").json()["incident_id"] == made["incident_id"]
    query = f'{{ incident(incidentId: "{made["public_ref"]}") {{ title }} }}'
    assert here.client.post("/graphql", json={"query": query}).json()["data"]["incident"]["title"] == "Hole & <3"


@pytest.mark.parametrize("number", ["", "VAN-2026-AAAAAA", "<script>", "../v1"])
def test_a_number_that_is_none_leads_to_a_page_that_asks_again(here: Town, number: str) -> None:
    page = here.client.get("/incidents", params={"number": number})
    assert (page.status_code, 'action="/incidents"' in page.text) == (404, True)
    accessible(page.text)


def test_what_not_everybody_may_see_has_no_page(here: Town) -> None:
    made = here.report(here.auth("c1", "citizen"), visibility="private", title="Private canary")
    for name in (made["incident_id"], made["public_ref"]):
        page = here.client.get(f"/incidents/{name}")
        assert (page.status_code, "canary" in page.text) == (404, False)


def test_a_browser_is_told_of_errors_on_pages_and_a_program_in_json(
    here: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = town(tmp_path, rate_limit=1)
    while slow.client.get("/health").status_code == 200 and slow.client.get("/report").status_code == 200:
        pass
    for one, address, status in ((here, "/nothing", 404), (slow, "/dashboard", 429), (here, "/graphql", 405)):
        page = one.client.get(address, headers=BROWSER)
        assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
        accessible(page.text)
        assert one.client.get(address).headers["content-type"] == "application/problem+json"

    def lost(*_: object) -> None:
        raise RepositoryUnavailable("canary")

    def broken(*_: object) -> None:
        raise ValueError("canary")

    for failure, status in ((lost, 503), (broken, 500)):
        monkeypatch.setattr(SqliteIncidentRepository, "get", failure)
        page = here.client.get("/health", headers=BROWSER)
        assert (page.status_code, "canary" in page.text) == (status, False)
        assert page.headers["x-request-id"] in page.text
        accessible(page.text)
