"""The catalog's tables as views in a DuckDB file, so that any DuckDB client reads the lake by name.

`curated.business_licences` is a view over the current files of that table, with the partition's year, day or hour as
a column. Personal columns
are left out wherever they are readable, and what is encrypted cannot be read without its keys, so a view is no shorter
way to them than the layers are. The file holds places and no data; who may not read the lake's files sees nothing.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlparse

import duckdb

from city_platform.catalog.crawler import misfit
from city_platform.catalog.describe import LAYERS
from city_platform.contracts.model import Classification
from city_platform.engines.dialect import DuckDBDialect
from city_platform.lake.lake import Lake
from city_platform.ports import Catalog, CatalogColumn, CatalogTable

KEY = "catalog/catalog.duckdb"
_READABLE = {
    "encrypted": {Classification.PUBLIC.value},
    "curated": {one.value for one in Classification},
}
_NOT_PERSONAL = {Classification.PUBLIC.value, Classification.INTERNAL.value}


def publish_views(catalog: Catalog, lake: Lake, folder: Path) -> Sequence[str]:
    """Writes the file beside the catalog and puts it in place of the old one at once; the names of its views.

    `folder` is for the unfinished file. A client that has the old file open goes on reading the old views.
    """
    file = folder / "catalog.duckdb"
    names = []
    with duckdb.connect() as connection:
        # The oldest storage there is: every client of the last years opens it.
        connection.execute(f"ATTACH {DuckDBDialect().text(str(file))} AS catalog (STORAGE_VERSION 'v1.0.0')")
        for table in catalog.tables():
            select = _select(lake, table)
            if select is not None:
                schema, name = DuckDBDialect().name(table.database), DuckDBDialect().name(table.name)
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS catalog.{schema}")
                connection.execute(f"CREATE VIEW catalog.{schema}.{name} AS {select}")
                for comment in _comments(table, f"catalog.{schema}.{name}"):
                    connection.execute(comment)
                names.append(f"{table.database}.{table.name}")
        connection.execute("DETACH catalog")
    lake.store.put_file(KEY, file)
    return names


def _select(lake: Lake, table: CatalogTable) -> str | None:
    """The table's readable columns and its partition key; None while no partition fits."""
    dialect = DuckDBDialect()
    (key,) = table.partition_keys
    selects = []
    pruned = lake.pruned(table.database, table.name)
    for partition in lake.partitions(table.database, table.name):
        manifest = lake.require(table.database, table.name, partition)
        files = [file for file in manifest.parts[LAYERS[table.database]] if file.key.endswith(".parquet")]
        if (partition, manifest.sequence) in pruned:
            continue  # its rows were let go of
        if files and not misfit(table, manifest):
            present = {name.casefold() for name, _ in manifest.schema}
            shown = [
                dialect.name(one.name) if one.name.casefold() in present else f"NULL AS {dialect.name(one.name)}"
                for one in _readable(table)
            ]
            listed = ", ".join(dialect.text(_place(lake.store.uri(file.key))) for file in files)
            rows = f"read_parquet([{listed}], hive_partitioning = false)"
            selects.append(f"SELECT {', '.join([*shown, dialect.text(partition)])} AS {key.name} FROM {rows}")
    return " UNION ALL ".join(selects) or None


def _readable(table: CatalogTable) -> Sequence[CatalogColumn]:
    allowed = _READABLE.get(table.database, _NOT_PERSONAL)
    return [column for column in table.columns if column.classification in allowed]


def _comments(table: CatalogTable, view: str) -> Iterator[str]:
    dialect = DuckDBDialect()
    yield f"COMMENT ON VIEW {view} IS {dialect.text(table.description)}"
    for column in _readable(table):
        yield f"COMMENT ON COLUMN {view}.{dialect.name(column.name)} IS {dialect.text(column.description)}"


def _place(uri: str) -> str:
    """What a DuckDB client on this machine opens: a path for files, the address for anything else."""
    parts = urlparse(uri)
    return unquote(parts.path) if parts.scheme == "file" else uri
