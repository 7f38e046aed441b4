"""Changes that the stream's function failed at to the end: Lambda says which, and the stream has them for a day.

The messages are those of an event source mapping's destination on failure, for DynamoDB Streams and for Kinesis (AWS
Lambda's guide, "Capturing discarded batches"): shard, first and last number, and no record.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import boto3
from botocore.config import Config

from city_platform.aws.client_errors import typed
from city_platform.errors import PermanentError, TransientError
from city_platform.incidents.dead_letters import DeadLetter, Redriven
from city_platform.ports import Message, Queue

_LOOKING = timedelta(seconds=30)
_REDRIVING = timedelta(minutes=5)
_AT_ONCE = 10
_SERVICES = {"DDBStreamBatchInfo": "dynamodbstreams", "KinesisBatchInfo": "kinesis"}
_NAMES = {  # of the same two arguments
    "dynamodbstreams": ("StreamArn", "SequenceNumber"),
    "kinesis": ("StreamARN", "StartingSequenceNumber"),
}


class StreamRefused(PermanentError):
    """The stream has these records no longer, or this identity may not read them."""


class StreamBusy(TransientError):
    """The stream did not answer, or answered that it is busy."""


def stream_client(service: str, region: str | None = None, endpoint_url: str | None = None) -> Any:
    """A client of `dynamodbstreams` or `kinesis` whose calls end."""
    settings = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 5})
    return boto3.client(service, region_name=region, endpoint_url=endpoint_url, config=settings)  # type: ignore[call-overload]


class UndeliveredChanges:
    """What waits in the queue of Lambda's messages. Errors: the queue's, StreamBusy."""

    def __init__(self, queue: Queue, connect: Callable[[str], Any] = stream_client) -> None:
        """`connect` makes a client of the service it is given, at the first message of its kind."""
        self._queue = queue
        self._connect = connect
        self._clients: dict[str, Any] = {}

    def look(self, limit: int) -> Sequence[DeadLetter]:
        """Some of the messages; they stay."""
        messages = self._queue.receive(limit, _LOOKING)
        self._queue.release(messages)
        return [_shown(one) for one in messages]

    def redrive(self, replay: Callable[[Mapping[str, Any]], Sequence[str]], limit: int) -> Redriven:
        """Delivers the records of at most `limit` messages again, as DeadLetters.redrive does."""
        replayed = 0
        refused: list[str] = []
        kept: list[Message] = []
        while limit > 0 and (messages := self._queue.receive(min(_AT_ONCE, limit), _REDRIVING)):
            limit -= len(messages)
            for message in messages:
                try:
                    records = list(self._records(message.body))
                    problems = list(replay({"Records": records}))
                except StreamRefused as error:
                    records, problems = [], [str(error)]
                if problems:
                    refused += problems
                    kept.append(message)
                else:
                    replayed += len(records)
                    self._queue.delete([message])
        self._queue.release(kept)
        return Redriven(replayed, refused)

    def _records(self, body: str) -> Iterator[Mapping[str, Any]]:
        """The message's records as Lambda delivers them. Raises StreamRefused, StreamBusy."""
        service, batch = _batch(body)
        client = self._client(service)
        last = int(batch["endSequenceNumber"])
        stream, first = _NAMES[service]
        place = {stream: batch["streamArn"], first: batch["startSequenceNumber"], "ShardId": batch["shardId"]}
        with typed(f"the stream ({batch['shardId']})", StreamBusy, StreamRefused):
            at = client.get_shard_iterator(**place, ShardIteratorType="AT_SEQUENCE_NUMBER")["ShardIterator"]
            named = {stream: batch["streamArn"]} if service == "kinesis" else {}
            while at:
                answer = client.get_records(ShardIterator=at, **named)
                for record in answer["Records"]:
                    told = _of_kinesis(record) if service == "kinesis" else _of_table(record)
                    if _number(told) > last:
                        return
                    yield told
                    if _number(told) == last:
                        return
                if not answer["Records"] and not answer.get("MillisBehindLatest"):
                    return
                at = answer.get("NextShardIterator")

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._connect(service)
        return self._clients[service]


def _batch(body: str) -> tuple[str, Mapping[str, str]]:
    try:
        told = json.loads(body)
        name = next(one for one in _SERVICES if one in told)
        batch = told[name]
        if {"shardId", "startSequenceNumber", "endSequenceNumber", "streamArn"} <= set(batch):
            return _SERVICES[name], batch
    except (ValueError, TypeError, StopIteration):
        pass
    raise StreamRefused("this message names no records of a stream")


def _of_table(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The interface's record in the form of Lambda's events: times are numbers, and one name begins otherwise."""
    change = dict(record["dynamodb"])
    at = change.get("ApproximateCreationDateTime")
    if isinstance(at, datetime):
        change["ApproximateCreationDateTime"] = at.timestamp()
    told = {**record, "dynamodb": change}
    if by := record.get("userIdentity"):
        told["userIdentity"] = {name[0].lower() + name[1:]: value for name, value in by.items()}
    return told


def _of_kinesis(record: Mapping[str, Any]) -> Mapping[str, Any]:
    data = base64.b64encode(record["Data"]).decode()
    return {"kinesis": {"sequenceNumber": record["SequenceNumber"], "data": data}}


def _number(told: Mapping[str, Any]) -> int:
    return int(told["kinesis"]["sequenceNumber"] if "kinesis" in told else told["dynamodb"]["SequenceNumber"])


def _shown(message: Message) -> DeadLetter:
    try:
        _, batch = _batch(message.body)
        context = json.loads(message.body).get("requestContext", {})
    except StreamRefused as error:
        return DeadLetter(message.id, "", "", "", str(error), message.sent_at)
    first, last = batch["startSequenceNumber"], batch["endSequenceNumber"]
    what = f"{batch.get('batchSize', 'some')} records of {batch['shardId']}"
    return DeadLetter(message.id, what, "", f"{first} to {last}", str(context.get("condition", "")), message.sent_at)
