"""The incident stack on an emulated AWS: what of its template that can make, and the environment of its functions."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from city_platform.aws.settings import BUCKETS
from tests.templates import Template, resources, template

PARAMETERS = {
    "Environment": "dev",
    "CodeBucket": "code",
    "CodeKey": "code.zip",
    "ContactEmail": "open-data@city.internal",
    "CriticalAlertEmail": "duty@city.internal",
}
KEPT = ("AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::SNS::Topic")
_KEYS = ("PublicKeyArn", "InternalKeyArn", "PersonalKeyArn", "LogsKeyArn")


@dataclass(frozen=True)
class IncidentStack:
    """A stack called `prefix`, with buckets and keys in place of the foundation's, and traffic's bus."""

    prefix: str
    values: Mapping[str, str]  # what references in the template stand for

    @classmethod
    def create(cls, project: str, region: str) -> "IncidentStack":
        """Makes the stack's tables, queues and topic through CloudFormation, and keys under the aliases it has."""
        prefix = f"{project}-dev"
        s3, kms = boto3.client("s3"), boto3.client("kms")
        exported = {f"{zone.name.capitalize()}Bucket": f"{prefix}-{zone}" for zone in BUCKETS}
        for bucket in exported.values():
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
        exported |= {name: kms.create_key()["KeyMetadata"]["Arn"] for name in _KEYS}
        bus = f"{prefix}-traffic"
        exported |= {
            "EventBusName": bus,
            "EventBusArn": boto3.client("events").create_event_bus(Name=bus)["EventBusArn"],
        }
        # Keys by CloudFormation are broken in the emulator, which takes their tags and policies in another form.
        known = {one["AliasName"] for one in kms.list_aliases()["Aliases"]}
        for alias in resources("AWS::KMS::Alias"):
            name = alias.properties["AliasName"]
            if str(name).startswith("alias/city-platform/incidents/") and name not in known:
                kms.create_alias(AliasName=name, TargetKeyId=exported["PersonalKeyArn"])
        formation = boto3.client("cloudformation")
        foundation = {
            "Resources": {"OperationsTopic": {"Type": "AWS::SNS::Topic"}},
            "Outputs": {
                name: {"Value": value, "Export": {"Name": f"{prefix}-{name}"}} for name, value in exported.items()
            },
        }
        formation.create_stack(StackName=f"{prefix}-foundation", TemplateBody=json.dumps(foundation))
        incidents = template("incidents")
        formation.create_stack(
            StackName=f"{prefix}-incidents",
            TemplateBody=json.dumps(_cut(incidents)),
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in cls._given(project).items()],
        )
        made = formation.get_paginator("list_stack_resources").paginate(StackName=f"{prefix}-incidents")
        found = {
            one["LogicalResourceId"]: one["PhysicalResourceId"]
            for page in made
            for one in page["StackResourceSummaries"]
        }
        assert set(found) == set(_cut(incidents)["Resources"])
        return cls(prefix, found | {f"import:{prefix}-{name}": value for name, value in exported.items()})

    @staticmethod
    def _given(project: str) -> dict[str, str]:
        return PARAMETERS | {"Project": project}

    def environment(self, function: str, **parameters: str) -> dict[str, str]:
        """The variables that the template gives a function, with the addresses of what was made."""
        given = self._given(self.prefix.removesuffix("-dev")) | {"AWS::Region": os.environ["AWS_REGION"]} | parameters
        stack = template("incidents").deploy(given)
        written = stack[function].properties.get("Environment", {}).get("Variables", {})
        return {name: self._address(str(value)) for name, value in written.items()}

    def _address(self, text: str) -> str:
        for name, value in self.values.items():
            text = text.replace(f"${{{name}}}", value)
        return text


def _cut(of: Template) -> dict[str, Any]:
    """The template with its stores alone."""
    kept = {
        name: body for name, body in of.body["Resources"].items() if body["Type"] in KEPT and "Condition" not in body
    }
    cut: dict[str, Any] = json.loads(json.dumps({**of.body, "Resources": kept}))
    for name in ("Rules", "Outputs"):
        del cut[name]
    return cut


@contextmanager
def environment_of(variables: Mapping[str, str], patch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Sets the platform's variables to these and no others; gives the names of those that are read meanwhile."""
    read: set[str] = set()
    before = os._Environ.__getitem__

    def reading(environ: "os._Environ[str]", name: str) -> str:
        if environ is os.environ and name.startswith("CITY_PLATFORM_"):
            read.add(name)
        return before(environ, name)

    with patch.context() as changed:
        for name in [one for one in os.environ if one.startswith("CITY_PLATFORM_")]:
            changed.delenv(name)
        for name, value in variables.items():
            changed.setenv(name, value)
        changed.setattr(os._Environ, "__getitem__", reading)
        yield read


def table_definitions(project: str) -> Sequence[dict[str, Any]]:
    """The template's tables as CreateTable takes them, without what an emulator does not do."""
    stack = template("incidents").deploy(PARAMETERS | {"Project": project})
    made = []
    for table in stack.resources("AWS::DynamoDB::Table"):
        names = ("TableName", "BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
        definition = {name: table.properties[name] for name in names if name in table.properties}
        if "StreamSpecification" in table.properties:
            definition["StreamSpecification"] = {"StreamEnabled": True, **table.properties["StreamSpecification"]}
        made.append(definition)
    return made
