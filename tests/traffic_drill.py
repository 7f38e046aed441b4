"""Drills of the real worker: a town's stream in a file, producers, and processes that work and are killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pybase64

from city_platform.local.store import LocalObjectStore
from city_platform.local.traffic_state import SqliteTrafficState
from city_platform.local.traffic_stream import SqliteEventStream, event_record
from city_platform.traffic.dead_letters import DeadLetter, stored_letters
from city_platform.traffic.stream import Entry
from city_platform.traffic.telemetry import Reason
from city_platform.traffic.windows import MAX_STRAYS
from tests.town import StandingClock
from tests.traffic import NOON, TOWN, Letters, MemoryState, Told, columns, lines
from tests.traffic_scenarios import differences, readings, records

_COMMAND = "import sys; from city_platform.cli import main; sys.exit(main())"
_GOOD = Told(0, 100, NOON + 1_000, 45)


@dataclass
class Drill:
    """A home with a stream whose clock stands half a minute after noon, when the readings were taken."""

    home: Path
    clock: StandingClock = field(default_factory=lambda: StandingClock(_instant(NOON + 30_000)))

    @property
    def stream(self) -> SqliteEventStream:
        return SqliteEventStream(self.home / "traffic" / "stream.sqlite", clock=self.clock)

    @property
    def state(self) -> SqliteTrafficState:
        return SqliteTrafficState(self.home / "traffic" / "state.sqlite")

    def letters(self) -> dict[str, DeadLetter]:
        return {letter.id: letter for letter in stored_letters(LocalObjectStore(self.home / "lake"))}

    def worker(self, *words: str) -> subprocess.Popen[str]:
        """`city-platform traffic process`, which says a line on its standard output after each batch."""
        return subprocess.Popen(
            [sys.executable, "-c", _COMMAND, "traffic", "process", *words, "--home", str(self.home)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"CITY_PLATFORM_TRAFFIC_REGISTRY": f"7:{len(TOWN)}:{len(TOWN.zones)}"},
        )

    def work(self, *words: str) -> dict[str, Any]:
        """Works until nothing waits; what became of it."""
        with self.worker("--once", "--json", *words) as worker:
            assert worker.stdout is not None
            told: dict[str, Any] = json.loads(worker.stdout.read())
        assert worker.returncode == 0, told
        return told

    def events(self) -> list[dict[str, Any]]:
        """All records of the stream as handlers get them."""
        stream = self.stream
        return [event_record(shard, one) for shard in stream.shards() for one in stream.read(shard, None, 100_000)]

    def differences(self, told: Sequence[Told]) -> list[str]:
        """How the windows and letters differ from what these readings make when each is counted once."""
        stored = [window for zone in TOWN.zones for window in self.state.windows(zone, NOON, NOON + 60_000)]
        letters = Letters(self.letters())
        return differences(told, self.events(), MemoryState({window.key: window for window in stored}), letters)


def killed_again_and_again(home: Path, seed: int, kills: int, *options: str) -> list[str]:
    """Kills the worker while a producer puts frames, again and again; then has the rest and all of it read once more.

    What differs from the truth before and after the replay. Most readings are put once, so a lost one is missed; a
    fourth come again, and frames of a zone come by several keys, so from several shards at once.
    """
    draw = random.Random(seed)  # noqa: S311 reproducible, not secret
    drill = Drill(home)
    told = readings(draw)
    frames = [draw.choice((columns, lines))([one]) for one in [*told, *draw.sample(told, len(told) // 4)]]
    frames += [pybase64.b64decode(one["kinesis"]["data"]) for one in records(draw, told[:30])[:10]]
    draw.shuffle(frames)
    for kill in range(kills):
        share = frames[kill::kills]
        fatal = draw.randrange(len(share))
        drill.stream.put([Entry("nudge", b"rubbish")])  # so that it says when it is at work
        with drill.worker("--metrics", "-", *options) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline()
            for at, frame in enumerate(share):
                drill.stream.put([Entry(f"kerb-{draw.randrange(9)}", frame)])
                time.sleep(draw.random() * 0.01)
                if at == fatal:
                    worker.send_signal(signal.SIGKILL)
            assert worker.wait() == -signal.SIGKILL
    drill.work(*options)
    first = drill.differences(told)
    done = drill.work("--replay", *options)
    assert done["records"] == len(drill.events())
    return first + drill.differences(told)


def bad(registry_zone: str) -> dict[Reason, list[bytes]]:
    """Records to refuse by what is wrong with them, each good but for that."""
    line = _GOOD.line()

    def single(**changes: Any) -> bytes:
        return msgspec.json.encode(line | changes)

    return {
        Reason.COMPRESSION: [lines([_GOOD])[:-5], columns([_GOOD])[:20], lines([_GOOD]) + b"more", b"x\x9crubbish"],
        Reason.TOO_LARGE: [zlib.compress(bytes(100_000_000), 9), b"{" + b" " * 200_000],
        Reason.SCHEMA: [os.urandom(64).replace(b"x", b"y"), b"\x00\xff rubbish", single(ts="yesterday")],
        Reason.TOPIC: [single(topic_sensor="s-00001")],
        Reason.UNKNOWN_SENSOR: [single(sensor_id="s-99999")],
        Reason.ZONE: [columns([_GOOD], zone="z-999"), single(zone_id=registry_zone)],
        Reason.FUTURE: [single(ts=NOON + 30_000 + 300_001)],
        Reason.ANCIENT: [single(ts=NOON + 30_000 - 86_400_001)],
        Reason.VEHICLE_COUNT: [single(vehicle_count=10_001)],
        Reason.SPEED: [single(avg_speed_kmh=250.1)],
        Reason.SPEED_WITHOUT_VEHICLES: [single(vehicle_count=0)],
        Reason.OCCUPANCY: [single(occupancy=1.001)],
        Reason.INDEX: [single(congestion_index=101)],
        Reason.INTERVAL: [single(interval_s=301)],
        # The first one makes the sensor's bits, 4,096 more are remembered, the last one is too many.
        Reason.TOO_MANY: [lines([Told(3, turn * 1000, NOON + 2_000, 5) for turn in range(MAX_STRAYS + 2)])],
    }


def bad_input(home: Path, burst: int) -> None:
    """Everything bad among good frames, and a burst of good ones: all is counted or kept, no shard stands still."""
    drill, stream = Drill(home), Drill(home).stream
    wrong = bad(TOWN.zones[-1])
    entries = [Entry(f"{reason}-{at}", data) for reason, some in wrong.items() for at, data in enumerate(some)]
    good = [Told(at % 2, 200 + at // 2, NOON + at // 2 * 100, at) for at in range(60)]
    for at, entry in enumerate(entries):
        stream.put([entry, Entry(f"good-{at}", columns(good[at : at + 1]))])
    frames = [Entry(f"good-{at}", columns([good[at % len(good)]])) for at in range(burst)]
    for start in range(0, burst, 500):
        stream.put(frames[start : start + 500])
    done = drill.work()
    letters = drill.letters().values()
    reasons = {reason: sum(letter.reason == reason for letter in letters) for reason in wrong}
    assert reasons == {reason: len(some) for reason, some in wrong.items()}
    assert done["rejected"] == {str(reason): count for reason, count in sorted(reasons.items())}
    kept = sorted(pybase64.b64decode(letter.data) for letter in letters)
    assert kept == sorted(data for some in wrong.values() for data in some)  # as it came
    assert done["records"] == 2 * len(entries) + burst
    assert done["accepted"] == len(good) + MAX_STRAYS + 1
    for shard in stream.shards():
        last = stream.checkpoint("windows", shard)
        assert last is not None
        assert not stream.read(shard, last, 1)


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
