"""Forecasts of one segment: what they learn, what they must not see, and how they are judged."""

from dataclasses import replace

import numpy as np
import pytest

from city_platform.traffic.forecast import (
    COVERAGE,
    DAY_S,
    HOUR_S,
    Scores,
    Series,
    evaluate,
    fit,
    logged,
    model_card,
    regular,
)
from city_platform.traffic.forecast import _inputs as inputs
from city_platform.traffic.forecast import _profile as profile

STEP = 900


def a_season(days: int = 70, noise: float = 0.1, seed: int = 5) -> Series:
    """Quarter hours of a road whose departures from the usual carry on, and fade over an hour and a half."""
    index = np.arange(days * DAY_S // STEP)
    hour, weekend = index * STEP % DAY_S / HOUR_S, (index * STEP // DAY_S + 3) % 7 >= 5
    usual = 100 + np.where(weekend, 50, 400) * np.exp(-(((hour - 8) / 3) ** 2))
    draw, departure = np.random.default_rng(seed), np.zeros(len(index))
    for one in range(1, len(index)):
        departure[one] = 0.85 * departure[one - 1] + draw.normal(0, noise)
    return Series(0, STEP, usual * np.exp(departure))


def test_departures_that_carry_on_are_forecast_better_than_any_naive_way() -> None:
    season = a_season()
    for minutes in (15, 60):
        scores = evaluate(season, minutes)
        assert scores.holds
        assert scores.mae < scores.persistence_mae
        assert scores.skill > 0.25
        assert scores.coverage == pytest.approx(COVERAGE, abs=0.04)


def test_a_forecast_sees_nothing_after_its_own_time() -> None:
    season = a_season(days=30)
    now = np.arange(2300, 2500)
    model = fit(season, 4, 1900, 400)
    later = replace(season, values=season.values.copy())
    later.values[2400:] *= 3
    known, changed = model.predict(season, now), model.predict(later, now)
    before = now < 2400
    assert np.array_equal(known.expected[before], changed.expected[before])
    assert not np.array_equal(known.expected[~before], changed.expected[~before])
    again = fit(later, 4, 1900, 400)
    assert np.array_equal(again.line, model.line)
    assert np.array_equal(again.bounds, model.bounds)


def test_without_the_value_of_now_there_is_no_forecast_and_gaps_elsewhere_do_no_harm() -> None:
    season = a_season(days=40)
    holes = np.random.default_rng(1).random(len(season.values)) < 0.3
    holes[3500] = True
    gappy = replace(season, values=np.where(holes, np.nan, season.values))
    forecast = fit(gappy, 2, 2800, 600).predict(gappy, np.arange(3400, 3600))
    assert np.isnan(forecast.expected[100])
    assert np.array_equal(np.isfinite(forecast.expected), ~holes[3400:3600])
    known = np.isfinite(forecast.expected)
    assert np.all(forecast.low[known] <= forecast.high[known])
    assert evaluate(gappy, 30).holds


def test_a_value_departs_from_a_profile_made_without_it() -> None:
    series = logged(a_season(days=15))
    _, without_itself = profile(series)
    for index in (3, 500, 1100):
        lacking = replace(series, values=series.values.copy())
        lacking.values[index] = np.nan
        usual, _ = profile(lacking)
        expected = usual[series.weekday(np.array([index])), series.time_of_day(np.array([index]))][0]
        assert without_itself[index] == pytest.approx(expected, rel=2e-3)


def test_the_line_sees_now_the_last_hour_and_day_and_the_same_time_of_yesterday_and_a_week_ago() -> None:
    departure = np.random.default_rng(2).normal(size=800)
    departure[[699, 690]] = np.nan  # a quarter of an hour ago, and one of the day
    row = inputs(departure, np.array([700]), 4, STEP)[0]
    hour, day = np.nanmean(departure[697:701]), np.nanmean(departure[605:701])
    assert row == pytest.approx([1, departure[700], 0, hour, day, departure[704 - 96], departure[704 - 672]])


def test_irregular_readings_become_means_of_steps() -> None:
    series = regular(np.array([905, 910, 3000]), np.array([2.0, 4.0, 7.0]), STEP)
    assert (series.start_s, series.step_s) == (900, STEP)
    assert np.array_equal(series.values, [3.0, np.nan, 7.0], equal_nan=True)


def test_what_cannot_be_forecast_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="divides a day"):
        regular(np.array([1]), np.array([1.0]), 7 * HOUR_S)
    with pytest.raises(ValueError, match="no whole number of steps"):
        evaluate(a_season(days=20), 20)
    with pytest.raises(ValueError, match="days to learn from; a weekly profile needs 7"):
        evaluate(a_season(days=8), 60)
    with pytest.raises(ValueError, match="not negative"):
        evaluate(replace(a_season(days=20), values=-np.ones(20 * DAY_S // STEP)), 60)
    sparse = a_season(days=20)
    sparse.values[np.arange(len(sparse.values)) % 40 > 0] = np.nan
    with pytest.raises(ValueError, match="of each are needed"):
        evaluate(sparse, 60)


def test_the_card_says_what_does_not_hold() -> None:
    good = Scores(15, 900, 2.0, 4.0, 3.0, 0.9, 10.0)
    card = model_card("Bridge Street", "vehicles", [good, replace(good, minutes=60, coverage=0.7)])
    assert "| 15 | 900 | 2.00 | 4.00 | 50% | 3.00 | 90.0% | 10.0 | yes |" in card
    assert "| 70.0% | 10.0 | NO |" in card
    assert not replace(good, mae=4.0).holds
