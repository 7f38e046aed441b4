"""A Spark Connect server on loopback, for the tests that ask a real Spark."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from city_platform.engines.spark_connect import SparkEngine
from tests.patience import until

_SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"


@dataclass(frozen=True)
class SparkServer:
    """A server's address, its log and its process, which is a group of its own."""

    port: int
    log: Path
    process: subprocess.Popen[bytes]

    def engine(self, least_rows: int = 0) -> SparkEngine:
        place = f"sc://127.0.0.1:{self.port}"
        return SparkEngine(lambda: place, place, least_rows)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def spark_server(folder: Path, master: str = "local[2]") -> Iterator[SparkServer]:
    """Skips, saying so, where there is no Java machine or no Spark."""
    home = _spark_home()
    port, log = _free_port(), folder / "spark.log"
    settings = {
        "spark.ui.enabled": "false",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.local.dir": str(folder),
    }
    command = [str(home / "bin" / "spark-submit"), "--master", master, "--driver-memory", "2g"]
    for name, value in settings.items():
        command += ["--conf", f"{name}={value}"]
    environ = {**os.environ, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--class", _SERVER, "spark-internal"],
            cwd=folder,
            env=environ,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = SparkServer(port, log, process)
    try:
        until(lambda: "Spark Connect server started" in log.read_text(errors="replace") or process.poll() is not None)
        assert process.poll() is None, log.read_text(errors="replace")[-4_000:]
        yield server
    finally:
        if process.poll() is None:
            server.kill()


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _spark_home() -> Path:
    found = find_spec("pyspark")
    home = Path(found.origin).parent if found and found.origin else None
    if home is None or not (home / "bin" / "spark-submit").is_file():
        pytest.skip("no Spark: uv sync --group spark")
    if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
        pytest.skip("no Java machine, which Spark runs on")
    return home
