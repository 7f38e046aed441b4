"""Incidents in DynamoDB: the table with its five indexes, history, sealed contacts and marks, each a table of its own.

An index holds keys alone: whoever lists reads the items by their ids, so a list shows what is true now, and a change of
a field that no index has costs no write in any. A popular key value (a region's new reports on a bad day) is spread
over shards; a reader asks all of them and merges.
"""

import heapq
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING, Any
from zlib import crc32

import boto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.config import Config
from botocore.exceptions import ClientError

from city_platform.aws.client_errors import typed
from city_platform.incidents import codec
from city_platform.incidents.model import Box, HistoryEntry, Incident
from city_platform.incidents.repository import (
    CHANGES_AT_ONCE,
    AlreadyDone,
    Change,
    Heading,
    Listing,
    Mark,
    Pattern,
    Position,
    RepositoryRefused,
    RepositoryUnavailable,
    VersionConflict,
)
from city_platform.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import CreateTableInputTypeDef

POSITION = "position"  # sort key of every index: `reported_at#incident_id`
# A key value takes 1,000 writes a second, and an index that is throttled throttles the table. A disaster's 2,000
# reports a second, half of them in one region, are 1,000 on one value: four shards leave four times that.
SHARDS: Mapping[Pattern, int] = {
    Pattern.REGION_STATUS: 4,
    Pattern.REGION_CATEGORY: 4,
    Pattern.DISTRICT_STATUS: 1,
    Pattern.DISTRICT_CATEGORY: 1,
    Pattern.REPORTED_BY: 1,
}
_INDEX_KEYS: Mapping[Pattern, str] = {
    Pattern.REGION_STATUS: "region_status",
    Pattern.REGION_CATEGORY: "region_category",
    Pattern.DISTRICT_STATUS: "district_status",
    Pattern.DISTRICT_CATEGORY: "district_category",
    Pattern.REPORTED_BY: "reported_by",  # the field itself: who reported anonymously is in no list
}
_BATCH = 100  # items, the limit of BatchGetItem
_WRITES = 25  # items, the limit of BatchWriteItem
_ATTEMPTS = 8  # at a write that meets another one of the same item, or at a batch that is answered in part
_PAUSE = 0.05  # seconds, doubled at each attempt
_written = TypeSerializer().serialize
_read = TypeDeserializer().deserialize


@dataclass(frozen=True, slots=True)
class IncidentTables:
    """The names of the tables of one deployment."""

    prefix: str

    @property
    def incidents(self) -> str:
        return f"{self.prefix}-IncidentTable"

    @property
    def history(self) -> str:
        return f"{self.prefix}-IncidentHistory"

    @property
    def contacts(self) -> str:
        return f"{self.prefix}-IncidentContact"

    @property
    def marks(self) -> str:
        return f"{self.prefix}-IncidentMarks"

    def definitions(self) -> "Sequence[CreateTableInputTypeDef]":
        """The tables as CreateTable takes them; the infrastructure makes the same ones, emulators these."""
        attributes = ["incident_id", POSITION, *_INDEX_KEYS.values()]
        return [
            {
                "TableName": self.incidents,
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in attributes],
                "KeySchema": [{"AttributeName": "incident_id", "KeyType": "HASH"}],
                "GlobalSecondaryIndexes": [
                    {
                        "IndexName": pattern.value,
                        "KeySchema": [
                            {"AttributeName": _INDEX_KEYS[pattern], "KeyType": "HASH"},
                            {"AttributeName": POSITION, "KeyType": "RANGE"},
                        ],
                        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["lat", "long"]}
                        if pattern is Pattern.DISTRICT_CATEGORY
                        else {"ProjectionType": "KEYS_ONLY"},
                    }
                    for pattern in Pattern
                ],
                "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
            },
            {
                "TableName": self.history,
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [
                    {"AttributeName": "incident_id", "AttributeType": "S"},
                    {"AttributeName": "version", "AttributeType": "N"},
                ],
                "KeySchema": [
                    {"AttributeName": "incident_id", "KeyType": "HASH"},
                    {"AttributeName": "version", "KeyType": "RANGE"},
                ],
            },
            _plain_table(self.contacts, "incident_id"),
            _plain_table(self.marks, "mark"),
        ]

    def expiring(self) -> Mapping[str, str]:
        """The tables whose items go by themselves, and the attribute that says when (epoch seconds)."""
        return {self.incidents: "ttl", self.marks: "expires_at"}


