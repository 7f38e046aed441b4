"""What code can come to is read from its source: ports to the adapters that are made, lazy imports, operations."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.api_calls import ApiCalls, UnreadableCall
from tests.source.call_graph import CallGraph
from tests.source.modules import Sources

Town = Callable[..., ApiCalls]

PORTS = """
from typing import Protocol

class Store(Protocol):
    def put(self, key: str) -> None: ...

class Bell(Protocol):
    def ring(self, times: int) -> None: ...
"""
AWS = """
import boto3
import obstore

def s3_client():
    return boto3.client("s3", region_name="x")

class S3Store:
    def __init__(self, connect=s3_client) -> None:
        self._client = connect()

    def put(self, key: str) -> None:
        self._client.put_object(Key=key)

    def drop(self, key: str) -> None:
        self._client.delete_object(Key=key)
"""
LOCAL = """
class FileStore:
    def put(self, key: str) -> None: ...

class Doorbell:
    def ring(self, loudness: int) -> None: ...
"""


@pytest.fixture
def town(tmp_path: Path) -> Town:
    """Reads a package `town` of these modules."""

    def made(**modules: str) -> ApiCalls:
        folder = tmp_path / "town"
        folder.mkdir()
        for name, text in {"__init__": "", "ports": PORTS, "aws": AWS, "local": LOCAL, **modules}.items():
            folder.joinpath(f"{name}.py").write_text(text)
        return ApiCalls(CallGraph(Sources(tmp_path, ["town"])))

    return made


def actions(calls: ApiCalls, entry: str = "town.entry:handler") -> set[str]:
    return set(calls.of(entry).actions)


def test_a_call_on_a_port_goes_to_the_adapter_that_is_made_and_to_none_that_is_not(town: Town) -> None:
    domain = "from town.ports import Store\n\ndef work(store: Store) -> None:\n    store.put('k')\n"
    aws = "from town.aws import S3Store\nfrom town.domain import work\n\ndef handler(event):\n    work(S3Store())\n"
    local = aws.replace("aws", "local").replace("S3Store", "FileStore")
    calls = town(domain=domain, entry=aws, local_entry=local)
    assert actions(calls) == {"s3:PutObject"}
    assert actions(calls, "town.local_entry:handler") == set()


@pytest.mark.parametrize(
    "case",
    {
        "lazy import": "def handler(event):\n    from town.aws import S3Store\n    S3Store().drop('k')\n",
        "callback": "from functools import partial\nfrom town.aws import S3Store\n\ndef run(f): ...\n\n"
        "def handler(event):\n    run(partial(S3Store().drop, 'k'))\n",
        "lambda": "from town.aws import S3Store\n\ndef handler(event):\n    return lambda: S3Store().drop('k')\n",
        "function within": "from town.aws import S3Store\n\ndef handler(event):\n"
        "    def later() -> None:\n        S3Store().drop('k')\n    return later\n",
        "container": "from town.aws import S3Store\n\ndef handler(event):\n"
        "    for name, one in {'a': S3Store()}.items():\n        one.drop('k')\n",
        "unpacking": "from town.aws import S3Store\n\ndef both() -> tuple[int, S3Store]:\n    return 1, S3Store()\n\n"
        "def handler(event):\n    number, one = both()\n    one.drop('k')\n",
        "field": "from dataclasses import dataclass\nfrom town.aws import S3Store\n\n@dataclass\nclass House:\n"
        "    store: S3Store\n\ndef handler(event):\n    House(S3Store()).store.drop('k')\n",
        "unannotated": "from town.aws import S3Store\n\ndef drop(one):\n    one.drop('k')\n\n"
        "def handler(event):\n    drop(S3Store())\n",
        "context": "from contextlib import contextmanager\nfrom collections.abc import Iterator\n"
        "from town.aws import S3Store\n\n@contextmanager\ndef opened() -> Iterator[S3Store]:\n    yield S3Store()\n\n"
        "def handler(event):\n    with opened() as one:\n        one.drop('k')\n",
        "subclass": "from town.aws import S3Store\n\nclass Mine(S3Store):\n    def close(self) -> None:\n"
        "        super().drop('k')\n\ndef handler(event):\n    Mine().close()\n",
        "module's top": "from town.aws import S3Store\n\nS3Store().drop('k')\n\ndef handler(event): ...\n",
    }.items(),
    ids=lambda case: case[0],
)
def test_however_it_comes_there_a_call_is_found(case: tuple[str, str], town: Town) -> None:
    assert "s3:DeleteObject" in actions(town(entry=case[1]))


@pytest.mark.parametrize(
    "case",
    {
        "typing only": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from town.aws import S3Store\n\n"
        "def handler(event): ...\n",
        "another function": "from town.aws import S3Store\n\ndef other():\n    S3Store().drop('k')\n\n"
        "def handler(event): ...\n",
        "looked for": "from town.aws import S3Store\n\ndef drop(one):\n    one.drop('k')\n\n"
        "def handler(event):\n    if isinstance(event, S3Store):\n        return\n    drop(event)\n",
        "another class's method": "from town.aws import S3Store\n\nclass Ball:\n"
        "    def drop(self, key: str) -> None: ...\n\ndef handler(event):\n    S3Store()\n    Ball().drop('k')\n",
    }.items(),
    ids=lambda case: case[0],
)
def test_what_is_not_called_is_not_found(case: tuple[str, str], town: Town) -> None:
    assert "s3:DeleteObject" not in actions(town(entry=case[1]))


def test_a_method_of_a_protocols_name_with_other_arguments_is_no_adapter(town: Town) -> None:
    entry = "from town.ports import Bell\nfrom town.local import Doorbell\n\ndef handler(bell: Bell):\n"
    entry += "    Doorbell()\n    bell.ring(1)\n"
    assert "town.local:Doorbell.ring" not in town(entry=entry).of("town.entry:handler").reach.functions


DYNAMO = """
import boto3

