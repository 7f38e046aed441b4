"""Rows on their way to the lake: one object a day and delivery, each announced by a job of the export's queue.

A segment is JSON lines under a name made of its content, so a delivery that comes again writes the same object.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import msgspec

from city_platform.errors import PermanentError
from city_platform.incidents.stream import Row
from city_platform.ports import ObjectStore

PREFIX = "exports/incidents/pending"
_DIGITS = 32  # of the SHA-256 in a name


class UnreadableSegment(PermanentError):
    """A segment is not what this version of the platform writes."""


class UnreadableJob(PermanentError):
    """A message of the export's queue is no job."""


class Job(msgspec.Struct, frozen=True):
    """A segment to export: where it is, the day of its rows, how many, and its size in bytes."""

    segment: str
    day: str
    rows: int
    bytes: int

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises UnreadableJob."""
        try:
            job = msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as error:
            raise UnreadableJob("this message is no job of the incident export") from error
        if not job.segment.startswith(f"{PREFIX}/{job.day}/"):
            raise UnreadableJob("this job names an object that is no segment of its day")
        return job


@dataclass(frozen=True, slots=True)
class Segments:
    """Writes, reads and removes segments. Errors: the object store's."""

    store: ObjectStore

    def write(self, rows: Iterable[Row]) -> Sequence[Job]:
        """One segment for each day among the rows."""
        days: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            days[row.day].append(row)
        jobs = []
        encoder = msgspec.json.Encoder()
        for day in sorted(days):
            data = encoder.encode_lines(days[day])
            key = f"{PREFIX}/{day}/{hashlib.sha256(data).hexdigest()[:_DIGITS]}.jsonl"
            self.store.put(key, data)
            jobs.append(Job(key, day, len(days[day]), len(data)))
        return jobs

    def read(self, key: str) -> Sequence[Row]:
        """Raises UnreadableSegment, ObjectNotFound."""
        try:
            return msgspec.json.Decoder(Row).decode_lines(self.store.get(key))
        except msgspec.MsgspecError as error:
            raise UnreadableSegment(f"{key} holds no rows of incidents") from error

    def remove(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.store.delete(key)
