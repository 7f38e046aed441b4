"""Quality-checked assets: passed and failed rows, the register of rejections, and one check a governance rule."""

from collections.abc import Iterator, Mapping

import dagster as dg

from assets.checks import check_results, check_specs, gate_metadata
from assets.graph import layer_spec, materialization, typed_failures
from city_platform.datasets import Dataset
from city_platform.lake.manifest import Manifest
from city_platform.layers import cleaned, gated, quality_checked
from city_platform.quality.references import Extent
from resources.openlineage import lineage_events
from resources.platform import PlatformResource


def quality_checked_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """`[dataset, quality_checked]` and `[dataset, rejected]`, made in one pass over the rows.

    The register is an output beside the layer and not behind it, so a closed gate never holds it back.
    """
    layer = layer_spec(
        dataset,
        quality_checked.LAYER,
        "rows split into passed and failed, with the verdict that opens the gate.",
        kinds={"duckdb", "parquet"},
        deps=[cleaned.LAYER],
    ).merge_attributes(deps=_references(dataset))
    register = layer_spec(
        dataset,
        quality_checked.REGISTER,
        "every row or value that was held back, with the reason and without the value.",
        kinds={"parquet"},
        deps=[cleaned.LAYER],
        columns=False,
    )

    @dg.multi_asset(
        name=f"{dataset.name}__{quality_checked.LAYER}",
        specs=[layer, register],
        check_specs=list(check_specs(dataset)),
    )
    def check(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        adapters = platform.open()
        with typed_failures(), lineage_events(context, adapters, dataset, quality_checked.LAYER) as report:
            checked, rejected = quality_checked.materialize(adapters, dataset, context.partition_key)
            verdict = quality_checked.verdict_of(checked)
            report([checked, rejected], verdict.results if verdict else ())
            standing = gated.gate(adapters, dataset, context.partition_key)
        shown = {**gate_metadata(dataset, standing), **_compared_with(checked)}
        yield materialization(dataset, checked, adapters.lake, shown, adapters.engines.take())
        yield materialization(dataset, rejected, adapters.lake)
        yield from check_results(dataset, checked, adapters.lake)

    return check


def _compared_with(checked: Manifest) -> Mapping[str, dg.MetadataValue]:
    """The versions of what the rules looked at besides the rows, where they looked at anything."""
    verdict = quality_checked.verdict_of(checked)
    return {"compared with": dg.MetadataValue.json(dict(verdict.rests_on))} if verdict and verdict.rests_on else {}


def _references(dataset: Dataset) -> list[dg.AssetDep]:
    """The other datasets that the rules compare with, so that the graph shows them.

    The sensor for outdated partitions runs what a changed reference makes outdated; nothing here starts a run.
    """
    extents: dict[str, set[Extent]] = {}
    for use in dataset.references:
        extents.setdefault(use.dataset, set()).add(use.extent)
    same_time = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
    return [
        dg.AssetDep(
            dg.AssetKey([name, quality_checked.LAYER]),
            partition_mapping=dg.AllPartitionMapping() if Extent.ALL in found else same_time,
        )
        for name, found in extents.items()
    ]
