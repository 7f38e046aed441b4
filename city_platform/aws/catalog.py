"""The catalog in AWS Glue: databases, tables with their versions, partitions. What Athena, Spectrum and Spark read.

Glue's own version numbers start anywhere and count every update, so ours stands in the table's parameters. Glue cuts a
column's comment at 255 characters; the whole description stands in the column's parameters.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from city_platform.ports import (
    CatalogChanged,
    CatalogColumn,
    CatalogPartition,
    CatalogRefused,
    CatalogTable,
    CatalogUnavailable,
)

if TYPE_CHECKING:
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_glue.type_defs import ColumnTypeDef, StorageDescriptorTypeDef, TableInputTypeDef

PREFIX = "city_"  # databases are called city_curated, city_cleaned, ...
_COMMENT, _DESCRIPTION = 255, 2048  # characters, the limits of Glue's API
_VERSION, _CHANGES, _OWNER = "schema_version", "schema_changes", "owner"
_OURS = {_VERSION, _CHANGES, _OWNER, "EXTERNAL", "description"}
_BUSY = {
    "ThrottlingException",
    "OperationTimeoutException",
    "InternalServiceException",
    "ConcurrentRunsExceededException",
}
_MISSING, _EXISTS = "EntityNotFoundException", "AlreadyExistsException"
_SERVER_ERROR = 500
_FORMAT: "StorageDescriptorTypeDef" = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
}


def glue_client(region: str | None = None, endpoint_url: str | None = None) -> "GlueClient":
    """A Glue client whose calls end: 3 s to connect, 10 s to answer, at most five attempts with adaptive pauses."""
    settings = Config(connect_timeout=3, read_timeout=10, retries={"mode": "adaptive", "total_max_attempts": 5})
    return boto3.client("glue", region_name=region, endpoint_url=endpoint_url, config=settings)


class GlueCatalog:
    """A Catalog in the account's Glue data catalog, in the databases whose names begin with `prefix`."""

    def __init__(self, connect: Callable[[], "GlueClient"] = glue_client, prefix: str = PREFIX) -> None:
        """`connect` is called once, at the first use."""
        self._connect = connect
        self._prefix = prefix

    def tables(self) -> Sequence[CatalogTable]:
        found = []
        with _typed("the catalog"):
            for page in self._glue.get_paginator("get_databases").paginate():
                for database in page["DatabaseList"]:
                    if database["Name"].startswith(self._prefix):
                        tables = self._glue.get_paginator("get_tables").paginate(DatabaseName=database["Name"])
                        found += [self._table(table) for answer in tables for table in answer["TableList"]]
        return sorted(found, key=lambda table: (table.database, table.name))

    def versions(self, database: str, name: str) -> Sequence[CatalogTable]:
        with _typed(f"{database}.{name}"):
            pages = self._glue.get_paginator("get_table_versions").paginate(
                DatabaseName=self._prefix + database, TableName=name
            )
            try:
                found = [one for page in pages for one in page["TableVersions"]]
            except ClientError as error:
                if _code(error) == _MISSING:
                    return []
                raise
        versions: list[CatalogTable] = []
        for one in sorted(found, key=lambda one: int(one["VersionId"])):
            table = self._table(one["Table"])
            if versions and table.version <= versions[-1].version:
                # Another tool updated the table, such as the stack that declares it: what it left is the newest.
                newest = versions.pop()
                table = replace(table, version=newest.version, changes=newest.changes)
            versions.append(replace(table, version=max(table.version, 1)))
        return versions

    def save(self, table: CatalogTable) -> None:
        known = self.versions(table.database, table.name)
        name = f"{table.database}.{table.name}"
        if table.version != len(known) + 1:
            raise CatalogChanged(f"{name} is at version {len(known)}: {table.version} cannot follow")
        database = self._prefix + table.database
        with _typed(name):
            if known:
                current = self._glue.get_table(DatabaseName=database, Name=table.name)["Table"]
                self._glue.update_table(
                    DatabaseName=database, TableInput=table_input(table), VersionId=current.get("VersionId", "")
                )
                return
            try:
                self._glue.create_database(DatabaseInput={"Name": database, "Description": "Made by city_platform"})
            except ClientError as error:
                if _code(error) != _EXISTS:
                    raise
            try:
                self._glue.create_table(DatabaseName=database, TableInput=table_input(table))
            except ClientError as error:
                if _code(error) == _EXISTS:
                    raise CatalogChanged(f"{name} got a version {table.version} meanwhile") from error
                raise

    def partitions(self, database: str, name: str) -> Sequence[CatalogPartition]:
        with _typed(f"{database}.{name}"):
            pages = self._glue.get_paginator("get_partitions").paginate(
                DatabaseName=self._prefix + database, TableName=name
            )
            try:
                found = [one for page in pages for one in page["Partitions"]]
            except ClientError as error:
                if _code(error) == _MISSING:
                    return []
                raise
        read = [
            CatalogPartition(one["Values"][0], one["StorageDescriptor"]["Location"], dict(one.get("Parameters", {})))
            for one in found
        ]
        return sorted(read, key=lambda partition: partition.value)

    def save_partition(self, database: str, name: str, partition: CatalogPartition) -> None:
        where: dict[str, str] = {"DatabaseName": self._prefix + database, "TableName": name}
        with _typed(f"{database}.{name} {partition.value}"):
            table = self._glue.get_table(DatabaseName=self._prefix + database, Name=name)["Table"]
            given: Any = {
                "Values": [partition.value],
                "StorageDescriptor": {**table["StorageDescriptor"], "Location": partition.location},
                "Parameters": dict(partition.parameters),
            }
            try:
                self._glue.create_partition(**where, PartitionInput=given)
            except ClientError as error:
                if _code(error) != _EXISTS:
                    raise
                self._glue.update_partition(**where, PartitionValueList=[partition.value], PartitionInput=given)

    def _table(self, found: Any) -> CatalogTable:
        parameters = found.get("Parameters", {})
        return CatalogTable(
            database=found["DatabaseName"].removeprefix(self._prefix),
            name=found["Name"],
            version=int(parameters.get(_VERSION, 0)),
            description=parameters.get("description", found.get("Description", "")),
            owner=parameters.get(_OWNER, ""),
            location=found["StorageDescriptor"].get("Location", ""),
            columns=tuple(map(_column, found["StorageDescriptor"]["Columns"])),
            partition_keys=tuple(map(_column, found.get("PartitionKeys", []))),
            parameters={name: text for name, text in parameters.items() if name not in _OURS},
            changes=tuple(json.loads(parameters.get(_CHANGES, "[]"))),
        )

    @cached_property
    def _glue(self) -> "GlueClient":
        return self._connect()


