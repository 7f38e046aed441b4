"""The analytics stack says what the datasets' folders and the code say."""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import sqlglot
from hypothesis import given, settings

from city_platform.aws.catalog import PREFIX
from city_platform.catalog.describe import LAYERS
from city_platform.catalog.types import catalog_type
from city_platform.contracts.model import Classification
from city_platform.datasets import Dataset, load_datasets
from city_platform.deployment.analytics.athena import dashboard_queries, encrypted_questions, questions
from city_platform.deployment.analytics.rulesets import for_glue
from city_platform.deployment.analytics.tables import catalog_table, layer_schema
from city_platform.deployment.analytics.template import MARKER, NoPlaceToWrite, TemplateTooLarge, analytics_template
from city_platform.engines.duckdb import DuckDBEngine
from city_platform.protection.masking import masked_type
from city_platform.quality.model import Ruleset, leaves
from city_platform.quality.parser import parse_ruleset
from tests.conftest import ROOT
from tests.rulesets import rulesets
from tests.templates import FOLDER, Stack, parse, template
from tests.town import FIXTURES

DASHBOARDS = FOLDER / "quicksight"


@cache
def datasets() -> tuple[Dataset, ...]:
    return load_datasets(ROOT / "datasets")


@cache
def stack(edition: str = "none") -> Stack:
    return template("analytics").deploy(
        QuickSightEdition=edition, AnalystPrincipal="role/x", RedshiftSpectrum="yes", Environment="dev"
    )


def of_kind(kind: str, edition: str = "none") -> Mapping[str, Mapping[str, Any]]:
    return {one.name: one.properties for one in stack(edition).resources(f"AWS::{kind}")}


def test_the_template_is_as_the_datasets_need_it() -> None:
    text = (FOLDER / "analytics.yaml").read_text("utf-8")
    assert analytics_template(text, datasets(), DASHBOARDS) == text, "run `city-platform datasets template`"


def test_a_dataset_more_is_its_folder_more() -> None:
    (trees,) = load_datasets(FIXTURES)
    text = analytics_template(f"Resources:\n{MARKER}\n", [trees], FOLDER / "none")
    made = parse(text)["Resources"]
    assert {name for name in made if "Database" not in name} == {
        *("CleanedTrees", "RejectedTrees", "CuratedTrees", "EncryptedTrees", "TreesRulesQuality"),
        *(
            "TreesBrewSrc",
            "TreesBrewRcp",
            "TreesBrewPrj",
            "TreesBrewCln",
            "TreesBrewPrf",
            "TreesBrewClnLogs",
            "TreesBrewPrfLogs",
        ),
    }


def test_a_template_without_its_marker_or_with_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoPlaceToWrite, match="at the end of its Resources"):
        analytics_template("Resources: {}\n", datasets()[:1], DASHBOARDS)
    monkeypatch.setattr("city_platform.deployment.analytics.template.MOST_RESOURCES", 3)
    with pytest.raises(TemplateTooLarge, match="a stack of their own"):
        analytics_template(f"{MARKER}\n", datasets()[:1], FOLDER / "none")


