"""Records of the stream to columns of readings, and readings to frames.

A record is zlib over a columnar frame (one JSON object, a list a column: about ten bytes a reading) or over NDJSON (one
reading or message a line: about 24), or a single message as plain JSON. Whatever comes is bounded before it is opened;
what cannot be read is refused with its reason and never raises.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from city_platform.traffic.record_keys import RecordKeys
from city_platform.traffic.registry import Registry, sensor_id
from city_platform.traffic.telemetry import (
    MAX_MESSAGE_BYTES,
    MAX_MESSAGE_READINGS,
    MISSING,
    NO_CLAIM,
    UNKNOWN_ZONE,
    UNREADABLE,
    BareReading,
    Message,
    MessageReading,
    Reading,
    Readings,
    Reason,
    Topic,
    identity_by_time,
    joined,
    outside,
)

MAX_PACKED = 1 << 20  # bytes: no record of a stream is larger
MAX_INFLATED = 4 << 20
MAX_RATIO = 200  # readings deflate seven to fifteen times, a bomb a thousand times
MAX_FRAME_READINGS = 20_000
_SMALL = 4096  # bytes any record may inflate to
_OFFSET = 2**40
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00Z")
_MICROSECONDS_PER_MS = 1000
_LARGE_NUMBER = 1e9
_HUGE = 2**50
_ZLIB = 0x78

_COLUMNS = ("sensor", "seq", "t", "vehicle_count", "speed_x10", "index_x1000", "occupancy_x1000", "interval_s")
_NULL = msgspec.Raw(b"null")

_Base = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]


class ColumnFrame(msgspec.Struct, gc=False):
    """A zone's readings as columns. `sensor` are numbers; `seq` and `t` are added to `seq0` and `t0` (epoch ms).

    Columns are lists of whole numbers as JSON, unread: a batch's are read together. `occupancy_x1000` may be null,
    `interval_s` one number for all readings.
    """

    zone: str
    t0: _Base
    seq0: _Base
    sensor: msgspec.Raw
    seq: msgspec.Raw
    t: msgspec.Raw
    vehicle_count: msgspec.Raw
    speed_x10: msgspec.Raw
    index_x1000: msgspec.Raw
    occupancy_x1000: msgspec.Raw = _NULL
    interval_s: msgspec.Raw = msgspec.Raw(b"10")


@dataclass(frozen=True, slots=True)
class Refused:
    """Readings of a record that were refused: which rows, or None for the whole record."""

    record: int
    reason: Reason
    rows: tuple[int, ...] | None = None


_frames = msgspec.json.Decoder(ColumnFrame)
_numbers = msgspec.json.Decoder(list[int])
_lines = msgspec.json.Decoder(Reading)
_messages = msgspec.json.Decoder(Message)
_bare = msgspec.json.Decoder(BareReading)
_topics = msgspec.json.Decoder(Topic)
_BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Refusal(Exception):
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class _Part:
    """Rows of one kind, and how many each record gave."""

    records: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    arrivals: list[int] = field(default_factory=list)

    def began(self, record: int, length: int, arrival_ms: int) -> None:
        self.records.append(record)
        self.lengths.append(length)
        self.arrivals.append(arrival_ms)

    def places(self, total: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """For each row: the part's entry it came from, its record, its place in the entry, its arrival."""
        lengths = np.array(self.lengths, dtype=np.int64)
        entry = np.repeat(np.arange(len(lengths)), lengths)
        row = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return entry, np.array(self.records, dtype=np.int64)[entry], row, np.array(self.arrivals, dtype=np.int64)[entry]


