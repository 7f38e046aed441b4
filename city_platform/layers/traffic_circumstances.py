"""What else happened where traffic was bad: each hour's zones beside reports and permits, and four weeks explained.

`circumstances` of an hour are made of its corrected windows, and of what incidents and building permits say near each
zone. `explanations` are made of the circumstances of four weeks. Reports of sensors are left out: they are traffic
itself. Permits say when work was allowed, not when anybody dug. Requests of 3-1-1 have places that are personal, and
police reports come weeks later: neither is looked at.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from city_platform.contracts.partitions import Granularity, window
from city_platform.crossing.coincidence import Lift, lifts, strata, unusual
from city_platform.crossing.explained import zones_within
from city_platform.datasets import Dataset
from city_platform.engines.duckdb import DuckDBSession
from city_platform.incidents.model import Channel, Status, Visibility
from city_platform.incidents.nearby import metres_between
from city_platform.lake.manifest import Manifest
from city_platform.layers import curated, traffic_analysis
from city_platform.layers.platform import Platform
from city_platform.layers.questions import EVERYTHING, NothingToAsk, trusted_rows
from city_platform.layers.tables import PARQUET, Table, publish_tables
from city_platform.traffic.anomalies import SATURDAY
from city_platform.traffic.congestion import Figures, Thresholds, band
from city_platform.traffic.roads import Roads

CIRCUMSTANCES, EXPLANATIONS = "circumstances", "explanations"
CANDIDATES, LIFTS = "candidates", "lifts"  # the parts beside the zones, and beside the explanations
REVISION = "1"  # raise it when this module starts to write other rows from the same inputs
INCIDENTS, PERMITS = "incidents", "building_permits"
SOURCES = (INCIDENTS, PERMITS)
NEAR_M = 250
FRESH = timedelta(hours=72)  # an open report explains an hour for so long; one of a lasting category while it is open
ISSUED = timedelta(days=60)  # and a permit for so long after it was issued
HISTORY = timedelta(days=28)
_CLOSED = ", ".join(f"'{status}'" for status in Status if status.closed)
_INSTANT = pa.timestamp("us", tz="UTC")
_ZONES = {
    "zone": pa.string(),
    "hour": _INSTANT,
    "vehicles": pa.int64(),
    **dict.fromkeys(("speed_kmh", "free_flow_kmh", "index"), pa.float64()),
    "level": pa.string(),
    "candidates": pa.int64(),
}
_CANDIDATES = {
    "zone": pa.string(),
    "hour": _INSTANT,
    "kind": pa.string(),
    "name": pa.string(),
    "since": _INSTANT,
    "metres": pa.int64(),
}
_EXPLANATIONS = {
    "zone": pa.string(),
    "hour": _INSTANT,
    "index": pa.float64(),
    "usual_index": pa.float64(),
    "candidates": pa.int64(),
    "explanation": pa.string(),
}
_LIFTS = {
    "kind": pa.string(),
    **dict.fromkeys(("hours", "unusual", "hours_without", "unusual_without", "days"), pa.int64()),
    **dict.fromkeys(("lift", "low", "high"), pa.float64()),
    "oftener": pa.bool_(),
}
_NAMED = 5  # candidates of an explanation, the nearest first


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something public that was known near a zone: its kind, the name of a report, since when, and how far about."""

    zone: str
    kind: str
    name: str
    since: datetime
    metres: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """An unusual hour of a zone, which begins at `hour` (aware, UTC), in plain words."""

    zone: str
    hour: datetime
    index: float
    usual: float
    candidates: int
    text: str


