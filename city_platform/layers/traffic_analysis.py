"""What four weeks of corrected windows tell: speeds of empty roads, unusual traffic, and what comes next.

Each reads the newest published summaries of the hours it needs, every zone apart, and publishes one table under `all`.
None holds anything back. Hours of the day are the city's.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from city_platform.contracts.partitions import granularity_of, window
from city_platform.datasets import Dataset
from city_platform.engines.duckdb import DuckDBSession
from city_platform.errors import PermanentError
from city_platform.lake.manifest import Manifest
from city_platform.layers import curated
from city_platform.layers.platform import Platform
from city_platform.layers.questions import EVERYTHING
from city_platform.layers.tables import PARQUET, Table, publish_tables
from city_platform.traffic import anomalies as unusual
from city_platform.traffic import forecast as ahead
from city_platform.traffic import free_flow as empty
from city_platform.traffic.roads import Roads
from city_platform.traffic.unusual_day import Change, Days, Judgement

FREE_FLOW, ANOMALIES, FORECAST = "free_flow", "anomalies", "forecast"
CHANGES = "changes"  # the part of the anomalies with what makes the last day unusual
REVISION = "2"  # raise it when this module starts to write other rows from the same inputs
HISTORY = timedelta(days=28)
TOLD = timedelta(days=7)  # anomalies are published of the last days of the history; before, they are learnt from
ANOMALY_STEP_S, FORECAST_STEP_S = 300, 900
SPEED, FLOW = "speed_kmh", "vehicles_per_hour"
_HISTORY = "history"
_INSTANT = pa.timestamp("us", tz="UTC")
_FREE_FLOW = {
    "zone": pa.string(),
    "free_flow_kmh": pa.float64(),
    "measured": pa.bool_(),
    "vehicles": pa.int64(),
}
_ANOMALIES = {
    "zone": pa.string(),
    "at": _INSTANT,
    "measure": pa.string(),
    "value": pa.float64(),
    "usual_low": pa.float64(),
    "usual_high": pa.float64(),
    "score": pa.float64(),
    "explanation": pa.string(),
}
_CHANGES = {
    "zone": pa.string(),
    "at": _INSTANT,
    "hours": pa.int32(),
    "measure": pa.string(),
    "share": pa.float64(),
    "chance": pa.float64(),
    "explanation": pa.string(),
}
_FORECAST = {
    "zone": pa.string(),
    "made_at": _INSTANT,
    "minutes": pa.int32(),
    **dict.fromkeys(("expected", "low", "high"), pa.float64()),
    "forecasts": pa.int64(),
    **dict.fromkeys(("mae", "seasonal_naive_mae", "persistence_mae", "coverage", "width"), pa.float64()),
}
# At night, the speed of each ten seconds counts as often as vehicles drove it; all in whole numbers.
_NIGHTS = f"""
    WITH nights AS (
        SELECT zone, CAST(round(10000000.0 * vehicles / pace) AS BIGINT) AS speed_x10, sum(vehicles) AS vehicles
        FROM {_HISTORY}
        WHERE pace > 0 AND (hour({{local}}) >= {empty.FIRST_HOUR} OR hour({{local}}) < {empty.LAST_HOUR})
        GROUP BY ALL
    ), running AS (
        SELECT zone, speed_x10, sum(vehicles) OVER (PARTITION BY zone ORDER BY speed_x10) AS up_to,
            sum(vehicles) OVER (PARTITION BY zone) AS vehicles
        FROM nights
    )
    SELECT zone, CAST(min(speed_x10) FILTER (100 * up_to >= {empty.PERCENTILE} * vehicles) AS BIGINT),
        CAST(any_value(vehicles) AS BIGINT)
    FROM running GROUP BY zone
