"""What else happened where traffic was bad: candidates, and how much oftener traffic is unusual beside them.

Nothing here says that one thing causes another. A candidate is what was known near a zone in an hour; a lift is how
many times as often hours were unusual with such a candidate near as without, in the same zones at the same time of day.

The lift is the risk ratio of Mantel and Haenszel (1959) over zones and times of day, in the form of Greenland and
Robins (1985): a zone that is often jammed and often dug up makes none by itself, nor do rush hours in which more is
reported. Hours of a day depend on each other: its interval is of the jackknife over whole days, by Student's
distribution, and wide enough to hold for all kinds of candidates at once (Bonferroni). What lasts for weeks in one zone
while its traffic changes for another reason is beyond it, and so are days on which a storm brings both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from statistics import NormalDist, median

import numpy as np
from numpy.typing import NDArray

from city_platform.traffic.congestion import Thresholds

BAD = Thresholds().congested  # an hour's index from which on its traffic was bad
BEYOND = Thresholds().margin  # and so much above what the hour usually brings it was unusual
LEAST_EARLIER = 4  # other days of the same kind that say what an hour usually brings
CONFIDENCE = 0.95  # of all intervals together
LEAST_HOURS, LEAST_UNUSUAL, LEAST_DAYS_BESIDE, LEAST_DAYS = 50, 10, 5, 10

_BAND_HOURS = 3
_BANDS = 24 // _BAND_HOURS

Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Lift:
    """How many times as often hours were unusual with a kind of candidate near as without: `ratio`, `low` to `high`.

    These are None where the numbers do not carry them: fewer than LEAST_HOURS hours with it, LEAST_UNUSUAL unusual ones
    with and without it, LEAST_DAYS_BESIDE days with such an hour or LEAST_DAYS days at all.
    """

    kind: str
    hours: int
    unusual: int
    hours_without: int
    unusual_without: int
    days: int
    ratio: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def oftener(self) -> bool:
        """Whether it is oftener beyond what chance brings."""
        return self.low is not None and self.low > 1


def unusual(
    index: NDArray[np.float64], zone: Numbers, hour: Numbers, weekend: Flags, day: Numbers
) -> tuple[Flags, NDArray[np.float64]]:
    """Which zone hours were unusual, and what each usually brings: the median index of the same hour of the zone's
    other days of the same kind, NaN where fewer than LEAST_EARLIER are known.

    All arrays are of one length, one element a zone and hour; `index` 0..100 is NaN where unknown, `hour` 0..23 and
    `day` are the city's, `weekend` its kind of day. The hour that comes twice in autumn counts as one of its day.
    """
    same: dict[tuple[int, int, bool], dict[int, float]] = {}
    rows = list(zip(zone.tolist(), hour.tolist(), weekend.tolist(), day.tolist(), index.tolist(), strict=True))
    for where, at, kind, date, value in rows:
        if value == value:  # noqa: PLR0124 -- NaN is the one value unlike itself
            same.setdefault((where, at, kind), {})[date] = value
    usual = np.full(len(rows), np.nan)
    for place, (where, at, kind, date, _) in enumerate(rows):
        others = [value for other, value in same.get((where, at, kind), {}).items() if other != date]
        if len(others) >= LEAST_EARLIER:
            usual[place] = median(others)
    with np.errstate(invalid="ignore"):
        return (index >= BAD) & (index - usual >= BEYOND), usual


def strata(zone: Numbers, hour: Numbers, weekend: Flags) -> Numbers:
    """What hours are compared within: the zone, three hours of the day, and its kind."""
    return (2 * zone + weekend) * _BANDS + hour // _BAND_HOURS


def lifts(unusual: Flags, stratum: Numbers, day: Numbers, present: Mapping[str, Flags]) -> Sequence[Lift]:
    """The lift of each kind of candidate; `present` says of each kind in which zone hours one was near.

    Arrays as for `unusual`, of those hours alone of which it can be said whether they are unusual.
    """
    days, day_at = np.unique(day, return_inverse=True)
    kept, stratum_at = np.unique(stratum, return_inverse=True)
    shape = (len(days), len(kept))

    def counted(of: Flags) -> NDArray[np.int64]:
        found = np.zeros(shape, dtype=np.int64)
        np.add.at(found, (day_at[of], stratum_at[of]), 1)
        return found

    return [
        _lift(kind, [counted(one) for one in (near & unusual, near, ~near & unusual, ~near)], kinds=len(present))
        for kind, near in present.items()
    ]


def _lift(kind: str, counts: Sequence[Numbers], *, kinds: int) -> Lift:
    """Of counts by day and zone, in the order of `_ratio`."""
    cells = np.stack(counts)
    beside = int((cells[0].sum(axis=1) > 0).sum())
    unusual, hours, unusual_without, hours_without = (int(one.sum()) for one in cells)
    plain = Lift(kind, hours, unusual, hours_without, unusual_without, beside)
    few = hours < LEAST_HOURS or min(unusual, unusual_without) < LEAST_UNUSUAL
    if few or beside < LEAST_DAYS_BESIDE or cells.shape[1] < LEAST_DAYS:
        return plain
    whole = cells.sum(axis=1)
    ratio = _ratio(whole)
    without_day = [_ratio(whole - cells[:, day]) for day in range(cells.shape[1])]
    if ratio is None or any(one is None for one in without_day):
        return plain
    logs = np.log(np.array(without_day, dtype=np.float64))
    count = len(logs)
    error = sqrt((count - 1) / count * float(((logs - logs.mean()) ** 2).sum()))
    reach = _student(1 - (1 - CONFIDENCE) / (2 * kinds), count - 1) * error
    return replace(plain, ratio=ratio, low=exp(log(ratio) - reach), high=exp(log(ratio) + reach))


def _ratio(cells: Numbers) -> float | None:
    """The risk ratio over strata; None where there is nothing to divide by.

    `cells` counts by stratum: unusual hours with a candidate, hours with one, and both without.
    """
    unusual, hours, unusual_without, hours_without = cells
    every = np.maximum(1, hours + hours_without)
    above, below = float((unusual * hours_without / every).sum()), float((unusual_without * hours / every).sum())
    return above / below if above > 0 and below > 0 else None


def _student(share: float, freedom: int) -> float:
    """The quantile of Student's distribution, by Cornish and Fisher's expansion; to a hundredth from ten degrees on."""
    z = NormalDist().inv_cdf(share)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2
