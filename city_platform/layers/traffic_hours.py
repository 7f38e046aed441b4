"""Zone hours: each corrected hour of a day as one row a zone, exact sums of its windows, so that months can be read.

    zone_hours/traffic_readings/day=2026-05-28/…     a row for each zone and hour in which anything was heard

A day of UTC is one version, published again whenever one of its hours was corrected anew. Rows of hours that have not
changed are taken over from the version before: each run reads the windows of what changed alone, and levels stay as
they were judged by the free flow of that time.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from city_platform.contracts.partitions import Granularity, window
from city_platform.datasets import Dataset
from city_platform.engines.duckdb import DuckDBSession
from city_platform.lake.lake import NotPublished
from city_platform.lake.manifest import Manifest
from city_platform.layers import CURATED
from city_platform.layers.platform import Platform
from city_platform.layers.tables import PARQUET, Table, publish_tables
from city_platform.layers.traffic_history import MINUTES, ZONE_HOURS, hours_of
from city_platform.traffic.congestion import Figures
from city_platform.traffic.heat_map import expected_sensors
from city_platform.traffic.hour_sums import HOUR_MS, Sums, level_minutes
from city_platform.traffic.roads import Roads
from city_platform.traffic.state import WINDOW_MS

REVISION = "1"  # raise it when this module starts to write other rows from the same inputs

_HOURS, _WINDOWS = 24, HOUR_MS // WINDOW_MS
_SUMMED = (
    "readings", "vehicles", "vehicle_speed", "pace", "occupancy", "occupancy_readings", "index_sum", "index_readings",
    "active",
)  # fmt: skip
_HIGHEST = ("max_vehicles", "max_speed_x10", "max_occupancy_x1000", "max_index_x1000")
_SCHEMA = {
    "zone": pa.string(),
    "hour_start": pa.timestamp("us", tz="UTC"),
    "revision": pa.string(),  # the version of the hour's windows
    **dict.fromkeys(("windows", *_SUMMED, *_HIGHEST), pa.int64()),
    "expected": pa.int64(),  # sensors heard in ten seconds when all of them work
    "free_flow_x10": pa.int64(),
    "coverage": pa.float64(),
    "speed_kmh": pa.float64(),
    "congestion_index": pa.float64(),
    **dict.fromkeys(MINUTES, pa.int64()),
}
_BY_HOUR = ", ".join(
    [
        "count(*) AS windows",
        *(f"CAST(sum({name}) AS BIGINT) AS {name}" for name in _SUMMED),
        *(f"CAST(max({name}) AS BIGINT) AS {name}" for name in _HIGHEST),
    ]
)
_ADDED_UP = f"SELECT zone, {_BY_HOUR} FROM {{windows}} GROUP BY zone ORDER BY zone"
_BY_MINUTE = """
    SELECT zone, epoch_ms(window_start) // 60000 * 60000 AS minute, CAST(count(*) AS BIGINT),
        CAST(sum(readings) AS BIGINT), CAST(sum(vehicles) AS BIGINT), CAST(sum(pace) AS BIGINT),
        CAST(sum(active) AS BIGINT)
    FROM {windows} GROUP BY ALL
"""


def inputs(platform: Platform, dataset: Dataset, day: str) -> Mapping[str, str] | None:
    """The versions of the day's corrected hours, by their names; None while there are none."""
    corrected = _corrected(platform, dataset, day)
    return _inputs(corrected) if corrected else None


def outdated(platform: Platform, dataset: Dataset, day: str) -> Mapping[str, str] | None:
    """What the day would be made from, where that is not what it was made from; None where it is up to date."""
    wanted = inputs(platform, dataset, day)
    made = platform.lake.latest(ZONE_HOURS, dataset.name, day)
    return None if wanted is None or (made is not None and dict(made.inputs) == dict(wanted)) else wanted


def materialize(
    platform: Platform, dataset: Dataset, day: str, roads: Roads, free_flow_x10: Mapping[str, int]
) -> Manifest:
    """Publishes the day's sums as far as its hours are corrected; `free_flow_x10` by zone, tenths of km/h.

    Raises NotPublished where none is, and PublishedMeanwhile.
    """
    lake = platform.lake
    corrected = _corrected(platform, dataset, day)
    if not corrected:
        raise NotPublished(f"no hour of {dataset.name} {day} was corrected yet: materialize its curated layer first")
    made = lake.latest(ZONE_HOURS, dataset.name, day)
    kept = _kept(platform, made, corrected)
    rows = [row for some in kept.values() for row in some]
    expected = dict(zip(roads.registry.zones, expected_sensors(roads).tolist(), strict=True))
    with platform.engine.session() as session:
        for hour, manifest in corrected.items():
            if hour not in kept:
                windows = session.parquet(lake.paths(manifest, PARQUET))
                rows += _of_hour(session, windows, hour, manifest.version, expected, free_flow_x10)
    rows.sort(key=lambda row: (row["zone"], row["hour_start"]))
    return publish_tables(
        platform,
        ZONE_HOURS,
        dataset.name,
        day,
        tables={PARQUET: Table(_SCHEMA, rows)},
        inputs=_inputs(corrected),
        counts={"hours": len(corrected)},
    )


