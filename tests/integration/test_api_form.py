"""The citizens' form: it works without a script, keeps what was typed, and says beside each field what is wrong."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.api import Town, town


class Page(HTMLParser):
    """Ids, labels, controls and references of a page; an element that is left open is a failure."""

    VOID = frozenset({"meta", "input", "br", "link", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.labelled: set[str] = set()
        self.controls: dict[str, dict[str, Any]] = {}
        self.refers: set[str] = set()
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if name := given.get("id"):
            self.ids.append(name)
        if tag == "label" and given.get("for"):
            self.labelled.add(str(given["for"]))
        if tag in {"input", "textarea", "select"} and given.get("type") not in {"hidden", "checkbox"}:
            self.controls[str(given["name"])] = given
        for name in ("aria-describedby", "aria-labelledby"):
            self.refers |= set(str(given.get(name) or "").split())
        if tag == "a" and str(given.get("href")).startswith("#"):
            self.refers.add(str(given["href"])[1:])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return town(tmp_path_factory.mktemp("form"))


def accessible(text: str, *, scripted: bool = False) -> Page:
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert page.refers <= {*page.ids}
    assert {one["id"] for one in page.controls.values()} <= page.labelled
    assert ("script" in page.tags) is scripted
    assert 'lang="en-CA"' in text
    return page


def test_a_report_is_sent_through_the_form(here: Town) -> None:
    start = here.client.get("/report")
    accessible(start.text)
    assert start.text.count("/report?category=") == len(here.app.state.desk.service.reference.categories)
    form = here.client.get("/report?category=street_light")
    page = accessible(form.text, scripted=True)
    assert "attributes.fault" in page.controls
    key = re.search(r'name="key" value="([^"]+)"', form.text)
    assert key
    filled = {
        "category": "street_light",
        "key": key[1],
        "title": "Lamp <3 is out",
        "description": " It has been dark for a week. ",
        "address": "453 West 12th Avenue",
        "district": "mount-pleasant",
        "attributes.fault": "out",
        "attributes.pole_number": "",
        "contact.email": "kim@example.org",
        "postal_code": "v5y 1v4",
    }
    done = here.client.post("/report", data=filled, follow_redirects=False)
    assert done.status_code == 303
    again = here.client.post("/report", data=filled, follow_redirects=False)
    assert again.headers["location"] == done.headers["location"]  # pressed twice
    other = [
        here.client.post("/report", data={**filled, "title": "Another lamp"}, follow_redirects=False).headers[
            "location"
        ]
        for _ in range(2)
    ]
    assert other[0] == other[1] != done.headers["location"]  # went back, wrote of another one, and pressed twice
    thanks = here.client.get(done.headers["location"])
    accessible(thanks.text, scripted=True)
    made = here.client.get(f"/v1/incidents/{done.headers['location'].rpartition('/')[2]}").json()
    assert made["public_ref"] in thanks.text
    assert "Lamp &lt;3 is out" in thanks.text
    assert (made["district"], made["attributes"], made["channel"]) == ("mount-pleasant", {"fault": "out"}, "web")
    assert "style-src 'sha256-" in thanks.headers["content-security-policy"]


def test_the_thanks_outlast_the_category(here: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = {"category": "other", "title": "A thing in the street", "address": "1 Main Street"}
    done = here.client.post("/report", data=sent, follow_redirects=False).headers["location"]
    service = here.app.state.desk.service
    without = {code: one for code, one in service.reference.categories.items() if code != "other"}
    monkeypatch.setattr(service, "reference", replace(service.reference, categories=without))
    assert "A thing in the street" in here.client.get(done).text


def test_everything_that_is_wrong_stands_beside_its_field_and_nothing_typed_is_lost(here: Town) -> None:
    before = here.changes()
    typed = {
        "category": "waste",
        "key": "k",
        "title": "x",
        "description": '</textarea><script>alert(1)</script> {described} "',
        "lat": "forty-nine",
        "long": "-123.1",
        "contact.email": "nobody",
        "attributes.items": "gold",
        "district": "atlantis",
    }
    answer = here.client.post("/report", data=typed)
    assert answer.status_code == 400
    assert here.changes() == before
    page = accessible(answer.text, scripted=True)
    wrong = {name for name, control in page.controls.items() if control.get("aria-invalid") == "true"}
    assert wrong == {"title", "description", "lat", "contact.email", "district"}
    for name in wrong:
        assert f"{name}-wrong" in str(page.controls[name]["aria-describedby"])
    assert 'id="attributes.items-wrong"' in answer.text
    assert page.controls["lat"]["value"] == "forty-nine"
    assert "<script>" not in answer.text
    assert "&lt;/textarea&gt;&lt;script&gt;" in answer.text

    nowhere = accessible(here.client.post("/report", data={"category": "waste", "title": "Bin"}).text, scripted=True)
    wrong = {name for name, control in nowhere.controls.items() if control.get("aria-invalid") == "true"}
    assert wrong == {"address"}  # people are asked for an address first, programs for coordinates


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"category=volcano", 400), (b"\xff=%ff", 400), (b"a=1&" * 100, 400), (b"a=" + b"x" * 300_000, 413)],
)
def test_what_is_no_form_of_ours_is_asked_for_again(here: Town, body: bytes, status: int) -> None:
    answer = here.client.post(
        "/report", content=body, headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
    )
    assert answer.status_code == status
    accessible(answer.text)


def test_whoever_cannot_be_served_is_told_so_on_a_page(tmp_path: Path) -> None:
    slow = town(tmp_path, rate_limit=1)
    for status in (400, 429):
        answer = slow.client.post(
            "/report", data={"category": "waste", "title": "x"}, headers={"Accept": "text/html,*/*;q=0.8"}
        )
        assert answer.status_code == status
        accessible(answer.text, scripted=status == 400)
    assert answer.headers["Retry-After"] == "60"
    lost = slow.client.get("/report/done/none")
    assert (lost.status_code, "There is no such report" in lost.text) == (404, True)


def test_a_browser_runs_the_pages_own_script_and_no_other(here: Town) -> None:
    form = here.client.get("/report?category=waste")
    script = form.text.partition('<script type="module">')[2].partition("</script>")[0]
    assert "localStorage" in script
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in form.headers["content-security-policy"]
    assert "script-src" not in here.client.get("/report").headers["content-security-policy"]
