"""Readings on their way to the lake, for tests: a stream that knows its readers, and what an hour's files hold."""

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq

from city_platform.lake.lake import Lake
from city_platform.traffic.registry import Registry
from city_platform.traffic.stream import StreamRecord
from tests.traffic import TOWN, Told, columns

HOUR = "2026-05-28-20"  # the one of NOON, in UTC


@dataclass
class MemoryStream:
    """A stream with one shard for each zone's frames, in memory."""

    kept: dict[str, list[StreamRecord]] = field(default_factory=dict)
    places: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, data: bytes, arrival_ms: int, shard: str = "shard-0") -> None:
        records = self.kept.setdefault(shard, [])
        records.append(StreamRecord(f"{len(records) + 1:021d}", "kerb", data, arrival_ms))

    def put(self, entries: Sequence[Any]) -> Sequence[None]:
        raise AssertionError(f"nobody puts here: {entries}")

    def shards(self) -> Sequence[str]:
        return list(self.kept)

    def read(self, shard: str, after: str | None, limit: int) -> Sequence[StreamRecord]:
        return [one for one in self.kept[shard] if after is None or one.sequence > after][:limit]

    def checkpoint(self, reader: str, shard: str) -> str | None:
        return self.places.get((reader, shard))

    def dealt_with(self, reader: str, shard: str, sequence: str) -> None:
        self.places[reader, shard] = sequence


def frames(told: Iterable[Told], registry: Registry = TOWN) -> list[bytes]:
    """Readings as columnar frames, one a zone."""
    zones: dict[int, list[Told]] = {}
    for one in told:
        zones.setdefault(int(registry.zone[one.sensor]), []).append(one)
    return [columns(some, registry) for some in zones.values()]


@dataclass(frozen=True)
class Measured:
    """A reading that says what the test wants it to say."""

    sensor: int
    seq: int
    ts_ms: int
    vehicles: int
    speed_x10: int | None


def measured_frames(told: Sequence[Measured], registry: Registry) -> list[bytes]:
    """Such readings as columnar frames, one a zone."""
    zones: dict[int, list[Measured]] = {}
    for one in told:
        zones.setdefault(int(registry.zone[one.sensor]), []).append(one)
    found = []
    for zone, some in zones.items():
        frame = {
            "zone": registry.zones[zone],
            "t0": some[0].ts_ms,
            "seq0": 0,
            "sensor": [int(registry.number[one.sensor]) for one in some],
            "seq": [one.seq for one in some],
            "t": [one.ts_ms - some[0].ts_ms for one in some],
            "vehicle_count": [one.vehicles for one in some],
            "speed_x10": [-1 if one.speed_x10 is None else one.speed_x10 for one in some],
            "index_x1000": [0] * len(some),
        }
        found.append(zlib.compress(json.dumps(frame).encode()))
    return found


def rows(lake: Lake, hour: str = HOUR) -> list[dict[str, Any]]:
    """The rows of the hour's files, as its newest manifest lists them."""
    manifest = lake.require("exports", "traffic_readings", hour)
    found = [row for path in lake.paths(manifest, "parquet") for row in pq.read_table(path).to_pylist()]
    assert manifest.counts["rows"] == len(found)
    return found


def identities(lake: Lake, hour: str = HOUR) -> set[tuple[int, int]]:
    return {(row["sensor"], row["seq"]) for row in rows(lake, hour)}