def dynamodb_client():
    return boto3.client("dynamodb")

class Table:
    def __init__(self) -> None:
        self._client = dynamodb_client()

    def write(self, item) -> None:
        self._client.transact_write_items(TransactItems=[{"Put": item}, {"Delete": item}])

    def read(self) -> None:
        self._call("batch_get_item")

    def all(self) -> None:
        self._client.get_paginator("scan").paginate()

    def _call(self, operation: str) -> None:
        getattr(self._client, operation)()
"""
QUEUE = """
import boto3
import obstore

def send() -> None:
    boto3.client("sqs").send_message_batch(Entries=[])

def read(store) -> None:
    obstore.get(store, "k")
"""


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("write", {"dynamodb:PutItem", "dynamodb:DeleteItem"}),
        ("read", {"dynamodb:BatchGetItem"}),
        ("all", {"dynamodb:Scan"}),
    ],
)
def test_operations_are_named_as_iam_names_them(method: str, expected: set[str], town: Town) -> None:
    entry = f"from town.dynamo import Table\n\ndef handler(event):\n    Table().{method}()\n"
    assert actions(town(dynamo=DYNAMO, entry=entry)) == expected


def test_batches_of_queues_and_objects_by_obstore_are_named_so_too(town: Town) -> None:
    calls = town(queue=QUEUE)
    assert actions(calls, "town.queue:send") == {"sqs:SendMessage"}
    assert actions(calls, "town.queue:read") == {"s3:GetObject", "s3:ListBucket"}


STREAMS = """
import boto3

SERVICES = {"a": "dynamodbstreams", "b": "kinesis"}

def client(service):
    return boto3.client(service)

def read() -> None:
    client("kinesis").get_records()
"""


def test_a_client_of_one_of_several_services_may_be_of_each(town: Town) -> None:
    assert actions(town(streams=STREAMS), "town.streams:read") == {"dynamodb:GetRecords", "kinesis:GetRecords"}


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        ({"entry": "import obstore\n\ndef handler(event):\n    obstore.sign(event)\n"}, "obstore.sign"),
        ({"entry": "import boto3\n\ndef handler(event):\n    boto3.client(event)\n"}, "name the service"),
        (
            {"dynamo": DYNAMO.replace('"batch_get_item"', "self.name"),
             "entry": "from town.dynamo import Table\n\ndef handler(event):\n    Table().read()\n"},
            "cannot be read",
        ),
    ],
)  # fmt: skip
def test_a_call_that_cannot_be_read_is_refused(modules: Mapping[str, str], said: str, town: Town) -> None:
    with pytest.raises(UnreadableCall, match=said):
        town(**modules).of("town.entry:handler")


def test_the_way_to_a_function_can_be_told(town: Town) -> None:
    entry = "from town.aws import S3Store\n\ndef tidy() -> None:\n    S3Store().drop('k')\n\n"
    entry += "def handler(event):\n    tidy()\n"
    reach = town(entry=entry).of("town.entry:handler").reach
    assert reach.way("town.aws:S3Store.drop") == [
        "town.entry:handler", "town.entry:tidy", "town.aws:S3Store.drop",
    ]  # fmt: skip
