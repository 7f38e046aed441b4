"""A zone's history, joined of the state and the lake: an hour from the lake exactly when it was corrected there.

The state keeps windows for eight days and has no readings that came later than a minute; the lake has each hour whole,
some time after its end. Which of the two an hour comes from is decided once, for the whole hour and before anything is
read, so at the boundary there is neither a gap nor an overlap, whatever is published meanwhile.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from city_platform.traffic.congestion import Figures
from city_platform.traffic.state import KEEP_MS, TrafficState, Window

HOUR_MS = 3_600_000
LONGEST_MS = 24 * HOUR_MS  # of which the state may have to look up 8,640 windows by their keys
MOST_STEPS = 1_500
STEPS_MS = (10_000, 60_000, 300_000, 900_000, HOUR_MS)


class Source(StrEnum):
    """Where an hour was read."""

    LAKE = "lake"
    STATE = "state"
    GONE = "gone"  # the state has forgotten it, and the lake never had it


class Sums(msgspec.Struct, frozen=True):
    """What a window's history needs of it; both sources count alike (see state.Window)."""

    start_ms: int
    readings: int
    vehicles: int
    pace: int
    occupancy: int
    occupancy_readings: int
    active: int


class CorrectedHour(Protocol):
    """One hour as it was published: the same one at every question, whatever is published later."""

    @property
    def version(self) -> str:
        """The lake's name for exactly these windows, by which they are traced to their readings."""
        ...

    def windows(self, zone: str) -> Sequence[Sums]:
        """A zone's windows of the hour, in order. Raises StoreUnavailable."""
        ...


class CorrectedHours(Protocol):
    """The hours that the lake has corrected."""

    def published(self, start_ms: int) -> CorrectedHour | None:
        """The hour that starts then (UTC), or None while it was not corrected. Raises StoreUnavailable."""
        ...


class Step(msgspec.Struct, frozen=True):
    """The windows of one step together; of `windows` something was heard."""

    start_ms: int
    source: Source
    windows: int
    readings: int
    figures: Figures
    occupancy: float | None


class History(msgspec.Struct, frozen=True):
    """Steps in order, without those of which nothing is kept.

    `sources` says of each hour's start where it was read, `versions` of those of the lake in which version.
    """

    zone: str
    start_ms: int
    end_ms: int
    step_ms: int
    free_flow_x10: int
    steps: Sequence[Step]
    sources: Mapping[int, Source]
    versions: Mapping[int, str]


def faults(start_ms: int, end_ms: int, step_ms: int) -> Mapping[str, str]:
    """What is wrong with a range, by the name of what is: `from`, `to` or `step`."""
    found: dict[str, str] = {}
    if step_ms not in STEPS_MS:
        found["step"] = f"give one of these seconds: {', '.join(str(one // 1000) for one in STEPS_MS)}"
    if end_ms <= start_ms:
        found["to"] = "the range must end after it starts"
    elif end_ms - start_ms > LONGEST_MS:
        found["from"] = f"the range may last {LONGEST_MS // HOUR_MS} hours; ask day by day, or read the lake"
    elif step_ms in STEPS_MS and (end_ms - start_ms) // step_ms > MOST_STEPS:
        found["step"] = f"this is more than {MOST_STEPS:,} steps: ask for longer steps or a shorter range"
    return found


def read_history(
    zone: str,
    start_ms: int,
    end_ms: int,
    step_ms: int,
    *,
    state: TrafficState | None,
    hours: CorrectedHours,
    now_ms: int,
    free_flow_x10: int,
    active: int,
) -> History:
    """The zone's windows that start in [start_ms, end_ms), by steps aligned to the epoch.

    `active` is how many of its sensors are heard in ten seconds when all work. A step lies within one hour, so it has
    one source. The range is one that `faults` finds nothing wrong with; ValueError otherwise.
    """
    if wrong := faults(start_ms, end_ms, step_ms):
        raise ValueError("; ".join(f"{name}: {said}" for name, said in wrong.items()))
    starts = range(start_ms // HOUR_MS * HOUR_MS, end_ms, HOUR_MS)
    corrected = {hour: hours.published(hour) for hour in starts}
    sources: dict[int, Source] = {}
    windows: list[tuple[Source, Sums]] = []
    for hour, published in corrected.items():
        first, last = max(hour, start_ms), min(hour + HOUR_MS, end_ms)
        found: Sequence[Sums] = ()
        if published is not None:
            sources[hour] = Source.LAKE
            found = [one for one in published.windows(zone) if first <= one.start_ms < last]
        elif state is None or hour + HOUR_MS + KEEP_MS <= now_ms:
            sources[hour] = Source.GONE
        else:
            sources[hour] = Source.STATE
            found = [_sums(one) for one in state.windows(zone, first, last)]
        windows += [(sources[hour], one) for one in found]
    return History(
        zone=zone,
        start_ms=start_ms,
        end_ms=end_ms,
        step_ms=step_ms,
        free_flow_x10=free_flow_x10,
        steps=_steps(windows, step_ms, free_flow_x10, active),
        sources=sources,
        versions={hour: published.version for hour, published in corrected.items() if published is not None},
    )


def _sums(window: Window) -> Sums:
    return Sums(
        start_ms=window.start_ms,
        readings=window.readings,
        vehicles=window.vehicles,
        pace=window.pace,
        occupancy=window.occupancy,
        occupancy_readings=window.occupancy_readings,
        active=window.active,
    )


def _steps(windows: Iterable[tuple[Source, Sums]], step_ms: int, free_flow_x10: int, active: int) -> Sequence[Step]:
    together: dict[int, list[Sums]] = {}
    sources: dict[int, Source] = {}
    for source, one in windows:
        start = one.start_ms // step_ms * step_ms
        together.setdefault(start, []).append(one)
        sources[start] = source
    return [_step(start, sources[start], together[start], free_flow_x10, active) for start in sorted(together)]


def _step(start: int, source: Source, windows: Sequence[Sums], free_flow_x10: int, active: int) -> Step:
    measured = sum(one.occupancy_readings for one in windows)
    return Step(
        start_ms=start,
        source=source,
        windows=len(windows),
        readings=sum(one.readings for one in windows),
        figures=Figures(
            vehicles=sum(one.vehicles for one in windows),
            pace=sum(one.pace for one in windows),
            heard=sum(one.active for one in windows),
            active=active * len(windows),
            free_flow_x10=free_flow_x10,
        ),
        occupancy=sum(one.occupancy for one in windows) / measured / 1000 if measured else None,
    )
