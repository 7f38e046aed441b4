"""Upload addresses in S3: a presigned POST, which fixes key, type and size and needs no other right."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from city_platform.lake.zones import Zone, zone_of
from city_platform.ports import Clock, StoreUnavailable, Upload


def s3_client(region: str, endpoint_url: str | None = None) -> Any:
    """An S3 client that signs with version 4; signing makes no call."""
    return boto3.client("s3", region_name=region, endpoint_url=endpoint_url, config=Config(signature_version="s3v4"))


class S3Uploads:
    """Uploads straight into the lake's bucket. What was not claimed is the bucket's lifecycle rule to remove."""

    def __init__(self, buckets: Mapping[Zone, str], clock: Clock, connect: Callable[[], Any]) -> None:
        self._buckets = buckets
        self._clock = clock
        self._connect = connect
        self._client: Any = None

    def offer(self, key: str, content_type: str, limit: int, until: datetime) -> Upload:
        self._client = self._client or self._connect()
        try:
            given = self._client.generate_presigned_post(
                self._buckets[zone_of(key)],
                key,
                Fields={"Content-Type": content_type},
                Conditions=[{"Content-Type": content_type}, ["content-length-range", 1, limit]],
                ExpiresIn=max(1, int((until - self._clock.now()).total_seconds())),
            )
        except BotoCoreError as error:
            raise StoreUnavailable(f"S3 uploads cannot be signed: {type(error).__name__}; check the credentials") from (
                error
            )
        return Upload("POST", given["url"], given["fields"], until)
