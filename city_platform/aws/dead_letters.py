"""Dead letters into S3 with boto3 alone, which is all that the Lambda functions carry."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config

from city_platform.aws.client_errors import typed
from city_platform.errors import PermanentError
from city_platform.ports import StoreUnavailable


class LettersRefused(PermanentError):
    """The bucket will not take dead letters; its name or the rights on it are wrong."""


def s3_client() -> Any:
    """A client whose calls end: 2 s to connect, 5 s to answer, at most five attempts."""
    settings = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 5})
    return boto3.client("s3", config=settings)


class S3Letters:
    """The objects of StoredDeadLetters in one bucket. Errors: StoreUnavailable, LettersRefused."""

    def __init__(self, bucket: str, connect: Callable[[], Any] = s3_client) -> None:
        """`connect` is called once, at the first letter."""
        self._bucket = bucket
        self._connect = connect

    def put(self, key: str, data: bytes) -> None:
        with typed(f"dead letters in {self._bucket}", StoreUnavailable, LettersRefused):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=data)

    @cached_property
    def _client(self) -> Any:
        return self._connect()
