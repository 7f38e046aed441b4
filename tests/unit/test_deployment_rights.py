"""rights.yaml: CloudFormation's role may make what templates hold and nothing else; roles stay within a boundary."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import pytest

from city_platform.infrastructure.registry import NoRegistry, actions, permissions
from city_platform.infrastructure.rights import (
    MOST_CHARACTERS,
    POLICIES,
    BadRights,
    boundary,
    execution,
    in_policies,
    made_with,
    read_reviewed,
    size,
)
from city_platform.infrastructure.rights import ROLE as IAM_ROLE
from city_platform.infrastructure.rights import granted as granted_to_roles
from city_platform.infrastructure.rights import template as written
from city_platform.infrastructure.stacks import BODY_LIMIT
from city_platform.infrastructure.templates import read_templates
from tests.policies import Decision, Document, Request, decide, statements, texts
from tests.rights import reference, stacks_of
from tests.templates import FOLDER, Resource, Stack, template, templates

OWNER, REGION = "111122223333", "ca-central-1"
PSEUDO = {"AWS::AccountId": OWNER, "AWS::Region": REGION, "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com"}
NAME = "city-platform-dev"
EXECUTION = f"arn:aws:iam::{OWNER}:role/{NAME}-execution"
BOUNDARY = f"arn:aws:iam::{OWNER}:policy/{NAME}-role-boundary"
DEPLOYED = [one for one in read_templates(FOLDER).values() if one.by_hand is None]
REVIEWED = read_reviewed(FOLDER)
# What a resource is called in ARNs, by its type, and the action that makes it.
MADE: Mapping[str, tuple[str, str]] = {
    "AWS::Athena::WorkGroup": ("athena:CreateWorkGroup", "athena:{region}:{account}:workgroup/{Name}"),
    "AWS::CloudTrail::Trail": ("cloudtrail:CreateTrail", "cloudtrail:{region}:{account}:trail/{TrailName}"),
    "AWS::CloudWatch::Alarm": ("cloudwatch:PutMetricAlarm", "cloudwatch:{region}:{account}:alarm:{AlarmName}"),
    "AWS::CloudWatch::Dashboard": ("cloudwatch:PutDashboard", "cloudwatch::{account}:dashboard/{DashboardName}"),
    "AWS::DataBrew::Job": ("databrew:DeleteJob", "databrew:{region}:{account}:job/{Name}"),
    "AWS::DynamoDB::Table": ("dynamodb:CreateTable", "dynamodb:{region}:{account}:table/{TableName}"),
    "AWS::ECS::Cluster": ("ecs:UpdateCluster", "ecs:{region}:{account}:cluster/{ClusterName}"),
    "AWS::Events::EventBus": ("events:CreateEventBus", "events:{region}:{account}:event-bus/{Name}"),
    "AWS::Glue::Crawler": ("glue:UpdateCrawler", "glue:{region}:{account}:crawler/{Name}"),
    "AWS::Glue::Trigger": ("glue:CreateTrigger", "glue:{region}:{account}:trigger/{Name}"),
    "AWS::Glue::Workflow": ("glue:CreateWorkflow", "glue:{region}:{account}:workflow/{Name}"),
    "AWS::IAM::ManagedPolicy": ("iam:CreatePolicy", "iam::{account}:policy/{ManagedPolicyName}"),
    "AWS::IoT::Policy": ("iot:CreatePolicy", "iot:{region}:{account}:policy/{PolicyName}"),
    "AWS::KMS::Alias": ("kms:CreateAlias", "kms:{region}:{account}:{AliasName}"),
    "AWS::Kinesis::Stream": ("kinesis:CreateStream", "kinesis:{region}:{account}:stream/{Name}"),
    "AWS::KinesisFirehose::DeliveryStream": (
        "firehose:CreateDeliveryStream", "firehose:{region}:{account}:deliverystream/{DeliveryStreamName}"
    ),
    "AWS::Lambda::Function": ("lambda:CreateFunction", "lambda:{region}:{account}:function:{FunctionName}"),
    "AWS::Logs::LogGroup": ("logs:CreateLogGroup", "logs:{region}:{account}:log-group:{LogGroupName}"),
    "AWS::RDS::DBInstance": ("rds:CreateDBInstance", "rds:{region}:{account}:db:{DBInstanceIdentifier}"),
    "AWS::S3::Bucket": ("s3:CreateBucket", "s3:::{BucketName}"),
    "AWS::SNS::Topic": ("sns:CreateTopic", "sns:{region}:{account}:{TopicName}"),
    "AWS::SQS::Queue": ("sqs:CreateQueue", "sqs:{region}:{account}:{QueueName}"),
    "AWS::SecretsManager::Secret": (
        "secretsmanager:CreateSecret", "secretsmanager:{region}:{account}:secret:{Name}-AbCdEf"
    ),
    "AWS::StepFunctions::StateMachine": (
        "states:CreateStateMachine", "states:{region}:{account}:stateMachine:{StateMachineName}"
    ),
}  # fmt: skip


@cache
def rights() -> Stack:
    return template("rights").deploy(PSEUDO)


@cache
def deployment() -> Sequence[Document]:
    """Every policy of CloudFormation's role."""
    return [json.loads(json.dumps(one).replace("${RoleBoundary}", BOUNDARY)) for one in _documents()]


