"""The hours of `traffic_readings` that were corrected in the lake: the windows of its curated layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from city_platform.contracts.partitions import Granularity
from city_platform.lake.manifest import Manifest
from city_platform.layers import CURATED
from city_platform.layers.platform import Platform
from city_platform.traffic.history import CorrectedHour, CorrectedHours, Sums

DATASET = "traffic_readings"
_COLUMNS = ["window_start", "readings", "vehicles", "pace", "occupancy", "occupancy_readings", "active"]


@dataclass(frozen=True, slots=True)
class LakeHour(CorrectedHour):
    """One published version of an hour; its files stay as they are."""

    platform: Platform
    manifest: Manifest

    @property
    def version(self) -> str:
        return self.manifest.version

    def windows(self, zone: str) -> Sequence[Sums]:
        # Not by the engine: an API on AWS has no room for it beside Arrow (infrastructure/package.py).
        files = self.platform.lake.paths(self.manifest, "parquet")
        rows = pq.read_table(files, columns=_COLUMNS, filters=[("zone", "=", zone)], partitioning=None)
        rows = rows.sort_by(_COLUMNS[0])
        starts = rows[_COLUMNS[0]]
        starts_ms = pc.cast(pc.cast(starts, pa.timestamp("ms", starts.type.tz)), pa.int64())
        columns = [starts_ms, *(rows[name] for name in _COLUMNS[1:])]
        return [Sums(*map(int, row)) for row in zip(*(column.to_pylist() for column in columns), strict=True)]


@dataclass(frozen=True, slots=True)
class LakeHours(CorrectedHours):
    """Opens nothing until it is asked."""

    platform: Platform

    def published(self, start_ms: int) -> LakeHour | None:
        partition = datetime.fromtimestamp(start_ms / 1000, UTC).strftime(Granularity.HOUR.strftime)
        manifest = self.platform.lake.latest(CURATED, DATASET, partition)
        return LakeHour(self.platform, manifest) if manifest else None
