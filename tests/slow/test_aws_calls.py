"""What the functions of incidents in fact call: reading the source foretold it, and their roles allow it."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

from city_platform.functions import api, incident_deadlines, incident_export, incident_publishing, incident_stream
from city_platform.incidents.model import PICTURES, Severity, Status
from tests.api_calls import ApiCalls
from tests.aws_calls import ACCOUNT, REGION, Noted, noted
from tests.incident_stack import PARAMETERS, IncidentStack, environment_of
from tests.incident_stream import following, record
from tests.incidents import incident, report
from tests.integration.conftest import aws, aws_environment  # noqa: F401 -- fixtures
from tests.integration.test_api_lambda import event
from tests.policies import Decision, decide
from tests.rights import documents
from tests.templates import Stack, template

PSEUDO = {"AWS::AccountId": ACCOUNT, "AWS::Region": REGION, "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com"}


class Cloud:
    """The stack of incidents, its functions, and the policies of their roles with the ARNs of what was made."""

    def __init__(self, home: Path, patch: pytest.MonkeyPatch) -> None:
        self._project = f"city-{uuid4().hex[:8]}"
        self.made = IncidentStack.create(self._project, REGION)
        self._home = home
        self._patch = patch
        self.stack: Stack = template("incidents").deploy(PARAMETERS | {"Project": self._project} | PSEUDO)
        aliases = template("key-aliases").deploy({"Project": self._project} | PSEUDO).resources("AWS::KMS::Alias")
        self._aliases = {
            str(one.properties["AliasName"]): str(one.properties["TargetKeyId"])
            for one in (*aliases, *self.stack.resources("AWS::KMS::Alias"))
        }

    def call(self, function: str, handler: Any, *events: Mapping[str, Any]) -> tuple[list[Any], Noted]:
        role = f"arn:aws:iam::{ACCOUNT}:role/{function}"
        variables = self.made.environment(function) | {"CITY_PLATFORM_HOME": str(self._home)}
        with environment_of(variables, self._patch), noted(self._patch, role, self._key) as calls:
            answers = [handler(one, None) for one in events]
        return answers, calls

    def policies(self, function: str) -> list[Any]:
        role = str(self.stack[function].properties["Role"]).removeprefix("${").partition(".")[0]
        text = json.dumps(list(documents(self.stack, role)))
        for name, resource in self.stack.by_name.items():
            text = text.replace(f"${{{name}.Arn}}", self._arn(resource.kind, name, resource.properties))
        for name, value in self.made.values.items():
            text = text.replace(f"${{{name}}}", value)
        policies: list[Any] = json.loads(text)
        return policies

    def _arn(self, kind: str, name: str, properties: Mapping[str, Any]) -> str:
        where = f"{REGION}:{ACCOUNT}"
        named = {
            "AWS::DynamoDB::Table": f"dynamodb:{where}:table/{properties.get('TableName')}",
            "AWS::SQS::Queue": f"sqs:{where}:{properties.get('QueueName')}",
            "AWS::KMS::Key": f"kms:{where}:key/{name}",
        }
        return f"arn:aws:{named.get(kind, f'other:{where}:{name}')}"

    def _key(self, alias: str) -> str:
        target = self._aliases[alias].removeprefix("${").removesuffix("}")
        return self.made.values.get(target, f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{target}")


@pytest.fixture
def cloud(
    aws_environment: Mapping[str, str],  # noqa: ARG001, F811 -- the emulated AWS
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Cloud]:
    caches = [api._application, incident_stream._path, incident_export._path]
    caches += [incident_deadlines._parts, incident_publishing._parts]
    monkeypatch.setattr(api, "log_to", lambda: None)
    for one in caches:
        one.cache_clear()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield Cloud(tmp_path, monkeypatch)
    asyncio.set_event_loop(None)
    loop.close()
    for one in caches:
        one.cache_clear()


def test_what_is_called_was_read_from_the_source_and_is_allowed(cloud: Cloud) -> None:
    noted_by: dict[str, Noted] = {}
    reading = ApiCalls()

    def call(function: str, handler: Any, *events: Mapping[str, Any]) -> list[Any]:
        answers, calls = cloud.call(function, handler, *events)
        noted_by.setdefault(function, calls).requests.extend(calls.requests)
        return answers

    body = json.dumps(report(contact={"email": "kim@example.org"}))
    made, *_ = call(
        "ApiFunction",
        api.handler,
        event(1, "POST", "/v1/incidents", body),
        event(1, "GET", "/v1/incidents", None, "district=mount-pleasant&status=reported"),
        event(1, "GET", "/v1/stats"),
        event(1, "GET", "/open311/v2/requests.json"),
    )
    assert made["statusCode"] == 201
    call("PublishingFunction", incident_publishing.handler, {})
    calm = incident()
    critical = following(calm, severity=Severity.CRITICAL)
    gone = record(None, following(critical, status=Status.CANCELLED), 3)
    boto3.client("s3").put_object(
        Bucket=cloud.made.values[f"import:{cloud.made.prefix}-RawBucket"],
        Key=f"{PICTURES}/{calm.incident_id}/1.jpg",
        Body=b"1",
    )
    bad = record(incident(1))
    bad["dynamodb"]["NewImage"]["status"] = {"S": "lost"}
    call("StreamFunction", incident_stream.handler, {"Records": [record(calm), record(critical, calm, 2), gone, bad]})
    _, listed = call("ExportFunction", incident_export.handler, {"step": "lock", "holder": "h"}, {"step": "list"})
    days = [
        call("ExportFunction", incident_export.handler, {"step": "export", "day": one})[0] for one in listed["days"]
    ]
    written = call("ExportFunction", incident_export.handler, {"step": "write_manifests", "days": days})[0]
    call(
        "ExportFunction",
        incident_export.handler,
        {"step": "verify", "published": written["published"]},
        {"step": "tell", "days": days},
        {"step": "clear", "days": days},
        {"step": "notify", "days": days, "holder": "h"},
        {"step": "failed", "holder": "h", "error": {"Error": "E", "Cause": "c"}},
    )
    call("DeadlinesFunction", incident_deadlines.handler, {})

    for function, calls in noted_by.items():
        handler = str(cloud.stack[function].properties["Handler"])
        foretold = reading.of(f"{handler.rpartition('.')[0]}:handler").actions
        assert calls.actions <= set(foretold), function
        policies = cloud.policies(function)
        refused = {
            f"{one.action} on {one.resource} {dict(one.context)}"
            for one in calls.requests
            if decide(one, policies, _open_key(one.action), owner=ACCOUNT) is not Decision.ALLOWED
        }
        assert refused == set(), function
    assert {one.action.partition(":")[0] for calls in noted_by.values() for one in calls.requests} == {
        "dynamodb", "events", "kms", "s3", "sns", "sqs",
    }  # fmt: skip


def _open_key(action: str) -> Mapping[str, Any] | None:
    """A key's policy leaves it to the account's policies, as foundation's and the stack's do."""
    root = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    statement = {"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"}
    return {"Statement": [statement]} if action.startswith("kms:") else None
