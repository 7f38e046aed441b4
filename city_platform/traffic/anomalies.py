"""Unusual values of one sensor, told while they arrive: a seasonal baseline that only knows the past.

Three steps, each from the past alone, so that a score never changes afterwards:

1. How far is the value from what this hour usually brings? Mean and variance for each hour of working days and of
   weekends, drawn towards the overall ones where an hour has been seen seldom (`prior`), of ln(1 + value): traffic
   measures vary by ratios, and a logarithm keeps one jam from widening the hour for weeks.
2. How far for this sensor? The distance is divided by the sensor's own past `quantile` of distances. Without it one
   threshold cannot serve a calm and a noisy sensor.
3. Is it news? A score counts only as the highest of the last `hold_s`, so an episode is told once, and again only if it
   gets worse.

The threshold is a sensor-independent number that has to come from other sensors than the one it judges; `nab.py`
chooses and scores it that way, and these settings with it.
"""

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field
from math import expm1, isfinite, log1p, sqrt

import numpy as np
import numpy.typing as npt

HOUR_S, DAY_S = 3600, 86_400
THURSDAY = 3  # the weekday of 1 January 1970, Monday being 0
SATURDAY = 5
FLOOR = 0.5  # a distance below half a standard deviation is no measure of what is unusual
UNUSUAL = 1.94  # from this score on; chosen on the benchmark's series (benchmarks/nab.py)
KEPT = 20_000  # distances kept for step 2: about ten weeks of five-minute readings


@dataclass(frozen=True, slots=True)
class Settings:
    """`prior` in readings, `quantile` in 0..1, `hold_s` in seconds, `warm_up` readings are only learnt from."""

    prior: float = 10.0
    quantile: float = 0.95
    hold_s: int = 6 * HOUR_S
    warm_up: int = 50
    logarithmic: bool = True


@dataclass(slots=True)
class _Moments:
    """Count, sum and sum of squares: what a mean and a variance need."""

    count: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.squares += value * value


@dataclass(slots=True)
class Detector:
    """One sensor's memory. Feed it readings in the order of their time."""

    settings: Settings = field(default_factory=Settings)
    _all: _Moments = field(default_factory=_Moments)
    _hours: list[_Moments] = field(default_factory=lambda: [_Moments() for _ in range(48)])
    _ordered: list[float] = field(default_factory=list)  # past distances, ascending
    _recent: deque[float] = field(default_factory=deque)  # the same, in order of arrival
    _peaks: deque[tuple[int, float]] = field(default_factory=deque)  # (time, score), scores falling
    _last: int | None = None

    def observe(self, time_s: int, value: float) -> float:
        """The score of one reading, 0 where there is nothing to tell; the reading is learnt from afterwards.

        `time_s` is the city's own clock as seconds since 1970-01-01 00:00 on that clock: hours of the day are the
        city's. `value` is not negative; a missing value (NaN) scores 0 and teaches nothing. Raises ValueError where
        time runs backwards or the value is negative or infinite.
        """
        if self._last is not None and time_s < self._last:
            raise ValueError(f"reading of {time_s} s comes after one of {self._last} s: sort readings by time")
        self._last = time_s
        if value != value:  # noqa: PLR0124 -- NaN is the one value unlike itself
            return 0.0
        if value < 0 or not isfinite(value):
            raise ValueError(f"value {value} at {time_s} s: traffic measures are finite and not negative")
        x = log1p(value) if self.settings.logarithmic else value
        hour = self._hours[_hour(time_s)]
        known = self._all.count
        distance = abs(self._standardised(x, hour)) if known else 0.0
        score = 0.0
        if known >= self.settings.warm_up:
            score = self._news(time_s, distance / max(self._usual(), FLOOR))
        self._learn(x, hour, distance)
        return score

    def usual(self, time_s: int) -> tuple[float, float]:
        """What this hour usually brings, two standard deviations of all that was learnt so far about it.

        In the values' unit, for people to read beside a score: the score itself also asks how calm the sensor is.
        Raises ValueError before anything was learnt.
        """
        if not self._all.count:
            raise ValueError("nothing was learnt yet: observe readings first")
        centre, spread = self._expected(self._hours[_hour(time_s)])
        bounds = centre - 2 * spread, centre + 2 * spread
        low, high = (expm1(one) if self.settings.logarithmic else one for one in bounds)
        return max(low, 0.0), max(high, 0.0)

    def _standardised(self, x: float, hour: _Moments) -> float:
        """Standard deviations from the mean of the hour."""
        centre, spread = self._expected(hour)
        return (x - centre) / spread

    def _expected(self, hour: _Moments) -> tuple[float, float]:
        """Mean and standard deviation of the hour, drawn towards all hours as if seen `prior` times there."""
        prior, everything = self.settings.prior, self._all
        mean, squares = everything.total / everything.count, everything.squares / everything.count
        weight = hour.count + prior
        centre = (hour.total + prior * mean) / weight
        variance = (hour.squares + prior * squares) / weight - centre * centre
        return centre, sqrt(max(variance, 1e-9))

    def _usual(self) -> float:
        """The sensor's own past quantile of distances."""
        return self._ordered[int(self.settings.quantile * (len(self._ordered) - 1))]

    def _news(self, time_s: int, score: float) -> float:
        """The score if nothing within `hold_s` before reached it, else 0."""
        peaks = self._peaks
        while peaks and peaks[0][0] < time_s - self.settings.hold_s:
            peaks.popleft()
        highest = peaks[0][1] if peaks else 0.0
        while peaks and peaks[-1][1] <= score:
            peaks.pop()
        peaks.append((time_s, score))
        return score if score > highest else 0.0

    def _learn(self, x: float, hour: _Moments, distance: float) -> None:
        self._all.add(x)
        hour.add(x)
        insort(self._ordered, distance)
        self._recent.append(distance)
        if len(self._recent) > KEPT:
            del self._ordered[bisect_left(self._ordered, self._recent.popleft())]


def scores(
    times_s: npt.NDArray[np.int64], values: npt.NDArray[np.float64], settings: Settings | None = None
) -> npt.NDArray[np.float64]:
    """The scores of one sensor's readings, in the order of their time; arguments and errors as `Detector.observe`."""
    detector = Detector(settings or Settings())
    told = [detector.observe(time, value) for time, value in zip(times_s.tolist(), values.tolist(), strict=True)]
    return np.array(told, dtype=np.float64)


def _hour(time_s: int) -> int:
    """0..23 on working days, 24..47 at weekends."""
    day, second = divmod(time_s, DAY_S)
    return 24 * ((day + THURSDAY) % 7 >= SATURDAY) + second // HOUR_S
