"""The contract of the traffic state, held by every adapter; and what DynamoDB's own errors become."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from city_platform.aws.traffic_state import DynamoTrafficState, StateRefused
from city_platform.local.database import DamagedDatabase
from city_platform.local.traffic_state import SqliteTrafficState
from city_platform.traffic.handler import TrafficHandler
from city_platform.traffic.state import (
    Conflict,
    Event,
    Record,
    StateUnavailable,
    TrafficState,
    VersionConflict,
    Window,
    bucket,
)
from tests.integration.conftest import REGION
from tests.traffic import NOON, TOWN, Letters, MemoryState, Told, columns, event, record

WINDOW = Window(
    zone="z-001", start_ms=NOON, version=1, revision=0, readings=2, vehicles=9, vehicle_speed=2**52, pace=2**61,
    occupancy=3, occupancy_readings=1,
    index=7, index_readings=2, max_vehicles=8, max_speed_x10=-1, max_occupancy_x1000=3,
    max_index_x1000=4, active=1, sensors=b"\x00\xffsensors", strays=b"", updated_ms=NOON + 5, ttl=1_800_000_000,
)  # fmt: skip


def window(**changes: Any) -> Window:
    return msgspec.structs.replace(WINDOW, **changes)


@dataclass(frozen=True)
class Adapter:
    """A state, and a way to a second one over the same things."""

    state: TrafficState
    again: Callable[[], TrafficState]


def client(endpoint: str, attempts: int = 1) -> Any:
    settings = Config(retries={"total_max_attempts": attempts}, max_pool_connections=32)
    return boto3.client("dynamodb", region_name=REGION, endpoint_url=endpoint, config=settings)


@pytest.fixture(params=["local", "aws"])
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Adapter]:
    if request.param == "local":
        again = lambda: SqliteTrafficState(tmp_path / "traffic" / "state.sqlite")  # noqa: E731 both are such
        yield Adapter(again(), again)
        assert (tmp_path / "traffic" / "state.sqlite").stat().st_mode & 0o777 == 0o600
        return
    request.getfixturevalue("aws_environment")
    endpoint = request.getfixturevalue("aws")
    table = f"traffic-{abs(hash(request.node.name))}"
    client(endpoint).create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("part", "item")],
        KeySchema=[{"AttributeName": "part", "KeyType": "HASH"}, {"AttributeName": "item", "KeyType": "RANGE"}],
    )
    connected = lambda: DynamoTrafficState(table, lambda: client(endpoint))  # noqa: E731 both are such
    yield Adapter(connected(), connected)


def test_a_window_is_written_once_for_each_version_and_a_refusal_says_what_stands_there(adapter: Adapter) -> None:
    state, second = adapter.state, window(version=2, readings=3, sensors=b"more")
    assert list(state.put([window(), window(zone="z-002")])) == [None, None]
    assert list(adapter.again().put([second, window(zone="z-002"), window(zone="z-003", version=4)])) == [
        None,
        Conflict(window(zone="z-002")),
        Conflict(None),
    ]
    assert list(state.put([window(version=2, readings=9)])) == [Conflict(second)]
    keys = [("z-001", NOON), ("z-002", NOON), ("z-003", NOON), ("z-001", NOON + 10_000)]
    assert state.get(keys) == {keys[0]: second, keys[1]: window(zone="z-002")}
    assert state.get([]) == {}


def test_a_zones_windows_come_in_order_and_by_their_start(adapter: Adapter) -> None:
    some = [window(start_ms=NOON + at * 10_000) for at in (3, 0, 2, 1)]
    adapter.state.put([*some, window(zone="z-0010")])
    assert list(adapter.state.windows("z-001", NOON, NOON + 30_000)) == [some[1], some[3], some[2]]
    assert list(adapter.state.windows("z-001", NOON + 1, NOON + 10_000)) == []
    assert list(adapter.state.windows("z-001", NOON, NOON)) == []


def test_the_city_at_one_time_comes_by_zone_whole_or_in_parts(adapter: Adapter) -> None:
    there = [window(zone=f"z-{at:03d}") for at in range(40)]
    adapter.state.put([*there, window(start_ms=NOON + 10_000)])
    assert list(adapter.state.city(NOON)) == there
    parts = (3, 7)
    some = [one for one in there if bucket(one.zone) in parts]
    assert 0 < len(some) < len(there)
    assert list(adapter.again().city(NOON, parts)) == some
    assert list(adapter.state.city(NOON + 20_000)) == []


def test_many_windows_are_read_at_once(adapter: Adapter) -> None:
    keys = [(f"z-{at:03d}", NOON) for at in range(150)]
    there = [window(zone=keys[at][0]) for at in (0, 99, 100, 149)]
    adapter.state.put(there)
    assert adapter.state.get(keys) == {one.key: one for one in there}


def test_of_writers_at_once_one_wins_each_version(tmp_path: Path) -> None:
    """In SQLite; the emulator of DynamoDB looks at a condition and writes in two steps, which DynamoDB does not."""
    won: list[int] = []

    def write(number: int) -> None:
        state = SqliteTrafficState(tmp_path / "state.sqlite")
        mine = window(vehicles=number)
        while (answer := state.put([mine])[0]) is not None:
            assert isinstance(answer, Conflict)
            assert answer.current is not None
            mine = window(version=answer.current.version + 1, vehicles=number)
        won.append(mine.version)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [1, 2, 3, 4, 5, 6]


def test_records_and_events_are_written_together_or_not_at_all(adapter: Adapter) -> None:
    state = adapter.state
    told = [Event(f"e{at}", NOON - at, b"\x00told") for at in range(3)]
    assert state.record("level:z-001") is None
    state.commit([Record("level:z-001", 1, b"slow"), Record("level:z-002", 1, b"")], told[:1])
    with pytest.raises(VersionConflict):
        state.commit([Record("level:z-003", 1, b"new"), Record("level:z-001", 1, b"again")], told[1:])
    assert (state.record("level:z-003"), list(state.outbox(9))) == (None, told[:1])
    state.commit([Record("level:z-001", 2, b"severe")], told)
    assert adapter.again().record("level:z-001") == Record("level:z-001", 2, b"severe")
    assert list(state.outbox(9)) == told[::-1]  # the oldest first
    assert list(state.outbox(1)) == told[2:]
    state.published(told[1:])
    state.commit([], told)  # each is told once, whoever says it again
    assert list(adapter.again().outbox(9)) == told[:1]


def test_the_handler_ends_in_the_same_windows_with_every_state(adapter: Adapter) -> None:
    told = [
        Told(sensor, 100 + turn, NOON + 9_000 + turn * 700, sensor + turn) for sensor in range(12) for turn in range(5)
    ]
    by_zone = [[one for one in told if TOWN.zone[one.sensor] == zone] for zone in range(3)]
    records = [record(columns(some), number) for number, some in enumerate(by_zone)]
    plain = MemoryState()
    for state in (plain, adapter.state, adapter.again()):
        handler = TrafficHandler(TOWN, state, Letters(), lambda: NOON + 20_000)
        handler.handle(event(*records[:2]))
        assert handler.handle(event(*records)).failed == []
    assert adapter.state.get(list(plain.kept)) == plain.kept


def test_sqlite_forgets_windows_past_their_time(tmp_path: Path) -> None:
    state = SqliteTrafficState(tmp_path / "state.sqlite")
    state.put([window(), window(zone="z-002", ttl=WINDOW.ttl + 1)])
    assert state.forget(WINDOW.ttl * 1000 + 1000) == 1
    assert list(state.get([("z-001", NOON), ("z-002", NOON)])) == [("z-002", NOON)]


def stubbed(*answers: tuple[str, str, int]) -> DynamoTrafficState:
    fake = client("http://127.0.0.1:1")
    stub = Stubber(fake)
    for operation, code, status in answers:
        stub.add_client_error(operation, code, http_status_code=status)
    stub.activate()
    return DynamoTrafficState("table", lambda: fake)


@pytest.mark.usefixtures("aws_environment")
def test_a_state_that_is_busy_and_one_that_refuses_are_told_apart(tmp_path: Path) -> None:
    busy: Sequence[tuple[str, int]] = (("ProvisionedThroughputExceededException", 400), ("InternalServerError", 500))
    for code, status in busy:
        (answer,) = stubbed(("update_item", code, status)).put([window()])
        assert isinstance(answer, StateUnavailable)
        with pytest.raises(StateUnavailable):
            stubbed(("query", code, status)).city(0, [1])
    with pytest.raises(StateRefused, match="ResourceNotFoundException"):
        stubbed(("update_item", "ResourceNotFoundException", 400)).put([window()])
    (answer,) = DynamoTrafficState("table", lambda: client("http://127.0.0.1:1")).put([window()])  # nobody listens
    assert isinstance(answer, StateUnavailable)
    (tmp_path / "state.sqlite").write_bytes(b"no database at all")
    with pytest.raises(DamagedDatabase):
        SqliteTrafficState(tmp_path / "state.sqlite").put([window()])
