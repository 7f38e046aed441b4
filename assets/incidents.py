"""Incidents beyond the layers: where their changes come from, and what is found in all of them together."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg

from assets.graph import (
    analysis_spec,
    asset_key,
    exports_spec,
    external_spec,
    markdown_list,
    markdown_table,
    materialization,
    typed_failures,
)
from assets.jobs import UnresolvedAssetJobDefinition
from city_platform.datasets import Dataset
from city_platform.deployment.incidents import open_reference
from city_platform.incidents.statistics import as_row
from city_platform.layers import incident_analysis, quality_checked, questions
from resources.platform import PlatformResource

DATASET, STORE = "incidents", "store"
_USUAL = "counts_are_usual"
_RECENT = timedelta(days=7)
_SHOWN = 50


def incident_assets(dataset: Dataset) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Everything of the dataset that is no layer."""
    exports = exports_spec(
        dataset,
        STORE,
        "every change as CSV and Parquet, by day, with a manifest.",
        kinds={"parquet", "csv"},
        classification="personal",
    )
    return [store_spec(dataset), exports, statistics_asset(dataset), anomalies_asset(dataset)]


def store_spec(dataset: Dataset) -> dg.AssetSpec:
    """`[incidents, store]`: the table of incidents, written by the API and never here."""
    return external_spec(
        dataset,
        STORE,
        "every incident with its newest state, as the API writes it; its changes are streamed into exports.",
        kinds={"sqlite", "dynamodb"},
        classification="personal",
    )


def statistics_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """`[incidents, statistics]`: one for all days."""
    spec = analysis_spec(
        dataset,
        incident_analysis.STATISTICS,
        "how incidents end: closed, fixed, reopened, and how soon.",
        upstream=[quality_checked.LAYER],
    )

    @dg.multi_asset(name="__".join(spec.key.path), specs=[spec])
    def statistics(platform: PlatformResource) -> dg.MaterializeResult[None]:
        adapters = platform.open()
        with typed_failures():
            manifest, found = incident_analysis.statistics(adapters, dataset)
        tables = {by: dg.MetadataValue.md(markdown_table([as_row(one) for one in rows])) for by, rows in found.items()}
        return materialization(dataset, manifest, adapters.lake, tables)

    return statistics


def anomalies_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """`[incidents, anomalies]`, and a check that warns of what was unusual in the last week. It never blocks."""
    spec = analysis_spec(
        dataset,
        incident_analysis.ANOMALIES,
        "districts with unusually many or few reports of a category, against what such a day usually brings.",
        upstream=[quality_checked.LAYER],
    )
    check = dg.AssetCheckSpec(_USUAL, asset=spec.key, description="No district had unusual counts in the last week.")

    @dg.multi_asset(name="__".join(spec.key.path), specs=[spec], check_specs=[check])
    def anomalies(platform: PlatformResource) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        adapters = platform.open()
        with typed_failures():
            manifest, judged = incident_analysis.anomalies(adapters, dataset, open_reference().city.timezone)
        unusual = [one.explanation for one in judged if one.unusual]
        newest = max((one.day for one in judged), default=None)
        recent = [one.explanation for one in judged if newest and one.unusual and newest - one.day < _RECENT]
        yield materialization(
            dataset,
            manifest,
            adapters.lake,
            {"unusual": dg.MetadataValue.md(markdown_list(unusual[-_SHOWN:]))},
        )
        yield dg.AssetCheckResult(
            asset_key=spec.key,
            check_name=_USUAL,
            passed=not recent,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "judged": dg.MetadataValue.int(len(judged)),
                "unusual in the last week": dg.MetadataValue.int(len(recent)),
                "list": dg.MetadataValue.md(markdown_list(recent[-_SHOWN:])),
            },
        )

    return anomalies


def analysis_job(dataset: Dataset) -> UnresolvedAssetJobDefinition:
    """What is made of all days together, made again."""
    names = (questions.LAYER, incident_analysis.STATISTICS, incident_analysis.ANOMALIES)
    return dg.define_asset_job(
        "analyse_incidents",
        selection=dg.AssetSelection.assets(*(asset_key(dataset, name) for name in names)),
        description="Counts, how incidents end and what was unusual, from the trusted changes of all days.",
    )
