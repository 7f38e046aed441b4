"""Stacks of one environment stand beside one another: no two of them make a thing of the same name."""

from collections import defaultdict

from tests.rights import stacks_of
from tests.templates import templates

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
    for template in templates():
        for stack in stacks_of(template.name):
            for one in stack.resources():
                name = one.properties.get(NAMES.get(one.kind, ""))
                if name is not None and template.name not in ELSEWHERE:
                    makers[one.kind, str(name)].add(str(one))
    assert {name: sorted(by) for name, by in makers.items() if len(by) > 1} == {}
    assert len(makers) > 100


def test_no_two_stacks_export_the_same_name() -> None:
    exporters: dict[str, set[str]] = defaultdict(set)
    for template in templates():
        for stack in stacks_of(template.name):
            for name in stack.exports:
                exporters[name].add(template.name)
    assert {name: by for name, by in exporters.items() if len(by) > 1 and "replica" not in by} == {}
