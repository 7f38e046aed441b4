"""What else happened where traffic was bad: planted coincidences are found as large as they are, and noise is not."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.crossing.coincidence import (
    LEAST_DAYS,
    LEAST_EARLIER,
    LEAST_HOURS,
    LEAST_UNUSUAL,
    Lift,
    _student,
    lifts,
    strata,
    unusual,
)
from city_platform.layers.traffic_circumstances import explain

ZONES, DAYS, HOURS = 40, 28, 24
VANCOUVER = ZoneInfo("America/Vancouver")


def month(seed: int, times: float, kinds: int = 8) -> list[Lift]:
    """The lifts of a month of forty zones that differ in how often they are unusual, and have rush hours and bad days.

    With the first kind near, hours are so many times as often unusual; the others are noise. A candidate lasts for
    three hours; every second kind is near oftener in zones and at times of day in which hours are unusual oftener.
    """
    draw = np.random.default_rng(seed)
    zone, day, hour = (one.ravel() for one in np.indices((ZONES, DAYS, HOURS)))
    usually = draw.uniform(0.01, 0.05, ZONES)[zone] * draw.uniform(0.5, 1.5, HOURS // 3)[hour // 3]
    often = usually * draw.lognormal(0, 0.4, DAYS)[day]
    present = {}
    for kind in range(kinds):
        near = draw.random((ZONES, DAYS, HOURS // 3))[zone, day, hour // 3]
        present[f"kind {kind}"] = near < (4 * usually if kind % 2 else 0.08)
    bad = draw.random(len(zone)) < often * np.where(present["kind 0"], times, 1.0)
    return list(lifts(bad, strata(zone, hour, zone < 0), day, present))


@settings(max_examples=12)
@given(st.integers(0, 10_000))
def test_a_planted_coincidence_is_found_as_large_as_it_is(seed: int) -> None:
    first, *_ = month(seed, 4.0)
    assert first.oftener
    assert first.low is not None
    assert first.high is not None
    assert 2.0 < first.low < first.high < 8.0
    assert first.ratio == pytest.approx(4.0, rel=0.4)


def test_in_noise_hardly_anything_is_found() -> None:
    """All intervals of a month hold at once in nineteen months of twenty: of sixty, three may not."""
    wrong = sum(any(one.oftener for one in month(seed, 1.0)) for seed in range(60))
    assert wrong <= 7


def test_zones_that_have_more_of_everything_make_no_coincidence_by_themselves() -> None:
    """Half of the zones are jammed and dug up all the time, the others never, and within each there is no relation."""
    draw = np.random.default_rng(3)
    zone, day, _ = (one.ravel() for one in np.indices((ZONES, DAYS, HOURS)))
    worse = zone % 2 == 0
    bad = draw.random(len(zone)) < np.where(worse, 0.2, 0.01)
    near = draw.random(len(zone)) < np.where(worse, 0.6, 0.05)
    crude = (bad & near).sum() / near.sum() / ((bad & ~near).sum() / (~near).sum())
    (one,) = lifts(bad, zone, day, {"digging": near})
    assert crude > 1.5
    assert one.ratio == pytest.approx(1.0, abs=0.15)
    assert not one.oftener


@given(st.integers(0, 10_000), st.integers(1, 30), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_what_the_numbers_do_not_carry_is_not_said(seed: int, days: int, bad_share: float, near_share: float) -> None:
    draw = np.random.default_rng(seed)
    zone, day = (one.ravel() for one in np.indices((3, days)))
    bad, near = draw.random(len(zone)) < bad_share, draw.random(len(zone)) < near_share
    (one,) = lifts(bad, zone, day, {"a": near})
    assert (one.hours, one.unusual) == (near.sum(), (near & bad).sum())
    assert (one.hours_without, one.unusual_without) == ((~near).sum(), (~near & bad).sum())
    if one.ratio is None:
        assert (one.low, one.high, one.oftener) == (None, None, False)
    else:
        assert one.hours >= LEAST_HOURS
        assert min(one.unusual, one.unusual_without) >= LEAST_UNUSUAL
        assert days >= LEAST_DAYS
        assert one.low is not None
        assert one.high is not None
        assert 0 < one.low <= one.ratio <= one.high < math.inf


def test_nothing_at_all_has_no_lift() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert lifts(nothing.astype(bool), nothing, nothing, {}) == []
    (one,) = lifts(nothing.astype(bool), nothing, nothing, {"a": nothing.astype(bool)})
    assert one == Lift("a", 0, 0, 0, 0, 0)


def test_students_quantiles_are_those_of_tables() -> None:
    for share, freedom, table in ((0.975, 10, 2.228), (0.975, 27, 2.052), (0.995, 20, 2.845), (0.9975, 27, 3.057)):
        assert _student(share, freedom) == pytest.approx(table, abs=0.01)


def test_an_hour_is_unusual_against_the_same_hour_of_the_zones_other_days_of_its_kind() -> None:
    days = np.arange(12, dtype=np.int64)
    index = np.full(12, 20.0)
    index[-1] = 60.0
    zero, weekend = np.zeros(12, dtype=np.int64), np.zeros(12, dtype=bool)
    odd, usual = unusual(index, zero, zero, weekend, days)
    assert np.flatnonzero(odd).tolist() == [11]
    assert usual[11] == 20.0
    weekend[:8] = True  # three other days of its kind are too few
    odd, usual = unusual(index, zero, zero, weekend, days)
    assert not odd.any()
    assert np.isnan(usual[11])
    assert not np.isnan(usual[0])
    always = np.full(12, 60.0)
    assert not unusual(always, zero, zero, weekend[::-1], days)[0].any()  # bad as ever is not unusual
    unknown = np.full(12, np.nan)
    assert not unusual(unknown, zero, zero, weekend, days)[0].any()
    assert LEAST_EARLIER == 4


def rows(days: int, index: float = 20.0) -> list[dict[str, Any]]:
    """Ten in the morning of a zone, on working days."""
    start = datetime(2026, 6, 1, 17, tzinfo=UTC)
    found = []
    for number in range(days):
        at = start + timedelta(days=number // 5 * 7 + number % 5)
        found.append({"zone": "z-001", "hour": at, "index": index, "vehicles": 100})
    return found


def test_an_unusual_hour_is_explained_by_what_was_known_or_by_nothing() -> None:
    zones = rows(10)
    zones[-1]["index"], zones[-2]["index"] = 71.6, 66.0
    hour = zones[-1]["hour"]
    near = [
        {"zone": "z-001", "hour": hour, "kind": "a building permit for demolition", "name": "", "metres": 200,
         "since": datetime(2026, 6, 2, 7, tzinfo=UTC)},
        {"zone": "z-001", "hour": hour, "kind": "traffic disruption", "name": "VAN-2026-7K3MQ9", "metres": 0,
         "since": datetime(2026, 6, 12, 15, 40, tzinfo=UTC)},
    ]  # fmt: skip
    (known, nothing), lifted = explain(zones, near, VANCOUVER, ["building_permits"])
    assert known.text == (
        "z-001, the hour of 2026-06-12 10:00 PDT: index 72, usually 20. Known near it, which need not be why: "
        "traffic disruption VAN-2026-7K3MQ9, about 0 m away, since 2026-06-12 08:40; "
        "a building permit for demolition, about 200 m away, since 2026-06-02 00:00. Not looked at: building_permits."
    )
    assert nothing.text == (
        "z-001, the hour of 2026-06-11 10:00 PDT: index 66, usually 20. Nothing known within 250 m. "
        "Not looked at: building_permits."
    )
    assert [one.kind for one in lifted] == ["a building permit for demolition", "traffic disruption"]
    assert all(one.ratio is None for one in lifted)  # one hour carries nothing
    assert "times" not in known.text
