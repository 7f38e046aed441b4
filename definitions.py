"""The code location: puts together what stands below, and nothing else."""

import os
import warnings
from pathlib import Path

import dagster as dg

from assets.catalog import catalog_asset, catalog_job
from assets.cleaned import cleaned_asset
from assets.curated import curated_asset
from assets.encrypted import encrypted_asset
from assets.incidents import DATASET as INCIDENTS
from assets.incidents import analysis_job, incident_assets
from assets.jobs import governance_job, materialization_job, scorecard_job
from assets.landing import landing_job
from assets.old_versions import old_versions_asset, prune_job
from assets.profile import profile_asset
from assets.quality_checked import quality_checked_asset
from assets.questions import questions_asset, questions_job
from assets.raw import raw_asset
from assets.replica import replica_asset, replica_check, replica_jobs
from assets.scorecard import scorecard_asset
from assets.source import fetching_job, source_spec
from assets.traffic import DATASET as TRAFFIC
from assets.traffic import agreement_check, traffic_assets, traffic_jobs
from assets.traffic_hours import zone_hours_asset, zone_hours_job
from city_platform.datasets import load_datasets
from city_platform.deployment.replica import is_replicated
from resources.platform import PlatformResource
from resources.portal import PortalResource
from schedules.catalog import catalog_schedule
from schedules.clock import TIMEZONE
from schedules.governance import governance_schedule, questions_schedule, scorecard_schedule
from schedules.incidents import analysis_schedule
from schedules.ingestion import fetch_schedules, ingestion_schedule
from schedules.lake import prune_schedule, verify_schedule
from schedules.traffic import advice_schedule, correction_schedule
from schedules.traffic import analysis_schedule as traffic_analysis_schedule
from sensors.data_metrics import data_metrics_sensor
from sensors.drop_folder import drop_folder_sensor
from sensors.failures import failures_sensor
from sensors.incident_exports import export_sensor
from sensors.outdated import outdated_sensor
from sensors.portal import portal_sensor
from sensors.replica import replica_sensor
from sensors.run_metrics import run_metrics_sensor
from sensors.traffic_hours import traffic_hours_sensor

ROOT = Path(__file__).parent
FETCH = "CITY_PLATFORM_FETCH"

# Partitions on checks are a preview feature of Dagster's and it uses beta ones itself; the pinned version and our
# tests hold what we rely on, so nobody needs to be warned at every start.
for category in (dg.PreviewWarning, dg.BetaWarning):
    warnings.filterwarnings("ignore", category=category)


def build_definitions(
    home: Path, datasets_folder: Path = ROOT / "datasets", *, fetch: bool = False, replicated: bool = False
) -> dg.Definitions:
    """Everything Dagster knows, over the data below `home`. Opens nothing and reads no secret.

    With `fetch` the sensor and the schedules that ask the open data portal run from the start, with `replicated` those
    that look after the lake's copy; without, they wait until somebody switches them on.

    Raises InvalidDefinition with every mistake of every dataset's folder.
    """
    datasets = load_datasets(datasets_folder)
    drop = home / "drop"
    land, fetching = landing_job(datasets), fetching_job(datasets)
    materialize = [materialization_job(dataset) for dataset in datasets]
    govern = [governance_job(dataset) for dataset in datasets]
    score, catalog, prune = scorecard_job(), catalog_job(), prune_job()
    replicate, verify = replica_jobs()
    asking = [dataset for dataset in datasets if dataset.questions]
    answer = [questions_job(asking)] if asking else []
    incidents = [dataset for dataset in datasets if dataset.name == INCIDENTS]
    analyse = [analysis_job(dataset) for dataset in incidents]
    traffic = [
        (dataset, job, *traffic_jobs(dataset))
        for dataset, job in zip(datasets, materialize, strict=True)
        if dataset.name == TRAFFIC
    ]
    summing = [(dataset, zone_hours_job(dataset)) for dataset, *_ in traffic]
    layers = (raw_asset, cleaned_asset, profile_asset, quality_checked_asset, curated_asset, encrypted_asset)
    assets = [layer(dataset) for dataset in datasets for layer in layers]
    return dg.Definitions(
        assets=[
            *assets,
            *(source_spec(dataset) for dataset in datasets if dataset.sources),
            *map(questions_asset, asking),
            *(asset for dataset in incidents for asset in incident_assets(dataset)),
            *(asset for dataset, *_ in traffic for asset in traffic_assets(dataset)),
            *(zone_hours_asset(dataset) for dataset, *_ in traffic),
            scorecard_asset(datasets, TIMEZONE),
            catalog_asset(datasets),
            old_versions_asset(datasets),
            replica_asset(datasets),
        ],
        asset_checks=[*(agreement_check(dataset) for dataset, *_ in traffic), replica_check()],
        jobs=[
            land,
            fetching,
            *materialize,
            *govern,
            *answer,
            *analyse,
            *(job for _, _, *jobs in traffic for job in jobs),
            *(job for _, job in summing),
            score,
            catalog,
            prune,
            replicate,
            verify,
        ],
        sensors=[
            drop_folder_sensor(drop, datasets, land),
            outdated_sensor([dataset for dataset in datasets if not dataset.contract.exported], materialize),
            *(export_sensor(one, job) for one, job in zip(datasets, materialize, strict=True) if one.contract.exported),
            *(traffic_hours_sensor(*one) for one in summing),
            failures_sensor(datasets),
            run_metrics_sensor(),
            data_metrics_sensor(datasets),
            portal_sensor(datasets, fetching, running=fetch),
            replica_sensor(replicate, running=replicated),
        ],
        schedules=[
            ingestion_schedule(drop, datasets, land),
            *fetch_schedules(datasets, fetching, running=fetch),
            *map(governance_schedule, datasets, govern),
            *map(questions_schedule, answer),
            *map(analysis_schedule, analyse),
            *(correction_schedule(dataset, job) for dataset, job, _, _ in traffic),
            *(traffic_analysis_schedule(dataset, job) for dataset, _, job, _ in traffic),
            *(advice_schedule(dataset, job) for dataset, _, _, job in traffic),
            scorecard_schedule(score),
            catalog_schedule(catalog),
            prune_schedule(prune),
            verify_schedule(verify, running=replicated),
        ],
        resources={"platform": PlatformResource(home=str(home)), "portal": PortalResource()},
        executor=dg.in_process_executor,  # a run is its own process already; a process a step costs seconds
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads; the command line builds its own, over the home that it was given."""
    home = Path(os.environ.get("CITY_PLATFORM_HOME", ROOT / ".city-platform"))
    return build_definitions(home.absolute(), fetch=os.environ.get(FETCH) == "on", replicated=is_replicated())
