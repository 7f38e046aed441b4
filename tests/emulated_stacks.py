"""Stacks of infrastructure/ in the emulated AWS of tests, as far as it knows their resources.

The emulator (moto 5.2) takes no tags on a KMS key, its policy as text alone, no `Fn::Cidr`, and nothing of MISSING.
"""

import copy
import json
from collections.abc import Collection, Mapping
from typing import Any

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
