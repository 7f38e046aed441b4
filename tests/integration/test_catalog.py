"""The catalog over a real lake: crawled, held back, approved, searched, read by others."""

import json
import subprocess
import sys
from dataclasses import replace
from html import escape
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

from city_platform.aws.catalog import GlueCatalog, glue_client
from city_platform.catalog.crawler import TableReport, crawl
from city_platform.catalog.describe import LAYERS
from city_platform.catalog.discovery import duplicates
from city_platform.catalog.types import catalog_type
from city_platform.catalog.views import KEY
from city_platform.cli.app import app
from city_platform.datasets import Dataset
from city_platform.governance.decisions import InvalidDecision
from city_platform.governance.roles import NotEntitled
from city_platform.layers import catalog, freshness, landing
from city_platform.layers.platform import Platform
from definitions import build_definitions
from tests.patience import PATIENCE_S
from tests.town import FIXTURES, ROOT, good_trees, trees_csv


@pytest.fixture
def lake(platform: Platform, trees: Dataset, tmp_path: Path) -> Platform:
    """Two years of trees in every layer."""
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", [*good_trees(2023, 5), *good_trees(2024, 5)]))
    for year in ("2023", "2024"):
        for layer in freshness.LAYERS:
            layer.materialize(platform, trees, year)
    return platform


def with_height(trees: Dataset, sql_type: str) -> Dataset:
    """The dataset after a steward gave a column another type."""
    columns = tuple(
        replace(column, sql_type=sql_type) if column.name == "Height" else column for column in trees.contract.columns
    )
    return replace(trees, contract=replace(trees.contract, columns=columns), contract_hash=sql_type)


def test_catalog_parquet_and_contract_say_the_same(lake: Platform, trees: Dataset) -> None:
    found = catalog.refresh(lake, [trees])
    assert [f"{one.database}.{one.name}" for one in found.tables] == [f"{layer}.trees" for layer in sorted(LAYERS)]
    assert found.undescribed == ()
    assert found.duplicates == ()
    contract = {column.name: (column.sql_type, column.description) for column in trees.contract.columns}
    for table in found.tables:
        told = {column.name: column for column in table.columns}
        for partition in lake.lake.partitions(table.database, "trees"):
            manifest = lake.lake.require(table.database, "trees", partition)
            files = [p for p in lake.lake.paths(manifest, LAYERS[table.database]) if p.suffix == ".parquet"]
            if table.database != "encrypted":  # its footer lists the columns, its types need no key, its reader does
                for file in files:
                    schema = pq.read_schema(file)
                    stored = {field.name: catalog_type(str(field.type)) for field in schema}
                    assert {name: column.type for name, column in told.items()} == stored
        if table.database in {"cleaned", "encrypted"}:
            own = {name: column for name, column in told.items() if not name.startswith("_")}
            assert {name: (column.type, column.description) for name, column in own.items()} == {
                name: (catalog_type(kind), description) for name, (kind, description) in contract.items()
            }
    assert [one.value for one in lake.catalog.partitions("curated", "trees")] == ["2023", "2024"]
    again = catalog.refresh(lake, [trees])
    assert not any(one.registered or one.changes for one in again.reports)
    assert again.tables == found.tables


