"""Keeps the catalog like the lake: new tables, partitions and columns by themselves, breaking changes when approved.

It reads manifests, never data. A partition whose files do not fit the table's schema is not registered, because a
query would fail on it or read something else; what was registered of it before stays, where there was something.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from city_platform.catalog.describe import LAYERS, described_columns, partition_key, table_description
from city_platform.catalog.evolution import SchemaChange, merged, schema_changes
from city_platform.catalog.types import catalog_type
from city_platform.datasets import Dataset
from city_platform.lake.lake import Lake
from city_platform.lake.manifest import Manifest
from city_platform.ports import Catalog, CatalogColumn, CatalogPartition, CatalogTable

_NEW = ("the table is there",)  # what changed where nothing was before


@dataclass(frozen=True, slots=True)
class TableReport:
    """What crawling one table did. `held` waits for approval; `held_partitions` maps a partition to the reason."""

    database: str
    name: str
    version: int
    changes: tuple[SchemaChange, ...]  # taken over
    held: tuple[SchemaChange, ...]
    registered: tuple[str, ...]
    held_partitions: Mapping[str, str]

    @property
    def table(self) -> str:
        return f"{self.database}.{self.name}"


def crawl(catalog: Catalog, lake: Lake, dataset: Dataset, approved: frozenset[str] = frozenset()) -> list[TableReport]:
    """Brings the dataset's tables up to date; breaking changes only of the tables in `approved`, as `cleaned.trees`."""
    return [
        _crawl(catalog, lake, dataset, layer, approve=f"{layer}.{dataset.name}" in approved)
        for layer in LAYERS
        if lake.partitions(layer, dataset.name)
    ]


def _crawl(catalog: Catalog, lake: Lake, dataset: Dataset, layer: str, *, approve: bool) -> TableReport:
    manifests = [lake.require(layer, dataset.name, partition) for partition in lake.partitions(layer, dataset.name)]
    newest = max(manifests, key=lambda one: (one.published_at, one.partition))
    seen = described_columns(dataset, layer, newest.schema)
    versions = catalog.versions(layer, dataset.name)
    before = versions[-1] if versions else None
    found = schema_changes(before.columns, seen) if before else []
    breaking = tuple(one for one in found if one.breaking)
    columns = seen if before is None or approve else merged(before.columns, seen)
    location = lake.store.uri(f"{layer}/{dataset.name}")
    table = declared_table(dataset, layer, columns, location, 1 if before is None else before.version + 1)
    taken = tuple(one for one in found if approve or not one.breaking)
    if before is None or _facts(before) != _facts(table):
        catalog.save(replace(table, changes=_words(before, taken, approve=approve)))
    else:
        table = before
    registered, held = _partitions(catalog, lake, table, manifests)
    return TableReport(layer, dataset.name, table.version, taken, () if approve else breaking, registered, held)


def declared_table(
    dataset: Dataset, layer: str, columns: tuple[CatalogColumn, ...], location: str, version: int = 1
) -> CatalogTable:
    """The table of a dataset's layer with these columns; `changes` is as of a table that was not there before."""
    contract = dataset.contract
    return CatalogTable(
        database=layer,
        name=dataset.name,
        version=version,
        description=table_description(contract, layer),
        owner=contract.owner,
        location=location,
        columns=columns,
        partition_keys=(partition_key(contract, (column.name for column in columns)),),
        parameters={
            "classification": "parquet",
            "domain": contract.domain,
            "licence": contract.licence,
            "source": contract.source_url,
            "contract_version": contract.version,
            "cadence": contract.cadence,
        },
        changes=_NEW,
    )


def _facts(table: CatalogTable) -> CatalogTable:
    """Everything but its place in history."""
    return replace(table, version=0, changes=())


def _words(before: CatalogTable | None, taken: Sequence[SchemaChange], *, approve: bool) -> tuple[str, ...]:
    if before is None:
        return _NEW
    words = [f"{one.message}{', approved' if one.breaking and approve else ''}" for one in taken]
    return tuple(words) or ("the table has other properties",)


def _partitions(
    catalog: Catalog, lake: Lake, table: CatalogTable, manifests: Sequence[Manifest]
) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Registers what changed and fits; returns that, and what does not fit with the reason."""
    known = {partition.value: partition for partition in catalog.partitions(table.database, table.name)}
    registered, held = [], {}
    for manifest in manifests:
        if wrong := misfit(table, manifest):
            held[manifest.partition] = wrong
            continue
        partition = _partition(lake, manifest)
        if known.get(manifest.partition) != partition:
            catalog.save_partition(table.database, table.name, partition)
            registered.append(manifest.partition)
    return tuple(registered), held


def misfit(table: CatalogTable, manifest: Manifest) -> str:
    """How the files of a version do not fit the table; empty where they do.

    A partition of an earlier schema may lack a column: readers see it empty.
    """
    types = {column.name.casefold(): column.type for column in table.columns}
    seen = {name: catalog_type(kind) for name, kind in manifest.schema}
    wrong = {name: kind for name, kind in seen.items() if types.get(name.casefold()) != kind}
    return ", ".join(f"{name} is {kind}, not {types.get(name.casefold(), 'there')}" for name, kind in wrong.items())


def _partition(lake: Lake, manifest: Manifest) -> CatalogPartition:
    files = manifest.parts[LAYERS[manifest.layer]]
    folder = files[0].key.rpartition("/")[0]
    return CatalogPartition(
        value=manifest.partition,
        location=lake.store.uri(folder),
        parameters={
            "version": manifest.version,
            "rows": str(sum(file.rows for file in files)),
            "bytes": str(sum(file.bytes for file in files)),
            "sha256": manifest.sha256,
            "published_at": manifest.published_at.isoformat(),
        },
    )
