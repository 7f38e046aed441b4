"""What the traffic path refused, kept as it came, with the reason: nothing is dropped and nothing waits behind it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from city_platform.traffic.records import arrival_ms, record_name
from city_platform.traffic.telemetry import Reason

PREFIX = "traffic/rejected"


class DeadLetter(msgspec.Struct, frozen=True):
    """A refused record, or some of its readings (`rows`: lines of an NDJSON frame, places in a column, or all).

    `data` is the record as the event had it, base64. The id is the record's and the reason's, so a record that is
    refused again after a retry is the same letter.
    """

    id: str
    reason: Reason
    record: str
    arrival_ms: int
    partition_key: str
    rows: tuple[int, ...] | None
    data: str


def letter(record: Mapping[str, Any], reason: Reason, rows: tuple[int, ...] | None = None) -> DeadLetter:
    """The letter of an event's record, or of some of its rows."""
    kinesis = record["kinesis"]
    name = record_name(record)
    return DeadLetter(
        id=f"{name}:{reason}",
        reason=reason,
        record=name,
        arrival_ms=arrival_ms(record) or 0,
        partition_key=str(kinesis.get("partitionKey", "")),
        rows=rows,
        data=str(kinesis.get("data", "")),
    )


class DeadLetters(Protocol):
    """Where letters go. Errors: those of the store, transient ones apart."""

    def keep(self, letters: Sequence[DeadLetter]) -> None: ...


class Objects(Protocol):
    """The part of an object store that writing letters needs."""

    def put(self, key: str, data: bytes) -> None: ...


class ReadableObjects(Protocol):
    """The part of an object store that reading letters needs."""

    def get(self, key: str) -> bytes: ...

    def keys(self, prefix: str) -> Iterator[str]: ...


@dataclass(frozen=True, slots=True)
class StoredDeadLetters:
    """Letters as NDJSON objects below `traffic/rejected/reason=…/`, one for each reason and batch.

    However many records are bad, a batch costs no more writes than there are reasons.
    """

    objects: Objects

    def keep(self, letters: Sequence[DeadLetter]) -> None:
        by_reason: dict[Reason, list[DeadLetter]] = {}
        for one in letters:
            by_reason.setdefault(one.reason, []).append(one)
        for reason, some in by_reason.items():
            # The same batch again writes the same object again.
            name = some[0].record.replace(":", "-") + f"-{len(some)}"
            self.objects.put(f"{PREFIX}/reason={reason}/{name}.ndjson", msgspec.json.Encoder().encode_lines(some))


def stored_letters(objects: ReadableObjects, reason: Reason | None = None) -> Iterable[DeadLetter]:
    """Each letter once, however often batches were tried again."""
    decoder, seen = msgspec.json.Decoder(DeadLetter), set()
    for key in objects.keys(f"{PREFIX}/reason={reason}/" if reason else f"{PREFIX}/"):
        for one in decoder.decode_lines(objects.get(key)):
            if one.id not in seen:
                seen.add(one.id)
                yield one
