"""The stack of rights: what CloudFormation makes stacks with, and what the roles that stacks make may do at most.

Both follow from the templates: the one from the resource types in them, by what AWS says its handlers call
(`registry.py`), the other from what templates grant to roles. What cannot be read there is in
infrastructure/rights/execution.yaml, with its reasons.

    python -m city_platform.infrastructure.rights > infrastructure/rights.yaml

after a template gained a type or a role a right; a test holds the file to it.
"""

import json
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from city_platform.deployment.cloudformation import IDENTITY
from city_platform.errors import PermanentError
from city_platform.infrastructure.registry import actions, permissions
from city_platform.infrastructure.templates import Template, read_templates, walk

ROLE, POLICIES = "AWS::IAM::Role", ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
MOST_CHARACTERS, MOST_POLICIES = 6_144, 10  # of a managed policy, white space not counted; of a role. IAM's quotas
_LONGEST = {
    "${Project}": "p" * 20,
    "${Environment}": "staging",
    "${AWS::Partition}": "aws",
    "${AWS::AccountId}": "1" * 12,
}
_CUSTOM = "Custom::"
_BUCKETS = "S3"
_OURS = {"StringEquals": {"aws:ResourceAccount": "${AWS::AccountId}"}}

Statement = Mapping[str, Any]


class BadRights(PermanentError):
    """The file of reviewed rights does not fit the templates; the message says what to write."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Listed(_Strict):
    """Actions, and why they are in their list. `service:*` is all of a service."""

    actions: tuple[str, ...]
    why: str


class Apart(_Strict):
    """A statement of its own.

    `beyond`: no handler asks for it. `also`: its actions are granted on the service's resources, too.
    """

    sid: Annotated[str, Field(pattern=r"^[A-Za-z0-9]+$")]
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: Mapping[str, Any] = {}
    beyond: bool = False
    also: bool = False
    why: str


class Limits(_Strict):
    """Of the boundary: `also` beyond what templates say, `elsewhere` what is not of this account, or conditional."""

    also: tuple[Listed, ...]
    elsewhere: tuple[Apart, ...]


class Reviewed(_Strict):
    """infrastructure/rights/execution.yaml."""

    resources: Mapping[str, tuple[str, ...]]
    unlimited: Listed
    never: tuple[Listed, ...]
    apart: tuple[Apart, ...]
    boundary: Limits

    def refuses(self, action: str) -> bool:
        service = action.partition(":")[0]
        return any(action in one.actions or f"{service}:*" in one.actions for one in self.never)


def read_reviewed(folder: Path) -> Reviewed:
    """The file of the folder of templates; raises pydantic's ValidationError."""
    return Reviewed.model_validate(yaml.safe_load((folder / "rights" / "execution.yaml").read_text("utf-8")))


def made_with(templates: Iterable[Template]) -> set[str]:
    """The actions that making, changing and removing the templates' resources takes, reviews not yet applied."""
    kinds = {kind for one in templates for kind in one.kinds if not kind.startswith(_CUSTOM)}
    return {action for kind in kinds for action in permissions(kind)}


def granted(templates: Iterable[Template]) -> set[str]:
    """The actions that the templates allow to roles, on any side of their conditions."""
    return {
        action
        for one in templates
        for made in one.body["Resources"].values()
        if made["Type"] in {ROLE, *POLICIES}
        for statement in walk(made)
        if statement.get("Effect") == "Allow" and "Principal" not in statement
        for action in _listed(statement["Action"])
    }


def services(templates: Iterable[Template]) -> set[str]:
    """The services that take on the templates' roles."""
    return {
        service
        for one in templates
        for made in one.body["Resources"].values()
        if made["Type"] == ROLE
        for statement in walk(made["Properties"]["AssumeRolePolicyDocument"])
        for service in _listed(statement.get("Principal", {}).get("Service", []))
    }


def execution(templates: Sequence[Template], reviewed: Reviewed) -> list[Statement]:
    """What CloudFormation's role is allowed, statement by statement. Raises BadRights."""
    apart = {action for one in reviewed.apart if not one.also for action in one.actions}
    passing = {
        "Sid": "WhatServicesWorkAs",
        "Effect": "Allow",
        "Action": ["iam:PassRole"],
        "Resource": _arns("iam", [":${AWS::AccountId}:role/${Name}-*"]),
        "Condition": {"StringEquals": {"iam:PassedToService": sorted(services(templates))}},
    }
    plain = {one for one in made_with(templates) if not reviewed.refuses(one)} - apart - {"iam:PassRole"}
    return [*_by_service(plain, reviewed), *map(_statement, reviewed.apart), passing]


