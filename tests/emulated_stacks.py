"""Stacks of infrastructure/ in the emulated AWS of tests, as far as it knows their resources.

The emulator (moto 5.2) takes no tags on a KMS key, its policy as text alone, no `Fn::Cidr`, and nothing of MISSING; its
change sets know neither imports nor outputs.
"""

import copy
import json
from collections.abc import Collection, Mapping
from typing import Any

import pytest
from moto.cloudformation.models import CloudFormationBackend
from moto.cloudformation.responses import CloudFormationResponse
from moto.kms.models import KmsBackend

from tests.templates import Template, template

MISSING = frozenset({"AWS::S3::BucketPolicy", "AWS::KMS::ReplicaKey", "AWS::SNS::TopicPolicy"})

PLACE = {"AWS::Partition": "aws", "AWS::Region": "ca-central-1", "AWS::AccountId": "123456789012"}


def as_emulated(of: Template, without: Collection[str] = MISSING) -> str:
    """The template's text without resources of these types, which nothing else of it may refer to."""
    body = copy.deepcopy(dict(of.body))
    body["Resources"] = {name: one for name, one in body["Resources"].items() if one["Type"] not in without}
    for one in body["Resources"].values():
        if one["Type"] == "AWS::KMS::Key":
            one["Properties"].pop("Tags", None)
            one["Properties"]["KeyPolicy"] = json.dumps(of.resolve(one["Properties"]["KeyPolicy"], PLACE))
    return json.dumps(body)


def make_stack(client: Any, name: str, **parameters: str) -> Mapping[str, str]:
    """Makes the stack of infrastructure/NAME.yaml with a client of CloudFormation, environment dev; its outputs."""
    stack = f"city-platform-dev-{name}"
    given = {"Environment": "dev"} | parameters
    client.create_stack(
        StackName=stack,
        TemplateBody=as_emulated(template(name)),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    (made,) = client.describe_stacks(StackName=stack)["Stacks"]
    assert made["StackStatus"] == "CREATE_COMPLETE", made
    return {one["OutputKey"]: one["OutputValue"] for one in made.get("Outputs", ())}


def mend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports, outputs and exports of stacks that change sets make; tags of keys, taken in KMS's form alone."""
    execute, create_key = CloudFormationBackend.execute_change_set, KmsBackend.create_key

    def with_outputs(self: Any, change_set_name: str, stack_name: str | None = None) -> None:
        change_set = self.describe_change_set(change_set_name)
        stack = self.stacks[change_set.stack_id]
        stack.resource_map.cross_stack_resources = self.exports
        execute(self, change_set_name, stack_name)
        stack._parse_template()
        stack.parameters = stack.resource_map._parsed_parameters = change_set.parameters
        stack.output_map = stack._create_output_map()
        self.exports.update({export.name: export for export in stack.exports})

    def with_tags(self: Any, *arguments: Any, tags: Any = None, **more: Any) -> Any:
        own = [{"TagKey": one.get("TagKey", one.get("Key")), "TagValue": one.get("TagValue", one.get("Value"))}
               for one in tags or []]  # fmt: skip
        return create_key(self, *arguments, tags=own, **more)

    # AWS makes a change set of nothing, and says so in its status; moto refuses, as both do an update.
    monkeypatch.setattr(CloudFormationResponse, "_validate_different_update", lambda *_: None)
    monkeypatch.setattr(CloudFormationBackend, "execute_change_set", with_outputs)
    monkeypatch.setattr(KmsBackend, "create_key", with_tags)
