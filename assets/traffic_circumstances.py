"""Where traffic meets the city's other data: each hour's circumstances, and what explains four weeks of them."""

from collections.abc import Iterator, Sequence

import dagster as dg

from assets.graph import (
    analysis_spec,
    asset_key,
    markdown_list,
    markdown_table,
    materialization,
    partitions,
    typed_failures,
)
from city_platform.crossing.coincidence import BAD, BEYOND, Lift
from city_platform.datasets import Dataset
from city_platform.deployment.crossing import open_rules
from city_platform.deployment.incidents import open_reference
from city_platform.deployment.traffic import open_registry
from city_platform.layers import curated, quality_checked, traffic_analysis
from city_platform.layers import traffic_circumstances as layer
from city_platform.traffic.roads import generate_roads
from resources.platform import PlatformResource

ALL_LOOKED_AT = "all_sources_were_looked_at"
_SHOWN = 20


def circumstances_asset(dataset: Dataset, datasets: Sequence[Dataset]) -> dg.AssetsDefinition:
    """`[traffic_readings, circumstances]`, an hour a partition; a check warns where a source could not be looked at."""
    sources = [one for one in datasets if one.name in layer.SOURCES]
    spec = analysis_spec(
        dataset,
        layer.CIRCUMSTANCES,
        f"each zone's congestion in an hour, beside the open reports and the building permits within {layer.NEAR_M} m.",
        upstream=[curated.LAYER],
    )
    spec = spec.replace_attributes(
        deps=[
            *spec.deps,
            asset_key(dataset, traffic_analysis.FREE_FLOW),
            *(asset_key(one, quality_checked.LAYER) for one in sources),
        ],
        partitions_def=partitions(dataset),
    )
    check = dg.AssetCheckSpec(
        ALL_LOOKED_AT,
        asset=spec.key,
        description="Incidents and building permits had trusted rows to look at, so `nothing known` means nothing.",
    )

    @dg.multi_asset(name="__".join(spec.key.path), specs=[spec], check_specs=[check])
    def circumstances(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        adapters, reference = platform.open(), open_reference()
        with typed_failures():
            lasting, roads = open_rules(reference).explains, generate_roads(open_registry())
            manifest = layer.circumstances(adapters, dataset, context.partition_key, roads, sources, lasting)
        yield materialization(dataset, manifest, adapters.lake)
        missing = manifest.details["not looked at"]
        yield dg.AssetCheckResult(
            asset_key=spec.key,
            check_name=ALL_LOOKED_AT,
            passed=not missing,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "zones": dg.MetadataValue.int(manifest.counts["zones"]),
                "candidates": dg.MetadataValue.int(manifest.counts["candidates"]),
                "not looked at": dg.MetadataValue.md(markdown_list([f"{one}: {why}" for one, why in missing.items()])),
            },
        )

    return circumstances


def explanations_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """`[traffic_readings, explanations]`: candidates, never causes."""
    spec = analysis_spec(
        dataset,
        layer.EXPLANATIONS,
        f"what was known where an hour's index was {BAD:.0f} or more, and {BEYOND:.0f} above what the hour usually "
        "brings: candidates, which need not be why, and how much oftener such hours are with them near.",
        upstream=[layer.CIRCUMSTANCES],
    )

    @dg.multi_asset(name="__".join(spec.key.path), specs=[spec])
    def explanations(platform: PlatformResource) -> dg.MaterializeResult[None]:
        adapters = platform.open()
        with typed_failures():
            manifest, found, lifted = layer.explanations(adapters, dataset, open_reference().city.timezone)
        return materialization(
            dataset,
            manifest,
            adapters.lake,
            {
                "hours": dg.MetadataValue.int(manifest.counts["hours"]),
                "unusual hours": dg.MetadataValue.md(markdown_list([one.text for one in found[:_SHOWN]])),
                "how much oftener": dg.MetadataValue.md(markdown_table([_row(one) for one in lifted])),
            },
        )

    return explanations


def _row(one: Lift) -> dict[str, object]:
    carried = one.ratio is not None
    return {
        "candidate": one.kind,
        "hours with it": one.hours,
        "unusual": one.unusual,
        "hours without": one.hours_without,
        "unusual without": one.unusual_without,
        "times as often": f"{one.ratio:.1f} ({one.low:.1f} to {one.high:.1f})" if carried else "too few to say",
    }
