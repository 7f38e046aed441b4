"""The template of live traffic is what the code uses: names, keys, settings, sizes, metrics, events."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from math import ceil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from city_platform.aws import traffic_state
from city_platform.aws.incidents import IncidentTables
from city_platform.aws.settings import ALERTS_TOPIC, BUCKETS, EVENT_BUS, TRAFFIC_TABLE, IncompleteSettings
from city_platform.deployment import DEPLOYMENT, PUBLIC_URL, event_schemas
from city_platform.deployment.alerts import SLACK_SECRET, SMS_TOPIC
from city_platform.deployment.incidents import TABLES
from city_platform.event_types import TYPES
from city_platform.functions import traffic, traffic_alerts, traffic_archive, traffic_provisioning, traffic_relay
from city_platform.functions import traffic_watch as watching
from city_platform.governance.events import QualityGateFailed
from city_platform.incidents.events import ExportCompleted, IncidentBecameCritical
from city_platform.traffic import cost, dead_letters, events, metrics
from city_platform.traffic.archive import DATASET, LAYER
from city_platform.traffic.handler import Outcome
from city_platform.traffic.registry import REGISTRY, registry_of
from city_platform.traffic.routes import load_routes
from city_platform.traffic.state import KEEP_MS, Window
from city_platform.traffic.telemetry import ANCIENT_MS, Reason
from tests.conftest import ROOT
from tests.policies import statements, texts
from tests.templates import Resource, template, walk
from tests.traffic import NOON, Told, columns, event, record

TRAFFIC = template("iot-analytics-system")
STACK = TRAFFIC.deploy()
FILE = ROOT / "infrastructure/iot-analytics-system.yaml"
FUNCTIONS = {one.name: one for one in STACK.resources("AWS::Lambda::Function")}


def properties(name: str) -> Mapping[str, Any]:
    return STACK[name].properties


# Load: what is there for it, and what it costs.

LOADS = {
    "town": ("packed", cost.Load(500, 500, 20)),
    "city": ("packed", cost.Load()),
    "messages": ("single", cost.Load()),
}


@pytest.mark.parametrize("name", LOADS)
def test_the_capacities_are_those_the_cost_model_computes(name: str) -> None:
    design, load = LOADS[name]
    needed = cost.capacity(design, load)
    given = TRAFFIC.body["Mappings"]["Capacities"][name]
    assert given["Shards"] >= needed.shards
    assert given["Functions"] == given["Shards"] * cost.BATCHES_AT_ONCE >= needed.functions
    assert given["WriteUnits"] == needed.write_units + needed.record_write_units
    assert given["ReadUnits"] == needed.read_units
    assert (given["MostWriteUnits"], given["MostReadUnits"]) == (4 * given["WriteUnits"], 4 * given["ReadUnits"])
    if design == "packed":
        assert given["Shards"] == needed.shards
        assert given["Functions"] >= ceil(needed.cores * cost.HEADROOM)


def test_fifty_thousand_messages_a_second_have_sixty_four_shards() -> None:
    """Keyed by sensor, the fullest of 64 gets 835 of the 1,000 records a second that a shard takes; of 50, too many."""
    assert TRAFFIC.body["Mappings"]["Capacities"]["messages"]["Shards"] == 64


@pytest.mark.parametrize("name", LOADS)
def test_a_stack_has_the_shards_functions_and_units_of_its_load(name: str) -> None:
    given = TRAFFIC.body["Mappings"]["Capacities"][name]
    stack = TRAFFIC.deploy(Capacity=name, TableMode="PROVISIONED")
    assert stack["TrafficStream"].properties["ShardCount"] == given["Shards"]
    for function, source in (("LiveFunction", "LiveMapping"), ("ArchiveFunction", "ArchiveMapping")):
        reserved = stack[function].properties["ReservedConcurrentExecutions"]
        assert reserved >= given["Shards"] * stack[source].properties["ParallelizationFactor"]
    assert all("ReservedConcurrentExecutions" in one.properties for one in stack.resources("AWS::Lambda::Function"))
    throughput = stack["TrafficTable"].properties["ProvisionedThroughput"]
    assert throughput == {"ReadCapacityUnits": given["ReadUnits"], "WriteCapacityUnits": given["WriteUnits"]}
    for kind, target in (("Write", "TableWrites"), ("Read", "TableReads")):
        scaled = stack[target].properties
        assert (scaled["MinCapacity"], scaled["MaxCapacity"]) == (given[f"{kind}Units"], given[f"Most{kind}Units"])
        policy = stack[f"{target}Scaling"].properties["TargetTrackingScalingPolicyConfiguration"]
        assert policy["TargetValue"] == 100 / cost.HEADROOM


def test_a_stream_on_demand_has_no_shards_and_a_table_paid_by_request_no_units() -> None:
    stack = TRAFFIC.deploy(StreamMode="ON_DEMAND", ReserveConcurrency="false")
    assert stack["TrafficStream"].properties["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"}
    assert "ShardCount" not in stack["TrafficStream"].properties
    assert "ProvisionedThroughput" not in stack["TrafficTable"].properties
    assert not stack.resources("AWS::ApplicationAutoScaling::ScalableTarget")
    assert not any("ReservedConcurrentExecutions" in one.properties for one in stack.resources("AWS::Lambda::Function"))


def test_a_stream_on_demand_finds_functions_for_more_shards_than_it_begins_with() -> None:
    stack = TRAFFIC.deploy(StreamMode="ON_DEMAND")
    most = TRAFFIC.body["Mappings"]["Capacities"]["messages"]["Functions"]
    for name in ("LiveFunction", "ArchiveFunction"):
        assert stack[name].properties["ReservedConcurrentExecutions"] == most


def test_the_function_that_counts_is_what_the_cost_model_prices() -> None:
    live, mapping = properties("LiveFunction"), properties("LiveMapping")
    assert live["MemorySize"] == cost.LAMBDA_GB * 1024
    assert mapping["MaximumBatchingWindowInSeconds"] == cost.BATCH_S
    assert mapping["ParallelizationFactor"] == cost.BATCHES_AT_ONCE
    assert properties("WatchFunction")["MemorySize"] == live["MemorySize"]
    assert properties("ArchiveFunction")["MemorySize"] == cost.ARCHIVE_GB * 1024
    assert properties("ArchiveMapping")["MaximumBatchingWindowInSeconds"] == cost.ARCHIVE_WINDOW_S


def test_the_bill_has_every_alarm_metric_and_key_of_the_stack() -> None:
    assert len(STACK.resources("AWS::CloudWatch::Alarm")) <= cost.ALARMS
    levels = properties("TrafficStream")["DesiredShardLevelMetrics"]
    city = TRAFFIC.body["Mappings"]["Capacities"]["city"]["Shards"]
    assert len(emitted()) + len(levels) * city <= cost.METRICS
    assert len(STACK.resources("AWS::KMS::Key")) <= cost.KEYS
    assert cost.estimate("packed", cost.Load(), cost.read_prices()).usd <= cost.LIMIT_USD


def test_the_default_registry_is_the_towns() -> None:
    town = registry_of({REGISTRY: TRAFFIC.parameters["TrafficRegistry"]["Default"]})
    load = LOADS[TRAFFIC.parameters["Capacity"]["Default"]][1]
    assert (len(town), len(town.zones)) == (load.sensors, load.zones)


# Names, keys, lifetimes.


def test_the_tables_are_those_the_adapters_use() -> None:
    table = properties("TrafficTable")
    assert {one["AttributeName"] for one in table["KeySchema"]} == set(traffic_state._key("x"))
    assert [one["AttributeName"] for one in table["KeySchema"]] == list(traffic_state._key("x"))
    assert {one["AttributeType"] for one in table["AttributeDefinitions"]} == {"S"}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    assert "ttl" in Window.__struct_fields__
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    marks, tables = properties("MarksTable"), IncidentTables(settings_of("AlertsFunction")[TABLES])
    (definition,) = [one for one in tables.definitions() if one["TableName"] == tables.marks]
    assert marks["TableName"] == tables.marks
    assert marks["KeySchema"] == definition["KeySchema"]
    assert marks["AttributeDefinitions"] == definition["AttributeDefinitions"]
    assert marks["TimeToLiveSpecification"]["AttributeName"] == tables.expiring()[tables.marks]


def test_windows_outlive_the_stream() -> None:
    longest = TRAFFIC.parameters["StreamRetentionHours"]["MaxValue"]
    assert longest * 3_600_000 < KEEP_MS
    assert TRAFFIC.parameters["StreamRetentionHours"]["Default"] == (168 if cost.RETENTION_EXTENDED else 24)


def test_a_batch_is_tried_until_its_readings_are_ancient_and_the_archives_as_long_as_the_stream_has_it() -> None:
    assert properties("LiveMapping")["MaximumRecordAgeInSeconds"] * 1000 == ANCIENT_MS
    assert (
        properties("ArchiveMapping")["MaximumRecordAgeInSeconds"]
        == properties("TrafficStream")["RetentionPeriodHours"] * 3600
    )


def test_a_mapping_loses_nothing_unsaid() -> None:
    mappings = STACK.resources("AWS::Lambda::EventSourceMapping")
    assert {one.name for one in mappings} == {"LiveMapping", "ArchiveMapping", "RelayMapping"}
    for one in mappings:
        assert one.properties["StartingPosition"] == "TRIM_HORIZON"
        assert one.properties["BisectBatchOnFunctionError"] is True
        assert one.properties["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert one.properties["MaximumRetryAttempts"] > 0
        assert one.properties["DestinationConfig"]["OnFailure"]["Destination"] == "${DeadLettersQueue.Arn}"


def test_the_relay_is_called_for_what_waits_in_the_outbox() -> None:
    (pattern,) = properties("RelayMapping")["FilterCriteria"]["Filters"]
    waiting = {"part": {"S": [traffic_state._OUTBOX]}}
    assert json.loads(pattern["Pattern"]) == {"eventName": ["INSERT"], "dynamodb": {"Keys": waiting}}


def test_alerts_are_tried_until_they_are_stale() -> None:
    stale = load_routes().stale_minutes * 60
    (target,) = properties("AlertsRule")["Targets"]
    assert properties("AlertsAttempts")["MaximumEventAgeInSeconds"] == stale
    assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == stale


def test_what_functions_write_goes_where_their_roles_may_write() -> None:
    written = {
        "LiveRole": f"/{dead_letters.PREFIX}/*",
        "ArchiveRole": f"/{LAYER}/{DATASET}/*",
    }
    for role, place in written.items():
        allowed = [one for one in walk(STACK[role].properties) if isinstance(one, str) and one.startswith("arn:")]
        assert any(one.endswith(place) for one in allowed)
    assert traffic.BUCKET in settings_of("LiveFunction")


# Settings.

OPENED: Mapping[str, tuple[Any, Callable[[], Any]]] = {
    "LiveFunction": (traffic, traffic.traffic_handler),
    "ArchiveFunction": (traffic_archive, traffic_archive.traffic_archive),
    "WatchFunction": (watching, watching.watch),
    "RelayFunction": (traffic_relay, traffic_relay.parts),
    "AlertsFunction": (traffic_alerts, traffic_alerts.router),
    "HookFunction": (traffic_provisioning, traffic_provisioning.registry),
}
LAKE = {*BUCKETS.values(), ALERTS_TOPIC, DEPLOYMENT}
SETTINGS = {
    "LiveFunction": {TRAFFIC_TABLE, traffic.BUCKET, REGISTRY},
    "ArchiveFunction": LAKE | {REGISTRY},
    "WatchFunction": {TRAFFIC_TABLE, REGISTRY, PUBLIC_URL},
    "RelayFunction": {TRAFFIC_TABLE, EVENT_BUS},
    "AlertsFunction": LAKE | {SMS_TOPIC, SLACK_SECRET, TABLES},
    "HookFunction": {REGISTRY},
}
WITH_DEFAULT = {REGISTRY, PUBLIC_URL, DEPLOYMENT}


def settings_of(function: str) -> Mapping[str, str]:
    found: Mapping[str, str] = properties(function)["Environment"]["Variables"]
    return found


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """An environment without any setting of the platform but a region, and functions that opened nothing."""
    for name in {name for names in SETTINGS.values() for name in names}:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "ca-central-1")
    monkeypatch.setenv("CITY_PLATFORM_HOME", str(tmp_path))
    for _, opened in OPENED.values():
        opened.cache_clear()  # type: ignore[attr-defined]
    yield monkeypatch
    for _, opened in OPENED.values():
        opened.cache_clear()  # type: ignore[attr-defined]


def test_every_function_is_one_of_the_codes() -> None:
    assert set(FUNCTIONS) == set(OPENED)
    for name, function in FUNCTIONS.items():
        module, _, handler = str(function.properties["Handler"]).rpartition(".")
        assert getattr(import_module(module), handler) is OPENED[name][0].handler


@pytest.mark.parametrize("name", OPENED)
def test_a_function_opens_with_the_templates_settings_and_needs_each_of_them(
    name: str, alone: pytest.MonkeyPatch
) -> None:
    settings = settings_of(name)
    assert set(settings) == SETTINGS[name]
    opened = OPENED[name][1]
    for setting, value in settings.items():
        alone.setenv(setting, str(value) or "x")
    opened()
    for setting in set(settings) - WITH_DEFAULT:
        opened.cache_clear()  # type: ignore[attr-defined]
        alone.delenv(setting)
        with pytest.raises(IncompleteSettings, match=setting):
            opened()
        alone.setenv(setting, settings[setting])


# Metrics.


def emitted() -> set[str]:
    """The names of all metrics that a batch may bring."""
    outcome = Outcome(records=1, accepted=1, rejected=dict.fromkeys(Reason, 1))
    outcome.latency[0] = 1
    batch = metrics.Batch(event(record(columns([Told(0, 100, NOON, 1)]))), NOON, NOON, 1.0)
    (directive,) = json.loads(metrics.document(batch, outcome))["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["Stream"]]
    return {one["Name"] for one in directive["Metrics"]}


def watched(alarm: Resource) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Namespace, name and dimensions of each metric of an alarm."""
    for one in walk(alarm.properties):
        if isinstance(one, dict) and "MetricName" in one:
            yield one["Namespace"], one["MetricName"], {each["Name"]: each["Value"] for each in one["Dimensions"]}


