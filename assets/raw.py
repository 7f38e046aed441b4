"""Raw assets: which landed sources make up a partition."""

from collections.abc import Mapping

import dagster as dg

from assets import source
from assets.graph import layer_asset, layer_spec, markdown_table
from city_platform.datasets import Dataset
from city_platform.lake.manifest import Manifest
from city_platform.layers import exported, raw

_TOLD = ("name", "url", "fetched_at", "landed_at", "sha256", "bytes", "rows_of_partition")


def raw_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """`[dataset, raw]`."""
    spec = layer_spec(
        dataset,
        raw.LAYER,
        "the source's bytes, untouched, and its rows as text.",
        kinds={"file"},
        deps=[source.LAYER] if dataset.sources else [exported.LAYER] if dataset.contract.exported else [],
        columns=False,
    )
    return layer_asset(dataset, spec, raw.materialize, _sources)


def _sources(manifest: Manifest) -> Mapping[str, dg.MetadataValue]:
    """Where each file came from, and when."""
    rows = [{name: one.get(name) for name in _TOLD} for one in manifest.details["sources"]]
    return {"sources": dg.MetadataValue.md(markdown_table(rows))}
