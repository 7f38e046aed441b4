"""Cleaned assets: typed rows after the dataset's recipe."""

from collections.abc import Mapping

import dagster as dg

from assets.graph import layer_asset, layer_spec, markdown_table
from city_platform.datasets import Dataset
from city_platform.lake.manifest import Manifest
from city_platform.layers import cleaned, raw
from city_platform.layers.changes import Changes


def cleaned_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """`[dataset, cleaned]`."""
    description = "typed rows after the recipe, one a key; what could not be typed is kept beside them."
    spec = layer_spec(dataset, cleaned.LAYER, description, kinds={"duckdb", "parquet"}, deps=[raw.LAYER])
    return layer_asset(dataset, spec, cleaned.materialize, _changes)


def _changes(manifest: Manifest) -> Mapping[str, dg.MetadataValue]:
    """How the rows differ from those of the version before; nothing where this is the first."""
    told = manifest.details["changes"]
    if told is None:
        return {}
    changes = Changes.from_json(told)
    columns = [{"column": name, "rows": count} for name, count in changes.columns.items()]
    return {
        "changes/since": dg.MetadataValue.text(changes.since),
        "changes/inserted": dg.MetadataValue.int(changes.inserted),
        "changes/updated": dg.MetadataValue.int(changes.updated),
        "changes/deleted": dg.MetadataValue.int(changes.deleted),
        "changes/updated columns": dg.MetadataValue.md(markdown_table(columns)),
    }
