"""Traffic of one road segment 15, 30 and 60 minutes ahead, with an interval and a model card.

What the hour of the week usually brings, plus what today does differently. The usual is a weekly profile in which a
weekday borrows from all working days (or the weekend), those from all days and those from the mean, the less it has
been seen itself the more. How today's departure carries on is a straight line through the departures of now, the last
step, the last hour, the last day, and of the same time yesterday and a week ago, fitted for least absolute error, which
is what forecasts are judged by. All of it in ln(1 + value), as traffic varies by ratios.

The interval is conformal: quantiles of the errors made on a later stretch of the past that the line has not seen, apart
for quiet and busy times. It holds whatever the errors' distribution is, as long as they stay as they were.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indexes = npt.NDArray[np.int64]

MINUTE_S, HOUR_S, DAY_S, WEEK_S = 60, 3600, 86_400, 604_800
THURSDAY, SATURDAY, WEEK = 3, 5, 7  # 1 January 1970 was a Thursday; Monday is 0
HORIZONS_MIN = (15, 30, 60)
COVERAGE = 0.90
PRIOR = 2.0  # how many times a coarser mean counts beside a finer one
GROUPS = 4  # quiet to busy times, for the interval
SHARE = 0.2  # of a series that tests, and of a series that gives the interval
REFITS = 10  # how often a tested model is fitted again, as a running one is every night
SHORTEST_S = WEEK_S  # every weekday once
LEAST = 50  # forecasts to fit on, to calibrate on and to test on


@dataclass(frozen=True, slots=True)
class Series:
    """One measure of one segment in equal steps; `values[i]` is the mean from `start_s + i * step_s` on.

    Values are not negative, NaN where unknown. `start_s` is on the city's own clock (seconds since 1970-01-01 00:00
    there), so that hours and weekdays are the city's.
    """

    start_s: int
    step_s: int
    values: Floats

    def time_of_day(self, index: Indexes) -> Indexes:
        """The step's number within its day."""
        return (self.start_s + index * self.step_s) % DAY_S // self.step_s

    def weekday(self, index: Indexes) -> Indexes:
        """0 is Monday."""
        return ((self.start_s + index * self.step_s) // DAY_S + THURSDAY) % WEEK


def regular(times_s: Indexes, values: Floats, step_s: int) -> Series:
    """The means of irregular readings. Raises ValueError without readings, or for a step that does not divide a day."""
    if not len(times_s) or DAY_S % step_s:
        raise ValueError("a series needs readings, and a step that divides a day")
    step = times_s // step_s
    place = step - step.min()
    known = np.isfinite(values)
    count = np.bincount(place[known], minlength=int(place.max()) + 1)
    total = np.bincount(place[known], weights=values[known], minlength=len(count))
    means = np.full(len(count), np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return Series(int(step.min()) * step_s, step_s, means)


def logged(series: Series) -> Series:
    """The series of ln(1 + value). Raises ValueError where a value is negative or infinite."""
    known = series.values[~np.isnan(series.values)]
    if np.any(known < 0) or np.any(np.isinf(known)):
        raise ValueError("traffic measures are finite and not negative: leave unknown values out")
    return replace(series, values=np.log1p(series.values))


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected, and between which bounds with a probability of `COVERAGE`; NaN where now is unknown."""

    expected: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class Model:
    """A fitted forecast of one measure of one segment, `ahead` steps ahead."""

    ahead: int
    step_s: int
    profile: Floats  # weekday x step of the day; this and all below of ln(1 + value)
    line: Floats
    bounds: Floats  # group x (low, high) errors
    edges: Floats  # levels of the profile that part the groups

    def predict(self, series: Series, now: Indexes) -> Forecast:
        """Forecasts made at these steps of a series for `now + ahead`, from nothing later than `now`."""
        expected = self.expected(logged(series), now)
        low, high = self.bounds[self.group(series, now)].T
        return Forecast(*(np.maximum(np.expm1(one), 0.0) for one in (expected, expected + low, expected + high)))

    def group(self, series: Series, now: Indexes) -> Indexes:
        """Which of the groups from quiet to busy each forecast belongs to."""
        return np.searchsorted(self.edges, self._usual(series, now + self.ahead))

    def expected(self, series: Series, now: Indexes) -> Floats:
        """What is expected of a logged series, logged."""
        departure = series.values - self._usual(series, np.arange(len(series.values)))
        carried = _inputs(departure, now, self.ahead, self.step_s) @ self.line
        return np.where(np.isfinite(series.values[now]), self._usual(series, now + self.ahead) + carried, np.nan)

    def _usual(self, series: Series, index: Indexes) -> Floats:
        usual: Floats = self.profile[series.weekday(index), series.time_of_day(index)]
        return usual


def _inputs(departure: Floats, now: Indexes, ahead: int, step_s: int) -> Floats:
    """The line's inputs, a row a forecast: departures from the usual (NaN: unknown, taken as none) up to `now`."""
    known = np.isfinite(departure)
    departure = np.where(known, departure, 0.0)
    sums, counts = (np.concatenate(([0.0], np.cumsum(one))) for one in (departure, known.astype(np.float64)))

    def at(index: Indexes) -> Floats:
        return np.where(index >= 0, departure[np.maximum(index, 0)], 0.0)

    def mean(seconds: int) -> Floats:
        first = np.maximum(now + 1 - max(seconds // step_s, 1), 0)
        mean: Floats = (sums[now + 1] - sums[first]) / np.maximum(counts[now + 1] - counts[first], 1.0)
        return mean

    day, week = now + ahead - DAY_S // step_s, now + ahead - WEEK_S // step_s
    return np.stack((np.ones(len(now)), at(now), at(now - 1), mean(HOUR_S), mean(DAY_S), at(day), at(week)), axis=1)


def fit(series: Series, ahead: int, known: int, calibration: int) -> Model:
    """Fits on the first `known + calibration` steps of a series, `ahead` in steps.

    The interval comes from a model fitted on the first `known` steps alone and its errors on the others. Raises
    ValueError where either stretch gives fewer than `LEAST` forecasts, or both together cover less than the
    `SHORTEST_S` that a weekly profile needs.
    """
    series, end = logged(series), known + calibration
    if end * series.step_s < SHORTEST_S:
        raise ValueError(
            f"{end * series.step_s / DAY_S:.1f} days to learn from; a weekly profile needs {SHORTEST_S // DAY_S}: "
            "forecast with seasonal-naive until then"
        )
    seen, later = _origins(series, 0, known, ahead), _origins(series, known, end, ahead)
    if min(len(seen), len(later)) < LEAST:
        raise ValueError(
            f"{len(seen)} forecasts to fit on and {len(later)} to calibrate on; {LEAST} of each are needed: "
            "give a longer series, or one with fewer gaps"
        )
    tried = _straight(series, ahead, known)
    errors, group = series.values[later + ahead] - tried.expected(series, later), tried.group(series, later)
    bounds = np.array([_bounds(errors[group == one], errors) for one in range(GROUPS)])
    return replace(_straight(series, ahead, end), bounds=bounds)


def _straight(series: Series, ahead: int, end: int) -> Model:
    """Profile and line of the first `end` steps of a logged series; no interval yet."""
    past = replace(series, values=series.values[:end])
    profile, without_itself = _profile(past)
    # A value that helped to make the profile departs from it less than the next one will.
    departure = past.values - without_itself
    now = _origins(past, 0, end, ahead)
    line = _least_absolute(_inputs(departure, now, ahead, series.step_s), departure[now + ahead])
    edges = np.quantile(profile, np.arange(1, GROUPS) / GROUPS)
    return Model(ahead, series.step_s, profile, line, np.zeros((GROUPS, 2)), edges)


@dataclass(frozen=True, slots=True)
class Scores:
    """One horizon on the part of a series that nothing was fitted to. Errors in the measure's unit."""

    minutes: int
    forecasts: int
    mae: float
    seasonal_naive_mae: float  # the value at the same time a week ago, a day ago where there was none
    persistence_mae: float  # the value of now
    coverage: float
    width: float  # mean width of the interval

    @property
    def skill(self) -> float:
        """The share of seasonal-naive's error that is avoided."""
        return 1.0 - self.mae / self.seasonal_naive_mae

    @property
    def holds(self) -> bool:
        """Better than seasonal-naive, and the interval covers 80 to 95 of 100 outcomes."""
        return self.mae < self.seasonal_naive_mae and 0.80 <= self.coverage <= 0.95  # noqa: PLR2004


def evaluate(series: Series, minutes: int) -> Scores:
    """Scores a horizon on the last 20 % of the series, in order of time.

    In `REFITS` equal parts: each is forecast by a model fitted on all that came before, of which the newest stretch of
    20 % gives the interval. Judged where the value of now, the outcome and seasonal-naive's value are known. Raises
    ValueError where the horizon is no whole number of steps or a stretch gives too few forecasts.
    """
    ahead, rest = divmod(minutes * MINUTE_S, series.step_s)
    if rest or not ahead:
        raise ValueError(f"{minutes} min is no whole number of steps of {series.step_s} s")
    count = len(series.values)
    calibration = int(SHARE * count)
    cuts = np.linspace(count - calibration, count - ahead, REFITS + 1).astype(np.int64).tolist()
    naive, tested, parts = _seasonal_naive(series), [], []
    for first, last in pairwise(cuts):
        model = fit(series, ahead, first - calibration, calibration)
        now = _origins(series, first, last + ahead, ahead)
        now = now[np.isfinite(naive[now + ahead])]
        tested.append(now)
        parts.append(model.predict(series, now))
    now = np.concatenate(tested)
    if len(now) < LEAST:
        raise ValueError(f"{len(now)} forecasts to score; {LEAST} are needed: give a longer series")
    actual = series.values[now + ahead]
    expected, low, high = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("expected", "low", "high")
    )
    return Scores(
        minutes=minutes,
        forecasts=len(now),
        mae=float(np.abs(actual - expected).mean()),
        seasonal_naive_mae=float(np.abs(actual - naive[now + ahead]).mean()),
        persistence_mae=float(np.abs(actual - series.values[now]).mean()),
        coverage=float(((actual >= low) & (actual <= high)).mean()),
        width=float((high - low).mean()),
    )


def model_card(name: str, unit: str, scores: Sequence[Scores]) -> str:
    """The model card in Markdown: what it forecasts, how it was tested, how well it did and where not to trust it."""
    rows = "\n".join(
        f"| {one.minutes} | {one.forecasts:,} | {one.mae:.2f} | {one.seasonal_naive_mae:.2f} | {one.skill:.0%} "
        f"| {one.persistence_mae:.2f} | {one.coverage:.1%} | {one.width:.1f} | {'yes' if one.holds else 'NO'} |"
        for one in scores
    )
    return CARD.format(name=name, unit=unit, rows=rows, level=COVERAGE, share=SHARE, refits=REFITS)


CARD = """\
# Model card: {name}

Forecasts {unit} of one road segment some minutes ahead, with an interval meant to hold {level:.0%} of outcomes.

| minutes ahead | forecasts | mean absolute error | seasonal-naive | less by | persistence | covered | width | holds |
|---|---|---|---|---|---|---|---|---|
{rows}

- **Holds** means: less error than seasonal-naive (same time a week ago, else a day ago), 80 to 95 % covered.
- **Model**: weekly profile, and a line through recent departures from it fitted for least absolute error; conformal
  interval, apart for quiet and busy times.
- **Tested** on the last {share:.0%} of the series in time, fitted {refits} times on what came before; the newest
  {share:.0%} of that gave the interval. Forecasts see nothing after their own time.
- **Use**: advice to people, the heat map's outlook. Never to actuate signals.
- **Limits**: knows neither weather, holidays, works nor events, nor neighbouring segments; no forecast while the
  segment is silent; after a lasting change of traffic the interval is wrong until it is fitted again.
"""


def _origins(series: Series, first: int, last: int, ahead: int) -> Indexes:
    """Steps from which a forecast can be judged: now and outcome known, both within the stretch."""
    now = np.arange(first, max(last - ahead, first))
    known = np.isfinite(series.values)
    return now[known[now] & known[now + ahead]]


def _seasonal_naive(series: Series) -> Floats:
    """For each step the value of the same time a week before, a day before where that is unknown."""

    def back(seconds: int) -> Floats:
        steps = seconds // series.step_s
        return np.concatenate((np.full(steps, np.nan), series.values))[: len(series.values)]

    week, day = back(WEEK_S), back(DAY_S)
    return np.where(np.isfinite(week), week, day)


def _profile(series: Series) -> tuple[Floats, Floats]:
    """The profile, weekday x step of the day, and for each step of the series what it would be without that step.

    Each mean is drawn towards the coarser one (weekday, working day or weekend, day, everything) as if that had been
    seen `PRIOR` times.
    """
    index = np.flatnonzero(np.isfinite(series.values))
    if not len(index):
        raise ValueError("the series holds no value to learn from")
    values, slots = series.values[index], DAY_S // series.step_s
    slot, weekday = series.time_of_day(index), series.weekday(index)
    weekend = (np.arange(WEEK) >= SATURDAY).astype(np.int64)
    usual, own = np.full(slots, values.mean()), np.full(len(values), values.mean())
    usual, own = _drawn(slot, values, usual, own)
    usual, own = _drawn(weekend[weekday] * slots + slot, values, np.tile(usual, 2), own)
    usual, own = _drawn(weekday * slots + slot, values, usual.reshape(2, slots)[weekend].ravel(), own)
    without_itself = np.full(len(series.values), np.nan)
    without_itself[index] = own
    return usual.reshape(WEEK, slots), without_itself


def _drawn(place: Indexes, values: Floats, coarser: Floats, own: Floats) -> tuple[Floats, Floats]:
    """The means of places, drawn towards the coarser ones; for each value, that of its place without the value."""
    count = np.bincount(place, minlength=len(coarser))
    total = np.bincount(place, weights=values, minlength=len(coarser))
    return (
        (total + PRIOR * coarser) / (count + PRIOR),
        (total[place] - values + PRIOR * own) / (count[place] - 1 + PRIOR),
    )


_ROUNDS = 8  # after which the line hardly moves


def _least_absolute(inputs: Floats, target: Floats) -> Floats:
    """Least absolute error by iteratively reweighted least squares, with a touch of ridge against idle columns."""
    scale = float(np.abs(target).mean()) or 1.0
    weights = np.ones(len(target))
    line: Floats = np.zeros(inputs.shape[1])
    for _ in range(_ROUNDS):
        weighted = inputs * weights[:, None]
        square = weighted.T @ inputs
        square[np.diag_indices_from(square)] += 1e-3 * len(target)
        line = np.asarray(np.linalg.solve(square, weighted.T @ target), dtype=np.float64)
        weights = 1.0 / np.maximum(np.abs(target - inputs @ line) / scale, 1e-2)
    return line


def _bounds(errors: Floats, all_errors: Floats) -> tuple[float, float]:
    """The errors between which the share `COVERAGE` lies, with the finite-sample correction of split conformal."""
    chosen = errors if len(errors) >= LEAST else all_errors
    tail = (1.0 - COVERAGE) / 2
    reach = min((1.0 - tail) * (1 + 1 / len(chosen)), 1.0)
    return float(np.quantile(chosen, 1.0 - reach)), float(np.quantile(chosen, reach))
