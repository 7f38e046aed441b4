"""A batch of the stream's records to exact windows in the state: what the Lambda function does, and any other consumer.

Delivery is at least once and in any batches; what is stored is as if every reading had come exactly once. A reading
is late, ancient or in the future by when the stream took its record, so a replay decides as the first time did.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from city_platform.errors import TransientError
from city_platform.traffic.dead_letters import DeadLetters, letter
from city_platform.traffic.drift import ClockDrifts
from city_platform.traffic.frames import Decoder, Refused, refusals
from city_platform.traffic.records import arrival_ms, payload
from city_platform.traffic.registry import Registry
from city_platform.traffic.state import WINDOW_MS, Conflict, StateUnavailable, TrafficState, Window
from city_platform.traffic.telemetry import Readings, Reason, validate
from city_platform.traffic.windows import CLOSING_MS, LATENESS_MS, CityWindow, FirstOfEach, cells

READINGS_AT_ONCE = 250_000  # a batch of more is worked on piece by piece, which bounds memory
ATTEMPTS = 12  # at one zone's window against other writers
WARM_WINDOWS = 12
LATENCY_BUCKET_MS = 100
_LATENCY_BUCKETS = 600


@dataclass(slots=True)
class Outcome:
    """What became of a batch. `failed` are the sequence numbers to try again from: none, or the first one.

    `latency` counts accepted readings by the time from their measurement until they were stored: bucket i holds those
    of i * LATENCY_BUCKET_MS on, the last one all above.
    """

    failed: list[str] = field(default_factory=list)
    records: int = 0
    accepted: int = 0
    duplicates: int = 0
    late: int = 0  # accepted after their window had closed
    late_dropped: int = 0  # too late for the live windows; the lake has them
    rejected: dict[Reason, int] = field(default_factory=dict)
    written: int = 0  # windows
    conflicts: int = 0
    newest_ms: int = 0
    latency: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_LATENCY_BUCKETS, dtype=np.int64))

    def add(self, other: "Outcome") -> None:
        """Adds up the counts of another batch; what failed there is its own."""
        for name in ("records", "accepted", "duplicates", "late", "late_dropped", "written", "conflicts"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for reason, count in other.rejected.items():
            self.rejected[reason] = self.rejected.get(reason, 0) + count
        self.newest_ms = max(self.newest_ms, other.newest_ms)
        self.latency += other.latency

    def response(self) -> dict[str, list[dict[str, str]]]:
        """What Lambda's event source mapping wants to hear."""
        return {"batchItemFailures": [{"itemIdentifier": number} for number in self.failed]}


@dataclass(slots=True)
class _Share:
    """A batch's readings of one window, and which of them were counted or refused for being too many."""

    city: CityWindow
    readings: Readings
    zone: NDArray[np.int32]
    counted: NDArray[np.bool_]
    refused: NDArray[np.bool_]


class _Unfinished(Exception):
    """Some of the batch has to come again, from this record on."""

    def __init__(self, record: int) -> None:
        super().__init__(record)
        self.record = record


