"""The buckets that S3 copies the lake's into, and what their originals remember of deletions."""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.config import Config

from city_platform.aws.client_errors import typed
from city_platform.errors import PermanentError
from city_platform.lake.zones import Zone, zone_of
from city_platform.ports import StoreUnavailable

_MOST = 100  # objects that are asked about; where more are in question, nobody needs to know the age of each
_VERSIONS = 10  # of one key, newest first; keys that begin alike come after it


class VersionsRefused(PermanentError):
    """S3 does not say which versions there are; the rights are wrong."""


def versions_client(region: str, endpoint_url: str | None = None) -> Any:
    """An S3 client whose calls end: 3 s to connect, 10 s to answer, at most five attempts."""
    settings = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 5})
    return boto3.client("s3", region_name=region, endpoint_url=endpoint_url, config=settings)


def replica_buckets(buckets: Mapping[Zone, str]) -> Mapping[Zone, str]:
    """As replica.yaml names the copies of foundation.yaml's buckets."""
    return {zone: f"{name}-replica" for zone, name in buckets.items()}


class S3Deletions:
    """Delete markers, as Deletions: asked for by object, because a listing of all versions takes a call a thousand."""

    def __init__(self, buckets: Mapping[Zone, str], connect: Callable[[], Any]) -> None:
        """`connect` is called when something is asked for."""
        self._buckets = buckets
        self._connect = connect

    def when(self, keys: Collection[str]) -> Mapping[str, datetime]:
        found: dict[str, datetime] = {}
        asked = sorted(keys)[:_MOST]
        client: Any = self._connect() if asked else None
        for key in asked:
            with typed(f"S3, asked for versions of {key},", StoreUnavailable, VersionsRefused):
                told = client.list_object_versions(Bucket=self._buckets[zone_of(key)], Prefix=key, MaxKeys=_VERSIONS)
            for marker in told.get("DeleteMarkers", ()):
                if marker["Key"] == key and marker["IsLatest"]:
                    found[key] = marker["LastModified"].astimezone(UTC)
        return found
