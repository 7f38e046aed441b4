"""The functions of incidents over what their template makes, with the environment that it gives them."""

import asyncio
import json
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

from city_platform.aws.traffic_state import DynamoTrafficState
from city_platform.crossing.desk import ACTOR
from city_platform.functions import (
    api,
    composition,
    incident_deadlines,
    incident_export,
    incident_publishing,
    incident_stream,
    incident_traffic,
    sign_in,
)
from city_platform.incidents.model import Severity
from city_platform.incidents.repository import Listing, Pattern
from city_platform.traffic import maintenance
from tests import crossing, traffic_minutes
from tests.incident_stack import PARAMETERS, IncidentStack, environment_of
from tests.incident_stream import following, record
from tests.incidents import ADMIN, incident, report
from tests.integration.conftest import REGION
from tests.integration.test_api_lambda import event
from tests.templates import template, walk
from tests.traffic_stack import noted

HOME = "CITY_PLATFORM_HOME"
STEPS: list[dict[str, Any]] = [{"step": "lock", "holder": "run"}, {"step": "list"}]


@pytest.fixture(scope="module")
def stack(aws: str) -> Iterator[IncidentStack]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            patch.setenv(name, REGION)
        patch.setenv("AWS_ENDPOINT_URL", aws)
        yield IncidentStack.create(f"city-{uuid4().hex[:8]}", REGION)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """New containers of all functions."""
    caches = [api._application, sign_in._parts, incident_stream._path, incident_export._path]
    caches += [incident_deadlines._parts, incident_publishing._parts, incident_traffic.desk]
    for one in caches:
        one.cache_clear()
    monkeypatch.setattr(api, "log_to", lambda: None)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()
    for one in caches:
        one.cache_clear()