def test_every_layer_of_every_dataset_has_a_table_as_the_catalog_registers_it() -> None:
    tables = of_kind("Glue::Table")
    found = {(one["DatabaseName"], one["TableInput"]["Name"]): one["TableInput"] for one in tables.values()}
    assert set(found) == {(f"${{{layer.title()}Database}}", one.name) for layer in LAYERS for one in datasets()}
    databases = {one["DatabaseInput"]["Name"] for one in of_kind("Glue::Database").values()}
    ours = {name for name in databases if name.startswith(PREFIX)}
    assert ours == {
        f"{PREFIX}{layer}" for layer in LAYERS
    }  # the catalog's adapter takes all of that prefix for its own
    buckets = {"cleaned": "Transform", "rejected": "Transform", "curated": "Curated", "encrypted": "Curated"}
    for dataset in datasets():
        for layer, bucket in buckets.items():
            given = found[f"${{{layer.title()}Database}}", dataset.name]
            storage = given["StorageDescriptor"]
            place = f"s3://${{import:city-platform-dev-{bucket}Bucket}}/{layer}/{dataset.name}"
            assert storage["Location"] == place
            assert storage["SerdeInfo"]["SerializationLibrary"].endswith("ParquetHiveSerDe")
            types = {one["Name"]: one["Type"] for one in storage["Columns"]}
            (key,) = given["PartitionKeys"]
            assert key["Name"] not in types  # a name twice, and Athena refuses the table
            assert all(one["Comment"] for one in (*storage["Columns"], key))
            declared = {one.name.lower(): catalog_type(one.sql_type) for one in dataset.contract.columns}
            if layer in {"cleaned", "encrypted"}:
                assert {name: kind for name, kind in types.items() if not name.startswith("_")} == declared
            assert types == {c.name.lower(): c.type for c in catalog_table(dataset, layer, place).columns}
            # What the catalog's adapter reads back as version 1, after which a refresh may save version 2.
            assert given["Parameters"]["schema_version"] == "1"


def test_a_summarys_types_are_those_of_its_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    engine = DuckDBEngine(tmp_path_factory.mktemp("engine"), threads=1)
    for dataset in datasets():
        with engine.session() as session:
            columns = ", ".join(f'"{one.name}" {masked_type(one)}' for one in dataset.contract.columns)
            session.execute(f"CREATE TEMP TABLE trusted ({columns})")
            session.execute("SET VARIABLE report_date = DATE '2024-01-01'")
            arrow = session.stream(dataset.curated_sql.rstrip().removesuffix(";")).schema
            written = {field.name: catalog_type(str(field.type)) for field in arrow}
        declared = {name: catalog_type(kind) for name, kind in layer_schema(dataset, "curated").items()}
        assert declared == written, dataset.name


def test_the_rulesets_are_the_stewards() -> None:
    given = {one["Name"]: one for one in of_kind("Glue::DataQualityRuleset").values()}
    for dataset in datasets():
        for name, wanted in [("rules", dataset.rules), *dataset.advisory]:
            one = given.pop(f"city-platform-dev-{dataset.name}-{name}")
            read, mistakes = parse_ruleset(one["Ruleset"], "x")
            assert mistakes == []
            assert read == wanted  # today's rules need nothing that Glue lacks
            assert one["TargetTable"]["TableName"] == f"${{Cleaned{_camel(dataset.name)}}}"
    assert given == {}


def test_rules_that_need_more_than_the_table_are_left_out_with_the_reason() -> None:
    kept, left_out = for_glue(
        ruleset(
            'Rules = [ RowCount > 0, ReferentialIntegrity "A" "b.A" = 1.0, FileSize > 1 KB, '
            '((RowCount > 1) OR (RowCountMatch "b" >= 0.9)), DetectAnomalies "RowCount" ]'
        )
    )
    assert kept == ruleset("Rules = [ RowCount > 0 ]")
    assert [one.rpartition("(")[2] for one in left_out] == [
        "it compares with another dataset)",
        "it looks at the source's files)",
        "it compares with another dataset)",
        "it learns from the platform's earlier evaluations)",
    ]


@settings(max_examples=60)
@given(rulesets)
def test_no_rule_gets_lost_on_its_way_to_glue(any_ruleset: Ruleset) -> None:
    given_to_glue, left_out = for_glue(any_ruleset)
    assert len(given_to_glue.rules) + len(left_out) == len(any_ruleset.rules) + len(any_ruleset.analyzers)
    assert [one for one in any_ruleset.rules if one in given_to_glue.rules] == list(given_to_glue.rules)
    kept = {rule.type for item in given_to_glue.rules for rule in leaves(item)}
    assert not kept & {"ReferentialIntegrity", "DatasetMatch", "RowCountMatch", "FileSize", "DetectAnomalies"}


