"""What is unusual for a district and category: intervals, explanations, and planted anomalies found."""

import math
from datetime import date, datetime, time, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.incidents.anomalies import LEAST_DAYS, Cell, Judgement, interval, judge
from city_platform.incidents.simulation import Rhythm
from tests.incidents import reference

MONDAY = date(2026, 1, 5)
HISTORY, JUDGED = 56, 14


def planted(seed: int) -> tuple[dict[Cell, list[int]], set[tuple[date, str, str]]]:
    """Ten weeks of a city with 290 reports a day that vary more than chance, and what was planted in the last two.

    A burst is five to nine standard deviations of the day, and at least six reports; a busy cell may fall silent.
    """
    rng = np.random.default_rng(seed)
    rhythm, zone = Rhythm(reference()), reference().zone
    days = [MONDAY + timedelta(days=one) for one in range(HISTORY + JUDGED)]
    counts: dict[Cell, list[int]] = {}
    means: dict[Cell, list[float]] = {}
    for category in rhythm.categories:
        hours = [
            sum(rhythm.intensity(category, datetime.combine(day, time(hour), zone)) for hour in range(24))
            for day in days[:7]
        ]
        weather = rng.gamma(40, 1 / 40, len(days))  # the same for all districts: a storm, a heat wave
        for district, share in rhythm.districts.items():
            usual = [12 * share * rhythm.categories[category] * hours[place % 7] for place in range(len(days))]
            means[district, category] = usual
            counts[district, category] = [int(one) for one in rng.poisson(np.array(usual) * weather)]
    truth = set()
    cells = list(counts)
    for _ in range(30):
        cell, place = cells[rng.integers(len(cells))], int(rng.integers(HISTORY, HISTORY + JUDGED))
        mean = means[cell][place]
        if mean > 12 and rng.random() < 0.3:
            counts[cell][place] = 0
        else:
            counts[cell][place] += math.ceil(max(6, rng.uniform(5, 9) * math.sqrt(mean + mean**2 / 40)))
        truth.add((days[place], *cell))
    return counts, truth


def test_planted_anomalies_are_found_and_little_else() -> None:
    found_rightly = found = true = 0
    for seed in range(6):  # nothing was chosen by looking at these
        counts, truth = planted(seed)
        unusual = {(one.day, one.district, one.category) for one in judge(counts, MONDAY, JUDGED) if one.unusual}
        found_rightly, found, true = found_rightly + len(unusual & truth), found + len(unusual), true + len(truth)
    assert found_rightly / found >= 0.8, (found_rightly, found)
    assert found_rightly / true >= 0.8, (found_rightly, true)


@settings(max_examples=30)
@given(st.floats(0.01, 400), st.floats(1, 5), st.sampled_from([0.001, 0.01, 0.1]))
def test_the_interval_leaves_out_no_more_than_its_tails(mean: float, dispersion: float, tail: float) -> None:
    low, high = interval(mean, mean * dispersion, tail)
    assert 0 <= low <= mean + 1
    assert high >= math.floor(mean)
    rng = np.random.default_rng(0)
    shape = mean / max(dispersion - 1, 1e-6)
    drawn = rng.poisson(rng.gamma(shape, max(dispersion - 1, 1e-6), 20_000))
    slack = 4 * math.sqrt(tail / 20_000)
    assert (drawn > high).mean() <= tail + slack
    assert (drawn < low).mean() <= tail + slack
    assert (drawn >= high).mean() >= tail - slack  # no wider than it has to be


def test_small_counts_are_not_called_unusual_for_nothing() -> None:
    quiet = {("downtown", "animal"): [0] * 60 + [3]}
    assert [one.unusual for one in judge(quiet, MONDAY, 1, false_alarms=0.001)] == [False]
    burst = {("downtown", "animal"): [0] * 60 + [7]}
    [one] = judge(burst, MONDAY, 1, false_alarms=0.001)
    assert one.unusual
    assert one.explanation.startswith("7 reports of animal in downtown on Friday 2026-03-06, where 0.0 were expected")


def test_a_burst_in_the_past_hides_no_other() -> None:
    usual = [3, 4, 5, 4, 3, 2, 1] * 8
    counts = {("downtown", "waste"): [*usual[:-10], 60, *usual[-9:], 25]}
    [one] = judge(counts, MONDAY, 1)
    assert one.unusual
    assert one.expected < 5


def test_weekends_are_expected_to_be_quiet() -> None:
    weeks = [40, 40, 40, 40, 40, 4, 4] * 8
    cell = ("downtown", "parking")
    [monday], [saturday] = judge({cell: [*weeks, 40]}, MONDAY, 1), judge({cell: weeks[:-1]}, MONDAY, 1)
    assert not monday.unusual
    assert saturday.expected < 12


@pytest.mark.parametrize("days", [0, 1, LEAST_DAYS])
def test_without_history_nothing_is_judged(days: int) -> None:
    assert list(judge({("downtown", "waste"): [50] * days}, MONDAY, 30)) == []
    assert list(judge({}, MONDAY, 30)) == []


def test_thousands_a_day() -> None:
    low, high = interval(2000, 4000, 0.001)
    assert 1790 < low < 1820
    assert 2180 < high < 2210
    one = Judgement(MONDAY, "downtown", "waste", 1, 40.0, 12, 70)
    said = "1 report of waste in downtown on Monday 2026-01-05, where 40.0 were expected and 12 to 70 are usual"
    assert one.explanation == said
