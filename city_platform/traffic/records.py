"""A record of a Kinesis event as Lambda gives it: its name, its payload, when the stream took it."""

from collections.abc import Mapping
from typing import Any

import pybase64

_MILLI = 1000


def record_name(record: Mapping[str, Any]) -> str:
    """What names the record among all shards, or its shard alone where the event does not say."""
    return str(record.get("eventID") or record["kinesis"]["sequenceNumber"])


def payload(record: Mapping[str, Any]) -> bytes | None:
    """The record's bytes; None where they are not base64."""
    try:
        return pybase64.b64decode(record["kinesis"]["data"], validate=True)
    except (KeyError, TypeError, ValueError):
        return None


def arrival_ms(record: Mapping[str, Any]) -> int | None:
    """When the stream took the record, epoch ms; None where the event does not say."""
    try:
        arrival: float = record["kinesis"]["approximateArrivalTimestamp"] * _MILLI
        return round(arrival)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def stream_and_shard(record: Mapping[str, Any]) -> tuple[str, str]:
    """The names of the stream and the shard that the record came from; `unknown` where the event does not say."""
    stream = str(record.get("eventSourceARN", "")).rpartition("/")[2]
    shard = record_name(record).rpartition(":")[0]
    return stream or "unknown", shard or "unknown"
