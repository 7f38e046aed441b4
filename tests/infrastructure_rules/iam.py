"""Roles and their policies. Source: AWS Foundational Security Best Practices IAM.1 and IAM.21."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.infrastructure_rules.model import rule
from tests.infrastructure_rules.policies import anybody, listed, statements
from tests.templates import Resource, Stack

ROLE, POLICIES = "AWS::IAM::Role", ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
# Actions for which a policy can name no resource:
# https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
WITHOUT_RESOURCE = {
    "cloudwatch:ListMetrics",
    "cloudwatch:PutMetricData",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroupRules",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "ecr:GetAuthorizationToken",
    "ecs:DescribeTaskDefinition",
    "ecs:ListTaskDefinitions",
    "iot:DescribeEndpoint",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
    "sts:GetCallerIdentity",
    "xray:GetSamplingRules",
    "xray:GetSamplingStatisticSummaries",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}


def granted(resource: Resource) -> Iterator[Mapping[str, Any]]:
    """The statements of a policy, or of the policies inside a role, that allow something."""
    documents = [one["PolicyDocument"] for one in resource.properties.get("Policies", [])]
    for document in [*documents, resource.properties.get("PolicyDocument")]:
        yield from (one for one in statements(document) if one["Effect"] == "Allow")


@rule("iam-actions", ROLE, *POLICIES)
def named_actions(resource: Resource, _: Stack) -> Iterator[str]:
    for one in granted(resource):
        if "NotAction" in one or "NotResource" in one:
            yield "allows all but what it names"
        if wild := [action for action in listed(one.get("Action")) if "*" in action]:
            yield f"allows actions with a wildcard: {', '.join(wild)}"


@rule("iam-resources", ROLE, *POLICIES)
def named_resources(resource: Resource, _: Stack) -> Iterator[str]:
    for one in granted(resource):
        if "*" in listed(one.get("Resource")):
            actions = [action for action in listed(one.get("Action")) if action not in WITHOUT_RESOURCE]
            if actions:
                yield f"allows {', '.join(actions)} on everything"


@rule("iam-pass-role", ROLE, *POLICIES)
def passes_roles_to_a_service(resource: Resource, _: Stack) -> Iterator[str]:
    for one in granted(resource):
        if "iam:PassRole" not in listed(one.get("Action")):
            continue
        conditions = {key for condition in one.get("Condition", {}).values() for key in condition}
        if "iam:PassedToService" not in conditions:
            yield "passes a role to any service"
        if "*" in listed(one["Resource"]):
            yield "passes any role"


@rule("iam-managed", ROLE)
def no_policies_of_others(role: Resource, _: Stack) -> Iterator[str]:
    """Policies that AWS manages change without notice and allow more than one role needs."""
    found = [arn for arn in role.properties.get("ManagedPolicyArns", []) if ":iam::aws:policy/" in arn]
    if found:
        yield f"has policies that AWS manages: {', '.join(found)}"


@rule("iam-trust", ROLE)
def trusts_somebody(role: Resource, _: Stack) -> Iterator[str]:
    for one in statements(role.properties.get("AssumeRolePolicyDocument")):
        if one["Effect"] == "Allow" and anybody(one):
            yield "can be assumed by everybody"