def table_input(table: CatalogTable) -> "TableInputTypeDef":
    """A table as Glue takes it: Parquet, external, columns in small letters."""
    return {
        "Name": table.name,
        "Description": table.description[:_DESCRIPTION],
        "TableType": "EXTERNAL_TABLE",
        "StorageDescriptor": {**_FORMAT, "Location": table.location, "Columns": list(map(_glue_column, table.columns))},
        "PartitionKeys": list(map(_glue_column, table.partition_keys)),
        "Parameters": {
            **table.parameters,
            "EXTERNAL": "TRUE",
            "description": table.description,
            _OWNER: table.owner,
            _VERSION: str(table.version),
            _CHANGES: json.dumps(table.changes, ensure_ascii=False),
        },
    }


def _glue_column(column: CatalogColumn) -> "ColumnTypeDef":
    return {
        "Name": column.name.lower(),  # Glue and Athena know no capitals; Parquet columns are found regardless of case
        "Type": column.type,
        "Comment": column.description[:_COMMENT],
        "Parameters": {
            "name": column.name,
            "description": column.description,
            "source": column.source,
            "classification": column.classification,
        },
    }


def _column(found: Any) -> CatalogColumn:
    parameters: Mapping[str, str] = found.get("Parameters", {})
    return CatalogColumn(
        name=parameters.get("name", found["Name"]),
        type=found.get("Type", ""),
        description=parameters.get("description", found.get("Comment", "")),
        source=parameters.get("source", ""),
        classification=parameters.get("classification", ""),
    )


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


@contextmanager
def _typed(what: str) -> Iterator[None]:
    """Turns botocore's errors into the port's."""
    try:
        yield
    except ClientError as error:
        code = _code(error)
        if code in {"ConcurrentModificationException", "VersionMismatchException"}:
            raise CatalogChanged(f"{what} was changed meanwhile: run again") from error
        busy = code in _BUSY or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= _SERVER_ERROR
        raise (CatalogUnavailable if busy else CatalogRefused)(f"AWS Glue refused {what}: {code}") from error
    except BotoCoreError as error:
        raise CatalogUnavailable(f"AWS Glue did not answer for {what}: {type(error).__name__}") from error
