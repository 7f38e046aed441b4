"""Changes of incidents as DynamoDB Streams tells of them, made flat: one row a change, without contact data.

A record has the shape of a DynamoDB stream record (new and old image in DynamoDB's JSON), delivered as such or inside
a Kinesis record. The columns wanted are picked out of it, and typed and checked all at once by msgspec's compiled
converter; what does not fit is poison, with the place and the reason, and never the value.

A change's name is the incident's id, its version and what happened, so the same change has one name however often and
by whichever way it comes.
"""

import binascii
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from city_platform.errors import PermanentError
from city_platform.incidents.model import Channel, Resolution, Severity, Status, Visibility

ROW_SCHEMA = 1
TTL_SERVICE = "dynamodb.amazonaws.com"  # who removes what has expired
_SECONDS_LIMIT = 100_000_000_000  # a time in seconds stays below, one in milliseconds is above (1973), and so on
_AGE_LIMIT = timedelta(days=36_500)

Moment = Annotated[datetime, Meta(tz=True)]


class Row(Struct, frozen=True, gc=False, array_like=True):
    """One change of one incident, flat. `old_…` is the value before it; absent for a new incident.

    In JSON it is an array in the order of its fields, which is half the time and the size of an object.
    """

    schema_version: int
    event_id: str
    event: Literal["INSERT", "MODIFY", "REMOVE"]
    changed_at: Moment  # UTC; when the incident changed, or when the store removed it
    incident_id: Annotated[str, Meta(min_length=26, max_length=26)]
    public_ref: str
    version: Annotated[int, Meta(ge=1)]
    title: str
    category: str
    department: str
    severity: Severity
    old_severity: Severity | None
    status: Status
    old_status: Status | None
    resolution: Resolution | None
    region: str
    district: str
    lat: float | None
    long: float | None
    reported_at: Moment
    updated_at: Moment
    occurred_at: Moment | None
    expected_at: Moment | None
    closed_at: Moment | None
    channel: Channel
    visibility: Visibility
    reporter: str | None  # a pseudonym
    assigned: bool
    duplicate_of: str | None
    supporters: int
    media: int
    expired: bool  # removed because its time had come
    sequence: str | None  # its number in the stream that brought it

    @property
    def day(self) -> str:
        """The partition it belongs to: the day (UTC) of its change."""
        return self.changed_at.astimezone(UTC).date().isoformat()


class PoisonRecord(PermanentError):
    """A record that will never be a row; the reason holds no value of it."""


def flat_row(record: Mapping[str, Any], pseudonym: Callable[[str], str]) -> Row:
    """The row of one change; `pseudonym` replaces the reporter's subject. Raises PoisonRecord."""
    try:
        return _row(record, pseudonym)
    except KeyError as error:
        raise PoisonRecord(f"{error.args[0]} is missing") from None
    except msgspec.ValidationError as error:
        raise PoisonRecord(_without_value(str(error))) from None
    except (TypeError, ValueError, AttributeError, OverflowError):
        # Something is a number or a list where an image or an attribute should be.
        raise PoisonRecord("this is no record of a change in DynamoDB's JSON") from None


def _row(record: Mapping[str, Any], pseudonym: Callable[[str], str]) -> Row:
    event, told = record["eventName"], record["dynamodb"]
    old: Mapping[str, Any] = {} if event == "INSERT" else told["OldImage"]
    image: Mapping[str, Any] = old if event == "REMOVE" else told["NewImage"]
    incident_id, version, at = image["incident_id"]["S"], image["version"]["N"], image["updated_at"]["S"]
    expired = False
    if event == "REMOVE":
        at = _moment(float(told["ApproximateCreationDateTime"]))
        expired = (record.get("userIdentity") or {}).get("principalId") == TTL_SERVICE
    elif event == "MODIFY" and int(old["version"]["N"]) >= int(version):
        # Such a change has no name of its own, and would be taken for the one before it.
        raise PoisonRecord("the incident was changed without raising its version")
    flat = (
        ROW_SCHEMA,
        f"{incident_id}.{version}.{event}",
        event,
        at,
        incident_id,
        image["public_ref"]["S"],
        version,
        image["title"]["S"],
        image["category"]["S"],
        image["department"]["S"],
        image["severity"]["S"],
        old["severity"]["S"] if old else None,
        image["status"]["S"],
        old["status"]["S"] if old else None,
        image["resolution"]["S"] if "resolution" in image else None,
        image["region"]["S"],
        image["district"]["S"],
        image["lat"]["N"] if "lat" in image else None,
        image["long"]["N"] if "long" in image else None,
        image["reported_at"]["S"],
        image["updated_at"]["S"],
        image["occurred_at"]["S"] if "occurred_at" in image else None,
        image["expected_at"]["S"] if "expected_at" in image else None,
        image["closed_at"]["S"] if "closed_at" in image else None,
        image["channel"]["S"],
        image["visibility"]["S"],
        pseudonym(image["reported_by"]["S"]) if "reported_by" in image else None,
        "assigned_to" in image,
        image["duplicate_of"]["S"] if "duplicate_of" in image else None,
        image["supporters"]["N"],
        len(image["media"]["L"]) if "media" in image else 0,
        expired,
        told.get("SequenceNumber"),
    )
    # Not strict, because DynamoDB's JSON writes numbers as text.
    return msgspec.convert(flat, Row, strict=False)


