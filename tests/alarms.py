"""CloudWatch's metric alarms: what state a series of figures puts one in.

    alarm = Alarm.of(stack["IngestionDelayedAlarm"].properties)
    alarm.after(series, State.OK)          # the state after the last of these points; None is a missing one

M of N and missing data follow "How alarm state is evaluated when data is missing" (Amazon CloudWatch User Guide), whose
tables are tests here. The evaluation range is N + 2 points, as in the guide's examples. An alarm over a math expression
is evaluated from the series of its metrics; one over an anomaly band from its metric and the band.
"""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Any

Point = float | None
Points = Mapping[str, Point]  # one moment: the figure of each metric, by its id


class State(StrEnum):
    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


class UnknownExpression(ValueError):
    """A math expression has something that this evaluator does not know; teach it."""


_COMPARES: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
BAND = (10.0, 100.0)  # what an anomaly band is taken to be
_OUTSIDE: Mapping[str, Callable[[float], bool]] = {
    "GreaterThanUpperThreshold": lambda value: value > BAND[1],
    "LessThanLowerThreshold": lambda value: value < BAND[0],
    "LessThanLowerOrGreaterThanUpperThreshold": lambda value: not BAND[0] <= value <= BAND[1],
}
_SINGLE = "metric"
_REACH = 2  # points beyond N that the evaluation range has
_TRIED = (0.0, 1.0, 50.0, 1e15)  # figures that fire or clear an expression


@dataclass(frozen=True)
class Alarm:
    """`metrics` are the ids of its series; `value` makes one figure of a moment; `breaches` judges it."""

    metrics: Sequence[str]
    value: Callable[[Points], Point]
    breaches: Callable[[float], bool]
    candidates: Sequence[float]
    periods: int
    datapoints: int
    missing: str

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> "Alarm":
        """Of an alarm's resolved properties; raises KeyError and UnknownExpression for what is no whole alarm."""
        periods, compares = int(properties["EvaluationPeriods"]), properties["ComparisonOperator"]
        ids, value = _series(properties)
        if "ThresholdMetricId" in properties:
            breaches, candidates = _OUTSIDE[compares], (BAND[0] - 1, sum(BAND) / 2, BAND[1] + 1)
        else:
            threshold = float(properties["Threshold"])
            breaches = _against(_COMPARES[compares], threshold)
            candidates = (*_TRIED, threshold - 1, threshold + 1, threshold / 2, threshold * 2)
        return cls(
            ids,
            value,
            breaches,
            tuple(dict.fromkeys(candidates)),
            periods,
            int(properties.get("DatapointsToAlarm", periods)),
            properties["TreatMissingData"],
        )

    def after(self, series: Sequence[Points], before: State) -> State:
        """The state that these moments, oldest first, put the alarm in."""
        points = [self.value(one) for one in series[-(self.periods + _REACH) :]]
        breaching = [None if point is None else self.breaches(point) for point in points]
        real = [one for one in breaching if one is not None]
        enough = len(real) >= self.periods
        bad, lacking = real[-self.periods :].count(True), self.periods - len(real)
        if self.missing == "breaching" and not enough:
            bad += lacking
        if bad >= self.datapoints:
            return State.ALARM
        if not enough and self.missing in {"missing", "ignore"}:
            if not real:
                return State.INSUFFICIENT_DATA if self.missing == "missing" else before
            if all(real) and len(breaching) - breaching.index(True) >= self.datapoints:
                # Premature, as the guide calls it: all there is breaches, and is as old as it would have to be.
                return State.ALARM if self.missing == "missing" else before
        return State.OK

    def moments(self) -> tuple[Points, Points]:
        """A moment that does not breach, and one that does; raises LookupError where there is none of either."""
        found: dict[bool, Points] = {}
        for figures in self._moments():
            value = self.value(figures)
            if value is not None:
                found.setdefault(self.breaches(value), figures)
            if len(found) > 1:
                return found[False], found[True]
        raise LookupError(f"no figures tried {'clear' if True in found else 'fire'} this alarm")

    def _moments(self) -> Sequence[Points]:
        if len(self.metrics) <= _REACH:
            several = product(self.candidates, repeat=len(self.metrics))
            return [dict(zip(self.metrics, figures, strict=True)) for figures in several]
        return [dict.fromkeys(self.metrics, figure) for figure in self.candidates]


