"""Cleaned assets: typed rows after the dataset's recipe."""

import dagster as dg

from assets.graph import layer_asset, layer_spec
from city_platform.datasets import Dataset
from city_platform.layers import cleaned, raw


def cleaned_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """`[dataset, cleaned]`."""
    description = "typed rows after the recipe, one a key; what could not be typed is kept beside them."
    spec = layer_spec(dataset, cleaned.LAYER, description, kinds={"duckdb", "parquet"}, deps=[raw.LAYER])
    return layer_asset(dataset, spec, cleaned.materialize)