def still_there(record: Mapping[str, Any]) -> tuple[int, int]:
    """How many said that a closed incident is still there, before the change and after it. Raises PoisonRecord.

    Not of the row: the lake keeps what became of an incident, and this only calls for somebody to look again.
    """
    try:
        before, after = (
            int((record["dynamodb"].get(image) or {}).get("still_there", {"N": "0"})["N"])
            for image in ("OldImage", "NewImage")
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise PoisonRecord("still_there is no number in DynamoDB's JSON") from None
    return before, after


@dataclass(frozen=True, slots=True)
class Delivered:
    """One record as an event brought it: the number to name it by in a partial answer, and the record or what is wrong.

    `raw` is what was delivered, to be kept as it came where it is poison.
    """

    identifier: str
    raw: Mapping[str, Any]
    record: Mapping[str, Any] | None
    problem: str = ""


def delivered(event: object) -> Iterator[Delivered]:
    """The records of an event of DynamoDB Streams or of Kinesis, in their order; what cannot be read among them.

    Raises PoisonRecord where the event as a whole is of neither kind.
    """
    records = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(records, Sequence) or not all(isinstance(one, Mapping) for one in records):
        raise PoisonRecord("the event holds no list of records")
    for raw in records:
        if "kinesis" in raw:
            yield _of_kinesis(raw)
        else:
            told = raw.get("dynamodb")
            sequence = told.get("SequenceNumber") if isinstance(told, Mapping) else None
            yield Delivered(str(sequence or raw.get("eventID") or ""), raw, raw)


def _of_kinesis(raw: Mapping[str, Any]) -> Delivered:
    envelope = raw["kinesis"] if isinstance(raw["kinesis"], Mapping) else {}
    sequence = str(envelope.get("sequenceNumber") or "")
    try:
        record = msgspec.json.decode(b64decode(envelope.get("data", ""), validate=True))
    except (msgspec.DecodeError, binascii.Error, TypeError, ValueError):
        return Delivered(sequence, raw, None, "the data of the Kinesis record are no JSON in base64")
    told = record.get("dynamodb") if isinstance(record, dict) else None
    if not isinstance(told, dict):
        return Delivered(sequence, raw, None, "the data of the Kinesis record are no change of a table")
    told.setdefault("SequenceNumber", sequence)
    return Delivered(sequence, raw, record)


def _moment(number: float) -> datetime:
    """An epoch in seconds, or, as Kinesis has it, in milliseconds or microseconds. Raises PoisonRecord."""
    while number > _SECONDS_LIMIT:
        number /= 1000
    if not 0 < number < _AGE_LIMIT.total_seconds():
        raise PoisonRecord("the time of the removal cannot be: $.dynamodb.ApproximateCreationDateTime")
    return datetime.fromtimestamp(number, UTC)


def _without_value(message: str) -> str:
    """msgspec quotes a word it does not know: what was expected and the column say enough."""
    what, _, place = message.rpartition(" - at ")
    position = place.strip("`").removeprefix("$[").removesuffix("]")
    column = Row.__struct_fields__[int(position)] if position.isdecimal() else "the record"
    return f"{column}: {what.split(chr(34), 1)[0].split(chr(39), 1)[0].strip()}"
