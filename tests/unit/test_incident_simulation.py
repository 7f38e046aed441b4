"""Made-up reports are what they say they are, as often as they should be."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.incidents.nearby import metres_between
from city_platform.incidents.report import InvalidRequest, read_report
from city_platform.incidents.sending import percentile
from city_platform.incidents.simulation import Rhythm, SimulatedReport, arrivals, week_in
from tests.incidents import CITIZEN, NOW, reference

MONDAY = datetime(2026, 3, 9, 7, tzinfo=UTC)  # midnight in Vancouver


def week(seed: int, rate: float = 4.0, seconds: float = 60) -> list[SimulatedReport]:
    clock = week_in(seconds, MONDAY)
    return list(arrivals(reference(), rate=rate, seconds=seconds, clock=clock, seed=seed))


@settings(max_examples=3)
@given(st.integers(0, 10_000))
def test_good_reports_are_taken_and_bad_ones_refused_for_what_is_wrong(seed: int) -> None:
    made = week(seed)
    assert made == week(seed)
    assert all(one.after < other.after for one, other in pairwise(made))
    for one in made:
        if one.wrong:
            with pytest.raises(InvalidRequest) as refused:
                read_report(one.payload, reference(), CITIZEN, NOW)
            assert [fault.field for fault in refused.value.faults] == [one.wrong]
        else:
            read_report(one.payload, reference(), CITIZEN, NOW)


def test_rate_shares_and_hours_are_those_of_a_city() -> None:
    made = week(seed=1, rate=10, seconds=500)
    assert 4_700 < len(made) < 5_300
    shares = Counter("bad" if one.wrong else "again" if one.duplicate else "new" for one in made)
    assert 0.03 < shares["bad"] / len(made) < 0.05
    assert 0.06 < shares["again"] / len(made) < 0.10
    clock = week_in(500, MONDAY)
    hours = Counter(clock(one.after).astimezone(reference().zone).hour for one in made)
    assert hours[10] > 4 * hours[3]
    noise = [one for one in made if one.payload["category"] == "noise"]
    at_night = sum(week_in(500, MONDAY)(one.after).astimezone(reference().zone).hour in {22, 23, 0, 1} for one in noise)
    assert at_night / len(noise) > 0.3


def test_what_is_reported_again_is_near_the_first() -> None:
    made = week(seed=2)
    for one in (one for one in made if one.duplicate):
        first = [other for other in made if one.payload["title"] == f"{other.payload['title']}, still there"]
        distances = (
            metres_between(one.payload["lat"], one.payload["long"], other.payload["lat"], other.payload["long"])
            for other in first
            if not other.wrong
        )
        assert min(distances) < 25


def test_the_rhythm_keeps_the_mean() -> None:
    rhythm = Rhythm(reference())
    hours = [MONDAY + timedelta(hours=hour) for hour in range(7 * 24)]
    local = [hour.astimezone(reference().zone) for hour in hours]
    for category in ("waste", "noise"):
        assert sum(rhythm.intensity(category, hour) for hour in local) / len(hours) == pytest.approx(1)
    total = sum(
        rhythm.expected_reports(district, category, hour, mean_per_hour=50)
        for district in rhythm.districts
        for category in rhythm.categories
        for hour in local
    )
    assert total == pytest.approx(50 * len(hours))


def test_percentiles() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0] * 99 + [9.0], 0.99) == 9.0
    assert percentile([1.0] * 990 + [9.0] * 10, 0.98) == 1.0