def test_alarms_watch_metrics_that_there_are() -> None:
    found = [one for alarm in STACK.resources("AWS::CloudWatch::Alarm") for one in watched(alarm)]
    own = [one for one in found if not one[0].startswith("AWS/")]
    assert {name for namespace, name, _ in own if namespace == metrics.NAMESPACE} <= emitted()
    assert {namespace for namespace, _, _ in own} == {metrics.NAMESPACE}
    assert all(dimensions == {"Stream": "${TrafficStream}"} for _, _, dimensions in own)


def test_every_function_is_watched_for_errors_and_throttles() -> None:
    for alarm, metric in (("FunctionErrors", "Errors"), ("FunctionThrottles", "Throttles")):
        names = {dimensions["FunctionName"] for _, name, dimensions in watched(STACK[alarm]) if name == metric}
        assert names == {f"${{{name}}}" for name in FUNCTIONS}
    rules = {dimensions["RuleName"] for _, _, dimensions in watched(STACK["RulesFail"])}
    assert rules == {f"${{{one.name}}}" for one in STACK.resources("AWS::IoT::TopicRule")}
    names = {dimensions["RuleName"] for _, _, dimensions in watched(STACK["EventsLost"])}
    assert names == {one.properties["Name"] for one in STACK.resources("AWS::Events::Rule")}