def _documents() -> Iterator[Document]:
    for one in rights().resources("AWS::IAM::ManagedPolicy"):
        if one.name != "RoleBoundary":
            yield one.properties["PolicyDocument"]
    for policy in rights()["ExecutionRole"].properties["Policies"]:
        yield policy["PolicyDocument"]


@cache
def about(service: str) -> Sequence[Document]:
    """The statements among them that are about a service; all others decide nothing of it."""
    every = [one for document in deployment() for one in statements(document)]
    return [{"Statement": [one for one in every if any(a.startswith(f"{service}:") for a in texts(one["Action"]))]}]


@cache
def limits() -> Document:
    found: Document = rights()["RoleBoundary"].properties["PolicyDocument"]
    return found


def may(action: str, resource: str, **context: str) -> bool:
    """Whether CloudFormation's role may; keys of KMS let the account in."""
    keys = {name.replace("__", ":"): value for name, value in context.items()}
    asked = Request(EXECUTION, action, resource, keys)
    return decide(asked, about(action.partition(":")[0]), door(action), owner=OWNER) is Decision.ALLOWED


def door(action: str) -> Document | None:
    """A key's policy, which lets in whom the account's policies allow."""
    root = {"AWS": f"arn:aws:iam::{OWNER}:root"}
    delegating = {"Statement": [{"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"}]}
    return delegating if action.startswith("kms:") else None


def allowed_in(found: Sequence[Document]) -> set[str]:
    return {
        action
        for document in found
        for one in statements(document)
        if one["Effect"] == "Allow"
        for action in texts(one["Action"])
    }


def test_the_template_is_what_follows_from_the_others() -> None:
    assert (FOLDER / "rights.yaml").read_text("utf-8") == written(DEPLOYED, REVIEWED), (
        "write it anew: python -m city_platform.infrastructure.rights > infrastructure/rights.yaml"
    )


def test_every_right_of_every_types_handlers_is_granted_or_refused_with_a_reason_and_no_other_is() -> None:
    granted = allowed_in(deployment())
    handlers = made_with(DEPLOYED)
    beyond = {action for one in REVIEWED.apart if one.beyond for action in one.actions}
    assert {one for one in handlers - granted if not REVIEWED.refuses(one)} == set()
    assert granted - handlers - beyond == set()
    assert {one for one in granted if REVIEWED.refuses(one)} == set()
    assert len(granted) > 500


def test_nothing_is_reviewed_in_vain() -> None:
    handlers, to_roles = made_with(DEPLOYED), granted_to_roles(DEPLOYED)
    for one in REVIEWED.never:
        services = {action.partition(":")[0] for action in handlers}
        lost = [each for each in one.actions if each not in handlers and each.removesuffix(":*") not in services]
        assert (lost, len(one.why) > 30) == ([], True), one
    for each in REVIEWED.apart:
        assert (set(each.actions) <= handlers, bool(each.why)) == (not each.beyond, True), each
    for each in REVIEWED.boundary.elsewhere:
        assert set(each.actions) <= to_roles, each
    assert set(REVIEWED.resources) == {
        action.partition(":")[0]
        for action in {*handlers, *to_roles}
        if actions()[action.lower()] and action not in REVIEWED.unlimited.actions and not REVIEWED.refuses(action)
    } - {"ecr"}


def test_the_boundary_is_what_templates_grant_and_nothing_else() -> None:
    also = {action for one in REVIEWED.boundary.also for action in one.actions}
    assert allowed_in([limits()]) == granted_to_roles(DEPLOYED) | also


