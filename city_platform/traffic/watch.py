"""Judges each minute of the city once, whoever watches and however often: levels, health, and the events they cause.

A minute is judged CLOSING_MS after its end and a little more, when its windows have closed; what comes later changes
windows but no judgement. First the city as a whole is judged and written (the record `ingest`), then each bucket with
its events in one commit, then the next minute. Each record is written under its version: of two who judge the same
minute one wins, and the other goes on from there; who dies is followed by whoever comes next.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from city_platform.errors import PermanentError
from city_platform.traffic import congestion, drift, health
from city_platform.traffic.congestion import MINUTE_MS, Congestion, Figures, Thresholds
from city_platform.traffic.events import outbox_event
from city_platform.traffic.free_flow import RECORD as FREE_FLOW
from city_platform.traffic.health import City, HealthOfBucket, Limits, Observed
from city_platform.traffic.maintenance import RECORD as MAINTENANCE
from city_platform.traffic.registry import Registry
from city_platform.traffic.state import BUCKETS, WINDOW_MS, Record, TrafficState, VersionConflict, Window, bucket
from city_platform.traffic.stream import shard_of
from city_platform.traffic.telling import Teller
from city_platform.traffic.windows import CLOSING_MS, Sensors, unpack_sensors

JUDGED_AFTER_MS = CLOSING_MS + 5_000  # of a minute's end: its windows have closed, and whoever wrote them has
MOST_BEHIND = 60  # minutes: after a longer time without a watcher the older ones are of no use to anybody
EVENTS_AT_ONCE = 49  # of a commit: DynamoDB takes 100 actions, an event is two, and two records are written
ATTEMPTS = 12  # at one step against other watchers


_T = TypeVar("_T")


class InvalidRecord(PermanentError):
    """A record that others write holds something else than it should; write it again."""


@dataclass(slots=True)
class Evaluation:
    """What an evaluation did. `judged_ms` is the end of the newest judged minute, 0 where none was."""

    minutes: int = 0
    events: int = 0
    conflicts: int = 0
    skipped: int = 0  # minutes that were too long ago
    judged_ms: int = 0


@dataclass(frozen=True, eq=False)
class _Part:
    """A bucket's zones, and its sensors side by side; `zone_of` is each sensor's place among the zones."""

    bucket: int
    zones: Sequence[str]
    number: NDArray[np.int32]
    zone_of: NDArray[np.int64]
    interval_ms: NDArray[np.int64]


@dataclass(eq=False)
class _Minute:
    """A minute's windows of the whole city, by bucket and start, and what was made of them."""

    end_ms: int
    windows: Mapping[int, Sequence[Sequence[tuple[Window, Sensors]]]]
    free_flow: Mapping[str, int]
    maintained: NDArray[np.int64]  # numbers of sensors
    judged: dict[int, HealthOfBucket] = field(default_factory=dict)


@dataclass(eq=False)
class _Held:
    """A bucket's two records as this process believes them to be."""

    versions: tuple[int, int]
    congestion: Congestion | None
    health: HealthOfBucket | None


