"""Days on which a district has far more or fewer reports of a category than it usually has on such a day.

For each district and category, from the eight weeks before the day alone:

1. Weekday factors, of the category in the whole city because a district's counts are small: the median, over the weeks,
   of a weekday's share of its week.
2. The level: the mean of the counts without their weekday, from which days that are themselves unusual are left out in
   a few rounds, so that one burst does not hide the next.
3. The dispersion: how much more the counts vary than chance alone would have it (1 for Poisson), drawn towards 1 where
   there is little to go by.

The interval is that of a negative binomial distribution with this mean and dispersion, widened for what so few counts
leave unknown of the level. Its width follows from how many false alarms the whole city may have: it was chosen, not
fitted. Nothing here blocks anything; a person decides what an anomaly means.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

WEEKS = 8
LEAST_DAYS = 28  # of history: with fewer nothing is called unusual
FALSE_ALARMS_A_DAY = 0.1  # in the whole city, on days on which nothing is unusual
_DAYS = 7
_ROUNDS = 4
_LEFT_OUT = 3.0  # standard deviations from which a past day is left out of the level
_PRIOR_DAYS = 14.0  # so many days of plain chance are mixed into the dispersion
_PRIOR_COUNT = 0.5  # of the level, as Jeffreys has it
_LEAST_MEAN = 1.0  # reports of a category a day in the city from which its weekdays can be told apart
_NEVER_UNUSUAL = 3  # reports a day; so few mean nothing, however quiet it was before
_MANY = 500.0  # reports a day, beyond which the normal distribution is as good

Cell = tuple[str, str]  # district, category


@dataclass(frozen=True, slots=True)
class Judgement:
    """One day of a district and category: what was observed, what was expected, and from where to where is usual."""

    day: date
    district: str
    category: str
    observed: int
    expected: float
    low: int
    high: int

    @property
    def unusual(self) -> bool:
        return not self.low <= self.observed <= self.high

    @property
    def explanation(self) -> str:
        """The judgement in a sentence."""
        reports = "report" if self.observed == 1 else "reports"
        weekday = self.day.strftime("%A")
        usual = f"up to {self.high}" if self.low == 0 else f"{self.low} to {self.high}"
        return (
            f"{self.observed} {reports} of {self.category} in {self.district} on {weekday} {self.day.isoformat()}, "
            f"where {self.expected:.1f} were expected and {usual} are usual"
        )


def judge(
    counts: Mapping[Cell, Sequence[int]], first_day: date, judged: int, false_alarms: float = FALSE_ALARMS_A_DAY
) -> Iterator[Judgement]:
    """Every district and category on each of the last `judged` days, day by day.

    `counts` holds a number for each day from `first_day` on, zeros included, equally many for each cell. A day with
    less than `LEAST_DAYS` before it is passed over. `false_alarms` is how many cells of a day chance may call unusual.
    """
    cells = list(counts)
    if not cells:
        return
    table = np.array([counts[cell] for cell in cells], dtype=np.float64)
    days = table.shape[1]
    tail = false_alarms / len(cells) / 2
    weekdays = (first_day.weekday() + np.arange(days)) % _DAYS
    of_category = {category: [row for row, cell in enumerate(cells) if cell[1] == category] for _, category in cells}
    for place in range(max(LEAST_DAYS, days - judged), days):
        window = slice(max(0, place - WEEKS * _DAYS), place)
        day = first_day + timedelta(days=place)
        for category, rows in of_category.items():
            factors = _weekday_factors(table[rows, window].sum(axis=0), weekdays[window])
            for row in rows:
                expected, variance = _usual(table[row, window], factors[weekdays[window]], factors[weekdays[place]])
                low, high = interval(expected, variance, tail)
                yield Judgement(
                    day, cells[row][0], category, int(table[row, place]), expected, low, max(high, _NEVER_UNUSUAL)
                )


def _weekday_factors(totals: npt.NDArray[np.float64], weekdays: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """How many times a mean day's reports each weekday brings; all 1 where there is too little to tell."""
    if len(totals) < LEAST_DAYS or totals.mean() < _LEAST_MEAN:
        return np.ones(_DAYS)
    weeks = len(totals) // _DAYS
    whole = totals[-weeks * _DAYS :].reshape(weeks, _DAYS)
    shares = whole / np.maximum(whole.mean(axis=1, keepdims=True), 1.0)
    order = weekdays[-_DAYS:]
    factors = np.ones(_DAYS)
    # One week more of plain days keeps a factor away from 0.
    factors[order] = (np.median(shares, axis=0) * weeks + 1) / (weeks + 1)
    centred: npt.NDArray[np.float64] = factors / factors.mean()
    return centred


def _usual(past: npt.NDArray[np.float64], factors: npt.NDArray[np.float64], factor: np.float64) -> tuple[float, float]:
    """The expected count of the day, and the variance around it."""
    kept = np.ones(len(past), dtype=bool)
    level = dispersion = 1.0
    for _ in range(_ROUNDS):
        level = (past[kept].sum() + _PRIOR_COUNT) / factors[kept].sum()
        mean = level * factors
        squares = (past - mean) ** 2 / mean
        dispersion = (squares[kept].sum() + _PRIOR_DAYS) / (kept.sum() + _PRIOR_DAYS)
        dispersion = max(1.0, dispersion)
        still = np.abs(past - mean) <= _LEFT_OUT * np.sqrt(dispersion * mean + 1)
        if (still == kept).all() or still.sum() < LEAST_DAYS // 2:
            break
        kept = still
    expected = float(level * factor)
    unknown = expected**2 * dispersion / (past[kept].sum() + _PRIOR_COUNT)
    return expected, float(dispersion * expected + unknown)


def interval(mean: float, variance: float, tail: float) -> tuple[int, int]:
    """The counts from `low` to `high` below and above which lies a probability of at most `tail` each."""
    if mean > _MANY:
        width = -NormalDist().inv_cdf(tail) * math.sqrt(variance)
        return max(0, math.floor(mean - width)), math.ceil(mean + width)
    # A negative binomial distribution; as good as Poisson where the variance is the mean.
    size = mean**2 / max(variance - mean, 1e-6 * mean**2)
    chance = size / (size + mean)
    probability = math.exp(size * math.log(chance))
    below, count, low = 0.0, 0, 0
    while True:
        if below + probability <= tail:
            low = count + 1
        below += probability
        if 1 - below <= tail:
            return low, count
        count += 1
        probability *= (count - 1 + size) / count * (1 - chance)