def test_all_of_it_fits_where_it_has_to() -> None:
    for policy in in_policies(execution(DEPLOYED, REVIEWED)):
        assert size(policy) <= MOST_CHARACTERS
    assert size(boundary(DEPLOYED, REVIEWED)) <= MOST_CHARACTERS
    # The first stack is made when there is no bucket to put its template into.
    assert len((FOLDER / "rights.yaml").read_bytes()) <= BODY_LIMIT


def test_rights_that_do_not_fit_are_refused() -> None:
    long = {"Sid": "A", "Effect": "Allow", "Action": [f"s3:{'x' * 90}{n}" for n in range(700)], "Resource": ["*"]}
    with pytest.raises(BadRights, match="at most 10"):
        in_policies([long])
    short = in_policies([{**long, "Action": long["Action"][:100]}])
    assert [action for policy in short for one in policy for action in one["Action"]] == long["Action"][:100]
    assert len({one["Sid"] for policy in short for one in policy}) == sum(map(len, short))
    with pytest.raises(NoRegistry, match="AWS::Nobody::Knows"):
        permissions("AWS::Nobody::Knows")


def test_whatever_the_stacks_call_their_resources_can_be_made() -> None:
    seen: set[tuple[str, str, str]] = set()
    for one in templates():
        for resource in one.resources() if one.name in {each.name for each in DEPLOYED} else ():
            action, form = MADE.get(resource.kind, ("", ""))
            wanted = re.findall(r"\{([A-Z]\w+)\}", form)
            if wanted and all(name in resource.properties for name in wanted):
                told = {
                    name: str(one.resolve(resource.properties[name], PSEUDO | {"Environment": "dev"}))
                    for name in wanted
                }
                arn = "arn:aws:" + form.format(region=REGION, account=OWNER, **told)
                seen.add((resource.kind, action, re.sub(r"\$\{\w+\}", "x", arn)))
    for _, action, arn in seen:
        assert may(action, arn), (action, arn)
        assert OWNER not in arn or not may(action, arn.replace(OWNER, "999988887777")), (action, arn)
    assert {kind for kind, _, _ in seen} == set(MADE)


ROLE = f"arn:aws:iam::{OWNER}:role/{NAME}-incident-api"
KEY = f"arn:aws:kms:{REGION}:{OWNER}:key/1"


def test_a_deployment_makes_roles_within_the_boundary_alone() -> None:
    for action in ("iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:PutRolePermissionsBoundary"):
        assert may(action, ROLE, iam__PermissionsBoundary=BOUNDARY), action
        assert not may(action, ROLE), action
        other = f"arn:aws:iam::{OWNER}:policy/AdministratorAccess"
        assert not may(action, ROLE, iam__PermissionsBoundary=other), action
        assert not may(action, ROLE.replace(NAME, "somebody"), iam__PermissionsBoundary=BOUNDARY), action
    assert not may("iam:DeleteRolePermissionsBoundary", ROLE, iam__PermissionsBoundary=BOUNDARY)
    assert may("iam:PassRole", ROLE, iam__PassedToService="lambda.amazonaws.com")
    assert not may("iam:PassRole", ROLE, iam__PassedToService="ec2.amazonaws.com")
    assert not may("iam:CreateUser", f"arn:aws:iam::{OWNER}:user/x")


# Named ones, and those that CloudFormation names after their stacks.
@pytest.mark.parametrize(
    "name",
    ["deploy", "execution", "bootstrap-x", "pipeline-ImageRole-X", "dev-release", "staging-release", "prod-release"],
)
def test_a_deployment_changes_nothing_of_what_deploys(name: str) -> None:
    role = f"arn:aws:iam::{OWNER}:role/{NAME}-{name}"
    for action in (
        "iam:CreateRole",
        "iam:PutRolePolicy",
        "iam:UpdateAssumeRolePolicy",
        "iam:DeleteRole",
        "iam:PassRole",
    ):
        within = {"iam__PermissionsBoundary": BOUNDARY, "iam__PassedToService": "lambda.amazonaws.com"}
        assert not may(action, role, **within), action
        assert may(action, ROLE, **within), action