class TrafficHandler:
    """Handles one shard's batches, one after the other; many handlers may share a state."""

    def __init__(
        self, registry: Registry, state: TrafficState, dead_letters: DeadLetters, now_ms: Callable[[], int]
    ) -> None:
        self._registry = registry
        self._state = state
        self._dead_letters = dead_letters
        self._now_ms = now_ms
        self._first = FirstOfEach(cells(registry))
        self._drifts = ClockDrifts(registry, state)
        often = np.minimum(1.0, WINDOW_MS / 1000 / registry.interval_s)
        self._expected = np.bincount(registry.zone, often, len(registry.zones))
        self._windows: dict[int, CityWindow] = {}  # what the store holds, by start; the one used last is last

    def handle(self, event: Mapping[str, Any]) -> Outcome:
        """Takes a Kinesis event as Lambda gives it. Permanent errors of the state or the dead letters are raised."""
        records = event["Records"]
        outcome = Outcome(records=len(records))
        decoder = Decoder(self._registry)
        try:
            for place, record in enumerate(records):
                _decode(decoder, place, record)
                if decoder.count >= READINGS_AT_ONCE:
                    self._work(decoder, records, outcome)
                    decoder = Decoder(self._registry)
            self._work(decoder, records, outcome)
        except _Unfinished as unfinished:
            outcome.failed.append(str(records[unfinished.record]["kinesis"]["sequenceNumber"]))
        return outcome

    def coverage(self, now_ms: int) -> float | None:
        """The share of expected sensors that were heard in the last closed window, of zones heard lately; at most 1.

        A sensor that speaks once a minute is expected as a sixth of one. None: no closed window is warm.
        """
        closed = [city for city in self._windows.values() if _closes(city) <= now_ms]
        if not closed:
            return None
        zones = np.logical_or.reduce([city.version > 0 for city in self._windows.values()])
        expected = self._expected[zones].sum()
        last = max(closed, key=lambda city: city.start_ms)
        return min(1.0, float(last.heard[zones].sum() / expected)) if expected else None

    def _work(self, decoder: Decoder, records: Sequence[Mapping[str, Any]], outcome: Outcome) -> None:
        readings = decoder.readings()
        refused = decoder.refused
        unfinished: list[int] = []
        if readings is not None:
            wrong = validate(readings, self._registry)
            off = [wrong[reason] for reason in (Reason.FUTURE, Reason.ANCIENT) if reason in wrong]
            if off:
                self._drifts.note(readings.take(np.concatenate(off)))
            for reason, rows in wrong.items():
                refused += refusals(readings, rows, reason)
            if wrong:
                readings = readings.take(_all_but(len(readings), *wrong.values()))
            closed_for = readings.arrival_ms - readings.ts_ms // WINDOW_MS * WINDOW_MS - WINDOW_MS - CLOSING_MS
            too_late = closed_for >= LATENESS_MS
            if too_late.any():
                outcome.late_dropped += int(too_late.sum())
                self._drifts.note(readings.take(too_late))
                readings = readings.take(~too_late)
            if len(readings):
                refused += self._count(readings, outcome, unfinished)
        if refused:
            refused = _merged(refused)
            for one in refused:
                outcome.rejected[one.reason] = outcome.rejected.get(one.reason, 0) + len(one.rows or (0,))
            try:
                self._dead_letters.keep([letter(records[one.record], one.reason, one.rows) for one in refused])
            except TransientError:
                unfinished.append(min(one.record for one in refused))
        if unfinished:
            raise _Unfinished(min(unfinished))

    def _count(self, readings: Readings, outcome: Outcome, unfinished: list[int]) -> list[Refused]:
        """Counts valid readings and stores their windows; adds to `unfinished` the record to come again from."""
        shares = self._shares(readings)
        try:
            failed = self._store(shares, outcome)
        except BaseException:
            self._forget()
            raise
        if failed:
            self._forget()
            unfinished.append(min(_first_record(share, zone) for share, zone in failed))
        now = self._now_ms()
        refused: list[Refused] = []
        for share in shares:
            # What was not stored comes again, and is told of then.
            lost = np.isin(share.zone, [zone for other, zone in failed if other is share])
            share.counted &= ~lost
            share.refused &= ~lost
            ts_ms, arrived_ms = share.readings.ts_ms[share.counted], share.readings.arrival_ms[share.counted]
            if share.refused.any():
                refused += refusals(share.readings, np.flatnonzero(share.refused), Reason.TOO_MANY)
            outcome.accepted += len(ts_ms)
            outcome.duplicates += len(share.readings) - len(ts_ms) - int(share.refused.sum() + lost.sum())
            outcome.late += int((arrived_ms >= _closes(share.city)).sum())
            outcome.newest_ms = max(outcome.newest_ms, int(ts_ms.max(initial=0)))
            waited = np.clip((now - ts_ms) // LATENCY_BUCKET_MS, 0, _LATENCY_BUCKETS - 1)
            outcome.latency += np.bincount(waited, minlength=_LATENCY_BUCKETS)
        for start in list(self._windows)[:-WARM_WINDOWS]:
            del self._windows[start]
        return refused

    def _shares(self, readings: Readings) -> list[_Share]:
        window = readings.ts_ms // WINDOW_MS
        first = int(window.min())
        window -= first
        shares = []
        numbers = np.flatnonzero(np.bincount(window))
        for number in numbers.tolist():
            own = readings if len(numbers) == 1 else readings.take(window == number)
            start = (first + number) * WINDOW_MS
            city = self._windows.pop(start, None) or CityWindow(self._registry, start)
            self._windows[start] = city
            nothing = np.zeros(len(own), dtype=bool)
            shares.append(_Share(city, own, self._registry.zone[own.sensor], nothing, nothing.copy()))
        return shares

    def _store(self, shares: Sequence[_Share], outcome: Outcome) -> list[tuple[_Share, int]]:
        """Counts and writes until every zone's window is stored or failed; the zones that failed.

        Nothing is read first: a zone that is not warm is written as new, and the store answers with what it has.
        """
        turns = [(share, np.arange(len(share.readings))) for share in shares]
        failed: list[tuple[_Share, int]] = []
        for _ in range(ATTEMPTS):
            writes: list[tuple[_Share, int, Window]] = []
            for share, rows in turns:
                writes += self._changed(share, rows)
            if not writes:
                return failed
            again: dict[int, tuple[_Share, list[int]]] = {}
            answers = self._put([window for _, _, window in writes])
            for (share, zone, window), answer in zip(writes, answers, strict=True):
                if answer is None:
                    share.city.written(zone, window)
                    outcome.written += 1
                elif isinstance(answer, Conflict):
                    share.city.load(zone, answer.current)
                    again.setdefault(id(share), (share, []))[1].append(zone)
                    outcome.conflicts += 1
                else:
                    failed.append((share, zone))
            turns = [(share, np.flatnonzero(np.isin(share.zone, zones))) for share, zones in again.values()]
            if not turns:
                return failed
        return failed + [(share, zone) for share, zones in again.values() for zone in zones]

    def _put(self, windows: Sequence[Window]) -> Sequence[Conflict | StateUnavailable | None]:
        try:
            return self._state.put(windows)
        except StateUnavailable as unavailable:
            return [unavailable] * len(windows)

    def _changed(self, share: _Share, rows: NDArray[np.int64]) -> list[tuple[_Share, int, Window]]:
        """Counts the rows and gives the windows to write: of zones in which something was new."""
        whole = len(rows) == len(share.readings)
        result = share.city.count(share.readings if whole else share.readings.take(rows), self._first)
        share.counted[rows] = False
        share.refused[rows] = False
        share.counted[rows[result.rows]] = True
        share.refused[rows[result.refused]] = True
        if not len(result.rows):
            return []
        counted = rows[result.rows]
        zones = np.flatnonzero(np.bincount(share.zone[counted])).tolist()
        late = share.readings.arrival_ms[counted] >= _closes(share.city)
        windows = share.city.stored(zones, set(share.zone[counted[late]].tolist()), self._now_ms())
        return [(share, zone, window) for zone, window in zip(zones, windows, strict=True)]

    def _forget(self) -> None:
        """After a failure the warm windows may say seen of what was never stored."""
        self._windows.clear()


def _decode(decoder: Decoder, place: int, record: Mapping[str, Any]) -> None:
    data, arrival = payload(record), arrival_ms(record)
    if data is None or arrival is None:
        decoder.refused.append(Refused(place, Reason.ENCODING))
    else:
        decoder.add(place, data, arrival, str(record["kinesis"].get("partitionKey", "")))


def _merged(refused: Sequence[Refused]) -> list[Refused]:
    """One refusal for each record and reason, as a letter's id wants it."""
    merged: dict[tuple[int, Reason], Refused] = {}
    for one in refused:
        key = one.record, one.reason
        before = merged.get(key)
        rows = one.rows if before is None or one.rows is None or before.rows is None else before.rows + one.rows
        merged[key] = Refused(one.record, one.reason, rows)
    return list(merged.values())


def _closes(city: CityWindow) -> int:
    return city.start_ms + WINDOW_MS + CLOSING_MS


def _first_record(share: _Share, zone: int) -> int:
    return int(share.readings.record[share.zone == zone].min())


def _all_but(count: int, *rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    chosen = np.ones(count, dtype=bool)
    for some in rows:
        chosen[some] = False
    return chosen
