"""The web interface and the daemon, for real: a dropped file finds its way, a backfill of several years runs."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from city_platform.datasets import load_datasets
from city_platform.layers import freshness, landing
from city_platform.local.platform import local_platform
from city_platform.samples import generate
from tests.town import ROOT

YEARS = (2022, 2023)
DATASET = "parking_tickets"
LAYERS = ("raw", "cleaned", "quality_checked", "rejected", "curated", "encrypted")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up") / "home"


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[str]:
    """`city-platform up` over a home where two years have landed and nothing is materialized."""
    file = home.parent / "tickets.csv"
    generate(DATASET, file, 2000, 7, YEARS)
    dataset = next(one for one in load_datasets(ROOT / "datasets") if one.name == DATASET)
    landing.land(local_platform(home), dataset, file)
    port = free_port()
    child = subprocess.Popen(
        [sys.executable, "-m", "city_platform", "up", "--port", str(port), "--home", str(home)],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait(lambda: answers(url), 240)
        yield url
    finally:
        os.kill(child.pid, signal.SIGTERM)
        child.wait(60)
    assert not answers(url), "the server outlived the command"


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=5) as reply:  # noqa: S310 -- loopback
            return bool(reply.status == 200)
    except OSError:
        return False


def ask(url: str, query: str, **variables: object) -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(  # noqa: S310 -- loopback
        f"{url}/graphql", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310 -- loopback
        answer = json.load(reply)
    assert "errors" not in answer, answer
    return answer["data"]


def wait(until: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(1)


def up_to_date(home: Path) -> bool:
    platform = local_platform(home)
    dataset = next(one for one in load_datasets(ROOT / "datasets") if one.name == DATASET)
    years = freshness.partitions(platform, dataset)
    return bool(years) and not any(freshness.outdated(platform, dataset, year) for year in years)


def test_what_has_landed_is_brought_up_to_date(server: str, home: Path) -> None:
    wait(lambda: up_to_date(home), 180)
    found = ask(
        server, "{ assetNodes { assetKey { path } groupName kinds owners { ... on TeamAssetOwner { team } } } }"
    )
    mine = [node for node in found["assetNodes"] if node["groupName"] == DATASET]
    assert {node["assetKey"]["path"][1] for node in mine} >= {
        "raw",
        "cleaned",
        "quality_checked",
        "curated",
        "encrypted",
    }
    assert all(node["kinds"] and node["owners"] for node in mine)


@pytest.mark.usefixtures("server")
def test_a_dropped_file_finds_its_way(home: Path) -> None:
    before = local_platform(home).lake.require("landing", DATASET, "all").sequence
    folder = home / "drop" / DATASET
    folder.mkdir(parents=True)
    generate(DATASET, folder / "more.jsonl", 500, 8, (2024,))
    wait((folder / "landed" / "more.jsonl").exists, 180)
    assert local_platform(home).lake.require("landing", DATASET, "all").sequence == before + 1
    wait(lambda: local_platform(home).lake.latest("encrypted", DATASET, "2024"), 180)


def test_a_backfill_of_several_years(server: str, home: Path) -> None:
    wait(lambda: up_to_date(home), 180)
    before = {year: local_platform(home).lake.require("cleaned", DATASET, str(year)).sha256 for year in YEARS}
    launched = ask(
        server,
        """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
             __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
        params={
            "assetSelection": [{"path": [DATASET, layer]} for layer in LAYERS],
            "partitionNames": [str(year) for year in YEARS],
        },
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    status = (
        "query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"
    )

    def state() -> str:
        return str(ask(server, status, id=launched["backfillId"])["partitionBackfillOrError"]["status"])

    wait(lambda: state() in {"COMPLETED_SUCCESS", "COMPLETED_FAILED", "COMPLETED", "FAILED", "CANCELED"}, 240)
    assert state() == "COMPLETED_SUCCESS"
    after = {year: local_platform(home).lake.require("cleaned", DATASET, str(year)).sha256 for year in YEARS}
    assert after == before