def boundary(templates: Sequence[Template], reviewed: Reviewed) -> list[Statement]:
    """What the roles of stacks may do at most. Raises BadRights."""
    limits = reviewed.boundary
    listed = granted(templates) | {action for one in limits.also for action in one.actions}
    everywhere = {action for one in limits.elsewhere for action in one.actions} - {"s3:GetObject"}
    unlimited, *named = _by_service(listed - everywhere, reviewed)
    # A boundary is one policy, and short: what is right for each service is right for all of them in one statement.
    others = [one for one in named if one["Sid"] != _BUCKETS]
    together = {name: [item for one in others for item in one[name]] for name in ("Action", "Resource")}
    # Buckets' ARNs name no account: what roles read and write is this account's all the same.
    (buckets,) = ({**one, "Condition": _OURS} for one in named if one["Sid"] == _BUCKETS)
    own = {"Sid": "OfThisAccount", "Effect": "Allow", **together}
    return [unlimited, own, buckets, *map(_statement, limits.elsewhere)]


def _by_service(listed: Iterable[str], reviewed: Reviewed) -> list[Statement]:
    """A statement a service, on its resources; first one for what AWS limits to no resource."""
    limited: dict[str, list[str]] = defaultdict(list)
    unlimited: list[str] = []
    for action in sorted(listed):
        can_be = actions().get(action.lower()) and action not in reviewed.unlimited.actions
        (limited[action.partition(":")[0]] if can_be else unlimited).append(action)
    if lost := sorted(set(limited) - set(reviewed.resources)):
        raise BadRights(f"infrastructure/rights/execution.yaml says of no resources of {', '.join(lost)}")
    named = [
        {
            "Sid": "".join(part.title() for part in service.split("-")),
            "Effect": "Allow",
            "Action": actions_of,
            "Resource": _arns(service, reviewed.resources[service]),
        }
        for service, actions_of in limited.items()
    ]
    return [{"Sid": "WithoutResource", "Effect": "Allow", "Action": unlimited, "Resource": ["*"]}, *named]


def _arns(service: str, ends: Iterable[str]) -> list[str]:
    found = (end if "::" in end else f"*:${{AWS::AccountId}}:{end}" for end in ends)
    return [f"arn:${{AWS::Partition}}:{service}:{end}".replace("${Name}", "${Project}-${Environment}") for end in found]


def _statement(one: Apart) -> Statement:
    named = [arn.replace("${Name}", "${Project}-${Environment}") for arn in one.resources]
    found = {"Sid": one.sid, "Effect": "Allow", "Action": list(one.actions), "Resource": named}
    return {**found, "Condition": one.condition} if one.condition else found


def in_policies(statements: Sequence[Statement]) -> list[list[Statement]]:
    """The statements in as few managed policies as hold them, in their order; a long one is told in parts.

    Raises BadRights where they are more than a role can have.
    """
    policies: list[list[Statement]] = [[]]
    for statement in (part for one in statements for part in _parts(one)):
        if size([*policies[-1], statement]) > MOST_CHARACTERS:
            policies.append([])
        policies[-1].append(statement)
    if len(policies) > MOST_POLICIES:
        raise BadRights(f"a role has at most {MOST_POLICIES} managed policies, and these rights need {len(policies)}")
    return policies


def _parts(statement: Statement) -> Iterator[Statement]:
    """The statement, or several with some of its actions each, none longer than half a policy."""
    listed = list(statement["Action"])
    several = -(-size([statement]) // (MOST_CHARACTERS // 2))
    step = -(-len(listed) // several)
    for number in range(several):
        more = {"Sid": f"{statement['Sid']}{number + 1}"} if several > 1 else {}
        yield {**statement, **more, "Action": listed[number * step : (number + 1) * step]}


def size(statements: Sequence[Statement]) -> int:
    """What IAM counts of a policy of these statements, with the longest names that there can be."""
    text = json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))
    for name, value in _LONGEST.items():
        text = text.replace(name, value)
    return len(text) + 100 * text.count("${Boundary}")


def template(templates: Sequence[Template], reviewed: Reviewed) -> str:
    """The text of infrastructure/rights.yaml, from all templates but those that people deploy. Raises BadRights."""
    policies = in_policies(execution(templates, reviewed))
    made = [_policy("RoleBoundary", "role-boundary", "What roles that stacks make may do at most",
                    boundary(templates, reviewed))]  # fmt: skip
    made += [
        _policy(f"ExecutionPolicy{number}", f"execution-{number}", "What CloudFormation makes stacks with", statements)
        for number, statements in enumerate(policies, 1)
    ]
    names = ", ".join(f"!Ref ExecutionPolicy{number}" for number in range(1, len(policies) + 1))
    return f"{_HEAD}{IDENTITY}\nResources:\n" + "".join(made) + _TAIL.replace("{policies}", names)


def _policy(name: str, called: str, description: str, statements: Iterable[Statement]) -> str:
    head = f"""\
  {name}:
    Type: AWS::IAM::ManagedPolicy
    Properties:
      ManagedPolicyName: !Sub "${{Project}}-${{Environment}}-{called}"
      Description: {description}
      PolicyDocument:
        Version: "2012-10-17"
        Statement:
"""
    return head + "".join(map(_as_yaml, statements)) + "\n"