def _plain_table(name: str, key: str) -> "CreateTableInputTypeDef":
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
    }


def dynamodb_client(region: str | None = None, endpoint_url: str | None = None) -> "DynamoDBClient":
    """A DynamoDB client whose calls end: 2 s to connect, 5 s to answer, at most five attempts with adaptive pauses."""
    settings = Config(connect_timeout=2, read_timeout=5, retries={"mode": "adaptive", "total_max_attempts": 5})
    return boto3.client("dynamodb", region_name=region, endpoint_url=endpoint_url, config=settings)


class DynamoDBIncidentRepository:
    """An IncidentRepository in DynamoDB. Safe between threads."""

    def __init__(
        self, tables: IncidentTables, clock: Clock, connect: "Callable[[], DynamoDBClient]" = dynamodb_client
    ) -> None:
        """`connect` is called once, at the first use, so that building the repository reads no configuration."""
        self._tables = tables
        self._clock = clock
        self._connect = connect

    def write(self, changes: Sequence[Change]) -> None:
        if not 1 <= len(changes) <= CHANGES_AT_ONCE:
            raise ValueError(f"1 to {CHANGES_AT_ONCE} changes at once, not {len(changes)}")
        # A transaction holds a hundred items, and an incident's history may have more. Marks go first: only the history
        # says whose they are, and whoever dies after it was revised could not find them.
        self._drop_marks([key for change in changes for key in change.drops_marks])
        self._batch_write(
            self._tables.history,
            [
                {"PutRequest": {"Item": _written_item(codec.to_item(one))}}
                for change in changes
                for one in change.revised
            ],
        )
        now = ceil(self._clock.now().timestamp())
        # Marks come first, so that the first reason for a refusal is a mark's, as the port wants it.
        puts: list[tuple[Mark | Change, dict[str, Any]]] = []
        puts += [(mark, self._mark(mark, change, now)) for change in changes for mark in change.marks]
        puts += [(change, put) for change in changes for put in self._puts(change)]
        dropped = [change for change in changes if change.drops_contact]
        items: list[Any] = [{"Put": put} for _, put in puts]
        items += [
            {"Delete": {"TableName": self._tables.contacts, "Key": _id(one.incident.incident_id)}} for one in dropped
        ]
        for attempt in range(_ATTEMPTS):
            with _typed():
                try:
                    self._client.transact_write_items(TransactItems=items)
                except ClientError as error:
                    reasons: Any = error.response.get("CancellationReasons")
                    if not reasons:
                        raise
                    self._refused([*(cause for cause, _ in puts), *dropped], reasons)
                else:
                    return
            time.sleep(random.uniform(0, _PAUSE * 2**attempt))  # noqa: S311 -- spreads rivals out, keeps no secret
        raise RepositoryUnavailable("too many writers want to change the same incident at once")

    def get(self, incident_id: str) -> Incident | None:
        with _typed():
            answer = self._client.get_item(TableName=self._tables.incidents, Key=_id(incident_id), ConsistentRead=True)
        return codec.incident(_item(answer["Item"])) if "Item" in answer else None

    def marked(self, key: str) -> str | None:
        with _typed():
            answer = self._client.get_item(TableName=self._tables.marks, Key={"mark": {"S": key}}, ConsistentRead=True)
        found = answer.get("Item", {})
        return None if "expires_at" in found or not found else found["incident_id"]["S"]

    def list(self, listing: Listing, limit: int, after: Position | None = None) -> Sequence[Incident]:
        keys = self._newest_first(listing, limit, _position(after) if after else None)
        found: list[Incident] = []
        while len(found) < limit and (ids := [key["incident_id"]["S"] for key in islice(keys, limit)]):
            # The index lags behind: an item that has left the list since is not shown in it.
            found += [
                one
                for one in self._current(ids)
                if tuple(getattr(one, name) for name in listing.pattern.fields) == listing.values
            ]
        return found[:limit]

    def headings(self, listing: Listing, limit: int, after: Position | None = None) -> Sequence[Heading]:
        # The indexes hold keys alone: who may see an incident is asked of the table, as for `list`.
        return [Heading.of(one) for one in self.list(listing, limit, after)]

    def near(self, district: str, category: str, box: Box, since: datetime, newest: int) -> Sequence[Incident]:
        listing = Listing(Pattern.DISTRICT_CATEGORY, (district, category))
        ids = []
        for key in islice(self._newest_first(listing, newest, None), newest):
            if key[POSITION]["S"] < codec.rfc3339(since):
                break
            # The index holds the coordinates, so that only incidents within the box are read.
            if "lat" in key and _within(box, float(key["lat"]["N"]), float(key["long"]["N"])):
                ids.append(key["incident_id"]["S"])
        return [
            one
            for one in self._current(ids)
            if (one.district, one.category) == (district, category)
            and one.lat is not None
            and one.long is not None
            and _within(box, one.lat, one.long)
        ]

    def history(self, incident_id: str) -> Sequence[HistoryEntry]:
        with _typed():
            pages = self._client.get_paginator("query").paginate(
                TableName=self._tables.history,
                KeyConditionExpression="incident_id = :id",
                ExpressionAttributeValues={":id": {"S": incident_id}},
                ConsistentRead=True,
            )
            return [codec.history_entry(_item(one)) for page in pages for one in page["Items"]]

    def sealed_contact(self, incident_id: str) -> bytes | None:
        with _typed():
            answer = self._client.get_item(TableName=self._tables.contacts, Key=_id(incident_id), ConsistentRead=True)
        return bytes(answer["Item"]["sealed"]["B"]) if "Item" in answer else None

    def to_anonymise(self, now: datetime, limit: int) -> Sequence[Incident]:
        # Once a day a look at all items costs less than a sixth index, which each closing would have to write.
        found: list[Incident] = []
        with _typed():
            pages = self._client.get_paginator("scan").paginate(
                TableName=self._tables.incidents,
                FilterExpression="anonymise_after <= :now AND #ttl > :seconds",
                ExpressionAttributeNames={"#ttl": "ttl"},
                ExpressionAttributeValues={
                    ":now": {"S": codec.rfc3339(now)},
                    ":seconds": {"N": str(int(now.timestamp()))},
                },
            )
            for page in pages:
                found += [codec.incident(_item(one)) for one in page["Items"]]
                if len(found) >= limit:
                    break
        return found[:limit]

    def forget(self, incident_id: str, marks: Sequence[str] = ()) -> None:
        self._drop_marks(marks)
        with _typed():
            pages = self._client.get_paginator("query").paginate(
                TableName=self._tables.history,
                KeyConditionExpression="incident_id = :id",
                ExpressionAttributeValues={":id": {"S": incident_id}},
                ProjectionExpression="incident_id, version",
                ConsistentRead=True,
            )
            keys = [one for page in pages for one in page["Items"]]
        self._batch_write(self._tables.history, [{"DeleteRequest": {"Key": key}} for key in keys])
        with _typed():
            self._client.delete_item(TableName=self._tables.contacts, Key=_id(incident_id))

    def naming(self, subject: str) -> Sequence[str]:
        found = set()
        for table, attribute in ((self._tables.incidents, "reported_by"), (self._tables.history, "actor")):
            for item in self._scanned(table, "incident_id", f"{attribute} = :value", subject):
                found.add(item["incident_id"]["S"])
        return sorted(found)

    def contacts(self) -> Iterator[tuple[str, bytes]]:
        for item in self._scanned(self._tables.contacts, "incident_id, sealed"):
            yield item["incident_id"]["S"], bytes(item["sealed"]["B"])

    def drop_marks(self, fingerprint: str) -> int:
        keys = list(self._scanned(self._tables.marks, "mark", "fingerprint = :value", fingerprint))
        self._batch_write(self._tables.marks, [{"DeleteRequest": {"Key": key}} for key in keys])
        return len(keys)

    def _scanned(self, table: str, wanted: str, where: str | None = None, value: str = "") -> Iterator[Any]:
        """The attributes `wanted` of a table's items, all or those for which `where` holds of `:value`."""
        asked: dict[str, Any] = {"TableName": table, "ProjectionExpression": wanted, "ConsistentRead": True}
        if where is not None:
            asked |= {"FilterExpression": where, "ExpressionAttributeValues": {":value": {"S": value}}}
        with _typed():
            for page in self._client.get_paginator("scan").paginate(**asked):
                yield from page["Items"]

    @cached_property
    def _client(self) -> "DynamoDBClient":
        return self._connect()

    def _mark(self, mark: Mark, change: Change, now: int) -> dict[str, Any]:
        item: dict[str, Any] = {
            "mark": {"S": mark.key},
            "fingerprint": {"S": mark.fingerprint},
            "incident_id": {"S": change.incident.incident_id},
        }
        if mark.expires_at is not None:
            item["expires_at"] = {"N": str(ceil(mark.expires_at.timestamp()))}
        return {
            "TableName": self._tables.marks,
            "Item": item,
            # DynamoDB removes what has expired within days, not at once.
            "ConditionExpression": "attribute_not_exists(mark) OR expires_at <= :now",
            "ExpressionAttributeValues": {":now": {"N": str(now)}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def _puts(self, change: Change) -> Iterator[dict[str, Any]]:
        incident = change.incident
        item = _written_item(codec.to_item(incident))
        at = _position(Position(incident.reported_at, incident.incident_id))
        item[POSITION] = {"S": at}
        for pattern in Pattern:
            if pattern is not Pattern.REPORTED_BY:
                values = tuple(str(getattr(incident, name)) for name in pattern.fields)
                shard = crc32(incident.incident_id.encode()) % SHARDS[pattern]
                item[_INDEX_KEYS[pattern]] = {"S": _index_key(pattern, values, shard)}
        write: dict[str, Any] = {"TableName": self._tables.incidents, "Item": item}
        if incident.version == 1:
            write["ConditionExpression"] = "attribute_not_exists(incident_id)"
        else:
            write["ConditionExpression"] = "version = :before"
            write["ExpressionAttributeValues"] = {":before": {"N": str(incident.version - 1)}}
        yield write | {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        yield {"TableName": self._tables.history, "Item": _written_item(codec.to_item(change.entry))}
        if change.sealed_contact is not None:
            yield {
                "TableName": self._tables.contacts,
                "Item": {**_id(incident.incident_id), "sealed": {"B": change.sealed_contact}},
            }

    def _drop_marks(self, keys: Sequence[str]) -> None:
        requests = [{"DeleteRequest": {"Key": {"mark": {"S": key}}}} for key in dict.fromkeys(keys)]
        self._batch_write(self._tables.marks, requests)

    def _batch_write(self, table: str, requests: Sequence[Any]) -> None:
        for start in range(0, len(requests), _WRITES):
            asked: Any = {table: requests[start : start + _WRITES]}
            for attempt in range(_ATTEMPTS):
                with _typed():
                    asked = self._client.batch_write_item(RequestItems=asked).get("UnprocessedItems")
                if not asked:
                    break
                time.sleep(random.uniform(0, _PAUSE * 2**attempt))  # noqa: S311 -- as above
            else:
                raise RepositoryUnavailable("DynamoDB did a batch in part, again and again")

    @staticmethod
    def _refused(causes: Sequence[Mark | Change], reasons: Sequence[Mapping[str, Any]]) -> None:
        """Raises what the port says of a cancelled transaction; returns where it is worth another attempt."""
        codes = {str(reason.get("Code")) for reason in reasons}
        for cause, reason in zip(causes, reasons, strict=True):
            if reason.get("Code") != "ConditionalCheckFailed":
                continue
            there = _item(reason.get("Item") or {})
            if isinstance(cause, Mark):
                raise AlreadyDone(cause.key, there["incident_id"], there["fingerprint"])
            raise VersionConflict(cause.incident.incident_id, int(there.get("version", 0)))
        if not codes & {"TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError"}:
            raise RepositoryRefused(f"DynamoDB refused a write: {', '.join(sorted(codes - {'None'}))}")

    def _newest_first(self, listing: Listing, limit: int, before: str | None) -> Iterator[Mapping[str, Any]]:
        """The keys of a list, merged from all shards of its index."""
        count = SHARDS[listing.pattern]
        shards = [self._shard(listing, shard, limit, before) for shard in range(count)]
        if count == 1:
            return shards[0]
        with ThreadPoolExecutor(count) as threads:  # the first page of each at once: one round trip, not four
            heads = list(threads.map(lambda shard: list(islice(shard, 1)), shards))
        merged = [_chained(head, shard) for head, shard in zip(heads, shards, strict=True)]
        return heapq.merge(*merged, key=lambda key: key[POSITION]["S"], reverse=True)

    def _shard(self, listing: Listing, shard: int, limit: int, before: str | None) -> Iterator[Mapping[str, Any]]:
        name = _INDEX_KEYS[listing.pattern]
        values: dict[str, Any] = {":key": {"S": _index_key(listing.pattern, listing.values, shard)}}
        condition = f"{name} = :key"
        asked: dict[str, Any] = {}
        if before is not None:
            condition += " AND #position < :before"
            values[":before"] = {"S": before}
            asked["ExpressionAttributeNames"] = {"#position": POSITION}  # a word that DynamoDB keeps for itself
        with _typed():
            pages = self._client.get_paginator("query").paginate(
                TableName=self._tables.incidents,
                IndexName=listing.pattern.value,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                ScanIndexForward=False,
                PaginationConfig={"PageSize": limit},
                **asked,
            )
            for page in pages:
                yield from page["Items"]

    def _current(self, ids: Sequence[str]) -> Sequence[Incident]:
        """The incidents as they are now, in the order of their ids; those that are gone are left out."""
        found: dict[str, Incident] = {}
        for start in range(0, len(ids), _BATCH):
            asked: Any = {
                self._tables.incidents: {
                    "Keys": [_id(one) for one in ids[start : start + _BATCH]],
                    "ConsistentRead": True,
                }
            }
            for attempt in range(_ATTEMPTS):
                with _typed():
                    answer = self._client.batch_get_item(RequestItems=asked)
                for item in answer["Responses"].get(self._tables.incidents, ()):
                    incident = codec.incident(_item(item))
                    found[incident.incident_id] = incident
                asked = answer.get("UnprocessedKeys")
                if not asked:
                    break
                time.sleep(random.uniform(0, _PAUSE * 2**attempt))  # noqa: S311 -- as above
            else:
                raise RepositoryUnavailable("DynamoDB answered a batch in part, again and again")
        return [found[one] for one in ids if one in found]


def _id(incident_id: str) -> dict[str, Any]:
    return {"incident_id": {"S": incident_id}}


def _chained(head: Sequence[Mapping[str, Any]], rest: Iterator[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    yield from head
    yield from rest


def _index_key(pattern: Pattern, values: Sequence[str], shard: int) -> str:
    return values[0] if pattern is Pattern.REPORTED_BY else "#".join((*values, str(shard)))


def _position(position: Position) -> str:
    return f"{codec.rfc3339(position.reported_at)}#{position.incident_id}"


def _within(box: Box, lat: float, long: float) -> bool:
    return box.south <= lat <= box.north and box.west <= long <= box.east


def _item(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _read(value) for name, value in raw.items()}


def _written_item(item: codec.Item) -> dict[str, Any]:
    return {name: _written(value) for name, value in item.items()}


def _typed() -> AbstractContextManager[None]:
    return typed("DynamoDB", RepositoryUnavailable, RepositoryRefused)
