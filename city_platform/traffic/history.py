"""A zone's history, joined of the state and the lake: an hour from the lake exactly when it was corrected there.

The state keeps windows for eight days and has no readings that came later than a minute; the lake has each hour whole,
some time after its end, and beside its windows one row of their sums a zone. Which of the three an hour comes from is
decided once, for the whole hour and before anything is read, so at the boundaries there is neither a gap nor an
overlap, whatever is published meanwhile.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Protocol
from zoneinfo import ZoneInfo

import msgspec

from city_platform.traffic.congestion import MINUTE_MS, Figures
from city_platform.traffic.hour_sums import HOUR_MS, HourSums, LevelMinutes, Sums, level_minutes
from city_platform.traffic.state import KEEP_MS, WINDOW_MS, TrafficState, Window

MOST_STEPS = 1_500
# A corrected hour is made again for late readings, 36 hours after its end at the latest (layers/exported.py). Until
# then its sums count only where they are of the newest version; asking that of every hour of a month would take longer
# than an answer may.
SETTLED_MS = 48 * HOUR_MS


class Resolution(StrEnum):
    """How long a history's steps are; hours are of UTC, days of the city's calendar, be they of 23 hours or 25."""

    TEN_SECONDS = "10s"
    MINUTE = "60s"
    FIVE_MINUTES = "300s"
    QUARTER = "900s"
    HOUR = "hour"
    DAY = "day"

    @property
    def step_ms(self) -> int:
        """How long a step is; of a day, how long most are."""
        return _STEPS_MS[self]

    @property
    def longest(self) -> timedelta:
        """How much time one question may span: of windows a day, because the state has a key for each."""
        return {Resolution.HOUR: timedelta(days=62), Resolution.DAY: timedelta(days=184)}.get(self, timedelta(days=1))


_STEPS_MS = {
    Resolution.TEN_SECONDS: WINDOW_MS,
    Resolution.MINUTE: MINUTE_MS,
    Resolution.FIVE_MINUTES: 5 * MINUTE_MS,
    Resolution.QUARTER: 15 * MINUTE_MS,
    Resolution.HOUR: HOUR_MS,
    Resolution.DAY: 24 * HOUR_MS,
}


class Source(StrEnum):
    """Where an hour was read; a day may be of both."""

    LAKE = "lake"
    STATE = "state"
    GONE = "gone"  # the state has forgotten it, and the lake never had it
    MIXED = "mixed"  # a day of which some hours are not corrected yet


class CorrectedHour(Protocol):
    """One hour as it was published: the same one at every question, whatever is published later."""

    @property
    def revision(self) -> str:
        """The version's name."""
        ...

    def windows(self, zone: str) -> Sequence[Sums]:
        """A zone's windows of the hour, in order. Raises StoreUnavailable."""
        ...


class SummedDay(Protocol):
    """The sums of one day's hours as they were published."""

    @property
    def revisions(self) -> Mapping[int, str]:
        """By their starts, the hours of all zones that it has, and the version of each that was summed."""
        ...

    def hours(self, zone: str) -> Mapping[int, HourSums]:
        """The zone's hours in which anything was heard, by their starts. Raises StoreUnavailable."""
        ...


class CorrectedHours(Protocol):
    """The hours that the lake has corrected, and their sums. Both raise StoreUnavailable."""

    def published(self, start_ms: int) -> CorrectedHour | None:
        """The hour that starts then (UTC), or None while it was not corrected."""
        ...

    def summed(self, start_ms: int) -> SummedDay | None:
        """The day of UTC that starts then, or None where no hour of it was summed."""
        ...


class Step(msgspec.Struct, frozen=True):
    """One step's windows together; of `windows` something was heard. `figures.coverage` is of the whole step, as far
    as it lies in the range and in the past.

    `minutes` are those of each level, of steps of an hour or a day; `revision` is the corrected hour's version, by
    which its figures are traced to their readings; None of a day and of what the lake does not have.
    """

    start_ms: int
    end_ms: int
    source: Source
    windows: int
    readings: int
    figures: Figures
    occupancy: float | None
    minutes: LevelMinutes | None = None
    revision: str | None = None


class History(msgspec.Struct, frozen=True):
    """Steps in order, without those of which nothing is kept; `sources` says of each hour's start where it was read."""

    zone: str
    start_ms: int
    end_ms: int
    resolution: Resolution
    free_flow_x10: int
    steps: Sequence[Step]
    sources: Mapping[int, Source]