def _as_yaml(one: Statement) -> str:
    pad = " " * 10
    listed = textwrap.fill(
        ", ".join(one["Action"]), 118, initial_indent=pad + " " * 4, subsequent_indent=pad + " " * 4,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    text = f"{pad}- Sid: {one['Sid']}\n{pad}  Effect: Allow\n{pad}  Action: [\n{listed}\n{pad}  ]\n{pad}  Resource:\n"
    text += "".join(f"{pad}    - {_text(arn)}\n" for arn in one["Resource"])
    for operator, tests in one.get("Condition", {}).items():
        told = ", ".join(f'"{key}": {_text(value)}' for key, value in tests.items())
        text += f'{pad}  Condition: {{"{operator}": {{{told}}}}}\n'
    return text


def _text(value: Any) -> str:
    if value == "${Boundary}":
        return "!Ref RoleBoundary"
    return f'!Sub "{value}"' if "${" in str(value) else json.dumps(value)


def _listed(value: Any) -> list[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


_HEAD = """\
# Written by `python -m city_platform.infrastructure.rights` from the other templates and rights/execution.yaml.
AWSTemplateFormatVersion: "2010-09-09"
Description: >-
  What CloudFormation makes stacks with, and what the roles that stacks make may do at most: deployed by people before
  all others, and again when a template gains a type of resource or a role a right. A change that arrives through the
  pipeline cannot change either. docs/decisions/0032-rights-of-deployment.md says how both are worked out.

Metadata:
  DeployedByHand: It says what a deployment may do, which a deployment must not change

"""
_TAIL = """\
  ExecutionRole:
    Type: AWS::IAM::Role
    Properties:
      RoleName: !Sub "${Project}-${Environment}-execution"
      Description: What CloudFormation makes stacks with
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Principal: {Service: cloudformation.amazonaws.com}
            Action: sts:AssumeRole
            Condition: {StringEquals: {"aws:SourceAccount": !Ref AWS::AccountId}}
      ManagedPolicyArns: [{policies}]
      Policies:
        # What people deploy, a deployment must not widen.
        - PolicyName: not-what-people-deploy
          PolicyDocument:
            Version: "2012-10-17"
            Statement:
              - Sid: RolesOfDeployment
                Effect: Deny
                Action: [
                  iam:AttachRolePolicy, iam:CreateRole, iam:DeleteRole, iam:DeleteRolePolicy, iam:DetachRolePolicy,
                  iam:PassRole, iam:PutRolePermissionsBoundary, iam:PutRolePolicy, iam:UpdateAssumeRolePolicy,
                  iam:UpdateRole
                ]
                Resource:
                  - !Sub "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${Project}-${Environment}-bootstrap-*"
                  - !Sub "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${Project}-${Environment}-deploy"
                  - !Sub "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${Project}-${Environment}-execution"
                  - !Sub "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${Project}-${Environment}-pipeline-*"
                  - !Sub "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${Project}-${Environment}-*-release"
              - Sid: PoliciesOfDeployment
                Effect: Deny
                Action: [iam:CreatePolicy, iam:CreatePolicyVersion, iam:DeletePolicy, iam:DeletePolicyVersion]
                Resource:
                  - !Ref RoleBoundary
                  - !Sub "arn:${AWS::Partition}:iam::${AWS::AccountId}:policy/${Project}-${Environment}-execution-*"
                  - !Sub "arn:${AWS::Partition}:iam::${AWS::AccountId}:policy/${Project}-${Environment}-pipeline-*"
              - Sid: KeyOfDeployment
                Effect: Deny
                Action: [kms:CreateAlias, kms:DeleteAlias, kms:PutKeyPolicy, kms:ScheduleKeyDeletion, kms:UpdateAlias]
                Resource: !Sub "arn:${AWS::Partition}:kms:*:${AWS::AccountId}:*"
                Condition:
                  ForAnyValue:StringEquals:
                    "kms:ResourceAliases": !Sub "alias/${Project}-${Environment}-artifacts"
      Tags:
        - {Key: Project, Value: !Ref Project}
        - {Key: Environment, Value: !Ref Environment}
        - {Key: DataClassification, Value: internal}

Outputs:
  ExecutionRoleArn:
    Description: ARN of the role that CloudFormation makes stacks with
    Value: !GetAtt ExecutionRole.Arn
    Export: {Name: !Sub "${Project}-${Environment}-ExecutionRoleArn"}
  RoleBoundaryArn:
    Description: ARN of the boundary of the roles that stacks make
    Value: !Ref RoleBoundary
    Export: {Name: !Sub "${Project}-${Environment}-RoleBoundaryArn"}
"""

if __name__ == "__main__":
    _folder = Path("infrastructure")
    _all = [one for one in read_templates(_folder).values() if one.by_hand is None]
    sys.stdout.write(template(_all, read_reviewed(_folder)))
