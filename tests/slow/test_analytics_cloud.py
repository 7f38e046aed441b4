"""From the stacks' templates to an answer of Athena, on an emulated AWS: keys, buckets, tables, rows, questions."""

import json
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from city_platform.datasets import Dataset, load_dataset
from city_platform.deployment import open_platform
from city_platform.lake.zones import Zone
from city_platform.layers import freshness, landing, questions
from city_platform.samples import generate
from tests.emulator import REGION, SECRETS, client, emulated_aws
from tests.patience import until
from tests.templates import template
from tests.town import ROOT

# What the emulator refuses; nothing else of the templates refers to it.
REFUSED = (
    "DataQualityRuleset",
    "NamedQuery",
    "DataBrew",
    "QuickSight",
    "Workflow",
    "CatalogEncryption",
    "SecurityConfiguration",
)
BUCKETS = {zone: f"cov-{short}-test" for zone, short in zip(Zone, ("raw", "trf", "cur", "crw"), strict=True)}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with emulated_aws(tmp_path_factory.mktemp("emulator")) as url:
        yield url


def make_stack(endpoint: str, name: str, **parameters: str) -> None:
    body = dict(template(name).body)
    kept = {key: one for key, one in body["Resources"].items() if not any(word in one["Type"] for word in REFUSED)}
    for one in kept.values():
        if one["Type"] in {"AWS::Glue::Crawler", "AWS::Glue::Trigger"}:
            unknown = {"CrawlerSecurityConfiguration", "WorkflowName"}
            one["Properties"] = {key: value for key, value in one["Properties"].items() if key not in unknown}
    texts = client(endpoint, "s3")
    texts.put_object(Bucket="templates", Key=name, Body=json.dumps(body | {"Resources": kept}).encode())
    stacks = client(endpoint, "cloudformation")
    given = {"Environment": "dev"} | parameters
    stacks.create_stack(
        StackName=name,
        TemplateURL=f"{endpoint}/templates/{name}",
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    made = until(
        lambda: stacks.describe_stacks(StackName=name)["Stacks"][0],
        lambda one: not one["StackStatus"].endswith("IN_PROGRESS"),
    )
    events = stacks.describe_stack_events(StackName=name)["StackEvents"]
    failed = [one.get("ResourceStatusReason") for one in events if "FAILED" in one["ResourceStatus"]]
    assert made["StackStatus"] == "CREATE_COMPLETE", failed


def answer(athena: Any, sql: str) -> list[list[str | None]]:
    """The rows of an answer, as texts."""
    started = athena.start_query_execution(QueryString=sql, WorkGroup="city-platform-dev")["QueryExecutionId"]
    told = until(
        lambda: athena.get_query_execution(QueryExecutionId=started)["QueryExecution"]["Status"],
        lambda one: one["State"] not in {"QUEUED", "RUNNING"},
    )
    assert told["State"] == "SUCCEEDED", told
    _, *rows = athena.get_query_results(QueryExecutionId=started)["ResultSet"]["Rows"]
    return [[one.get("VarCharValue") for one in row["Data"]] for row in rows]


def same(one: Any, other: str | None) -> bool:
    """Athena divides in floating point, so that a cent's half may fall to either side."""
    if one is None or isinstance(one, str):
        return bool(one == other)
    return other is not None and abs(Decimal(str(one)) - Decimal(other)) <= Decimal("0.01")


def test_athena_answers_from_the_declared_tables_what_the_platform_answers(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = partial(make_stack, endpoint)
    client(endpoint, "s3").create_bucket(Bucket="templates", CreateBucketConfiguration={"LocationConstraint": REGION})
    make("rights")
    make("keys")
    make("foundation", Suffix="test")
    make("key-aliases")
    make("analytics")
    topic = client(endpoint, "sns").create_topic(Name="alerts")["TopicArn"]
    environment = {
        "CITY_PLATFORM_DEPLOYMENT": "aws",
        **{f"CITY_PLATFORM_{zone.name}_BUCKET": name for zone, name in BUCKETS.items()},
        "CITY_PLATFORM_ALERTS_TOPIC": topic,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        **SECRETS,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    platform = open_platform(tmp_path / "home")
    dataset, mistakes = load_dataset(ROOT / "datasets" / "business_licences")
    assert dataset is not None, mistakes
    generate(dataset.name, tmp_path / "licences.csv", rows=3000, seed=7)
    for year in landing.land(platform, dataset, tmp_path / "licences.csv").partitions:
        for layer in freshness.LAYERS:
            layer.materialize(platform, dataset, year)

    # The emulator keeps no versions of tables, so none is refreshed here: what is read is what the stack declared. It
    # reads every file below a table's location; each year was published once.
    (declared,) = client(endpoint, "glue").get_tables(DatabaseName="city_encrypted", Expression=dataset.name)[
        "TableList"
    ]
    assert declared["StorageDescriptor"]["Location"] == platform.lake.store.uri(f"encrypted/{dataset.name}")
    _, answers = questions.materialize(platform, dataset)
    expected = {one.question.name: one.rows for one in answers}
    athena = client(endpoint, "athena")
    queries = _named_queries(dataset)
    assert set(queries) == set(expected)
    for name, sql in queries.items():
        found = answer(athena, sql)
        assert len(found) == len(expected[name]) > 0
        for row, wanted in zip(found, expected[name], strict=True):
            assert all(same(one, other) for one, other in zip(wanted, row, strict=True)), (name, row, wanted)


def _named_queries(dataset: Dataset) -> dict[str, str]:
    prefix = f"city-platform-dev-{dataset.name}-"
    named = template("analytics").deploy().resources("AWS::Athena::NamedQuery")
    return {
        one.properties["Name"].removeprefix(prefix): one.properties["QueryString"]
        for one in named
        if one.properties["Name"].startswith(prefix)
    }
