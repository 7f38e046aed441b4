"""Gateways killed with `kill -9` while a city publishes: every reading is counted once, as if nothing had happened."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from city_platform.local.traffic_stream import SqliteEventStream
from city_platform.traffic.registry import generate
from tests.mqtt import BROKERS, counted, true_sums
from tests.patience import PATIENCE_S

COMMAND = [sys.executable, "-c", "from city_platform.cli import main; main()", "traffic"]
KILLS = 3


def _started(broker: str, home: Path, port: str) -> tuple["subprocess.Popen[str]", str]:
    options = ["--broker", broker, "--port", port, "--home", str(home), "--json"]
    with (home / "gateway.log").open("a") as log:
        process = subprocess.Popen([*COMMAND, "gateway", *options], stdout=log, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    found = re.search(r"127\.0\.0\.1:(\d+)", process.stderr.readline())
    assert found, process.stderr.read()
    return process, found[1]


@pytest.mark.parametrize("broker", BROKERS)
def test_a_killed_gateway_costs_no_reading(broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_REGISTRY", "7:3000:60")
    gateway, port = _started(broker, tmp_path, "0")
    options = ["--sensors", "3000", "--rate", "3000", "--for", "12s", "--connections", "6", "--duplicates", "0.1"]
    places = ["--port", port, "--home", str(tmp_path), "--truth", str(tmp_path / "truth.json"), "--json"]
    simulated = subprocess.Popen([*COMMAND, "simulate", *options, *places], stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(KILLS):
            time.sleep(3)
            gateway.send_signal(signal.SIGKILL)
            gateway.communicate(timeout=PATIENCE_S)
            gateway, _ = _started(broker, tmp_path, port)
        told, _ = simulated.communicate(timeout=PATIENCE_S)
        assert simulated.returncode == 0, told
        gateway.terminate()
        gateway.communicate(timeout=PATIENCE_S)
        assert gateway.returncode == 0
    finally:
        for process in (simulated, gateway):
            process.kill()
            process.communicate(timeout=PATIENCE_S)
    truth = json.loads((tmp_path / "truth.json").read_text())
    sums, letters = counted(SqliteEventStream(tmp_path / "traffic" / "stream.sqlite"), generate(7, 3000, 60))
    assert letters.kept == {}
    assert sums == true_sums(truth)
