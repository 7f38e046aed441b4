"""The gateway's decisions: nothing dropped, nothing acknowledged early, order kept for each zone, limits kept."""

import json
import random
import zlib
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.traffic.frames import MAX_FRAME_READINGS, Decoder
from city_platform.traffic.gateway import (
    HELD_MESSAGES,
    LONGEST_PAUSE_S,
    MAX_FRAME_BYTES,
    MOST_LINES,
    PACK_MS,
    Gateway,
)
from city_platform.traffic.packing import MOST_LINE_BYTES, line, pack
from city_platform.traffic.stream import MOST_BYTES, MOST_RECORD_BYTES, Entry, StreamUnavailable, check_limits
from city_platform.traffic.telemetry import MAX_MESSAGE_READINGS, Reason
from city_platform.traffic.topics import Source
from tests.traffic import NOON, TOWN

BUSY = StreamUnavailable("busy")
MINE = f"s-{TOWN.number[0]:05d}"
HOME = Source("local", TOWN.zones[0], MINE)
FRAME = Source("local", TOWN.zones[0], None)


def message(**changes: object) -> bytes:
    return json.dumps(
        {"sensor_id": MINE, "seq": 5, "ts": NOON, "vehicle_count": 3, "avg_speed_kmh": 40.5} | changes
    ).encode()


def judged(*records: bytes) -> tuple[int, list[tuple[int, Reason]]]:
    """How many readings the stream's reader finds, and what it refuses."""
    decoder = Decoder(TOWN)
    for place, record in enumerate(records):
        decoder.add(place, record, NOON, "kerb")
    readings = decoder.readings()
    return (0 if readings is None else len(readings)), [(one.record, one.reason) for one in decoder.refused]


_STEPS = st.one_of(
    st.sampled_from(["a", "b", "c"]),  # a frame of that zone comes
    st.integers(0, 700),  # time goes by
    st.lists(st.booleans(), max_size=3),  # a put, and which of its entries the stream takes; none: it fails as a whole
)


@given(st.lists(_STEPS, max_size=40))
@settings(max_examples=200)
def test_everything_arrives_once_in_order_and_is_acknowledged_after_that(steps: list[str | int | list[bool]]) -> None:
    gateway: Gateway[int] = Gateway(held_messages=12)
    chance = random.Random(1)  # noqa: S311 -- no secret
    stream: list[Entry] = []
    taken: dict[str, list[bytes]] = {}
    acknowledged: list[int] = []
    now = 0
    for step in [*steps, *[[True] * 3] * 40]:
        if isinstance(step, str) and gateway.room:
            count = sum(map(len, taken.values()))
            gateway.take(Source("local", step, None), f"{count}".encode(), count, now)
            taken.setdefault(step, []).append(f"{count}".encode())
        elif isinstance(step, int):
            now += step
        elif isinstance(step, list):
            gateway.ripen(now)
            entries = gateway.next_put()
            check_limits(entries)
            assert len({entry.key for entry in entries}) == len(entries), "two of a zone could overtake each other"
            if not step:
                gateway.failed()
                assert 0 < gateway.pause_s(chance) <= LONGEST_PAUSE_S
                continue
            answers = [None if one else BUSY for one in (step * 3)[: len(entries)]]
            stream += [entry for entry, answer in zip(entries, answers, strict=True) if answer is None]
            acknowledged += gateway.answered(answers)
            assert len(acknowledged) == len(stream)
    for zone, payloads in taken.items():
        assert [entry.data for entry in stream if entry.key == zone] == payloads
    assert sorted(acknowledged) == list(range(sum(map(len, taken.values()))))
    assert (gateway.held, gateway.held_bytes, gateway.empty) == (0, 0, True)


def test_single_messages_of_a_zone_become_one_record_after_a_second() -> None:
    gateway: Gateway[str] = Gateway()
    gateway.take(HOME, message(), "first", NOON)
    gateway.take(HOME, message(seq=6, zone_id=HOME.zone), "second", NOON + 400)
    assert gateway.ripen(NOON + PACK_MS - 1) == NOON + PACK_MS
    assert gateway.next_put() == []
    gateway.answered([])
    assert gateway.ripen(NOON + PACK_MS) is None
    (entry,) = gateway.next_put()
    assert entry.key == HOME.zone
    assert judged(entry.data) == (2, [])
    assert gateway.answered([BUSY]) == [], "what the stream does not have is not acknowledged"
    assert [one.data for one in gateway.next_put()] == [entry.data], "the same bytes again"
    assert gateway.answered([None]) == ["first", "second"]
    assert gateway.empty


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (message(sensor_id=f"s-{TOWN.number[1]:05d}"), Reason.TOPIC),
        (message(zone_id=TOWN.zones[1]), Reason.TOPIC),
        (message(sensor_id=f"s-{TOWN.number[1]:05d}", topic_sensor=f"s-{TOWN.number[1]:05d}"), Reason.TOPIC),
        (b"", Reason.SCHEMA),
        (b"{}", Reason.SCHEMA),
        (b"[1]", Reason.SCHEMA),
        (b"\x00\xff\xfe rubbish", Reason.SCHEMA),
        (b"[" * 5000, Reason.SCHEMA),
        (b'{"sensor_id":"' + MINE.encode() + b'","a":' + b"[" * 3000, Reason.SCHEMA),
        (zlib.compress(b'{"zone":"z-001"}'), Reason.SCHEMA),
        (message(vehicle_count="many"), Reason.SCHEMA),
        (message(note="x" * 200_000), Reason.TOO_LARGE),
        (b"y" * MAX_FRAME_BYTES, Reason.TOO_LARGE),
    ],
)
def test_what_is_no_message_of_its_topic_reaches_the_dead_letters_and_harms_no_other(
    payload: bytes, reason: Reason
) -> None:
    gateway: Gateway[int] = Gateway()
    for count, one in enumerate((message(seq=1), payload, message(seq=2), message(seq=3))):
        gateway.take(HOME, one, count, NOON)
    records: list[bytes] = []
    gateway.ripen(NOON, everything=True)
    while entries := gateway.next_put():
        check_limits(entries)
        records += [entry.data for entry in entries]
        gateway.answered([None] * len(entries))
    found, refused = judged(*records)
    assert (found, [reason for _, reason in refused]) == (3, [reason])
    assert any(payload.rstrip(b"}") in record or payload.rstrip(b"}") in _text(record) for record in records)


