"""The archive as people and Lambda start it."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from click.testing import Result
from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.deployment import open_platform
from city_platform.deployment.traffic import local_stream
from city_platform.functions.traffic_archive import handler, traffic_archive
from city_platform.lake.lake import Lake
from city_platform.local.platform import local_platform
from city_platform.traffic.registry import generate
from city_platform.traffic.stream import Entry
from tests.patience import PATIENCE_S
from tests.town import one_bucket
from tests.traffic import NOON, Told, event, lines, record
from tests.traffic_lake import HOUR, identities

CITY = generate(seed=7, sensors=12, zones=3)
COMMAND = [Path(sys.executable).with_name("city-platform"), "traffic", "archive"]


@pytest.fixture(autouse=True)
def small_city(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_REGISTRY", "7:12:3")  # seed, sensors, zones


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The command listens to signals; the tests' own process goes on with what it had."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, listener in before.items():
        signal.signal(number, listener)


def command(home: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["traffic", "archive", "--once", "--home", str(home), *words])


def put(home: Path, now_ms: int, first: int, count: int) -> set[tuple[int, int]]:
    """Puts readings of now into the home's stream; their identities."""
    told = [Told(number % 12, first + number, now_ms, number) for number in range(count)]
    entries = [Entry(f"z-{at}", lines(told[at : at + 5], CITY)) for at in range(0, count, 5)]
    assert local_stream(home).put(entries) == [None] * len(entries)
    return {(int(CITY.number[one.sensor]), one.seq) for one in told}


def stored(lake: Lake) -> set[tuple[int, int]]:
    hours = lake.partitions("exports", "traffic_readings")
    return set[tuple[int, int]]().union(*(identities(lake, hour) for hour in hours))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_once_takes_what_waits_and_says_so(tmp_path: Path) -> None:
    expected = put(tmp_path, now_ms(), 1, 23)
    local_stream(tmp_path).put([Entry("z", b"rubbish")])
    told = [json.loads(command(tmp_path, "--json").stdout) for _ in range(2)]
    assert told[0] | {"records": 6, "readings": 23, "refused": {"schema": 1}} == told[0]
    assert sum(told[0]["hours"].values()) == 23
    assert told[1] == {"records": 0, "readings": 0, "refused": {}, "hours": {}}
    lake = local_platform(tmp_path).lake
    assert stored(lake) == expected
    for key in lake.store.keys("exports/"):
        assert lake.store.local_path(key).stat().st_mode & 0o777 == 0o600


def test_told_to_stop_it_publishes_what_it_holds(tmp_path: Path) -> None:
    expected = put(tmp_path, now_ms(), 1, 10)
    with subprocess.Popen(
        [*COMMAND, "--every", "1", "--home", tmp_path], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        assert "UTC: " in running.stderr.readline()
        expected |= put(tmp_path, now_ms(), 101, 10)
        running.send_signal(signal.SIGTERM)
        out, _ = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 0
    assert "are in the lake." in out
    assert command(tmp_path).exit_code == 0
    assert stored(local_platform(tmp_path).lake) == expected


def test_on_aws_there_is_nothing_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITY_PLATFORM_DEPLOYMENT", "aws")
    done = command(tmp_path)
    assert (done.exit_code, "the archive's function does this" in done.stderr) == (2, True)


def test_the_function_takes_a_batch_to_the_bucket_however_often(
    aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    objects = boto3.client("s3")
    where = {"LocationConstraint": aws_environment["AWS_REGION"]}
    objects.create_bucket(Bucket="traffic-archive", CreateBucketConfiguration=where)
    monkeypatch.setenv("CITY_PLATFORM_DEPLOYMENT", "aws")
    for variable, value in one_bucket("traffic-archive").items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("CITY_PLATFORM_ALERTS_TOPIC", "arn:aws:sns:ca-central-1:123456789012:alerts")
    monkeypatch.setenv("CITY_PLATFORM_HOME", str(tmp_path))
    traffic_archive.cache_clear()
    told = [Told(number, 7, NOON + number, number) for number in range(4)]
    batch = event(record(lines(told, CITY), 1), record(b"rubbish", 2), {"eventID": "x:3", "kinesis": {"data": "%%"}})
    for _ in range(2):
        assert handler(batch, None) == {"batchItemFailures": []}
    lake = open_platform(tmp_path).lake
    assert identities(lake, HOUR) == {(int(CITY.number[number]), 7) for number in range(4)}
    assert lake.require("exports", "traffic_readings", HOUR).sequence == 1
    traffic_archive.cache_clear()
