"""Delivers a stream to a handler as AWS Lambda's event source mappings do, on this machine.

Batches come in order and are named done only when their handler says so. A partial answer moves the reader up to the
first record that failed. A batch that the handler cannot stand is cut in halves until the record is alone that is to
blame, and that one becomes a dead letter; the others go on.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from city_platform.errors import TransientError
from city_platform.local.incident_stream import SqliteIncidentStream

Records = Sequence[Mapping[str, Any]]


@dataclass(slots=True)
class EventSourceMapping:
    """One reader of the stream. `keep` takes a record that is given up, with the reason."""

    stream: SqliteIncidentStream
    reader: str
    handle: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    keep: Callable[[Mapping[str, Any], str], None]
    batch: int = 1_000
    attempts: int = 5
    pause: float = 0.2  # seconds, doubled at each attempt
    sleep: Callable[[float], None] = field(default=time.sleep)

    def deliver(self) -> int:
        """Delivers one batch; how many records are dealt with (0: the stream has no more).

        Raises TransientError where the world outside fails time and again: nothing is given up for that.
        """
        records = self.stream.read(self.reader, self.batch)
        return self._deliver(records) if records else 0

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


def _number(record: Mapping[str, Any]) -> str:
    return str(record["dynamodb"]["SequenceNumber"])
