"""What the stream's handler does with good and with bad records, one by one."""

import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import msgspec
import numpy as np
import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.traffic.frames import Decoder, encode_columns, encode_lines
from city_platform.traffic.handler import Outcome, TrafficHandler
from city_platform.traffic.registry import generate
from city_platform.traffic.telemetry import NO_CLAIM, Readings, Reason
from city_platform.traffic.windows import MAX_STRAYS, unpack_sensors, unpack_strays
from tests.town import ROOT
from tests.traffic import NOON, TOWN, Faults, Letters, MemoryState, Told, columns, event, lines, record, truth

GOOD = Told(0, 100, NOON + 1_000, 45)
ZONE = TOWN.zones[TOWN.zone[0]]
EMPTY = {"ts": NOON, "vehicle_count": 0, "avg_speed_kmh": None}


def handled(*records: Any, state: MemoryState | None = None, letters: Letters | None = None) -> Outcome:
    handler = TrafficHandler(TOWN, state or MemoryState(), letters or Letters(), lambda: NOON + 3_000)
    return handler.handle(event(*records))


def line(**changes: Any) -> bytes:
    return msgspec.json.encode({name: value for name, value in (GOOD.line() | changes).items() if value != "absent"})


def test_a_seed_gives_the_same_registry_with_every_zone_a_slice() -> None:
    city, again = generate(), generate()
    assert (len(city), len(city.zones)) == (50_000, 500)
    assert (city.start == again.start).all()
    assert (city.percent == again.percent).all()
    assert (city.interval_s == again.interval_s).all()
    assert (city.percent != generate(seed=1).percent).any()
    for zone in (0, 17, 499):
        assert set(city.zone[city.sensors(zone)].tolist()) == {zone}
    assert city.index_of(city.number[[3, 49_999]].astype("i8")).tolist() == [3, 49_999]
    assert city.index_of(city.number[:1] - 1).tolist() == [-1]


IDS = st.sampled_from([f"s-{number:05d}" for number in (0, 3, 11, 12, 99_999)]) | st.text("s-0\n1é", max_size=9)


@given(st.lists(IDS, max_size=6))
def test_ids_read_at_once_are_found_as_one_by_one(ids: list[str]) -> None:
    expected = [TOWN.sensor_index.get(one, -1) for one in ids]
    assert TOWN.index_of_ids(ids).tolist() == expected


@pytest.mark.parametrize(
    "ids",
    [["s-0000", "1s-00001"], ["s-00001\ns-000", "1"], ["s-00001\ns-00001", ""], ["s-00001", "s-0000\n"], ["s-0000:"]],
)
def test_no_ids_pass_for_others_by_where_they_are_cut(ids: list[str]) -> None:
    assert TOWN.index_of_ids(ids).tolist() == [TOWN.sensor_index.get(one, -1) for one in ids]


def test_both_frames_and_single_messages_say_the_same() -> None:
    told = [Told(at % 4, 100 + at, NOON + at * 240, at * 31) for at in range(36)]
    zones: dict[int, list[Told]] = {}
    for one in told:
        zones.setdefault(TOWN.zone[one.sensor], []).append(one)
    framed, lined, alone = MemoryState(), MemoryState(), MemoryState()
    handled(*(record(columns(some), n) for n, some in enumerate(zones.values())), state=framed)
    handled(record(lines(told)), state=lined)
    handled(*(record(msgspec.json.encode(one.line()), n) for n, one in enumerate(told)), state=alone)
    assert framed.kept == lined.kept == alone.kept
    for key, expected in truth(told).items():
        latest = expected.pop("latest")
        stored = framed.kept.pop(key)
        assert {name: getattr(stored, name) for name in expected} == expected
        sensors = unpack_sensors(stored)
        found = zip(sensors.seq, sensors.ts_ms, sensors.vehicle_count, sensors.speed_x10, strict=True)
        assert dict(zip(sensors.number.tolist(), map(tuple, found), strict=True)) == latest
        assert stored.ttl > key[1] // 1000 + 168 * 3600  # a stream keeps records for a week at most
    assert not framed.kept


