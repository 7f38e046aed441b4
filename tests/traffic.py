"""A small city's traffic for tests: sensors' readings, events as the stream gives them, and what the truth is."""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from city_platform.errors import TransientError
from city_platform.traffic.dead_letters import DeadLetter
from city_platform.traffic.registry import Registry, generate
from city_platform.traffic.state import (
    BUCKETS,
    Conflict,
    Event,
    Key,
    Record,
    StateUnavailable,
    VersionConflict,
    Window,
    bucket,
)

NOON = 1_780_000_000_000  # the start of a window
TOWN = generate(seed=7, sensors=12, zones=3)
SUMS = ("readings", "vehicles", "vehicle_speed", "pace", "occupancy", "occupancy_readings", "index", "index_readings")


@dataclass(frozen=True)
class Told:
    """One reading as a sensor tells it; `value` varies what it measured."""

    sensor: int
    seq: int
    ts_ms: int
    value: int

    @property
    def vehicles(self) -> int:
        return self.value % 7

    @property
    def speed_x10(self) -> int | None:
        return 10 + self.value * 13 % 900 if self.vehicles else None

    def line(self, registry: Registry = TOWN) -> dict[str, Any]:
        return {
            "sensor_id": f"s-{registry.number[self.sensor]:05d}",
            "seq": self.seq,
            "ts": self.ts_ms,
            "vehicle_count": self.vehicles,
            "avg_speed_kmh": None if self.speed_x10 is None else self.speed_x10 / 10,
            "occupancy": self.value % 11 / 10,
            "congestion_index": self.value % 101 / (1 if registry.percent[self.sensor] else 100),
        }


def lines(told: Iterable[Told], registry: Registry = TOWN) -> bytes:
    return zlib.compress(b"\n".join(msgspec.json.encode(one.line(registry)) for one in told))


def columns(told: Sequence[Told], registry: Registry = TOWN, **changes: Any) -> bytes:
    """A columnar frame of readings of one zone."""
    frame = {
        "zone": registry.zones[registry.zone[told[0].sensor]],
        "t0": min(one.ts_ms for one in told),
        "seq0": 5,
        "sensor": [int(registry.number[one.sensor]) for one in told],
        "seq": [one.seq - 5 for one in told],
        "t": [one.ts_ms - min(one.ts_ms for one in told) for one in told],
        "vehicle_count": [one.vehicles for one in told],
        "speed_x10": [-1 if one.speed_x10 is None else one.speed_x10 for one in told],
        "occupancy_x1000": [one.value % 11 * 100 for one in told],
        "index_x1000": [one.value % 101 * (1000 if registry.percent[one.sensor] else 10) for one in told],
        "interval_s": 1,
    }
    return zlib.compress(json.dumps(frame | changes).encode())


def record(packed: bytes, number: int = 0, arrival_ms: int = NOON + 2_000, **changes: Any) -> dict[str, Any]:
    kinesis = {
        "data": base64.b64encode(packed).decode(),
        "sequenceNumber": str(number),
        "partitionKey": "kerb",
        "approximateArrivalTimestamp": arrival_ms / 1000,
    }
    return {"eventID": f"shardId-000000000000:{number}", "kinesis": kinesis | changes}


def event(*records: Mapping[str, Any]) -> dict[str, Any]:
    """As Lambda's runtime would decode it."""
    decoded: dict[str, Any] = json.loads(json.dumps({"Records": records}))
    return decoded


class Crash(Exception):
    """The process ends here."""


