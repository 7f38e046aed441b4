"""Notifications through an SNS topic; who gets them, by mail or message, is the topic's subscriptions."""

import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from city_platform.ports import NotificationRefused, NotifierUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

_SUBJECT_LIMIT = 100  # characters, and ASCII without control characters: the SNS Publish API
_BODY_LIMIT = 256 * 1024  # bytes, the same
_SERVER_ERROR = 500
_BUSY = {"Throttled", "Throttling", "ThrottledException", "ThrottlingException"}


def sns_client(region: str | None = None, endpoint_url: str | None = None) -> "SNSClient":
    """An SNS client whose calls end: 3 s to connect, 10 s to answer, at most five attempts with adaptive pauses."""
    settings = Config(connect_timeout=3, read_timeout=10, retries={"mode": "adaptive", "total_max_attempts": 5})
    return boto3.client("sns", region_name=region, endpoint_url=endpoint_url, config=settings)


class SnsNotifier:
    """A Notifier that publishes to one topic."""

    def __init__(self, topic: str, connect: Callable[[], "SNSClient"] = sns_client) -> None:
        """`topic` is an ARN; `connect` is called once, at the first notification."""
        self._topic = topic
        self._connect = connect

    def notify(self, subject: str, body: str, *, once: str | None = None) -> None:
        """A FIFO topic drops the second notification of a name for five minutes; a standard one sends both."""
        plain = "".join(c if " " <= c <= "~" else "?" for c in subject)
        short = plain if len(plain) <= _SUBJECT_LIMIT else plain[: _SUBJECT_LIMIT - 3] + "..."
        # SNS cuts what mail cannot carry from the subject, so the body starts with it in full.
        message = f"{subject}\n\n{body}".encode()[:_BODY_LIMIT].decode(errors="ignore")
        try:
            self._client.publish(
                TopicArn=self._topic,
                Subject=short.strip() or "city_platform",
                Message=message,
                **self._in_order(once),
            )
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown")
            busy = code in _BUSY or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= _SERVER_ERROR
            kind = NotifierUnavailable if busy else NotificationRefused
            raise kind(f"SNS did not take a notification for {self._topic}: {code}") from error
        except BotoCoreError as error:
            raise NotifierUnavailable(f"SNS did not answer for {self._topic}: {type(error).__name__}") from error

    def _in_order(self, once: str | None) -> dict[str, Any]:
        if not self._topic.endswith(".fifo"):
            return {}
        name = hashlib.sha256(once.encode()).hexdigest() if once else uuid4().hex
        return {"MessageGroupId": "city_platform", "MessageDeduplicationId": name}

    @cached_property
    def _client(self) -> "SNSClient":
        return self._connect()
