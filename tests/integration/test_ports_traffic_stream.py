"""One contract for every adapter of the traffic stream; what Kinesis' own errors become; what only the file can."""

import hashlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from city_platform.aws.settings import IncompleteSettings
from city_platform.aws.traffic_stream import KinesisEventStream
from city_platform.deployment.traffic import open_stream
from city_platform.local.database import DamagedDatabase
from city_platform.local.traffic_stream import SqliteEventStream, TrafficShard
from city_platform.traffic.stream import (
    MOST_BYTES,
    MOST_ENTRIES,
    MOST_READ_BYTES,
    MOST_RECORD_BYTES,
    Entry,
    EventStream,
    StreamRecord,
    StreamRefused,
    StreamUnavailable,
)
from tests.integration.conftest import REGION
from tests.town import StandingClock, one_bucket

SHARDS = 3


@dataclass(frozen=True)
class Adapter:
    """A stream, and a way to a second one over the same things."""

    stream: EventStream
    again: Callable[[], EventStream]


def client(endpoint: str) -> Any:
    settings = Config(retries={"total_max_attempts": 1})
    return boto3.client("kinesis", region_name=REGION, endpoint_url=endpoint, config=settings)


@pytest.fixture(params=["local", "aws"])
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Adapter]:
    if request.param == "local":
        path = tmp_path / "traffic" / "stream.sqlite"
        yield Adapter(SqliteEventStream(path, SHARDS), lambda: SqliteEventStream(path, SHARDS))
        if path.exists():
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.parent.stat().st_mode & 0o777 == 0o700
        return
    request.getfixturevalue("aws_environment")
    endpoint = request.getfixturevalue("aws")
    name = f"traffic-{abs(hash(request.node.name))}"
    client(endpoint).create_stream(StreamName=name, ShardCount=SHARDS)
    connected = lambda: KinesisEventStream(name, lambda: client(endpoint))  # noqa: E731 both are such
    yield Adapter(connected(), connected)


def all_of(stream: EventStream, limit: int = 1_000) -> dict[str, list[StreamRecord]]:
    """Every shard from its oldest record to its newest, `limit` at a time."""
    found: dict[str, list[StreamRecord]] = {}
    for shard in stream.shards():
        records = found.setdefault(shard, [])
        while some := stream.read(shard, records[-1].sequence if records else None, limit):
            assert len(some) <= limit
            records += some
    return found


def test_records_come_out_in_the_order_they_went_in_whatever_the_bites(adapter: Adapter) -> None:
    stream = adapter.stream
    keys = [f"z-{at:03d}" for at in range(20)]
    told = [Entry(keys[at % 20], bytes([at]) * (1 + at)) for at in range(60)]
    assert list(stream.put(told[:35])) == [None] * 35
    assert list(adapter.again().put(told[35:])) == [None] * 25
    whole = all_of(stream)
    assert all_of(adapter.again(), 7) == whole
    assert len(whole) == SHARDS
    assert all(whole.values()), "twenty keys meet every shard"
    for key in keys:
        at = [shard for shard, records in whole.items() for record in records if record.key == key]
        assert len(set(at)) == 1
        own = [record.data for records in whole.values() for record in records if record.key == key]
        assert own == [entry.data for entry in told if entry.key == key]
    for records in whole.values():
        orders = [record.order for record in records]
        assert orders == sorted(set(orders))
        arrivals = [record.arrival_ms for record in records]
        assert arrivals == sorted(arrivals)


def test_a_reader_that_is_at_the_end_gets_what_comes_next(adapter: Adapter) -> None:
    stream = adapter.stream
    shard = next(iter(stream.shards()))
    key = next(key for key in map(str, range(99)) if _falls_into(key) == 0)
    assert list(stream.read(shard, None, 5)) == []
    stream.put([Entry(key, b"one")])
    (one,) = stream.read(shard, None, 5)
    assert list(stream.read(shard, one.sequence, 5)) == []
    assert list(stream.read(shard, one.sequence, 5)) == []
    stream.put([Entry(key, b"two"), Entry(key, b"three")])
    assert [record.data for record in stream.read(shard, one.sequence, 5)] == [b"two", b"three"]
    assert [record.data for record in stream.read(shard, one.sequence, 1)] == [b"two"]
    assert [record.data for record in stream.read(shard, None, 5)] == [b"one", b"two", b"three"]