"""
# The hour that the city's clock shows twice in autumn is one hour of averages here; nothing runs backwards.
_STEPS = f"""
    SELECT zone, CAST(epoch({{local}}) AS BIGINT) // {{step}} * {{step}} AS local_s,
        CAST(epoch(max(window_start)) AS BIGINT) // {{step}} * {{step}} AS utc_s,
        CASE WHEN sum(pace) > 0 THEN 1000000.0 * sum(vehicles) / sum(pace) END AS {SPEED},
        360.0 * sum(vehicles) / count(*) AS {FLOW}
    FROM {_HISTORY} GROUP BY zone, local_s ORDER BY zone, local_s
"""

_SPAN = f"""
    SELECT min(CAST(epoch({{local}}) AS BIGINT) // {{step}} * {{step}}),
        max(CAST(epoch({{local}}) AS BIGINT) // {{step}} * {{step}})
    FROM {_HISTORY}
"""

Floats = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]


class NoHistory(PermanentError):
    """No hour of the dataset was corrected within the time that is looked at."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something unusual of a zone: when (aware, UTC), what was measured, and between what it usually lies then."""

    zone: str
    at: datetime
    measure: str
    value: float
    usual: tuple[float, float]
    score: float
    explanation: str


@dataclass(frozen=True, slots=True)
class ZoneForecast:
    """A zone's vehicles an hour some minutes after `made_at` (aware, UTC), and how good such forecasts were."""

    zone: str
    made_at: datetime
    expected: float
    low: float
    high: float
    scores: ahead.Scores


@dataclass(frozen=True, slots=True)
class _Steps:
    """One zone's history in equal steps, ascending; NaN where unknown."""

    zone: str
    local_s: npt.NDArray[np.int64]
    utc_s: npt.NDArray[np.int64]
    values: Mapping[str, Floats]


def free_flow(
    platform: Platform, dataset: Dataset, roads: Roads, timezone: str
) -> tuple[Manifest, list[empty.FreeFlow]]:
    """Publishes every zone's free-flow speed; raises NoHistory."""
    with platform.engine.session() as session:
        versions = _history(platform, dataset, session, timedelta(days=empty.DAYS))
        found = session.rows(_NIGHTS.format(local=_local(session, timezone)))
    zones = empty.free_flow({zone: (speed, vehicles) for zone, speed, vehicles in found}, roads)
    rows = [
        {
            "zone": one.zone,
            "free_flow_kmh": one.speed_x10 / 10,
            "measured": one.measured,
            "vehicles": one.vehicles,
        }
        for one in zones
    ]
    counts = {"measured": sum(one.measured for one in zones)}
    return _publish(platform, dataset, FREE_FLOW, versions, {PARQUET: Table(_FREE_FLOW, rows)}, counts, timezone), zones


def anomalies(platform: Platform, dataset: Dataset, timezone: str) -> tuple[Manifest, list[Anomaly], Judgement]:
    """Publishes what was unusual in the last days of the history, the newest first, and what makes the last day of the
    whole fleet unusual, if anything does; raises NoHistory.
    """
    found: list[Anomaly] = []
    with platform.engine.session() as session:
        versions = _history(platform, dataset, session, HISTORY)
        since = _newest(session) - TOLD
        first, last = session.rows(_SPAN.format(local=_local(session, timezone), step=ANOMALY_STEP_S))[0]
        days = Days(first, last, ANOMALY_STEP_S)
        for steps in _steps(session, timezone, ANOMALY_STEP_S):
            days.add(steps.zone, steps.local_s, steps.values)
            for measure in (SPEED, FLOW):
                found += _unusual(steps, measure, since, ZoneInfo(timezone))
    found.sort(key=lambda one: (-one.at.timestamp(), -one.score, one.zone))
    rows = [
        {
            "zone": one.zone,
            "at": one.at,
            "measure": one.measure,
            "value": one.value,
            "usual_low": one.usual[0],
            "usual_high": one.usual[1],
            "score": one.score,
            "explanation": one.explanation,
        }
        for one in found
    ]
    judgement = days.judge()
    changes = [_changed(one, ZoneInfo(timezone)) for one in judgement.changes]
    counts = {"changes": len(changes), "compared": judgement.compared}
    tables = {PARQUET: Table(_ANOMALIES, rows), CHANGES: Table(_CHANGES, changes)}
    return _publish(platform, dataset, ANOMALIES, versions, tables, counts, timezone), found, judgement


def change_in_words(change: Change) -> str:
    """What makes a day unusual, in a sentence."""
    start, end = (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}" for at in (
        change.start_s, change.start_s + change.length_s
    ))  # fmt: skip
    who = change.zone or "the whole city"
    how = f"{abs(change.share):.1%} {'less' if change.share < 0 else 'more'}"
    beside = "; beside what changed in the whole city" if change.zone else ""
    return (
        f"{who}, {start} to {end}: {change.measure} {how} than on such days before{beside} (chance {change.chance:.1g})"
    )


