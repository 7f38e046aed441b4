"""The copy of the lake in another place: kept by a run on this machine, by S3 on AWS, and verified on both."""

from collections.abc import Sequence

import dagster as dg

from assets.graph import lake_spec, markdown_list, markdown_table, typed_failures
from assets.jobs import UnresolvedAssetJobDefinition
from assets.old_versions import KEY as OLD_VERSIONS
from city_platform.datasets import Dataset
from city_platform.lake.replica import ALLOWED_LAG, Verdict, Verification
from resources.platform import PlatformResource

KEY = dg.AssetKey(["lake", "replica"])
CHECK = "agrees_with_the_lake"
REPLICATE, VERIFY = "replicate_lake", "verify_replica"
_SHOWN = 50


def replica_asset(datasets: Sequence[Dataset]) -> dg.AssetsDefinition:
    """`[lake, replica]`: one for the whole lake, without partitions; a run brings it up to date."""
    spec = lake_spec(
        datasets,
        "replica",
        "A copy of everything in the lake, in the folder that `CITY_PLATFORM_REPLICA` names. On AWS S3 "
        "copies the buckets into another region, and only the check is run.",
        classification="personal",
        cadence="continuous",
    ).merge_attributes(deps=[OLD_VERSIONS])

    @dg.multi_asset(name="__".join(KEY.path), specs=[spec])
    def replicate(platform: PlatformResource) -> dg.MaterializeResult[None]:
        with typed_failures():
            done = platform.replicator().replicate()
        if done.damaged:
            raise dg.Failure(
                description=f"{len(done.damaged)} files of the lake are not what their manifests say, and were not "
                "copied: `city-platform lake replica restore` brings back what is removed, make the others again",
                metadata={"damaged": dg.MetadataValue.md(markdown_list(done.damaged[:_SHOWN]))},
                allow_retries=False,
            )
        return dg.MaterializeResult(
            asset_key=KEY,
            metadata={
                "objects copied": dg.MetadataValue.int(done.copied),
                "bytes copied": dg.MetadataValue.int(done.bytes),
                "objects deleted": dg.MetadataValue.int(done.deleted),
                "waiting for the next run": dg.MetadataValue.int(len(done.held)),
            },
        )

    return replicate


def replica_check() -> dg.AssetChecksDefinition:
    """Whether the copy is what the lake is. It never blocks."""

    @dg.asset_check(
        asset=KEY,
        name=CHECK,
        description="Every object of the lake is in the copy, as large and as old, and nothing else; the bytes of a "
        f"few files are what their manifests say. A warning while it is behind by at most {ALLOWED_LAG}.",
    )
    def agrees_with_the_lake(platform: PlatformResource) -> dg.AssetCheckResult:
        with typed_failures():
            found = platform.replica().verify(platform.open().clock)
        broken = found.verdict is Verdict.BROKEN
        return dg.AssetCheckResult(
            passed=found.verdict is Verdict.AGREES,
            severity=dg.AssetCheckSeverity.ERROR if broken else dg.AssetCheckSeverity.WARN,
            description=_said(found),
            metadata={
                "objects": dg.MetadataValue.int(found.compared.objects),
                **{kind: dg.MetadataValue.int(count) for kind, count in found.counts.items()},
                "files read": dg.MetadataValue.int(found.sampled.files),
                "damaged": dg.MetadataValue.md(markdown_list(found.sampled.damaged[:_SHOWN])),
                "overdue": dg.MetadataValue.md(
                    markdown_list([f"{one.kind}: {one.key}" for one in found.overdue][:_SHOWN])
                ),
                "behind": dg.MetadataValue.md(_behind(found)),
            },
        )

    return agrees_with_the_lake


def replica_jobs() -> tuple[UnresolvedAssetJobDefinition, UnresolvedAssetJobDefinition]:
    """The copy brought up to date and verified, and only verified."""
    return (
        dg.define_asset_job(
            REPLICATE,
            selection=dg.AssetSelection.assets(KEY),
            description="Brings the copy of the lake up to date, and verifies it.",
        ),
        dg.define_asset_job(
            VERIFY,
            selection=dg.AssetSelection.checks_for_assets(KEY),
            description="Compares the lake with its copy.",
        ),
    )


def _said(found: Verification) -> str:
    match found.verdict:
        case Verdict.AGREES:
            return "The copy is what the lake is."
        case Verdict.BEHIND:
            return f"{len(found.compared.differences)} objects are on their way."
        case _:
            return (
                f"{len(found.overdue)} objects are missing, different or too much for longer than allowed, and "
                f"{len(found.sampled.damaged)} of the files read are damaged: `city-platform lake replica verify`"
            )


def _behind(found: Verification) -> str:
    return markdown_table(
        [
            {"zone": zone.value, "objects": one.objects, "bytes": one.bytes, "seconds": round(one.age.total_seconds())}
            for zone, one in found.lags.items()
        ]
    )