class Watch:
    """Evaluates the closed windows of a state. Many may watch the same one."""

    def __init__(
        self,
        registry: Registry,
        state: TrafficState,
        free_flow_x10: NDArray[np.int64],
        teller: Teller,
        now_ms: Callable[[], int],
        thresholds: Thresholds | None = None,
        limits: Limits | None = None,
    ) -> None:
        """`free_flow_x10` by the registry's zones, tenths of km/h; the record `free_flow` says better."""
        self._registry = registry
        self._state = state
        self._posted = dict(zip(registry.zones, free_flow_x10.tolist(), strict=True))
        self._teller = teller
        self._now_ms = now_ms
        self._thresholds = thresholds or Thresholds()
        self._limits = limits or Limits()
        self._shard_of = {zone: shard_of(zone, teller.shards) for zone in registry.zones}
        self._place = np.full(len(registry), -1, dtype=np.int64)  # each sensor's place in its part
        self._parts = self._divided()
        self._known_city: tuple[int, City | None] | None = None
        self._known_minute: _Minute | None = None
        self._held: dict[int, _Held] = {}

    def evaluate(self) -> Evaluation:
        """Judges every minute that is due. Raises StateUnavailable, and VersionConflict against too many others."""
        due = (self._now_ms() - JUDGED_AFTER_MS) // MINUTE_MS * MINUTE_MS
        done = Evaluation()
        conflicts = 0
        while True:
            try:
                if not self._advance(due, done):
                    return done
                conflicts = 0
            except VersionConflict:
                self._forget()
                conflicts += 1
                done.conflicts += 1
                if conflicts == ATTEMPTS:
                    raise

    def _advance(self, due_ms: int, done: Evaluation) -> bool:
        """Finishes the newest judged minute in all buckets and begins the next one; False where none is due."""
        version, city = self._city()
        if city:
            for part in self._parts:
                self._finish(part, city, done)
            done.judged_ms = city.judged_ms
        end = city.judged_ms + MINUTE_MS if city else due_ms
        if end > due_ms:
            return False
        behind = (due_ms - end) // MINUTE_MS
        if behind > MOST_BEHIND:
            done.skipped += behind - MOST_BEHIND
            end += (behind - MOST_BEHIND) * MINUTE_MS
        minute = self._minute(end)
        zones = {name: zone for part in self._parts for name, zone in self._health(part, minute).zones.items()}
        after = health.city(city, zones, self._shard_of, self._limits, end)
        event = self._teller.city(city, after, self._now_ms())
        record = Record(health.CITY_KEY, version + 1, msgspec.json.encode(after))
        self._state.commit([record], [outbox_event(event)] if event else [])
        self._known_city = (version + 1, after)
        done.minutes += 1
        done.events += event is not None
        return True

    def _finish(self, part: _Part, city: City, done: Evaluation) -> None:
        """Judges the city's minute in a bucket, if that is not done, and tells what was not told."""
        held = self._bucket(part)
        judged = held.health is not None and held.health.judged_ms == city.judged_ms
        while True:
            if judged and held.congestion and held.health:
                levels, well = held.congestion, held.health
            else:
                minute = self._minute(city.judged_ms)
                well = self._health(part, minute)
                figures = self._figures(part, minute, well)
                levels = congestion.judge(held.congestion, city.judged_ms, figures, self._thresholds)
            now = self._now_ms()
            levels, well, told = self._teller.bucket(levels, well, part.zone_of, city, now, EVENTS_AT_ONCE)
            if judged and not told:
                return
            versions = (held.versions[0] + 1, held.versions[1] + 1)
            records = [
                Record(congestion.record_key(part.bucket), versions[0], congestion.encode(levels)),
                Record(health.record_key(part.bucket), versions[1], health.encode(well)),
            ]
            self._state.commit(records, [outbox_event(event) for event in told])
            held = self._held[part.bucket] = _Held(versions, levels, well)
            done.events += len(told)
            judged = True

    def _health(self, part: _Part, minute: _Minute) -> HealthOfBucket:
        """A bucket's health after the minute."""
        if (known := minute.judged.get(part.bucket)) is not None:
            return known
        before = self._bucket(part).health
        if before and before.judged_ms >= minute.end_ms:
            raise VersionConflict(f"somebody else has judged bucket {part.bucket} meanwhile")
        sensors = before.sensors if before else health.unheard(part.number)
        after = health.judge(
            sensors,
            minute.end_ms,
            [self._observed(windows) for windows in minute.windows[part.bucket]],
            part.interval_ms,
            follows=before is not None and before.judged_ms == minute.end_ms - MINUTE_MS,
            maintained=np.isin(part.number, minute.maintained) if len(minute.maintained) else None,
            drifting=self._drifting(part, minute.end_ms),
            limits=self._limits,
        )
        zones = before.zones if before else {}
        covered = health.coverage(zones, part.zones, part.zone_of, after, self._limits, minute.end_ms)
        found = minute.judged[part.bucket] = HealthOfBucket(minute.end_ms, covered, after)
        return found

    def _drifting(self, part: _Part, end_ms: int) -> NDArray[np.bool_] | None:
        """Of which of a bucket's sensors readings were refused for their time, again and again and lately."""
        notes = self._kept(drift.record_key(part.bucket), drift.Notes)
        if not notes:
            return None
        within = np.maximum(self._limits.drifting_intervals * part.interval_ms, self._limits.drifting_ms)
        found = drift.drifting(notes, end_ms, dict(zip(part.number.tolist(), within.tolist(), strict=True)))
        return np.isin(part.number, found)

    def _observed(self, windows: Sequence[tuple[Window, Sensors]]) -> Observed:
        """What one window of a bucket's zones holds of sensors that stand there."""
        registry = self._registry
        columns: list[list[NDArray[np.int64]]] = [[] for _ in range(6)]
        for window, sensors in windows:
            index = registry.index_of(sensors.number)
            of_zone = registry.sensors(registry.zone_index[window.zone])
            here = (index >= of_zone.start) & (index < of_zone.stop)
            latest = (sensors.ts_ms, sensors.vehicle_count, sensors.speed_x10, sensors.occupancy_x1000)
            values = (self._place[index], *latest, sensors.index_x1000)
            for column, some in zip(columns, values, strict=True):
                column.append(some if here.all() else some[here])
        nothing = np.empty(0, dtype=np.int64)
        return Observed(*(np.concatenate(column) if column else nothing for column in columns))

    def _figures(self, part: _Part, minute: _Minute, well: HealthOfBucket) -> dict[str, Figures]:
        """The sums of each of a bucket's zones over the minute."""
        sums = dict.fromkeys(part.zones, (0, 0, -1))
        for windows in minute.windows[part.bucket]:
            for window, sensors in windows:
                vehicles, pace, newest = sums[window.zone]
                newest = max(newest, int(sensors.seq.max(initial=-1)))
                sums[window.zone] = vehicles + window.vehicles, pace + window.pace, newest
        active = health.active_sensors(well.sensors)
        heard = active & (well.sensors.last >= minute.end_ms - MINUTE_MS)
        zones = len(part.zones)
        heard_of, active_of = (np.bincount(part.zone_of[some], minlength=zones).tolist() for some in (heard, active))
        figures = {}
        for at, zone in enumerate(part.zones):
            vehicles, pace, newest = sums[zone]
            free_flow = minute.free_flow.get(zone, self._posted[zone])
            figures[zone] = Figures(vehicles, pace, heard_of[at], active_of[at], free_flow, newest)
        return figures

    def _minute(self, end_ms: int) -> _Minute:
        if self._known_minute is None or self._known_minute.end_ms != end_ms:
            by_bucket: dict[int, list[list[tuple[Window, Sensors]]]] = {part.bucket: [] for part in self._parts}
            for start in range(end_ms - MINUTE_MS, end_ms, WINDOW_MS):
                for windows in by_bucket.values():
                    windows.append([])
                for window in self._state.city(start, list(by_bucket)):
                    if window.zone in self._posted:
                        by_bucket[bucket(window.zone)][-1].append((window, unpack_sensors(window)))
            until = self._kept(MAINTENANCE, dict[int, int])
            working = np.array([number for number, end in until.items() if end >= end_ms], dtype=np.int64)
            self._known_minute = _Minute(end_ms, by_bucket, self._kept(FREE_FLOW, dict[str, int]), working)
        return self._known_minute

    def _kept(self, key: str, kind: type[_T]) -> _T:
        """What a record that others write holds, nothing where there is none."""
        record = self._state.record(key)
        try:
            return msgspec.json.decode(record.body if record else b"{}", type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidRecord(f"the record {key} of the traffic state is not as it must be: {error}") from error

    def _city(self) -> tuple[int, City | None]:
        if self._known_city is None:
            record = self._state.record(health.CITY_KEY)
            known = (record.version, msgspec.json.decode(record.body, type=City)) if record else (0, None)
            self._known_city = known
        return self._known_city

    def _bucket(self, part: _Part) -> _Held:
        if (held := self._held.get(part.bucket)) is None:
            levels = self._state.record(congestion.record_key(part.bucket))
            well = self._state.record(health.record_key(part.bucket))
            held = self._held[part.bucket] = _Held(
                (levels.version if levels else 0, well.version if well else 0),
                congestion.decode(levels.body) if levels else None,
                health.of_registry(health.decode(well.body), part.zones, part.number) if well else None,
            )
        return held

    def _forget(self) -> None:
        """What is known of the store is a belief, held by the version of each write: at a conflict it is read again."""
        self._known_city = None
        self._known_minute = None
        self._held.clear()

    def _divided(self) -> Sequence[_Part]:
        registry = self._registry
        by_bucket: dict[int, list[int]] = {number: [] for number in range(BUCKETS)}
        for at, zone in enumerate(registry.zones):
            by_bucket[bucket(zone)].append(at)
        parts = []
        for number, zones in by_bucket.items():
            if not zones:
                continue
            spans = [np.arange(*registry.sensors(zone).indices(len(registry))) for zone in zones]
            place = np.concatenate(spans)
            self._place[place] = np.arange(len(place))
            zone_of = np.repeat(np.arange(len(zones)), [len(span) for span in spans])
            interval_ms = registry.interval_s[place].astype(np.int64) * 1000
            names = [registry.zones[zone] for zone in zones]
            parts.append(_Part(number, names, registry.number[place], zone_of, interval_ms))
        return parts