def forecast(
    platform: Platform, dataset: Dataset, timezone: str, progress: Progress = lambda _done, _of: None
) -> tuple[Manifest, list[ZoneForecast], dict[str, str]]:
    """Publishes each zone's vehicles an hour 15, 30 and 60 minutes after the history's end, with the scores of such
    forecasts on its last fifth; the forecasts, and why there are none of the other zones.

    Raises NoHistory. `progress` hears how many zones are done, of how many.
    """
    found: list[ZoneForecast] = []
    without: dict[str, str] = {}
    with platform.engine.session() as session:
        versions = _history(platform, dataset, session, HISTORY)
        zones = int(session.rows(f"SELECT count(DISTINCT zone) FROM {_HISTORY}")[0][0])
        for number, steps in enumerate(_steps(session, timezone, FORECAST_STEP_S), 1):
            try:
                found += _forecasts(steps)
            except ValueError as error:  # there is too little to learn from, as there is in every zone's first week
                without[steps.zone] = str(error)
            progress(number, zones)
    rows = [
        {
            "zone": one.zone,
            "made_at": one.made_at,
            "minutes": one.scores.minutes,
            "expected": one.expected,
            "low": one.low,
            "high": one.high,
            **{name: getattr(one.scores, name) for name in list(_FORECAST)[6:]},
        }
        for one in found
    ]
    counts = {"zones_without": len(without)}
    return (
        _publish(platform, dataset, FORECAST, versions, {PARQUET: Table(_FORECAST, rows)}, counts, timezone),
        found,
        without,
    )


def newest_hour(manifest: Manifest) -> datetime:
    """The end of the newest hour that a published table is made from."""
    return window(max(hour for hour in manifest.inputs if granularity_of(hour)), "UTC")[1]


def _history(platform: Platform, dataset: Dataset, session: DuckDBSession, length: timedelta) -> dict[str, str]:
    """Makes the corrected windows of the newest days the view `history`; the versions of its hours.

    Counted back from the newest corrected hour and not from now: the same hours, the same figures.
    """
    lake = platform.lake
    hours = lake.partitions(curated.LAYER, dataset.name)
    if not hours:
        raise NoHistory(f"no hour of {dataset.name} was corrected yet: materialize its curated layer first")

    def start(hour: str) -> datetime:
        return window(hour, dataset.contract.timezone)[0]

    first = start(hours[-1]) + timedelta(hours=1) - length
    manifests = [lake.require(curated.LAYER, dataset.name, hour) for hour in hours if start(hour) >= first]
    session.view(_HISTORY, [path for one in manifests for path in lake.paths(one, "parquet")])
    return {one.partition: one.version for one in manifests}


def _newest(session: DuckDBSession) -> datetime:
    newest: datetime = session.rows(f"SELECT max(window_start) FROM {_HISTORY}")[0][0]
    return newest


def _local(session: DuckDBSession, timezone: str) -> str:
    return f"(window_start AT TIME ZONE {session.dialect.text(timezone)})"


def _steps(session: DuckDBSession, timezone: str, step_s: int) -> Iterator[_Steps]:
    """Zone by zone."""
    reader = session.stream(_STEPS.format(local=_local(session, timezone), step=step_s))
    waiting: list[pa.RecordBatch] = []
    for batch in reader:
        zones = batch["zone"].to_numpy(zero_copy_only=False)
        bounds = [0, *(np.flatnonzero(zones[1:] != zones[:-1]) + 1).tolist(), len(zones)]
        for low, high in pairwise(bounds):
            if waiting and waiting[-1]["zone"][0] != batch["zone"][low]:
                yield _zone_steps(waiting)
                waiting = []
            waiting.append(batch.slice(low, high - low))
    if waiting:
        yield _zone_steps(waiting)


