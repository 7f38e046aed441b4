"""The page of incidents for everybody: no login, no personal data, places no finer than 100 m, new ones by itself."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from city_platform.incidents.repository import Counted, NotCountedYet
from city_platform.local.incidents import SqliteIncidentRepository
from tests.api import Town, town
from tests.integration.test_api_form import accessible
from tests.patience import PATIENCE_S


@pytest.fixture
def here(tmp_path: Path) -> Town:
    return town(tmp_path)


def test_a_new_incident_is_on_the_page_without_anybody_doing_anything(here: Town) -> None:
    empty = here.client.get("/dashboard")
    assert "Nothing was reported." in empty.text
    accessible(empty.text)
    made = here.report(here.auth("c1", "citizen"), title="Hole <here>".replace("<here>", "& there"))
    here.clock.time += timedelta(seconds=10)
    shown = here.client.get("/dashboard")
    assert made["public_ref"] in shown.text
    assert "Hole &amp; there" in shown.text
    assert "<dt>incidents</dt><dd>1</dd>" in shown.text
    assert "Mount Pleasant" in shown.text
    accessible(shown.text)
    assert int(shown.headers["refresh"]) <= 60
    assert "script" not in shown.headers["content-security-policy"]
    assert " style=" not in shown.text  # which that policy would not let through


def test_before_anything_was_counted_the_page_shows_what_was_reported(
    here: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = here.report()

    def nothing(_: SqliteIncidentRepository) -> Counted:
        raise NotCountedYet("nothing was published so far")

    monkeypatch.setattr(SqliteIncidentRepository, "counts", nothing)
    shown = here.client.get("/dashboard")
    assert (shown.status_code, made["public_ref"] in shown.text) == (200, True)
    assert "<dt>incidents</dt>" not in shown.text


def test_nobody_is_found_by_the_page(here: Town) -> None:
    citizen = here.auth("canary-subject", "citizen")
    here.report(citizen, contact={"email": "canary@example.org"}, description="canary text", postal_code="V5Y 1V4")
    here.report(citizen, visibility="private", title="canary private")
    hidden = here.report(citizen, category="public_safety", title="Somebody follows me", lat=49.26334, long=-123.09851)
    page = here.client.get("/dashboard").text
    assert hidden["public_ref"] in page
    for secret in ("canary", "V5Y", "49.26334"):
        assert secret not in page


def test_places_on_the_map_are_no_finer_than_a_hundred_metres(here: Town) -> None:
    for lat in (49.26331, 49.26349, 49.26271):  # within half a thousandth of a degree of 49.263
        here.report(lat=lat, long=-123.0985)
    page = here.client.get("/dashboard").text
    assert len(set(re.findall(r'<circle cx="[0-9.]+" cy="[0-9.]+"', page))) == 1
    assert page.count("<circle") == 3


def test_the_page_is_made_once_for_all_who_ask_within_some_seconds(here: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = SqliteIncidentRepository.counts
    times: list[int] = []

    def counting(repository: SqliteIncidentRepository) -> Counted:
        times.append(1)
        return counted(repository)

    monkeypatch.setattr(SqliteIncidentRepository, "counts", counting)
    for expected in (1, 2):
        for address in ("/dashboard", "/dashboard?refresh=off", "/dashboard"):
            assert here.client.get(address).status_code == 200
        assert len(times) == expected
        here.clock.time += timedelta(seconds=5)


def test_who_asks_while_the_page_is_made_gets_the_one_before(here: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that answers slowly would else hold every thread that serves requests."""
    before = here.client.get("/dashboard").text
    here.clock.time += timedelta(seconds=5)
    counted, asked, go_on = SqliteIncidentRepository.counts, threading.Event(), threading.Event()

    def slow(repository: SqliteIncidentRepository) -> Counted:
        asked.set()
        assert go_on.wait(PATIENCE_S)
        return counted(repository)

    monkeypatch.setattr(SqliteIncidentRepository, "counts", slow)
    with ThreadPoolExecutor() as others:
        first = others.submit(here.client.get, "/dashboard")
        assert asked.wait(PATIENCE_S)
        try:
            assert here.client.get("/dashboard").text == before
        finally:
            go_on.set()
        assert first.result().text != before


def test_the_page_holds_still_for_who_wants_it(here: Town) -> None:
    renewed = here.client.get("/dashboard")
    still = re.search(r'<a href="([^"]+)">Hold still</a>', renewed.text)
    assert still
    assert "refresh" in renewed.headers
    assert "refresh" not in here.client.get(still[1]).headers
