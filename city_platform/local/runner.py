"""Delivers a stream to a handler as AWS Lambda's event source mappings do, on this machine.

Batches come in order and are named done only when their handler says so. A partial answer moves the reader up to the
first record that failed. A batch that the handler cannot stand is cut in halves until the record is alone that is to
blame, and that one becomes a dead letter; the others go on. A batch is bounded in records and in bytes.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from city_platform.errors import TransientError

Records = Sequence[Mapping[str, Any]]
MOST_BYTES = 6 << 20  # of an event, as Lambda has it


class Shard(Protocol):
    """An ordered stream, or one shard of it, and how far its readers are. Errors: those of its store."""

    def read(self, reader: str, limit: int) -> Records:
        """At most `limit` records after what the reader has dealt with, as Lambda's events have them."""
        ...

    def dealt_with(self, reader: str, sequence: str) -> None:
        """Everything up to and with that number is done, for good."""
        ...

    def trim(self, readers: Sequence[str]) -> int:
        """Drops what all of these readers are done with; how many records that were."""
        ...


@dataclass(slots=True)
class EventSourceMapping:
    """One reader of a shard. `keep` takes a record that is given up, with the reason."""

    stream: Shard
    reader: str
    handle: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    keep: Callable[[Mapping[str, Any], str], None]
    batch: int = 1_000
    most_bytes: int = MOST_BYTES
    attempts: int = 5
    pause: float = 0.2  # seconds, doubled at each attempt
    sleep: Callable[[float], object] = field(default=time.sleep)

    def deliver(self) -> int:
        """Delivers one batch; how many records are dealt with (0: the stream has no more).

        Raises TransientError where the world outside fails time and again: nothing is given up for that.
        """
        records = self.stream.read(self.reader, self.batch)
        return self._deliver(_within(records, self.most_bytes)) if records else 0

    def _deliver(self, records: Records) -> int:
        """Deals with all of them, in order."""
        done = attempt = 0
        while done < len(records):
            try:
                failed = self._failed(records[done:])
            except TransientError:
                attempt += 1
                if attempt == self.attempts:
                    raise
                self.sleep(self.pause * 2**attempt)
                continue
            except Exception as error:  # noqa: BLE001 -- whatever it is, one record must not stop the stream
                return done + self._divided(records[done:], f"{type(error).__name__}: {error}")
            if failed > 0:
                attempt = 0  # that is progress
                done += failed
                self.stream.dealt_with(self.reader, _number(records[done - 1]))
            if done < len(records):
                attempt += 1
                if attempt == self.attempts:
                    self._give_up(records[done], f"failed {self.attempts} times")
                    done, attempt = done + 1, 0
                else:
                    self.sleep(self.pause * 2**attempt)
        return done

    def _failed(self, records: Records) -> int:
        """The place of the first record that failed; their number where none did."""
        answer = self.handle({"Records": records})
        names = {one["itemIdentifier"] for one in answer.get("batchItemFailures", ())}
        if not names:
            return len(records)
        places = [place for place, one in enumerate(records) if _number(one) in names]
        # As Lambda has it: an answer that names none of the records fails them all.
        return min(places, default=0)

    def _divided(self, records: Records, reason: str) -> int:
        if len(records) == 1:
            self._give_up(records[0], reason)
            return 1
        middle = len(records) // 2
        return self._deliver(records[:middle]) + self._deliver(records[middle:])

    def _give_up(self, record: Mapping[str, Any], reason: str) -> None:
        self.keep(record, reason)
        self.stream.dealt_with(self.reader, _number(record))


def _within(records: Records, most_bytes: int) -> Records:
    """As many records from the first one on as an event holds; one at least."""
    size = 0
    for place, record in enumerate(records):
        size += _size(record)
        if place and size > most_bytes:
            return records[:place]
    return records


def _size(record: Mapping[str, Any]) -> int:
    """About its bytes in an event. What else a record of Kinesis has is small beside its data."""
    if "kinesis" in record:
        return len(record["kinesis"]["data"])
    return len(msgspec.json.encode(record))


def _number(record: Mapping[str, Any]) -> str:
    return str(record["kinesis"]["sequenceNumber"] if "kinesis" in record else record["dynamodb"]["SequenceNumber"])