class Decoder:
    """Gathers records of one batch, each with its place in it, and gives their readings as columns."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._frames: list[tuple[ColumnFrame, list[bytes]]] = []
        self._framed = _Part()
        self._values: list[Any] = []  # of lines, one reading's after the other's
        self._lined = _Part()
        self._line_numbers: list[tuple[int, list[int]]] = []
        self._keys = RecordKeys(registry)
        self.refused: list[Refused] = []
        self.count = 0

    def add(self, record: int, data: bytes, arrival_ms: int, key: str) -> None:
        """Takes a record's bytes and key as the stream has them. What the key says counts, see `record_keys`."""
        self._keys.add(record, key)
        try:
            if data[:1] and data[0] == _ZLIB:
                self._add_text(record, inflate(data), arrival_ms)
            elif len(data) > MAX_MESSAGE_BYTES:
                self.refused.append(Refused(record, Reason.TOO_LARGE))
            else:
                self._add_single(record, data, arrival_ms)
        except _Refusal as refusal:
            self.refused.append(Refused(record, refusal.reason))

    def readings(self) -> Readings | None:
        """All rows so far; None where there are none."""
        parts = []
        if self._frames and (framed := self._frame_columns()) is not None:
            parts.append(framed)
        if self._values:
            parts.append(self._line_columns())
        if not parts:
            return None
        readings = joined(parts)
        foreign = self._keys.foreign(readings)
        if len(foreign):
            self.refused += refusals(readings, foreign, Reason.TOPIC)
            readings = readings.take(np.isin(np.arange(len(readings)), foreign, invert=True))
        self._keys.mark(readings)
        return readings

    def _add_text(self, record: int, text: bytes, arrival_ms: int) -> None:
        if b"\n" not in text:
            try:
                self._add_frame(record, _frames.decode(text), arrival_ms)
            except _BAD_JSON:
                self._add_single(record, text, arrival_ms)
            return
        try:
            rows = _lines.decode_lines(text)
        except _BAD_JSON:
            self._add_lines(record, text, arrival_ms)
            return
        if len(rows) > MAX_FRAME_READINGS:
            raise _Refusal(Reason.TOO_LARGE)
        self._take(record, rows, arrival_ms)

    def _add_frame(self, record: int, frame: ColumnFrame, arrival_ms: int) -> None:
        columns = _columns(frame)
        count = columns[0].count(b",") + 1 if columns[0].strip() else 0
        if not count and any(column.strip() for column in columns[:-1]):
            raise _Refusal(Reason.SCHEMA)
        if count > MAX_FRAME_READINGS:
            raise _Refusal(Reason.TOO_LARGE)
        if count:
            self._frames.append((frame, columns))
            self._framed.began(record, count, arrival_ms)
            self.count += count

    def _add_single(self, record: int, text: bytes, arrival_ms: int) -> None:
        rows = _document(text)
        try:
            topic = _topics.decode(text)
        except _BAD_JSON:
            raise _Refusal(Reason.SCHEMA) from None
        if (topic.topic_sensor or rows[0].sensor_id) != rows[0].sensor_id or (
            topic.topic_zone is not None and topic.topic_zone != (rows[0].zone_id or topic.topic_zone)
        ):
            raise _Refusal(Reason.TOPIC)
        if topic.topic_zone is not None:
            for row in rows:
                row.zone_id = topic.topic_zone
        self._take(record, rows, arrival_ms)

    def _add_lines(self, record: int, text: bytes, arrival_ms: int) -> None:
        """Line by line, for a frame of which not every line is a plain reading: the others must not suffer."""
        rows: list[Reading] = []
        numbers: list[int] = []
        wrong: dict[Reason, list[int]] = {}
        for number, line in enumerate(text.split(b"\n")):
            if not line.strip():
                continue
            try:
                found = _document(line)
            except _Refusal as refusal:
                wrong.setdefault(refusal.reason, []).append(number)
                continue
            rows += found
            numbers += [number] * len(found)
            if len(rows) + sum(map(len, wrong.values())) > MAX_FRAME_READINGS:
                raise _Refusal(Reason.TOO_LARGE)
        self.refused += [Refused(record, reason, tuple(lines)) for reason, lines in wrong.items()]
        if rows:
            self._line_numbers.append((len(self._lined.records), numbers))
            self._take(record, rows, arrival_ms)

    def _take(self, record: int, rows: list[Reading], arrival_ms: int) -> None:
        # At once, while they are in the processor's cache.
        self._values.extend(chain.from_iterable(map(msgspec.structs.astuple, rows)))
        self._lined.began(record, len(rows), arrival_ms)
        self.count += len(rows)

    def _frame_columns(self) -> Readings | None:
        columns = self._numbers()
        if columns is None:
            return None
        sensor, seq, t, vehicles, speed, index, occupancy, interval = columns
        entry, record, row, arrival = self._framed.places(len(sensor))
        frames = [frame for frame, _ in self._frames]
        zone_index = self._registry.zone_index
        zone = np.array([zone_index.get(frame.zone, UNKNOWN_ZONE) for frame in frames], dtype=np.int32)
        seq0 = np.array([frame.seq0 for frame in frames], dtype=np.int64)[entry]
        t0 = np.array([frame.t0 for frame in frames], dtype=np.int64)[entry]
        readings = Readings(
            sensor=self._registry.index_of(sensor),
            zone=zone[entry],
            seq=seq0 + seq,
            ts_ms=t0 + t,
            interval_s=interval,
            vehicle_count=vehicles,
            speed_x10=speed,
            occupancy_x1000=occupancy,
            index_x1000=index,
            arrival_ms=arrival,
            record=record,
            row=row,
        )
        wild = outside(seq, -_OFFSET, _OFFSET) | outside(t, -_OFFSET, _OFFSET) | (readings.seq < 0)
        if wild.any():
            self.refused += refusals(readings, np.flatnonzero(wild), Reason.SCHEMA)
            readings = readings.take(~wild)
        return readings

    def _numbers(self) -> list[NDArray[np.int64]] | None:
        """The columns of all frames; None where none of them can be read."""
        *columns, interval = zip(*(columns for _, columns in self._frames), strict=True)
        lengths, each = np.array(self._framed.lengths), np.array([text.count(b",") + 1 for text in interval])
        try:
            numbers = [_read(b",".join(column), lengths.sum()) for column in columns]
            intervals = _read(b",".join(interval), each.sum())
        except ValueError:
            return self._numbers_one_by_one()
        # One number stands for all readings of its frame.
        return [*numbers, np.repeat(intervals, np.repeat(np.where(each == 1, lengths, 1), each))]

    def _numbers_one_by_one(self) -> list[NDArray[np.int64]] | None:
        """The same for a batch with a frame whose columns are not plain whole numbers: the others must not suffer."""
        frames, framed, self._frames, self._framed = self._frames, self._framed, [], _Part()
        lists: list[list[list[int]]] = [[] for _ in _COLUMNS]
        for (frame, columns), record, length, arrival_ms in zip(
            frames, framed.records, framed.lengths, framed.arrivals, strict=True
        ):
            try:
                *numbers, interval = (_numbers.decode(b"[" + column + b"]") for column in columns)
            except _BAD_JSON:
                numbers, interval = [], []
            numbers.append(interval * length if len(interval) == 1 else interval)
            if {len(column) for column in numbers} != {length}:
                self.refused.append(Refused(record, Reason.SCHEMA))
                continue
            self._frames.append((frame, columns))
            self._framed.began(record, length, arrival_ms)
            for column, some in zip(lists, numbers, strict=True):
                column.append(some)
        total = sum(self._framed.lengths)
        return [_column(column, total) for column in lists] if total else None

    def _line_columns(self) -> Readings:
        names = Reading.__struct_fields__
        count = len(self._values) // len(names)
        # In half the time that looking into each row for each column takes.
        values = {name: self._values[place :: len(names)] for place, name in enumerate(names)}
        _, record, row, arrival = self._lined.places(count)
        if self._line_numbers:
            first = np.cumsum(self._lined.lengths) - np.array(self._lined.lengths)
            for entry, numbers in self._line_numbers:
                row[first[entry] : first[entry] + len(numbers)] = numbers
        return Readings(
            sensor=self._registry.index_of_ids(values["sensor_id"]),
            zone=self._claimed(values["zone_id"]),
            seq=np.fromiter(values["seq"], np.int64, count),
            ts_ms=np.fromiter(values["ts"], np.int64, count),
            interval_s=np.fromiter(values["interval_s"], np.int64, count),
            vehicle_count=np.fromiter(values["vehicle_count"], np.int64, count),
            speed_x10=_fixed(values["avg_speed_kmh"], 10),
            occupancy_x1000=_fixed(values["occupancy"], 1000),
            index_x1000=_fixed(values["congestion_index"], 1000),
            arrival_ms=arrival,
            record=record,
            row=row,
        )

    def _claimed(self, zones: list[str | None]) -> NDArray[np.int32]:
        if zones.count(None) == len(zones):
            return np.full(len(zones), NO_CLAIM, dtype=np.int32)
        places = self._registry.zone_index
        found = [NO_CLAIM if zone is None else places.get(zone, UNKNOWN_ZONE) for zone in zones]
        return np.array(found, dtype=np.int32)


