"""`lake replica sync --watch` as a process: it follows the lake until it is told to end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from city_platform.deployment.replica import REPLICA
from city_platform.local.store import LocalObjectStore


def until(there: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if there():
            return
        assert process.poll() is None
        time.sleep(0.1)
    raise AssertionError("it did not follow within a minute")


def test_it_follows_and_ends_when_it_is_told(tmp_path: Path) -> None:
    lake, copy = LocalObjectStore(tmp_path / "home" / "lake"), LocalObjectStore(tmp_path / "copy")
    lake.put("notices/1.json", b"{}")
    command = [sys.executable, "-m", "city_platform", "lake", "replica", "sync", "--watch", "--every", "1"]
    environment = os.environ | {REPLICA: str(tmp_path / "copy"), "CITY_PLATFORM_HOME": str(tmp_path / "home")}
    with subprocess.Popen(command, env=environment) as process:
        until(lambda: list(copy.keys("")) == ["notices/1.json"], process)
        lake.put("notices/2.json", b"{}")
        lake.delete("notices/1.json")
        until(lambda: list(copy.keys("")) == ["notices/2.json"], process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
