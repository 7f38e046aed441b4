"""Old versions: what the lake lets go of."""

from collections.abc import Sequence

import dagster as dg

from assets.graph import lake_spec, markdown_list, markdown_table, typed_failures
from assets.jobs import UnresolvedAssetJobDefinition
from city_platform.datasets import Dataset
from city_platform.layers import old_versions, row_retention
from resources.platform import PlatformResource

_SHOWN = 50
KEY = dg.AssetKey(["lake", "old_versions"])


def old_versions_asset(datasets: Sequence[Dataset]) -> dg.AssetsDefinition:
    """`[lake, old_versions]`: one for the whole lake, without partitions; a run prunes it."""
    spec = lake_spec(
        datasets,
        "old_versions",
        "The earlier versions of everything in the lake. A run removes the files of those that nothing needs any more, "
        "as each contract says (`keepVersions`, `keepDays`), what killed runs left behind, and the rows of partitions "
        "whose time is over (`keepRowsDays`) and whose sums are proven.",
        classification="internal",
        cadence="daily",
    )

    @dg.multi_asset(name="__".join(KEY.path), specs=[spec])
    def prune(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult[None]:
        done = []
        with typed_failures():
            for one in old_versions.prune(platform.open(), datasets, account=f"run {context.run.run_id}"):
                done.append(one)
                context.log.info("%s: %d files, %d bytes", one.dataset, one.files, one.bytes)
            retired = list(row_retention.let_go(platform.open(), datasets, account=f"run {context.run.run_id}"))
        rows = [
            {
                "dataset": one.dataset,
                "bytes freed": one.bytes,
                "files": one.files,
                "of killed runs": one.left_behind,
                "versions": ", ".join(f"{layer} {count}" for layer, count in one.versions.items()),
            }
            for one in done
            if one.files
        ]
        return dg.MaterializeResult(
            asset_key=KEY,
            metadata={
                "bytes freed": dg.MetadataValue.int(sum(one.bytes for one in done)),
                "files removed": dg.MetadataValue.int(sum(one.files for one in done)),
                "versions pruned": dg.MetadataValue.int(sum(sum(one.versions.values()) for one in done)),
                "by dataset": dg.MetadataValue.md(markdown_table(rows)),
                "partitions whose rows went": dg.MetadataValue.int(sum(one.files > 0 for one in retired)),
                "bytes of these": dg.MetadataValue.int(sum(one.bytes for one in retired)),
                "rows kept over their time": dg.MetadataValue.md(
                    markdown_list(
                        [f"{one.dataset} {one.partition}: {one.kept_because}" for one in retired if one.kept_because][
                            :_SHOWN
                        ]
                    )
                ),
            },
        )

    return prune


def prune_job() -> UnresolvedAssetJobDefinition:
    """The lake, pruned."""
    return dg.define_asset_job(
        "prune_lake",
        selection=dg.AssetSelection.assets(KEY),
        description="Removes the files of old versions that nothing needs, and says how many bytes that freed.",
    )