def refusals(readings: Readings, rows: NDArray[np.int64], reason: Reason) -> list[Refused]:
    """The chosen readings as refusals, one for each record they came in."""
    by_record: dict[int, list[int]] = {}
    for record, row in zip(readings.record[rows].tolist(), readings.row[rows].tolist(), strict=True):
        by_record.setdefault(record, []).append(row)
    return [Refused(record, reason, tuple(sorted(of))) for record, of in by_record.items()]


def inflate(data: bytes) -> bytes:
    """The text of a zlib record, at most MAX_INFLATED bytes of it."""
    if len(data) > MAX_PACKED:
        raise _Refusal(Reason.TOO_LARGE)
    limit = min(MAX_INFLATED, _SMALL + MAX_RATIO * len(data))
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(data, limit)
    except zlib.error:
        raise _Refusal(Reason.COMPRESSION) from None
    if not stream.eof:
        raise _Refusal(Reason.TOO_LARGE if stream.unconsumed_tail else Reason.COMPRESSION)
    if stream.unused_data:
        raise _Refusal(Reason.COMPRESSION)
    return text.rstrip(b"\n")


def encode_columns(zone: str, readings: Readings, numbers: NDArray[np.int32]) -> bytes:
    """A columnar frame of a zone's readings; `numbers` are the registry's. The same readings give the same bytes."""
    t0, seq0 = int(readings.ts_ms.min()), int(readings.seq.min())
    intervals = readings.interval_s.tolist()
    frame = {
        "zone": zone,
        "t0": t0,
        "seq0": seq0,
        "sensor": numbers[readings.sensor].tolist(),
        "seq": (readings.seq - seq0).tolist(),
        "t": (readings.ts_ms - t0).tolist(),
        "vehicle_count": readings.vehicle_count.tolist(),
        "speed_x10": readings.speed_x10.tolist(),
        "index_x1000": readings.index_x1000.tolist(),
        "occupancy_x1000": readings.occupancy_x1000.tolist(),
        "interval_s": intervals[0] if len(set(intervals)) == 1 else intervals,
    }
    return zlib.compress(msgspec.json.encode(frame))


