"""Notes every call of AWS that code makes, as requests that policies can be asked about."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import botocore.client
import obstore
import pytest

from tests.api_calls import OBSTORE, actions_of, of_transaction
from tests.policies import Request

ACCOUNT, REGION = "123456789012", "ca-central-1"  # those of the emulator
_STORED = ("get", "get_range", "head", "list", "put", "delete")


@dataclass
class Noted:
    """The requests in their order, each with the action and the ARN it is on. `keys` says which key an alias is of."""

    principal: str
    keys: Callable[[str], str]
    requests: list[Request] = field(default_factory=list)

    def add(self, action: str, resource: str, **context: str) -> None:
        given = {name.replace("__", ":"): value for name, value in context.items()}
        self.requests.append(Request(self.principal, action, resource, given))

    @property
    def actions(self) -> set[str]:
        return {one.action for one in self.requests}


@contextmanager
def noted(monkeypatch: pytest.MonkeyPatch, principal: str, keys: Callable[[str], str]) -> Iterator[Noted]:
    """Notes the calls through boto3 and obstore within."""
    calls = Noted(principal, keys)
    call = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]

    def asking(client: Any, operation: str, asked: Mapping[str, Any]) -> Any:
        _boto3(calls, client.meta.service_model.service_name, operation, asked)
        return call(client, operation, asked)

    def storing(name: str, real: Callable[..., Any], store: Any, *given: Any, **more: Any) -> Any:
        _s3(calls, name, store.config["bucket"], str(given[0]) if given and given[0] else "")
        return real(store, *given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(botocore.client.BaseClient, "_make_api_call", asking)
        for name in _STORED:
            patched.setattr(obstore, name, partial(storing, name, getattr(obstore, name)))
        yield calls


def _s3(calls: Noted, name: str, bucket: str, key: str) -> None:
    for action in OBSTORE[name]:
        if action == "s3:ListBucket":
            prefix = {"s3__prefix": f"{key}/"} if name == "list" and key else {}
            calls.add(action, f"arn:aws:s3:::{bucket}", **prefix)
        else:
            calls.add(action, f"arn:aws:s3:::{bucket}/{key}")


def _boto3(calls: Noted, service: str, operation: str, asked: Mapping[str, Any]) -> None:
    if operation == "TransactWriteItems":
        for item in asked["TransactItems"]:
            ((kind, inner),) = item.items()
            calls.add(of_transaction(kind), _table(inner["TableName"]))
        return
    if operation == "PutEvents":
        for entry in asked["Entries"]:
            bus = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{entry['EventBusName']}"
            calls.add("events:PutEvents", bus, events__source=entry["Source"])
        return
    for action in actions_of(service, operation):
        for resource in _resources(calls, service, asked):
            calls.add(action, resource)


def _resources(calls: Noted, service: str, asked: Mapping[str, Any]) -> Iterator[str]:
    where = f"{REGION}:{ACCOUNT}"
    match service:
        case "dynamodb" if "RequestItems" in asked:
            yield from map(_table, asked["RequestItems"])
        case "dynamodb":
            yield _table(asked["TableName"]) + (f"/index/{asked['IndexName']}" if "IndexName" in asked else "")
        case "sqs":
            yield f"arn:aws:sqs:{where}:{asked.get('QueueName') or asked['QueueUrl'].rsplit('/', 1)[-1]}"
        case "sns":
            yield asked["TopicArn"]
        case "kms":
            yield calls.keys(asked["KeyId"])
        case "cognito-idp":
            yield f"arn:aws:cognito-idp:{where}:userpool/{asked['UserPoolId']}"
        case _:
            raise AssertionError(f"say what resources {service} is asked about")


def _table(name: str) -> str:
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"