def _text(record: bytes) -> bytes:
    try:
        return zlib.decompress(record)
    except zlib.error:
        return record


def test_no_single_message_can_pass_for_a_frame_of_others() -> None:
    """A frame's columns and a message's keys in one object: alone in a record it must not be opened as a frame."""
    others = int(TOWN.number[3])
    columns = {"sensor": [others], "seq": [0], "t": [0], "vehicle_count": [1], "speed_x10": [100], "index_x1000": [1]}
    smuggled = message(zone=HOME.zone, t0=NOON, seq0=9, **columns)
    gateway: Gateway[int] = Gateway()
    gateway.take(HOME, smuggled, 0, NOON)
    gateway.ripen(NOON, everything=True)
    (entry,) = gateway.next_put()
    decoder = Decoder(TOWN)
    decoder.add(0, entry.data, NOON, entry.key)
    assert decoder.readings() is None
    assert [one.reason for one in decoder.refused] == [Reason.SCHEMA]


_TEXTS = [message(seq=1), message(note=" " * 8000), message(note="y" * 3000)]


@given(st.lists(st.sampled_from(_TEXTS), min_size=2, max_size=MOST_LINES))
@settings(max_examples=30)
def test_a_full_record_is_one_that_readers_open(messages: Sequence[bytes]) -> None:
    lines = [one for one in (line(HOME, text) for text in messages) if one is not None]
    assert len(lines) == len(messages)
    packed = pack(lines)
    assert judged(packed) == (len(messages), [])


def test_no_record_has_more_readings_or_bytes_than_may_be() -> None:
    assert MOST_LINES * MAX_MESSAGE_READINGS <= MAX_FRAME_READINGS
    gateway: Gateway[int] = Gateway(held_bytes=MOST_BYTES)
    noise = random.Random(3)  # noqa: S311 -- no secret
    count = 0
    while gateway.room:
        gateway.take(HOME, message(note=noise.randbytes(4000).hex()[: MOST_LINE_BYTES - 200]), count, NOON)
        count += 1
    gateway.ripen(NOON, everything=True)
    while entries := gateway.next_put():
        check_limits(entries)
        assert all(len(entry.data) <= MOST_RECORD_BYTES for entry in entries)
        gateway.answered([None] * len(entries))
    assert gateway.counts.acknowledged == count


def test_a_put_has_no_more_bytes_than_the_stream_takes() -> None:
    gateway: Gateway[int] = Gateway()
    for count in range(12):
        gateway.take(Source("local", f"z-{count}", None), b"f" * MAX_FRAME_BYTES, count, NOON)
    sizes = []
    while entries := gateway.next_put():
        check_limits(entries)
        sizes.append(len(entries))
        gateway.answered([None] * len(entries))
    assert sum(sizes) == 12
    assert len(sizes) == 3
    with pytest.raises(ValueError, match="bytes"):
        gateway.take(FRAME, b"f" * (MAX_FRAME_BYTES + 1), 0, NOON)


def test_pauses_grow_and_end() -> None:
    gateway: Gateway[int] = Gateway()
    chance = random.Random(0)  # noqa: S311 -- no secret
    gateway.take(FRAME, b"frame", 1, NOON)
    pauses = []
    for _ in range(12):
        gateway.next_put()
        gateway.failed()
        pauses.append(gateway.pause_s(chance))
    assert pauses[0] <= 0.1
    assert all(later > earlier * 0.9 for earlier, later in pairwise(pauses) if later < 5)
    assert LONGEST_PAUSE_S / 2 <= pauses[-1] <= LONGEST_PAUSE_S
    gateway.next_put()
    assert gateway.answered([None]) == [1]
    assert gateway.pause_s(chance) == 0


def test_room_ends_before_memory_does_and_waiting_lines_do_not_take_it_all() -> None:
    gateway: Gateway[int] = Gateway(held_messages=10)
    for count in range(10):
        assert gateway.room
        gateway.take(HOME, message(seq=count), count, NOON)
    assert not gateway.room
    gateway.ripen(NOON)  # although no second has passed
    assert len(gateway.next_put()) == 1
    gateway.answered([None])
    assert gateway.room
    assert HELD_MESSAGES > 50_000, "a city's second of single messages, while it waits to be packed"