def test_an_alarm_tells_operations_and_says_what_missing_data_mean() -> None:
    for own, topic in (("", "${OperationsTopic}"), ("arn", "arn")):
        for alarm in TRAFFIC.deploy(OperationsTopicArn=own).resources("AWS::CloudWatch::Alarm"):
            assert alarm.properties["AlarmActions"] == alarm.properties["OKActions"] == [topic]
            silent = alarm.name in {"NothingComesIn", "WatchStands"}
            assert alarm.properties["TreatMissingData"] == ("breaching" if silent else "notBreaching")
            assert len(alarm.properties["AlarmDescription"]) > 40


# Events.


def test_the_rules_take_the_events_that_the_code_tells() -> None:
    pattern = properties("AlertsRule")["EventPattern"]
    assert pattern["source"] == [events.SOURCE]
    assert set(pattern["detail-type"]) == set(events.TYPES)
    for name in ("EventLogRule", "EventArchive"):
        (source,) = properties(name)["EventPattern"]["source"]
        assert all(kind.SOURCE.startswith(source["prefix"]) for kind in TYPES.values())
    for rule in STACK.resources("AWS::Events::Rule"):
        for target in rule.properties["Targets"]:
            assert target["DeadLetterConfig"] == {"Arn": "${DeadLettersQueue.Arn}"}
            assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0


