"""desks.yaml: each desk has a role of its own, with a second factor and for an hour, and none has another's rights."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.policies import Decision, Request, decide, statements, texts
from tests.rights import documents
from tests.templates import Stack, template

OWNER = "111122223333"
PEOPLE = {
    "ServiceDeskSteward": f"arn:aws:iam::{OWNER}:user/steward",
    "OnCall": f"arn:aws:iam::{OWNER}:user/on-call",
    "PrivacyOfficer": f"arn:aws:iam::{OWNER}:user/officer",
}
PARAMETERS = {"ServiceDeskSteward": "StewardPrincipal", "OnCall": "OnCallPrincipal"}
WITH_DEVICE = {"aws:MultiFactorAuthPresent": "true", "aws:MultiFactorAuthAge": "60"}


def desks(**more: str) -> Stack:
    given = {PARAMETERS.get(desk, f"{desk}Principal"): arn for desk, arn in PEOPLE.items()}
    return template("desks").deploy({"AWS::AccountId": OWNER, **given, **more})


def takes_on(role: str, person: str, context: Mapping[str, str], **more: str) -> bool:
    trust = desks(**more)[role].properties["AssumeRolePolicyDocument"]
    asked = Request(person, "sts:AssumeRole", f"arn:aws:iam::{OWNER}:role/{role}", context)
    return decide(asked, (), trust, owner=OWNER) is Decision.ALLOWED


@pytest.mark.parametrize("desk", PEOPLE)
def test_a_desk_takes_on_its_role_with_a_second_factor_within_the_hour(desk: str) -> None:
    assert takes_on(desk, PEOPLE[desk], WITH_DEVICE)
    without: list[dict[str, str]] = [{}, {"aws:MultiFactorAuthPresent": "false"}]
    without.append({**WITH_DEVICE, "aws:MultiFactorAuthAge": "3600"})
    for context in without:
        assert not takes_on(desk, PEOPLE[desk], context), context
    for other in set(PEOPLE.values()) - {PEOPLE[desk]}:
        assert not takes_on(desk, other, WITH_DEVICE)
    assert takes_on(desk, PEOPLE[desk], {}, SecondFactor="provider")  # which asked for it before
    assert desks()[desk].properties["MaxSessionDuration"] == 3600


def test_a_desk_that_nobody_sits_at_has_no_role() -> None:
    assert template("desks").deploy().resources() == []


def granted(desk: str) -> set[tuple[str, str]]:
    return {
        (action, resource)
        for document in documents(desks(), desk)
        for one in statements(document)
        if one["Effect"] == "Allow"
        for action in texts(one["Action"])
        for resource in texts(one["Resource"])
    }


def test_each_policy_of_people_is_carried_by_one_desk() -> None:
    carried = [policy for desk in PEOPLE for policy in desks()[desk].properties["ManagedPolicyArns"]]
    names = ("ErasurePolicyArn", "RedrivePolicyArn", "AuditorPolicyArn")
    assert sorted(carried) == sorted(f"${{import:city-platform-dev-{name}}}" for name in names)


def test_nobody_removes_a_person_but_the_steward_and_nobody_asks_the_trail_but_the_officer() -> None:
    steward, on_call, officer = (granted(desk) for desk in PEOPLE)
    assert ("dynamodb:Scan", "${IncidentTable.Arn}") in steward
    contacts: Any = "${IncidentContact.Arn}"
    assert ("dynamodb:GetItem", contacts) in steward
    assert not {action for action, resource in on_call if resource == contacts} & {"dynamodb:GetItem", "dynamodb:Scan"}
    assert not {action for action, _ in steward | on_call if action.startswith("athena:")}
    writes = ("Put", "Delete", "Update", "Write", "Send", "Publish")
    data = {(action, resource) for action, resource in officer if "cov-" in resource or "Incident" in resource}
    assert data == set()
    changing = {action for action, _ in officer if any(word in action for word in writes)}
    assert changing == {"s3:PutObject"}  # answers to their questions
    assert {one for one in officer if one[0] == "s3:PutObject"} <= {
        ("s3:PutObject", "${AnswersBucket.Arn}"),
        ("s3:PutObject", "${AnswersBucket.Arn}/*"),
    }
