"""Raw: a partition's share of the sources, bytes untouched, rows as text under the source's own headers.

The sources are the files that landed; of a dataset that is exported as it comes (see `exported`) the exports.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from city_platform.contracts.partitions import window
from city_platform.datasets import Dataset
from city_platform.errors import PermanentError
from city_platform.ingestion.headers import HeaderMatch
from city_platform.lake.lake import NotPublished
from city_platform.lake.manifest import Manifest
from city_platform.lake.sink import workspace
from city_platform.layers import exported
from city_platform.layers.landing import Source, sources
from city_platform.layers.platform import Platform

LAYER = "raw"


class DamagedSource(PermanentError):
    """An object of the raw layer is missing or has another size than when it landed."""


def inputs(platform: Platform, dataset: Dataset, partition: str) -> Mapping[str, str] | None:
    """The sources with rows of that partition, by name; None where there are none, or where their time is over."""
    if dataset.contract.exported:
        export = exported.newest(platform.lake, dataset.name, partition)
        return None if export is None or _retired(platform, dataset, export) else _export_inputs(export, dataset)
    holding = _holding(platform, dataset, partition)
    return {source.name: source.content(partition) for source in holding} or None


def materialize(platform: Platform, dataset: Dataset, partition: str) -> Manifest:
    """Publishes which sources make up the partition, after proving that their objects are there.

    Raises NotPublished where nothing landed for it, DamagedSource where an object is gone, BreakingDrift where an
    export's columns do not fit the contract, HourNotOver where it is too early.
    """
    if dataset.contract.exported:
        return _from_export(platform, dataset, partition)
    holding = _holding(platform, dataset, partition)
    if not holding:
        raise NotPublished(f"no source of {dataset.name} has rows of {partition}: ingest a file first")
    store = platform.lake.store
    for source in holding:
        for file in (source.original, source.rows_by_partition[partition]):
            if store.size(file.key) != file.bytes:
                raise DamagedSource(f"{store.uri(file.key)} is not the {file.bytes} bytes that landed: land it again")
    newest = holding[-1]
    return platform.lake.publish(
        LAYER,
        dataset.name,
        partition,
        inputs=inputs(platform, dataset, partition) or {},
        parts={
            "source": [source.original for source in holding],
            "rows": [source.rows_by_partition[partition] for source in holding],
        },
        counts={"rows": sum(source.rows_by_partition[partition].rows for source in holding)},
        schema=[(header, "text") for header in newest.headers],
        details={
            "sources": [
                {
                    "name": source.name,
                    "sha256": source.sha256,
                    "bytes": source.size,
                    "landed_at": source.landed_at.isoformat(),
                    "url": source.origin.url if source.origin else None,
                    "fetched_at": source.origin.fetched_at.isoformat() if source.origin else None,
                    "rows_of_partition": source.rows_by_partition[partition].rows,
                    "present": dict(source.present),
                    "drift": [drift.message for drift in source.drift],
                }
                for source in holding
            ]
        },
    )


def _holding(platform: Platform, dataset: Dataset, partition: str) -> list[Source]:
    return [source for source in sources(platform.lake, dataset.name) if partition in source.rows_by_partition]


def _retired(platform: Platform, dataset: Dataset, export: Manifest) -> bool:
    """Whether the partition's rows were let go of. Asked of the lake where it may be so alone: it costs a request."""
    kept, (_, end) = dataset.contract.rows_kept, window(export.partition, dataset.contract.timezone)
    return kept is not None and end + kept <= platform.clock.now() and platform.lake.is_pruned(export)


def _export_inputs(export: Manifest, dataset: Dataset) -> Mapping[str, str]:
    # The contract says which of the export's columns are the dataset's.
    return {exported.LAYER: export.version, "contract": dataset.contract_hash}


def _from_export(platform: Platform, dataset: Dataset, partition: str) -> Manifest:
    lake = platform.lake
    export = exported.newest(lake, dataset.name, partition)
    if export is None:
        raise NotPublished(f"nothing of {dataset.name} has been exported for {partition}")
    if not exported.settled(dataset, partition, platform.clock.now()):
        minutes = exported.SETTLING // timedelta(minutes=1)
        raise exported.HourNotOver(f"{partition} (UTC) is not over: materialize it {minutes} minutes after its end")
    with workspace(lake) as folder, platform.engine.session() as session:
        rows, match = exported.rows_as_text(session, lake, dataset, export, folder / "part-00000.parquet")
        return lake.publish(
            LAYER,
            dataset.name,
            partition,
            inputs=_export_inputs(export, dataset),
            parts={"source": export.parts[exported.PARQUET], "rows": [rows]},
            counts={"rows": rows.rows},
            schema=[(name, "text") for name, _ in export.schema],
            details={"sources": [_told(export, match)]},
        )


def _told(export: Manifest, match: HeaderMatch) -> Mapping[str, Any]:
    return {
        "name": exported.LAYER,
        "sha256": export.sha256,
        "bytes": export.size,
        "landed_at": export.published_at.isoformat(),
        "url": None,
        "fetched_at": None,
        "rows_of_partition": export.counts["rows"],
        "present": dict(match.present),
        "drift": [drift.message for drift in match.drift],
    }
