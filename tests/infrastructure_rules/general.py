"""Rules for every resource, whatever its service."""

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.infrastructure_rules.model import rule
from tests.infrastructure_rules.policies import anybody, listed, narrowed, statements
from tests.infrastructure_rules.schemas import tag_property
from tests.templates import Resource, Stack

TAGS = {"Project", "Environment", "DataClassification"}
CLASSES = {"public", "internal", "personal"}
_ARN = re.compile(r"\barn:(aws[\w-]*):")
_ACCOUNT = re.compile(r"(?<![\w.])\d{12}(?![\w.])")
_REGION = re.compile(r"\b(?:af|ap|ca|eu|il|me|mx|sa|us)-(?:gov-)?(?:central|north|south|east|west)(?:east|west)?-\d\b")


@rule("tags")
def tagged(resource: Resource, _: Stack) -> Iterator[str]:
    name = tag_property(resource.kind)
    if name is None:
        return
    found = tags(resource.properties.get(name))
    if missing := TAGS - set(found):
        yield f"has no tags {', '.join(sorted(missing))} in {name}"
    elif found["DataClassification"] not in CLASSES:
        yield f"is classified {found['DataClassification']}, which is none of {', '.join(sorted(CLASSES))}"


def tags(written: Any) -> dict[str, Any]:
    """Tags, whichever of the forms the type uses."""
    if isinstance(written, list):
        return {one["Key"]: one["Value"] for one in written}
    return dict(written or {})


@rule("no-literals")
def no_literals(resource: Resource, _: Stack) -> Iterator[str]:
    text = json.dumps(resource.body)
    for what, pattern in (("partition", _ARN), ("account", _ACCOUNT), ("region", _REGION)):
        if found := pattern.search(text):
            yield f"names a {what}: {found.group()}"


STATEFUL = (
    "AWS::Backup::BackupVault",
    "AWS::CloudTrail::EventDataStore",
    "AWS::Cognito::UserPool",
    "AWS::DynamoDB::GlobalTable",
    "AWS::DynamoDB::Table",
    "AWS::EFS::FileSystem",
    "AWS::KMS::Key",
    "AWS::KMS::ReplicaKey",
    "AWS::Kinesis::Stream",
    "AWS::Logs::LogGroup",
    "AWS::RDS::DBCluster",
    "AWS::RDS::DBInstance",
    "AWS::S3::Bucket",
    "AWS::SecretsManager::Secret",
)


@rule("retain", *STATEFUL)
def retained(resource: Resource, _: Stack) -> Iterator[str]:
    """Retain alone keeps what a failed first deployment made, too, and under that name no second one makes it."""
    for policy, wanted in (("DeletionPolicy", "RetainExceptOnCreate"), ("UpdateReplacePolicy", "Retain")):
        if resource.body.get(policy) != wanted:
            yield f"has {policy} {resource.body.get(policy)}, not {wanted}"


@rule("no-secrets")
def no_secrets(resource: Resource, _: Stack) -> Iterator[str]:
    """A secret belongs into Secrets Manager, whose name may be said; in a property everybody reads it who describes."""
    if resource.kind != "AWS::SecretsManager::Secret" and "${secret:" in json.dumps(resource.properties):
        yield "holds a parameter that is secret (NoEcho)"


@rule("resource-policy", "AWS::S3::BucketPolicy", "AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy")
def no_confused_deputy(policy: Resource, _: Stack) -> Iterator[str]:
    """A service acts for whoever asks it, of any account, unless the policy says for whom; a denial is for all."""
    for one in statements(policy.properties.get("PolicyDocument")):
        principal = one.get("Principal")
        services = listed(principal.get("Service")) if isinstance(principal, dict) else []
        if one["Effect"] == "Allow" and services and not narrowed(one):
            yield f"lets {', '.join(services)} act for any account"
        if one["Effect"] == "Deny" and not anybody(one):
            yield f"denies {one.get('Sid', 'something')} to some alone"