@dataclass(frozen=True, slots=True)
class Road:
    """What a zone's figures are measured by: free flow, and how many sensors are heard in ten seconds when all work."""

    free_flow_x10: int
    active: int


def faults(start_ms: int, end_ms: int, resolution: Resolution) -> Mapping[str, str]:
    """What is wrong with a range, by the name of what is: `from`, `to` or `resolution`."""
    longest = resolution.longest // timedelta(milliseconds=1)
    if end_ms <= start_ms:
        return {"to": "the range must end after it starts"}
    if end_ms - start_ms > longest:
        by = {Resolution.HOUR: "by days or for a shorter time", Resolution.DAY: "for a shorter time"}
        remedy = by.get(resolution, "by hours, or day by day")
        return {"from": f"in steps of {resolution} the range may last {longest // HOUR_MS} hours; ask {remedy}"}
    if (end_ms - start_ms) // resolution.step_ms > MOST_STEPS:
        return {"resolution": f"this is more than {MOST_STEPS:,} steps: ask for longer steps or a shorter range"}
    return {}


def read_history(
    zone: str,
    start_ms: int,
    end_ms: int,
    resolution: Resolution,
    *,
    state: TrafficState | None,
    hours: CorrectedHours,
    now_ms: int,
    road: Road,
    timezone: ZoneInfo,
) -> History:
    """The zone's windows that start in [start_ms, end_ms), by steps aligned to the epoch or to midnights in `timezone`.

    The range is one that `faults` finds nothing wrong with; ValueError otherwise.
    """
    if wrong := faults(start_ms, end_ms, resolution):
        raise ValueError("; ".join(f"{name}: {said}" for name, said in wrong.items()))
    calendar = _Calendar(resolution, timezone)
    pieces = _pieces(start_ms, end_ms, calendar)
    decided = _decided({piece.hour: piece.whole for piece in pieces}, state, hours, now_ms)
    days: dict[int, Mapping[int, HourSums]] = {}
    parts: list[_Part] = []
    for piece in pieces:
        chosen = decided[piece.hour]
        part = _Part(piece.step, chosen.source, chosen.revision)
        if chosen.day is not None:
            start = piece.hour // _DAY_MS * _DAY_MS
            if start not in days:
                days[start] = chosen.day.hours(zone)
            if (summed := days[start].get(piece.hour)) is not None:
                part.sums, part.minutes = [summed.sums], summed.minutes
        elif chosen.corrected is not None:
            part.sums = [one for one in chosen.corrected.windows(zone) if piece.first <= one.start_ms < piece.last]
        elif chosen.source is Source.STATE and state is not None:
            part.sums = [_sums(one) for one in state.windows(zone, piece.first, piece.last)]
        if part.minutes is None and resolution in _SUMMED:
            past = min(piece.last, now_ms)
            part.minutes = level_minutes(part.sums, piece.first, past, road.free_flow_x10, road.active)
        parts.append(part)
    return History(
        zone=zone,
        start_ms=start_ms,
        end_ms=end_ms,
        resolution=resolution,
        free_flow_x10=road.free_flow_x10,
        steps=list(_steps(parts, calendar, (start_ms, min(end_ms, max(now_ms, start_ms))), road)),
        sources={hour: one.source for hour, one in decided.items()},
    )


_DAY_MS = 24 * HOUR_MS  # of UTC
_SUMMED = frozenset({Resolution.HOUR, Resolution.DAY})


