"""Column lineage: every published column traces to the source's own, and tells what it is made of."""

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from city_platform.catalog.lineage import LayerLineage, dataset_lineage, layer_lineage, trace
from city_platform.cleaning.compile import cleaning_select
from city_platform.cleaning.recipe import parse_recipe
from city_platform.datasets import Dataset, load_dataset
from city_platform.engines.dialect import DuckDBDialect
from tests.town import FIXTURES, ROOT
from tests.unit.test_cleaning_compile import contract, step

FOLDERS = [*sorted(one for one in (ROOT / "datasets").iterdir() if one.is_dir()), FIXTURES / "trees"]
MADE_OF_NO_COLUMN = {"report date", "number of rows", "constant"}


def loaded(folder: Path) -> Dataset:
    dataset, findings = load_dataset(folder)
    assert dataset is not None, findings
    return dataset


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda one: one.name)
def test_every_column_of_every_layer_traces_to_the_source(folder: Path) -> None:
    dataset = loaded(folder)
    headers = {column.source_name for column in dataset.contract.columns}
    for layer, lineage in dataset_lineage(dataset).items():
        for column in lineage.columns:
            found = trace(dataset, layer, column.column)
            assert set(found) <= headers
            assert bool(found) != (column.how in MADE_OF_NO_COLUMN), (layer, column)
    cleaned = [one.column for one in dataset_lineage(dataset)["cleaned"].columns]
    assert cleaned == [one.name for one in dataset.contract.columns]


STEPS = [
    step("MERGE", ("IS", "d", "yes"), sourceColumns='["a","b"]', delimiter="-", targetColumn="m"),
    step("RENAME", sourceColumn="a", targetColumn="first"),
    step("SPLIT_COLUMN_SINGLE_DELIMITER", sourceColumn="c", pattern=",", limit="1"),
    step("DELETE", sourceColumns='["c"]'),
    step("UPPER_CASE", sourceColumn="c_2"),
    step("YEAR", value="2024-05-01", targetColumn="y"),
    step("FLAG_DUPLICATE_ROWS", trueString="T", falseString="F", targetColumn="f"),
    step("SHUFFLE_ROWS", sourceColumns='["b"]', groupByColumns='["d"]'),
    step("REMOVE_MISSING", ("IS", "e", "x"), sourceColumn="first"),
]
# What the steps' columns are called in the contract, and the source column that stands there for them.
OUTPUTS = {
    "first": ("out a", "a"),
    "c_1": ("out c1", "c"),
    **{one: (f"out {one}", f"out {one}") for one in ("m", "c_2", "y", "f")},
}


def worked() -> Dataset:
    """The trees with another recipe, over columns a to e."""
    names = {**{one: one for one in "bde"}, **dict(OUTPUTS.values())}
    agreed = contract(**dict.fromkeys(names, "VARCHAR"))
    agreed = replace(agreed, columns=tuple(replace(one, source_name=names[one.name]) for one in agreed.columns))
    absent = [step("DELETE", sourceColumn=source) for output, source in OUTPUTS.values() if output == source]
    ends = [step("RENAME", sourceColumn=name, targetColumn=output) for name, (output, _) in OUTPUTS.items()]
    recipe, findings = parse_recipe(json.dumps([*STEPS, *absent, *ends]), "recipe.json", agreed)
    assert recipe is not None, findings
    summary = "SELECT b FROM trusted ORDER BY b"
    return replace(loaded(FIXTURES / "trees"), contract=agreed, recipe=recipe, curated_sql=summary)


def test_a_recipes_columns_are_made_of_what_its_steps_read() -> None:
    dataset = worked()
    lineage = layer_lineage(dataset, "cleaned")
    assert lineage is not None
    made = {one.column: one for one in lineage.columns}
    assert (made["out m"].sources, made["out m"].conditions) == (("a", "b"), ("d",))
    assert made["out a"].sources == ("a",)
    assert made["out c1"].sources == made["out c_2"].sources == ("c",)
    assert made["out c_2"].how == "SPLIT_COLUMN_SINGLE_DELIMITER, UPPER_CASE"
    assert (made["out y"].sources, made["out y"].how) == ((), "constant")
    assert set("abcde") <= set(made["out f"].sources)
    assert made["b"].sources == ("b", "d")
    assert (made["d"].sources, made["d"].how) == (("d",), "unchanged")
    assert lineage.rows == ("a", "e")