def test_from_a_report_to_the_lake_by_the_functions_of_the_template(
    stack: IncidentStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unread: dict[str, set[str]] = {}

    def called(function: str, handler: Any, *events: dict[str, Any]) -> list[Any]:
        given = stack.environment(function)
        with environment_of(given | {HOME: str(tmp_path)}, monkeypatch) as read:
            answers = [handler(one, None) for one in events]
        unread[function] = unread.get(function, set(given)) - read
        return answers

    body = json.dumps(report(severity="low", contact={"email": "kim@example.org"}))
    made, listed, early = called(
        "ApiFunction",
        api.handler,
        event(1, "POST", "/v1/incidents", body),
        event(1, "GET", "/v1/incidents", None, "district=mount-pleasant&status=reported"),
        event(1, "GET", "/v1/stats"),
    )
    assert (made["statusCode"], early["statusCode"]) == (201, 503)
    name = json.loads(made["body"])["incident_id"]
    assert [one["incident_id"] for one in json.loads(listed["body"])["incidents"]] == [name]

    (published,) = called("PublishingFunction", incident_publishing.handler, {})
    assert sum(published.values()) == 1
    (stats,) = called("ApiFunction", api.handler, event(1, "GET", "/v1/stats"))
    assert json.loads(stats["body"])["total"] == 1

    calm = incident()
    critical = following(calm, severity=Severity.CRITICAL)
    bad = record(incident(1))
    bad["dynamodb"]["NewImage"]["status"] = {"S": "lost"}
    heard, told = subscribed(stack), every_event(stack)
    (delivered,) = called(
        "StreamFunction", incident_stream.handler, {"Records": [record(calm), record(critical, calm, 2), bad]}
    )
    assert delivered == {"batchItemFailures": []}
    (message,) = boto3.client("sqs").receive_message(QueueUrl=heard)["Messages"]
    assert critical.public_ref in message["Body"]
    assert waiting(stack, "DeadChanges") == waiting(stack, "ExportJobs") == 1

    _, listed = called("ExportFunction", incident_export.handler, *STEPS)
    days = [
        called("ExportFunction", incident_export.handler, {"step": "export", "day": one})[0] for one in listed["days"]
    ]
    written, *_ = called(
        "ExportFunction",
        incident_export.handler,
        {"step": "write_manifests", "days": days},
        {"step": "tell", "days": days},
        {"step": "tell", "days": days},
        {"step": "clear", "days": days},
    )
    assert [one["rows"] for one in written["published"]] == [2]
    assert waiting(stack, "ExportJobs") == 0
    messages = boto3.client("sqs").receive_message(QueueUrl=told, MaxNumberOfMessages=10)["Messages"]
    events = {one["detail-type"]: one for one in (json.loads(message["Body"]) for message in messages)}
    assert len(messages) == len(events) == 2
    assert events["IncidentBecameCritical"]["source"] == "city.incidents"
    assert events["IncidentBecameCritical"]["detail"]["public_ref"] == critical.public_ref
    assert events["ExportCompleted"]["source"] == "city.data"
    assert events["ExportCompleted"]["detail"]["partition"] == written["published"][0]["day"]

    (due,) = called("DeadlinesFunction", incident_deadlines.handler, {})
    assert due == {"rejected": 0, "anonymised": 0}
    called("SignInFunction", sign_in.handler, {"request": {"userAttributes": {}}, "userPoolId": "p", "userName": "n"})
    assert not any(unread.values()), unread


def test_what_lasts_in_traffic_becomes_an_incident_and_incidents_explain_traffic_within_its_rights(
    stack: IncidentStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = f"{stack.prefix}-traffic"
    boto3.client("dynamodb").create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("part", "item")],
        KeySchema=[{"AttributeName": "part", "KeyType": "HASH"}, {"AttributeName": "item", "KeyType": "RANGE"}],
    )
    monkeypatch.setattr(traffic_minutes, "START", time.time_ns() // 60_000_000_000 * 60_000 - 26 * 60_000)
    monkeypatch.setattr(crossing, "START", traffic_minutes.START)
    state = DynamoTrafficState(table)
    zone = crossing.TOWN.zones[7]
    crossing.write_minute(state, 24, {zone: 2})
    parameters = {"TrafficTableName": table, "TrafficRegistry": "11:90:30", "TrafficIncidents": "on"}
    given = stack.environment("TrafficFunction", **parameters)
    road = crossing.TOWN.zone_index[crossing.TOWN.zones[20]]
    place = {"lat": float(crossing.ROADS.south[road]) + 0.001, "long": float(crossing.ROADS.west[road]) + 0.001}
    closed = report(category="traffic_disruption", title="Road closed", channel="officer", **place)
    with environment_of(given | {HOME: str(tmp_path)}, monkeypatch) as read, noted(monkeypatch) as calls:
        service, _, _ = composition.incident_service()
        officers = service.report(closed, ADMIN).incident
        calls.made.clear()
        done = incident_traffic.handler({}, None)
        assert incident_traffic.handler({}, None) == done | {"opened": 0}
        (opened,) = service.list(Listing(Pattern.REPORTED_BY, (str(ACTOR.subject),)), ACTOR, 10).incidents
    assert (done["opened"], done["open"]) == (1, 1)
    assert done["explained"] >= 1
    assert zone in opened.title
    (known,) = maintenance.read(state).zones[crossing.TOWN.zones[20]]
    assert known.incident_id == officers.incident_id
    assert set(given) - read == set()
    (role,) = [
        one for one in template("incidents").deploy(PARAMETERS | parameters).resources() if one.name == "TrafficRole"
    ]
    allowed = {
        (action, key)
        for one in walk(role.properties)
        if isinstance(one, dict) and one.get("Sid") in {"ReadWhatIsJudged", "WriteWhatIsKnown"}
        for action in one["Action"]
        for keys in one["Condition"].values()
        for key in keys["dynamodb:LeadingKeys"]
    }
    asked = calls.items(table)
    assert {key for action, key in asked if action == "dynamodb:PutItem"} == {"RECORD#incidents", "RECORD#maintenance"}
    assert all(any(action == may and fnmatchcase(key, one) for may, one in allowed) for action, key in asked), asked


def subscribed(stack: IncidentStack) -> str:
    """A queue that hears what the alerts' topic says."""
    sqs = boto3.client("sqs")
    queue: str = sqs.create_queue(QueueName=f"{stack.prefix}-heard")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    boto3.client("sns").subscribe(TopicArn=stack.values["AlertsTopic"], Protocol="sqs", Endpoint=arn)
    return queue


def every_event(stack: IncidentStack) -> str:
    """A queue that receives what is put on the bus."""
    sqs, bus = boto3.client("sqs"), stack.values[f"import:{stack.prefix}-EventBusName"]
    queue: str = sqs.create_queue(QueueName=f"{stack.prefix}-told")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = json.dumps({"source": [{"prefix": "city."}]})
    boto3.client("events").put_rule(Name="all", EventBusName=bus, EventPattern=pattern)
    boto3.client("events").put_targets(Rule="all", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    return queue


def waiting(stack: IncidentStack, queue: str) -> int:
    asked = {"QueueUrl": stack.values[queue], "AttributeNames": ["ApproximateNumberOfMessages"]}
    return int(boto3.client("sqs").get_queue_attributes(**asked)["Attributes"]["ApproximateNumberOfMessages"])


def test_jobs_that_nobody_can_do_become_dead_letters(stack: IncidentStack) -> None:
    sqs = boto3.client("sqs")
    attributes = sqs.get_queue_attributes(QueueUrl=stack.values["ExportJobs"], AttributeNames=["All"])["Attributes"]
    policy = json.loads(attributes["RedrivePolicy"])
    dead = sqs.get_queue_attributes(QueueUrl=stack.values["DeadJobs"], AttributeNames=["QueueArn"])["Attributes"]
    assert (policy["deadLetterTargetArn"], int(policy["maxReceiveCount"])) == (dead["QueueArn"], 5)