def differing(platform: Platform, dataset: Dataset, day: str) -> Sequence[tuple[str, str]]:
    """Zone and hour of each sum that is not that of its windows, counted anew from the versions that were summed.

    Raises NotPublished where the day was not summed, VersionPruned where a version's windows are gone.
    """
    lake = platform.lake
    manifest = lake.require(ZONE_HOURS, dataset.name, day)
    columns = ", ".join(("zone", "windows", *_SUMMED, *_HIGHEST))
    found: list[tuple[str, str]] = []
    with platform.engine.session() as session:
        sums = session.parquet(lake.paths(manifest, PARQUET))
        for hour, version in hours_of(manifest).items():
            of_version = [one for one in lake.history(CURATED, dataset.name, hour) if one.version == version]
            windows = session.parquet(lake.paths(of_version[-1], PARQUET))
            start = int(window(hour, "UTC")[0].timestamp())
            stored = f"SELECT {columns} FROM {sums} WHERE epoch(hour_start) = {start} AND revision = '{version}'"
            counted = f"SELECT {columns} FROM ({_ADDED_UP.format(windows=windows)})"
            more, fewer = f"({stored} EXCEPT ALL {counted})", f"({counted} EXCEPT ALL {stored})"
            apart = session.rows(f"SELECT DISTINCT zone FROM ({more} UNION ALL {fewer}) ORDER BY zone")
            found += [(zone, hour) for (zone,) in apart]
        others = session.rows(f"SELECT zone, CAST(hour_start AS VARCHAR) FROM {sums} "
                              f"WHERE strftime(hour_start, '{Granularity.HOUR.strftime}') NOT IN "
                              f"({', '.join(repr(hour) for hour in hours_of(manifest))})")  # fmt: skip
    return [*found, *others]


def day_of(hour: str) -> str:
    """The day of UTC that an hour's partition lies in."""
    return window(hour, "UTC")[0].strftime(Granularity.DAY.strftime)


def _inputs(corrected: Mapping[str, Manifest]) -> Mapping[str, str]:
    return {**{hour: one.version for hour, one in corrected.items()}, "revision": REVISION}


def _corrected(platform: Platform, dataset: Dataset, day: str) -> Mapping[str, Manifest]:
    first = datetime.strptime(day, Granularity.DAY.strftime).replace(tzinfo=UTC)
    names = [(first + timedelta(hours=number)).strftime(Granularity.HOUR.strftime) for number in range(_HOURS)]
    found = {name: platform.lake.latest(CURATED, dataset.name, name) for name in names}
    return {name: manifest for name, manifest in found.items() if manifest is not None}


def _kept(
    platform: Platform, made: Manifest | None, corrected: Mapping[str, Manifest]
) -> Mapping[str, list[dict[str, object]]]:
    """The rows of hours that were summed before from the same version, also where they are none."""
    if made is None or made.inputs.get("revision") != REVISION:
        return {}
    kept: dict[str, list[dict[str, object]]] = {
        hour: [] for hour, version in hours_of(made).items() if hour in corrected and corrected[hour].version == version
    }
    for row in pq.read_table(platform.lake.paths(made, PARQUET), partitioning=None).to_pylist():
        hour = row["hour_start"].astimezone(UTC).strftime(Granularity.HOUR.strftime)
        if hour in kept:
            kept[hour].append(row)
    return kept


def _of_hour(
    session: DuckDBSession,
    windows: str,
    hour: str,
    version: str,
    expected: Mapping[str, int],
    free_flow_x10: Mapping[str, int],
) -> list[dict[str, object]]:
    start = window(hour, "UTC")[0]
    start_ms = int(start.timestamp() * 1000)
    minutes: dict[str, list[Sums]] = {}
    for zone, minute, count, readings, vehicles, pace, active in session.rows(_BY_MINUTE.format(windows=windows)):
        minutes.setdefault(zone, []).append(Sums(minute, count, readings, vehicles, pace, 0, 0, active))
    rows: list[dict[str, object]] = []
    names = ("windows", *_SUMMED, *_HIGHEST)
    for zone, *values in session.rows(_ADDED_UP.format(windows=windows)):
        sums = dict(zip(names, values, strict=True))
        # A zone that the registry does not have any more has its own best as what is expected of it.
        heard_at_once = expected.get(zone, -(-sums["active"] // sums["windows"]))
        free = free_flow_x10.get(zone, 0)
        levels = level_minutes(minutes[zone], start_ms, start_ms + HOUR_MS, free, heard_at_once)
        figures = Figures(sums["vehicles"], sums["pace"], sums["active"], heard_at_once * _WINDOWS, free)
        rows.append(
            {
                "zone": zone,
                "hour_start": start,
                "revision": version,
                **sums,
                "expected": heard_at_once,
                "free_flow_x10": free,
                "coverage": figures.coverage,
                "speed_kmh": figures.speed_kmh,
                "congestion_index": figures.index,
                **dict(zip(MINUTES, msgspec.structs.astuple(levels), strict=True)),
            }
        )
    return rows
