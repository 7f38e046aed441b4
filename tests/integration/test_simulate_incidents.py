"""Made-up reports through the real API, over loopback."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from typer.testing import CliRunner

from city_platform.api.composition import open_api
from city_platform.cli.app import app
from city_platform.incidents.model import Status
from city_platform.incidents.repository import Listing, Pattern
from city_platform.local.clock import SystemClock
from city_platform.local.incidents import SqliteIncidentRepository
from tests.incidents import reference

FEW = ["--rate", "60", "--for", "1s", "--json"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(open_api(tmp_path, {}, rate_limit=0), log_config=None))
        running = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        running.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        running.join()


def test_every_accepted_report_is_in_the_store(served: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["incidents", "simulate", *FEW, "--url", served, "--home", str(tmp_path)])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["sent"] == told["accepted"] + told["refused"] > 20
    assert told["p50_ms"] <= told["p99_ms"]
    repository = SqliteIncidentRepository(tmp_path / "incidents" / "incidents.sqlite", SystemClock())
    kept = [
        incident
        for region in reference().regions
        for incident in repository.list(Listing(Pattern.REGION_STATUS, (region, Status.REPORTED)), 1000)
    ]
    assert len(kept) == told["accepted"]
    citizens = {incident.reported_by for incident in kept}
    assert None in citizens
    assert len(citizens) > 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--url", "http://127.0.0.1:9"], 4, "city-platform serve"),
        (["--url", "https://311.example.org"], 2, "not on this machine"),
        (["--for", "10"], 2, "write 30s, 5m or 2h"),
        (["--for", "25h"], 2, "a day at most"),
    ],
)
def test_what_cannot_be_simulated(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    done = CliRunner().invoke(app, ["incidents", "simulate", *FEW, "--home", str(tmp_path), *arguments])
    assert done.exit_code == code
    assert said in json.loads(done.stdout)["error"]
