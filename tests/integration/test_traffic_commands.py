"""`traffic gateway` and `traffic simulate` as a person runs them, processes of their own."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.local.traffic_stream import SqliteEventStream
from city_platform.traffic.registry import generate
from tests.mqtt import BROKERS, counted, true_sums
from tests.patience import PATIENCE_S

TOWN = {"CITY_PLATFORM_TRAFFIC_REGISTRY": "7:300:30"}


def test_a_city_is_published_and_acknowledged_and_its_truth_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in TOWN.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-c", "from city_platform.cli import main; main()", "traffic", "gateway"]
    gateway = subprocess.Popen(
        [*command, "--port", "0", "--home", str(tmp_path), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with gateway:
        try:
            assert gateway.stderr is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", gateway.stderr.readline())
            assert found, gateway.stderr.read()
            options = ["--port", found[1], "--home", str(tmp_path), "--truth", str(tmp_path / "truth.json"), "--json"]
            simulate = ["traffic", "simulate", "--sensors", "300", "--rate", "150", "--for", "1s", *options]
            done = CliRunner().invoke(app, simulate)
            assert done.exit_code == 0, done.output
        finally:
            gateway.terminate()
        assert gateway.stdout is not None
        served = json.loads(gateway.stdout.read())
        assert gateway.wait(PATIENCE_S) == 0
    told, truth = json.loads(done.stdout), json.loads((tmp_path / "truth.json").read_text())
    assert told["acknowledged"] == told["messages"] == served["acknowledged"] == served["frames"] > 20
    assert told["readings"] == truth["readings"] > 100
    assert told["p50_ms"] <= told["p99_ms"]
    stream = SqliteEventStream(tmp_path / "traffic" / "stream.sqlite")
    assert sum(len(stream.read(shard, None, 1000)) for shard in stream.shards()) == served["records"]
    sums, letters = counted(stream, generate(7, 300, 30))
    assert letters.kept == {}
    assert sums == true_sums(truth)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["simulate", "--port", "9", "--sensors", "300", "--rate", "300", "--for", "1s"], 4, "traffic gateway"),
        (["simulate", "--for", "soon"], 2, "no time"),
        (["simulate", "--sensors", "301"], 2, "CITY_PLATFORM_TRAFFIC_REGISTRY"),
        (["simulate", "--sensors", "300", "--rate", "301"], 2, "1 to 300 seconds"),
    ],
)
def test_what_cannot_be_is_said(
    arguments: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in TOWN.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["traffic", *arguments, "--home", str(tmp_path), "--json"])
    assert done.exit_code == code, done.output
    assert said in json.loads(done.stdout)["error"]


@pytest.mark.parametrize("broker", BROKERS)
def test_a_port_that_somebody_has_is_said(broker: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        options = ["--broker", broker, "--port", str(taken.getsockname()[1]), "--home", str(tmp_path), "--json"]
        done = CliRunner().invoke(app, ["traffic", "gateway", *options])
    assert done.exit_code == 3, done.output
    assert "--port" in json.loads(done.stdout)["error"]


@pytest.mark.parametrize("command", ["gateway", "simulate"])
def test_help_has_an_example(command: str) -> None:
    done = CliRunner().invoke(app, ["traffic", command, "--help"])
    assert done.exit_code == 0
    assert f"Example: city-platform traffic {command}" in done.output