def test_another_type_waits_until_a_steward_approves(lake: Platform, trees: Dataset) -> None:
    catalog.refresh(lake, [trees])
    changed = with_height(trees, "DOUBLE")
    for layer in freshness.LAYERS[:2]:
        layer.materialize(lake, changed, "2024")
    report = next(one for one in catalog.refresh(lake, [changed]).reports if one.database == "cleaned")
    assert [one.message for one in report.held] == ["Height was decimal(6,2) and is double"]
    assert (report.version, list(report.held_partitions)) == (1, ["2024"])

    def height() -> str:
        return next(
            c.type for t in lake.catalog.tables() if t.database == "cleaned" for c in t.columns if c.name == "Height"
        )

    assert height() == "decimal(6,2)"
    for wrong in (" so ", "kim@example.org asked for it"):  # it stays in the log for ever
        with pytest.raises(InvalidDecision):
            catalog.approve(lake, [changed], "cleaned.trees", actor="parks-steward", account="me", reason=wrong)
    with pytest.raises(NotEntitled):
        catalog.approve(lake, [changed], "cleaned.trees", actor="anybody", account="me", reason="it was time")
    assert lake.audit.read().entries[-1].action == "refused"
    assert height() == "decimal(6,2)"
    found = catalog.approve(lake, [changed], "cleaned.trees", actor="parks-steward", account="me", reason="it was time")
    assert height() == "double"
    assert next(one for one in found.reports if one.database == "cleaned").held_partitions.keys() == {"2023"}
    (first, second) = lake.catalog.versions("cleaned", "trees")
    assert first.changes == ("the table is there",)
    assert second.changes == ("Height was decimal(6,2) and is double, approved",)
    entry = lake.audit.read().entries[-1]
    assert (entry.action, entry.actor, entry.facts["table"]) == ("approve schema", "parks-steward", "cleaned.trees")
    assert entry.facts["dataset"] == "trees"  # `audit show --dataset` finds it
    with pytest.raises(catalog.NothingToApprove):
        catalog.approve(lake, [changed], "cleaned.trees", actor="parks-steward", account="me", reason="once more")
    with pytest.raises(catalog.UnknownTable, match=r"curated\.trees"):
        catalog.approve(lake, [changed], "cleaned.bees", actor="parks-steward", account="me", reason="why not")


def test_a_new_column_comes_in_by_itself_and_a_missing_one_waits(
    platform: Platform, trees: Dataset, tmp_path: Path
) -> None:
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", [*good_trees(2023, 5), *good_trees(2024, 5)]))
    columns = tuple(column for column in trees.contract.columns if column.name != "Planted")
    contract = replace(trees.contract, columns=columns, latest_by=None)
    steps = tuple(step for step in trees.recipe.steps if "Planted" not in str(step))
    narrow = replace(
        trees, contract=contract, contract_hash="narrow", recipe=replace(trees.recipe, steps=steps, hash="narrow")
    )

    def cleaned(dataset: Dataset, *years: str) -> TableReport:
        for year in years:
            for layer in freshness.LAYERS[:2]:
                layer.materialize(platform, dataset, year)
        (report,) = catalog.refresh(platform, [dataset]).reports
        return report

    assert cleaned(narrow, "2023", "2024").version == 1
    wider = cleaned(trees, "2024")
    assert [one.message for one in wider.changes] == ["Planted (date) is there"]
    assert (wider.version, wider.held, wider.held_partitions, wider.registered) == (2, (), {}, ("2024",))
    file = platform.lake.store.local_path(KEY)
    script = f"import duckdb; print(duckdb.connect({str(file)!r}, read_only=True).sql('{_COUNT}').fetchall())"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert done.stdout.strip() == "[('2023', 5, 0), ('2024', 5, 5)]"  # what a year never had is empty
    back = cleaned(narrow, "2024")
    assert [one.message for one in back.held] == ["Planted (date) is gone"]
    assert (back.version, back.held_partitions) == (2, {})


_COUNT = "SELECT year, count(*), count(Planted) FROM cleaned.trees GROUP BY year ORDER BY year"


