"""How incidents end: shares, and medians that count what is still open."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.incidents.statistics import Life, as_row, closure_statistics, median_time

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LIVES = st.builds(
    lambda group, reported, took, fixed, again: Life(
        group,
        START + reported * DAY,
        None if took is None else START + (reported + took) * DAY,
        is_closed=took is not None and not again,
        is_fixed=took is not None and not again and fixed,
        reopenings=again if took is not None else 0,
    ),
    st.sampled_from(["waste", "noise", "graffiti"]),
    st.integers(0, 50),
    st.one_of(st.none(), st.integers(0, 50)),
    st.booleans(),
    st.integers(0, 2),
)


@given(st.lists(LIVES, max_size=60))
def test_the_groups_add_up_to_all(lives: list[Life]) -> None:
    found = closure_statistics(lives, START + 100 * DAY)
    assert [one.group for one in found] == sorted({life.group for life in lives})
    assert sum(one.incidents for one in found) == len(lives)
    assert sum(one.fixed for one in found) == sum(life.is_fixed for life in lives)
    for one in found:
        assert one.open + one.closed == one.incidents
        assert one.fixed <= one.closed <= one.ever_closed
        assert one.reopened <= one.ever_closed
        for share in (one.closed_share, one.fixed_share, one.reopened_share):
            assert share is None or 0 <= share <= 1
        # Forgetting the open ones never makes a city look slower.
        if one.median_days is not None and one.median_days_of_closed is not None:
            assert one.median_days >= one.median_days_of_closed
        assert set(as_row(one)) >= {"Group", "Incidents", "Open", "Closed", "Fixed"}


@pytest.mark.parametrize(
    ("times", "median"),
    [
        ([], None),
        ([(3.0, True)], 3.0),
        ([(1.0, True), (2.0, True), (3.0, True)], 2.0),
        ([(1.0, True), (5.0, False), (5.0, False)], None),
        # The textbook's way: 6 at risk, ends at 1, 3 and 4, two only watched.
        ([(1.0, True), (2.0, False), (3.0, True), (4.0, True), (5.0, False), (6.0, True)], 4.0),
    ],
)
def test_medians(times: list[tuple[float, bool]], median: float | None) -> None:
    assert median_time(times) == median


def test_the_median_survives_that_not_everything_has_ended() -> None:
    rng = random.Random(1)  # noqa: S311 -- not a secret
    took = [rng.expovariate(1 / 10) for _ in range(4_000)]  # the median is 10 ln 2
    watched = [rng.uniform(0, 20) for _ in took]
    times = [(min(one, until), one <= until) for one, until in zip(took, watched, strict=True)]
    assert median_time(times) == pytest.approx(6.93, rel=0.1)
    naive = median_time([one for one in times if one[1]])
    assert naive is not None
    assert naive < 5
