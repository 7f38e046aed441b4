"""Traffic and incidents on this machine, by the commands: a jam becomes an incident, another is explained by one."""

import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from city_platform.api.composition import open_api
from city_platform.cli.app import app
from city_platform.deployment import open_platform
from city_platform.deployment.incidents import open_incident_repository, open_incident_service
from city_platform.incidents.service import IncidentService
from city_platform.local.clock import SystemClock
from city_platform.local.traffic_state import SqliteTrafficState
from city_platform.traffic.registry import generate
from city_platform.traffic.roads import generate_roads
from tests.incidents import ADMIN
from tests.traffic_minutes import START, due, fill

SMALL = generate(11, 20, 2)
ROADS = generate_roads(SMALL)
JAMMED, CLOSED = SMALL.zones


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The commands listen to signals; the tests' own process goes on with what it had."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Day:
    """A clock that the platform shows, and traffic that comes as it goes on."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.minute = home, -1
        self.now = datetime.fromtimestamp(START / 1000, UTC)
        monkeypatch.setattr(SystemClock, "now", lambda _: self.now)
        self.state = SqliteTrafficState(home / "traffic" / "state.sqlite", durable=False)

    def goes_on(self, minutes: int, index: float) -> None:
        for _ in range(minutes):
            self.minute += 1
            fill(self.state, self.minute, dict.fromkeys(SMALL.zones, index), registry=SMALL)
        self.now = datetime.fromtimestamp(due(self.minute) / 1000, UTC)

    def command(self, *words: str) -> dict[str, Any]:
        done = CliRunner().invoke(app, ["traffic", *words, "--home", str(self.home), "--json"])
        assert done.exit_code == 0, done.output
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def sent(self) -> list[str]:
        """The subjects that were mailed."""
        file = self.home / "traffic" / "sent.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [one["subject"] for one in lines if one["once"].startswith("alert#email#")]

    def service(self) -> IncidentService:
        platform = open_platform(self.home)
        return open_incident_service(platform, open_incident_repository(self.home, platform.clock))


def test_a_jam_becomes_an_incident_and_one_that_an_incident_explains_alarms_nobody(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_REGISTRY", "11:20:2")
    day = Day(home, monkeypatch)
    day.goes_on(1, 5.0)
    assert day.command("watch", "--once")["minutes"] == 1
    place = SMALL.zone_index[CLOSED]
    middle = [float(one[place]) + half / 2 for one, half in ((ROADS.south, ROADS.height), (ROADS.west, ROADS.width))]
    said = {"title": "Road closed for a race", "category": "traffic_disruption", "channel": "officer"}
    race = day.service().report({**said, "lat": middle[0], "long": middle[1]}, ADMIN).incident
    looked = day.command("incidents", "--once")
    assert (looked["explained_zones"], looked["open"]) == (1, 0)
    assert day.command("maintenance")["explained_zones"] == {CLOSED: [race.public_ref]}

    day.goes_on(25, 80.0)
    assert day.command("watch", "--once")["published"] == 2
    assert day.sent() == [f"{JAMMED}: traffic is severe, it was normal"]
    assert day.command("incidents", "--once")["opened"] == 0  # off, unless a city wants it
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_INCIDENTS", "on")
    assert day.command("incidents", "--once")["opened"] == 1
    assert day.command("incidents", "--once")["opened"] == 0
    alerts = day.command("alerts")
    assert [(one["zone"], one["how"]) for one in alerts["incidents"]] == [(JAMMED, "opened"), (CLOSED, "explains")]
    assert {one["where"]: one["people"] for one in alerts["events"]} == {
        JAMMED: "", CLOSED: f"known: {race.public_ref}",
    }  # fmt: skip
    jam = alerts["incidents"][0]
    shown = CliRunner().invoke(app, ["traffic", "alerts", "--home", str(home)]).stdout
    assert f"Incident {jam['public_ref']} was opened for {JAMMED}" in shown
    assert f"Incident {race.public_ref} explains {CLOSED}" in shown

    with TestClient(open_api(home, {"CITY_PLATFORM_TRAFFIC_REGISTRY": "11:20:2"})) as client:
        pages = {path: client.get(path).text for path in (
            "/traffic", f"/traffic/zones/{JAMMED}", f"/incidents/{race.public_ref}", f"/incidents/{jam['public_ref']}",
        )}  # fmt: skip
        zones = {one["id"]: one["properties"] for one in client.get("/traffic/v1/map.geojson").json()["features"]}
    whole, zone, explaining, opened = pages.values()
    for incident in (race.public_ref, jam["public_ref"]):
        assert f'href="/incidents/{incident}"' in whole
    assert f'href="/incidents/{jam["public_ref"]}"' in zone
    assert race.public_ref not in zone
    assert f'It explains what traffic shows in <a href="/traffic/zones/{CLOSED}">' in explaining
    assert f'Sensors of traffic have opened it for <a href="/traffic/zones/{JAMMED}">' in opened
    assert [one["how"] for one in zones[JAMMED]["incidents"]] == ["opened"]
    assert [one["public_ref"] for one in zones[CLOSED]["incidents"]] == [race.public_ref]

    day.goes_on(5, 5.0)
    assert day.command("watch", "--once")["published"] == 2
    assert day.sent()[1:] == [f"{JAMMED}: traffic is normal again, it was severe"]
    assert day.command("incidents", "--once")["withdrawn"] == 0
    day.goes_on(16, 5.0)
    day.command("watch", "--once")
    ended = day.command("incidents", "--once")
    assert (ended["withdrawn"], ended["open"], ended["explained_zones"]) == (1, 0, 1)
    assert day.service().get(jam["incident_id"], ADMIN).status == "cancelled"
    assert len(day.sent()) == 2


def test_where_no_traffic_runs_looking_makes_none(home: Path) -> None:
    done = CliRunner().invoke(app, ["traffic", "incidents", "--once", "--home", str(home), "--json"])
    assert (done.exit_code, json.loads(done.stdout)["looks"]) == (0, 0)
    assert not (home / "traffic" / "state.sqlite").exists()


def test_a_table_that_cannot_be_used_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_INCIDENTS", str(home / "absent.yaml"))
    SqliteTrafficState(home / "traffic" / "state.sqlite", durable=False).record("ingest")
    done = CliRunner().invoke(app, ["traffic", "incidents", "--once", "--home", str(home), "--json"])
    assert (done.exit_code, "neither off nor on" in json.loads(done.stdout)["error"]) == (3, True)
    monkeypatch.setenv("CITY_PLATFORM_DEPLOYMENT", "aws")
    assert CliRunner().invoke(app, ["traffic", "incidents", "--once", "--home", str(home)]).exit_code == 2
