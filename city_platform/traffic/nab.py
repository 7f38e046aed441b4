"""The scoring rules of the Numenta Anomaly Benchmark, and thresholds that never saw the series they judge.

Rules (Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms", ICMLA 2015, and the benchmark's sweeper):
of all detections inside a labelled window the earliest counts, more the earlier it comes, by a scaled sigmoid of its
position; a window without one costs `fn`; every detection outside costs up to `fp`, less shortly after a window; the
first 15 % of a series (of at most 5,000 readings) are for learning and do not count. A corpus' sum of points is put on
a scale where 0 is a detector that never tells anything and 100 one that tells every window at its first reading.

The benchmark itself optimises one threshold on the very series it scores. Here each series is judged by a threshold,
and where several settings are offered by settings, that did best on all the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
NEVER = np.inf
LEARNING = -2  # in the place of a window's number: neither hit nor false alarm


@dataclass(frozen=True, slots=True)
class Profile:
    """What a hit, a false alarm and a missed window weigh, in points."""

    tp: float
    fp: float
    fn: float


PROFILES = {
    "standard": Profile(tp=1.0, fp=0.11, fn=1.0),
    "reward_low_FP_rate": Profile(tp=1.0, fp=0.22, fn=1.0),
    "reward_low_FN_rate": Profile(tp=1.0, fp=0.11, fn=2.0),
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """One series: ascending times (seconds), values, and the labelled windows as (first, last) times, both inside."""

    times_s: npt.NDArray[np.int64]
    values: Floats
    windows: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Judged:
    """One series under the choice made on the others: the threshold, its points and how often it told something."""

    candidate: str
    threshold: float
    points: float
    windows: int
    found: int
    alarms: int

    def score(self, profile: Profile) -> float:
        return normalised(self.points, self.windows, profile)


def scaled_sigmoid(position: Floats) -> Floats:
    """1 far before the right edge of a window (position -1 is its left edge), 0 at the edge, -1 from position 3 on."""
    inside: Floats = 2.0 / (1.0 + np.exp(5.0 * np.minimum(position, 3.0))) - 1.0
    return np.where(position >= 3.0, -1.0, inside)  # noqa: PLR2004 -- the benchmark's bound


class Course:
    """What a detection at each reading of a series is worth; built once, asked for many thresholds."""

    def __init__(self, series: Labelled, profile: Profile) -> None:
        count = len(series.times_s)
        self._profile = profile
        self.windows = len(series.windows)
        self._worth = np.full(count, -profile.fp)
        self._window = np.full(count, -1)  # which window a reading is in, -1 outside
        full = float(scaled_sigmoid(np.array([-1.0]))[0])
        for number, (start, end) in enumerate(sorted(series.windows)):
            first, last = np.searchsorted(series.times_s, (start, end))
            if last >= count or series.times_s[first] != start or series.times_s[last] != end:
                raise ValueError(f"window {start}..{end} s does not begin and end at readings of its series")
            width = last - first + 1
            inside, after = np.arange(first, last + 1), np.arange(last + 1, count)
            self._worth[inside] = scaled_sigmoid(-(last - inside + 1) / width) * profile.tp / full
            self._worth[after] = scaled_sigmoid((after - last) / max(width - 1, 1)) * profile.fp
            self._window[inside] = number
        self._window[: self.probation(count)] = LEARNING

    @staticmethod
    def probation(count: int) -> int:
        """Readings at the start that do not count."""
        return int(min(0.15 * count, 0.15 * 5000))

    def points(self, scores: Floats, thresholds: Floats) -> Floats:
        """The points of telling every reading whose score reaches the threshold, one sum a threshold."""
        total = np.zeros(len(thresholds))
        for number in range(-1, self.windows):
            place = np.flatnonzero(self._window == number)
            if number >= 0 and not len(place):
                continue  # a window inside the learning part is not scored
            place = place[np.argsort(-scores[place], kind="stable")]
            reached = np.searchsorted(-scores[place], -thresholds, side="right")
            worth = self._worth[place]
            if number < 0:
                total += np.concatenate(([0.0], np.cumsum(worth)))[reached]
            else:
                total += np.concatenate(([-self._profile.fn], np.maximum.accumulate(worth)))[reached]
        return total

    def told(self, scores: Floats, threshold: float) -> tuple[int, int]:
        """(windows found, readings told) at a threshold, without the learning part."""
        windows = self._window[(scores >= threshold) & (self._window > LEARNING)]
        return len(np.unique(windows[windows >= 0])), len(windows)


def normalised(points: float, windows: int, profile: Profile) -> float:
    """Points on the scale of 0 (tells nothing) to 100 (tells every window at once); bad detectors go below 0."""
    nothing, perfect = -profile.fn * windows, profile.tp * windows
    return 100.0 * (points - nothing) / (perfect - nothing)


def leave_one_out(
    corpus: Mapping[str, Labelled], candidates: Mapping[str, Mapping[str, Floats]], profile: Profile
) -> Mapping[str, Judged]:
    """Judges every series with the candidate and threshold that earn most on all the other series.

    `candidates`: name of the settings -> name of the series -> scores, one a reading, 0 for nothing to tell. Of several
    equally good thresholds the middle one is taken, of equally good candidates the first. Needs two series at least.
    """
    if len(corpus) < 2:  # noqa: PLR2004
        raise ValueError("a threshold is chosen on the other series: at least two are needed")
    courses = {name: Course(series, profile) for name, series in corpus.items()}
    judged = {}
    for name, course in courses.items():
        best, chosen, threshold = -np.inf, next(iter(candidates)), NEVER
        others = [other for other in courses if other != name]
        for candidate, scores in candidates.items():
            thresholds = _thresholds([scores[other] for other in others])
            points: Floats = np.sum([courses[other].points(scores[other], thresholds) for other in others], axis=0)
            if points.max() > best:
                equal = np.flatnonzero(points == points.max())
                best, chosen, threshold = float(points.max()), candidate, float(thresholds[equal[len(equal) // 2]])
        own = candidates[chosen][name]
        total = float(course.points(own, np.array([threshold]))[0])
        judged[name] = Judged(chosen, threshold, total, course.windows, *course.told(own, threshold))
    return judged


def corpus_score(judged: Mapping[str, Judged], profile: Profile) -> float:
    """The score of the corpus: all points over all windows, as the benchmark adds them up."""
    parts = judged.values()
    return normalised(sum(one.points for one in parts), sum(one.windows for one in parts), profile)


def _thresholds(scores: Sequence[Floats]) -> Floats:
    """Every score that occurs, at most 400 a series, and one that is never reached; ascending, all above 0."""
    seen = [np.unique(one[one > 0]) for one in scores]
    thinned = [one[np.unique(np.linspace(0, len(one) - 1, 400).astype(int))] for one in seen if len(one)]
    return np.unique(np.concatenate([*thinned, np.array([NEVER])]))