def encode_lines(readings: Readings, numbers: NDArray[np.int32]) -> bytes:
    """The same readings as an NDJSON frame."""
    columns = (
        readings.seq, readings.ts_ms, readings.interval_s, readings.vehicle_count, readings.speed_x10,
        readings.occupancy_x1000, readings.index_x1000,
    )  # fmt: skip
    lines = [
        {
            "sensor_id": sensor_id(number),
            "seq": seq,
            "ts": ts,
            "interval_s": interval,
            "vehicle_count": vehicles,
            "avg_speed_kmh": _quantity(speed, 10),
            "occupancy": _quantity(occupancy, 1000),
            "congestion_index": _quantity(index, 1000),
        }
        for number, seq, ts, interval, vehicles, speed, occupancy, index in zip(
            numbers[readings.sensor].tolist(), *(column.tolist() for column in columns), strict=True
        )
    ]
    return zlib.compress(msgspec.json.Encoder().encode_lines(lines))


def _quantity(value: int, scale: int) -> float | None:
    return None if value == MISSING else value / scale


def _document(text: bytes) -> list[Reading]:
    """The readings of one JSON document: a reading, a message of several, or the smallest message."""
    if len(text) > MAX_MESSAGE_BYTES:
        raise _Refusal(Reason.TOO_LARGE)
    try:
        return [_lines.decode(text)]
    except _BAD_JSON:
        pass
    try:
        message = _messages.decode(text)
    except _BAD_JSON:
        pass
    else:
        if len(message.readings) > MAX_MESSAGE_READINGS:
            raise _Refusal(Reason.TOO_LARGE)
        if not message.readings:
            raise _Refusal(Reason.SCHEMA)
        return [_row(message.sensor_id, message.zone_id, one) for one in message.readings]
    try:
        bare = _bare.decode(text)
    except _BAD_JSON:
        raise _Refusal(Reason.SCHEMA) from None
    return [_row(bare.sensor_id, bare.zone_id, bare)]


