"""Profile: what a partition's cleaned rows look like, as JSON for machines and as a page for people.

It reads the cleaned rows, not those that passed: a steward needs it most where the gate stands closed. It is for staff
and therefore tells no value of a personal column; nothing that is published reads it.
"""

import json
from collections.abc import Callable, Mapping, Sequence

from city_platform.datasets import Dataset
from city_platform.engines.duckdb import DuckDBSession
from city_platform.lake.lake import Lake, StagedFile
from city_platform.lake.manifest import Manifest
from city_platform.lake.sink import workspace
from city_platform.layers.platform import Platform
from city_platform.profiling.measure import ColumnToProfile, measure
from city_platform.profiling.model import Profile
from city_platform.profiling.report import report

LAYER, UPSTREAM = "profile", "cleaned"
REVISION = "2"  # raise it when this module starts to write other figures from the same inputs


def inputs(platform: Platform, dataset: Dataset, partition: str) -> Mapping[str, str] | None:
    """Cleaned version and contract; None while there is no cleaned data."""
    cleaned = platform.lake.latest(UPSTREAM, dataset.name, partition)
    return _inputs(cleaned, dataset) if cleaned else None


def _inputs(cleaned: Manifest, dataset: Dataset) -> Mapping[str, str]:
    return {UPSTREAM: cleaned.version, "contract": dataset.contract_hash, "revision": REVISION}


def materialize(platform: Platform, dataset: Dataset, partition: str) -> tuple[Manifest, Profile]:
    """Profiles a partition and publishes the profile; raises NotPublished without cleaned data."""
    lake = platform.lake
    cleaned = lake.require(UPSTREAM, dataset.name, partition)
    profile = profile_of(platform, dataset, [partition])
    with workspace(lake) as folder:
        files = {"json": folder / "profile.json", "html": folder / "profile.html"}
        files["json"].write_text(json.dumps(profile.to_json(), ensure_ascii=False, indent=1), encoding="utf-8")
        files["html"].write_text(report(profile), encoding="utf-8")
        manifest = lake.publish(
            LAYER,
            dataset.name,
            partition,
            inputs=_inputs(cleaned, dataset),
            parts={part: [StagedFile.of(path, profile.rows)] for part, path in files.items()},
            counts={"rows": profile.rows},
            schema=[],
        )
    return manifest, profile


def profile_of(
    platform: Platform,
    dataset: Dataset,
    partitions: Sequence[str],
    progress: Callable[[int], None] | None = None,
) -> Profile:
    """The profile of the newest cleaned rows of some years together; raises NotPublished.

    Values that could not be typed are null in those rows and counted as invalid, not as missing. `progress` is told
    the columns done.
    """
    lake, contract = platform.lake, dataset.contract
    cleaned = [lake.require(UPSTREAM, dataset.name, partition) for partition in partitions]
    with platform.engine.session() as session:
        invalid = _untyped(session, lake, cleaned)
        columns = [
            ColumnToProfile(column.name, column.sql_type, column.classification, invalid.get(column.name, 0))
            for column in contract.columns
        ]
        rows = session.parquet([path for one in cleaned for path in lake.paths(one, "rows")])
        years = ", ".join(partitions)
        return measure(session, rows, columns, f"{contract.title} {years}", contract.timezone, progress)


def _untyped(session: DuckDBSession, lake: Lake, cleaned: Sequence[Manifest]) -> Mapping[str, int]:
    """How many values of each column could not be typed."""
    files = [path for one in cleaned for path in lake.paths(one, "untyped")]
    if not files:
        return {}
    return dict(session.rows(f'SELECT "column", count(*) FROM {session.parquet(files)} GROUP BY ALL'))