def circumstances(
    platform: Platform,
    dataset: Dataset,
    partition: str,
    roads: Roads,
    sources: Collection[Dataset],
    lasting: Collection[str],
) -> Manifest:
    """Publishes the hour's zones and the candidates near them. `lasting`: categories of incidents that last.

    Raises NotPublished where the hour was not corrected yet, and the errors of the object store.
    """
    corrected = platform.lake.require(curated.LAYER, dataset.name, partition)
    start, end = window(partition, dataset.contract.timezone)
    inputs = {partition: corrected.version, "revision": REVISION}
    with platform.engine.session() as session:
        sums = session.rows(
            "SELECT zone, CAST(sum(vehicles) AS BIGINT), CAST(sum(pace) AS BIGINT) "
            f"FROM {session.parquet(platform.lake.paths(corrected, 'parquet'))} GROUP BY zone ORDER BY zone"
        )
    free_flow, version = _free_flow(platform, dataset, roads)
    found: list[Candidate] = []
    missing: dict[str, str] = {}
    for source in sorted(sources, key=lambda one: one.name):
        read = _incidents if source.name == INCIDENTS else _permits
        try:
            candidates, versions = read(platform, source, start, end, roads, lasting)
        except NothingToAsk as nothing:
            missing[source.name] = str(nothing)
            continue
        found += candidates
        inputs |= {f"{source.name}/{name}": each for name, each in versions.items()}
    missing |= {name: "there is no such dataset" for name in SOURCES if name not in {one.name for one in sources}}
    near: dict[str, int] = {}
    for one in found:
        near[one.zone] = near.get(one.zone, 0) + 1
    zones = [
        _zone(zone, start, vehicles, pace, free_flow.get(zone, 0), near.get(zone, 0)) for zone, vehicles, pace in sums
    ]
    told = [
        {"zone": one.zone, "hour": start, "kind": one.kind, "name": one.name, "since": one.since, "metres": one.metres}
        for one in sorted(found, key=lambda one: (one.zone, one.metres, one.kind, one.name, one.since))
    ]
    return publish_tables(
        platform,
        CIRCUMSTANCES,
        dataset.name,
        partition,
        tables={PARQUET: Table(_ZONES, zones), CANDIDATES: Table(_CANDIDATES, told)},
        inputs=inputs | ({"free_flow": version} if version else {}),
        counts={"zones": len(zones), "candidates": len(told)},
        details={"not looked at": missing},
    )


def explanations(
    platform: Platform, dataset: Dataset, timezone: str
) -> tuple[Manifest, Sequence[Explanation], Sequence[Lift]]:
    """Publishes each unusual hour of four weeks in plain words, the newest first, and the lifts; nothing of no hours.

    Counted back from the newest hour and not from now: the same hours, the same words.
    """
    lake, zone = platform.lake, ZoneInfo(timezone)
    hours = lake.partitions(CIRCUMSTANCES, dataset.name)
    newest = window(hours[-1], dataset.contract.timezone)[1] if hours else platform.clock.now()
    first = (newest - HISTORY).astimezone(UTC).strftime(Granularity.HOUR.strftime)
    manifests = [lake.require(CIRCUMSTANCES, dataset.name, hour) for hour in hours if hour >= first]
    rows, near = ([row for one in manifests for row in _rows(platform, one, part)] for part in (PARQUET, CANDIDATES))
    missing = sorted({name for one in manifests for name in one.details.get("not looked at", {})})
    found, lifted = explain(rows, near, zone, missing)
    told = [
        {
            "zone": one.zone, "hour": one.hour, "index": one.index, "usual_index": one.usual,
            "candidates": one.candidates, "explanation": one.text,
        }
        for one in found
    ]  # fmt: skip
    lifts_told = [
        {
            "kind": one.kind, "hours": one.hours, "unusual": one.unusual, "hours_without": one.hours_without,
            "unusual_without": one.unusual_without, "days": one.days, "lift": one.ratio, "low": one.low,
            "high": one.high, "oftener": one.oftener,
        }
        for one in lifted
    ]  # fmt: skip
    manifest = publish_tables(
        platform,
        EXPLANATIONS,
        dataset.name,
        EVERYTHING,
        tables={PARQUET: Table(_EXPLANATIONS, told), LIFTS: Table(_LIFTS, lifts_told)},
        inputs={**{one.partition: one.version for one in manifests}, "revision": REVISION},
        counts={
            "hours": len(manifests),
            "unusual": len(told),
            "with_candidates": sum(one.candidates > 0 for one in found),
        },
        details={"timezone": timezone, "not looked at": missing},
    )
    return manifest, found, lifted