def test_nobody_but_the_relay_speaks_for_traffic() -> None:
    statement = properties("EventBusPolicy")["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Condition"]["StringEquals"] == {"events:source": events.SOURCE}
    assert statement["Condition"]["ArnNotEquals"] == {"aws:PrincipalArn": "${RelayRole.Arn}"}
    assert properties("RelayFunction")["Role"] == "${RelayRole.Arn}"


def test_who_else_tells_something_may_tell_of_that_alone() -> None:
    told = {
        (stack, sid): (one["Resource"], one["Condition"]["StringEquals"]["events:source"])
        for stack in ("incidents", "dagster")
        for kind in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy")
        for resource in template(stack).deploy().resources(kind)
        for one in allowing(resource.properties, "events:PutEvents")
        if (sid := one["Sid"])
    }
    bus = "${import:city-platform-dev-EventBusArn}"
    assert told == {
        ("incidents", "TellOfCriticalIncidents"): (bus, IncidentBecameCritical.SOURCE),
        ("incidents", "TellOfExports"): (bus, ExportCompleted.SOURCE),
        ("dagster", "TellsOfClosedGates"): (bus, QualityGateFailed.SOURCE),
    }
    assert STACK.exports["city-platform-dev-EventBusArn"] == "${EventBus.Arn}"


