"""Reacts to exports: a new manifest of a day makes the layers of that day again, however old the day is.

A dataset that is exported as it comes has more partitions than a tick can look at. So a tick looks at the newest ones,
where nearly everything happens, and at some of the older ones, from the newest to the oldest and round again: what
came late, or while nothing ran, is found wherever it is. The cursor is one partition, the next of those; without it
the round only begins anew.
"""

from collections.abc import Iterator, Sequence

import dagster as dg

from assets.behind import in_work, requests_for
from assets.graph import asset_key, partitions
from assets.jobs import UnresolvedAssetJobDefinition
from city_platform.contracts.partitions import Granularity
from city_platform.datasets import Dataset
from city_platform.layers import exported
from city_platform.layers.platform import Platform
from resources.platform import PlatformResource
from sensors.outdated import REQUESTS_A_TICK

INTERVAL_SECONDS = 30
NEWEST = {Granularity.YEAR: 2, Granularity.DAY: 7, Granularity.HOUR: 48}  # looked at in every tick
OLDER_A_TICK = 120


def requests(
    platform: Platform, dataset: Dataset, instance: dg.DagsterInstance, cursor: str | None
) -> tuple[Sequence[dg.RunRequest], str | None]:
    """At most `REQUESTS_A_TICK` runs, the newest partition first, and the cursor for the next tick."""
    busy = in_work(dataset, instance)
    known = partitions(dataset).get_partition_keys(platform.clock.now())[::-1]
    newest = known[: NEWEST[dataset.contract.partitioning.granularity]]
    older = known[len(newest) :]
    first = next((place for place, one in enumerate(older) if cursor and one <= cursor), 0)
    turn = older[first : first + OLDER_A_TICK]
    looked_at: list[str] = []

    def in_order() -> Iterator[str]:
        for one in (*newest, *turn):
            looked_at.append(one)
            if exported.due(platform.lake, dataset, one, platform.clock.now()):
                yield one

    found = requests_for(platform, dataset, in_order(), busy, instance)
    wanted = [request for _, request in zip(range(REQUESTS_A_TICK), found, strict=False)]
    rest = older[first + max(0, len(looked_at) - len(newest)) :]
    return wanted, rest[0] if rest else None


def export_sensor(dataset: Dataset, job: UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    """Requests the partitions that exports made outdated, and notes which export it was."""

    @dg.sensor(
        name=f"{dataset.name}_exports",
        job=job,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Runs the layers of every {dataset.contract.partitioning.granularity} of which a new export, "
        "recipe, rules, summary or contract is there.",
    )
    def exports(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.SensorResult:
        adapters = platform.survey()
        wanted, cursor = requests(adapters, dataset, context.instance, context.cursor)
        return dg.SensorResult(
            run_requests=list(wanted) or None,
            skip_reason=None if wanted else "every export is in the lake, in work, or waits for other data or rules",
            cursor=cursor or "",
            asset_events=[_seen(adapters, dataset, str(request.partition_key)) for request in wanted],
        )

    return exports


def _seen(platform: Platform, dataset: Dataset, partition: str) -> dg.AssetObservation:
    manifest = platform.lake.require(exported.LAYER, dataset.name, partition)
    return dg.AssetObservation(
        asset_key=asset_key(dataset, exported.LAYER),
        partition=partition,
        description=f"export {manifest.sequence} of {partition}",
        metadata={
            "rows": manifest.counts["rows"],
            "rows added": manifest.counts.get("added", manifest.counts["rows"]),
            "published": dg.MetadataValue.timestamp(manifest.published_at),
            "sha256": manifest.sha256,
        },
        tags={"dagster/data_version": manifest.version},
    )
