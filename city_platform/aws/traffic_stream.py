"""The traffic stream in Kinesis Data Streams. The infrastructure makes it, with its shards and its retention."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from city_platform.aws.client_errors import typed
from city_platform.traffic.stream import (
    MOST_READ,
    Entry,
    StreamRecord,
    StreamRefused,
    StreamUnavailable,
    check_limits,
)

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

_ITERATORS = 1_000  # kept; each spares a call, of which a shard takes five a second
_EMPTY_READS = 20  # Kinesis answers with nothing where its pages have gaps


def kinesis_client(region: str | None = None, endpoint_url: str | None = None) -> "KinesisClient":
    """A client whose calls end: 2 s to connect, 10 s to answer, at most five attempts."""
    settings = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 5})
    return boto3.client("kinesis", region_name=region, endpoint_url=endpoint_url, config=settings)


class KinesisEventStream:
    """An EventStream in Kinesis.

    Where it takes only some entries of a put, one that is put again comes after later ones of its key: who needs the
    order puts one entry of a key at a time.
    """

    def __init__(self, name: str, connect: Callable[[], "KinesisClient"] = kinesis_client) -> None:
        """`connect` is called once, at the first use."""
        self._name = name
        self._connect = connect
        self._lock = threading.Lock()
        self._iterators: dict[tuple[str, str | None], str] = {}  # by shard and the last record read there

    def put(self, entries: Sequence[Entry]) -> Sequence[StreamUnavailable | None]:
        check_limits(entries)
        if not entries:
            return []
        with self._typed():
            answer = self._client.put_records(
                StreamName=self._name,
                Records=[{"Data": entry.data, "PartitionKey": entry.key} for entry in entries],
            )
        codes = [one.get("ErrorCode") for one in answer["Records"]]
        return [StreamUnavailable(f"the stream {self._name} did not take it: {code}") if code else None
                for code in codes]  # fmt: skip

    def shards(self) -> Sequence[str]:
        names: list[str] = []
        asked: dict[str, Any] = {"StreamName": self._name}
        with self._typed():
            while True:
                answer = self._client.list_shards(**asked)
                names += [shard["ShardId"] for shard in answer["Shards"]]
                if not answer.get("NextToken"):
                    return names
                asked = {"NextToken": answer["NextToken"]}

    def read(self, shard: str, after: str | None, limit: int) -> Sequence[StreamRecord]:
        with self._lock:
            iterator = self._iterators.pop((shard, after), None)
        with self._typed():
            for _ in range(_EMPTY_READS):
                answer = self._records(shard, after, iterator, min(limit, MOST_READ))
                iterator = answer.get("NextShardIterator")  # there is none after the end of a closed shard
                if answer["Records"] or not iterator or not answer.get("MillisBehindLatest"):
                    break
        records = [_record(one) for one in answer["Records"]]
        if iterator:
            with self._lock:
                if len(self._iterators) >= _ITERATORS:
                    self._iterators.clear()  # of readers that began anew
                self._iterators[shard, records[-1].sequence if records else after] = iterator
        return records

    def _records(self, shard: str, after: str | None, iterator: str | None, limit: int) -> Any:
        if iterator is not None:
            try:
                return self._client.get_records(ShardIterator=iterator, Limit=limit)
            except self._client.exceptions.ExpiredIteratorException:
                pass  # after five minutes; where it stood is known
        start: dict[str, Any] = {"ShardIteratorType": "TRIM_HORIZON"}
        if after is not None:
            start = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": after}
        made = self._client.get_shard_iterator(StreamName=self._name, ShardId=shard, **start)
        return self._client.get_records(ShardIterator=made["ShardIterator"], Limit=limit)

    @cached_property
    def _client(self) -> "KinesisClient":
        return self._connect()

    def _typed(self) -> AbstractContextManager[None]:
        return typed(f"the stream {self._name}", StreamUnavailable, StreamRefused)


def _record(one: Any) -> StreamRecord:
    arrival_ms = round(one["ApproximateArrivalTimestamp"].timestamp() * 1000)
    return StreamRecord(one["SequenceNumber"], one["PartitionKey"], one["Data"], arrival_ms)
