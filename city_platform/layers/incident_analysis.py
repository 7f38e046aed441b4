"""What all days of incidents together tell: how they end, and where unusually many or few were reported.

Both are made from the trusted changes of every day whose gate stands open, and published as one table each under
`all`. Neither holds anything back.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa

from city_platform.datasets import Dataset
from city_platform.engines.duckdb import DuckDBSession
from city_platform.incidents.anomalies import WEEKS, Cell, Judgement, judge
from city_platform.incidents.model import Resolution, Status
from city_platform.incidents.statistics import ClosureStatistics, Life, as_row, closure_statistics
from city_platform.lake.manifest import Manifest
from city_platform.layers.platform import Platform
from city_platform.layers.questions import EVERYTHING, NothingToAsk, trusted_rows
from city_platform.layers.tables import PARQUET, Table, publish_tables

STATISTICS, ANOMALIES = "statistics", "anomalies"
REVISION = "1"  # raise it when this module starts to write other rows from the same inputs
JUDGED_DAYS = 28
GROUPS = ("category", "district")
_CLOSED = ", ".join(f"'{status}'" for status in Status if status.closed)
_LIVES = f"""
    SELECT {{group}}, min(reported_at),
        min(changed_at) FILTER (event <> 'REMOVE' AND status IN ({_CLOSED})),
        max_by(status, version) IN ({_CLOSED}),
        coalesce(max_by(resolution, version) = '{Resolution.FIXED}', false),
        count(*) FILTER (status = '{Status.REOPENED}' AND coalesce(old_status, '') <> '{Status.REOPENED}')
    FROM trusted GROUP BY incident_id
"""
_SCHEMAS: Mapping[str, Any] = {
    STATISTICS: {
        "By": pa.string(),
        "Group": pa.string(),
        **dict.fromkeys(("Incidents", "Open", "Closed", "Fixed"), pa.int64()),
        **dict.fromkeys(
            (
                "Closed Share",
                "Fixed Share of Closed",
                "Reopened Share of Ever Closed",
                "Median Days Until Closed",
                "Median Days of Closed Ones",
            ),
            pa.float64(),
        ),
    },
    ANOMALIES: {
        "Day": pa.date32(),
        "District": pa.string(),
        "Category": pa.string(),
        "Observed": pa.int64(),
        "Expected": pa.float64(),
        "Low": pa.int64(),
        "High": pa.int64(),
        "Unusual": pa.bool_(),
        "Explanation": pa.string(),
    },
}


def statistics(platform: Platform, dataset: Dataset) -> tuple[Manifest, Mapping[str, Sequence[ClosureStatistics]]]:
    """Publishes how incidents end, in all and by category and district; raises NothingToAsk without trusted days."""
    columns = {
        "incident_id", "version", "event", "changed_at", "reported_at", "status", "old_status", "resolution", *GROUPS
    }  # fmt: skip
    with platform.engine.session() as session:
        versions, closed = trusted_rows(platform, dataset, session, columns)
        # Up to the newest change and not up to now: the same changes, the same figures.
        until = _moment(session, "max(changed_at)")
        found: dict[str, Sequence[ClosureStatistics]] = {}
        for by, group in (("all", "'all'"), *((name, f"max_by({name}, version)") for name in GROUPS)):
            lives = [Life(*row) for row in session.rows(_LIVES.format(group=group))]
            found[by] = closure_statistics(lives, until)
    rows = [{"By": by, **as_row(one)} for by, several in found.items() for one in several]
    return _publish(platform, dataset, STATISTICS, versions, closed, rows, {"until": until.isoformat()}), found


def anomalies(platform: Platform, dataset: Dataset, timezone: str) -> tuple[Manifest, Sequence[Judgement]]:
    """Publishes the judgement of the last `JUDGED_DAYS` whole days, by the clock of `timezone`, of every district and
    category that has any reports; raises NothingToAsk without trusted days.
    """
    with platform.engine.session() as session:
        wanted = {"incident_id", "event", "changed_at", "reported_at", "district", "category"}
        versions, closed = trusted_rows(platform, dataset, session, wanted)
        session.execute(f"SET TimeZone = {session.dialect.text(timezone)}")
        last = session.rows("SELECT CAST(max(changed_at) AS DATE) FROM trusted")[0][0]
        counted = session.rows(
            "SELECT CAST(reported_at AS DATE) AS day, district, category, count(DISTINCT incident_id) FROM trusted "
            f"WHERE event = 'INSERT' AND day < DATE '{last}' GROUP BY ALL ORDER BY ALL"
        )
    judged = _judged(counted, last)
    rows = [
        {
            "Day": one.day, "District": one.district, "Category": one.category, "Observed": one.observed,
            "Expected": round(one.expected, 3), "Low": one.low, "High": one.high, "Unusual": one.unusual,
            "Explanation": one.explanation,
        }
        for one in judged
    ]  # fmt: skip
    return _publish(platform, dataset, ANOMALIES, versions, closed, rows, {"timezone": timezone}), judged


def _judged(counted: Sequence[tuple[date, str, str, int]], last: date) -> Sequence[Judgement]:
    """The judgements of the days before `last`, the day that is not over."""
    if not counted:
        return []
    first = max(counted[0][0], last - timedelta(days=7 * WEEKS + JUDGED_DAYS))
    days = (last - first).days
    counts: dict[Cell, list[int]] = {}
    for day, district, category, number in counted:
        if day >= first:
            counts.setdefault((district, category), [0] * days)[(day - first).days] = number
    return list(judge(counts, first, JUDGED_DAYS))


def _moment(session: DuckDBSession, what: str) -> datetime:
    value: datetime = session.rows(f"SELECT {what} FROM trusted")[0][0]
    return value


def _publish(
    platform: Platform,
    dataset: Dataset,
    layer: str,
    versions: Mapping[str, str],
    closed: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    details: Mapping[str, str],
) -> Manifest:
    return publish_tables(
        platform,
        layer,
        dataset.name,
        EVERYTHING,
        tables={PARQUET: Table(_SCHEMAS[layer], rows)},
        inputs={**versions, "revision": REVISION},
        details={**details, "days": len(versions), "days_behind_a_closed_gate": list(closed)},
    )


__all__ = ["ANOMALIES", "JUDGED_DAYS", "STATISTICS", "NothingToAsk", "anomalies", "statistics"]
