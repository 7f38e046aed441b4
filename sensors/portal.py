"""Watches the open data portal: what it says of every source, observed; what changed, fetched."""

import json
from collections.abc import Sequence

import dagster as dg

from assets.graph import asset_key
from assets.source import LAYER, digest, observations, request, told
from city_platform.contracts.model import PortalSource
from city_platform.datasets import Dataset
from city_platform.errors import CityPlatformError
from city_platform.layers.platform import Platform
from city_platform.portal.client import PortalClient
from resources.platform import PlatformResource
from resources.portal import PortalResource

INTERVAL_SECONDS = 3600
Sources = Sequence[tuple[Dataset, PortalSource]]


def observe(
    platform: Platform, client: PortalClient, sources: Sources, context: dg.SensorEvaluationContext
) -> dg.SensorResult:
    """One tick. Where its time was over last time, it goes on.

    The cursor holds the last seen version of every source of today's contracts, as a digest, and the source to begin
    with. An observation is recorded where something changed since; a run is requested once for each version that the
    lake does not have. What cannot be asked is logged; if nothing can, the tick fails.
    """
    names = [f"{dataset.name}/{source.server}" for dataset, source in sources]
    seen, first = _read(context.cursor, names)
    turn = [*sources[first:], *sources[:first]]
    before, asked = dict(seen), 0
    failures: list[CityPlatformError] = []
    requests: list[dg.RunRequest] = []
    notes: dict[str, list[dict[str, str | int]]] = {}
    for dataset, source, found in observations(platform, client, turn):
        asked += 1
        if isinstance(found, CityPlatformError):
            failures.append(found)
            context.log.warning("%s, %s: %s", dataset.name, source.server, found)
            continue
        version = digest(found.state.version)
        seen[f"{dataset.name}/{source.server}"] = version
        notes.setdefault(dataset.name, []).append({"source": source.server, **told(found)})
        if not found.landed:
            requests.append(request(dataset, source, version))
    if failures and len(failures) == asked:
        raise failures[0]
    changed = {name.split("/")[0] for name in names if seen.get(name) != before.get(name)}
    return dg.SensorResult(
        run_requests=requests,
        cursor=json.dumps({"first": names[(first + asked) % len(names)], "seen": seen}),
        asset_events=[
            _observation(dataset, notes[name], [seen.get(f"{name}/{source.server}", "") for source in dataset.sources])
            for name, dataset in {dataset.name: dataset for dataset, _ in sources}.items()
            if name in changed
        ],
    )


def portal_sensor(datasets: Sequence[Dataset], job: dg.JobDefinition, *, running: bool) -> dg.SensorDefinition:
    """Asks every hour; stopped unless the deployment fetches by itself."""
    sources = [(dataset, source) for dataset in datasets for source in dataset.sources]

    @dg.sensor(
        name="portal",
        job=job,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        description="Observes the sources on the open data portal and fetches those that changed.",
    )
    def portal(
        context: dg.SensorEvaluationContext, platform: PlatformResource, portal: PortalResource
    ) -> dg.SensorResult | dg.SkipReason:
        if not sources:
            return dg.SkipReason("no contract names a source on a portal")
        adapters = platform.open()
        with portal.hasty(adapters.clock) as client:
            return observe(adapters, client, sources, context)

    return portal


def _read(cursor: str | None, names: Sequence[str]) -> tuple[dict[str, str], int]:
    """What was seen of the sources there are today, and the place to begin at."""
    body = json.loads(cursor) if cursor else {}
    seen = {name: version for name, version in body.get("seen", {}).items() if name in names}
    return seen, names.index(body["first"]) if body.get("first") in names else 0


def _observation(
    dataset: Dataset, notes: Sequence[dict[str, str | int]], versions: Sequence[str]
) -> dg.AssetObservation:
    return dg.AssetObservation(
        asset_key=asset_key(dataset, LAYER),
        description=f"{dataset.contract.title}: the portal changed",
        metadata={str(note["source"]): dg.MetadataValue.json(note) for note in notes},
        tags={"dagster/data_version": digest(*versions)},
    )
