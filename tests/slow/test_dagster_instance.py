"""The instance's settings of the image against a real PostgreSQL, and the code location as its container starts it."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.test_utils import instance_for_test

from tests.conftest import ROOT
from tests.patience import PATIENCE_S, until
from tests.templates import template

PASSWORD = "of no importance"
SETTINGS = yaml.safe_load((ROOT / "infrastructure/image/dagster.yaml").read_text("utf-8"))
STACK = template("dagster").deploy({"AWS::Region": "ca-central-1", "Suffix": "x", "ImageUri": "r:t"})
CODE = next(one for one in STACK["HostTask"].properties["ContainerDefinitions"] if one["Name"] == "code")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def database(tmp_path: Path) -> Iterator[int]:
    """A server of its own on loopback; its port. It does not run as root, so neither does what starts it."""
    if not shutil.which("initdb"):
        pytest.skip("no PostgreSQL here")
    who = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
    folder, port = Path("/tmp") / f"dagster-pg-{os.getpid()}", free_port()  # noqa: S108 - others cannot enter tmp_path
    folder.mkdir()
    if who:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
    (tmp_path / "password").write_text(PASSWORD)
    shutil.copy(tmp_path / "password", folder.with_suffix(".pw"))
    folder.with_suffix(".pw").chmod(0o644)
    server = None
    try:
        initialise = ["initdb", "-D", folder / "data", "-U", "dagster", "-A", "scram-sha-256"]
        subprocess.run(
            [*initialise, f"--pwfile={folder.with_suffix('.pw')}"], check=True, cwd="/", capture_output=True, **who
        )  # type: ignore[call-overload]
        options = ["-p", str(port), "-h", "127.0.0.1", "-k", folder]
        server = subprocess.Popen(
            [shutil.which("postgres") or "", "-D", folder / "data", *options], cwd="/", stderr=subprocess.DEVNULL, **who
        )  # type: ignore[call-overload]
        import psycopg2

        def connected() -> Any:
            assert server is not None
            assert server.poll() is None
            try:
                return psycopg2.connect(
                    host="127.0.0.1", port=port, user="dagster", password=PASSWORD, dbname="postgres"
                )
            except psycopg2.OperationalError:
                return None

        one = until(connected)
        one.autocommit = True
        one.cursor().execute("CREATE DATABASE dagster")
        one.close()
        yield port
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # does not wait for who is connected
            server.wait(PATIENCE_S)
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".pw").unlink(missing_ok=True)


@dg.asset
def something() -> int:
    """An asset of one step."""
    return 1


def test_history_outlives_the_process_that_made_it(
    database: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DAGSTER_DATABASE_HOST", "127.0.0.1")
    monkeypatch.setenv("DAGSTER_DATABASE_PASSWORD", PASSWORD)
    storage = yaml.safe_load(yaml.safe_dump(SETTINGS["storage"]))
    storage["postgres"]["postgres_db"] |= {"port": database, "params": {"connect_timeout": 10}}  # no certificate here
    overrides = {"storage": storage, "telemetry": SETTINGS["telemetry"]}
    with instance_for_test(overrides=overrides, temp_dir=str(tmp_path)) as instance:
        made = dg.materialize([something], instance=instance)
        assert made.success
    other = tmp_path / "other"
    other.mkdir()
    with instance_for_test(overrides=overrides, temp_dir=str(other)) as instance:
        assert [run.run_id for run in instance.get_runs()] == [made.run_id]
        assert instance.get_latest_materialization_event(dg.AssetKey("something")) is not None


def test_the_code_location_answers_its_health_check(tmp_path: Path) -> None:
    port = str(free_port())
    start, check = ([port if word == "4000" else word for word in words] for words in (
        CODE["Command"], CODE["HealthCheck"]["Command"][1:],
    ))  # fmt: skip
    start[start.index("--working-directory") + 1] = str(ROOT)
    environment = os.environ | {"CITY_PLATFORM_HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path)}
    tools = str(Path(sys.executable).with_name("dagster"))
    server = subprocess.Popen([tools, *start[1:]], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:

        def healthy() -> bool:
            assert server.poll() is None
            return (
                subprocess.run([tools, *check[1:]], env=environment, capture_output=True, check=False).returncode == 0
            )

        until(healthy, every_s=2)
    finally:
        server.terminate()
        server.wait(PATIENCE_S)
