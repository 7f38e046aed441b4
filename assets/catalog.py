"""The catalog of everything in the lake, and the data dictionary made from it."""

from collections.abc import Iterator, Sequence

import dagster as dg

from assets.graph import asset_key, markdown_list, markdown_table, typed_failures
from assets.jobs import UnresolvedAssetJobDefinition
from city_platform.catalog.describe import LAYERS
from city_platform.catalog.views import KEY as VIEWS
from city_platform.datasets import Dataset
from city_platform.layers import catalog
from resources.platform import PlatformResource

TABLES = dg.AssetKey([catalog.SUBJECT, catalog.TABLES])
DICTIONARY = dg.AssetKey([catalog.SUBJECT, catalog.DICTIONARY])
_DESCRIBED, _APPROVED, _UNIQUE = "every_column_is_described", "no_change_waits", "no_dataset_is_there_twice"
_SHOWN = 50


def catalog_asset(datasets: Sequence[Dataset]) -> dg.AssetsDefinition:
    """`[catalog, tables]` and `[catalog, dictionary]`, one for all datasets and without partitions."""
    common = {"layer": catalog.SUBJECT, "classification": "internal", "cadence": "daily", "domain": "governance"}
    owners = sorted({dataset.contract.owner for dataset in datasets})
    tables = dg.AssetSpec(
        key=TABLES,
        deps=[asset_key(dataset, layer) for dataset in datasets for layer in LAYERS],
        description="Every table of the lake with its columns, types, partitions and schema versions, and views on "
        "them for any DuckDB client.",
        group_name=catalog.SUBJECT,
        owners=owners,
        kinds={"json", "duckdb"},
        tags=common,
    )
    pages = dg.AssetSpec(
        key=DICTIONARY,
        deps=[TABLES],
        description="What every column of every dataset means, where it comes from and which rules it keeps, as pages.",
        group_name=catalog.SUBJECT,
        owners=owners,
        kinds={"html"},
        tags=common | {"classification": "public"},
    )
    checks = [
        dg.AssetCheckSpec(
            _DESCRIBED, asset=TABLES, description="All columns have description, type, source and class."
        ),
        dg.AssetCheckSpec(_APPROVED, asset=TABLES, description="No column was removed or changed its type unapproved."),
        dg.AssetCheckSpec(_UNIQUE, asset=TABLES, description="No two datasets have the same file or the same columns."),
    ]

    @dg.multi_asset(name=catalog.SUBJECT, specs=[tables, pages], check_specs=checks)
    def refresh(platform: PlatformResource) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        adapters = platform.open()
        with typed_failures():
            found = catalog.refresh(adapters, datasets)
            places = catalog.publish_dictionary(adapters, datasets)
        yield _tables(found, adapters.lake.store.uri(VIEWS))
        yield from _checks(found)
        yield dg.MaterializeResult(
            asset_key=DICTIONARY,
            metadata={
                "pages": dg.MetadataValue.int(len(places)),
                "start at": dg.MetadataValue.url(places["index.html"]),
            },
        )

    return refresh


def catalog_job() -> UnresolvedAssetJobDefinition:
    """The catalog and the dictionary, made again."""
    return dg.define_asset_job(
        "refresh_catalog",
        selection=dg.AssetSelection.assets(TABLES, DICTIONARY),
        description="Brings the catalog up to date with the lake.",
    )


def _tables(found: catalog.Refreshed, views: str) -> dg.MaterializeResult[None]:
    rows = [
        {
            "table": one.table,
            "schema version": one.version,
            "changes": "; ".join(change.message for change in one.changes),
            "waits for approval": "; ".join(change.message for change in one.held),
            "partitions registered": ", ".join(one.registered),
            "partitions held": "; ".join(f"{partition}: {why}" for partition, why in one.held_partitions.items()),
        }
        for one in found.reports
    ]
    return dg.MaterializeResult(
        asset_key=TABLES,
        metadata={
            "tables": dg.MetadataValue.int(len(found.tables)),
            "columns": dg.MetadataValue.int(found.columns),
            "views": dg.MetadataValue.int(len(found.views)),
            "dagster/uri": dg.MetadataValue.text(views),
            "what the crawl did": dg.MetadataValue.md(markdown_table(rows)),
        },
    )


def _checks(found: catalog.Refreshed) -> Iterator[dg.AssetCheckResult]:
    held = [f"{one.table}: {change.message}" for one in found.reports for change in one.held]
    held += [f"{one.table} {year}: {why}" for one in found.reports for year, why in one.held_partitions.items()]
    twice = [f"{one.one} and {one.other}: {one.reason}" for one in found.duplicates]
    remedies = {
        _DESCRIBED: (list(found.undescribed), "describe them in contract.yaml, or in a comment of curated.sql"),
        _APPROVED: (held, "run `city-platform catalog approve TABLE`, or make the old partitions again"),
        _UNIQUE: (twice, "make them one dataset, or say in the contracts how they differ"),
    }
    for name, (problems, remedy) in remedies.items():
        yield dg.AssetCheckResult(
            asset_key=TABLES,
            check_name=name,
            passed=not problems,
            severity=dg.AssetCheckSeverity.WARN,
            description=remedy if problems else None,
            metadata={
                "problems": dg.MetadataValue.int(len(problems)),
                "list": dg.MetadataValue.md(markdown_list(problems[:_SHOWN])),
            },
        )
