"""OpenLineage events of real runs: to a receiver over HTTP, to a file, and to one that does not answer."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
import pytest

from assets.jobs import materialization_job_name
from city_platform.datasets import Dataset
from city_platform.layers import landing
from city_platform.layers.platform import Platform
from definitions import build_definitions
from tests.town import FIXTURES, bad_trees, good_trees, trees_csv

Events = list[dict[str, Any]]


class Receiver(ThreadingHTTPServer):
    """Keeps what it is sent; answers with `status`."""

    status = 201

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def events(self) -> Events:
        return [json.loads(body) for body in self.bodies]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Says nothing: the test's output is not a server's log."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def landed(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    """A good year and one whose gate stays closed."""
    for year, rows in {2023: bad_trees(2023), 2024: good_trees(2024)}.items():
        landing.land(platform, trees, trees_csv(tmp_path / f"{year}.csv", rows))


def run(home: Path, year: str, *layers: str) -> dg.ExecuteInProcessResult:
    job = build_definitions(home, FIXTURES).resolve_job_def(materialization_job_name("trees"))
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(
            partition_key=year,
            instance=instance,
            raise_on_error=False,
            asset_selection=[dg.AssetKey(["trees", layer]) for layer in layers] or None,
        )


def test_runs_tell_a_receiver_what_they_read_and_wrote(
    home: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENLINEAGE_URL", receiver.url)
    assert run(home, "2024").success
    told = {(one["job"]["name"], one["eventType"]): one for one in receiver.events}
    layers = ["raw", "cleaned", "quality_checked", "curated", "encrypted"]
    assert set(told) >= {(f"trees.{layer}", state) for layer in layers for state in ("START", "COMPLETE")}
    for layer in layers:
        start, end = (told[f"trees.{layer}", state] for state in ("START", "COMPLETE"))
        assert start["run"]["runId"] == end["run"]["runId"]
        assert UUID(end["run"]["facets"]["parent"]["run"]["runId"])
        assert end["run"]["facets"]["nominalTime"]["nominalStartTime"] == "2024-01-01T00:00:00-08:00"
        assert end["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] > 0
        facets = [*end["run"]["facets"].values(), *end["job"]["facets"].values(), *end["outputs"][0]["facets"].values()]
        assert all(facet["_schemaURL"].startswith("https://openlineage.io/") for facet in facets)
    cleaned, checked, curated = (told[f"trees.{one}", "COMPLETE"] for one in ("cleaned", "quality_checked", "curated"))
    fields = cleaned["outputs"][0]["facets"]["columnLineage"]["fields"]
    assert [one["field"] for one in fields["TreeID"]["inputFields"]] == ["TREE_ID"]
    # What one layer writes is what the next reads: the same name, the same version.
    written, read = cleaned["outputs"][0], checked["inputs"][0]
    assert (written["namespace"], written["name"]) == (read["namespace"], read["name"])
    assert written["facets"]["version"] == read["facets"]["version"]
    assertions = read["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert assertions
    assert all(one["success"] for one in assertions)
    assert "SELECT" in curated["job"]["facets"]["sql"]["query"]
    assert b"Sam Poole" not in b"".join(receiver.bodies)


def test_a_closed_gate_is_a_failure_with_its_reason(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "events.jsonl"
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__TYPE", "file")
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__LOG_FILE_PATH", str(file))
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__APPEND", "true")
    assert not run(home, "2023").success
    events: Events = [json.loads(line) for line in file.read_text().splitlines()]
    told = {(one["job"]["name"], one["eventType"]): one for one in events}
    checked = told["trees.quality_checked", "COMPLETE"]
    results = checked["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert {one["severity"] for one in results if not one["success"]} >= {"error"}
    assert ("trees.curated", "START") not in told  # the check stops what is downstream in the same run
    assert not run(home, "2023", "curated").success
    start, end = (json.loads(line) for line in file.read_text().splitlines()[-2:])
    assert [one["eventType"] for one in (start, end)] == ["START", "FAIL"]
    assert start["run"]["runId"] == end["run"]["runId"]
    assert "completeness_species" in end["run"]["facets"]["errorMessage"]["message"]


def test_a_receiver_that_is_away_or_refuses_costs_a_warning_and_nothing_else(
    home: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    receiver.status = 403
    monkeypatch.setenv("OPENLINEAGE_URL", receiver.url)
    assert run(home, "2024", "raw", "cleaned").success
    assert [one["job"]["name"] for one in receiver.events] == ["trees.raw", "trees.cleaned"]  # each tried once
    assert "An OpenLineage event was not delivered (HTTPError); the run goes on" in capfd.readouterr().err


def test_nothing_is_sent_unasked(home: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLINEAGE_URL", "")
    assert run(home, "2024", "raw").success
    assert receiver.bodies == []
