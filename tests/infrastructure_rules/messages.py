"""Queues, topics, streams and buses. Source: AWS Foundational Security Best Practices SQS.1, SNS.1, Kinesis.1."""

import json
from collections.abc import Iterator

from tests.infrastructure_rules.model import rule
from tests.infrastructure_rules.policies import anybody, denies_plain_connections, policies_of
from tests.templates import Resource, Stack, walk

QUEUE, TOPIC, STREAM = "AWS::SQS::Queue", "AWS::SNS::Topic", "AWS::Kinesis::Stream"
# Where a resource says what becomes of a message that it could not handle.
_FAILURES = ("DeadLetterConfig", "ErrorAction", "OnFailure", "RedrivePolicy")


@rule("message-kms", QUEUE, TOPIC)
def under_a_key_of_ours(resource: Resource, _: Stack) -> Iterator[str]:
    key = resource.properties.get("KmsMasterKeyId")
    if not key or "alias/aws/" in key:
        yield "names no key of ours"


@rule("queue-dead-letters", QUEUE)
def gives_up(queue: Resource, stack: Stack) -> Iterator[str]:
    """A queue that takes dead letters itself needs no other one."""
    gives = queue.properties.get("RedrivePolicy", {}).get("deadLetterTargetArn")
    takes = any(f"${{{queue.name}" in one for one in _failures(stack))
    if not gives and not takes:
        yield "shows a message that cannot be handled for ever"


def _failures(stack: Stack) -> Iterator[str]:
    for resource in stack.resources():
        for one in walk(resource.properties):
            if isinstance(one, dict):
                yield from (json.dumps(one[name]) for name in _FAILURES if name in one)


@rule("message-tls", QUEUE, TOPIC)
def over_tls(resource: Resource, stack: Stack) -> Iterator[str]:
    kind, attribute = {
        QUEUE: ("AWS::SQS::QueuePolicy", "Queues"),
        TOPIC: ("AWS::SNS::TopicPolicy", "Topics"),
    }[resource.kind]
    found = list(policies_of(kind, attribute, resource, stack))
    if not denies_plain_connections(found):
        yield "takes connections without TLS"
    if any(one["Effect"] == "Allow" and anybody(one) and not one.get("Condition") for one in found):
        yield "allows something to everybody"


@rule("event-topic", "AWS::Events::Rule")
def publishes_with_a_role(one: Resource, stack: Stack) -> Iterator[str]:
    """A topic's policy takes no condition on EventBridge, nor does its key's: without one anybody's rule publishes.

    Sources: eb-use-resource-based.html of EventBridge's guide (Amazon SNS permissions), sns-key-management.html of SNS.
    """
    topics = {f"${{{each.name}}}" for each in stack.resources(TOPIC)}
    for target in one.properties.get("Targets", []):
        arn = str(target["Arn"])
        if (arn in topics or "TopicArn" in arn or ":sns:" in arn) and not target.get("RoleArn"):
            yield f"publishes {target['Id']} without a role"


@rule("stream-kms", STREAM)
def stream_under_a_key_of_ours(stream: Resource, _: Stack) -> Iterator[str]:
    kept = stream.properties.get("StreamEncryption", {})
    if kept.get("EncryptionType") != "KMS" or "alias/aws/" in kept.get("KeyId", "alias/aws/"):
        yield "names no key of ours"


@rule("stream-retention", STREAM)
def stream_outlasts_a_night(stream: Resource, _: Stack) -> Iterator[str]:
    if "RetentionPeriodHours" not in stream.properties:
        yield "does not say for how long it can be read again"


@rule("bus-kms", "AWS::Events::EventBus", "AWS::Events::Archive")
def bus_under_a_key_of_ours(bus: Resource, _: Stack) -> Iterator[str]:
    if not bus.properties.get("KmsKeyIdentifier"):
        yield "names no key of ours"
