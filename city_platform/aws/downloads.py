"""Downloads straight from S3: an address that reads one public object, for two minutes.

A function's answer ends at 6 MB, of which what is no text is a third more ("Lambda quotas", AWS Lambda Developer
Guide). Whoever follows the address has the signer's right to that one object and to nothing else.
"""

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError

from city_platform.lake.zones import PUBLIC_FOLDERS, Zone, zone_of
from city_platform.ports import NotPublic, StoreUnavailable

VALID_S = 120  # to begin a download in; one that has begun goes on


class S3Downloads:
    """Signs addresses in the buckets of the lake's zones; signing makes no call."""

    def __init__(self, buckets: Mapping[Zone, str], connect: Callable[[], Any]) -> None:
        self._buckets = buckets
        self._connect = connect
        self._client: Any = None

    def address(self, key: str, media_type: str, name: str) -> str:
        if key.partition("/")[0] not in PUBLIC_FOLDERS:
            raise NotPublic(f"{key} is not published: no address is given to it")
        self._client = self._client or self._connect()
        wanted = {
            "Bucket": self._buckets[zone_of(key)],
            "Key": key,
            "ResponseContentType": media_type,
            "ResponseContentDisposition": f'attachment; filename="{name}"',
        }
        try:
            return str(self._client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=VALID_S))
        except BotoCoreError as error:
            raise StoreUnavailable(
                f"S3 downloads cannot be signed: {type(error).__name__}; check the credentials"
            ) from error