def explain(
    zones: Sequence[Mapping[str, Any]],
    candidates: Sequence[Mapping[str, Any]],
    timezone: ZoneInfo,
    missing: Sequence[str] = (),
) -> tuple[list[Explanation], Sequence[Lift]]:
    """The unusual hours among rows of `circumstances`, the newest first, and the lift of each kind of candidate."""
    near: dict[tuple[str, datetime], list[Mapping[str, Any]]] = {}
    for one in candidates:
        near.setdefault((one["zone"], one["hour"]), []).append(one)
    names = sorted({one["zone"] for one in zones})
    place = {name: at for at, name in enumerate(names)}
    local = [one["hour"].astimezone(timezone) for one in zones]
    zone = np.array([place[one["zone"]] for one in zones], dtype=np.int64)
    day = np.array([one.toordinal() for one in local], dtype=np.int64)
    weekend = np.array([one.weekday() >= SATURDAY for one in local], dtype=bool)
    index = np.array([np.nan if one["index"] is None else one["index"] for one in zones], dtype=np.float64)
    hour = np.array([one.hour for one in local], dtype=np.int64)
    odd, usual = unusual(index, zone, hour, weekend, day)
    known = ~np.isnan(usual) & ~np.isnan(index)
    kinds = sorted({one["kind"] for one in candidates})
    beside = [{one["kind"] for one in near.get((each["zone"], each["hour"]), ())} for each in zones]
    present = {kind: np.array([kind in some for some in beside], dtype=bool)[known] for kind in kinds}
    lifted = lifts(odd[known], strata(zone, hour, weekend)[known], day[known], present)
    oftener = {one.kind: one for one in lifted if one.oftener}
    found = []
    for at in np.flatnonzero(odd).tolist():
        row, some = zones[at], near.get((zones[at]["zone"], zones[at]["hour"]), [])
        text = _in_words(row, float(usual[at]), some, oftener, timezone, missing)
        found.append(Explanation(row["zone"], row["hour"], row["index"], float(usual[at]), len(some), text))
    return sorted(found, key=lambda one: (-one.hour.timestamp(), -one.index, one.zone)), lifted


def _rows(platform: Platform, manifest: Manifest, part: str) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = pq.read_table(
        platform.lake.paths(manifest, part), partitioning=None
    ).to_pylist()
    return found


def _in_words(
    row: Mapping[str, Any],
    usual: float,
    near: Sequence[Mapping[str, Any]],
    oftener: Mapping[str, Lift],
    timezone: ZoneInfo,
    missing: Sequence[str],
) -> str:
    local = row["hour"].astimezone(timezone)
    begins = f"{row['zone']}, the hour of {local:%Y-%m-%d %H:%M %Z}: index {row['index']:.0f}, usually {usual:.0f}."
    blind = f" Not looked at: {', '.join(missing)}." if missing else ""
    if not near:
        return f"{begins} Nothing known within {NEAR_M} m.{blind}"
    named = "; ".join(_candidate(one, timezone) for one in sorted(near, key=lambda one: one["metres"])[:_NAMED])
    more = f"; and {len(near) - _NAMED} more" if len(near) > _NAMED else ""
    lifted = [oftener[kind] for kind in sorted({one["kind"] for one in near}) if kind in oftener]
    said = "".join(
        f" Hours with {one.kind} near are {one.ratio:.1f} times ({one.low:.1f} to {one.high:.1f}) as often unusual."
        for one in lifted
    )
    return f"{begins} Known near it, which need not be why: {named}{more}.{said}{blind}"


def _candidate(one: Mapping[str, Any], timezone: ZoneInfo) -> str:
    named = f" {one['name']}" if one["name"] else ""
    return (
        f"{one['kind']}{named}, about {one['metres']} m away, since {one['since'].astimezone(timezone):%Y-%m-%d %H:%M}"
    )


def _zone(zone: str, hour: datetime, vehicles: int, pace: int, free_flow_x10: int, near: int) -> Mapping[str, Any]:
    figures = Figures(vehicles, pace, heard=1, active=1, free_flow_x10=free_flow_x10)
    index = figures.index if vehicles >= Thresholds().vehicles else None
    return {
        "zone": zone,
        "hour": hour,
        "vehicles": vehicles,
        "speed_kmh": None if figures.speed_kmh is None else round(figures.speed_kmh, 1),
        "free_flow_kmh": free_flow_x10 / 10,
        "index": index,
        "level": None if index is None else band(index, Thresholds()).value,
        "candidates": near,
    }


