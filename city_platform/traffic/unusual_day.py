"""Whether a day of the whole fleet is unusual, with a stated rate of false alarms however many zones there are.

A detector that judges each zone for itself calls something unusual on every day of a large fleet. Here a day is judged
once, from mean flows and speeds of three hours and of whole days, as logarithms, against the same hours on earlier days
of the same kind (working days, weekends):

1. What all zones have in common is the city's, their median change; what is left is each zone's own.
2. A change is divided by the standard deviation that such changes had on the earlier days. How often chance brings as
   much is what Student's distribution says, or of a zone, where that is more, the tail of all zones' earlier days, each
   left out of what it is compared with: traffic may have more large changes than a normal distribution.
3. Three families share the rate of false alarms: the city, zones over whole days, zones over three hours. The city's
   few tests share theirs equally (Bonferroni); among zones the step-up procedure of Benjamini and Hochberg finds one
   large change or several smaller ones. On a day on which nothing changed, it finds something with exactly the chance
   that it was given, or less often where changes go together.

Benjamini, Hochberg: Controlling the False Discovery Rate, J. R. Statist. Soc. B 57 (1995). Hosking, Wallis: Parameter
and Quantile Estimation for the Generalized Pareto Distribution, Technometrics 29 (1987). Wallace: Bounds on Normal
Approximations to Student's and the Chi-Square Distributions, Ann. Math. Statist. 30 (1959).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erfc, exp, expm1, log1p, sqrt

import numpy as np
import numpy.typing as npt

from city_platform.traffic.anomalies import DAY_S, HOUR_S, SATURDAY, THURSDAY

FALSE_ALARMS = 0.01  # of the days on which nothing changed
BLOCK_S = 3 * HOUR_S
LEAST_SHARE = 0.5  # of a block's steps have to be known
LEAST_DAYS = 7  # earlier ones that a judgement rests on, and
LEAST_ALIKE = 5  # that many of the same kind
LEAST_SPREAD = 0.01  # a change of a percent or two is nobody's news, however steady a zone is
CITY_OF = 10  # zones: fewer have nothing in common that could be told from what is their own
BLOCKS = DAY_S // BLOCK_S
TAIL, TAIL_LEAST, TAIL_MOST, TAIL_ENOUGH = 0.01, 200, 0.1, 30  # of earlier values that are fitted: share, number
_FAMILIES = 3
_EXPONENTIAL = 1e-6  # of a shape so small the tail is exponential

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Change:
    """What changed: a zone, or the whole city (None), from `start_s` on for `length_s` of the city's own clock.

    `share` is the change of the measure, -0.5 for half of what is usual, the zone's own beside the city's. `chance` is
    how often chance alone brings as much.
    """

    zone: str | None
    start_s: int
    length_s: int
    measure: str
    share: float
    chance: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is unusual, the least likely first, and how many comparisons that was chosen from."""

    changes: Sequence[Change]
    compared: int


