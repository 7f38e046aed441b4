"""The function that network.yaml carries: it takes every rule out of a VPC's default security group."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import pytest

from tests.templates import template


@pytest.fixture
def closing(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """The function's module, and what it answers to CloudFormation."""
    answers: list[tuple[Any, ...]] = []
    cfnresponse = ModuleType("cfnresponse")
    vars(cfnresponse).update(
        SUCCESS="SUCCESS", FAILED="FAILED", send=lambda *args, reason=None: answers.append((*args[2:], reason))
    )
    monkeypatch.setitem(sys.modules, "cfnresponse", cfnresponse)
    code = template("network").resource("ClosingFunction").properties["Code"]["ZipFile"]
    assert len(code) < 4096, "more is not taken inline"
    module: dict[str, Any] = {}
    exec(compile(code, "index.py", "exec"), module)  # noqa: S102 - as Lambda does
    return module, answers


@pytest.mark.usefixtures("aws_environment")
def test_the_default_group_loses_its_rules(closing: Any) -> None:
    module, answers = closing
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    where = [{"Name": "vpc-id", "Values": [vpc]}]
    (group,) = [one["GroupId"] for one in ec2.describe_security_groups(Filters=where)["SecurityGroups"]]
    itself = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=itself)
    for kind in ("Create", "Update", "Delete"):
        module["handler"]({"RequestType": kind, "ResourceProperties": {"GroupId": group}}, SimpleNamespace())
    (after,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert (after["IpPermissions"], after["IpPermissionsEgress"]) == ([], [])
    assert answers == [("SUCCESS", {}, group, None)] * 3


@pytest.mark.usefixtures("aws_environment")
def test_what_it_cannot_close_fails_the_stack_and_says_why(closing: Any) -> None:
    module, answers = closing
    module["close"].__globals__["boto3"] = SimpleNamespace(client=lambda _: None)
    module["handler"]({"RequestType": "Create", "ResourceProperties": {"GroupId": "sg-1"}}, SimpleNamespace())
    ((status, _, group, reason),) = answers
    assert (status, group) == ("FAILED", "sg-1")
    assert "sg-1 stays open" in reason
