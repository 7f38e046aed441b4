"""Profile assets: what a partition's cleaned rows look like."""

from collections.abc import Mapping

import dagster as dg

from assets.graph import layer_spec, markdown_list, markdown_table, materialization, typed_failures
from city_platform.datasets import Dataset
from city_platform.layers import cleaned, profile
from city_platform.profiling.model import Profile
from city_platform.profiling.report import column_rows, overview
from resources.platform import PlatformResource


def profile_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """`[dataset, profile]`, beside the layers: it waits for no gate, and nothing waits for it."""
    spec = layer_spec(
        dataset,
        profile.LAYER,
        "statistics of the cleaned rows and of every column, as JSON and as a page.",
        kinds={"duckdb", "json"},
        deps=[cleaned.LAYER],
        columns=False,
    )

    @dg.multi_asset(name="__".join(spec.key.path), specs=[spec])
    def measure(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult[None]:
        adapters = platform.open()
        with typed_failures():
            manifest, found = profile.materialize(adapters, dataset, context.partition_key)
        return materialization(dataset, manifest, adapters.lake, _metadata(found))

    return measure


def _metadata(found: Profile) -> Mapping[str, dg.MetadataValue]:
    """The figures as numbers, so that Dagster plots them over time, and the whole as tables."""
    return {
        "valid cells %": dg.MetadataValue.float(found.valid_cells_percent),
        "valid rows %": dg.MetadataValue.float(found.valid_rows_percent),
        "missing cells": dg.MetadataValue.int(found.missing_cells),
        "invalid cells": dg.MetadataValue.int(found.invalid_cells),
        "duplicate rows": dg.MetadataValue.int(found.duplicate_rows),
        "overview": dg.MetadataValue.md(markdown_table([overview(found)])),
        "columns": dg.MetadataValue.md(markdown_table(column_rows(found))),
        "findings": dg.MetadataValue.md(markdown_list(found.findings)),
    }