def _row(sensor: str, zone: str | None, one: MessageReading) -> Reading:
    ts = one.ts if isinstance(one.ts, int) else _time(one.ts)
    speed = one.speed if one.avg_speed_kmh is msgspec.UNSET else one.avg_speed_kmh
    if speed is msgspec.UNSET:
        raise _Refusal(Reason.SCHEMA)
    seq = identity_by_time(ts, one.lane) if one.seq is None else one.seq
    return Reading(sensor, seq, ts, one.vehicle_count, speed, one.congestion_index, zone, one.occupancy, one.interval_s)


def _columns(frame: ColumnFrame) -> list[bytes]:
    """A frame's columns as numbers with commas between them, in the order of _COLUMNS and equally long.

    The last one, the interval, may be a single number instead.
    """
    columns = [bytes(getattr(frame, name)) for name in _COLUMNS]
    commas = columns[0].count(b",")
    if columns[-2] == b"null":
        columns[-2] = b"[" + b",".join([b"%d" % MISSING] * (commas + 1)) + b"]"
    lists = columns if columns[-1][:1] == b"[" else columns[:-1]
    if any(column[:1] != b"[" or column.count(b",") != commas for column in lists):
        raise _Refusal(Reason.SCHEMA)
    return [column[1:-1] for column in lists] + columns[len(lists) :]


def _read(text: bytes, count: int) -> NDArray[np.int64]:
    """Numbers with commas between them; ValueError where they are not as many whole numbers.

    In a third of the time that lists of Python's numbers take. What no column holds becomes its largest number, which
    every range refuses. Before numpy 2.4 what follows the last number is not always an error.
    """
    numbers: NDArray[np.int64] = np.fromstring(text, dtype=np.int64, sep=",")
    if len(numbers) != count:
        raise ValueError(f"{len(numbers)} numbers, not {count}")
    return numbers


def _column(lists: Sequence[list[int]], total: int) -> NDArray[np.int64]:
    try:
        return np.fromiter(chain.from_iterable(lists), np.int64, total)
    except OverflowError:
        # What no column holds is refused by every range; one such number must not cost the others.
        return np.array([v if abs(v) < _HUGE else _HUGE for v in chain.from_iterable(lists)], dtype=np.int64)


def _fixed(values: list[float | None], scale: int) -> NDArray[np.int64]:
    """A column in fixed point, MISSING where there is none, UNREADABLE where it is negative or beyond everything."""
    numbers = np.array(values, dtype=np.float64)  # null becomes NaN
    missing = np.isnan(numbers)
    out = ~missing & ~((numbers >= 0) & (numbers < _LARGE_NUMBER))
    whole = np.rint(np.where(missing | out, 0.0, numbers) * scale).astype(np.int64)
    return np.where(missing, MISSING, np.where(out, UNREADABLE, whole))


def _time(text: str) -> int:
    """An instant as epoch milliseconds; it has an offset from UTC."""
    try:
        instant = datetime.fromisoformat(text)
        past = instant - _EPOCH  # TypeError where it has no offset
    except (ValueError, TypeError, OverflowError):
        raise _Refusal(Reason.SCHEMA) from None
    return (past.days * 86_400 + past.seconds) * 1000 + past.microseconds // _MICROSECONDS_PER_MS
