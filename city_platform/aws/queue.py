"""Queues in SQS. The infrastructure makes them, with their redrive policies."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from city_platform.aws.client_errors import typed
from city_platform.ports import Message, QueueRefused, QueueUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

_AT_ONCE = 10  # messages a call: the limit of SQS
_BYTES_AT_ONCE = 256 * 1024  # the sum of a call's bodies, by the older of the two limits
_REASON = "reason"
_REASON_LIMIT = 1000  # characters


def sqs_client(region: str | None = None, endpoint_url: str | None = None) -> "SQSClient":
    """An SQS client whose calls end: 3 s to connect, 10 s to answer, at most five attempts with adaptive pauses."""
    settings = Config(connect_timeout=3, read_timeout=10, retries={"mode": "adaptive", "total_max_attempts": 5})
    return boto3.client("sqs", region_name=region, endpoint_url=endpoint_url, config=settings)


class SqsQueue:
    """A Queue in SQS. Where its dead letters go, and after how many receivings, is its redrive policy."""

    def __init__(self, name: str, connect: "Callable[[], SQSClient]" = sqs_client) -> None:
        """`connect` is called once, at the first use, so that building the queue reads no configuration."""
        self._name = name
        self._connect = connect

    def send(self, bodies: Sequence[str], reasons: Sequence[str] | None = None) -> None:
        for body in bodies:
            if len(body.encode()) > _BYTES_AT_ONCE - 4 * _REASON_LIMIT * bool(reasons):
                raise QueueRefused(f"a message has at most {_BYTES_AT_ONCE} bytes with its reason")
        with self._typed():
            for group in _groups(list(zip(bodies, reasons or [""] * len(bodies), strict=True))):
                entries: Any = [{"Id": str(index), "MessageBody": body} for index, (body, _) in enumerate(group)]
                for entry, (_, reason) in zip(entries, group, strict=True):
                    if reason:
                        value = {"DataType": "String", "StringValue": reason[:_REASON_LIMIT]}
                        entry["MessageAttributes"] = {_REASON: value}
                answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
                if answer.get("Failed"):
                    kind = QueueRefused if any(one["SenderFault"] for one in answer["Failed"]) else QueueUnavailable
                    raise kind(f"SQS took not all messages for {self._name}: {answer['Failed'][0]['Code']}")

    def receive(self, limit: int, visibility: timedelta) -> Sequence[Message]:
        found: list[Message] = []
        with self._typed():
            while len(found) < limit:
                answer = self._client.receive_message(
                    QueueUrl=self._url,
                    MaxNumberOfMessages=min(_AT_ONCE, limit - len(found)),
                    VisibilityTimeout=int(visibility.total_seconds()),
                    WaitTimeSeconds=1,  # asks all of the queue's servers; a short poll asks some
                    MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
                    MessageAttributeNames=[_REASON],
                )
                messages = answer.get("Messages", [])
                if not messages:
                    break
                found += [_message(one) for one in messages]
        return found

    def delete(self, messages: Sequence[Message]) -> None:
        with self._typed():
            for start in range(0, len(messages), _AT_ONCE):
                some = messages[start : start + _AT_ONCE]
                # An entry that fails was received again by somebody else: it is theirs now.
                self._client.delete_message_batch(
                    QueueUrl=self._url,
                    Entries=[{"Id": str(index), "ReceiptHandle": one.receipt} for index, one in enumerate(some)],
                )

    def release(self, messages: Sequence[Message]) -> None:
        with self._typed():
            for start in range(0, len(messages), _AT_ONCE):
                some = messages[start : start + _AT_ONCE]
                self._client.change_message_visibility_batch(
                    QueueUrl=self._url,
                    Entries=[
                        {"Id": str(index), "ReceiptHandle": one.receipt, "VisibilityTimeout": 0}
                        for index, one in enumerate(some)
                    ],
                )

    @cached_property
    def _client(self) -> "SQSClient":
        return self._connect()

    @cached_property
    def _url(self) -> str:
        return self._client.get_queue_url(QueueName=self._name)["QueueUrl"]

    def _typed(self) -> AbstractContextManager[None]:
        return typed(f"SQS ({self._name})", QueueUnavailable, QueueRefused)


def _groups(messages: Sequence[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """As many messages as a call takes, by number and by bytes."""
    group: list[tuple[str, str]] = []
    held = 0
    for body, reason in messages:
        weight = len(body.encode()) + 4 * min(len(reason), _REASON_LIMIT)
        if group and (len(group) == _AT_ONCE or held + weight > _BYTES_AT_ONCE):
            yield group
            group, held = [], 0
        group.append((body, reason))
        held += weight
    if group:
        yield group


def _message(one: "MessageTypeDef") -> Message:
    system = one.get("Attributes", {})
    sent = datetime.fromtimestamp(int(system["SentTimestamp"]) / 1000, UTC)
    said = one.get("MessageAttributes", {})
    reason = said[_REASON].get("StringValue") if _REASON in said else None
    attempts = int(system["ApproximateReceiveCount"])
    return Message(one["MessageId"], one["Body"], reason, sent, attempts, one["ReceiptHandle"])