def test_databrew_has_the_steps_of_the_recipes_under_the_names_that_were_there_before() -> None:
    recipes = of_kind("DataBrew::Recipe")
    landed = [dataset for dataset in datasets() if not dataset.contract.exported]
    assert len(recipes) == len(landed) == len(datasets()) - 2
    for dataset in landed:
        steps = json.loads((dataset.folder / "recipe.json").read_text("utf-8"))
        assert recipes[f"{_camel(dataset.name)}BrewRcp"]["Steps"] == steps
    names = {one["Name"] for kind in ("Project", "Job") for one in of_kind(f"DataBrew::{kind}").values()}
    assert {"cov-busi-license-prj-dev", "cov-busi-license-cln-dev", "cov-parking-tickets-cln-dev"} <= names


def test_no_profile_looks_at_a_personal_column() -> None:
    jobs = of_kind("DataBrew::Job")
    for dataset in datasets():
        if not dataset.contract.exported:
            job = jobs[f"{_camel(dataset.name)}BrewPrf"]
            shown = {one["Name"] for one in job["ProfileConfiguration"]["ProfileColumns"]}
            assert shown == {one.source_name for one in dataset.contract.columns if not one.personal}
    for job in jobs.values():
        assert (job["EncryptionMode"], job["EncryptionKeyArn"]) == (
            "SSE-KMS",
            "${import:city-platform-dev-PersonalKeyArn}",
        )


def test_the_work_group_is_enforced_and_its_results_are_encrypted_and_end() -> None:
    (group,) = of_kind("Athena::WorkGroup").values()
    settings = group["WorkGroupConfiguration"]
    assert settings["EnforceWorkGroupConfiguration"] is True
    assert settings["BytesScannedCutoffPerQuery"] == 10 << 30
    results = settings["ResultConfiguration"]
    assert results["EncryptionConfiguration"]["EncryptionOption"] == "SSE_KMS"
    assert results["OutputLocation"] == "s3://${import:city-platform-dev-CrawlerBucket}/athena-results/"
    lake = template("foundation").deploy(Suffix="x")
    bucket = lake["CrawlerBucket"].properties
    assert _ends(bucket, "athena-results/") <= 30
    assert _ends(lake["TransformBucket"].properties, "databrew/") <= 30


def _ends(bucket: Mapping[str, Any], prefix: str) -> int:
    """After how many days objects below the prefix end."""
    (rule,) = [one for one in bucket["LifecycleConfiguration"]["Rules"] if one.get("Prefix") == prefix]
    return int(rule["ExpirationInDays"])


def test_the_crawler_changes_no_table_and_writes_to_its_own_database_alone() -> None:
    (crawler,) = of_kind("Glue::Crawler").values()
    assert set(crawler["SchemaChangePolicy"].values()) == {"LOG"}
    assert crawler["DatabaseName"] == "${CrawledDatabase}"
    assert json.loads(crawler["Configuration"])["Grouping"]["TableLevelConfiguration"] == 3
    (policy,) = stack()["CrawlerRole"].properties["Policies"]
    writing = [
        resource
        for statement in policy["PolicyDocument"]["Statement"]
        if any(re.match("glue:(Create|Update|Batch)", action) for action in statement["Action"])
        for resource in statement["Resource"]
    ]
    assert all("CrawledDatabase" in one or one.endswith(":catalog") for one in writing)
    (trigger,) = of_kind("Glue::Trigger").values()
    assert re.fullmatch(r"cron\(\d+ \d+ \? \* MON \*\)", trigger["Schedule"])
    assert trigger["Actions"] == [{"CrawlerName": "${SchemaCrawler}"}]
    assert trigger["StartOnCreation"] is True


