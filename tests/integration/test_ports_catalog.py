"""One contract for catalogs, held against the lake's own store and AWS Glue (moto server on loopback)."""

import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from city_platform.aws.catalog import GlueCatalog, glue_client
from city_platform.local.catalog import StoredCatalog
from city_platform.local.store import LocalObjectStore
from city_platform.ports import Catalog, CatalogChanged, CatalogColumn, CatalogPartition, CatalogTable

LONG = "What a reader has to know of it. " * 20  # longer than Glue's comments


@pytest.fixture(params=["stored", "glue"])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Catalog:
    if request.param == "stored":
        return StoredCatalog(LocalObjectStore(tmp_path / "lake"))
    settings = request.getfixturevalue("aws_environment")
    endpoint = settings["AWS_ENDPOINT_URL"]
    return GlueCatalog(lambda: glue_client(endpoint_url=endpoint), prefix=f"t{uuid.uuid4().hex[:8]}_")


def table(name: str = "trees", version: int = 1) -> CatalogTable:
    column = CatalogColumn("Average Fee", "decimal(12,2)", LONG, "FEE in the source", "public")
    year = CatalogColumn("year", "string", "The calendar year.", "the platform", "public")
    return CatalogTable(
        database="curated",
        name=name,
        version=version,
        description=f"Trees. {LONG * 5}",
        owner="team:parks",
        location="s3://lake/curated/trees",
        columns=(column, replace(column, name="Species", type="string")),
        partition_keys=(year,),
        parameters={"classification": "parquet", "licence": "Open Government Licence"},
        changes=("the table is there",),
    )


def test_what_is_saved_is_found(catalog: Catalog) -> None:
    assert catalog.tables() == []
    assert catalog.versions("curated", "trees") == []
    catalog.save(table())
    catalog.save(table("bees"))
    assert catalog.tables() == [table("bees"), table()]
    assert catalog.versions("curated", "trees") == [table()]


def test_every_version_is_kept_and_each_has_one_successor(catalog: Catalog) -> None:
    catalog.save(table())
    newer = replace(table(version=2), columns=table().columns[:1], changes=("Species (string) is gone, approved",))
    catalog.save(newer)
    assert catalog.versions("curated", "trees") == [table(), newer]
    assert catalog.tables() == [newer]
    for version in (1, 2, 4):
        with pytest.raises(CatalogChanged, match=r"curated\.trees is at version 2"):
            catalog.save(table(version=version))


def test_a_partition_is_added_once_and_replaced_after(catalog: Catalog) -> None:
    catalog.save(table())
    assert catalog.partitions("curated", "trees") == []
    one = CatalogPartition("2024", "s3://lake/curated/trees/year=2024/4f1c/parquet", {"version": "4f1c", "rows": "20"})
    catalog.save_partition("curated", "trees", one)
    catalog.save_partition("curated", "trees", replace(one, value="2023"))
    other = replace(one, location="s3://lake/curated/trees/year=2024/9a9a/parquet", parameters={"version": "9a9a"})
    catalog.save_partition("curated", "trees", other)
    assert catalog.partitions("curated", "trees") == [replace(one, value="2023"), other]
