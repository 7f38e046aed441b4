"""`city-platform fetch` and `changes` as their users call them, against a portal on this machine."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.portal import client
from city_platform.portal.settings import PORTAL
from city_platform.samples import generate
from tests.portal_server import STATE, Fault, PortalServer

LICENCES = "business_licences"
ERAS = ("business-licences", "business-licences-2013-to-2024", "business-licences-1997-to-2012")


@pytest.fixture
def portal(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PortalServer]:
    """Serves the same small year as every era: what the eras hold is not the matter here."""
    generate(LICENCES, tmp_path / "licences.csv", 60, 7, (2024,))
    monkeypatch.setattr(client, "FIRST_BACKOFF", 0.0)
    with PortalServer() as portal:
        for era in ERAS:
            portal.serve(era, tmp_path / "licences.csv", 60)
        monkeypatch.setenv(PORTAL, portal.url)
        monkeypatch.setenv("CITY_PLATFORM_HOME", str(home))
        yield portal


def call(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code, and the one JSON object on standard output."""
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done.exit_code, json.loads(done.stdout)


def outcomes(told: dict[str, Any]) -> list[str]:
    return [one["outcome"] for one in told["sources"]]


@pytest.mark.usefixtures("portal")
def test_what_changed_is_fetched_landed_and_made_and_the_rest_left_alone() -> None:
    assert outcomes(call("fetch", LICENCES, "--check")[1]) == ["changed"] * 3
    code, told = call("fetch", LICENCES)
    assert (code, told["failures"]) == (0, [])
    assert outcomes(told) == ["landed", "same bytes", "same bytes"]
    assert told["sources"][0]["partitions"] == ["2024"]
    assert told["sources"][0]["rows"] == told["sources"][0]["portal"]["records"] == 60
    assert outcomes(call("fetch", LICENCES)[1]) == ["unchanged"] * 3
    code, told = call("changes", LICENCES, "--rows", "5")
    assert (code, told["partitions"][0]["changes"]) == (0, None)
    shown = CliRunner().invoke(app, ["changes", LICENCES])
    assert "first version" in shown.stdout


def test_exit_codes_say_who_has_to_act(portal: PortalServer) -> None:
    assert call("fetch", "nothing_like_it")[0] == 2
    assert call("fetch", LICENCES, "--check", "--portal", "portal.example.org")[0] == 3
    portal.faults[STATE].extend([Fault(status=503)] * 5)
    code, told = call("fetch", LICENCES, "--check")
    assert (code, outcomes(told)) == (4, ["unavailable", "changed", "changed"])
    assert "answers 503" in told["sources"][0]["why"]
    del portal.datasets[ERAS[1]]
    code, told = call("fetch", LICENCES, "--check")
    assert (code, outcomes(told)) == (3, ["changed", "refused", "changed"])
    shown = CliRunner().invoke(app, ["fetch", LICENCES, "--check"])
    assert "does not exist" in " ".join(shown.stderr.split())
    assert "changed" in shown.stdout
