"""The archive's own process killed at random moments while sensors go on telling."""

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from city_platform.datasets import load_dataset
from city_platform.deployment.traffic import local_stream
from city_platform.layers import cleaned, raw
from city_platform.local.platform import local_platform
from city_platform.traffic.archive import hour_name
from city_platform.traffic.registry import generate
from city_platform.traffic.stream import Entry
from tests.town import ROOT, StandingClock
from tests.traffic import Told
from tests.traffic_lake import frames, identities

COMMAND = [Path(sys.executable).with_name("city-platform"), "traffic", "archive"]
CITY = generate(seed=7, sensors=600, zones=20)
KILLS = 6


def test_killed_time_and_again_every_reading_is_in_its_hour_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_REGISTRY", "7:600:20")  # seed, sensors, zones
    stream, over = local_stream(tmp_path), threading.Event()
    expected: dict[str, set[tuple[int, int]]] = {}

    def produce() -> None:
        draw, turn = random.Random(11), 0  # noqa: S311 -- a test's choices
        before: list[Entry] = []
        while not over.is_set():
            turn += 1
            now = time.time_ns() // 1_000_000
            late = draw.choice([0, 0, 90_000, 3_600_000])  # some for the hour before
            told = [Told(sensor, turn, now - late, sensor + turn) for sensor in range(len(CITY))]
            entries = [Entry(f"z-{n:03d}", data) for n, data in enumerate(frames(told, CITY))]
            assert not any(stream.put([*entries, *before[:5]]))  # gateways repeat some
            before = entries
            for one in told:
                expected.setdefault(hour_name(one.ts_ms), set()).add((int(CITY.number[one.sensor]), one.seq))
            over.wait(0.02)

    producer = threading.Thread(target=produce)
    producer.start()
    draw = random.Random(3)  # noqa: S311 -- a test's choices
    killed = 0
    while killed < KILLS:
        with subprocess.Popen(
            [*COMMAND, "--every", "1", "--home", tmp_path], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        ) as running:
            assert running.stderr is not None
            assert b"UTC: " in running.stderr.readline()  # something was published
            time.sleep(draw.random() * 2)
            if running.poll() is None:
                running.send_signal(signal.SIGKILL)
                killed += 1
    over.set()
    producer.join()
    done = subprocess.run([*COMMAND, "--once", "--home", tmp_path], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    clock = StandingClock()
    platform = local_platform(tmp_path, clock)
    clock.time = type(clock.time).fromtimestamp(time.time() + 7_200, clock.time.tzinfo)
    readings, mistakes = load_dataset(ROOT / "datasets" / "traffic_readings")
    assert readings is not None, mistakes
    for hour, of_hour in expected.items():
        assert identities(platform.lake, hour) == of_hour
        for layer in (raw, cleaned):
            layer.materialize(platform, readings, hour)
        assert platform.lake.require("cleaned", "traffic_readings", hour).counts["rows"] == len(of_hour)
