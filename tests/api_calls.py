"""Which AWS actions an entry point's code can come to, as IAM names them, read from the source.

A client is known by the factory that makes it (`boto3.client("sqs", …)`), in its module or imported there; a call of
one of the service's operations on anything but `self` is a call of it. What an operation is called in IAM comes from
botocore's model of the service; where IAM names it otherwise, from the tables here, each line with its source.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import botocore.session
from botocore import xform_name

from tests.source.call_graph import CallGraph, Reach
from tests.source.modules import is_typing_only

_IRREGULAR: Mapping[tuple[str, str], frozenset[str]] = {
    # A batch asks for the right of its single calls: "Actions, resources, and condition keys for Amazon SQS",
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
    ("sqs", "SendMessageBatch"): frozenset({"sqs:SendMessage"}),
    ("sqs", "DeleteMessageBatch"): frozenset({"sqs:DeleteMessage"}),
    ("sqs", "ChangeMessageVisibilityBatch"): frozenset({"sqs:ChangeMessageVisibility"}),
    # "Required permissions for Amazon S3 API operations",
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
    ("s3", "HeadObject"): frozenset({"s3:GetObject"}),
    ("s3", "ListObjectsV2"): frozenset({"s3:ListBucket"}),
    ("s3", "ListObjectVersions"): frozenset({"s3:ListBucketVersions"}),
    ("s3", "DeleteObjects"): frozenset({"s3:DeleteObject"}),
}  # fmt: skip
# What signs a request lends its own right to whoever sends it.
_SIGNING: Mapping[str, str] = {
    "generate_presigned_post": "s3:PutObject",
    "generate_presigned_url": "s3:GetObject",  # of get_object alone
}
# An item of a transaction asks for the right of its kind:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
_TRANSACTIONS: Mapping[str, str] = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
}
# obstore's functions. It uploads large files in parts, which is the same right:
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html#mpuAndPermissions
# That an object is absent (404, not 403) S3 tells those alone who may list the bucket, and the store has to know it:
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
OBSTORE: Mapping[str, frozenset[str]] = {
    "get": frozenset({"s3:GetObject", "s3:ListBucket"}),
    "get_range": frozenset({"s3:GetObject", "s3:ListBucket"}),
    "head": frozenset({"s3:GetObject", "s3:ListBucket"}),
    "list": frozenset({"s3:ListBucket"}),
    "list_with_delimiter": frozenset({"s3:ListBucket"}),
    "put": frozenset({"s3:PutObject"}),
    "delete": frozenset({"s3:DeleteObject"}),
    "copy": frozenset({"s3:GetObject", "s3:PutObject"}),
    "rename": frozenset({"s3:GetObject", "s3:PutObject", "s3:DeleteObject"}),
}


class UnreadableCall(Exception):
    """The source calls AWS in a way that cannot be read; write it plainly, or teach this reading."""


@dataclass(frozen=True, slots=True)
class Calls:
    """The actions of an entry point, each with the functions that ask for it, and all else that it can reach."""

    actions: Mapping[str, frozenset[str]]
    reach: Reach


class ApiCalls:
    """Reads entry points of one source tree."""

    def __init__(self, graph: CallGraph | None = None) -> None:
        self._graph = graph or CallGraph()
        self._symbols = self._graph.symbols
        self._services = cache(self._services_of)

    def of(self, *entries: str) -> Calls:
        """Of `module:handler` or modules. Raises UnreadableCall."""
        reach = self._graph.reach(entries)
        found: dict[str, set[str]] = {}
        for name in sorted(reach.functions):
            for action in self._actions(name, reach):
                found.setdefault(action, set()).add(name)
        return Calls({action: frozenset(names) for action, names in sorted(found.items())}, reach)

    def _actions(self, name: str, reach: Reach) -> Iterator[str]:
        module = name.partition(":")[0]
        tree = self._symbols.definition(name)
        services, uses_obstore = self._services(module)
        if tree is None or not (services or uses_obstore):
            return
        for node in ast.walk(tree):
            if uses_obstore and isinstance(node, ast.Call) and _is_obstore(node):
                yield from _obstore(node, name)
            for operation in self._operations(node, name, services):
                yield from self._named(operation, services, module, reach)

    def _operations(self, node: ast.AST, name: str, services: Sequence[str]) -> Iterator[str]:
        """The operations, as methods of clients are called, that a node asks for; to mention one is to ask for it."""
        match node:
            case ast.Call(func=ast.Attribute(attr="get_paginator" | "get_waiter")):
                yield _literal(node, name)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=method)) if self._passes_on(name, method):
                # `self._call("get_item", …)`, where `_call` asks its client for what its first argument names.
                yield _literal(node, name)
            case ast.Attribute(value=ast.Name(id="self")):
                return
            case ast.Attribute(attr=method) if method in _SIGNING or any(
                method in _operations(one) for one in services
            ):
                yield method

    def _passes_on(self, name: str, method: str) -> bool:
        module, _, inner = name.partition(":")
        tree = self._symbols.definition(f"{module}:{inner.rpartition('.')[0]}.{method}")
        if not isinstance(tree, ast.FunctionDef) or len(tree.args.args) < 2:
            return False
        first = tree.args.args[1].arg
        return any(
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "getattr"
            and isinstance(node.args[1], ast.Name)
            and node.args[1].id == first
            for node in ast.walk(tree)
        )

    def _named(self, method: str, services: Sequence[str], module: str, reach: Reach) -> Iterator[str]:
        if method in _SIGNING:
            yield _SIGNING[method]
            return
        for service in services:
            operation = _operations(service).get(method)
            if operation == "TransactWriteItems":
                yield from self._transaction(module, reach)
            elif operation is not None:
                yield from actions_of(service, operation)

    def _transaction(self, module: str, reach: Reach) -> Iterator[str]:
        """By the kinds of items that reachable code of the module writes out."""
        for name in reach.functions:
            tree = self._symbols.definition(name) if name.partition(":")[0] == module else None
            for node in ast.walk(tree) if tree else ():
                if isinstance(node, ast.Dict):
                    kinds = {key.value for key in node.keys if isinstance(key, ast.Constant)}
                    yield from (action for kind, action in _TRANSACTIONS.items() if kind in kinds)

    def _services_of(self, module: str) -> tuple[Sequence[str], bool]:
        """The services whose clients a module makes or imports the making of, and whether it uses obstore."""
        source = self._symbols.sources.of(module)
        if source is None or not ("boto3" in source.text or "_client" in source.text or "obstore" in source.text):
            return (), False
        services, uses_obstore = set(_made(source.tree, source.tree)), False
        for statement in source.tree.body:
            match statement:
                case ast.Import(names=names):
                    uses_obstore |= any(one.name == "obstore" for one in names)
                case ast.ImportFrom(module=str(other), names=names) if not is_typing_only(statement):
                    theirs = self._symbols.sources.of(other)
                    for one in names if theirs else ():
                        factory = theirs.names.get(one.name)
                        services |= set(_made(factory, theirs.tree)) if isinstance(factory, ast.FunctionDef) else set()
        return sorted(services), uses_obstore


def actions_of(service: str, operation: str) -> frozenset[str]:
    """What IAM calls an operation of a service, other than a transaction."""
    prefix = {"dynamodbstreams": "dynamodb"}.get(service, service)
    return _IRREGULAR.get((service, operation), frozenset({f"{prefix}:{operation}"}))


def of_transaction(kind: str) -> str:
    """The action of an item of a transaction: Put, Update, Delete, ConditionCheck."""
    return _TRANSACTIONS[kind]


def _made(tree: ast.AST, module: ast.AST) -> Iterator[str]:
    """The services of the clients that code makes; of one that is given its service, those that its module names."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="boto3"), attr="client"), args=[first, *_]):
                named = [first] if isinstance(first, ast.Constant) else list(ast.walk(module))
                found = {one.value for one in named if isinstance(one, ast.Constant)} & _known_services()
                if not found:
                    raise UnreadableCall(f"line {node.lineno}: name the service, as in boto3.client('sqs')")
                yield from found


def _literal(node: ast.Call, name: str) -> str:
    match node.args:
        case [ast.Constant(value=str(operation)), *_]:
            return operation
    raise UnreadableCall(f"{name}, line {node.lineno}: which operation this calls cannot be read")


def _is_obstore(node: ast.Call) -> bool:
    return (
        isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "obstore"
    )


def _obstore(node: ast.Call, name: str) -> frozenset[str]:
    function = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if function not in OBSTORE:
        raise UnreadableCall(f"{name}, line {node.lineno}: what obstore.{function} asks of S3 is not known here")
    return OBSTORE[function]


@cache
def _known_services() -> frozenset[str]:
    return frozenset(botocore.session.get_session().get_available_services())


@cache
def _operations(service: str) -> Mapping[str, str]:
    """A service's operations by the names of its client's methods."""
    names = botocore.session.get_session().get_service_model(service).operation_names
    return {xform_name(name): name for name in names}
