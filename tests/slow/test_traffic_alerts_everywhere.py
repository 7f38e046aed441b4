"""Alerts under crashes, at length: the outbox against publishing inline, and a watcher that is killed all the time."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from city_platform.local.clock import SystemClock
from city_platform.local.event_bus import SqliteEventBus
from city_platform.local.traffic_state import SqliteTrafficState
from city_platform.traffic.registry import generate
from tests import traffic_minutes
from tests.traffic import MemoryState
from tests.traffic_histories import Inline, trial
from tests.traffic_minutes import JUDGED_AFTER_MS, Clock, FaultyState, MemoryBus, due, fill, told, watching

TRIALS = 300
CITY = generate(11, 60, 6)
MINUTES = 30


def test_the_outbox_is_exact_in_every_trial_and_publishing_inline_in_few() -> None:
    outbox = sum(trial(seed, FaultyState(), MemoryBus()) for seed in range(TRIALS))
    inline = 0
    for seed in range(TRIALS):
        state, bus = Inline(), MemoryBus()
        state.bus = bus
        inline += trial(seed, state, bus)
    sys.stdout.write(f"exact: outbox {outbox} of {TRIALS}, publishing inline {inline}\n")
    assert outbox == TRIALS
    assert inline < TRIALS / 4


def test_a_watcher_that_is_killed_again_and_again_tells_everybody_everything_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kill -9` at any moment of judging half an hour, publishing and sending: each event and each message is there."""
    start = (time.time_ns() // 1_000_000 - JUDGED_AFTER_MS) // 60_000 * 60_000 - MINUTES * 60_000
    monkeypatch.setattr(traffic_minutes, "START", start)
    state = SqliteTrafficState(tmp_path / "home" / "traffic" / "state.sqlite")
    draw = random.Random(1)  # noqa: S311 reproducible, not secret
    for minute in range(MINUTES):
        index = {zone: 80.0 if (minute + at) // 5 % 2 else 5.0 for at, zone in enumerate(CITY.zones)}
        fill(state, minute, index, silent=draw.sample(range(60), 3) if minute % 4 else (), registry=CITY)
    expected = MemoryState()
    for begin in range(start, start + MINUTES * 60_000, 10_000):
        expected.kept |= {window.key: window for window in state.city(begin)}
    clock = Clock(due(0))
    for one in (expected, state):  # both begin with the first minute
        watching(one, clock, CITY).evaluate()
    clock.now_ms = due(MINUTES - 1)
    watching(expected, clock, CITY).evaluate()
    end = start + MINUTES * 60_000
    events = {one.alert_id for one in told(expected.outbox(9999))}
    assert len(events) > 20

    routes = tmp_path / "routes.yaml"
    packaged = Path(traffic_minutes.__file__).parents[1] / "city_platform" / "traffic" / "routes.yaml"
    text = packaged.read_text().replace("stale_minutes: 30", "stale_minutes: 1440")
    routes.write_text(
        text.replace("repeat_minutes: 15", "repeat_minutes: 0").replace("severity: warning", "severity: info")
    )
    environ = os.environ | {
        "CITY_PLATFORM_TRAFFIC_REGISTRY": "11:60:6",
        "CITY_PLATFORM_TRAFFIC_ROUTES": str(routes),
        "CITY_PLATFORM_HOME": str(tmp_path / "home"),
    }
    command = [sys.executable, "-m", "city_platform", "traffic", "watch", "--every", "1", "--json"]
    kills = 0
    for _ in range(12):
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            assert child.stderr is not None
            time.sleep(draw.uniform(1.0, 3.0))
            kills += child.poll() is None
            child.kill()
    assert kills >= 3
    time.sleep(61)  # a minute after which the claims of those who died have lapsed
    done = subprocess.run([*command[:5], "--once", "--json"], env=environ, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["refused"] == 0
    log = SqliteEventBus(tmp_path / "home" / "traffic" / "events.sqlite", SystemClock())
    published = {one.id for one in log.newest(9999) if one.at.timestamp() * 1000 <= end}
    assert published == events
    lines = (tmp_path / "home" / "traffic" / "sent.jsonl").read_text().splitlines()
    mailed = [name.split("#")[2] for line in lines if (name := json.loads(line)["once"]).startswith("alert#email#")]
    assert len(mailed) == len(set(mailed))
    assert set(mailed) >= events
