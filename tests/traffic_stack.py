"""The traffic stack on an emulated AWS: what of its template that can make, its functions' environments, and a note of
the calls they make, to be held against their roles.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import boto3
import botocore.client
import pytest

from tests.templates import Template, template, walk

# What moto makes by CloudFormation as AWS does; keys and secrets it does not, so the stack is given some.
KINDS = (
    "AWS::Kinesis::Stream",
    "AWS::DynamoDB::Table",
    "AWS::SQS::Queue",
    "AWS::S3::Bucket",
    "AWS::Events::EventBus",
    "AWS::SNS::Topic",
    "AWS::Logs::LogGroup",
)
_PARAMETER = re.compile(r"\$\{(\w+)(?:\.\w+)?\}")


@dataclass(frozen=True)
class TrafficStack:
    """`made` are the names, addresses or ARNs of what was made, by their names in the template."""

    template: Template
    parameters: Mapping[str, str]
    made: Mapping[str, str]

    @classmethod
    def create(cls, project: str, slack_address: str) -> "TrafficStack":
        """Makes a stack of that project. Every name in it begins with it."""
        kms = boto3.client("kms")
        keys = {name: kms.create_key()["KeyMetadata"]["Arn"] for name in ("DataKeyArn", "LogsKeyArn")}
        slack = boto3.client("secretsmanager").create_secret(Name=f"{project}-slack", SecretString=slack_address)["ARN"]
        parameters = {"Environment": "dev", "Project": project, "CodeBucket": "code", "CodeKey": "zip", **keys}
        parameters |= {"TellsSlack": "true", "SlackWebhookSecretArn": slack}
        traffic = template("iot-analytics-system")
        stack = traffic.deploy(parameters)
        kept = {one.name: traffic.body["Resources"][one.name] for one in stack.resources() if one.kind in KINDS}
        body = {**traffic.body, "Resources": kept, "Outputs": {}}
        formation = boto3.client("cloudformation")
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
        name = f"{project}-traffic"
        formation.create_stack(StackName=name, TemplateBody=json.dumps(body), Parameters=given)  # type: ignore[arg-type]
        found = formation.describe_stack_resources(StackName=name)["StackResources"]
        # moto makes a bus without saying what it is called; a reference to one is its name.
        bus = stack["EventBus"].properties["Name"]
        made = {one["LogicalResourceId"]: one.get("PhysicalResourceId", bus) for one in found}
        assert set(made) == set(kept)
        return cls(traffic, parameters, made)

    def environment(self, function: str) -> dict[str, str]:
        """What the function has in its environment, with the names of what was made."""
        written = self.template.resource(function).properties["Environment"]["Variables"]
        found: dict[str, str] = self.template.resolve(written, {**self.parameters, **self.made})
        assert not any(_PARAMETER.search(str(value)) for value in found.values()), found
        return found

    def statements(self, role: str) -> Sequence[Mapping[str, Any]]:
        """The statements of a role or a managed policy, resolved, with `${TrafficTable.Arn}` and the like left so."""
        resolved = self.template.resolve(self.template.resource(role).properties, self.parameters)
        return [one for one in walk(resolved) if isinstance(one, dict) and "Effect" in one and "Resource" in one]

    def allows(self, role: str, action: str, key: str, table: str = "TrafficTable") -> bool:
        """Whether the role may do that to items of one leading key. Only what DynamoDB's statements here use."""
        for one in self.statements(role):
            actions = [one["Action"]] if isinstance(one["Action"], str) else one["Action"]
            if action not in actions or one["Resource"] != f"${{{table}.Arn}}":
                continue
            ((operator, keys),) = one["Condition"].items()
            assert operator in {"ForAllValues:StringLike", "ForAllValues:StringEquals"}
            patterns = keys["dynamodb:LeadingKeys"]
            exact = operator.endswith("Equals")
            if any(key == each if exact else fnmatchcase(key, each) for each in patterns):
                return True
        return False


@dataclass
class Calls:
    """Calls of AWS: (service, operation, parameters)."""

    made: list[tuple[str, str, Mapping[str, Any]]] = field(default_factory=list)

    def items(self, table: str) -> set[tuple[str, str]]:
        """The IAM actions on a table and the leading keys they were on."""
        return {
            (f"dynamodb:{action}", key)
            for service, operation, asked in self.made
            if service == "dynamodb"
            for action, key in _items(operation, asked, table)
        }

    def of(self, service: str) -> set[str]:
        return {operation for name, operation, _ in self.made if name == service}


@contextmanager
def noted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    """Notes every call through boto3 within."""
    calls = Calls()
    call = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]

    def note(client: Any, operation: str, asked: Mapping[str, Any]) -> Any:
        calls.made.append((client.meta.service_model.service_name, operation, asked))
        return call(client, operation, asked)

    with monkeypatch.context() as patched:
        patched.setattr(botocore.client.BaseClient, "_make_api_call", note)
        yield calls


def _items(operation: str, asked: Mapping[str, Any], table: str) -> Iterator[tuple[str, str]]:
    """A transaction needs the rights of its parts: DynamoDB API permissions, Amazon DynamoDB Developer Guide."""
    if operation == "TransactWriteItems":
        for part in asked["TransactItems"]:
            ((kind, inner),) = part.items()
            yield from _items(f"{kind}Item", inner, table)
    elif operation == "BatchGetItem":
        for name, wanted in asked["RequestItems"].items():
            if name == table:
                yield from (("BatchGetItem", _leading(key)) for key in wanted["Keys"])
    elif asked["TableName"] == table:
        if operation == "Query":
            yield "Query", asked["ExpressionAttributeValues"][":part"]["S"]
        else:
            yield operation, _leading(asked.get("Key") or asked["Item"])


def _leading(key: Mapping[str, Any]) -> str:
    return str((key.get("part") or key["mark"])["S"])
