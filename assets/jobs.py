"""The jobs over a dataset's assets: make a partition, or only judge it again."""

from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,  # what the public define_asset_job returns has no public name
)

from assets.graph import asset_key
from assets.scorecard import KEY as SCORECARD
from city_platform.datasets import Dataset
from city_platform.layers import (
    cleaned,
    incident_analysis,
    profile,
    quality_checked,
    questions,
    traffic_advice,
    traffic_analysis,
)
from city_platform.layers.traffic_history import ZONE_HOURS

__all__ = [
    "UnresolvedAssetJobDefinition",
    "governance_job",
    "layer_selection",
    "materialization_job",
    "materialization_job_name",
    "scorecard_job",
]


_OF_OTHERS = (  # not of one partition of the dataset
    *(questions.LAYER, incident_analysis.STATISTICS, incident_analysis.ANOMALIES),
    *(traffic_analysis.FREE_FLOW, traffic_analysis.ANOMALIES, traffic_analysis.FORECAST, traffic_advice.LAYER),
    ZONE_HOURS,  # of a day
)


def materialization_job_name(dataset: str) -> str:
    return f"materialize_{dataset}"


def materialization_job(dataset: Dataset) -> UnresolvedAssetJobDefinition:
    """All layers of one partition of the dataset."""
    layers: dg.AssetSelection = dg.AssetSelection.groups(dataset.name)
    for name in _OF_OTHERS:
        layers -= dg.AssetSelection.tag("layer", name)
    return dg.define_asset_job(
        materialization_job_name(dataset.name),
        selection=layers,
        description=f"{dataset.contract.title}: every layer of one {dataset.contract.partitioning.granularity}.",
    )


def layer_selection(dataset: str, layers: Sequence[str]) -> list[dg.AssetKey]:
    """The assets of these layers, with those that are made beside a layer from the same rows."""
    beside = {cleaned.LAYER: profile.LAYER, quality_checked.LAYER: quality_checked.REGISTER}
    return [dg.AssetKey([dataset, name]) for name in [*layers, *(beside[one] for one in layers if one in beside)]]


def governance_job(dataset: Dataset) -> UnresolvedAssetJobDefinition:
    """The rules of one partition, evaluated again on the data that is there."""
    keys: Sequence[dg.AssetKey] = [
        asset_key(dataset, layer) for layer in (quality_checked.LAYER, quality_checked.REGISTER)
    ]
    return dg.define_asset_job(
        f"govern_{dataset.name}",
        selection=dg.AssetSelection.assets(*keys),
        description=f"{dataset.contract.title}: every governance rule of one "
        f"{dataset.contract.partitioning.granularity}, evaluated again.",
    )


def scorecard_job() -> UnresolvedAssetJobDefinition:
    """The scorecard of all datasets."""
    return dg.define_asset_job(
        "scorecard",
        selection=dg.AssetSelection.assets(SCORECARD),
        description="Scores every dataset and partition from their evaluations.",
    )