def test_readers_have_no_personal_key_and_no_cleaned_rows() -> None:
    statements = stack()["ReaderPolicy"].properties["PolicyDocument"]["Statement"]
    allowed = [one for one in statements if one["Effect"] == "Allow"]
    assert "PersonalKey" not in str(allowed)
    assert "Cleaned" not in str(allowed)
    assert "cleaned" not in str(allowed)
    for one in allowed:
        if "kms:" in str(one["Action"]):  # wrapped column keys are opened by calls of one's own, not through S3
            assert one["Condition"]["StringEquals"]["kms:ViaService"].startswith("s3.")
    (denied,) = [one for one in statements if one["Effect"] == "Deny"]
    assert denied["Resource"] == "${import:city-platform-dev-PersonalKeyArn}"
    assert "kms:Decrypt" in denied["Action"]
    for role in ("AnalystRole", "QuickSightRole", "SpectrumRole"):
        assert stack("STANDARD")[role].properties["ManagedPolicyArns"] == ["${ReaderPolicy}"]
        assert "Policies" not in stack("STANDARD")[role].properties


def test_services_take_a_role_for_this_account_alone() -> None:
    roles = {one.name: one.properties for one in stack("ENTERPRISE").resources("AWS::IAM::Role")}
    for name, role in roles.items():
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        if name != "AnalystRole":
            assert set(statement["Principal"]) == {"Service"}, name
            assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "${AWS::AccountId}"}, name
    readers = ("crawler", "databrew", "quality", "quicksight", "spectrum", "analyst")  # the buckets' policies know them
    assert {role.get("RoleName") for role in roles.values()} - {None} == {f"city-platform-dev-{one}" for one in readers}


def test_the_questions_are_there_in_athenas_words_but_for_encrypted_columns() -> None:
    named = {one["Name"]: one for one in of_kind("Athena::NamedQuery").values()}
    for dataset in datasets():
        for question in dataset.questions:
            found = named.get(f"city-platform-dev-{dataset.name}-{question.name}")
            public = {c.name for c in dataset.contract.columns if c.classification is Classification.PUBLIC}
            assert (found is not None) == (set(question.columns) <= public)
            if found:
                assert f"FROM city_encrypted.{dataset.name} AS trusted" in found["QueryString"]
                assert found["Description"] == question.title
                sqlglot.parse_one(found["QueryString"], dialect="athena")
    assert encrypted_questions(next(one for one in datasets() if one.name == "incidents")) == {
        "by_reporter": ["reporter"]
    }


def test_dashboards_are_made_where_the_account_has_an_edition() -> None:
    assert not [one for one in stack().resources() if "QuickSight" in one.kind or "Dashboard" in one.name]
    datasets_shown = {"Incidents", "BusinessLicences", "TrafficReadings"}
    for kind in ("Template", "Analysis", "Dashboard"):  # the Standard edition's API refuses them
        assert set(of_kind(f"QuickSight::{kind}", "ENTERPRISE")) == {f"{name}{kind}" for name in datasets_shown}
        assert not of_kind(f"QuickSight::{kind}", "STANDARD")
    hourly = {"STANDARD": "DAILY", "ENTERPRISE": "HOURLY"}
    for edition, interval in hourly.items():
        refreshed = of_kind("QuickSight::RefreshSchedule", edition)
        assert len(refreshed) == len(of_kind("QuickSight::DataSet", edition))
        of_incidents = refreshed["IncidentsByDistrictRefresh"]["Schedule"]["ScheduleFrequency"]
        assert of_incidents["Interval"] == interval
        assert ("TimeOfTheDay" in of_incidents) == (interval == "DAILY")  # an hour has no time of the day
        assert refreshed["BusinessLicencesAverageFeeRefresh"]["Schedule"]["ScheduleFrequency"]["Interval"] == "DAILY"


def test_what_quicksight_shows_is_for_one_group() -> None:
    pattern = re.compile(template("analytics").parameters["QuickSightPrincipal"]["AllowedPattern"])
    assert pattern.fullmatch("group/default/city-analysts")
    assert not any(map(pattern.fullmatch, ("*", "group/default/*", "namespace/default", "user/default/*")))
    for one in stack("ENTERPRISE").resources():
        for permission in one.properties.get("Permissions", ()):
            assert permission["Principal"].endswith(":group/default/city-analysts"), one
            assert not any("*" in action for action in permission["Actions"])