COLUMN = dict.fromkeys(("seq", "ts_ms"), st.integers(NOON, NOON + 9_999)) | {
    "interval_s": st.integers(1, 300),
    "vehicle_count": st.integers(1, 10_000),
    "speed_x10": st.integers(0, 2_500),
    "occupancy_x1000": st.integers(-1, 1000),
    "index_x1000": st.integers(-1, 1000),
}


@given(st.lists(st.tuples(*COLUMN.values()), min_size=1, max_size=9))
def test_frames_give_back_what_was_put_into_them(values: list[tuple[int, ...]]) -> None:
    count = len(values)
    same = np.zeros(count, dtype=np.int64)
    columns = dict(zip(COLUMN, np.array(values, dtype=np.int64).T, strict=True))
    put = Readings(
        sensor=(same + 1).astype(np.int32),
        zone=TOWN.zone[same + 1],
        arrival_ms=same + NOON,
        record=same,
        row=np.arange(count),
        **columns,
    )
    for frame, claim in (
        (encode_columns(ZONE, put, TOWN.number), TOWN.zone[1]),
        (encode_lines(put, TOWN.number), NO_CLAIM),
    ):
        decoder = Decoder(TOWN)
        decoder.add(0, frame, NOON, "kerb")
        got = decoder.readings()
        assert got is not None
        assert decoder.refused == []
        for name in COLUMN.keys() | {"sensor", "row", "arrival_ms"}:
            assert getattr(got, name).tolist() == getattr(put, name).tolist()
        assert set(got.zone.tolist()) == {claim}


NUMBER = st.integers(-5, 5) | st.integers() | st.sampled_from([1.0, 1.5, 1e3, None, True, "1", "1,2", [], [1], {}])


@given(
    st.lists(st.tuples(st.sampled_from(["sensor", "seq", "t", "speed_x10", "occupancy_x1000", "interval_s"]),
                       st.lists(NUMBER, max_size=3) | NUMBER), max_size=3),
    st.booleans(),
)  # fmt: skip
def test_columns_read_together_are_what_they_are_one_by_one(changes: list[tuple[str, Any]], spaced: bool) -> None:
    """A batch is read in one go where all its columns are plain numbers; whatever is there, it says the same."""
    some = [Told(0, 100, NOON, 3), Told(0, 101, NOON + 1, 4)]
    text = zlib.decompress(columns(some, **dict(changes)))
    frames = [zlib.compress(text.replace(b",", b" ,") if spaced else text.replace(b" ", b"")), columns(some)]

    def decoded() -> tuple[list[Any], list[Any]]:
        decoder = Decoder(TOWN)
        for place, frame in enumerate(frames):
            decoder.add(place, frame, NOON, "kerb")
        found = decoder.readings()
        assert found is not None
        clamped = [np.clip(getattr(found, one.name), -(2**50), 2**50).tolist() for one in fields(Readings)]
        return clamped, sorted(decoder.refused, key=repr)

    together = decoded()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("city_platform.traffic.frames._read", never)
        assert decoded() == together
    assert {1} <= set(together[0][-2])  # the good frame beside it is there


def never(*_: Any) -> Any:
    raise ValueError


