"""The days of hourly sums by zone: made of corrected hours, and held to be what their windows add up to."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from assets.graph import analysis_spec, asset_key, daily, markdown_list, materialization, typed_failures
from assets.jobs import UnresolvedAssetJobDefinition
from city_platform.datasets import Dataset
from city_platform.deployment.traffic import open_registry, open_state
from city_platform.layers import curated, traffic_hours
from city_platform.layers.traffic_history import ZONE_HOURS, hours_of
from city_platform.traffic import free_flow
from city_platform.traffic.roads import generate_roads
from resources.platform import PlatformResource

EQUAL = "sums_equal_windows"
_SHOWN = 20


def zone_hours_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """`[traffic_readings, zone_hours]` by the day of UTC, and the check that its sums are those of the windows."""
    spec = analysis_spec(
        dataset,
        ZONE_HOURS,
        "each corrected hour as one row a zone: exact sums of its windows, coverage, index and the minutes at each "
        "level. What weeks and months of history are read from.",
        upstream=[curated.LAYER],
    ).replace_attributes(partitions_def=daily(dataset))
    check = dg.AssetCheckSpec(
        EQUAL,
        asset=spec.key,
        description="Every sum is that of the windows of the version it names, counted anew; none is left out.",
        partitions_def=daily(dataset),
    )

    @dg.multi_asset(name="__".join(spec.key.path), specs=[spec], check_specs=[check])
    def sums(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        adapters = platform.open()
        roads = generate_roads(open_registry())
        with typed_failures():
            speeds = free_flow.kept(open_state(Path(platform.home)), roads)
            manifest = traffic_hours.materialize(adapters, dataset, context.partition_key, roads, speeds)
            wrong = traffic_hours.differing(adapters, dataset, context.partition_key)
        yield materialization(dataset, manifest, adapters.lake)
        yield dg.AssetCheckResult(
            asset_key=spec.key,
            check_name=EQUAL,
            passed=not wrong,
            metadata={
                "hours": dg.MetadataValue.int(len(hours_of(manifest))),
                "differing": dg.MetadataValue.int(len(wrong)),
                "which": dg.MetadataValue.md(markdown_list([f"{zone} {hour}" for zone, hour in wrong][:_SHOWN])),
            },
        )

    return sums


def zone_hours_job(dataset: Dataset) -> UnresolvedAssetJobDefinition:
    """One day's sums."""
    return dg.define_asset_job(
        "sum_traffic_hours",
        selection=dg.AssetSelection.assets(asset_key(dataset, ZONE_HOURS)),
        description="Adds up the corrected windows of a day's hours, those that are new or were corrected again.",
    )