def test_the_roles_and_policies_that_people_deploy_are_those_it_may_not_change() -> None:
    """Against the templates themselves: whatever name they have or are given by CloudFormation."""
    checked = 0
    for one in templates():
        if "DeployedByHand" not in one.body.get("Metadata", {}):
            continue
        for made in {each.name: each for stack in stacks_of(one.name) for each in stack.resources()}.values():
            called = made.properties.get("RoleName") or made.properties.get("ManagedPolicyName")
            name = called or f"{NAME}-{one.name}-{made.name}-1X"
            if made.kind == "AWS::IAM::Role":
                assert not may("iam:UpdateAssumeRolePolicy", f"arn:aws:iam::{OWNER}:role/{name}"), str(made)
                checked += 1
            if made.kind == "AWS::IAM::ManagedPolicy":
                assert not may("iam:CreatePolicyVersion", f"arn:aws:iam::{OWNER}:policy/{name}"), str(made)
                checked += 1
    assert checked > 12


def test_a_deployment_reads_no_data_and_opens_nothing_itself() -> None:
    package = f"arn:aws:s3:::{NAME}-bootstrap-artifactsbucket-1x/functions/app/1.zip"
    assert may("s3:GetObject", package)
    assert not may("s3:PutObject", package)
    assert not may("s3:GetObject", "arn:aws:s3:::cov-raw-x/raw/rows.csv")
    assert not may("s3:PutBucketPolicy", f"arn:aws:s3:::{NAME}-bootstrap-artifactsbucket-1x")
    assert may("s3:PutBucketPolicy", "arn:aws:s3:::cov-raw-x")
    assert not may("dynamodb:GetItem", f"arn:aws:dynamodb:{REGION}:{OWNER}:table/{NAME}-IncidentTable")
    assert may("kms:Decrypt", KEY, kms__ViaService=f"s3.{REGION}.amazonaws.com")
    assert not may("kms:Decrypt", KEY)
    assert may("kms:CreateGrant", KEY, kms__GrantIsForAWSResource="true")
    assert not may("kms:CreateGrant", KEY, kms__GrantIsForAWSResource="false")
    assert may("kms:PutKeyPolicy", KEY)
    assert not may("kms:PutKeyPolicy", KEY, kms__ResourceAliases=f"alias/{NAME}-artifacts")
    secret = f"arn:aws:secretsmanager:{REGION}:{OWNER}:secret:city-platform/dev/traffic/slack-webhook-AbCdEf"
    assert may("secretsmanager:CreateSecret", secret)
    assert not may("secretsmanager:GetSecretValue", secret)


# What a role names, made into the ARN that AWS would see: by the type of a reference's resource.
ARNS: Mapping[str, str] = {
    "AWS::Cognito::UserPool": "cognito-idp:{region}:{account}:userpool/x",
    "AWS::KMS::Key": "kms:{region}:{account}:key/1",
    "AWS::IoT::ThingGroup": "iot:{region}:{account}:thinggroup/x",
    "AWS::IoT::ThingType": "iot:{region}:{account}:thingtype/x",
    "AWS::EC2::VPC": "ec2:{region}:{account}:security-group/sg-1",
    "AWS::IAM::Role": "iam::{account}:role/{stack}-Role-1X",
    **{kind: form for kind, (_, form) in MADE.items()},
}


@cache
def exported() -> Mapping[str, tuple[Stack, str]]:
    """Where each export's value comes from."""
    found = {}
    for one in reversed(templates()):
        stack = stacks_of(one.name)[0]
        found.update({name: (stack, str(value)) for name, value in stack.exports.items()})
    return found


def concrete(stack: Stack, text: str) -> str:
    """The text with references to resources, parameters and imports filled in as AWS would."""

    def filled(found: re.Match[str]) -> str:
        name = found[1]
        if name in PSEUDO:
            return PSEUDO[name]
        if name.startswith("import:"):
            there, value = exported()[name.removeprefix("import:")]
            return concrete(there, value)
        made = stack.by_name.get(reference(found[0]))
        if made is None:
            return _given(name)
        return _named(stack, made, name.partition(".")[2])

    previous = ""
    while previous != text:
        previous, text = text, re.sub(r"\$\{([^${}]+)\}", filled, text)
    return text


def _given(name: str) -> str:
    """A parameter without a value here."""
    if name.endswith("Arn"):
        kind = "sns" if "Topic" in name else "kms"
        return f"arn:aws:{kind}:{REGION}:{OWNER}:" + (f"{NAME}-operations" if kind == "sns" else "key/1")
    return f"cov-{name.lower()}" if name.endswith("Bucket") else "x"