def test_a_message_of_several_readings_and_the_smallest_one_count_too() -> None:
    zone = TOWN.zones[TOWN.zone[2]]
    reading = {"ts": "2026-05-28T20:26:41.250Z", "vehicle_count": 4, "avg_speed_kmh": 20, "lane": 1, "quality": "ok"}
    message = {"v": 1, "sensor_id": f"s-{TOWN.number[2]:05d}", "zone_id": zone, "boot_id": "9f2c", "fw": "2.3.1"}
    message["readings"] = [reading | {"seq": 7}, reading | {"seq": 8, "ts": NOON + 2}, reading | {"seq": 7}]
    smallest = {"sensor_id": message["sensor_id"], "ts": NOON + 9, "vehicle_count": 1, "speed": 36.0}
    state = MemoryState()
    data = [json.dumps(one).encode() for one in (message, smallest, smallest | {"lane": 2}, smallest)]
    outcome = handled(*map(record, [*data[:2], zlib.compress(b"\n".join(data[2:]))], range(3)), state=state)
    assert (outcome.accepted, outcome.duplicates, outcome.rejected) == (4, 2, {})
    assert state.kept[zone, NOON].vehicles == 10
    assert state.kept[zone, NOON].pace == 8 * 50_000 + 2 * 27_778


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x00\xff rubbish", Reason.SCHEMA),
        (b"", Reason.SCHEMA),
        (b"x\x9crubbish", Reason.COMPRESSION),
        (lines([GOOD])[:-5], Reason.COMPRESSION),
        (lines([GOOD]) + b"more", Reason.COMPRESSION),
        (zlib.compress(b"\xff\xfe"), Reason.SCHEMA),
        (zlib.compress(b"[" * 100_000), Reason.TOO_LARGE),
        (zlib.compress(b"[" * 900), Reason.SCHEMA),
        (zlib.compress(bytes(100_000_000), 9), Reason.TOO_LARGE),
        (b"{" + b" " * 200_000, Reason.TOO_LARGE),
        (columns([GOOD], seq=[]), Reason.SCHEMA),
        (columns([GOOD], sensor=[]), Reason.SCHEMA),
        (columns([GOOD], seq="1"), Reason.SCHEMA),
        (columns([GOOD], seq=[[95]]), Reason.SCHEMA),
        (columns([GOOD], t=["0"]), Reason.SCHEMA),
        (columns([GOOD], interval_s=[]), Reason.SCHEMA),
        (columns([GOOD], interval_s=None), Reason.SCHEMA),
        (columns([GOOD], interval_s=2**70), Reason.INTERVAL),
        (columns([GOOD], t0=-1), Reason.SCHEMA),
        (columns([GOOD], t=[2**50]), Reason.SCHEMA),
        (columns([GOOD], seq=[-(2**63)]), Reason.SCHEMA),
        (columns([GOOD], vehicle_count=[2**70]), Reason.VEHICLE_COUNT),
        (columns([GOOD], speed_x10=[-2]), Reason.SPEED),
        (columns([GOOD], zone="z-999"), Reason.ZONE),
        (columns([GOOD], interval_s=[0]), Reason.INTERVAL),
        (line(sensor_id="s-99999"), Reason.UNKNOWN_SENSOR),
        (line(sensor_id="s" * 9000), Reason.UNKNOWN_SENSOR),
        (line(zone_id=TOWN.zones[-1]), Reason.ZONE),
        (line(topic_sensor="s-00001"), Reason.TOPIC),
        (line(topic_zone=TOWN.zones[-1]), Reason.ZONE),
        (line(zone_id=ZONE, topic_zone=TOWN.zones[-1]), Reason.TOPIC),
        (line(topic_sensor=5), Reason.SCHEMA),
        (line(ts=NOON + 2_000 + 300_001), Reason.FUTURE),
        (line(ts=NOON + 2_000 - 86_400_001), Reason.ANCIENT),
        (line(ts="yesterday"), Reason.SCHEMA),
        (line(ts="2026-05-28T20:26:41"), Reason.SCHEMA),
        (line(ts="1780000001000"), Reason.SCHEMA),
        (line(seq=-1), Reason.SCHEMA),
        (line(seq=2**53), Reason.SCHEMA),
        (line(vehicle_count=10_001), Reason.VEHICLE_COUNT),
        (line(vehicle_count=1.5), Reason.SCHEMA),
        (line(vehicle_count="absent"), Reason.SCHEMA),
        (line(avg_speed_kmh=250.1), Reason.SPEED),
        (line(avg_speed_kmh=-0.04), Reason.SPEED),
        (line(avg_speed_kmh=1e300), Reason.SPEED),
        (line(avg_speed_kmh=None), Reason.SPEED_WITHOUT_VEHICLES),
        (line(vehicle_count=0), Reason.SPEED_WITHOUT_VEHICLES),
        (line(occupancy=1.001), Reason.OCCUPANCY),
        (line(occupancy=-0.0001), Reason.OCCUPANCY),
        (line(congestion_index=101), Reason.INDEX),
        (line(interval_s=301), Reason.INTERVAL),
        (json.dumps({"v": 1, "sensor_id": "s-00000", "zone_id": ZONE, "readings": []}).encode(), Reason.SCHEMA),
        (
            json.dumps({"v": 1, "sensor_id": "s-00000", "zone_id": ZONE, "readings": [EMPTY] * 61}).encode(),
            Reason.TOO_LARGE,
        ),
    ],
)
def test_what_is_wrong_is_kept_with_its_reason_and_holds_up_nothing(data: bytes, reason: Reason) -> None:
    state, letters = MemoryState(), Letters()
    outcome = handled(record(data, 1), record(columns([GOOD]), 2), state=state, letters=letters)
    assert outcome.rejected == {reason: 1}
    assert outcome.failed == []
    assert outcome.accepted == 1
    assert state.kept[ZONE, NOON].readings == 1
    (letter,) = letters.kept.values()
    assert (letter.reason, letter.record) == (reason, "shardId-000000000000:1")
    assert pybase64.b64decode(letter.data) == data