def curated(sql: str) -> LayerLineage:
    dataset = replace(loaded(FIXTURES / "trees"), curated_sql=sql, curated_hash=sql)
    lineage = layer_lineage(dataset, "curated")
    assert lineage is not None
    return lineage


def test_a_summarys_columns_are_followed_through_its_steps_and_its_case() -> None:
    lineage = curated(
        "WITH tall AS (SELECT *, Height * 2 AS Twice FROM trusted WHERE height > 3), "
        "kinds AS (SELECT SPECIES, count(*) AS n, max(Twice) AS top, any_value(Planter) AS who FROM tall GROUP BY ALL) "
        "SELECT k.species AS \"Kind\", n AS Trees, top, k.who, getvariable('report_date') AS day, 'x' AS x, "
        "(SELECT min(Planted) FROM trusted) AS since FROM kinds AS k ORDER BY 1"
    )
    found = {one.column: (one.sources, one.aggregated, one.masking) for one in lineage.columns}
    assert found == {
        "Kind": (("Species",), False, ""),
        "Trees": ((), True, ""),
        "top": (("Height",), True, ""),
        "who": (("Planter",), True, "pseudonym"),
        "day": ((), False, ""),
        "x": ((), False, ""),
        "since": (("Planted",), True, ""),
    }
    how = {one.column: one.how for one in lineage.columns}
    assert (how["Kind"], how["Trees"], how["day"], how["x"]) == (
        "unchanged",
        "number of rows",
        "report date",
        "constant",
    )
    assert how["top"].replace('"', "").casefold() == "max(tall.twice) <- trusted.height * 2"
    assert set(lineage.rows) == {"Height", "Species", "Planter", "Planted"}


def test_what_a_column_is_made_of_is_said_in_the_same_order_every_time() -> None:
    lineage = curated(
        "WITH parts AS (SELECT max(Planter) AS e, max(Height) AS d, max(Planted) AS c, max(Species) AS b, "
        "max(TreeID) AS a FROM trusted) SELECT concat(c, e, a, d, b) AS everything FROM parts ORDER BY 1"
    )
    (column,) = lineage.columns
    assert column.sources == ("TreeID", "Species", "Planted", "Height", "Planter")
    steps = column.how.replace('"', "").casefold().split(" <- ")[1:]
    assert steps == [f"max(trusted.{name})" for name in ("treeid", "species", "planted", "height", "planter")]


def test_a_star_gives_the_contracts_columns() -> None:
    lineage = curated("SELECT * FROM trusted ORDER BY ALL")
    assert [(one.column, one.sources, one.how) for one in lineage.columns] == [
        (name, (name,), "unchanged") for name in ("TreeID", "Species", "Planted", "Height", "Planter")
    ]


def test_a_change_of_definition_is_another_lineage() -> None:
    trees = loaded(FIXTURES / "trees")
    assert layer_lineage(trees, "curated") is layer_lineage(replace(trees), "curated")
    assert curated("SELECT Species FROM trusted ORDER BY 1") != layer_lineage(trees, "curated")
    assert layer_lineage(trees, "raw") is None


def test_what_lineage_does_not_name_does_not_change_a_column() -> None:
    """The recipe is run on rows that differ in one source column: only columns made of it may differ."""
    dataset = worked()
    lineage = layer_lineage(dataset, "cleaned")
    assert lineage is not None
    headers = [one.source_name for one in dataset.contract.columns]
    given = {name: name for name in headers if name in "abcde"}
    before = [dict.fromkeys(given, "yes"), {name: f"{name},1" for name in given}]
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("CREATE MACRO keyed(purpose, secret, value) AS md5(value)")

        def run(rows: list[dict[str, str]]) -> dict[str, list[object]]:
            values = ", ".join(
                f"({number}, {', '.join(repr(row[name]) for name in given)})" for number, row in enumerate(rows)
            )
            relation = f"(SELECT * FROM (VALUES {values}) AS r(_row, {', '.join(given)}))"
            sql = cleaning_select(
                dataset.recipe, dataset.contract, DuckDBDialect(), given, relation, source_index=0, keyed="keyed"
            )
            found = connection.sql(f"SELECT * FROM ({sql}) ORDER BY _row")
            return dict(zip(found.columns, map(list, zip(*found.fetchall(), strict=True)), strict=True))

        expected = run(before)
        for changed in given:
            after = run([row | {changed: f"other {changed}"} for row in before])
            for column in lineage.columns:
                if changed not in (*column.sources, *column.conditions):
                    assert after[column.column] == expected[column.column], (changed, column)
