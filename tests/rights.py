"""What the roles of functions may do, against what their code can call and what their settings call for.

Beside its own calls a function's role answers for what Lambda does in its name: read the event source, put away what
failed, trace, write its log, stand in a subnet; and for the key under whatever the calls touch. Both follow from the
template and the calls by the tables here. `needs` has to be allowed, `may` can be.
"""

import ast
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.api_calls import ApiCalls, Calls
from tests.policies import statements, texts
from tests.source.call_graph import CallGraph
from tests.source.modules import Sources
from tests.templates import FOLDER, Resource, Stack, Template, template, templates

REVIEWED = FOLDER / "rights" / "reviewed.yaml"

# Execution role: https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
_LOG = {"logs:CreateLogStream", "logs:PutLogEvents"}
_TRACE = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
_SUBNET = {"ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets",
           "ec2:DeleteNetworkInterface"}  # fmt: skip
_ADDRESSES = {"ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"}
# with-ddb.html, with-kinesis.html and with-sqs.html (services-sqs-configure) of Lambda's developer guide.
_SOURCES: Mapping[str, tuple[set[str], set[str]]] = {
    "dynamodb": (
        {"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"}, {"dynamodb:ListStreams"}
    ),
    "kinesis": (
        {"kinesis:DescribeStreamSummary", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"},
        {"kinesis:DescribeStream", "kinesis:ListStreams", "kinesis:SubscribeToShard"},
    ),
    "sqs": ({"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}, set()),
}  # fmt: skip
# "Retaining records for failed invocations": invocation-async-retain-records.html of the same guide.
_DESTINATIONS: Mapping[str, set[str]] = {
    "AWS::SQS::Queue": {"sqs:SendMessage"},
    "AWS::SNS::Topic": {"sns:Publish"},
    "AWS::S3::Bucket": {"s3:PutObject", "s3:ListBucket"},
}
# What a customer-managed key asks of whoever uses the service over it: UsingKMSEncryption.html of S3,
# sqs-key-management.html of SQS, sns-key-management.html of SNS, server-side-encryption.html of Kinesis,
# encryption.usagenotes.html of DynamoDB, eb-encryption-event-bus-cmkey.html of EventBridge, security-encryption.html
# of Secrets Manager. DynamoDB and EventBridge ask the key in their own name where its policy lets them.
_KEYS: Mapping[str, tuple[set[str], set[str]]] = {
    "s3:GetObject": ({"kms:Decrypt"}, set()),
    "s3:PutObject": ({"kms:GenerateDataKey"}, {"kms:Decrypt"}),
    "sqs:SendMessage": ({"kms:GenerateDataKey", "kms:Decrypt"}, set()),
    "sqs:ReceiveMessage": ({"kms:Decrypt"}, set()),
    "sns:Publish": ({"kms:GenerateDataKey", "kms:Decrypt"}, set()),
    "kinesis:GetRecords": ({"kms:Decrypt"}, set()),
    "kinesis:PutRecords": ({"kms:GenerateDataKey"}, set()),
    "secretsmanager:GetSecretValue": ({"kms:Decrypt"}, set()),
    "events:PutEvents": (set(), {"kms:GenerateDataKey", "kms:Decrypt", "kms:DescribeKey"}),
    "dynamodb:": (set(), {"kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey", "kms:Encrypt", "kms:ReEncryptFrom",
                          "kms:ReEncryptTo"}),
}  # fmt: skip


@dataclass(slots=True)
class Rights:
    """Actions, each with why."""

    needs: dict[str, str] = field(default_factory=dict)
    may: dict[str, str] = field(default_factory=dict)

    def add(self, needs: Iterable[str], why: str, may: Iterable[str] = ()) -> None:
        for action in needs:
            self.needs.setdefault(action, why)
        for action in may:
            self.may.setdefault(action, why)


@dataclass(frozen=True, slots=True)
class Function:
    """One function of one template, whatever its stack's parameters."""

    template: Template
    name: str
    handler: str
    stacks: Sequence[Stack]  # with every side of the template's conditions

    def __str__(self) -> str:
        return f"{self.template.name}:{self.name}"

    @property
    def resources(self) -> Sequence[tuple[Stack, Resource]]:
        return [(stack, stack[self.name]) for stack in self.stacks if self.name in stack.by_name]

    @property
    def role(self) -> str:
        """The logical name of its role; a function has one in every stack."""
        (name,) = {reference(one.properties["Role"]) for _, one in self.resources}
        return name

    @property
    def inline(self) -> str | None:
        """Its source, where the template itself holds it."""
        return next((code for _, one in self.resources if (code := one.properties["Code"].get("ZipFile"))), None)


@cache
def stacks_of(name: str) -> Sequence[Stack]:
    """What a template becomes, with every side of its conditions; worked out once."""
    return list(template(name).variants())


def functions() -> Iterator[Function]:
    for one in templates():
        for function in one.resources("AWS::Lambda::Function"):
            yield Function(one, function.name, str(function.properties["Handler"]), stacks_of(one.name))


def reference(value: Any) -> str:
    """The resource that `${ApiRole.Arn}` or `${ApiRole}` names."""
    return str(value).removeprefix("${").partition("}")[0].partition(".")[0]


def documents(stack: Stack, role: str) -> Iterator[Mapping[str, Any]]:
    """Every policy document of a role: its own, its managed ones of the template, and those that name it."""
    properties = stack[role].properties
    managed = {reference(one) for one in properties.get("ManagedPolicyArns", [])}
    for one in properties.get("Policies", []):
        yield one["PolicyDocument"]
    for policy in (*stack.resources("AWS::IAM::Policy"), *stack.resources("AWS::IAM::ManagedPolicy")):
        roles = {reference(one) for one in policy.properties.get("Roles", [])}
        if role in roles or policy.name in managed:
            yield policy.properties["PolicyDocument"]
    for name in sorted(one.removeprefix("import:") for one in managed if one.startswith("import:")):
        yield from _exported()[name]


@cache
def _exported() -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """The documents of managed policies that other stacks export, by their exports' names."""
    found: dict[str, Sequence[Mapping[str, Any]]] = {}
    for each in templates():
        policies = {one.name for one in each.resources("AWS::IAM::ManagedPolicy")}
        stack = stacks_of(each.name)[0]
        for name, value in stack.exports.items():
            if reference(value) in policies:
                found[name] = [stack[reference(value)].properties["PolicyDocument"]]
    return found


def allowed(stacks: Sequence[Stack], role: str) -> set[str]:
    """The actions that a role is allowed in any of the stacks, as they are written."""
    return {
        action
        for stack in stacks
        if role in stack.by_name
        for document in documents(stack, role)
        for statement in statements(document)
        if statement["Effect"] == "Allow"
        for action in texts(statement.get("Action", []))
    }


class Reading:
    """Reads the code behind functions; what was read once serves all."""

    def __init__(self) -> None:
        self._ours = ApiCalls()
        self.calls = cache(self._calls)

    def _calls(self, handler: str, inline: str | None) -> Calls:
        module, _, function = handler.rpartition(".")
        if inline is None:
            return self._ours.of(f"{module}:{function}")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, f"{module}.py").write_text(inline)
            ast.parse(inline)
            return ApiCalls(CallGraph(Sources(Path(folder), [module]))).of(f"{module}:{function}")

    def entry(self, *entries: str) -> Calls:
        return self._ours.of(*entries)

    def rights(self, function: Function) -> Rights:
        """Of the code, of the settings, and of the keys under both."""
        found = of_code(self.calls(function.handler, function.inline))
        for stack, one in function.resources:
            _settings(stack, one, found)
        of_keys(found)
        return found


def of_keys(found: Rights) -> None:
    """Adds what customer-managed keys ask for."""
    for action in list(found.needs):
        for name, (needs, may) in _KEYS.items():
            if action == name or (name.endswith(":") and action.startswith(name)):
                found.add(needs, f"the key under {action}", may)
    if "s3:PutObject" in found.needs:
        found.add((), "gives up the parts of an upload that failed", ["s3:AbortMultipartUpload"])


def _settings(stack: Stack, function: Resource, found: Rights) -> None:
    properties = function.properties
    found.add(_LOG, "its log")
    found.add((), "its settings and log are under a key", ["kms:Decrypt"])
    if properties.get("TracingConfig", {}).get("Mode") == "Active":
        found.add(_TRACE, "its traces")
    if "VpcConfig" in properties:
        found.add(_SUBNET, "its place in a subnet", _ADDRESSES)
    targets = [properties.get("DeadLetterConfig", {}).get("TargetArn")]
    for mapping in stack.resources("AWS::Lambda::EventSourceMapping"):
        if reference(mapping.properties["FunctionName"]) == function.name:
            source = str(mapping.properties["EventSourceArn"])
            needs, may = _SOURCES[_service(stack, source)]
            found.add(needs, f"its event source {source}", may)
    for kind in ("AWS::Lambda::EventSourceMapping", "AWS::Lambda::EventInvokeConfig"):
        configs = [one.properties for one in stack.resources(kind)]
        mine = [one for one in configs if reference(one["FunctionName"]) == function.name]
        targets += [one.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination") for one in mine]
    for target in filter(None, targets):
        kind = stack.by_name[reference(target)].kind if reference(target) in stack.by_name else "AWS::SQS::Queue"
        found.add(_DESTINATIONS[kind], f"what failed goes to {target}")


def _service(stack: Stack, source: str) -> str:
    """The service of an event source: a resource of the stack, or an ARN from elsewhere."""
    if reference(source) in stack.by_name:
        return stack[reference(source)].kind.split("::")[1].lower()
    return source.split(":")[2]


@dataclass(frozen=True, slots=True)
class Review:
    """Where reading cannot tell: `also` is called, `never` is not, `beyond` is allowed for another reason."""

    role: str
    also: Sequence[str]
    never: Sequence[str]
    beyond: Sequence[str]
    why: str


@cache
def reviews() -> Sequence[Review]:
    listed = yaml.safe_load(REVIEWED.read_text("utf-8")) or []
    return [
        Review(one["role"], one.get("also", []), one.get("never", []), one.get("beyond", []), one["why"])
        for one in listed
    ]


def differences(who: str, found: Rights, has: set[str]) -> Iterator[str]:
    """What a role lacks and what it has too much, reviews applied; and what reviews say in vain."""
    mine = [one for one in reviews() if one.role == who]
    never = {action for one in mine for action in one.never}
    extra = {action for one in mine for action in (*one.also, *one.beyond)}
    needs = (set(found.needs) - never) | {action for one in mine for action in one.also}
    for action in sorted(needs - has):
        yield f"{who} lacks {action}: {found.needs.get(action, 'reviewed')}"
    for action in sorted(has - needs - set(found.may) - extra):
        yield f"{who} is allowed {action}, which its code cannot call"
    for action in sorted(never - set(found.needs)) + sorted(extra & {*found.needs, *found.may}):
        yield f"{REVIEWED.name} speaks of {action} of {who} in vain"
    for action in sorted(extra - has):
        yield f"{REVIEWED.name} speaks of {action} of {who}, which the role does not have"


def of_code(calls: Calls) -> Rights:
    """What calls ask for, and the keys under them."""
    found = Rights()
    for action, callers in calls.actions.items():
        found.add([action], f"called by {', '.join(sorted(callers))}")
    of_keys(found)
    return found


def functions_in(*packages: str) -> Sequence[str]:
    """Every function at the top of the packages' modules, as entries."""
    sources = Sources()
    return [
        f"{module}:{node.name}"
        for package in packages
        for module in sources.below(package)
        if (source := sources.of(module)) is not None
        for node in source.tree.body
        if isinstance(node, ast.FunctionDef)
    ]
