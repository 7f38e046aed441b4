"""Types, schema changes, descriptions, search and duplicates."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.catalog.crawler import declared_table
from city_platform.catalog.describe import described_columns, partition_key, summary_comments
from city_platform.catalog.discovery import search, undescribed
from city_platform.catalog.evolution import merged, schema_changes
from city_platform.catalog.types import UnknownType, catalog_type
from city_platform.datasets import load_datasets
from city_platform.ports import CatalogColumn, CatalogTable
from tests.town import ROOT


def column(name: str, kind: str = "string") -> CatalogColumn:
    return CatalogColumn(name, kind, f"What {name} means.", "somewhere", "public")


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("VARCHAR", "string"),
        ("string", "string"),
        ("INTEGER", "int"),
        ("int32", "int"),
        ("BIGINT", "bigint"),
        ("DECIMAL(12,2)", "decimal(12,2)"),
        ("decimal128(12, 2)", "decimal(12,2)"),
        ("TIMESTAMP WITH TIME ZONE", "timestamp"),
        ("timestamp[us, tz=UTC]", "timestamp"),
        ("date32[day]", "date"),
        ("list<item: string>", "array<string>"),
        ("VARCHAR[]", "array<string>"),
    ],
)
def test_types_are_in_the_catalogs_words(kind: str, wanted: str) -> None:
    assert catalog_type(kind) == wanted


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(UnknownType, match="INTERVAL"):
        catalog_type("INTERVAL")


def test_changes_are_told_apart() -> None:
    before = (column("A"), column("B", "int"), column("C"), column("D"))
    now = (column("a"), column("B", "bigint"), replace(column("D"), classification="personal"), column("E"))
    changes = {change.kind: change for change in schema_changes(before, now)}
    assert {kind for kind, change in changes.items() if change.breaking} == {"removed-column", "changed-type"}
    assert changes["changed-type"].message == "B was int and is bigint"
    assert changes["removed-column"].column == "C"
    assert changes["added-column"].column == "E"
    kept = merged(before, now)
    assert [(one.name, one.type) for one in kept] == [
        ("a", "string"),
        ("B", "int"),
        ("C", "string"),
        ("D", "string"),
        ("E", "string"),
    ]
    assert kept[3].classification == "personal"


columns = st.lists(
    st.builds(column, st.sampled_from("abcdeAB"), st.sampled_from(["int", "bigint", "string"])),
    unique_by=lambda one: one.name.casefold(),
    max_size=6,
).map(tuple)


@given(before=columns, now=columns)
def test_nothing_breaking_happens_by_itself(before: tuple[CatalogColumn, ...], now: tuple[CatalogColumn, ...]) -> None:
    result = merged(before, now)
    assert not any(change.breaking for change in schema_changes(before, result))
    assert {one.name.casefold() for one in result} == {one.name.casefold() for one in (*before, *now)}
    assert merged(result, now) == result
    assert bool(schema_changes(before, before)) is False


def table(name: str, *columns: CatalogColumn) -> CatalogTable:
    year = column("year")
    return CatalogTable("curated", name, 1, f"All about {name}.", "team:parks", "s3://x", columns, (year,), {})


def test_search_finds_names_before_descriptions() -> None:
    tables = [table("trees", column("Species"), column("Height", "int")), table("species_at_risk", column("Kind"))]
    assert [(hit.table, hit.column) for hit in search(tables, "species")] == [
        ("curated.trees", "Species"),
        ("curated.species_at_risk", ""),
    ]
    assert [hit.column for hit in search(tables, "what HEIGHT")] == ["Height"]
    assert search(tables, "") == search(tables, "nothing of the kind") == []


def test_what_nobody_described_is_named() -> None:
    bad = [replace(column("A"), description=" "), replace(column("B"), source="", classification="secret")]
    assert undescribed([table("trees", *bad)]) == [
        "curated.trees.A: no description",
        "curated.trees.B: no source, no classification",
    ]


def test_comments_describe_the_columns_they_stand_at() -> None:
    first, second = 'A AS "First One", -- the first', "-- The second,\n    -- on two lines.\n    max(B) AS b,"
    sql = f"SELECT\n    {first}\n    {second}\n    C\nFROM trusted"
    assert summary_comments(sql) == {"First One": "The first.", "b": "The second, on two lines.", "C": ""}


def test_a_table_has_no_name_twice() -> None:
    (tickets,) = [one for one in load_datasets(ROOT / "datasets") if one.name == "parking_tickets"]
    names = [column.name for column in tickets.contract.columns]
    assert "Year" in names
    assert partition_key(tickets.contract, names).name == "year_partition"
    assert partition_key(tickets.contract, ["Yearly"]).name == "year"
    table = declared_table(tickets, "cleaned", described_columns(tickets, "cleaned", [("Year", "INTEGER")]), "x")
    assert [column.name for column in table.partition_keys] == ["year_partition"]


def test_every_published_column_of_the_city_is_described() -> None:
    datasets = load_datasets(ROOT / "datasets")
    missing = [
        f"{dataset.name}: {name}"
        for dataset in datasets
        for name, text in summary_comments(dataset.curated_sql).items()
        if not text
    ]
    assert missing == []
    assert isinstance(datasets[0].folder, Path)
