"""What datasets are fetched from: the portal as an asset that others change, and the job that fetches one source."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import dagster as dg

from assets.graph import asset_key, typed_failures
from city_platform.contracts.model import PortalSource
from city_platform.datasets import Dataset
from city_platform.errors import CityPlatformError
from city_platform.layers import fetching
from city_platform.layers.fetching import Observation
from city_platform.layers.platform import Platform
from city_platform.portal.client import PortalClient
from resources.platform import PlatformResource
from resources.portal import TICK_SECONDS, PortalResource

JOB, LAYER = "fetch", "source"


class OneSource(dg.Config):
    """Which source to fetch, by the contract's name for it."""

    dataset: str
    server: str


def source_spec(dataset: Dataset) -> dg.AssetSpec:
    """`[dataset, source]`: the portal's datasets, observed and never made here. Not partitioned."""
    contract = dataset.contract
    eras = "\n".join(f"- {one.server} ({one.cadence}): {one.location}" for one in contract.sources)
    return dg.AssetSpec(
        key=asset_key(dataset, LAYER),
        description=f"{contract.title}: what the open data portal publishes.\n\n{eras}",
        group_name=dataset.name,
        owners=[contract.owner],
        kinds={"csv"},
        tags={"layer": LAYER, "classification": "public", "cadence": contract.cadence, "domain": contract.domain},
        metadata={"licence": contract.licence, "source": dg.MetadataValue.url(contract.source_url)},
    )


def fetching_job(datasets: Sequence[Dataset]) -> dg.JobDefinition:
    """Fetches one source if it changed; the outdated-partitions sensor takes it from there."""
    known = {(dataset.name, source.server): (dataset, source) for dataset in datasets for source in dataset.sources}

    @dg.op
    def fetch_source(
        context: dg.OpExecutionContext, config: OneSource, platform: PlatformResource, portal: PortalResource
    ) -> None:
        adapters = platform.open()
        if (config.dataset, config.server) not in known:
            raise dg.Failure(f"the contract of {config.dataset} has no source {config.server!r}", allow_retries=False)
        dataset, source = known[config.dataset, config.server]
        with portal.patient(adapters.clock, context.log.info) as client, typed_failures():
            fetched = fetching.fetch(adapters, dataset, source, client)
        landing = fetched.landing
        context.add_output_metadata(
            {
                **told(fetched.observation),
                "outcome": "unchanged" if landing is None else "known bytes" if landing.known else "landed",
                "bytes": fetched.size,
                "sha256": landing.source.sha256 if landing else "nothing came",
                "partitions": ", ".join(landing.partitions) if landing else "none",
            }
        )

    @dg.job(name=JOB, description="Fetches one source from the portal.", executor_def=dg.in_process_executor)
    def job() -> None:
        fetch_source()

    return job


def request(dataset: Dataset, source: PortalSource, run_key: str) -> dg.RunRequest:
    """A run that fetches the source."""
    return dg.RunRequest(
        run_key=f"{dataset.name}/{source.server}/{run_key}",
        job_name=JOB,
        run_config={"ops": {"fetch_source": {"config": {"dataset": dataset.name, "server": source.server}}}},
        tags={"dataset": dataset.name},
    )


def observations(
    platform: Platform, client: PortalClient, sources: Sequence[tuple[Dataset, PortalSource]]
) -> Iterator[tuple[Dataset, PortalSource, Observation | CityPlatformError]]:
    """Asks about the sources one after the other, as many as there is time for in a tick."""
    until = platform.clock.now() + timedelta(seconds=TICK_SECONDS)
    for dataset, source in sources:
        if platform.clock.now() >= until:
            return
        try:
            yield dataset, source, fetching.observe(platform, dataset, source, client)
        except CityPlatformError as error:
            yield dataset, source, error


def told(seen: Observation) -> Mapping[str, str | int]:
    """An observation as metadata."""
    return {
        "portal dataset": seen.state.portal_id,
        "records": seen.state.records_count,
        "modified": seen.state.modified or "not said",
        "data processed": seen.state.data_processed or "not said",
    }


def digest(*texts: str) -> str:
    """Sixteen hexadecimal digits for what may be long."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
