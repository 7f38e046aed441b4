"""From a count of incidents that the public sees to the published rows behind it, and from these to their changes.

Counts come from what was published last as open data: each year's manifest has the counts, its files have a row for
each incident, and the exports have the changes that made it what it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from city_platform.engines.duckdb import DuckDBSession
from city_platform.errors import PermanentError
from city_platform.lake.lake import Lake, NotPublished
from city_platform.lake.manifest import Manifest
from city_platform.layers import exported, open_incidents
from city_platform.layers.platform import Platform

MOST_REPORTS = 100
# What counts are told by, and the column of the published rows that says it.
COLUMNS: Mapping[str, str] = {
    "region": "region",
    "district": "district",
    "status": "status_description",
    "category": "service_code",
}


class NoSuchValue(PermanentError):
    """Nothing that was published has the value; the message names those that there are."""


@dataclass(frozen=True, slots=True)
class TracedChange:
    """One exported change of an incident: the day's file, the row in it from 0, and what happened."""

    day: str
    file: str
    row: int
    event: str
    version: int


@dataclass(frozen=True, slots=True)
class TracedReport:
    """One published row: the incident, its year, and its changes in the order in which they happened."""

    service_request_id: str
    year: str
    changes: tuple[TracedChange, ...]


@dataclass(frozen=True, slots=True)
class TracedYear:
    """One year of the open data. `counted` is what its manifest counts, `rows` how many of its rows are there."""

    year: str
    version: str
    published_at: datetime
    files: tuple[tuple[str, str], ...]  # key in the lake, sha256
    counted: int
    rows: int


@dataclass(frozen=True, slots=True)
class TracedCount:
    """A count, and what it is made of; `exports` are the files that the shown changes are in, and their sha256."""

    where: Mapping[str, str]
    years: tuple[TracedYear, ...]
    reports: tuple[TracedReport, ...]
    exports: Mapping[str, str]

    @property
    def total(self) -> int:
        return sum(one.counted for one in self.years)

    @property
    def borne_out(self) -> bool:
        """Whether every year has as many rows as it counts."""
        return all(one.counted == one.rows for one in self.years)

    def to_json(self) -> Mapping[str, Any]:
        return {
            "where": dict(self.where),
            "total": self.total,
            "borne_out": self.borne_out,
            "years": [{**asdict(one), "published_at": one.published_at.isoformat()} for one in self.years],
            "reports": [asdict(one) for one in self.reports],
            "exports": dict(self.exports),
        }


def trace_count(platform: Platform, where: Mapping[str, str], reports: int) -> TracedCount:
    """The count of public incidents whose region, district, status or category are those of `where`.

    Up to `reports` of the rows are traced to their changes. Raises NotPublished, NoSuchValue and the store's errors.
    """
    lake = platform.lake
    years = [
        manifest
        for year in lake.partitions(open_incidents.LAYER, open_incidents.DATASET)
        if (manifest := lake.latest(open_incidents.LAYER, open_incidents.DATASET, year))
    ]
    if not years:
        raise NotPublished("no incidents were published as open data: city-platform open-data publish")
    _known(years, where)
    found: list[TracedYear] = []
    chosen: dict[str, str] = {}
    with platform.engine.session() as session:
        fitting = " AND ".join(f"{COLUMNS[name]} = {session.dialect.text(value)}" for name, value in where.items())
        for manifest in years:
            table = session.parquet(lake.paths(manifest, "parquet"))
            ids = [
                str(one)
                for (one,) in session.rows(
                    f"SELECT service_request_id FROM {table} WHERE {fitting or 'true'} "
                    f"ORDER BY requested_datetime, service_request_id"
                )
            ]
            room = max(0, min(reports, MOST_REPORTS) - len(chosen))
            chosen |= dict.fromkeys(ids[:room], manifest.partition)
            found.append(
                TracedYear(
                    year=manifest.partition,
                    version=manifest.version,
                    published_at=manifest.published_at,
                    files=tuple((one.key, one.sha256) for one in manifest.files),
                    counted=_counted(manifest, where),
                    rows=len(ids),
                )
            )
        changes, exports = _changes(session, lake, list(chosen)) if chosen else ({}, {})
    traced = tuple(TracedReport(one, year, tuple(changes.get(one, ()))) for one, year in chosen.items())
    return TracedCount(where, tuple(found), traced, exports)


def _known(years: Sequence[Manifest], where: Mapping[str, str]) -> None:
    """Raises NoSuchValue for a value that no published incident has."""
    for name, value in where.items():
        place = list(COLUMNS).index(name)
        there = sorted({key[place] for manifest in years for key in open_incidents.counts_of(manifest)})
        if value not in there:
            raise NoSuchValue(
                f"no published incident has the {name} {value!r}; there are: {', '.join(there) or 'none'}"
            )


def _counted(manifest: Manifest, where: Mapping[str, str]) -> int:
    wanted = [where.get(name) for name in COLUMNS]
    return sum(
        incidents
        for key, incidents in open_incidents.counts_of(manifest).items()
        if all(value in {None, is_} for value, is_ in zip(wanted, key, strict=True))
    )


def _changes(
    session: DuckDBSession, lake: Lake, ids: Sequence[str]
) -> tuple[Mapping[str, Sequence[TracedChange]], Mapping[str, str]]:
    """The exported changes of incidents, by their ids, and the files they are in with their sha256."""
    wanted = ", ".join(session.dialect.text(one) for one in ids)
    changes: dict[str, list[TracedChange]] = {}
    digests: dict[str, str] = {}
    for day in lake.partitions(exported.LAYER, open_incidents.DATASET):
        manifest = exported.newest(lake, open_incidents.DATASET, day)
        files = manifest.parts.get(exported.PARQUET, ()) if manifest else ()
        for file in files:
            table = session.parquet([lake.store.local_path(file.key)])
            rows = session.rows(
                f"SELECT incident_id, file_row_number, event, version FROM {table} WHERE incident_id IN ({wanted})"
            )
            for incident, number, event, version in rows:
                changes.setdefault(incident, []).append(TracedChange(day, file.key, number, event, version))
                digests[file.key] = file.sha256
    return {one: sorted(found, key=lambda change: change.version) for one, found in changes.items()}, digests
