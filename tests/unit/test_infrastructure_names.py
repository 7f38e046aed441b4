"""Stacks of one environment stand beside one another: no two of them make a thing of the same name."""

import re
from collections import defaultdict

import pytest
import yaml

from city_platform.deployment.cloudformation import IDENTITY
from city_platform.infrastructure.registry import schema
from tests.conftest import ROOT
from tests.rights import stacks_of
from tests.templates import Template, template, template_names, templates

# Where a resource's name is unique within an account and region, or everywhere.
NAMES = {
    "AWS::KMS::Alias": "AliasName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::Kinesis::Stream": "Name",
    "AWS::Events::EventBus": "Name",
    "AWS::Events::Rule": "Name",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
    "AWS::Scheduler::Schedule": "Name",
}
ELSEWHERE = {"replica", "billing"}  # in regions of their own


def test_no_two_stacks_of_a_region_make_a_thing_of_the_same_name() -> None:
    makers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for each in templates():
        for stack in stacks_of(each.name):
            for one in stack.resources():
                name = one.properties.get(NAMES.get(one.kind, ""))
                if name is not None and each.name not in ELSEWHERE:
                    makers[one.kind, str(name)].add(str(one))
    assert {name: sorted(by) for name, by in makers.items() if len(by) > 1} == {}
    assert len(makers) > 100


def test_no_two_stacks_export_the_same_name() -> None:
    exporters: dict[str, set[str]] = defaultdict(set)
    for each in templates():
        for stack in stacks_of(each.name):
            for name in stack.exports:
                exporters[name].add(each.name)
    assert {name: by for name, by in exporters.items() if len(by) > 1 and "replica" not in by} == {}


def test_the_names_of_all_stacks_are_made_of_the_same_two_words() -> None:
    wanted = yaml.safe_load(IDENTITY)["Parameters"]
    for each in templates():
        given = {name: each.body["Parameters"][name] for name in wanted}
        assert {name: {key: one[key] for key in wanted[name]} for name, one in given.items()} == wanted, each.name


# What a stack may be called at most: of projects the longest that rights.yaml and AWS IoT's names allow.
LONGEST = {"Project": "p" * 20, "Environment": "staging", "Suffix": "s" * 32, "AWS::AccountId": "1" * 12}
# What the registry's schemas leave out.
SHORTER = {"AWS::S3::Bucket": 63, "AWS::IAM::Role": 64, "AWS::IAM::ManagedPolicy": 128, "AWS::SQS::Queue": 80}


def longest(kind: str, name: str) -> int | None:
    said = schema(kind).get("properties", {}).get(name, {}).get("maxLength")
    return SHORTER.get(kind, said)


@pytest.mark.parametrize("name", template_names())
def test_no_name_is_longer_than_aws_takes_it_wherever_it_is_deployed(name: str) -> None:
    one = template(name)
    given = {key: value for key, value in LONGEST.items() if key in one.parameters or key.startswith(("AWS", "Env"))}
    long = set()
    for made in one.resources():
        for key in {NAMES.get(made.kind, ""), "Name", "Domain", "TemplateName", "DBInstanceIdentifier", "PolicyName"}:
            most = longest(made.kind, key)
            if most is not None and key in made.properties and made.kind != "AWS::IAM::Policy":
                called = str(one.resolve(made.properties[key], given))
                if len(called) > most:
                    long.add((made.name, called, most))
    assert long == set()


def reserved(one: Template) -> int:
    """What its functions keep for themselves of the account's concurrency, with the capacity of production."""
    given = {"Capacity": "city"} if "Capacity" in one.parameters else {}
    found = (made.properties.get("ReservedConcurrentExecutions", 0) for made in one.deploy(given).resources())
    return sum(int(value) for value in found)


def test_the_guide_says_how_many_functions_at_once_an_account_has_to_allow() -> None:
    guide = (ROOT / "infrastructure" / "README.md").read_text("utf-8")
    said = int(re.search(r"concurrency of Lambda of (\d+)", guide)[1])  # type: ignore[index]
    left_to_others = 100  # which Lambda wants nobody to reserve
    assert sum(map(reserved, templates())) + left_to_others <= said <= 300