def test_every_column_that_a_visual_shows_is_in_its_data_set_and_every_data_set_in_the_catalog() -> None:
    queries = {
        f"city-platform-dev-{one.dataset}-{one.name}": one
        for one in (*questions(datasets()), *dashboard_queries(DASHBOARDS, datasets()))
    }
    sets = of_kind("QuickSight::DataSet", "ENTERPRISE")
    assert {one["DataSetId"] for one in sets.values()} == set(queries)
    for one in sets.values():
        (physical,) = one["PhysicalTableMap"].values()
        query = queries[one["DataSetId"]]  # its columns are those of the catalog's tables: DuckDB planned it over them
        assert physical["CustomSql"]["SqlQuery"] == query.athena
        assert [column["Name"] for column in physical["CustomSql"]["Columns"]] == list(query.columns)
    for name, one in of_kind("QuickSight::Template", "ENTERPRISE").items():
        definition = one["Definition"]
        schemas = {
            each["Placeholder"]: {column["Name"] for column in each["DataSetSchema"]["ColumnSchemaList"]}
            for each in definition["DataSetConfigurations"]
        }
        shown = list(_columns_in(definition["Sheets"]))
        assert shown
        assert all(column["ColumnName"] in schemas[column["DataSetIdentifier"]] for column in shown)
        kind = name.removesuffix("Template")
        for made in (f"{kind}Analysis", f"{kind}Dashboard"):
            source = stack("ENTERPRISE")[made].properties["SourceEntity"]["SourceTemplate"]
            assert {each["DataSetPlaceholder"] for each in source["DataSetReferences"]} == set(schemas)


def _columns_in(value: Any) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"DataSetIdentifier", "ColumnName"}:
            yield value
        for one in value.values():
            yield from _columns_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from _columns_in(one)


def test_an_export_of_incidents_has_their_data_sets_read_anew() -> None:
    every = stack("ENTERPRISE")
    rule = every["DashboardRefreshRule"].properties
    assert rule["EventPattern"]["detail"] == {
        "status": ["SUCCEEDED"],
        "stateMachineArn": ["${import:city-platform-dev-ExportStateMachineArn}"],
    }
    (target,) = rule["Targets"]
    given = json.loads(target["Input"])
    ids = {one["DataSetId"] for one in of_kind("QuickSight::DataSet", "ENTERPRISE").values()}
    assert set(given["dataSets"]) == {one for one in ids if one.startswith("city-platform-dev-incidents-")}
    definition = every["DashboardRefresh"].properties["Definition"]
    wait, each = definition["States"]["Publishing"], definition["States"]["Each"]
    assert given[wait["SecondsPath"].removeprefix("$.")] == 900
    assert each["ItemsPath"].removeprefix("$.") in given
    task = each["ItemProcessor"]["States"]["Refresh"]
    assert task["Parameters"]["DataSetId.$"] == "$"
    (policy,) = every["DashboardRefreshRole"].properties["Policies"]
    may = policy["PolicyDocument"]["Statement"][0]
    assert may["Action"] == "quicksight:CreateIngestion"
    pattern = re.compile(re.escape(may["Resource"].rpartition("dataset/")[2]).replace(r"\*", ".*"))
    assert all(pattern.fullmatch(f"{one}/ingestion/x") for one in given["dataSets"])


def test_redshift_is_told_how_to_read_the_summaries() -> None:
    ddl = str(stack().outputs["SpectrumExternalSchema"]["Value"])
    found = re.fullmatch(
        r"CREATE EXTERNAL SCHEMA IF NOT EXISTS (\S+) FROM DATA CATALOG DATABASE '(\S+)' REGION '\S+' IAM_ROLE '(\S+)'",
        ddl,
    )
    assert found
    assert found.groups() == ("${CuratedDatabase}", "${CuratedDatabase}", "${SpectrumRole.Arn}")
    assert "SpectrumExternalSchema" not in template("analytics").deploy().outputs


def ruleset(text: str) -> Ruleset:
    read, mistakes = parse_ruleset(text, "x")
    assert read is not None, mistakes
    return read


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