def test_an_event_record_that_is_none_is_kept_too() -> None:
    letters = Letters()
    never = (record(b"", 2 + at, approximateArrivalTimestamp=value) for at, value in enumerate((None, float("inf"))))
    outcome = handled(record(b"", 1, data="not base64!"), *never, letters=letters)
    assert outcome.rejected == {Reason.ENCODING: 3}
    assert [letter.data for letter in letters.kept.values()] == ["not base64!", "", ""]


@pytest.mark.parametrize("pack", [columns, lines])
def test_a_record_under_a_zones_key_holds_no_sensor_of_another_zone(pack: Callable[[Sequence[Told]], bytes]) -> None:
    """Whoever may publish for one zone must not be able to speak for the sensors of another."""
    theirs = TOWN.zones[-1]
    state, letters = MemoryState(), Letters()
    mine, foreign = (record(pack([GOOD]), number, partitionKey=key) for number, key in enumerate((ZONE, theirs)))
    outcome = handled(mine, foreign, state=state, letters=letters)
    assert (outcome.accepted, outcome.rejected) == (1, {Reason.ZONE: 1})
    assert [letter.record for letter in letters.kept.values()] == ["shardId-000000000000:1"]


@pytest.mark.parametrize("pack", [columns, lines])
def test_a_record_under_a_sensors_key_holds_nobody_elses_readings(pack: Callable[[Sequence[Told]], bytes]) -> None:
    """A sensor may publish under its own topic, whatever the message claims."""
    other = Told(1, 100, NOON + 1_000, 8)
    state, letters = MemoryState(), Letters()
    keys = ("s-00000", "s-00001", "s-99999", "s-rubbish")
    outcome = handled(
        *(record(pack([GOOD]), number, partitionKey=key) for number, key in enumerate(keys)),
        record(pack([other, GOOD]), 7, partitionKey="s-00001"),
        state=state,
        letters=letters,
    )
    assert (outcome.accepted, outcome.rejected) == (2, {Reason.TOPIC: 4})
    refused = {letter.record.rpartition(":")[2]: letter.rows for letter in letters.kept.values()}
    assert refused == {"1": (0,), "2": (0,), "3": (0,), "7": (1,)}


def test_an_unknown_sensor_under_its_own_key_is_an_unknown_sensor() -> None:
    outcome = handled(record(line(sensor_id="s-99999"), partitionKey="s-99999"))
    assert outcome.rejected == {Reason.UNKNOWN_SENSOR: 1}


def test_one_bad_line_costs_only_itself() -> None:
    other = Told(0, 101, NOON + 2_000, 8)
    text = b"\n".join((line(), b"{rubbish", line(occupancy=7), b"", msgspec.json.encode(other.line())))
    state, letters = MemoryState(), Letters()
    outcome = handled(record(zlib.compress(text)), state=state, letters=letters)
    assert state.kept[ZONE, NOON].readings == outcome.accepted == 2
    rows = {letter.reason: letter.rows for letter in letters.kept.values()}
    assert rows == {Reason.SCHEMA: (1,), Reason.OCCUPANCY: (2,)}


