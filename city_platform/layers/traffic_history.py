"""What the lake has of a zone's past: the windows of its corrected hours, and the sums of whole days of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from city_platform.contracts.partitions import Granularity, granularity_of, window
from city_platform.lake.manifest import Manifest
from city_platform.layers import CURATED
from city_platform.layers.platform import Platform
from city_platform.traffic.history import CorrectedHour, CorrectedHours, SummedDay
from city_platform.traffic.hour_sums import HourSums, LevelMinutes, Sums

DATASET = "traffic_readings"
ZONE_HOURS = "zone_hours"  # the layer of the days' sums
MINUTES = ("normal_minutes", "slow_minutes", "congested_minutes", "severe_minutes", "unknown_minutes")
_COLUMNS = ["window_start", "readings", "vehicles", "pace", "occupancy", "occupancy_readings", "active"]
_SUMS = ["hour_start", "windows", *_COLUMNS[1:]]


@dataclass(frozen=True, slots=True)
class LakeHour(CorrectedHour):
    """One published version of an hour; its files stay as they are."""

    platform: Platform
    manifest: Manifest

    @property
    def revision(self) -> str:
        return self.manifest.version

    def windows(self, zone: str) -> Sequence[Sums]:
        return [Sums(start, 1, *rest) for start, *rest in _rows(self.platform, self.manifest, zone, _COLUMNS)]


@dataclass(frozen=True)
class LakeDay(SummedDay):
    """One published version of a day's sums."""

    platform: Platform
    manifest: Manifest

    @cached_property
    def revisions(self) -> Mapping[int, str]:
        return {
            int(window(hour, "UTC")[0].timestamp() * 1000): version for hour, version in hours_of(self.manifest).items()
        }

    def hours(self, zone: str) -> Mapping[int, HourSums]:
        count = len(_SUMS)
        rows = _rows(self.platform, self.manifest, zone, [*_SUMS, *MINUTES])
        return {row[0]: HourSums(Sums(*row[:count]), LevelMinutes(*row[count:])) for row in rows}


@dataclass(frozen=True, slots=True)
class LakeHours(CorrectedHours):
    """Opens nothing until it is asked."""

    platform: Platform

    def published(self, start_ms: int) -> LakeHour | None:
        manifest = self.platform.lake.latest(CURATED, DATASET, _name(start_ms, Granularity.HOUR))
        return LakeHour(self.platform, manifest) if manifest else None

    def summed(self, start_ms: int) -> LakeDay | None:
        manifest = self.platform.lake.latest(ZONE_HOURS, DATASET, _name(start_ms, Granularity.DAY))
        return LakeDay(self.platform, manifest) if manifest else None


def hours_of(manifest: Manifest) -> Mapping[str, str]:
    """The hours that a published day of sums has, with the version of each that was summed."""
    return {name: version for name, version in manifest.inputs.items() if granularity_of(name) is Granularity.HOUR}


def _name(start_ms: int, granularity: Granularity) -> str:
    return datetime.fromtimestamp(start_ms / 1000, UTC).strftime(granularity.strftime)


def _rows(platform: Platform, manifest: Manifest, zone: str, columns: Sequence[str]) -> list[list[int]]:
    """A zone's rows in the order of their first column, a time, which becomes epoch milliseconds; all others whole."""
    # Not by the engine: an API on AWS has no room for it beside Arrow (infrastructure/package.py).
    files = platform.lake.paths(manifest, "parquet")
    rows = pq.read_table(files, columns=list(columns), filters=[("zone", "=", zone)], partitioning=None)
    rows = rows.sort_by(columns[0])
    starts = rows[columns[0]]
    starts_ms = pc.cast(pc.cast(starts, pa.timestamp("ms", starts.type.tz)), pa.int64())
    found = [starts_ms, *(rows[name] for name in columns[1:])]
    return [list(map(int, row)) for row in zip(*(column.to_pylist() for column in found), strict=True)]