def _falls_into(key: str) -> int:
    """By the shards' ranges, as Kinesis documents them."""
    position = int(hashlib.md5(key.encode(), usedforsecurity=False).hexdigest(), 16)
    return min(position // (2**128 // SHARDS), SHARDS - 1)


def test_a_key_falls_into_the_shard_whose_range_its_md5_is_in(adapter: Adapter) -> None:
    keys = [f"z-{at:03d}" for at in range(200)]
    adapter.stream.put([Entry(key, b"x") for key in keys])
    found = {record.key: place for place, records in enumerate(all_of(adapter.stream).values()) for record in records}
    assert found == {key: _falls_into(key) for key in keys}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([Entry("k", b"x")] * (MOST_ENTRIES + 1), "501 entries"),
        ([Entry("k", bytes(MOST_RECORD_BYTES))], "entry 0 of 1,048,577 bytes"),
        ([Entry("k", bytes(MOST_RECORD_BYTES - 1))] * 6, f"more than {MOST_BYTES:,}"),
        ([Entry("k", b"x"), Entry("k", b"")], "entry 1 without data"),
        ([Entry("", b"x"), Entry("k" * 257, b"x")], "entry 0 with a key of 0 characters.*entry 1 with a key of 257"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_before_anything_is_put(
    adapter: Adapter, entries: list[Entry], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        adapter.stream.put(entries)
    assert not any(all_of(adapter.stream).values())


def test_the_largest_record_comes_through(adapter: Adapter) -> None:
    data = bytes(range(256)) * (MOST_RECORD_BYTES // 256 - 1)
    assert list(adapter.stream.put([Entry("k", data)])) == [None]
    assert [record.data for records in all_of(adapter.stream).values() for record in records] == [data]


def test_a_shard_there_is_none_of_is_refused(adapter: Adapter) -> None:
    with pytest.raises(StreamRefused):
        adapter.stream.read("shardId-000000000099", None, 1)


# What Kinesis answers


def stubbed(*answers: tuple[str, Any]) -> KinesisEventStream:
    fake = client("http://127.0.0.1:1")
    stub = Stubber(fake)
    for operation, answer in answers:
        if isinstance(answer, dict):
            asked = answer.pop("asked", None)
            stub.add_response(operation, answer, asked)
        else:
            stub.add_client_error(operation, answer, http_status_code=500 if answer == "InternalFailure" else 400)
    stub.activate()
    return KinesisEventStream("stream", lambda: fake)


@pytest.mark.usefixtures("aws_environment")
def test_of_a_put_that_is_taken_in_part_each_entry_knows_its_own_fate() -> None:
    taken = {"SequenceNumber": "1", "ShardId": "shardId-000000000000"}
    busy = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded"}
    stream = stubbed(("put_records", {"FailedRecordCount": 1, "Records": [taken, busy, taken]}))
    first, second, third = stream.put([Entry("k", b"x")] * 3)
    assert (first, third) == (None, None)
    assert isinstance(second, StreamUnavailable)
    assert "ProvisionedThroughputExceededException" in str(second)


@pytest.mark.usefixtures("aws_environment")
def test_a_stream_that_is_busy_and_one_that_refuses_are_told_apart(tmp_path: Path) -> None:
    for code in ("ProvisionedThroughputExceededException", "LimitExceededException", "InternalFailure"):
        with pytest.raises(StreamUnavailable, match=code):
            stubbed(("put_records", code)).put([Entry("k", b"x")])
        with pytest.raises(StreamUnavailable):
            stubbed(("list_shards", code)).shards()
    with pytest.raises(StreamRefused, match="ResourceNotFoundException"):
        stubbed(("put_records", "ResourceNotFoundException")).put([Entry("k", b"x")])
    with pytest.raises(StreamUnavailable):  # nobody listens
        KinesisEventStream("stream", lambda: client("http://127.0.0.1:1")).shards()
    (tmp_path / "stream.sqlite").write_bytes(b"no database at all")
    with pytest.raises(DamagedDatabase):
        SqliteEventStream(tmp_path / "stream.sqlite").put([Entry("k", b"x")])


@pytest.mark.usefixtures("aws_environment")
def test_shards_come_page_by_page() -> None:
    def shard(name: str) -> dict[str, Any]:
        return {
            "ShardId": name,
            "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "1"},
            "SequenceNumberRange": {"StartingSequenceNumber": "0"},
        }

    pages: list[tuple[str, Any]] = [
        ("list_shards", {"Shards": [shard("a"), shard("b")], "NextToken": "more"}),
        ("list_shards", {"Shards": [shard("c")]}),
    ]
    assert list(stubbed(*pages).shards()) == ["a", "b", "c"]


@pytest.mark.usefixtures("aws_environment")
def test_an_iterator_that_expired_is_made_anew_and_gaps_are_read_over() -> None:
    arrival = datetime.fromtimestamp(1_780_000_000.25, UTC)

    def page(iterator: str | None, *sequences: str, behind: int = 0) -> tuple[str, Any]:
        records = [
            {"SequenceNumber": one, "PartitionKey": "k", "Data": b"x", "ApproximateArrivalTimestamp": arrival}
            for one in sequences
        ]
        answer = {"Records": records, "MillisBehindLatest": behind}
        return "get_records", answer | ({"NextShardIterator": iterator} if iterator else {})

    after_seven = {"StreamName": "stream", "ShardId": "s", "ShardIteratorType": "AFTER_SEQUENCE_NUMBER"}
    after_seven["StartingSequenceNumber"] = "7"
    stream = stubbed(
        ("get_shard_iterator", {"ShardIterator": "start"}),
        page("second", behind=900),
        page("third", "7", behind=5),
        ("get_records", "ExpiredIteratorException"),
        ("get_shard_iterator", {"ShardIterator": "after 7", "asked": after_seven}),
        page(None, "8"),
        ("get_shard_iterator", {"ShardIterator": "after 8"}),  # the shard was closed
        page(None),
    )
    assert list(stream.read("s", None, 9)) == [StreamRecord("7", "k", b"x", 1_780_000_000_250)]
    assert [record.sequence for record in stream.read("s", "7", 9)] == ["8"]
    assert list(stream.read("s", "8", 9)) == []


# What the file has beside


def filled(path: Path, clock: StandingClock, count: int = 4) -> tuple[SqliteEventStream, str, list[StreamRecord]]:
    stream = SqliteEventStream(path, 1, clock)
    stream.put([Entry(f"k{at}", b"x" * (at + 1)) for at in range(count)])
    (shard,) = stream.shards()
    return stream, shard, list(stream.read(shard, None, count))


def test_each_reader_has_a_place_of_its_own_that_only_grows(tmp_path: Path, clock: StandingClock) -> None:
    stream, shard, records = filled(tmp_path / "s.sqlite", clock)
    assert stream.checkpoint("live", shard) is None
    stream.dealt_with("live", shard, records[2].sequence)
    stream.dealt_with("live", shard, records[0].sequence)  # heard late
    stream.dealt_with("archive", shard, records[0].sequence)
    again = SqliteEventStream(tmp_path / "s.sqlite", 1, clock)
    assert again.checkpoint("live", shard) == records[2].sequence
    one = TrafficShard(again, shard)
    assert [record["kinesis"]["sequenceNumber"] for record in one.read("live", 9)] == [records[3].sequence]
    assert len(one.read("archive", 9)) == 3
    SqliteEventStream(tmp_path / "s.sqlite", 1, clock).rewind("live", shard)
    assert stream.checkpoint("live", shard) is None
    SqliteEventStream(tmp_path / "s.sqlite", 1, clock).dealt_with("live", shard, records[1].sequence)
    assert stream.checkpoint("live", shard) == records[1].sequence
    assert stream.checkpoint("archive", shard) == records[0].sequence


def test_what_all_readers_dealt_with_goes_after_a_day_and_its_numbers_never_come_again(
    tmp_path: Path, clock: StandingClock
) -> None:
    stream, shard, records = filled(tmp_path / "s.sqlite", clock)
    clock.time += timedelta(hours=23)
    stream.put([Entry("k", b"young")])
    stream.dealt_with("live", shard, f"{records[-1].order + 1}")
    assert stream.trim(shard, ["live"]) == 0  # a day has not passed
    clock.time += timedelta(hours=2)
    assert stream.trim(shard, ["live", "archive"]) == 0  # which has not begun
    stream.dealt_with("archive", shard, records[1].sequence)
    assert stream.trim(shard, ["live"]) == 2  # archive is known, so it counts
    assert [record.sequence for record in stream.read(shard, None, 9)][:2] == [one.sequence for one in records[2:]]
    stream.dealt_with("archive", shard, f"{records[-1].order + 1}")
    assert TrafficShard(stream, shard).trim(["live"]) == 2
    assert stream.trim(shard, ["live"], timedelta()) == 1
    assert list(stream.read(shard, None, 9)) == []
    again = SqliteEventStream(tmp_path / "s.sqlite", 1, clock)
    again.put([Entry("k", b"new")])
    assert again.read(shard, None, 9)[0].order > records[-1].order + 1


def test_a_read_is_bounded_in_bytes_but_gives_one_record(tmp_path: Path) -> None:
    stream = SqliteEventStream(tmp_path / "s.sqlite", 1)
    for _ in range(3):
        stream.put([Entry("k", bytes(MOST_RECORD_BYTES - 1))] * 4)
    (shard,) = stream.shards()
    some = stream.read(shard, None, 100)
    assert len(some) == MOST_READ_BYTES // (MOST_RECORD_BYTES - 1)
    assert len(stream.read(shard, some[-1].sequence, 100)) == 12 - len(some)


def test_a_file_keeps_the_number_of_its_shards(tmp_path: Path) -> None:
    SqliteEventStream(tmp_path / "s.sqlite", 4).put([Entry("k", b"x")])
    with pytest.raises(StreamRefused, match="made with 4 shards, not 8"):
        SqliteEventStream(tmp_path / "s.sqlite", 8).put([Entry("k", b"x")])


def test_of_producers_at_once_every_entry_is_there_once_and_in_its_order(tmp_path: Path) -> None:
    def produce(number: int) -> None:
        stream = SqliteEventStream(tmp_path / "s.sqlite")
        for at in range(20):
            stream.put([Entry(f"k{number}", f"{at:02d}".encode())])

    threads = [threading.Thread(target=produce, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    by_key: dict[str, list[bytes]] = {}
    for records in all_of(SqliteEventStream(tmp_path / "s.sqlite"), 3).values():
        for record in records:
            by_key.setdefault(record.key, []).append(record.data)
    assert by_key == {f"k{number}": [f"{at:02d}".encode() for at in range(20)] for number in range(4)}


def test_what_was_accepted_survives_the_producer(tmp_path: Path) -> None:
    """A producer that is killed right after its put returned."""
    program = (
        "import os, signal, sys; from pathlib import Path;"
        "from city_platform.local.traffic_stream import SqliteEventStream, Entry;"
        "SqliteEventStream(Path(sys.argv[1])).put([Entry('k', b'kept')] * 3);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "s.sqlite")], check=False)
    assert done.returncode == -9
    found = all_of(SqliteEventStream(tmp_path / "s.sqlite"))
    assert [record.data for records in found.values() for record in records] == [b"kept"] * 3


def test_one_process_ending_does_not_take_the_log_away_from_another(tmp_path: Path) -> None:
    """SQLite's locks are a process's: whoever opens and closes the file by hand loses those of its connections."""
    path = tmp_path / "s.sqlite"
    first, second = SqliteEventStream(path), SqliteEventStream(path)
    first.put([Entry("k", b"one")])
    second.put([Entry("k", b"two")])  # opens the file while the first has it open
    log = path.with_name("s.sqlite-wal")
    before = log.stat().st_ino
    program = (
        "import sys; from pathlib import Path;"
        "from city_platform.local.traffic_stream import SqliteEventStream, Entry;"
        "SqliteEventStream(Path(sys.argv[1])).put([Entry('k', b'three')])"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    assert log.stat().st_ino == before
    first.put([Entry("k", b"four")])
    found = all_of(second)
    assert [record.data for records in found.values() for record in records] == [b"one", b"two", b"three", b"four"]


def test_the_deployment_says_which_stream(tmp_path: Path) -> None:
    stream = open_stream(tmp_path, {})
    assert list(tmp_path.iterdir()) == []  # opening it makes nothing
    assert (len(stream.shards()), isinstance(stream, SqliteEventStream)) == (4, True)
    aws = {
        "CITY_PLATFORM_DEPLOYMENT": "aws",
        **one_bucket("b"),
        "CITY_PLATFORM_ALERTS_TOPIC": "arn",
        "AWS_REGION": REGION,
    }
    with pytest.raises(IncompleteSettings, match="CITY_PLATFORM_TRAFFIC_STREAM"):
        open_stream(tmp_path, aws)
    assert isinstance(open_stream(tmp_path, aws | {"CITY_PLATFORM_TRAFFIC_STREAM": "s"}), KinesisEventStream)
