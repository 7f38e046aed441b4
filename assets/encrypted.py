"""Encrypted assets: the trusted rows for those entitled."""

from collections.abc import Mapping

import dagster as dg

from assets.graph import layer_asset, layer_spec
from city_platform.datasets import Dataset
from city_platform.lake.manifest import Manifest
from city_platform.layers import encrypted, quality_checked


def encrypted_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """`[dataset, encrypted]`."""
    description = "trusted rows, internal and personal columns each encrypted under a key of their own."
    spec = layer_spec(dataset, encrypted.LAYER, description, kinds={"parquet"}, deps=[quality_checked.LAYER])
    return layer_asset(dataset, spec, encrypted.materialize, _key_ids)


def _key_ids(manifest: Manifest) -> Mapping[str, dg.MetadataValue]:
    return {name: dg.MetadataValue.text(one) for name, one in encrypted.key_ids(manifest).items()}
