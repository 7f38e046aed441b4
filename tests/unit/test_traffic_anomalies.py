"""A seasonal detector that only knows the past, and the benchmark's scoring rules."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.traffic.anomalies import DAY_S, HOUR_S, Detector, Settings, scores
from city_platform.traffic.nab import PROFILES, Course, Labelled, corpus_score, leave_one_out, normalised

STANDARD = PROFILES["standard"]


def a_month(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Ten-minute readings of four weeks: quiet nights and weekends, a rush hour on working days, 5 % of noise."""
    times = np.arange(0, 28 * DAY_S, 600, dtype=np.int64)
    hour, weekend = times % DAY_S / HOUR_S, (times // DAY_S + 3) % 7 >= 5
    usual = 60 + np.where(weekend, 10, 80) * np.exp(-(((hour - 8) / 2) ** 2))
    return times, usual * np.random.default_rng(seed).normal(1, 0.05, len(times))


def test_a_rush_hour_is_usual_on_a_working_day_and_unusual_on_a_sunday() -> None:
    times, values = a_month()
    sunday = 24 * DAY_S + 8 * HOUR_S  # 25 January 1970
    jam = np.flatnonzero((times >= sunday) & (times < sunday + HOUR_S))
    values[jam] = 140
    told = scores(times, values)
    assert told[jam].max() == told[len(told) // 2 :].max() > 2
    monday = (times >= 25 * DAY_S + 7 * HOUR_S) & (times < 25 * DAY_S + 9 * HOUR_S)
    assert told[monday].max() < 2


def test_scores_depend_on_the_past_alone() -> None:
    times, values = a_month()
    whole, half = scores(times, values), scores(times[:2000], values[:2000])
    assert np.array_equal(whole[:2000], half)


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1e6), min_size=60, max_size=120), st.integers(1, 4))
def test_a_score_is_told_only_as_the_highest_of_its_hours(values: list[float], hours: int) -> None:
    times = np.arange(len(values), dtype=np.int64) * 600
    told = scores(times, np.array(values), Settings(hold_s=hours * HOUR_S))
    for index in np.flatnonzero(told):
        before = told[(times >= times[index] - hours * HOUR_S) & (times < times[index])]
        assert told[index] > before.max(initial=0)
    assert np.isfinite(told).all()


def test_a_missing_value_teaches_nothing_and_bad_ones_are_refused() -> None:
    times, values = a_month()
    gap = np.insert(values, 500, math.nan)
    again = scores(np.insert(times, 500, times[500]), gap)
    assert np.array_equal(np.delete(again, 500), scores(times, values))
    detector = Detector()
    detector.observe(100, 1.0)
    with pytest.raises(ValueError, match="sort readings by time"):
        detector.observe(99, 1.0)
    for bad in (-1.0, math.inf):
        with pytest.raises(ValueError, match="finite and not negative"):
            detector.observe(101, bad)


def test_the_benchmark_scores_early_hits_misses_and_false_alarms() -> None:
    times = np.arange(100, dtype=np.int64)
    course = Course(Labelled(times, times * 1.0, [(40, 59), (80, 89)]), STANDARD)

    def points(*at: int) -> float:
        return float(course.points(np.isin(times, at) * 1.0, np.array([1.0]))[0])

    assert points() == -2
    assert points(40, 80) == pytest.approx(2)  # both windows at their first reading
    assert points(40, 45, 80) == points(40, 80)  # only the first hit of a window counts
    assert 2 * points(50) > points(40) + points(59)  # the sigmoid falls late
    assert points(10) == points()  # learning does not count
    assert points(30) == pytest.approx(-2 - 0.11)  # a false alarm before any window costs all of it
    behind = 0.11 * (2 / (1 + math.exp(5 / 19)) - 1)  # by one reading, of a window of twenty
    assert points(60) == pytest.approx(-2 + behind)
    assert points(40, 80, 60) == pytest.approx(points(40, 80) + behind)
    assert normalised(points(40, 80), 2, STANDARD) == pytest.approx(100)
    assert normalised(points(), 2, STANDARD) == 0
    with pytest.raises(ValueError, match="begin and end at readings"):
        Course(Labelled(times, times * 1.0, [(40, 120)]), STANDARD)


def test_a_series_is_judged_by_a_threshold_it_had_no_part_in() -> None:
    times = np.arange(100, dtype=np.int64)

    def a_series(peak: float) -> tuple[Labelled, np.ndarray]:
        told = np.where((times >= 50) & (times < 60), peak, 1.0)
        return Labelled(times, times * 1.0, [(50, 59)]), told

    one, loud = a_series(9)
    two, faint = a_series(3)
    judged = leave_one_out({"one": one, "two": two}, {"only": {"one": loud, "two": faint}}, STANDARD)
    # The threshold that serves the loud series best (9) misses the faint one; its own would have found it.
    assert (judged["two"].threshold, judged["two"].found) == (9, 0)
    assert (judged["one"].threshold, judged["one"].found) == (3, 1)
    assert corpus_score(judged, STANDARD) == pytest.approx(50)
    with pytest.raises(ValueError, match="at least two"):
        leave_one_out({"one": one}, {"only": {"one": loud}}, STANDARD)


def test_what_is_usual_is_told_by_the_hour_in_the_values_unit() -> None:
    detector = Detector()
    with pytest.raises(ValueError, match="nothing was learnt yet"):
        detector.usual(0)
    times, values = a_month()
    for time, value in zip(times.tolist(), values.tolist(), strict=True):
        detector.observe(time, value)
    monday = 28 * DAY_S + 4 * DAY_S  # 2 February 1970 was one: 1 January was a Thursday
    for hour, usual in ((8, 140), (3, 60)):
        low, high = detector.usual(monday + hour * HOUR_S)
        assert low < usual < high
        assert high - low < usual
    sunday = detector.usual(monday - DAY_S + 8 * HOUR_S)
    assert sunday[0] < 70 < sunday[1] < 140
