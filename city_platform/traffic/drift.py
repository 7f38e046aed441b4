"""Which sensors' clocks are far off: five readings that were refused or dropped for their time, and none counted.

Such readings are in no window, so whoever handles them notes the newest five of a sensor in a record of its bucket. The
notes are what a judgement looks at, not what is counted: one that is lost comes again with the next reading.
"""

from collections.abc import Mapping
from typing import TypeAlias

import msgspec
import numpy as np

from city_platform.errors import TransientError
from city_platform.traffic.registry import Registry
from city_platform.traffic.state import Record, TrafficState, VersionConflict, bucket
from city_platform.traffic.telemetry import FUTURE_MS, Readings

OFF_MS = FUTURE_MS  # between a reading's time and the stream's, either way
NOTED = 5  # readings of a sensor that are kept
MOST_SENSORS = 300  # of a bucket: where more are off, it is not their clocks; and a record has to stay small
_AGAIN_MS = 60_000  # a sensor of which five are noted is noted again after so long
_KEPT_MS = 3_600_000  # notes that are older than this when others are written go
_ATTEMPTS = 3

Notes: TypeAlias = dict[int, list[tuple[int, int]]]  # by number: identity and arrival (epoch ms), oldest first


def record_key(of_bucket: int) -> str:
    """The record of a bucket's sensors."""
    return f"clock_drift#{of_bucket:02d}"


def decode(body: bytes) -> Notes:
    return msgspec.json.decode(body, type=Notes)


def drifting(notes: Notes, end_ms: int, within_ms: Mapping[int, int]) -> list[int]:
    """The numbers of sensors of which five notes came lately, as of then: each within so long of its newest."""
    return [
        number
        for number, noted in notes.items()
        if len(noted) == NOTED and number in within_ms and noted[0][1] >= end_ms - within_ms[number]
    ]


class ClockDrifts:
    """Takes notes of readings whose time is far off."""

    def __init__(self, registry: Registry, state: TrafficState) -> None:
        self._registry = registry
        self._state = state
        self._bucket = np.array([bucket(zone) for zone in registry.zones], dtype=np.int64)
        self._noted: Notes = {}  # what this process knows to be written

    def note(self, readings: Readings) -> None:
        """Notes those of the readings that are far off; all are of known sensors. Raises nothing that passes by itself.

        Where the state is busy the notes are lost, for the windows do not wait behind them.
        """
        readings = readings.take(np.abs(readings.arrival_ms - readings.ts_ms) > OFF_MS)
        number, of_bucket = self._registry.number[readings.sensor], self._bucket[self._registry.zone[readings.sensor]]
        columns = (number, of_bucket, readings.seq, readings.arrival_ms)
        news: dict[int, Notes] = {}
        for one, at, seq, came in zip(*(column.tolist() for column in columns), strict=True):
            known = self._noted.get(one, [])
            if len(known) < NOTED or came >= known[-1][1] + _AGAIN_MS:
                news.setdefault(at, {}).setdefault(one, []).append((seq, came))
        for at, notes in news.items():
            for _ in range(_ATTEMPTS):
                try:
                    self._write(at, notes)
                    break
                except VersionConflict:
                    continue
                except TransientError:
                    break

    def _write(self, at: int, notes: Notes) -> None:
        record = self._state.record(record_key(at))
        before = decode(record.body) if record else {}
        newest = max(came for noted in notes.values() for _, came in noted)
        merged = {one: noted for one, noted in before.items() if noted[-1][1] >= newest - _KEPT_MS}
        for one, noted in notes.items():
            if one not in merged and len(merged) >= MOST_SENSORS:
                continue
            by_identity = dict(noted) | dict(merged.get(one, []))
            merged[one] = sorted(by_identity.items(), key=lambda note: (note[1], note[0]))[-NOTED:]
        if merged != before:
            body = msgspec.json.encode(merged)
            self._state.commit([Record(record_key(at), record.version + 1 if record else 1, body)])
        self._noted |= {one: merged.get(one, noted) for one, noted in notes.items()}
