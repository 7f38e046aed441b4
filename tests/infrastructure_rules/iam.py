"""Roles and their policies. Source: AWS Foundational Security Best Practices IAM.1 and IAM.21."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from city_platform.infrastructure.registry import actions
from city_platform.infrastructure.rights import read_reviewed
from tests.infrastructure_rules.model import rule
from tests.infrastructure_rules.policies import anybody, listed, statements
from tests.templates import FOLDER, Resource, Stack

ROLE, POLICIES = "AWS::IAM::Role", ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")


@cache
def unlimited() -> frozenset[str]:
    return frozenset(read_reviewed(FOLDER).unlimited.actions)


@cache
def can_be_limited(action: str) -> bool:
    """Whether a policy can name the resources of an action, by AWS's list and by what we know beyond it."""
    return bool(actions().get(action.lower())) and action not in unlimited()


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
        found = [action for action in listed(one.get("Action")) if can_be_limited(action)]
        if found and "*" in listed(one.get("Resource")):
            yield f"allows {', '.join(found)} on everything"


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


@rule("iam-boundary", ROLE)
def bounded(role: Resource, _: Stack) -> Iterator[str]:
    """Without one, a role of a stack may do whatever a template grants it, and so may whoever changes a template."""
    if not role.properties.get("PermissionsBoundary"):
        yield "has no permissions boundary"


@rule("iam-trust", ROLE)
def trusts_somebody(role: Resource, _: Stack) -> Iterator[str]:
    for one in statements(role.properties.get("AssumeRolePolicyDocument")):
        if one["Effect"] == "Allow" and anybody(one):
            yield "can be assumed by everybody"
