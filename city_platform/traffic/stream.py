"""The stream between the gateways and whoever reads: ordered shards of records, delivered at least once.

Shaped like Kinesis Data Streams, with its limits, so that what fits here fits there.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from city_platform.errors import PermanentError, TransientError

_HASH_BITS = 128  # of MD5
MOST_ENTRIES = 500  # of one put
MOST_BYTES = 5 << 20  # of one put, keys included
MOST_RECORD_BYTES = 1 << 20  # of one entry, key included
MOST_KEY_CHARACTERS = 256
MOST_READ = 10_000  # records of one read
MOST_READ_BYTES = 10 << 20  # of one read, but for a single record


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
        """At most `limit` records after a sequence number (None: from the oldest kept), in order; none: at once.

        Fewer than there are where they would be more than MOST_READ_BYTES.
        """
        ...


def check_limits(entries: Sequence[Entry]) -> None:
    """Raises ValueError where entries are beyond what one put takes; it names all that is wrong."""
    wrong = []
    if len(entries) > MOST_ENTRIES:
        wrong.append(f"{len(entries)} entries, more than {MOST_ENTRIES}")
    sizes = [len(entry.key.encode()) + len(entry.data) for entry in entries]
    if sum(sizes) > MOST_BYTES:
        wrong.append(f"{sum(sizes):,} bytes, more than {MOST_BYTES:,}")
    for place, (entry, size) in enumerate(zip(entries, sizes, strict=True)):
        if size > MOST_RECORD_BYTES:
            wrong.append(f"entry {place} of {size:,} bytes, more than {MOST_RECORD_BYTES:,}")
        if not entry.data:
            wrong.append(f"entry {place} without data")
        if not 1 <= len(entry.key) <= MOST_KEY_CHARACTERS:
            wrong.append(f"entry {place} with a key of {len(entry.key)} characters, not 1 to {MOST_KEY_CHARACTERS}")
    if wrong:
        raise ValueError(f"the stream takes no put of {'; '.join(wrong)}")


def shard_of(key: str, shards: int) -> int:
    """The number of the shard whose equal share of the MD5's range the key's falls into, as Kinesis makes them."""
    digest = hashlib.md5(key.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest) * shards >> _HASH_BITS