@dataclass(frozen=True, slots=True)
class _Calendar:
    """Where steps begin and end."""

    resolution: Resolution
    timezone: ZoneInfo

    def step(self, at_ms: int) -> tuple[int, int]:
        """From when to before when the step lasts that a moment lies in."""
        if self.resolution is not Resolution.DAY:
            length = self.resolution.step_ms
            start = at_ms // length * length
            return start, start + length
        day = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self.timezone).date()
        first, last = (datetime.combine(one, time(), self.timezone) for one in (day, day + timedelta(days=1)))
        return int(first.timestamp() * 1000), int(last.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class _Piece:
    """What of one hour belongs to one step of an hour or more; of shorter steps, the hour's part of the range."""

    hour: int
    first: int
    last: int
    step: int | None  # the step's start; None where steps are shorter and the windows say to which they belong

    @property
    def whole(self) -> bool:
        return self.step is not None and (self.first, self.last) == (self.hour, self.hour + HOUR_MS)


def _pieces(start_ms: int, end_ms: int, calendar: _Calendar) -> list[_Piece]:
    found = []
    for hour in range(start_ms // HOUR_MS * HOUR_MS, end_ms, HOUR_MS):
        first, last = max(hour, start_ms), min(hour + HOUR_MS, end_ms)
        if calendar.resolution not in _SUMMED:
            found.append(_Piece(hour, first, last, None))
            continue
        # Where the city's clock is not whole hours from UTC, midnight lies within one.
        while first < last:
            step, until = calendar.step(first)
            found.append(_Piece(hour, first, min(last, until), step))
            first = min(last, until)
    return found


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Where an hour is read."""

    source: Source
    revision: str | None = None
    day: SummedDay | None = None
    corrected: CorrectedHour | None = None


def _decided(
    wanted: Mapping[int, bool], state: TrafficState | None, hours: CorrectedHours, now_ms: int
) -> Mapping[int, _Chosen]:
    """Of each hour where it is read; `wanted` says whether its sums would do."""
    days: dict[int, SummedDay | None] = {}
    chosen: dict[int, _Chosen] = {}
    for hour, sums_do in wanted.items():
        day, revision = None, None
        if sums_do:
            start = hour // _DAY_MS * _DAY_MS
            if start not in days:
                days[start] = hours.summed(start)
            day = days[start]
            revision = None if day is None else day.revisions.get(hour)
        if revision is not None and hour + HOUR_MS + SETTLED_MS <= now_ms:
            chosen[hour] = _Chosen(Source.LAKE, revision, day)
            continue
        published = hours.published(hour)
        if published is not None and published.revision == revision:
            chosen[hour] = _Chosen(Source.LAKE, revision, day)
        elif published is not None:
            chosen[hour] = _Chosen(Source.LAKE, published.revision, corrected=published)
        else:
            gone = state is None or hour + HOUR_MS + KEEP_MS <= now_ms
            chosen[hour] = _Chosen(Source.GONE if gone else Source.STATE)
    return chosen


@dataclass(slots=True)
class _Part:
    """What was read of one hour for one step, or for the steps within it."""

    step: int | None
    source: Source
    revision: str | None
    sums: Sequence[Sums] = ()
    minutes: LevelMinutes | None = None


def _sums(window: Window) -> Sums:
    return Sums(
        start_ms=window.start_ms,
        windows=1,
        readings=window.readings,
        vehicles=window.vehicles,
        pace=window.pace,
        occupancy=window.occupancy,
        occupancy_readings=window.occupancy_readings,
        active=window.active,
    )


def _steps(parts: Iterable[_Part], calendar: _Calendar, span: tuple[int, int], road: Road) -> Iterator[Step]:
    together: dict[int, list[tuple[_Part, Sequence[Sums]]]] = {}
    for part in parts:
        if part.step is not None:
            together.setdefault(part.step, []).append((part, part.sums))
            continue
        for one in part.sums:
            together.setdefault(calendar.step(one.start_ms)[0], []).append((part, [one]))
    for start in sorted(together):
        if any(sums for _, sums in together[start]):
            yield _step(calendar.step(start), together[start], calendar.resolution, span, road)


def _step(
    lasts: tuple[int, int],
    parts: Sequence[tuple[_Part, Sequence[Sums]]],
    resolution: Resolution,
    span: tuple[int, int],
    road: Road,
) -> Step:
    sums = [one for _, some in parts for one in some]
    sources = {part.source for part, some in parts if some}
    revisions = {part.revision for part, _ in parts}
    measured = sum(one.occupancy_readings for one in sums)
    first, last = max(lasts[0], span[0]), min(lasts[1], span[1])
    # A window counts by its start: of one that has just begun the sensors may have been heard.
    possible = max(1, -(-last // WINDOW_MS) - -(-first // WINDOW_MS))
    summed = resolution in _SUMMED
    return Step(
        start_ms=lasts[0],
        end_ms=lasts[1],
        source=sources.pop() if len(sources) == 1 else Source.MIXED,
        windows=sum(one.windows for one in sums),
        readings=sum(one.readings for one in sums),
        figures=Figures(
            vehicles=sum(one.vehicles for one in sums),
            pace=sum(one.pace for one in sums),
            heard=sum(one.active for one in sums),
            active=road.active * possible,
            free_flow_x10=road.free_flow_x10,
        ),
        occupancy=sum(one.occupancy for one in sums) / measured / 1000 if measured else None,
        minutes=sum((part.minutes for part, _ in parts if part.minutes), LevelMinutes()) if summed else None,
        revision=revisions.pop() if resolution is not Resolution.DAY and len(revisions) == 1 else None,
    )