def _zone_steps(batches: list[pa.RecordBatch]) -> _Steps:
    table = pa.Table.from_batches(batches)

    def column(name: str, kind: str) -> npt.NDArray[np.generic]:
        return np.asarray(table[name].to_numpy()).astype(kind)

    return _Steps(
        zone=str(table["zone"][0]),
        local_s=column("local_s", "int64").astype(np.int64),
        utc_s=column("utc_s", "int64").astype(np.int64),
        values={name: column(name, "float64").astype(np.float64) for name in (SPEED, FLOW)},
    )


def _unusual(steps: _Steps, measure: str, since: datetime, zone: ZoneInfo) -> Iterator[Anomaly]:
    detector = unusual.Detector()
    for local_s, utc_s, value in zip(
        steps.local_s.tolist(), steps.utc_s.tolist(), steps.values[measure].tolist(), strict=True
    ):
        score = detector.observe(local_s, value)
        if score < unusual.UNUSUAL:
            continue
        at, usual = datetime.fromtimestamp(utc_s, UTC), detector.usual(local_s)
        if at >= since:
            yield Anomaly(
                steps.zone, at, measure, value, usual, score, _in_words(steps.zone, at, measure, value, usual, zone)
            )


def _in_words(name: str, at: datetime, measure: str, value: float, usual: tuple[float, float], zone: ZoneInfo) -> str:
    unit = "km/h" if measure == SPEED else "vehicles/h"
    low, high = usual
    how = "less than" if value < low else "more than" if value > high else "at the edge of"
    day = "weekends" if at.astimezone(zone).weekday() >= unusual.SATURDAY else "working days"
    return (
        f"{name}, {at.astimezone(zone):%Y-%m-%d %H:%M %Z}: {value:,.1f} {unit}, {how} the usual "
        f"{low:,.1f} to {high:,.1f} of this hour on {day}"
    )


def _changed(change: Change, zone: ZoneInfo) -> dict[str, object]:
    # The city's own clock, as seconds of a clock that never changes.
    at = datetime.fromtimestamp(change.start_s, UTC).replace(tzinfo=zone)
    return {
        "zone": change.zone,
        "at": at,
        "hours": change.length_s // unusual.HOUR_S,
        "measure": change.measure,
        "share": change.share,
        "chance": change.chance,
        "explanation": change_in_words(change),
    }


def _forecasts(steps: _Steps) -> Iterator[ZoneForecast]:
    series = ahead.regular(steps.local_s, steps.values[FLOW], FORECAST_STEP_S)
    count = len(series.values)
    calibration = int(ahead.SHARE * count)
    made_at = datetime.fromtimestamp(int(steps.utc_s[-1]) + FORECAST_STEP_S, UTC)
    found = []
    for minutes in ahead.HORIZONS_MIN:
        scores = ahead.evaluate(series, minutes)
        model = ahead.fit(series, minutes * ahead.MINUTE_S // FORECAST_STEP_S, count - calibration, calibration)
        told = model.predict(series, np.array([count - 1]))
        expected, low, high = (float(one[0]) for one in (told.expected, told.low, told.high))
        found.append(ZoneForecast(steps.zone, made_at, expected, low, high, scores))
    yield from found


def _publish(
    platform: Platform,
    dataset: Dataset,
    layer: str,
    versions: Mapping[str, str],
    tables: Mapping[str, Table],
    counts: Mapping[str, int],
    timezone: str,
) -> Manifest:
    return publish_tables(
        platform,
        layer,
        dataset.name,
        EVERYTHING,
        tables=tables,
        inputs={**versions, "revision": REVISION},
        counts=counts,
        details={"timezone": timezone, "hours": len(versions)},
    )
