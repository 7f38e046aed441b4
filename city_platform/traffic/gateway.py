"""Between MQTT and the stream: which messages become which records, in which order they are put, and when again.

Pure: whoever moves the bytes asks it what to do. Frames go on as they are; single messages of a zone are gathered for a
moment and become the lines of one record. A message is held, and so not acknowledged, until the stream has its record;
while too much is held, `room` says to take no more, and nothing is ever dropped.

Order is kept for each zone: a put has one record of a zone at most, so that one which has to be tried again is never
overtaken by the next.
"""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from city_platform.traffic.packing import MOST_LINE_BYTES, alone, line, pack
from city_platform.traffic.stream import MOST_BYTES, MOST_ENTRIES, MOST_RECORD_BYTES, Entry, StreamUnavailable
from city_platform.traffic.telemetry import MAX_MESSAGE_READINGS
from city_platform.traffic.topics import Source

MAX_FRAME_BYTES = MOST_RECORD_BYTES - 1024  # of a message: with its key, it is a record
PACK_MS = 1000  # a message waits at most this long for others of its zone
MOST_LINES = (
    20_000 // MAX_MESSAGE_READINGS
)  # of a record: with as many readings as they may have, a frame may hold them
_MOST_TEXT = 900_000
HELD_MESSAGES = 60_000
HELD_BYTES = 64 << 20
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0

Receipt = TypeVar("Receipt")


@dataclass(slots=True)
class Packed(Generic[Receipt]):
    """A record to put, and what acknowledges the messages in it."""

    entry: Entry
    receipts: list[Receipt]
    held: int  # bytes of its messages


@dataclass(slots=True)
class _Lines(Generic[Receipt]):
    """A zone's single messages that wait for others; `first` is the first one as it came."""

    since_ms: int
    first: tuple[Source, bytes]
    texts: list[bytes] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    size: int = 0  # of the lines
    held: int = 0  # of the messages


@dataclass(slots=True)
class Counts:
    """What went through: messages taken, records and messages the stream accepted, puts that had to come again."""

    frames: int = 0
    messages: int = 0
    strange: int = 0  # of the messages, how many went as a record of their own, for the dead letters to judge
    records: int = 0
    acknowledged: int = 0
    failures: int = 0
    bytes: int = 0  # of accepted records


class Gateway(Generic[Receipt]):
    """Holds messages from when they are taken until the stream has them. `Receipt` is what acknowledges one."""

    def __init__(self, *, held_messages: int = HELD_MESSAGES, held_bytes: int = HELD_BYTES) -> None:
        self._most = held_messages
        self._most_bytes = held_bytes
        self._lines: dict[str, _Lines[Receipt]] = {}
        self._queues: dict[str, deque[Packed[Receipt]]] = {}  # by zone, those in the order of their first record
        self._putting: list[Packed[Receipt]] = []
        self._failed = 0  # puts one after the other
        self.held = 0
        self.held_bytes = 0
        self.counts = Counts()

    @property
    def room(self) -> bool:
        """Whether another message may be taken."""
        return self.held < self._most and self.held_bytes < self._most_bytes

    @property
    def empty(self) -> bool:
        """Whether nothing is held."""
        return self.held == 0

    def take(self, source: Source, payload: bytes, receipt: Receipt, now_ms: int) -> None:
        """Takes a message of that topic. Its payload is at most MAX_FRAME_BYTES."""
        if len(payload) > MAX_FRAME_BYTES:
            raise ValueError(f"a message of {len(payload):,} bytes, more than {MAX_FRAME_BYTES:,}")
        self.held += 1
        self.held_bytes += len(payload)
        if source.sensor is None:
            self.counts.frames += 1
            self._flush(source.zone)
            self._queue(source.zone, payload or alone(source, payload), [receipt], len(payload))
            return
        self.counts.messages += 1
        text = line(source, payload)
        if text is None:
            self.counts.strange += 1
            self._flush(source.zone)
            self._queue(source.zone, alone(source, payload), [receipt], len(payload))
            return
        lines = self._lines.get(source.zone)
        if lines is None:
            lines = self._lines[source.zone] = _Lines(now_ms, (source, payload))
        lines.texts.append(text)
        lines.receipts.append(receipt)
        lines.size += len(text) + 1
        lines.held += len(payload)
        if len(lines.texts) >= MOST_LINES or lines.size + MOST_LINE_BYTES > _MOST_TEXT:
            self._flush(source.zone)

    def ripen(self, now_ms: int, *, everything: bool = False) -> int | None:
        """Packs what has waited long enough, or everything where so much is held that waiting would stop the rest.

        Says when (ms) to come again; None: nothing waits.
        """
        everything = everything or 2 * self.held > self._most or 2 * self.held_bytes > self._most_bytes
        for zone in [zone for zone, lines in self._lines.items() if everything or lines.since_ms + PACK_MS <= now_ms]:
            self._flush(zone)
        return next(iter(self._lines.values())).since_ms + PACK_MS if self._lines else None

    def next_put(self) -> Sequence[Entry]:
        """What to put now, within the stream's limits; `accepted` or `failed` has to come before the next one."""
        if self._putting:
            raise RuntimeError("the last put has not been answered")
        size = 0
        for queue in self._queues.values():
            entry = queue[0].entry
            size += len(entry.key.encode()) + len(entry.data)
            if size > MOST_BYTES or len(self._putting) == MOST_ENTRIES:
                break
            self._putting.append(queue[0])
        return [packed.entry for packed in self._putting]

    def answered(self, answers: Sequence[StreamUnavailable | None]) -> list[Receipt]:
        """Takes the stream's answers to the last put. Returns what may be acknowledged now."""
        receipts: list[Receipt] = []
        for packed, answer in zip(self._putting, answers, strict=True):
            if answer is not None:
                continue
            zone = packed.entry.key
            queue = self._queues.pop(zone)
            queue.popleft()
            if queue:
                self._queues[zone] = queue  # behind the others, so that no zone waits for one that has more
            receipts += packed.receipts
            self.held -= len(packed.receipts)
            self.held_bytes -= packed.held
            self.counts.records += 1
            self.counts.bytes += len(packed.entry.data)
        self._putting = []
        self.counts.acknowledged += len(receipts)
        wrong = any(answer is not None for answer in answers)
        self.counts.failures += wrong
        # A put of which something went through is a stream that is busy, not one that is gone.
        self._failed = self._failed + 1 if wrong and not receipts else int(wrong)
        return receipts

    def failed(self) -> None:
        """The last put failed as a whole; whether the stream has it is not known, so it comes again."""
        self._putting = []
        self._failed += 1
        self.counts.failures += 1

    def pause_s(self, chance: random.Random) -> float:
        """How long to wait before the next put: twice as long after each failure, and by chance up to half of it less,
        so that gateways that failed together do not come back together."""
        if not self._failed:
            return 0.0
        longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._failed - 1, 16))
        return longest * chance.uniform(0.5, 1)

    def _flush(self, zone: str) -> None:
        lines = self._lines.pop(zone, None)
        if lines is not None:
            # A record of one line could be taken for a frame, and so for readings of others.
            data = pack(lines.texts) if len(lines.texts) > 1 else alone(*lines.first)
            self._queue(zone, data, lines.receipts, lines.held)

    def _queue(self, zone: str, data: bytes, receipts: list[Receipt], held: int) -> None:
        queue = self._queues.setdefault(zone, deque())
        queue.append(Packed(Entry(zone, data), receipts, held))