def _free_flow(platform: Platform, dataset: Dataset, roads: Roads) -> tuple[Mapping[str, int], str]:
    """Tenths of km/h by zone as measured, else as posted; the version of what was measured, empty for none."""
    posted = dict(zip(roads.registry.zones, roads.free_flow_x10.tolist(), strict=True))
    manifest = platform.lake.latest(traffic_analysis.FREE_FLOW, dataset.name, EVERYTHING)
    if manifest is None:
        return posted, ""
    rows = pq.read_table(platform.lake.paths(manifest, PARQUET)).to_pylist()
    return posted | {one["zone"]: round(10 * one["free_flow_kmh"]) for one in rows}, manifest.version


def _incidents(
    platform: Platform, source: Dataset, start: datetime, end: datetime, roads: Roads, lasting: Collection[str]
) -> tuple[list[Candidate], Mapping[str, str]]:
    """Public reports of people that were open in the hour, fresh or lasting, as they stood at its end."""
    wanted = {
        "incident_id", "version", "event", "changed_at", "reported_at", "occurred_at", "closed_at", "status",
        "category", "channel", "visibility", "public_ref", "lat", "long",
    }  # fmt: skip
    since = (start - HISTORY).astimezone(UTC).strftime("%Y-%m-%d")
    with platform.engine.session() as session:
        versions, _ = trusted_rows(platform, source, session, wanted, since)
        rows = session.rows(
            "SELECT category, public_ref, lat, long, coalesce(occurred_at, reported_at) FROM ("
            "SELECT * FROM trusted WHERE event <> 'REMOVE' AND changed_at < " + _instant(session, end) + " "
            "QUALIFY row_number() OVER (PARTITION BY incident_id ORDER BY version DESC) = 1) "
            f"WHERE (status NOT IN ({_CLOSED}) OR closed_at >= {_instant(session, start)}) "
            f"AND channel <> '{Channel.SENSOR}' AND visibility = '{Visibility.PUBLIC}' "
            "AND lat IS NOT NULL AND long IS NOT NULL ORDER BY ALL"
        )
    found = []
    for category, reference, lat, long, began in rows:
        if category in lasting or began >= end - FRESH:
            found += _near(roads, lat, long, category.replace("_", " "), reference, began)
    return found, versions


def _permits(
    platform: Platform, source: Dataset, start: datetime, end: datetime, roads: Roads, _lasting: Collection[str]
) -> tuple[list[Candidate], Mapping[str, str]]:
    """Building permits that were issued lately. Their numbers and addresses stay out."""
    timezone = ZoneInfo(source.contract.timezone)
    last = start.astimezone(timezone).date()
    with platform.engine.session() as session:
        wanted = {"IssueDate", "TypeOfWork", "GeoPoint2d"}
        versions, _ = trusted_rows(platform, source, session, wanted, str((last - ISSUED).year))
        rows = session.rows(
            "SELECT TypeOfWork, GeoPoint2d, IssueDate FROM trusted WHERE GeoPoint2d IS NOT NULL "
            f"AND TypeOfWork IS NOT NULL AND IssueDate BETWEEN DATE '{last - ISSUED}' AND DATE '{last}' ORDER BY ALL"
        )
    found = []
    for work, point, issued in rows:
        try:
            lat, long = (float(part) for part in point.split(","))
        except ValueError:  # a place that nobody can read is none
            continue
        began = datetime.combine(issued, datetime.min.time(), timezone).astimezone(UTC)
        if began < end:
            found += _near(roads, lat, long, f"a building permit for {work.lower()}", "", began)
    return found, versions


def _near(roads: Roads, lat: float, long: float, kind: str, name: str, since: datetime) -> list[Candidate]:
    """A candidate for each zone that it is near, with its distance from the zone's edge, 0 within it.

    To a hundred metres, as the places of sensitive reports are published.
    """
    inside = set(zones_within(roads, lat, long, 0))
    found = []
    for zone in zones_within(roads, lat, long, NEAR_M):
        metres = 0 if zone in inside else _metres(roads, zone, lat, long)
        found.append(Candidate(zone, kind, name, since, metres))
    return found


def _metres(roads: Roads, zone: str, lat: float, long: float) -> int:
    """From a zone's edge."""
    at = roads.registry.zone_index[zone]
    west, south = float(roads.west[at]), float(roads.south[at])
    nearest = min(max(lat, south), south + roads.height), min(max(long, west), west + roads.width)
    return round(metres_between(lat, long, *nearest) / 100) * 100


def _instant(session: DuckDBSession, time: datetime) -> str:
    return f"CAST({session.dialect.text(time.isoformat())} AS TIMESTAMPTZ)"
