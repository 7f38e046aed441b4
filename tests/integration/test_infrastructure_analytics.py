"""The analytics stack against the code that lives with it: declared tables, refreshed by the platform; emulated AWS."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import boto3
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from city_platform.aws.catalog import GlueCatalog, glue_client
from city_platform.catalog.crawler import crawl
from city_platform.catalog.describe import LAYERS
from city_platform.catalog.types import catalog_type
from city_platform.cli.app import app
from city_platform.datasets import Dataset, load_dataset
from city_platform.deployment.analytics.databrew import databrew
from city_platform.deployment.analytics.tables import catalog_table, table
from city_platform.deployment.cloudformation import Resource, as_yaml
from city_platform.layers import freshness, landing
from city_platform.layers.platform import Platform
from city_platform.ports import CatalogColumn, CatalogTable
from city_platform.samples import generate
from schedules import catalog, clock, governance
from tests.templates import FOLDER, Stack, Template, parse, template
from tests.town import ROOT, good_trees, trees_csv

OURS = "declared_"  # the emulated catalog is shared with other tests


def stack_of(resources: list[Resource]) -> Stack:
    databases = {f"{layer.title()}Database": {"Type": "AWS::Glue::Database"} for layer in LAYERS}
    made = parse("x:\n" + as_yaml(resources))["x"] | databases | {"DataBrewRole": {"Type": "AWS::IAM::Role"}}
    parameters = template("analytics").parameters
    return Template("generated", {"Parameters": parameters, "Resources": made}).deploy()


@pytest.mark.usefixtures("aws_environment")
def test_the_first_refresh_takes_declared_tables_over(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    glue = glue_client()
    declared: dict[str, Any] = {}
    for layer in LAYERS:
        glue.create_database(DatabaseInput={"Name": f"{OURS}{layer}"})
        (resource,) = stack_of([table(trees, layer)]).resources("AWS::Glue::Table")
        declared[layer] = resource.properties["TableInput"]
        glue.create_table(DatabaseName=f"{OURS}{layer}", TableInput=declared[layer])
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", good_trees(2024, 5)))
    for one in freshness.LAYERS:
        one.materialize(platform, trees, "2024")
    tables = GlueCatalog(glue_client, prefix=OURS)
    for report in crawl(tables, platform.lake, trees):
        # Sources and classifications come now, which CloudFormation cannot declare; nothing else is another.
        assert {change.kind for change in report.changes} == {"described"}
        assert (report.held, report.held_partitions, report.registered) == ((), {}, ("2024",))
        first, second = tables.versions(report.database, report.name)
        assert [one.version for one in (first, second)] == [1, 2]
        assert first.changes == ("the table is there",)
        assert _told(first) == _told(second)
    assert not any(one.changes or one.registered for one in crawl(tables, platform.lake, trees))

    # An update of the stack puts back what it declares; the next refresh adds the rest anew, as a version more.
    refreshed = tables.tables()
    for layer, given in declared.items():
        glue.update_table(DatabaseName=f"{OURS}{layer}", TableInput=given)
    assert [report.version for report in crawl(tables, platform.lake, trees)] == [3] * len(LAYERS)
    assert [replace(one, version=2) for one in tables.tables()] == list(refreshed)


def _told(declared: CatalogTable) -> CatalogTable:
    """The table without what only the lake knows, and without what CloudFormation cannot say of a column."""

    def bare(columns: Sequence[CatalogColumn]) -> tuple[CatalogColumn, ...]:
        return tuple(replace(one, name=one.name.lower(), source="", classification="") for one in columns)

    columns, keys = bare(declared.columns), bare(declared.partition_keys)
    return replace(declared, columns=columns, partition_keys=keys, location="", version=0, changes=())


@pytest.mark.parametrize("name", ["parking_tickets", "employee_remuneration"])
def test_catalog_template_and_parquet_say_the_same(name: str, platform: Platform, tmp_path: Path) -> None:
    dataset, mistakes = load_dataset(ROOT / "datasets" / name)
    assert dataset is not None, mistakes
    generate(name, tmp_path / f"{name}.csv", rows=60, seed=7)
    year, *_ = landing.land(platform, dataset, tmp_path / f"{name}.csv").partitions
    for one in freshness.LAYERS:
        one.materialize(platform, dataset, year)
    assert [report.held_partitions for report in crawl(platform.catalog, platform.lake, dataset)] == [{}] * len(LAYERS)
    for registered in platform.catalog.tables():
        layer = registered.database
        assert _facts(registered) == _facts(catalog_table(dataset, layer, registered.location))
        manifest = platform.lake.require(layer, name, year)
        assert {column: catalog_type(kind) for column, kind in manifest.schema} == {
            column.name: column.type for column in registered.columns
        }
        if layer != "encrypted":  # its types need a key
            file = next(path for path in platform.lake.paths(manifest, LAYERS[layer]) if path.suffix == ".parquet")
            assert {field.name: catalog_type(str(field.type)) for field in pq.read_schema(file)} == {
                column.name: column.type for column in registered.columns
            }


def _facts(declared: CatalogTable) -> tuple[Any, ...]:
    columns = {column.name: column for column in declared.columns}
    return (columns, declared.partition_keys, declared.description, declared.owner, declared.parameters)


def test_the_weekly_crawl_comes_after_the_platforms_own_governance_summer_and_winter() -> None:
    crawled = template("analytics").parameters["CrawlSchedule"]["Default"]
    found = re.fullmatch(r"cron\((\d+) (\d+) \? \* MON \*\)", crawled)
    assert found
    minute, hour = map(int, found.groups())
    for monday in (datetime(2026, 1, 5, hour, minute, tzinfo=UTC), datetime(2026, 7, 6, hour, minute, tzinfo=UTC)):
        for cron in (governance.CRON, governance.SCORECARD_CRON, catalog.CRON):
            local_minute, local_hour = map(int, cron.split()[:2])
            begins = monday.astimezone(ZoneInfo(clock.TIMEZONE)).replace(hour=local_hour, minute=local_minute)
            assert timedelta(minutes=20) <= monday - begins <= timedelta(hours=5), cron


@pytest.mark.usefixtures("aws_environment")
def test_emulated_services_take_what_the_template_declares() -> None:
    dataset, mistakes = load_dataset(ROOT / "datasets" / "business_licences")
    assert dataset is not None, mistakes
    stack = stack_of(databrew(dataset))
    brew = boto3.client("databrew")
    (recipe,) = stack.resources("AWS::DataBrew::Recipe")
    brew.create_recipe(Name=recipe.properties["Name"], Steps=recipe.properties["Steps"])
    stored = brew.describe_recipe(Name="cov-busi-license-rcp-dev", RecipeVersion="LATEST_WORKING")["Steps"]
    assert stored == list(dataset.recipe.written)

    whole = template("analytics").deploy()
    athena = boto3.client("athena")
    (group,) = whole.resources("AWS::Athena::WorkGroup")
    settings = dict(group.properties["WorkGroupConfiguration"])
    athena.create_work_group(Name=group.properties["Name"], Configuration=settings)
    told = athena.get_work_group(WorkGroup="city-platform-dev")["WorkGroup"]["Configuration"]
    assert told["EnforceWorkGroupConfiguration"] is True
    assert told["BytesScannedCutoffPerQuery"] == 10 << 30
    for query in whole.resources("AWS::Athena::NamedQuery"):
        given = {**query.properties, "WorkGroup": group.properties["Name"]}
        assert athena.create_named_query(**given)["NamedQueryId"]


def test_the_command_says_whether_the_template_is_up_to_date(tmp_path: Path) -> None:
    runner = CliRunner()
    copy = tmp_path / "analytics.yaml"
    copy.write_text((FOLDER / "analytics.yaml").read_text("utf-8").replace("RowCount > 0", "RowCount > 1"))
    (tmp_path / "quicksight").symlink_to(FOLDER / "quicksight")
    stale = runner.invoke(app, ["datasets", "template", str(copy), "--check"])
    assert stale.exit_code == 1
    assert "out of date" in stale.output
    assert "RowCount > 1" in copy.read_text("utf-8")
    assert runner.invoke(app, ["datasets", "template", str(copy)]).exit_code == 0
    assert copy.read_text("utf-8") == (FOLDER / "analytics.yaml").read_text("utf-8")
    assert runner.invoke(app, ["datasets", "template", str(tmp_path / "none.yaml")]).exit_code == 3


def test_the_questions_for_athena_name_its_tables_and_what_cannot_be_asked() -> None:
    printed = CliRunner().invoke(app, ["questions", "incidents", "--athena"])
    assert printed.exit_code == 0
    assert printed.output.count("FROM city_encrypted.incidents AS trusted") == 4
    assert "-- incidents/by_reporter: not in Athena, where reporter cannot be read" in printed.output
