"""The catalog as objects of the lake, so that it is as durable as what it describes.

Layout of keys:
    catalog/tables/{database}/{table}/{version:06d}.json   one version of a schema each, created and never replaced
    catalog/partitions/{database}/{table}/{value}.json     the partition as it stands
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from city_platform.ports import (
    CatalogChanged,
    CatalogColumn,
    CatalogPartition,
    CatalogRefused,
    CatalogTable,
    ObjectExists,
    ObjectStore,
)

_TABLES, _PARTITIONS = "catalog/tables", "catalog/partitions"


class StoredCatalog:
    """A Catalog in an object store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def tables(self) -> Sequence[CatalogTable]:
        newest = {key.rpartition("/")[0]: key for key in self._store.keys(f"{_TABLES}/")}
        return [self._table(key) for _, key in sorted(newest.items())]

    def versions(self, database: str, name: str) -> Sequence[CatalogTable]:
        return [self._table(key) for key in self._store.keys(f"{_TABLES}/{database}/{name}/")]

    def save(self, table: CatalogTable) -> None:
        before = sum(1 for _ in self._store.keys(f"{_TABLES}/{table.database}/{table.name}/"))
        key = f"{_TABLES}/{table.database}/{table.name}/{table.version:06d}.json"
        if table.version != before + 1:
            raise CatalogChanged(f"{table.database}.{table.name} is at version {before}: {table.version} cannot follow")
        try:
            self._store.put(key, _encoded(asdict(table)), create_only=True)
        except ObjectExists as error:
            raise CatalogChanged(f"{table.database}.{table.name} got a version {table.version} meanwhile") from error

    def partitions(self, database: str, name: str) -> Sequence[CatalogPartition]:
        keys = self._store.keys(f"{_PARTITIONS}/{database}/{name}/")
        return [CatalogPartition(**self._decoded(key)) for key in keys]

    def save_partition(self, database: str, name: str, partition: CatalogPartition) -> None:
        self._store.put(f"{_PARTITIONS}/{database}/{name}/{partition.value}.json", _encoded(asdict(partition)))

    def _table(self, key: str) -> CatalogTable:
        body = dict(self._decoded(key))
        for part in ("columns", "partition_keys"):
            body[part] = tuple(CatalogColumn(**column) for column in body[part])
        return CatalogTable(**{**body, "changes": tuple(body["changes"])})

    def _decoded(self, key: str) -> Mapping[str, Any]:
        try:
            body = json.loads(self._store.get(key))
        except ValueError as error:
            raise CatalogRefused(f"{self._store.uri(key)} is damaged: restore it, or remove it and crawl") from error
        return dict(body)


def _encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, indent=1).encode()