def _against(compare: Callable[[float, float], bool], threshold: float) -> Callable[[float], bool]:
    return lambda value: compare(value, threshold)


def _series(properties: Mapping[str, Any]) -> tuple[Sequence[str], Callable[[Points], Point]]:
    """The metrics of the alarm, and what is compared with the threshold."""
    queries = properties.get("Metrics")
    if queries is None:
        return [_SINGLE], lambda points: points[_SINGLE]
    expressions = {one["Id"]: one["Expression"] for one in queries if "Expression" in one}
    metrics = [one["Id"] for one in queries if "MetricStat" in one]
    band = properties.get("ThresholdMetricId")
    (judged,) = [one["Id"] for one in queries if one.get("ReturnData", True) and one["Id"] != band]

    def value(points: Points) -> Point:
        return evaluate(judged, expressions, points)

    return metrics, value


def evaluate(name: str, expressions: Mapping[str, str], points: Points) -> Point:
    """The figure of a metric or expression at one moment; None where it is missing. Raises UnknownExpression."""
    if name in points:
        return points[name]
    return _Math(expressions, points).of(ast.parse(expressions[name].strip(), mode="eval").body)


class _Math:
    """Metric math, pointwise: what is missing makes missing whatever is calculated with it, but not a SUM over several.

    Source: Using math expressions with CloudWatch metrics, Amazon CloudWatch User Guide.
    """

    _TWO: Mapping[type, Callable[[float, float], float]] = {
        ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
        ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Eq: operator.eq,
    }  # fmt: skip
    _MANY: Mapping[str, Callable[[list[float]], float]] = {
        "SUM": sum, "MAX": max, "MIN": min, "AVG": lambda values: sum(values) / len(values),
    }  # fmt: skip

    def __init__(self, expressions: Mapping[str, str], points: Points) -> None:
        self._expressions = expressions
        self._points = points

    def of(self, node: ast.expr) -> Point:
        match node:
            case ast.Constant(value=int() | float() as value):
                return float(value)
            case ast.Name(id=name) if name in self._points or name in self._expressions:
                return evaluate(name, self._expressions, self._points)
            case (
                ast.BinOp(left=left, op=sign, right=right) | ast.Compare(left=left, ops=[sign], comparators=[right])
            ) if type(sign) in self._TWO:
                return self._two(type(sign), self.of(left), self.of(right))
            case ast.Call(func=ast.Name(id="FILL"), args=[series, ast.Constant(value=int() | float() as filling)]):
                value = self.of(series)
                return float(filling) if value is None else value
            case ast.Call(func=ast.Name(id="IF"), args=[test, yes, no]):
                held = self.of(test)
                return None if held is None else self.of(yes if held else no)
            case ast.Call(func=ast.Name(id=name), args=args) if name in self._MANY:
                values = [value for value in self._several(args) if value is not None]
                return float(self._MANY[name](values)) if values else None
        raise UnknownExpression(ast.unparse(node))

    def _two(self, sign: type, left: Point, right: Point) -> Point:
        if left is None or right is None or (sign is ast.Div and right == 0):
            return None
        return float(self._TWO[sign](left, right))

    def _several(self, args: Sequence[ast.expr]) -> list[Point]:
        match args:
            case [ast.Call(func=ast.Name(id="METRICS"), args=[])]:
                return list(self._points.values())
            case [ast.List(elts=elements)]:
                return [self.of(one) for one in elements]
        return [self.of(one) for one in args]