class Days:
    """Means of blocks and days of every zone, gathered zone by zone. Steps of `step_s` seconds of the city's clock."""

    def __init__(self, first_s: int, last_s: int, step_s: int) -> None:
        """Of steps that start in [first_s, last_s], seconds since 1970-01-01 00:00 on that clock."""
        self.end_s = last_s + step_s
        self._first = first_s // DAY_S
        self._count = last_s // DAY_S - self._first + 1
        self._steps = BLOCK_S // step_s
        self._zones: list[str] = []
        self._means: dict[str, list[Floats]] = {}

    def add(self, zone: str, local_s: npt.NDArray[np.int64], values: Mapping[str, Floats]) -> None:
        """One zone's steps; NaN where unknown, not negative otherwise."""
        place = local_s // BLOCK_S - self._first * BLOCKS
        self._zones.append(zone)
        for measure, some in values.items():
            known = np.isfinite(some)
            count = np.bincount(place[known], minlength=self._count * BLOCKS)
            total = np.bincount(place[known], weights=some[known], minlength=self._count * BLOCKS)
            means = np.where(count >= LEAST_SHARE * self._steps, total / np.maximum(count, 1), np.nan)
            self._means.setdefault(measure, []).append(means.reshape(self._count, BLOCKS))

    def judge(self, false_alarms: float = FALSE_ALARMS) -> Judgement:
        """Each whole block of the last 24 hours, and the last whole day.

        `false_alarms` is the chance of any change on a day on which nothing changed.
        """
        city: list[Change] = []
        zones: list[list[Change]] = []
        for measure, gathered in self._means.items():
            means = np.stack(gathered)
            with_days = np.log1p(np.concatenate([means, means.mean(axis=2, keepdims=True)], axis=2))
            for family in self._judged():
                found = [self._compare(with_days[:, : day + 1, block]) for day, block in family]
                city += [
                    self._change(None, place, measure, one.city, two_sided(one.city_t, one.city_freedom))
                    for place, one in zip(family, found, strict=True)
                    if one.city_freedom
                ]
                tail = Tail.of(np.concatenate([one.earlier_t for one in found]))
                zones.append(
                    [
                        self._change(self._zones[zone], place, measure, own, max(two_sided(t, freedom), tail.beyond(t)))
                        for place, one in zip(family, found, strict=True)
                        for zone, own, t, freedom in zip(*(array.tolist() for array in one.zones), strict=True)
                    ]
                )
        families = [[one for some in zones[kind::2] for one in some] for kind in (0, 1)]
        budget = false_alarms / (_FAMILIES if city else _FAMILIES - 1)
        changes = [one for one in city if one.chance * len(city) <= budget]
        changes += [one for family in families for one in step_up(family, budget)]
        return Judgement(sorted(changes, key=lambda one: one.chance), len(city) + sum(map(len, families)))

    def _judged(self) -> tuple[Sequence[tuple[int, int]], Sequence[tuple[int, int]]]:
        """Days and blocks of them, and the last whole day; its block is BLOCKS."""
        end = self.end_s - self._first * DAY_S
        blocks = [divmod(start, BLOCKS) for start in range(-(-(end - DAY_S) // BLOCK_S), end // BLOCK_S)]
        whole = end // DAY_S - 1
        return [one for one in blocks if one[0] >= 0], [(whole, BLOCKS)] if whole >= 0 else []

    def _change(self, zone: str | None, place: tuple[int, int], measure: str, own: float, chance: float) -> Change:
        day, block = place
        start = (self._first + day) * DAY_S + (block % BLOCKS) * BLOCK_S
        return Change(zone, start, BLOCK_S if block < BLOCKS else DAY_S, measure, expm1(own), chance)

    def _compare(self, x: Floats) -> "_Compared":
        """The last day of these logarithms (zones, days) against the earlier ones."""
        days = x.shape[1]
        weekend = np.array([_is_weekend(self._first + one) for one in range(days)])
        known, alike = np.isfinite(x), weekend == weekend[-1]
        judged = known[:, -1] & (known[:, :-1].sum(axis=1) >= LEAST_DAYS)
        judged &= (known & alike)[:, :-1].sum(axis=1) >= LEAST_ALIKE
        own = _centred(x[judged], weekend)
        city, city_t, city_freedom = 0.0, 0.0, 0
        if len(own) >= CITY_OF:
            common = np.nanmedian(own, axis=0, keepdims=True)
            own = _centred(own - common, weekend)
            t, freedom, _ = _studentised(_centred(common, weekend), weekend)
            city, city_t, city_freedom = float(common[0, -1]), float(t[0]), int(freedom[0])
        t, freedom, earlier = _studentised(own, weekend)
        return _Compared(city, city_t, city_freedom, (np.flatnonzero(judged), own[:, -1], t, freedom), earlier)


@dataclass(frozen=True, slots=True)
class _Compared:
    """Changes of a block, the city's and each zone's (place, change, t, degrees of freedom), and t of earlier days."""

    city: float
    city_t: float
    city_freedom: int
    zones: tuple[npt.NDArray[np.int64], Floats, Floats, npt.NDArray[np.int64]]
    earlier_t: Floats


@dataclass(frozen=True, slots=True)
class Tail:
    """How often values beyond `start` come (`share`), and how they go on: a generalised Pareto distribution."""

    start: float
    share: float
    shape: float
    scale: float

    @classmethod
    def of(cls, values: Floats) -> "Tail":
        """Of the largest of these values by their amount, by probability-weighted moments; of too few, one that never
        begins.
        """
        amounts = np.sort(np.abs(values))
        count = int(min(max(len(amounts) * TAIL, TAIL_LEAST), len(amounts) * TAIL_MOST))
        if count < TAIL_ENOUGH:
            return cls(np.inf, 0.0, 0.0, 1.0)
        start = float(amounts[-count - 1])
        excess = amounts[-count:] - start
        mean = float(excess.mean())
        if mean <= 0:
            return cls(np.inf, 0.0, 0.0, 1.0)
        weighted = float((excess * (1 - (np.arange(count) + 0.65) / count)).mean())
        shape = 2 - mean / (mean - 2 * weighted)
        return cls(start, count / len(amounts), shape, 2 * mean * weighted / (mean - 2 * weighted))

    def beyond(self, value: float) -> float:
        """How often an amount is so large or larger, in the tail; 0 of one before it begins, which it cannot tell."""
        excess = abs(value) - self.start
        if excess <= 0:
            return 0.0
        if abs(self.shape) < _EXPONENTIAL:
            return self.share * exp(-excess / self.scale)
        grown = 1 + self.shape * excess / self.scale
        return self.share * grown ** (-1 / self.shape) if grown > 0 else 0.0


def _studentised(x: Floats, weekend: npt.NDArray[np.bool_]) -> tuple[Floats, npt.NDArray[np.int64], Floats]:
    """Student's t of each row's last day with its degrees of freedom, and that of all earlier days, each as if it had
    been left out of what it is compared with.
    """
    before = np.isfinite(x[:, :-1])
    of_kind = {kind: (before & (weekend[:-1] == kind)).sum(axis=1) for kind in (False, True)}
    freedom = before.sum(axis=1) - (of_kind[False] > 0) - (of_kind[True] > 0)
    squares = np.nansum(x[:, :-1] ** 2, axis=1)
    alike = of_kind[bool(weekend[-1])]
    t = x[:, -1] / (np.maximum(np.sqrt(squares / freedom), LEAST_SPREAD) * np.sqrt(1 + 1 / alike))
    days = np.where(weekend[:-1][None, :], of_kind[True][:, None], of_kind[False][:, None])
    left_out = np.where(before & (days > 1), days / np.maximum(days - 1, 1), np.nan)
    rest = np.maximum(squares[:, None] - x[:, :-1] ** 2 * left_out, 0.0) / (freedom[:, None] - 1)
    spread = np.maximum(np.sqrt(rest), LEAST_SPREAD) * np.sqrt(left_out)
    earlier = x[:, :-1] * left_out / spread
    return t, freedom, earlier[np.isfinite(earlier)]


def step_up(family: Sequence[Change], rate: float) -> Sequence[Change]:
    """Those that stand out among all of them, by Benjamini and Hochberg."""
    ordered = sorted(family, key=lambda one: one.chance)
    kept = [place for place, one in enumerate(ordered, 1) if one.chance <= rate * place / len(ordered)]
    return ordered[: kept[-1]] if kept else []


def two_sided(t: float, freedom: int) -> float:
    """How often Student's t is at least so far from 0, by Wallace's approximation."""
    z = sqrt(freedom * log1p(t * t / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)
    return erfc(z / sqrt(2))


def _centred(x: Floats, weekend: npt.NDArray[np.bool_]) -> Floats:
    """Less each row's mean over the earlier days of the same kind; NaN where there is none."""
    centred = np.full_like(x, np.nan)
    for kind in (False, True):
        mine = weekend == kind
        earlier = x[:, :-1][:, mine[:-1]]
        count = np.isfinite(earlier).sum(axis=1)
        mean = np.where(count > 0, np.nansum(earlier, axis=1) / np.maximum(count, 1), np.nan)
        centred[:, mine] = x[:, mine] - mean[:, None]
    return centred


def _is_weekend(day: int) -> bool:
    """Of a day since 1970-01-01."""
    return (day + THURSDAY) % 7 >= SATURDAY
