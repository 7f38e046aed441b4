"""Least privilege: a function's role may do what its code can call and its settings call for, and nothing else."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import pytest

from city_platform.infrastructure.registry import actions as known_actions
from tests.policies import statements, texts
from tests.rights import (
    Function,
    Reading,
    Rights,
    allowed,
    differences,
    functions_in,
    of_code,
    of_keys,
    reference,
    reviews,
    stacks_of,
)
from tests.rights import functions as read_functions
from tests.templates import Template, templates

LIVE = {"boto3", "botocore", "msgspec", "numpy", "pybase64"}


@cache
def functions() -> Sequence[Function]:
    return list(read_functions())


@cache
def reading() -> Reading:
    return Reading()


def test_functions_may_do_what_they_call_and_nothing_else() -> None:
    found = [
        line
        for function in functions()
        for line in differences(str(function), reading().rights(function), allowed(function.stacks, function.role))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("role", "packages"), [("HostRole", ("sensors", "schedules", "resources")), ("RunRole", ("assets", "resources"))]
)
def test_dagster_may_do_what_its_code_calls_and_nothing_else(role: str, packages: Sequence[str]) -> None:
    rights = of_code(reading().entry(*functions_in(*packages)))
    stacks = stacks_of("dagster")
    assert list(differences(f"dagster:{role}", rights, allowed(stacks, role))) == []


# Managed policies for roles of people (desks.yaml), by the commands that they run.
PEOPLE = {
    "ErasurePolicy": ("city_platform.cli.erase:erase",),
    "RedrivePolicy": ("city_platform.cli.incidents:list_letters", "city_platform.cli.incidents:redrive"),
}


@pytest.mark.parametrize("policy", PEOPLE)
def test_a_policy_of_people_allows_what_their_commands_call_and_nothing_else(policy: str) -> None:
    rights = of_code(reading().entry(*PEOPLE[policy]))
    has = {
        action
        for stack in stacks_of("incidents")
        for statement in statements(stack[policy].properties["PolicyDocument"])
        for action in texts(statement["Action"])
    }
    assert list(differences(f"incidents:{policy}", rights, has)) == []


def test_every_role_is_one_functions_alone_and_taken_by_lambda_alone() -> None:
    roles = [(function.template.name, function.role) for function in functions()]
    assert len(roles) == len(set(roles)) >= 12
    for function in functions():
        for stack, _ in function.resources:
            (trust,) = statements(stack[function.role].properties["AssumeRolePolicyDocument"])
            assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}, str(function)


def test_reviews_are_of_functions_there_are_and_say_why() -> None:
    known = {str(function) for function in functions()} | {
        "dagster:HostRole",
        "dagster:RunRole",
        *(f"incidents:{policy}" for policy in PEOPLE),
    }
    for one in reviews():
        assert one.role in known
        assert len(one.why) > 40
        assert one.also or one.never or one.beyond


def test_no_function_carries_the_orchestrator_and_the_live_one_carries_next_to_nothing() -> None:
    for function in functions():
        if function.inline is not None:
            continue
        reach = reading().calls(function.handler, None).reach
        assert not {name for name in reach.packages if name.startswith("dagster")}, str(function)
        assert not reach.modules & {"assets", "resources", "sensors", "schedules", "definitions"}, str(function)
    live = reading().calls("lambda_handler.lambda_handler", None).reach
    assert live.packages - sys.stdlib_module_names <= LIVE


def test_calls_become_actions_that_exist() -> None:
    for action in reading().entry(*functions_in("assets", "resources")).actions:
        assert action.lower() in known_actions(), action


def granted(of: Template) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The statements that roles and managed policies of a template hold, in any of its stacks."""
    for stack in stacks_of(of.name):
        for kind in ("AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
            for one in stack.resources(kind):
                own = [one.properties["PolicyDocument"]] if "PolicyDocument" in one.properties else []
                for document in (*own, *(policy["PolicyDocument"] for policy in one.properties.get("Policies", []))):
                    for statement in statements(document):
                        yield str(one), statement


def test_everything_that_is_granted_is_an_action() -> None:
    found = {
        f"{who}: {action}"
        for one in templates()
        for who, statement in granted(one)
        for action in texts(statement["Action"])
    }
    assert {one for one in found if one.partition(": ")[2].lower() not in known_actions()} == set()
    assert len(found) > 500


@pytest.mark.parametrize(
    ("needs", "has", "said"),
    [
        ({"s3:GetObject"}, {"s3:GetObject", "kms:Decrypt"}, []),
        ({"s3:GetObject"}, {"s3:GetObject"}, ["x lacks kms:Decrypt: the key under s3:GetObject"]),
        ({"sqs:SendMessage"}, {"kms:Decrypt", "kms:GenerateDataKey"}, ["x lacks sqs:SendMessage: called"]),
        ({"dynamodb:Query"}, {"dynamodb:Query", "kms:Decrypt"}, []),
        (set(), {"s3:GetObject"}, ["x is allowed s3:GetObject, which its code cannot call"]),
    ],
)
def test_what_is_lacking_and_what_is_too_much_is_said(needs: set[str], has: set[str], said: list[str]) -> None:
    rights = Rights()
    rights.add(needs, "called")
    of_keys(rights)
    assert list(differences("x", rights, has)) == said


def test_references_are_told_apart() -> None:
    assert [reference(one) for one in ("${ApiRole.Arn}", "${ApiRole}", "${import:a-b}")] == [
        "ApiRole",
        "ApiRole",
        "import:a-b",
    ]
