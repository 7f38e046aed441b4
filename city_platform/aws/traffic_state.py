"""The traffic state in one DynamoDB table: key `part` and `item`, both text, windows expiring by `ttl`.

Windows stand under their start and their zone's bucket, item is the zone: so the whole city at one time is as many
queries as there are buckets, and a zone's history one key a window. Records stand under `RECORD#key`, events of the
outbox under `OUTBOX`, known ids under `EVENT#id`. Every write has a condition; a refused one brings back what stands
there.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from city_platform.aws.client_errors import typed
from city_platform.errors import PermanentError
from city_platform.traffic.state import (
    BUCKETS,
    KEEP_MS,
    WINDOW_MS,
    Conflict,
    Event,
    Key,
    Record,
    StateUnavailable,
    VersionConflict,
    Window,
    bucket,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_AT_ONCE = 32  # writes under way
_GET_AT_ONCE = 100  # keys, as BatchGetItem
_BINARY = {"sensors", "strays"}
_NUMBERS = [name for name in Window.__struct_fields__ if name not in {"zone", "start_ms", *_BINARY}]
_VALUES = [*_NUMBERS, *sorted(_BINARY)]
_SET = "SET " + ", ".join(f"#{name} = :{name}" for name in _VALUES)
_NAMES = {f"#{name}": name for name in _VALUES}
_OUTBOX = "OUTBOX"
_ALONE = "-"  # the sort key of what has none


class StateRefused(PermanentError):
    """The table will not take this; its name, its keys or the rights on it are wrong."""


def dynamodb_client(region: str | None = None, endpoint_url: str | None = None) -> "DynamoDBClient":
    """A client whose calls end: 2 s to connect, 5 s to answer, at most five attempts."""
    settings = Config(
        connect_timeout=2,
        read_timeout=5,
        max_pool_connections=_AT_ONCE,
        retries={"mode": "standard", "total_max_attempts": 5},
    )
    return boto3.client("dynamodb", region_name=region, endpoint_url=endpoint_url, config=settings)


class DynamoTrafficState:
    """A TrafficState in one table. Errors beside the port's: StateRefused."""

    def __init__(self, table: str, connect: Callable[[], "DynamoDBClient"] = dynamodb_client) -> None:
        """`connect` is called once, at the first use."""
        self._table = table
        self._connect = connect

    def put(self, windows: Sequence[Window]) -> Sequence[Conflict | StateUnavailable | None]:
        return list(self._threads.map(self._put, windows))

    def get(self, keys: Sequence[Key]) -> Mapping[Key, Window]:
        found: dict[Key, Window] = {}
        for start in range(0, len(keys), _GET_AT_ONCE):
            asked = [_window_key(*key) for key in keys[start : start + _GET_AT_ONCE]]
            wanted: Any = {self._table: {"Keys": asked, "ConsistentRead": True}}
            while wanted:
                answer = self._call("batch_get_item", RequestItems=wanted)
                for item in answer["Responses"].get(self._table, []):
                    window = _window(item)
                    found[window.key] = window
                wanted = answer.get("UnprocessedKeys")
        return found

    def windows(self, zone: str, start_ms: int, end_ms: int) -> Sequence[Window]:
        starts = range(start_ms + -start_ms % WINDOW_MS, end_ms, WINDOW_MS)
        found = self.get([(zone, start) for start in starts])
        return [found[key] for key in sorted(found)]

    def city(self, start_ms: int, parts: Sequence[int] = range(BUCKETS)) -> Sequence[Window]:
        asked = [("#part = :part", {":part": {"S": _part(start_ms, part)}}, None) for part in parts]
        answers = self._threads.map(lambda one: self._query(*one), asked)
        return sorted((_window(item) for items in answers for item in items), key=lambda window: window.zone)

    def record(self, key: str) -> Record | None:
        item = self._call("get_item", Key=_key(f"RECORD#{key}"), ConsistentRead=True).get("Item")
        return Record(key, int(item["version"]["N"]), item["body"]["B"]) if item else None

    def commit(self, records: Sequence[Record], events: Sequence[Event] = ()) -> None:
        known = self._known(events)
        actions = [self._record_action(record) for record in records]
        for event in events:
            if event.id not in known:
                actions += self._event_actions(event)
        if not actions:
            return
        with self._typed():
            try:
                self._client.transact_write_items(TransactItems=actions)
            except self._client.exceptions.TransactionCanceledException as error:
                codes = {reason.get("Code") for reason in error.response.get("CancellationReasons", [])}
                if "ConditionalCheckFailed" in codes:
                    names = ", ".join(record.key for record in records)
                    raise VersionConflict(f"somebody else changed one of these, or told it, first: {names}") from error
                if codes <= {"None", None, "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}:
                    raise StateUnavailable(f"{self._table} was busy with the same records") from error
                raise

    def outbox(self, limit: int) -> Sequence[Event]:
        items = self._query("#part = :part", {":part": {"S": _OUTBOX}}, limit)
        return [Event(item["id"]["S"], int(item["at_ms"]["N"]), item["body"]["B"]) for item in items]

    def published(self, events: Sequence[Event]) -> None:
        for event in events:
            self._call("delete_item", Key=_key(_OUTBOX, _place(event)))

    def _put(self, window: Window) -> Conflict | StateUnavailable | None:
        values: dict[str, Any] = {f":{name}": {"N": str(getattr(window, name))} for name in _NUMBERS}
        values |= {f":{name}": {"B": getattr(window, name)} for name in _BINARY}
        condition = "attribute_not_exists(#version)"
        if window.version > 1:
            condition = "#version = :before"
            values[":before"] = {"N": str(window.version - 1)}
        key = _window_key(*window.key)
        try:
            with self._typed():
                try:
                    self._client.update_item(
                        TableName=self._table,
                        Key=key,
                        UpdateExpression=_SET,
                        ConditionExpression=condition,
                        ExpressionAttributeNames=_NAMES,
                        ExpressionAttributeValues=values,
                        ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    )
                except self._client.exceptions.ConditionalCheckFailedException as error:
                    answered: Any = error.response
                    # Not every emulator sends what stands there, and where it expired there is none to send.
                    item = answered.get("Item") or self._call("get_item", Key=key, ConsistentRead=True).get("Item")
                    return Conflict(_window(item) if item else None)
        except StateUnavailable as unavailable:
            return unavailable
        return None

    def _known(self, events: Sequence[Event]) -> set[str]:
        known = set()
        for event in events:
            if "Item" in self._call("get_item", Key=_key(f"EVENT#{event.id}"), ConsistentRead=True):
                known.add(event.id)
        return known

    def _record_action(self, record: Record) -> Any:
        item = {**_key(f"RECORD#{record.key}"), "version": {"N": str(record.version)}, "body": {"B": record.body}}
        put: dict[str, Any] = {"TableName": self._table, "Item": item}
        put["ExpressionAttributeNames"] = {"#version": "version"}
        put["ConditionExpression"] = "attribute_not_exists(#version)"
        if record.version > 1:
            put["ConditionExpression"] = "#version = :before"
            put["ExpressionAttributeValues"] = {":before": {"N": str(record.version - 1)}}
        return {"Put": put}

    def _event_actions(self, event: Event) -> list[Any]:
        known = {**_key(f"EVENT#{event.id}"), "ttl": {"N": str((event.at_ms + KEEP_MS) // 1000)}}
        waiting = {
            **_key(_OUTBOX, _place(event)),
            "id": {"S": event.id},
            "at_ms": {"N": str(event.at_ms)},
            "body": {"B": event.body},
        }
        once = {"ConditionExpression": "attribute_not_exists(#part)", "ExpressionAttributeNames": {"#part": "part"}}
        return [
            {"Put": {"TableName": self._table, "Item": known, **once}},
            {"Put": {"TableName": self._table, "Item": waiting}},
        ]

    def _query(self, condition: str, values: Mapping[str, Any], limit: int | None) -> list[Any]:
        asked: dict[str, Any] = {
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": {"#part": "part"},
            "ExpressionAttributeValues": values,
            "ConsistentRead": True,
        }
        found: list[Any] = []
        while True:
            if limit is not None:
                asked["Limit"] = limit - len(found)
            answer = self._call("query", **asked)
            found += answer["Items"]
            if "LastEvaluatedKey" not in answer or (limit is not None and len(found) >= limit):
                return found
            asked["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _call(self, operation: str, **arguments: Any) -> Any:
        if operation != "batch_get_item":
            arguments["TableName"] = self._table
        with self._typed():
            return getattr(self._client, operation)(**arguments)

    def _typed(self) -> AbstractContextManager[None]:
        return typed(f"the traffic table {self._table}", StateUnavailable, StateRefused)

    @cached_property
    def _client(self) -> "DynamoDBClient":
        return self._connect()

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="traffic-state")


def _key(part: str, item: str = _ALONE) -> dict[str, Any]:
    return {"part": {"S": part}, "item": {"S": item}}


def _window_key(zone: str, start_ms: int) -> dict[str, Any]:
    return _key(_part(start_ms, bucket(zone)), zone)


def _part(start_ms: int, of: int) -> str:
    return f"{_start(start_ms)}#{of:02d}"


def _start(start_ms: int) -> str:
    return f"{start_ms:015d}"


def _place(event: Event) -> str:
    return f"{_start(event.at_ms)}#{event.id}"


def _window(item: Mapping[str, Any]) -> Window:
    values: dict[str, Any] = {name: int(item[name]["N"]) for name in _NUMBERS}
    values |= {name: bytes(item[name]["B"]) for name in _BINARY}
    return Window(zone=item["item"]["S"], start_ms=int(item["part"]["S"].partition("#")[0]), **values)
