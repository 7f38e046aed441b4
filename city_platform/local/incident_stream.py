"""The change log of the SQLite store as a stream with the shape of DynamoDB Streams, and how far its readers are."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from city_platform.incidents import codec
from city_platform.incidents.stream import TTL_SERVICE
from city_platform.local.incidents import LoggedChange, SqliteIncidentRepository

SOURCE = "local:incidents/stream"


class SqliteIncidentStream:
    """One shard: records in the order of their commits, numbered without gaps that count."""

    def __init__(self, repository: SqliteIncidentRepository) -> None:
        self._repository = repository

    def read(self, reader: str, limit: int) -> Sequence[Mapping[str, Any]]:
        """At most `limit` records after what the reader has dealt with. Raises RepositoryUnavailable."""
        return [stream_record(one) for one in self._repository.changes(self._repository.checkpoint(reader), limit)]

    def dealt_with(self, reader: str, sequence: str) -> None:
        """Everything up to and with that number is done, for good. Raises RepositoryUnavailable."""
        self._repository.set_checkpoint(reader, int(sequence))

    def trim(self, readers: Sequence[str]) -> int:
        """Drops what all of these readers have dealt with; how many records that were."""
        return self._repository.forget_changes(min(self._repository.checkpoint(one) for one in readers))


def stream_record(change: LoggedChange) -> dict[str, Any]:
    """The change as a record of DynamoDB Streams with both images."""
    told: dict[str, Any] = {
        "ApproximateCreationDateTime": datetime.fromisoformat(change.at).timestamp(),
        "Keys": {"incident_id": {"S": change.incident_id}},
        # Of one length, so that text order is the order of the changes.
        "SequenceNumber": f"{change.sequence:021d}",
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    }
    if change.old is not None:
        told["OldImage"] = _image(change.old)
    if change.new is not None:
        told["NewImage"] = _image(change.new)
    # The store removes what has expired, and nothing else: as DynamoDB's time to live, it does so by itself.
    by = {"userIdentity": {"type": "Service", "principalId": TTL_SERVICE}} if change.new is None else {}
    return {
        "eventID": f"local-{change.sequence}",
        "eventName": "INSERT" if change.old is None else "REMOVE" if change.new is None else "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "eventSourceARN": SOURCE,
        "dynamodb": told,
        **by,
    }


def _image(item: codec.Item) -> dict[str, Any]:
    return {name: attribute(value) for name, value in item.items()}


def attribute(value: Any) -> dict[str, Any]:
    """A value of an item in DynamoDB's JSON."""
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int | Decimal):
        return {"N": str(value)}
    if isinstance(value, Mapping):
        return {"M": _image(value)}
    if isinstance(value, list):
        return {"L": [attribute(one) for one in value]}
    raise TypeError(f"an item holds no {type(value).__name__}")
