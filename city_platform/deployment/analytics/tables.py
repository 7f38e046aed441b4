"""Tables of the Glue data catalog, as the contracts and summaries declare them, before the first row is published.

A table here equals the one that the platform's own catalog registers after a run, so queries, grants and dashboards
can be made first. Two things differ. CloudFormation knows no parameters of columns, so their sources and
classifications come with the first refresh. And partitions are not projected: a partition's folder carries the version
that is published, which only the manifests know; the refresh registers it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from city_platform.aws.catalog import PREFIX, table_input
from city_platform.catalog.crawler import declared_table
from city_platform.catalog.describe import LAYERS, described_columns
from city_platform.contracts.curated import summary_columns
from city_platform.datasets import Dataset
from city_platform.deployment.cloudformation import Resource, imported, logical_name, ref, sub
from city_platform.lake.zones import Zone, zone_of
from city_platform.layers.quality_checked import REGISTER_SCHEMA
from city_platform.ports import CatalogTable
from city_platform.protection.masking import masked_type

# The exports of the foundation stack that name the zones' buckets.
BUCKETS: Mapping[Zone, str] = {zone: f"{zone.value.capitalize()}Bucket" for zone in Zone}


def database(layer: str) -> Resource:
    """The database of a layer, under the name that the catalog's adapter uses."""
    return Resource(
        logical_name(layer, "database"),
        "AWS::Glue::Database",
        {
            "CatalogId": ref("AWS::AccountId"),
            "DatabaseInput": {"Name": f"{PREFIX}{layer}", "Description": f"The {layer} layer of every dataset."},
        },
    )


def databases() -> list[Resource]:
    return [database(layer) for layer in LAYERS]


def table(dataset: Dataset, layer: str) -> Resource:
    given = table_input(catalog_table(dataset, layer, f"{layer}/{dataset.name}"))
    storage: Any = given["StorageDescriptor"]
    place = sub("s3://${Bucket}/" + storage["Location"], Bucket=imported(BUCKETS[zone_of(storage["Location"])]))
    return Resource(
        logical_name(layer, dataset.name),
        "AWS::Glue::Table",
        {
            "CatalogId": ref("AWS::AccountId"),
            "DatabaseName": ref(logical_name(layer, "database")),
            "TableInput": {
                **given,
                "StorageDescriptor": {**storage, "Location": place, "Columns": _columns(storage["Columns"])},
                "PartitionKeys": _columns(given["PartitionKeys"]),
            },
        },
    )


def _columns(columns: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [{name: text for name, text in one.items() if name != "Parameters"} for one in columns]


def catalog_table(dataset: Dataset, layer: str, location: str) -> CatalogTable:
    """The table as the platform's catalog would register it for a lake that holds nothing yet."""
    columns = described_columns(dataset, layer, list(layer_schema(dataset, layer).items()))
    return declared_table(dataset, layer, columns, location)


def layer_schema(dataset: Dataset, layer: str) -> Mapping[str, str]:
    """The columns of the layer's files with their types, in DuckDB's or Arrow's words."""
    own = {"_source": "INTEGER", "_row": "BIGINT"}
    columns = {column.name: column.sql_type for column in dataset.contract.columns}
    match layer:
        case "rejected":
            return {field.name: str(field.type) for field in REGISTER_SCHEMA}
        case "curated":
            masked = {column.name: masked_type(column) for column in dataset.contract.columns}
            return summary_columns(dataset.curated_sql, masked)
        case "cleaned":
            return {**columns, **own}
        case _:
            return columns
