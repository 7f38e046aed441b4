"""Agreement: an hour's live windows beside the corrected ones, zone by zone.

What is read of the lake is the published summary, which is what history shows; what is read live is the state. Both are
walked one window's start after the other, so memory does not grow with the hour.
"""

from collections.abc import Iterator, Mapping

import pyarrow as pa

from city_platform.contracts.partitions import window
from city_platform.datasets import Dataset
from city_platform.engines.duckdb import DuckDBSession
from city_platform.errors import PermanentError
from city_platform.lake.manifest import Manifest
from city_platform.layers import curated
from city_platform.layers.platform import Platform
from city_platform.layers.tables import PARQUET, Table, publish_tables
from city_platform.traffic.agreement import MEASURES, Comparison, Figures, ZoneHour
from city_platform.traffic.state import KEEP_MS, WINDOW_MS, TrafficState
from city_platform.traffic.telemetry import MISSING

LAYER = "agreement"
REVISION = "1"  # raise it when this module starts to write other rows from the same inputs
_SCHEMA = {
    "zone": pa.string(),
    **{f"{side}_{measure}": pa.int64() for measure in ("readings", "vehicles") for side in ("live", "batch")},
    **{f"{side}_speed_kmh": pa.float64() for side in ("live", "batch")},
    **{f"{measure}_share": pa.float64() for measure in MEASURES},
    **dict.fromkeys(("windows", "windows_differing"), pa.int64()),
}
# The columns of Figures, in their order; `index_sum` is not called `index`, which SQL has another use for.
_BATCH = (
    "readings, vehicles, vehicle_speed, pace, occupancy, occupancy_readings, index_sum, index_readings, max_vehicles, "
    f"coalesce(max_speed_x10, {MISSING}), coalesce(max_occupancy_x1000, {MISSING}), "
    f"coalesce(max_index_x1000, {MISSING}), active"
)

Windows = dict[str, Figures]


class LiveForgotten(PermanentError):
    """The state keeps windows for some days only, and the hour is older: there is nothing to compare with."""


def agreement(
    platform: Platform, dataset: Dataset, partition: str, state: TrafficState
) -> tuple[Manifest, list[ZoneHour]]:
    """Compares the hour's corrected windows with the live ones and publishes the table of zones.

    Raises NotPublished where the hour was not corrected yet, LiveForgotten, and the errors of the state.
    """
    corrected = platform.lake.require(curated.LAYER, dataset.name, partition)
    first, end = (int(one.timestamp() * 1000) for one in window(partition, dataset.contract.timezone))
    if platform.clock.now().timestamp() * 1000 - first > KEEP_MS:
        days = KEEP_MS // 86_400_000
        raise LiveForgotten(f"live windows are kept for {days} days; those of {partition} may be gone")
    comparison = Comparison()
    with platform.engine.session() as session:
        batch = _batch(session, session.parquet(platform.lake.paths(corrected, "parquet")))
        start, coming = next(batch, (end, {}))
        for at in range(first, end, WINDOW_MS):
            live = {one.zone: Figures.of(one) for one in state.city(at)}
            comparison.add(live, coming if start == at else {})
            if start == at:
                start, coming = next(batch, (end, {}))
    zones = comparison.zones()
    manifest = publish_tables(
        platform,
        LAYER,
        dataset.name,
        partition,
        tables={PARQUET: Table(_SCHEMA, [_row(one) for one in zones])},
        inputs={curated.LAYER: corrected.version, "revision": REVISION},
        counts={"windows": sum(one.windows for one in zones), "differing": sum(one.differing for one in zones)},
    )
    return manifest, zones


def _batch(session: DuckDBSession, relation: str) -> Iterator[tuple[int, Windows]]:
    """The corrected windows, one start (epoch ms) after the other."""
    rows = session.stream(
        f"SELECT epoch_ms(window_start), zone, {_BATCH} FROM {relation} ORDER BY window_start, zone", batch_rows=10_000
    )
    start, windows = -1, Windows()
    for batch in rows:
        for at, zone, *figures in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if at != start:
                if windows:
                    yield start, windows
                start, windows = at, {}
            windows[zone] = Figures(*figures)
    if windows:
        yield start, windows


def _row(one: ZoneHour) -> Mapping[str, object]:
    return {
        "zone": one.zone,
        "live_readings": one.live.readings,
        "batch_readings": one.batch.readings,
        "live_vehicles": one.live.vehicles,
        "batch_vehicles": one.batch.vehicles,
        "live_speed_kmh": one.live.speed_kmh,
        "batch_speed_kmh": one.batch.speed_kmh,
        **{f"{measure}_share": share for measure, share in zip(MEASURES, one.shares, strict=True)},
        "windows": one.windows,
        "windows_differing": one.differing,
    }
