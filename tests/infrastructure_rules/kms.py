"""Keys. Source: AWS Foundational Security Best Practices KMS.3-KMS.5, and the KMS guide on key policies."""

from collections.abc import Iterator

from tests.infrastructure_rules.model import rule
from tests.infrastructure_rules.policies import anybody, listed, narrowed, statements
from tests.templates import Resource, Stack

_PENDING_DAYS = 30


@rule("kms-key", "AWS::KMS::Key")
def symmetric_and_rotating(key: Resource, _: Stack) -> Iterator[str]:
    for name, value in {"KeySpec": "SYMMETRIC_DEFAULT", "EnableKeyRotation": True}.items():
        if key.properties.get(name) != value:
            yield f"does not say {name}: {value}"
    if key.properties.get("KeyUsage", "ENCRYPT_DECRYPT") != "ENCRYPT_DECRYPT":
        yield "is not for encrypting"


@rule("kms-deletion", "AWS::KMS::Key", "AWS::KMS::ReplicaKey")
def slow_to_go(key: Resource, _: Stack) -> Iterator[str]:
    if key.properties.get("PendingWindowInDays", 0) < _PENDING_DAYS:
        yield f"can be gone in less than {_PENDING_DAYS} days"


@rule("kms-alias", "AWS::KMS::Key", "AWS::KMS::ReplicaKey")
def named(key: Resource, stack: Stack) -> Iterator[str]:
    targets = {one.properties.get("TargetKeyId") for one in stack.resources("AWS::KMS::Alias")}
    if not targets & {f"${{{key.name}}}", f"${{{key.name}.Arn}}"}:
        yield "has no alias"


@rule("kms-policy", "AWS::KMS::Key", "AWS::KMS::ReplicaKey")
def for_nobody_else(key: Resource, _: Stack) -> Iterator[str]:
    found = statements(key.properties.get("KeyPolicy"))
    if not found:
        yield "has no policy of its own"
    for one in found:
        if one["Effect"] != "Allow":
            continue
        if anybody(one):
            yield "allows something to everybody"
        if any("*" in action for action in listed(one["Action"])):
            yield f"allows actions with a wildcard: {', '.join(listed(one['Action']))}"
        services = isinstance(one["Principal"], dict) and listed(one["Principal"].get("Service"))
        if services and not narrowed(one):
            yield f"lets {', '.join(services)} use it for any account"
