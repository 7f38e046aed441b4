"""The hours of `traffic_readings` that were corrected in the lake: the windows of its curated layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from city_platform.contracts.partitions import Granularity
from city_platform.lake.manifest import Manifest
from city_platform.layers import curated
from city_platform.layers.platform import Platform
from city_platform.traffic.history import CorrectedHour, CorrectedHours, Sums

DATASET = "traffic_readings"
_COLUMNS = "epoch_ms(window_start), readings, vehicles, pace, occupancy, occupancy_readings, active"


@dataclass(frozen=True, slots=True)
class LakeHour(CorrectedHour):
    """One published version of an hour; its files stay as they are."""

    platform: Platform
    manifest: Manifest

    def windows(self, zone: str) -> Sequence[Sums]:
        with self.platform.engine.session() as session:
            files = session.parquet(self.platform.lake.paths(self.manifest, "parquet"))
            wanted = session.dialect.text(zone)
            rows = session.rows(f"SELECT {_COLUMNS} FROM {files} WHERE zone = {wanted} ORDER BY window_start")
        return [Sums(*map(int, row)) for row in rows]


@dataclass(frozen=True, slots=True)
class LakeHours(CorrectedHours):
    """Opens nothing until it is asked."""

    platform: Platform

    def published(self, start_ms: int) -> LakeHour | None:
        partition = datetime.fromtimestamp(start_ms / 1000, UTC).strftime(Granularity.HOUR.strftime)
        manifest = self.platform.lake.latest(curated.LAYER, DATASET, partition)
        return LakeHour(self.platform, manifest) if manifest else None
