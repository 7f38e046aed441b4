"""Raw assets: which landed sources make up a year."""

import dagster as dg

from assets.graph import layer_asset, layer_spec
from city_platform.datasets import Dataset
from city_platform.layers import raw


def raw_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """`[dataset, raw]`."""
    description = "the source's bytes, untouched, and its rows as text."
    return layer_asset(
        dataset, layer_spec(dataset, raw.LAYER, description, kinds={"file"}, columns=False), raw.materialize
    )