def allowing(properties: Mapping[str, Any], action: str) -> Iterator[Mapping[str, Any]]:
    """The statements of a role or policy that allow an action."""
    own = [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
    for document in (*own, *(one["PolicyDocument"] for one in properties.get("Policies", ()))):
        for one in statements(document):
            if action in texts(one.get("Action", [])):
                yield one


@pytest.mark.parametrize("name", ["iot-analytics-system", "keys"])
def test_the_key_of_the_bus_lets_it_its_archive_and_alarms_work(name: str) -> None:
    """Source: Encrypting EventBridge archives with AWS KMS keys, Amazon EventBridge User Guide."""
    policy = template(name).deploy()["LogsKey"].properties["KeyPolicy"]
    needed = {"events.amazonaws.com": {"ReEncryptFrom", "ReEncryptTo"}, "cloudwatch.amazonaws.com": set[str]()}
    for service, more in needed.items():
        actions = {
            action
            for one in policy["Statement"]
            if isinstance(one["Principal"], dict) and service in one["Principal"].get("Service", ())
            for action in one["Action"]
            if one["Condition"] == {"StringEquals": {"aws:SourceAccount": "${AWS::AccountId}"}}
        }
        assert {f"kms:{one}" for one in {"Decrypt", "DescribeKey", "GenerateDataKey"} | more} <= actions


def test_the_schemas_are_those_the_code_writes() -> None:
    text = FILE.read_text("utf-8")
    assert event_schemas.written(text) == text, "python -m city_platform.deployment.event_schemas " + str(FILE)
    with pytest.raises(event_schemas.NoMarks):
        event_schemas.written("Resources: {}")
    schemas = {one.properties["SchemaName"]: one.properties for one in STACK.resources("AWS::EventSchemas::Schema")}
    assert set(schemas) == {f"{kind.SOURCE}@{name}" for name, kind in TYPES.items()}
    for name, kind in TYPES.items():
        content = json.loads(schemas[f"{kind.SOURCE}@{name}"]["Content"])
        jsonschema.Draft4Validator.check_schema(content)
        assert not re.search(r"\$defs|2020-12", json.dumps(content))


def test_a_schema_takes_what_is_told_and_refuses_what_is_not() -> None:
    content = json.loads(properties("ZoneCoverageLostSchema")["Content"])
    told = {
        "schema": 1, "alert_id": "0123456789abcdef", "direction": "up", "window_start": "2026-06-01T17:00:00Z",
        "window_end": "2026-06-01T17:01:00Z", "detected_at": "2026-06-01T17:01:15Z", "links": {"dashboard": "x"},
        "zone_id": "z-001", "silent": 3, "active": 5, "duration_s": None,
    }  # fmt: skip
    validator = jsonschema.Draft4Validator(content)
    assert validator.is_valid(told)
    for wrong in ({"alert_id": "x"}, {"silent": -1}, {"duration_s": "long"}, {"direction": "left"}, {"schema": 2}):
        assert not validator.is_valid(told | wrong), wrong
    assert not validator.is_valid({name: value for name, value in told.items() if name != "zone_id"})


# Alone, and with others.


def test_a_stack_with_others_makes_no_key_bucket_topic_or_secret_of_its_own() -> None:
    given = {
        "DataKeyArn": "data", "LogsKeyArn": "logs", "LakeKeyArn": "lake", "RawBucket": "raw", "TransformBucket": "trf",
        "CuratedBucket": "cur", "CrawlerBucket": "crw", "OperationsTopicArn": "operations",
        "SlackWebhookSecretArn": "slack",
    }  # fmt: skip
    stack = TRAFFIC.deploy(given)
    kinds = {one.kind for one in stack.resources()}
    assert not kinds & {"AWS::KMS::Key", "AWS::S3::Bucket", "AWS::SecretsManager::Secret"}
    assert "OperationsTopic" not in stack.by_name
    text = json.dumps([one.body for one in stack.resources()])
    for own in ("DataKey", "LogsKey", "TrafficBucket", "OperationsTopic", "SlackSecret"):
        assert f"${{{own}" not in text
    assert stack["LiveFunction"].properties["Environment"]["Variables"][traffic.BUCKET] == "trf"
    archive = stack["ArchiveFunction"].properties["Environment"]["Variables"]
    assert [archive[name] for name in BUCKETS.values()] == ["raw", "trf", "cur", "crw"]


def test_slack_is_told_by_a_function_that_may_read_the_webhook_when_its_there_and_by_no_other() -> None:
    for tells, expected in (("true", "${SlackSecret}"), ("false", "none")):
        stack = TRAFFIC.deploy({"TellsSlack": tells})
        assert stack["AlertsFunction"].properties["Environment"]["Variables"][SLACK_SECRET] == expected
        reading = "secretsmanager:GetSecretValue" in json.dumps(stack["AlertsRole"].properties["Policies"])
        assert reading == (tells == "true")
        assert "SlackSecret" in stack.by_name
        assert stack.outputs["TrafficTellsSlack"]["Value"] == tells


def test_what_other_stacks_take_is_exported() -> None:
    names = ("TrafficTableName", "TrafficStreamName", "EventBusName", "TrafficDeadLettersQueueName")
    assert {f"city-platform-dev-{name}" for name in names} <= set(STACK.exports)


def test_functions_stand_in_the_subnets_they_are_given_but_those_that_must_not() -> None:
    stack = TRAFFIC.deploy(PrivateSubnetIds="subnet-1,subnet-2", WorkloadSecurityGroupIds="sg-1")
    inside = {one.name for one in stack.resources("AWS::Lambda::Function") if "VpcConfig" in one.properties}
    assert inside == set(FUNCTIONS) - {"AlertsFunction", "HookFunction"}
    roles = {one.name for one in stack.resources("AWS::IAM::Role") if "${SubnetPolicy}" in walk(one.properties)}
    assert roles == {name.replace("Function", "Role") for name in inside}
    assert stack["LiveFunction"].properties["VpcConfig"] == {
        "SubnetIds": ["subnet-1", "subnet-2"],
        "SecurityGroupIds": ["sg-1"],
    }
    assert not any("VpcConfig" in one.properties for one in FUNCTIONS.values())


def test_the_prices_of_the_template_are_in_no_text() -> None:
    """Figures of money belong to prices.yaml, which has their date."""
    assert not re.search(r"USD|\$\d", yaml.safe_dump(TRAFFIC.body))