def test_any_duckdb_reads_the_lake_by_name_and_nothing_personal(lake: Platform, trees: Dataset) -> None:
    found = catalog.refresh(lake, [trees])
    assert found.views == ("cleaned.trees", "curated.trees", "encrypted.trees", "rejected.trees")
    file = lake.lake.store.local_path(KEY)
    assert file.stat().st_mode & 0o077 == 0
    script = (
        "import duckdb, json, sys\n"
        f"with duckdb.connect({str(file)!r}, read_only=True) as c:\n"
        "    names = ('cleaned.trees', 'curated.trees', 'encrypted.trees')\n"
        "    rows = {t: c.sql(f'SELECT * FROM {t}').fetchall() for t in names}\n"
        "    names = {t: c.sql(f'SELECT * FROM {t}').columns for t in rows}\n"
        "    comment = c.sql(\"SELECT comment FROM duckdb_columns() WHERE schema_name = 'curated' "
        "AND column_name = 'Species'\").fetchall()\n"
        "print(json.dumps([rows, names, comment], default=str))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    rows, names, comment = json.loads(done.stdout)
    assert {name: len(one) for name, one in rows.items()} == {
        "cleaned.trees": 10,
        "curated.trees": 2,
        "encrypted.trees": 10,
    }
    assert "Sam Poole" not in done.stdout
    assert "Planter" not in names["cleaned.trees"] + names["encrypted.trees"]
    assert names["curated.trees"][-1] == "year"
    assert comment[0][0]


def test_the_same_crawl_fills_glue(lake: Platform, trees: Dataset, aws_environment: dict[str, str]) -> None:
    glue = GlueCatalog(lambda: glue_client(endpoint_url=aws_environment["AWS_ENDPOINT_URL"]), prefix="crawled_")
    crawl(glue, lake.lake, trees)
    catalog.refresh(lake, [trees])
    assert glue.tables() == lake.catalog.tables()
    for table in glue.tables():
        assert glue.partitions(table.database, table.name) == lake.catalog.partitions(table.database, table.name)
    assert not any(one.registered or one.changes for one in crawl(glue, lake.lake, trees))


def test_a_dataset_that_is_there_twice_is_named(lake: Platform, trees: Dataset, tmp_path: Path) -> None:
    copy = replace(trees, name="shrubs", contract=replace(trees.contract, name="shrubs"))
    landing.land(lake, copy, trees_csv(tmp_path / "shrubs.csv", [*good_trees(2023, 5), *good_trees(2024, 5)]))
    for layer in freshness.LAYERS[:2]:
        layer.materialize(lake, copy, "2024")
    found = catalog.refresh(lake, [trees, copy]).duplicates
    assert {(one.one, one.other) for one in found} == {("shrubs", "trees")}
    assert sorted(one.reason for one in found) == [
        "100% of the columns of their cleaned tables are the same",
        "they took in the same bytes: shrubs.csv and trees.csv",
    ]
    assert duplicates(lake.catalog.tables(), lake.lake, ["trees"]) == [found[-1]]  # of content one needs two


def test_the_dictionary_explains_every_column(lake: Platform, trees: Dataset) -> None:
    catalog.refresh(lake, [trees])
    pages = catalog.dictionary_pages(lake, [trees])
    assert set(pages) == {"index.html", "trees.html"}
    for column in trees.contract.columns:
        for page in pages.values():
            assert column.name in page
            assert escape(column.description) in page
    assert all(word in pages["trees.html"] for word in ("team:", "Every row needs a value in", "Schema version 1"))
    assert "Sam Poole" not in "".join(pages.values())
    assert catalog.dictionary_pages(lake, [trees]) == pages
    for name, place in catalog.publish_dictionary(lake, [trees]).items():
        assert place.endswith(f"catalog/dictionary/{name}")


@pytest.mark.usefixtures("lake")
def test_the_asset_checks_what_it_made(home: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_definitions(home, FIXTURES).resolve_job_def("refresh_catalog")
        result = job.execute_in_process(instance=instance)
        checks = {one.check_name: one.passed for one in result.get_asset_check_evaluations()}
    assert result.success
    assert checks == {"every_column_is_described": True, "no_change_waits": True, "no_dataset_is_there_twice": True}


def call(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["catalog", *arguments, "--home", str(home), "--json"])


def test_the_command_finds_and_shows(lake: Platform, trees: Dataset, home: Path, tmp_path: Path) -> None:
    catalog.refresh(lake, [trees])
    listed = json.loads(call(home, "list").stdout)["tables"]
    assert [(one["table"], one["partitions"]) for one in listed][1] == ("curated.trees", 2)
    hits = json.loads(call(home, "search", "species").stdout)["hits"]
    assert {hit["table"] for hit in hits if hit["column"]} >= {"cleaned.trees", "curated.trees"}
    shown = json.loads(call(home, "show", "cleaned.trees").stdout)
    assert [column["name"] for column in shown["columns"]][:2] == ["TreeID", "Species"]
    assert shown["history"] == [{"version": 1, "changes": ["the table is there"]}]
    assert call(home, "show", "cleaned.bees").exit_code == 2
    done = call(home, "dictionary", "--out", str(tmp_path / "dictionary"))
    assert done.exit_code == 0
    assert len(list((tmp_path / "dictionary").iterdir())) == len(list((ROOT / "datasets").glob("*/contract.yaml"))) + 1
