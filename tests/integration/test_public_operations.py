"""What the API's description says of tokens, held against what the API does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api import Town, town
from tests.incidents import report

BODIES: dict[str, dict[str, Any]] = {
    "/transitions": {"to": "acknowledged"},
    "/comments": {"note": "The crew comes on Tuesday.", "public": True},
    "/media": {"content_type": "image/jpeg", "bytes": 1000},
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return town(tmp_path_factory.mktemp("api"))


def operations(here: Town, *, needing: bool) -> Iterator[tuple[str, str]]:
    for path, described in here.app.openapi()["paths"].items():
        for method, operation in described.items():
            if ({} not in operation["security"]) is needing:
                yield method.upper(), path


def test_without_a_token_one_is_sent_to_sign_in_where_the_description_says_so(here: Town) -> None:
    incident = here.report()["incident_id"]
    asked = list(operations(here, needing=True))
    assert len(asked) == 9
    for method, path in asked:
        body: dict[str, Any] | None = next((body for end, body in BODIES.items() if path.endswith(end)), None)
        if path == "/v1/incidents/transitions":
            body = {"incidents": [incident], "to": "rejected", "note": "spam", "resolution": "spam"}
        if method == "PATCH":
            body = {"title": "Deep pothole in the lane"}
        where = path.format(incident_id=incident, name="01K00000000000000000000000")
        answer = here.client.request(method, where, json=body, headers={"If-Match": "*"} if method == "PATCH" else {})
        assert answer.status_code == 401, (method, path, answer.text)
    assert here.client.get(f"/v1/incidents/{incident}").json()["status"] == "reported"


def test_whatever_else_there_is_answers_anybody(here: Town) -> None:
    incident = here.report()["incident_id"]
    bodies = {"/v1/incidents": report(), "/graphql": {"query": "{ __typename }"}}
    asked = list(operations(here, needing=False))
    assert len(asked) > 15
    for method, path in asked:
        where = path.format(incident_id=incident, name="n", token="t", zone="z", sensor="s")  # noqa: S106 -- of a path
        answer = here.client.request(method, where, json=bodies.get(path) if method == "POST" else None)
        assert answer.status_code not in {401, 403, 405, 500}, (method, path, answer.text)


def test_origins_of_the_functions_environment_may_use_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from city_platform.functions import api

    monkeypatch.setenv("CITY_PLATFORM_HOME", str(tmp_path))
    monkeypatch.setenv("CITY_PLATFORM_ALLOWED_ORIGINS", "https://app.city.example https://b.city.example")
    made: dict[str, Any] = {}
    monkeypatch.setattr(api, "log_to", lambda: None)
    monkeypatch.setattr(api, "Mangum", lambda app, **_: made.setdefault("app", app))
    api._application.__wrapped__()
    options = [one.kwargs["allow_origins"] for one in made["app"].user_middleware if "allow_origins" in one.kwargs]
    assert options == [["https://app.city.example", "https://b.city.example"]]
