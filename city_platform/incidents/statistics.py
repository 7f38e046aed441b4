"""How incidents end: shares that say what they count, and times that do not forget the incidents still open.

Closed is not fixed: a rejected report is closed. A reopened incident was closed, too: its first closure counts for the
time, and that it came back for the share. The median time until the first closure is that of Kaplan and Meier, in
which an incident that is still open counts as one that took at least as long as it has been open; the median of the
closed ones alone always looks better, and the more so the more is left lying.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Life:
    """One incident as far as it is known: how it stands, and how often it was closed and reopened until then."""

    group: str
    reported_at: datetime
    first_closed_at: datetime | None
    is_closed: bool
    is_fixed: bool
    reopenings: int


@dataclass(frozen=True, slots=True)
class ClosureStatistics:
    """What became of the incidents of a group. Shares are 0 to 1, None of nothing; times are days.

    `reopened_share` is of those that were ever closed, `fixed_share` of those that are closed. `median_days` is None
    where half of the incidents have not been closed yet, so that nobody can know it.
    """

    group: str
    incidents: int
    open: int
    closed: int
    fixed: int
    ever_closed: int
    reopened: int
    median_days: float | None
    median_days_of_closed: float | None

    @property
    def closed_share(self) -> float | None:
        return _share(self.closed, self.incidents)

    @property
    def fixed_share(self) -> float | None:
        return _share(self.fixed, self.closed)

    @property
    def reopened_share(self) -> float | None:
        return _share(self.reopened, self.ever_closed)


def closure_statistics(lives: Iterable[Life], until: datetime) -> Sequence[ClosureStatistics]:
    """Of each group, by name; `until` is up to when the incidents were watched."""
    groups: dict[str, list[Life]] = {}
    for life in lives:
        groups.setdefault(life.group, []).append(life)
    return [_of(name, found, until) for name, found in sorted(groups.items())]


def _of(group: str, lives: Sequence[Life], until: datetime) -> ClosureStatistics:
    closed = sum(life.is_closed for life in lives)
    times = [_time(life, until) for life in lives]
    return ClosureStatistics(
        group=group,
        incidents=len(lives),
        open=len(lives) - closed,
        closed=closed,
        fixed=sum(life.is_fixed for life in lives),
        ever_closed=sum(ended for _, ended in times),
        reopened=sum(life.reopenings > 0 and life.first_closed_at is not None for life in lives),
        median_days=median_time(times),
        median_days_of_closed=median_time([one for one in times if one[1]]),
    )


def _time(life: Life, until: datetime) -> tuple[float, bool]:
    """Days until the first closure, or for how long the incident has been watched without one."""
    if life.first_closed_at is not None:
        return (life.first_closed_at - life.reported_at) / DAY, True
    return max(until - life.reported_at, timedelta()) / DAY, False


def median_time(times: Sequence[tuple[float, bool]]) -> float | None:
    """The time by which half have ended (Kaplan-Meier); each is a time and whether it ended then or was only watched
    until then. None where that time is not reached.
    """
    ends: dict[float, int] = {}
    watched: dict[float, int] = {}
    for time, ended in times:
        watched[time] = watched.get(time, 0) + 1
        ends[time] = ends.get(time, 0) + ended
    at_risk, surviving = len(times), 1.0
    for time in sorted(watched):
        surviving *= 1 - ends[time] / at_risk
        if surviving <= 0.5 + 1e-12:  # a half, whatever the order of rounding
            return time
        at_risk -= watched[time]
    return None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def as_row(statistics: ClosureStatistics) -> Mapping[str, str | int | float | None]:
    """The figures under the names in which they are published."""
    return {
        "Group": statistics.group,
        "Incidents": statistics.incidents,
        "Open": statistics.open,
        "Closed": statistics.closed,
        "Fixed": statistics.fixed,
        "Closed Share": _rounded(statistics.closed_share),
        "Fixed Share of Closed": _rounded(statistics.fixed_share),
        "Reopened Share of Ever Closed": _rounded(statistics.reopened_share),
        "Median Days Until Closed": _rounded(statistics.median_days),
        "Median Days of Closed Ones": _rounded(statistics.median_days_of_closed),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
