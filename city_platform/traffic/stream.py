"""The stream between the gateways and whoever reads: ordered shards of records, delivered at least once.

Shaped like Kinesis Data Streams, with its limits, so that what fits here fits there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from city_platform.errors import PermanentError, TransientError

MOST_ENTRIES = 500  # of one put
MOST_BYTES = 5 << 20  # of one put, keys included
MOST_RECORD_BYTES = 1 << 20  # of one entry, key included


class StreamUnavailable(TransientError):
    """The stream did not answer, or is busy: the same again later."""


class StreamRefused(PermanentError):
    """The stream will not take this; its name, its rights or the entry are wrong."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is put: entries of one key come out in the order they went in. `data` is not empty."""

    key: str
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """An entry as the stream has it. `sequence` grows within a shard; compare by `order`, not as text."""

    sequence: str
    key: str
    data: bytes
    arrival_ms: int

    @property
    def order(self) -> int:
        return int(self.sequence)


class EventStream(Protocol):
    """Errors: StreamUnavailable, StreamRefused."""

    def put(self, entries: Sequence[Entry]) -> Sequence[StreamUnavailable | None]:
        """Puts entries within the limits above; says for each: None accepted for good, or why to try it again.

        One that is to be tried again may have been accepted all the same. Raises ValueError beyond a limit.
        """
        ...

    def shards(self) -> Sequence[str]:
        """The names of the shards."""
        ...

    def read(self, shard: str, after: str | None, limit: int) -> Sequence[StreamRecord]:
        """At most `limit` records after a sequence number (None: from the oldest kept), in order; none: at once."""
        ...