@given(st.binary(max_size=200), st.booleans(), st.integers(0, 60))
def test_no_bytes_break_the_handler(data: bytes, packed: bool, cut: int) -> None:
    frame = columns([GOOD])
    for one in (zlib.compress(data) if packed else data, frame[:cut] + data + frame[cut:]):
        outcome = handled(record(one))
        assert outcome.failed == []
        assert outcome.accepted + sum(outcome.rejected.values()) + outcome.duplicates + outcome.late_dropped >= 1


def test_more_readings_than_bits_are_remembered_one_by_one_up_to_a_bound() -> None:
    """Far apart sequence numbers, whole and in another order, across a restart."""
    told = [Told(0, (turn * 977) % 2000 * 10**9 + turn, NOON + turn, turn) for turn in range(150)]
    state = MemoryState()
    handled(record(lines(told[:80])), state=state)
    outcome = handled(record(lines(told[::-1])), state=state)
    assert (outcome.accepted, outcome.duplicates) == (70, 80)
    assert state.kept[ZONE, NOON].vehicles == sum(one.vehicles for one in told)
    assert len(unpack_strays(state.kept[ZONE, NOON])) > 100

    letters = Letters()
    many = [Told(0, turn * 1000, NOON + turn, turn) for turn in range(MAX_STRAYS + 11)]
    outcome = handled(record(lines(many)), state=MemoryState(), letters=letters)
    assert outcome.rejected == {Reason.TOO_MANY: 10}
    assert len(letters.kept) == 1


def test_a_batch_of_more_than_memory_should_hold_is_worked_on_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("city_platform.traffic.handler.READINGS_AT_ONCE", 3)
    told = [Told(0, seq, NOON + seq, seq) for seq in range(10)]
    records = [record(lines(told[at : at + 2]), at) for at in range(0, 10, 2)]
    state = MemoryState(faults=Faults([None, "lost"]))
    outcome = handled(*records, state=state)
    assert (outcome.failed, state.kept[ZONE, NOON].readings) == (["4"], 4)
    assert handled(*records, state=state).failed == []
    assert state.kept[ZONE, NOON].readings == 10


def test_lateness_is_by_the_streams_own_time() -> None:
    end = NOON + 10_000
    state = MemoryState()
    told = [Told(0, seq, NOON + seq, 3) for seq in range(4)]
    arrivals = (end + 9_999, end + 10_000, end + 69_999, end + 70_000)
    outcome = handled(
        *(record(lines([one]), n, at) for n, (one, at) in enumerate(zip(told, arrivals, strict=True))), state=state
    )
    assert (outcome.accepted, outcome.late, outcome.late_dropped) == (3, 2, 1)
    assert state.kept[ZONE, NOON].revision == 1


def test_only_what_failed_comes_again_and_dead_letters_that_could_not_be_kept_do() -> None:
    first, second, bad = columns([GOOD]), columns([Told(11, 5, NOON, 4)]), b"bad"
    state = MemoryState(faults=Faults([None, "lost"]))
    outcome = handled(record(first, 1), record(second, 2), state=state)
    assert outcome.response() == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert (outcome.accepted, outcome.duplicates, int(outcome.latency.sum())) == (1, 0, 1)  # the other is not stored
    again = handled(record(second, 2), state=state)
    assert (again.accepted, again.failed) == (1, [])
    letters = Letters(faults=Faults(["lost"]))
    assert handled(record(first, 1), record(bad, 2), letters=letters).failed == ["2"]


def test_the_function_needs_numpy_msgspec_pybase64_and_boto3_alone() -> None:
    """So none of pyarrow, pandas, duckdb, fastapi and dagster, whose import would cost every cold start."""
    program = (
        "import sys\n"
        "sys.modules |= dict.fromkeys(('certifi', 'typing_extensions'))\n"  # others use these where they are there
        "import lambda_handler\n"
        "print(*sorted({name.partition('.')[0] for name, module in sys.modules.items()"
        " if 'site-packages' in (getattr(module, '__file__', '') or '')}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = done.stdout.split()
    brought_by_boto3 = {"boto3", "botocore", "jmespath", "s3transfer", "urllib3", "dateutil", "six"}
    assert set(loaded) - brought_by_boto3 - {"numpy", "msgspec", "pybase64"} <= {"_virtualenv"}
    assert {"numpy", "msgspec", "pybase64", "boto3"} <= set(loaded)
