"""The stack of live traffic, made from its template on an emulated AWS, with the platform's functions at work in it."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest

from city_platform.aws.settings import BUCKETS
from city_platform.aws.traffic_state import DynamoTrafficState
from city_platform.aws.traffic_stream import KinesisEventStream
from city_platform.functions import traffic, traffic_alerts, traffic_archive, traffic_relay, traffic_watch
from city_platform.traffic import free_flow, maintenance
from city_platform.traffic.registry import generate
from city_platform.traffic.stream import Entry
from city_platform.traffic.telemetry import Reason
from lambda_handler import lambda_handler
from tests import traffic_minutes
from tests.traffic import Told, columns
from tests.traffic_minutes import Clock, due, fill, watching
from tests.traffic_stack import TrafficStack, noted

SMALL = generate(11, 20, 2)
ZONE = SMALL.zones[0]
CACHED = (
    traffic.traffic_handler,
    traffic_archive.traffic_archive,
    traffic_watch.watch,
    traffic_relay.parts,
    traffic_alerts.router,
)


@pytest.fixture
def stack(aws_environment: dict[str, str]) -> Iterator[TrafficStack]:  # noqa: ARG001 the emulated AWS
    for cached in CACHED:
        cached.cache_clear()
    yield TrafficStack.create(f"city-{uuid4().hex[:8]}", "http://127.0.0.1:1/nobody-listens")
    for cached in CACHED:
        cached.cache_clear()


def settings(stack: TrafficStack, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    for name, value in stack.environment(function).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_REGISTRY", "11:20:2")


def as_lambda_gives_it(stream: KinesisEventStream) -> dict[str, Any]:
    """All of the stream as one batch."""
    records = []
    for shard in stream.shards():
        for one in stream.read(shard, None, 1000):
            kinesis = {
                "data": base64.b64encode(one.data).decode(),
                "sequenceNumber": one.sequence,
                "partitionKey": one.key,
                "approximateArrivalTimestamp": one.arrival_ms / 1000,
            }
            records.append({"eventID": f"{shard}:{one.sequence}", "kinesis": kinesis})
    return {"Records": records}


def test_frames_are_counted_and_archived_and_refusals_are_kept(
    stack: TrafficStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    stream = KinesisEventStream(stack.made["TrafficStream"])
    start = time.time_ns() // 1_000_000 // 10_000 * 10_000 - 10_000
    told = [Told(0, start // 1000 + at, start + at * 1000, at) for at in range(5)]
    early = Told(0, 1, start + 400_000, 1)  # a clock that is five minutes fast and more
    entries = [Entry(ZONE, columns(told, SMALL)), Entry(ZONE, columns([early], SMALL)), Entry("s-00000", b"rubbish")]
    assert list(stream.put(entries)) == [None] * 3
    batch = as_lambda_gives_it(stream)
    settings(stack, monkeypatch, "LiveFunction")
    with noted(monkeypatch) as calls:
        assert lambda_handler(batch, None) == {"batchItemFailures": []}
        again = DynamoTrafficState(stack.made["TrafficTable"])
    state = again.get([(ZONE, start)])[ZONE, start]
    assert (state.readings, state.version) == (5, 1)
    on_items = calls.items(stack.made["TrafficTable"])
    assert {action for action, _ in on_items} >= {"dynamodb:UpdateItem", "dynamodb:PutItem"}
    assert all(stack.allows("LiveRole", *one) for one in on_items), on_items
    assert not stack.allows("LiveRole", "dynamodb:PutItem", "OUTBOX")
    assert not stack.allows("LiveRole", "dynamodb:PutItem", "RECORD#free_flow")

    monkeypatch.setenv("CITY_PLATFORM_HOME", str(tmp_path))
    settings(stack, monkeypatch, "ArchiveFunction")
    assert traffic_archive.handler(batch, None) == {"batchItemFailures": []}
    listed = boto3.client("s3").list_objects_v2(Bucket=stack.made["TrafficBucket"])["Contents"]
    keys = {one["Key"] for one in listed}
    kept = {one for one in keys if one.startswith(f"traffic/rejected/reason={Reason.FUTURE}/")}
    filed = {
        one for one in keys if one.startswith(("exports/traffic_readings/", "manifests/exports/traffic_readings/"))
    }
    assert kept
    assert len(filed) >= 2
    assert all(one.startswith("traffic/rejected/") for one in keys - filed)
    assert {stack.environment("ArchiveFunction")[name] for name in BUCKETS.values()} == {stack.made["TrafficBucket"]}


def test_a_jam_is_judged_relayed_and_told(stack: TrafficStack, monkeypatch: pytest.MonkeyPatch) -> None:
    start = (time.time_ns() // 1_000_000 - traffic_minutes.JUDGED_AFTER_MS) // 60_000 * 60_000 - 5 * 60_000
    monkeypatch.setattr(traffic_minutes, "START", start)
    table = stack.made["TrafficTable"]
    state = DynamoTrafficState(table)
    for minute in range(2, 5):
        fill(state, minute, {ZONE: 5.0 if minute == 2 else 75.0}, registry=SMALL)
    watching(state, Clock(due(2)), SMALL).evaluate()

    settings(stack, monkeypatch, "WatchFunction")
    with noted(monkeypatch) as calls:
        assert traffic_watch.handler({}, None)["events"] == 1
    on_items = calls.items(table)
    assert {key.split("#")[0] for _, key in on_items} >= {"RECORD", "EVENT", "OUTBOX"}
    assert all(stack.allows("WatchRole", *one) for one in on_items), on_items
    assert not stack.allows("WatchRole", "dynamodb:PutItem", f"{start:015d}#03")
    assert outbox_calls(stack) == 1

    heard = listener(stack.made["EventBus"], stack.parameters["Project"])
    settings(stack, monkeypatch, "RelayFunction")
    with noted(monkeypatch) as calls:
        assert traffic_relay.handler({}, None)["published"] == 1
    on_items = calls.items(table)
    assert {action for action, _ in on_items} == {"dynamodb:Query", "dynamodb:DeleteItem"}
    assert all(stack.allows("RelayRole", *one) for one in on_items), on_items
    assert not stack.allows("RelayRole", "dynamodb:Query", "RECORD#ingest")
    sqs = boto3.client("sqs")
    (message,) = sqs.receive_message(QueueUrl=heard, MaxNumberOfMessages=10)["Messages"]

    settings(stack, monkeypatch, "AlertsFunction")
    with noted(monkeypatch) as calls, pytest.raises(traffic_alerts.AlertsUnavailable, match="Slack"):
        traffic_alerts.handler(json.loads(message["Body"]), None)
    assert calls.of("sns") == {"Publish"}
    published = {asked["TopicArn"] for service, _, asked in calls.made if service == "sns"}
    assert published == {stack.made["AlertsTopic"], stack.made["SmsTopic"]}
    assert calls.of("secretsmanager") == {"GetSecretValue"}
    on_items = calls.items(stack.made["MarksTable"])
    assert on_items
    assert all(stack.allows("AlertsRole", *one, table="MarksTable") for one in on_items), on_items


def outbox_calls(stack: TrafficStack) -> int:
    """How many of the table's changes the relay is called for, by its mapping's filter."""
    (one,) = stack.template.resource("RelayMapping").properties["FilterCriteria"]["Filters"]
    pattern = json.loads(one["Pattern"])
    client = boto3.client("dynamodbstreams")
    (stream,) = client.list_streams(TableName=stack.made["TrafficTable"])["Streams"]
    shards = client.describe_stream(StreamArn=stream["StreamArn"])["StreamDescription"]["Shards"]
    calls = 0
    for shard in shards:
        at = client.get_shard_iterator(
            StreamArn=stream["StreamArn"], ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        calls += sum(matches(pattern, each) for each in client.get_records(ShardIterator=at)["Records"])
    return calls


def matches(pattern: Any, value: Any) -> bool:
    """As event filters of Lambda: a list holds the values that will do."""
    if isinstance(pattern, list):
        return value in pattern
    return isinstance(value, dict) and all(key in value and matches(each, value[key]) for key, each in pattern.items())


def listener(bus: str, name: str) -> str:
    """A queue that hears every event of the bus."""
    events, sqs = boto3.client("events"), boto3.client("sqs")
    url = sqs.create_queue(QueueName=f"{name}-heard")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="all", EventBusName=bus, EventPattern=json.dumps({"source": [{"prefix": "city."}]}))
    events.put_targets(Rule="all", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    return url


def test_readers_and_dagster_may_do_what_they_do(stack: TrafficStack, monkeypatch: pytest.MonkeyPatch) -> None:
    table = stack.made["TrafficTable"]
    state = DynamoTrafficState(table)
    fill(state, 0, {ZONE: 50.0}, registry=SMALL)
    with noted(monkeypatch) as reading:
        assert state.city(traffic_minutes.START)
        assert state.windows(ZONE, traffic_minutes.START, traffic_minutes.START + 60_000)
        state.record("ingest")
    for policy in ("ReaderPolicy", "AnalyticsPolicy"):
        assert all(stack.allows(policy, *one) for one in reading.items(table)), policy
    with noted(monkeypatch) as writing:
        assert free_flow.keep(state, [free_flow.FreeFlow(ZONE, 500, 300, True)])
        maintenance.change(state, [1], 10**15, 0)
    on_items = writing.items(table)
    assert {"dynamodb:PutItem", "dynamodb:GetItem"} == {action for action, _ in on_items}
    assert all(stack.allows("AnalyticsPolicy", *one) for one in on_items), on_items
    assert not any(stack.allows("ReaderPolicy", action, key) for action, key in on_items if action.endswith("PutItem"))
    assert not stack.allows("AnalyticsPolicy", "dynamodb:PutItem", "OUTBOX")


def test_what_was_made_is_what_the_template_says(stack: TrafficStack) -> None:
    dynamodb, sqs = boto3.client("dynamodb"), boto3.client("sqs")
    made = dynamodb.describe_table(TableName=stack.made["TrafficTable"])["Table"]
    assert made["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert made["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert str(made["DeletionProtectionEnabled"]).lower() == "true"  # moto keeps a parameter as the text it is
    summary = boto3.client("kinesis").describe_stream_summary(StreamName=stack.made["TrafficStream"])
    described = summary["StreamDescriptionSummary"]
    assert (described["OpenShardCount"], described["RetentionPeriodHours"]) == (4, 168)
    asked = sqs.get_queue_attributes(QueueUrl=stack.made["DeadLettersQueue"], AttributeNames=["All"])["Attributes"]
    assert asked["MessageRetentionPeriod"] == str(14 * 86_400)
    assert asked["KmsMasterKeyId"] == stack.parameters["LogsKeyArn"]