@dataclass
class MemoryState:
    """A TrafficState in memory. `faults` says what happens to each window as it is written."""

    kept: dict[Key, Window] = field(default_factory=dict)
    faults: "Faults | None" = None
    records: dict[str, Record] = field(default_factory=dict)
    waiting: dict[str, Event] = field(default_factory=dict)  # the outbox, by id
    told: set[str] = field(default_factory=set)

    def put(self, windows: Sequence[Window]) -> Sequence[Conflict | StateUnavailable | None]:
        return [self._put(window) for window in windows]

    def _put(self, window: Window) -> Conflict | StateUnavailable | None:
        fault = self.faults.next() if self.faults else None
        if fault == "crash before":
            raise Crash
        if fault == "lost":
            return StateUnavailable("not written")
        current = self.kept.get(window.key)
        answer = None if (current.version if current else 0) + 1 == window.version else Conflict(current)
        if answer is None:
            self.kept[window.key] = window
        if fault == "crash after":
            raise Crash
        if fault == "unheard":
            return StateUnavailable("written, but nobody heard")
        if fault == "down":
            raise StateUnavailable("all of it is down")
        return answer

    def get(self, keys: Sequence[Key]) -> Mapping[Key, Window]:
        return {key: self.kept[key] for key in keys if key in self.kept}

    def windows(self, zone: str, start_ms: int, end_ms: int) -> Sequence[Window]:
        return [self.kept[key] for key in sorted(self.kept) if key[0] == zone and start_ms <= key[1] < end_ms]

    def city(self, start_ms: int, parts: Sequence[int] = range(BUCKETS)) -> Sequence[Window]:
        return [self.kept[key] for key in sorted(self.kept) if key[1] == start_ms and bucket(key[0]) in parts]

    def record(self, key: str) -> Record | None:
        return self.records.get(key)

    def commit(self, records: Sequence[Record], events: Sequence[Event] = ()) -> None:
        for record in records:
            stored = self.records.get(record.key)
            if (stored.version if stored else 0) + 1 != record.version:
                raise VersionConflict(record.key)
        self.records |= {record.key: record for record in records}
        for event in events:
            if event.id not in self.told:
                self.told.add(event.id)
                self.waiting[event.id] = event

    def outbox(self, limit: int) -> Sequence[Event]:
        return sorted(self.waiting.values(), key=lambda event: event.at_ms)[:limit]

    def published(self, events: Sequence[Event]) -> None:
        for event in events:
            self.waiting.pop(event.id, None)


@dataclass
class Faults:
    """What goes wrong at each side effect, one after the other; afterwards nothing does."""

    coming: list[str | None]

    def next(self) -> str | None:
        return self.coming.pop(0) if self.coming else None


@dataclass
class Letters:
    """Dead letters by id."""

    kept: dict[str, DeadLetter] = field(default_factory=dict)
    faults: Faults | None = None

    def keep(self, letters: Sequence[DeadLetter]) -> None:
        fault = self.faults.next() if self.faults else None
        if fault in {"lost", "down"}:
            raise TransientError("not kept")
        if fault == "crash before":
            raise Crash
        self.kept |= {letter.id: letter for letter in letters}
        if fault == "crash after":
            raise Crash


def truth(told: Iterable[Told], registry: Registry = TOWN) -> dict[Key, dict[str, Any]]:
    """What the windows of these readings must say, counted the plain way, in Python's own numbers."""
    windows: dict[Key, dict[str, Any]] = {}
    for one in {(one.sensor, one.seq): one for one in told}.values():
        zone = registry.zones[registry.zone[one.sensor]]
        window = windows.setdefault((zone, one.ts_ms // 10_000 * 10_000), dict.fromkeys(SUMS, 0) | {"latest": {}})
        speed = one.speed_x10
        window["readings"] += 1
        window["vehicles"] += one.vehicles
        window["vehicle_speed"] += one.vehicles * (speed or 0)
        window["pace"] += (
            (one.vehicles * 10_000_000 + max(speed, 10) // 2) // max(speed, 10) if speed is not None else 0
        )
        window["occupancy"] += one.value % 11 * 100
        window["occupancy_readings"] += 1
        window["index"] += one.value % 101 * 10
        window["index_readings"] += 1
        for name, value in (
            ("max_vehicles", one.vehicles),
            ("max_speed_x10", -1 if speed is None else speed),
            ("max_occupancy_x1000", one.value % 11 * 100),
            ("max_index_x1000", one.value % 101 * 10),
        ):
            window[name] = max(window.get(name, -1), value)
        number = int(registry.number[one.sensor])
        seq = window["latest"].get(number, (-1,))[0]
        if one.seq > seq:
            window["latest"][number] = (one.seq, one.ts_ms, one.vehicles, -1 if speed is None else speed)
    return windows
