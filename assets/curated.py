"""Curated assets: the published summaries."""

import dagster as dg

from assets.graph import layer_asset, layer_spec
from city_platform.datasets import Dataset
from city_platform.layers import curated, quality_checked
from city_platform.layers.trace import command as trace_command


def curated_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """`[dataset, curated]`."""
    description = "the published summary of trusted rows, personal columns masked, as Parquet and CSV."
    spec = layer_spec(
        dataset,
        curated.LAYER,
        description,
        kinds={"duckdb", "parquet", "csv"},
        deps=[quality_checked.LAYER],
        columns=False,
    )
    return layer_asset(
        dataset,
        spec,
        curated.materialize,
        lambda made: {"trace": dg.MetadataValue.text(trace_command(made.dataset, made.partition))},
    )
