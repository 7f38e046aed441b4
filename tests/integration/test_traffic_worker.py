"""The worker as a process of its own over a real stream, state and store: killed, fed with rubbish, told to end."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.errors import TransientError
from city_platform.local.rotated_file import RotatedFile
from city_platform.local.runner import EventSourceMapping
from city_platform.local.traffic_stream import SqliteEventStream, TrafficShard
from city_platform.local.traffic_worker import TrafficWorker
from city_platform.traffic.handler import Outcome, TrafficHandler
from city_platform.traffic.state import Conflict, StateUnavailable, Window
from city_platform.traffic.stream import Entry
from city_platform.traffic.telemetry import Reason
from tests.traffic import NOON, TOWN, Faults, Letters, MemoryState, Told, columns, record
from tests.traffic_drill import Drill, bad_input, killed_again_and_again

GOOD = Told(0, 100, NOON + 1_000, 45)


def test_a_worker_killed_three_times_ends_in_the_truth(tmp_path: Path) -> None:
    assert killed_again_and_again(tmp_path, seed=1, kills=3) == []


def test_every_bad_input_is_kept_with_its_reason_and_no_shard_stands_still(tmp_path: Path) -> None:
    bad_input(tmp_path, burst=2_000)


def test_processes_by_shard_share_the_work_and_end_when_told(tmp_path: Path) -> None:
    drill, told = Drill(tmp_path), [Told(0, 100 + at, NOON + at, at) for at in range(80)]
    drill.stream.put([Entry(f"k{at}", columns([one])) for at, one in enumerate(told)])
    counts = [len(drill.stream.read(shard, None, 99)) for shard in drill.stream.shards()]
    with drill.worker("--processes", "--shards", "1,3", "--json") as worker:
        assert worker.stdout is not None
        while _accepted(tmp_path) < counts[1] + counts[3]:
            assert worker.poll() is None
            time.sleep(0.02)
        worker.send_signal(signal.SIGTERM)
        done = json.loads(worker.stdout.read())
    assert worker.returncode == 0
    assert (done["records"], done["accepted"], done["duplicates"]) == (counts[1] + counts[3], counts[1] + counts[3], 0)
    assert drill.state.get([(TOWN.zones[0], NOON)])[TOWN.zones[0], NOON].readings == counts[1] + counts[3]
    assert drill.work()["records"] == counts[0] + counts[2]
    assert drill.differences(told) == []


def _accepted(home: Path) -> int:
    file = home / "traffic" / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return sum(json.loads(line)["Accepted"] for line in lines)


def command(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["traffic", *words])
    return done.exit_code, done.stdout


def test_dead_letters_are_counted_by_reason_and_what_was_sent_is_shown_only_when_asked_for(tmp_path: Path) -> None:
    drill = Drill(tmp_path)
    drill.stream.put([Entry("z-000", b"secret rubbish"), Entry("z-000", columns([GOOD, GOOD], speed_x10=[-2, -2]))])
    home = ("--home", str(tmp_path))
    assert command("dlq", "list", *home) == (0, "No dead letters.\n")
    drill.work()
    code, listed = command("dlq", "list", "--json", *home)
    body = json.loads(listed)
    assert (code, body["reasons"]) == (
        1,
        {"schema": {"letters": 1, "readings": 1}, "speed": {"letters": 1, "readings": 2}},
    )
    assert [one["key"] for one in body["dead_letters"]] == ["z-000"] * 2
    assert "payload" not in listed
    code, listed = command("dlq", "list", "--reason", "schema", "--payload", "--limit", "1", "--json", *home)
    assert [one["payload"] for one in json.loads(listed)["dead_letters"]] == ["c2VjcmV0IHJ1YmJpc2g="]
    code, shown = command("dlq", "list", *home)
    assert "2026-05-28 13:27 PDT" in shown
    assert "c2VjcmV0" not in shown
    assert command("dlq", "list", "--reason", "magic", *home)[0] == 2


@pytest.mark.parametrize("shards", ["4", "-1", "one", "0,9", ","])
def test_shards_there_are_none_of_are_a_wrong_call(tmp_path: Path, shards: str) -> None:
    assert command("process", "--once", "--shards", shards, "--home", str(tmp_path))[0] == 2


def worker(
    tmp_path: Path, state: MemoryState, letters: Letters, kind: type[TrafficHandler], shards: int = 1
) -> TrafficWorker:
    stream = SqliteEventStream(tmp_path / "s.sqlite", shards, Drill(tmp_path).clock)
    some = [TrafficShard(stream, name) for name in stream.shards()]
    handler = kind(TOWN, state, letters, lambda: NOON + 31_000)
    return TrafficWorker(some, handler, letters, lambda _: None, lambda: NOON + 31_000, lambda _: None)


def test_an_outage_gives_nothing_up(tmp_path: Path) -> None:
    faults = Faults(["down"] * 7)
    one = worker(tmp_path, MemoryState(faults=faults), Letters(), TrafficHandler)
    stream = one.shards[0].stream
    stream.put([Entry("k", columns([Told(0, 100 + at, NOON + at, at)])) for at in range(3)])
    with pytest.raises(TransientError):
        one.turn()
    assert len(faults.coming) == 2  # after five attempts
    assert stream.checkpoint("windows", one.shards[0].name) is None
    assert one.turn() == 3
    assert one.turn() == 0


def test_a_shard_whose_windows_cannot_be_written_holds_up_no_other(tmp_path: Path) -> None:
    class WithoutZone(MemoryState):
        def put(self, windows: Sequence[Window]) -> Sequence[Conflict | StateUnavailable | None]:
            bad = StateUnavailable("this zone's part is down")
            return [bad if one.zone == TOWN.zones[0] else super(WithoutZone, self).put([one])[0] for one in windows]

    one = worker(tmp_path, WithoutZone(), Letters(), TrafficHandler, shards=2)
    down, up = one.shards
    other = TOWN.sensors(2).start  # a sensor of another zone
    one.shards[0].stream.put([Entry("a", columns([GOOD])), Entry("b", columns([Told(other, 100, NOON, 5)]))])
    assert [len(shard.read("windows", 9)) for shard in one.shards] == [1, 1]
    with pytest.raises(TransientError):
        one.turn()
    assert (len(down.read("windows", 9)), len(up.read("windows", 9))) == (1, 0)
    assert one.total.accepted == 1


def test_metrics_that_cannot_be_written_cost_no_record(tmp_path: Path) -> None:
    letters = Letters()
    one = worker(tmp_path, MemoryState(), letters, TrafficHandler)
    one.tell = RotatedFile(tmp_path).append  # a folder
    one.shards[0].stream.put([Entry("k", columns([GOOD]))])
    assert one.turn() == 1
    assert (one.total.accepted, one.untold, letters.kept) == (1, 1, {})


def test_a_record_the_handler_cannot_stand_is_found_and_kept_alone(tmp_path: Path) -> None:
    class Defect(TrafficHandler):
        def handle(self, event):  # type: ignore[no-untyped-def]  # as the parent's
            if any(one["kinesis"]["partitionKey"] == "culprit" for one in event["Records"]):
                raise ZeroDivisionError
            return super().handle(event)

    letters = Letters()
    one = worker(tmp_path, MemoryState(), letters, Defect)
    keys = ["a", "b", "culprit", "c", "d"]
    one.shards[0].stream.put([Entry(key, columns([Told(0, 100 + at, NOON, at)])) for at, key in enumerate(keys)])
    assert one.turn() == 5
    (letter,) = letters.kept.values()
    assert (letter.reason, letter.partition_key) == (Reason.UNHANDLED, "culprit")
    assert (one.total.accepted, one.total.rejected) == (4, {Reason.UNHANDLED: 1})


def test_a_batch_is_bounded_in_bytes_but_has_one_record(tmp_path: Path) -> None:
    stream = SqliteEventStream(tmp_path / "s.sqlite", 1)
    stream.put([Entry("k", bytes(900)), Entry("k", bytes(900)), Entry("k", bytes(9000)), Entry("k", bytes(10))])
    sizes: list[int] = []
    mapping = EventSourceMapping(
        TrafficShard(stream, stream.shards()[0]),
        "reader",
        lambda event: sizes.append(len(event["Records"])) or {},  # type: ignore[func-returns-value]  # it is None
        lambda *_: None,
        most_bytes=3_000,
    )
    assert [mapping.deliver() for _ in range(4)] == [2, 1, 1, 0]
    assert sizes == [2, 1, 1]


def test_lines_turn_over_at_a_size_and_none_is_lost_between_processes(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from city_platform.local.rotated_file import RotatedFile\n"
        "for at in range(600): RotatedFile(Path(sys.argv[1]), 5_000).append(b'%s-%03d' % (sys.argv[2].encode(), at))"
    )
    path = tmp_path / "m" / "lines"
    writers = [subprocess.Popen([sys.executable, "-c", program, str(path), name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    old = path.with_name("lines.1")
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert 5_000 <= old.stat().st_size < 5_010
    kept = (old.read_text() + (path.read_text() if path.exists() else "")).splitlines()
    for name in "ab":
        own = [int(line[2:]) for line in kept if line.startswith(name)]
        assert own == list(range(own[0], 600))  # what is gone is the oldest
    small = RotatedFile(tmp_path / "s", 1)
    small.append(b"one")
    small.append(b"two")
    assert (tmp_path / "s.1").read_bytes() == b"two\n"
    assert not (tmp_path / "s").exists()


def test_outcomes_add_up() -> None:
    handler = TrafficHandler(TOWN, MemoryState(), Letters(), lambda: NOON + 3_000)
    total = Outcome()
    batch = {"Records": [record(columns([GOOD]), 1), record(b"bad", 2)]}
    for _ in range(2):
        total.add(handler.handle(batch))
    assert (total.records, total.accepted, total.duplicates, total.rejected) == (4, 1, 1, {Reason.SCHEMA: 2})
    assert total.latency.sum() == 1
