"""Functions of Lambda and what calls them. Source: the Lambda guide on event source mappings and dead letters."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.infrastructure_rules.model import rule
from tests.templates import Resource, Stack

FUNCTION, MAPPING = "AWS::Lambda::Function", "AWS::Lambda::EventSourceMapping"
_NAMES = re.compile(r"^\$\{([^}.:]+)(?:\.\w+)?\}$")
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
_VISIBILITY_FACTOR = 6


def referred(value: Any, stack: Stack) -> Resource | None:
    """The resource of this stack that a resolved `!Ref` or `!GetAtt` names."""
    found = _NAMES.match(str(value))
    return stack.by_name.get(found[1]) if found else None


@rule("lambda-dead-letters", FUNCTION)
def keeps_what_failed(function: Resource, stack: Stack) -> Iterator[str]:
    """Calls that nobody waits for are tried three times and then forgotten; a mapping's are the mapping's to keep."""
    configured = [
        one.properties.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        for one in stack.resources("AWS::Lambda::EventInvokeConfig")
        if referred(one.properties.get("FunctionName"), stack) == function
    ]
    mapped = [one for one in stack.resources(MAPPING) if _called(one, stack) == function]
    if not (function.properties.get("DeadLetterConfig", {}).get("TargetArn") or any(configured) or mapped):
        yield "keeps nothing of a call that failed"


@rule("lambda-concurrency", FUNCTION)
def bounded(function: Resource, _: Stack) -> Iterator[str]:
    if "ReservedConcurrentExecutions" not in function.properties:
        yield "may use up the account's concurrency, and may get none"


@rule("lambda-tracing", FUNCTION)
def traced(function: Resource, _: Stack) -> Iterator[str]:
    if function.properties.get("TracingConfig", {}).get("Mode") != "Active":
        yield "is not traced"


@rule("lambda-log-group", FUNCTION)
def logs_where_we_say(function: Resource, stack: Stack) -> Iterator[str]:
    """Lambda makes a group itself otherwise, which keeps for ever and is under no key of ours."""
    groups = {one.name: one.properties.get("LogGroupName") for one in stack.resources("AWS::Logs::LogGroup")}
    own = {f"/aws/lambda/{function.properties.get('FunctionName')}", f"/aws/lambda/${{{function.name}}}"}
    written = function.properties.get("LoggingConfig", {}).get("LogGroup")
    named = referred(written, stack)
    if not (own & set(groups.values()) or (named and named.name in groups) or written in groups.values()):
        yield "writes into a log group that is not declared"


@rule("lambda-own-role", FUNCTION)
def has_a_role_of_its_own(function: Resource, stack: Stack) -> Iterator[str]:
    role = function.properties.get("Role")
    others = [one.name for one in stack.resources(FUNCTION) if one != function and one.properties.get("Role") == role]
    if others:
        yield f"shares its role with {', '.join(others)}"
    if referred(role, stack) is None:
        yield f"has a role that is not declared beside it: {role}"


@rule("lambda-environment", FUNCTION)
def keeps_its_environment_under_a_key_of_ours(function: Resource, _: Stack) -> Iterator[str]:
    variables = function.properties.get("Environment", {}).get("Variables", {})
    if variables and not function.properties.get("KmsKeyArn"):
        yield "has an environment under no key of ours"
    if resolved := [name for name, value in variables.items() if "{{resolve:" in str(value)]:
        yield f"shows secrets in {', '.join(resolved)}"


@rule("lambda-ends", FUNCTION)
def ends(function: Resource, _: Stack) -> Iterator[str]:
    """Timeout and memory decide what a call costs and when it is given up: 3 s and 128 MB are nobody's decision."""
    if missing := [name for name in ("Timeout", "MemorySize") if name not in function.properties]:
        yield f"does not say {' and '.join(missing)}"


@rule("lambda-visibility", MAPPING)
def messages_stay_hidden_long_enough(mapping: Resource, stack: Stack) -> Iterator[str]:
    queue, function = referred(mapping.properties.get("EventSourceArn"), stack), _called(mapping, stack)
    if queue is None or queue.kind != "AWS::SQS::Queue" or function is None:
        return
    shown, timeout = queue.properties.get("VisibilityTimeout", 30), function.properties.get("Timeout", 3)
    if shown < _VISIBILITY_FACTOR * timeout:
        yield f"takes from {queue.name}, which shows a message again after {shown} s: less than six times {timeout} s"


@rule("lambda-mapping", MAPPING)
def repeats_only_what_failed(mapping: Resource, stack: Stack) -> Iterator[str]:
    given = mapping.properties
    if given.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
        yield "repeats a whole batch for one record"
    source = referred(given.get("EventSourceArn"), stack)
    if source is not None and source.kind == "AWS::SQS::Queue":
        return
    if given.get("BisectBatchOnFunctionError") is not True:
        yield "does not split a batch that fails"
    for name in ("MaximumRetryAttempts", "MaximumRecordAgeInSeconds"):
        if given.get(name, -1) == -1:
            yield f"has no {name}: one bad record holds up its shard until it expires"
    if not _destination(given):
        yield "keeps nothing of what it gave up"


def _destination(given: Mapping[str, Any]) -> Any:
    return given.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")


def _called(mapping: Resource, stack: Stack) -> Resource | None:
    return referred(mapping.properties.get("FunctionName"), stack)