def _named(stack: Stack, made: Resource, attribute: str) -> str:
    named_by = ("Name", "TableName", "BucketName", "LogGroupName", "QueueName", "TopicName", "FunctionName",
                "ClusterName", "RoleName", "StateMachineName", "PolicyName")  # fmt: skip
    called = next((str(made.properties[one]) for one in named_by if one in made.properties), f"{NAME}-iot-x")
    form = ARNS.get(made.kind)
    by_reference = {"AWS::SNS::Topic", "AWS::StepFunctions::StateMachine", "AWS::SecretsManager::Secret"}
    if form and (attribute.endswith("Arn") or (not attribute and made.kind in by_reference)):
        values = dict.fromkeys(re.findall(r"\{([A-Z]\w+)\}", form), called)
        suffix = "/stream/1" if attribute == "StreamArn" else ":*" if made.kind == "AWS::Logs::LogGroup" else ""
        return concrete(
            stack,
            "arn:aws:" + form.format(region=REGION, account=OWNER, stack=f"{NAME}-{stack.template}", **values) + suffix,
        )
    return called


def role_grants() -> Iterator[tuple[str, str, str]]:
    """What templates allow to roles: the role or policy, an action and a resource."""
    for one in templates():
        for stack in stacks_of(one.name) if one.name in {each.name for each in DEPLOYED} else ():
            for made in (each for kind in (IAM_ROLE, *POLICIES) for each in stack.resources(kind)):
                found = [each["PolicyDocument"] for each in made.properties.get("Policies", [])]
                if "PolicyDocument" in made.properties:
                    found.append(made.properties["PolicyDocument"])
                for statement in (each for document in found for each in statements(document)):
                    if statement["Effect"] == "Allow":
                        for action in texts(statement["Action"]):
                            for resource in texts(statement["Resource"]):
                                yield str(made), action, _placed(action, concrete(stack, resource))


def _placed(action: str, resource: str) -> str:
    """A resource that a parameter gives, as an environment gives it: one of another stack."""
    kinds = {"kms": "key/1", "secretsmanager": "secret:city-platform/dev/given", "sns": f"{NAME}-given"}
    service = action.partition(":")[0]
    if resource == "given":
        return f"arn:aws:{service}:{REGION}:{OWNER}:{kinds[service]}"
    return resource.replace(":::given", ":::cov-given").replace(":table/given", f":table/{NAME}-given")


def test_the_boundary_cuts_nothing_off_any_role() -> None:
    context = {"aws:ResourceAccount": OWNER, "iam:PassedToService": "ecs-tasks.amazonaws.com"}
    cut = set()
    for role, action, resource in set(role_grants()):
        asked = Request(f"arn:aws:iam::{OWNER}:role/x", action, resource.replace("*", "x") or "*", context)
        decided = decide(asked, [limits()], door(action), owner=OWNER)
        if decided is not Decision.ALLOWED:
            cut.add((role, action, resource))
    assert cut == set()


def outside() -> Iterator[tuple[str, str, dict[str, str]]]:
    """What a role might be granted by a template that somebody changed, and has to stay out of reach."""
    ours, theirs = {"aws:ResourceAccount": OWNER}, {"aws:ResourceAccount": "999988887777"}
    yield "s3:PutObject", "arn:aws:s3:::cov-of-somebody/x", theirs
    yield "s3:GetObject", f"arn:aws:s3:::{NAME}-bootstrap-artifactsbucket-1x/functions/1.zip", ours
    yield "iam:CreateUser", f"arn:aws:iam::{OWNER}:user/x", ours
    yield "iam:PassRole", f"arn:aws:iam::{OWNER}:role/{NAME}-deploy", ours
    yield "sts:AssumeRole", f"arn:aws:iam::{OWNER}:role/{NAME}-deploy", ours
    yield "kms:ScheduleKeyDeletion", KEY, ours
    yield "sns:Publish", "arn:aws:sns:ca-central-1:999988887777:topic", theirs
    yield "cloudformation:ExecuteChangeSet", f"arn:aws:cloudformation:{REGION}:{OWNER}:stack/x/1", ours
    yield "logs:DeleteLogGroup", f"arn:aws:logs:{REGION}:{OWNER}:log-group:x", ours


@pytest.mark.parametrize(("action", "resource", "context"), list(outside()))
def test_whatever_a_template_grants_a_role_stays_within(action: str, resource: str, context: Mapping[str, Any]) -> None:
    asked = Request(f"arn:aws:iam::{OWNER}:role/x", action, resource, context)
    assert decide(asked, [limits()], door(action), owner=OWNER) is not Decision.ALLOWED
