"""The Lambda function that takes the traffic stream's readings to the lake, beside the one that counts them live.

Give its event source mapping large batches and a window of some minutes: every batch is a file an hour. An error is
raised, and then the batch comes again as a whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from city_platform.deployment import open_platform
from city_platform.deployment.traffic import open_registry
from city_platform.functions import home
from city_platform.traffic.archive import TrafficArchive
from city_platform.traffic.records import arrival_ms, payload, record_name
from city_platform.traffic.stream import StreamRecord


def handler(event: Mapping[str, Any], context: object) -> dict[str, list[dict[str, str]]]:  # noqa: ARG001 Lambda gives it
    """Takes a batch of the stream; when it returns, all of its valid readings are in the lake."""
    traffic_archive().file(list(stream_records(event["Records"])))
    return {"batchItemFailures": []}


@cache
def traffic_archive() -> TrafficArchive:
    """This process's archive. Raises IncompleteSettings."""
    return TrafficArchive(open_platform(home()).lake, open_registry())


def stream_records(records: Sequence[Mapping[str, Any]]) -> Iterator[StreamRecord]:
    """The records of a Kinesis event. What is none is left out: the live handler keeps it, with the reason."""
    for record in records:
        data, arrival = payload(record), arrival_ms(record)
        if data is not None and arrival is not None:
            yield StreamRecord(record_name(record), str(record["kinesis"].get("partitionKey", "")), data, arrival)
