"""The evaluator of alarms against AWS's own tables; then every alarm of every template, fired and cleared."""

from collections.abc import Mapping
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.alarms import Alarm, Points, State, UnknownExpression, evaluate
from tests.templates import Resource, resources, template

RETAINED = State.ALARM  # what the alarm was in before; where the guide says so, it stays
OK, ALARM, INSUFFICIENT = State.OK, State.ALARM, State.INSUFFICIENT_DATA
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")


def alarm(datapoints: int, periods: int, missing: str) -> Alarm:
    """One that fires above 10."""
    return Alarm.of(
        {
            "EvaluationPeriods": periods,
            "DatapointsToAlarm": datapoints,
            "TreatMissingData": missing,
            "Threshold": 10,
            "ComparisonOperator": "GreaterThanThreshold",
        }
    )


def series(points: str) -> list[Points]:
    """The guide's words: 0 is within the threshold, X is not, - is missing."""
    return [{"metric": {"0": 1.0, "X": 11.0, "-": None}[one]} for one in points]


@pytest.mark.parametrize(
    ("datapoints", "points", "expected"),
    [
        (3, "0-X-X", (OK, OK, OK, OK)),
        (3, "0----", (OK, OK, OK, OK)),
        (3, "-----", (INSUFFICIENT, RETAINED, ALARM, OK)),
        (3, "0XX-X", (ALARM, ALARM, ALARM, ALARM)),
        (3, "--X--", (ALARM, RETAINED, ALARM, OK)),
        (2, "0-X-X", (ALARM, ALARM, ALARM, ALARM)),
        (2, "00X0X", (ALARM, ALARM, ALARM, ALARM)),
        (2, "0-X--", (OK, OK, ALARM, OK)),
        (2, "----0", (OK, OK, ALARM, OK)),
        (2, "---X-", (ALARM, RETAINED, ALARM, OK)),
        (3, "----X", (OK, OK, ALARM, OK)),
        (3, "---X-", (OK, OK, ALARM, OK)),
    ],
)
def test_missing_data_are_treated_as_the_guide_has_it(datapoints: int, points: str, expected: tuple[State]) -> None:
    found = [alarm(datapoints, 3, missing).after(series(points), RETAINED) for missing in TREATMENTS]
    assert tuple(found) == expected


POINTS = st.text("0X-", min_size=1, max_size=12)
SHAPES = st.integers(1, 5).flatmap(lambda periods: st.tuples(st.integers(1, periods), st.just(periods)))


@given(shape=SHAPES, points=POINTS, before=st.sampled_from(State))
def test_without_missing_data_their_treatment_does_not_matter(
    shape: tuple[int, int], points: str, before: State
) -> None:
    datapoints, periods = shape
    real = points.replace("-", "0") + "0X" * periods
    found = {alarm(*shape, missing).after(series(real), before) for missing in TREATMENTS}
    assert found == {ALARM if real[-periods:].count("X") >= datapoints else OK}


@given(shape=SHAPES, points=POINTS, missing=st.sampled_from(TREATMENTS), before=st.sampled_from(State))
def test_one_more_breach_never_ends_an_alarm(shape: tuple[int, int], points: str, missing: str, before: State) -> None:
    one = alarm(*shape, missing)
    if one.after(series(points), before) is ALARM and "0" in points:
        assert one.after(series(points.replace("0", "X", 1)), before) is ALARM


@given(shape=SHAPES, points=POINTS, older=POINTS, missing=st.sampled_from(TREATMENTS))
def test_what_is_older_than_the_evaluation_range_is_forgotten(
    shape: tuple[int, int], points: str, older: str, missing: str
) -> None:
    one, whole = alarm(*shape, missing), points.rjust(shape[1] + 2, "-")
    assert one.after(series(older + whole), OK) is one.after(series(whole), OK)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a", 6.0),
        ("100 * a / (a + b)", 75.0),
        ("SUM(METRICS())", 8.0),
        ("SUM([a, gone])", 6.0),
        ("MAX([a, b])", 6.0),
        ("a + gone", None),
        ("a + FILL(gone, 1)", 7.0),
        ("IF(a > b, a, b)", 6.0),
        ("a / 0", None),
        ("twice + 1", 13.0),
    ],
)
def test_expressions_are_calculated(expression: str, expected: float | None) -> None:
    assert evaluate("e", {"e": expression, "twice": "2 * a"}, {"a": 6.0, "b": 2.0, "gone": None}) == expected


def test_what_an_expression_has_and_this_does_not_know_is_no_figure() -> None:
    with pytest.raises(UnknownExpression, match="STDDEV"):
        evaluate("e", {"e": "STDDEV(a)"}, {"a": 1.0})


@cache
def deployed(template_name: str) -> Mapping[str, Resource]:
    """The alarms of a template, by name, its numbers without a default taken as a hundred."""
    of = template(template_name)
    given = {name: 100 for name, one in of.parameters.items() if one["Type"] == "Number" and "Default" not in one}
    found = {one.name: one for stack in of.variants() for one in stack.resources("AWS::CloudWatch::Alarm")}
    standard = {one.name: one for one in of.deploy(given).resources("AWS::CloudWatch::Alarm")}
    return found | standard


every_alarm = pytest.mark.parametrize("alarm", resources("AWS::CloudWatch::Alarm"), ids=str)
WITHOUT_DATA = {"breaching": ALARM, "notBreaching": OK, "missing": INSUFFICIENT}


@every_alarm
def test_every_alarm_fires_and_clears(alarm: Resource) -> None:
    one = Alarm.of(deployed(alarm.template)[alarm.name].properties)
    good, bad = one.moments()
    gone: Points = dict.fromkeys(one.metrics)
    calm = [good] * (one.periods + 2)
    assert one.after(calm, INSUFFICIENT) is OK
    assert one.after([*calm, *[bad] * (one.datapoints - 1)], OK) is OK
    assert one.after([*calm, *[bad] * one.datapoints], OK) is ALARM
    assert one.after([*calm, *[bad] * one.periods, *calm], ALARM) is OK
    for before in (OK, ALARM) if one.value(gone) is None else ():  # an expression may make figures of nothing
        assert one.after([gone] * len(calm), before) is WITHOUT_DATA.get(one.missing, before)


@every_alarm
def test_every_alarm_tells_somebody(alarm: Resource) -> None:
    properties = deployed(alarm.template)[alarm.name].properties
    assert properties["AlarmActions"]
    assert properties.get("ActionsEnabled", True) is True
    assert len(properties["AlarmDescription"]) > 20
