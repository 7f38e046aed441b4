"""The figures of analyzers, and the rule that watches figures for anomalies."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from city_platform.quality.anomalies import LEAST_POINTS, expectation
from city_platform.quality.dynamic import LIMIT
from city_platform.quality.measures import MAXIMUM, MINIMUM, detected, measure_of
from city_platform.quality.model import Comparison, Number, Rule
from city_platform.quality.operands import NotEvaluable
from city_platform.quality.plans import Answers, Figure, Plan, Scope, count_rows, measured, parameter
from city_platform.quality.predicates import family
from city_platform.quality.rule_types import RULE_TYPES

_NONE_ABNORMAL = Comparison("=", Number(Decimal(0)))
_OF_EVERY_COLUMN = ("Completeness", "Uniqueness")
_OF_NUMBERS = ("Entropy", "Mean", "StandardDeviation", "Sum")


def extremes(rule: Rule, scope: Scope) -> tuple[Figure, Figure]:
    """The smallest and the largest value of a column, for texts the smallest and the largest length."""
    name, sql_type = scope.column(parameter(rule, 0))
    kind = family(sql_type)
    if kind == "text":
        name, rule = f"length({name})", replace(rule, type="ColumnLength")
    elif kind != "number" or rule.type == "ColumnLength":
        raise NotEvaluable(f"{rule.type} has figures of numbers and texts, and {name} is {sql_type}")
    where = scope.where(rule)
    only = f" FILTER (WHERE {where})" if where else ""

    def figure(function: str, part: str) -> Figure:
        aggregate = f"{function}({name}){only}"
        return Figure(measure_of(rule, part), lambda answers: measured(answers[aggregate]), (aggregate,))

    return figure("min", MINIMUM), figure("max", MAXIMUM)


def statistics(rule: Rule, scope: Scope) -> tuple[Rule, ...]:
    """The analyzers that AllStatistics stands for."""
    _, sql_type = scope.column(parameter(rule, 0))
    names = [*_OF_EVERY_COLUMN, *(_OF_NUMBERS if family(sql_type) == "number" else ())]
    if family(sql_type) in {"number", "text"}:
        names.append("ColumnValues")
    whole = [replace(rule, type=name, parameters=()) for name in ("RowCount", "ColumnCount")]
    return (*whole, *(replace(rule, type=name) for name in names))


def anomaly_plan(rule: Rule, watched: tuple[Figure, ...], scope: Scope) -> Plan:
    """The plan of DetectAnomalies: how many of the watched figures lie outside what earlier partitions led to expect.

    With fewer than three earlier figures the rule abstains, and its figures are kept for the next evaluation.
    """
    earlier = scope.surroundings.earlier
    if earlier is None:
        raise NotEvaluable("no history of earlier evaluations is at hand")
    known = [(one, expectation(earlier.get(one.measure, ())[-LIMIT:], scope.surroundings.season)) for one in watched]
    expected = [(figure, one) for figure, one in known if one is not None]
    checked = count_rows(scope.where(rule))

    def judged(answers: Answers) -> list[tuple[str, bool]]:
        found = []
        for figure, one in expected:
            value = figure.metric(answers)
            said = one.said(float(value)) if value is not None else "missing"
            found.append((f"{figure.measure} is {said}", value is not None and one.holds(float(value))))
        return found

    def remark(answers: Answers) -> str:
        found = judged(answers)
        wrong = [said for said, holds in found if not holds]
        return "; ".join(wrong or [said for said, _ in found])

    least = min((len(earlier.get(one.measure, ())) for one in watched), default=0)
    return Plan(
        "anomalies",
        _NONE_ABNORMAL,
        lambda answers: Fraction(sum(not holds for _, holds in judged(answers))),
        checked,
        tuple(aggregate for figure in watched for aggregate in figure.aggregates),
        abstains="" if expected else f"{least} earlier partitions have this figure, and {LEAST_POINTS} are needed",
        remark=remark,
        figures=watched,
    )


def watched_rule(rule: Rule) -> Rule:
    """What DetectAnomalies watches; raises NotEvaluable where it names no rule type with figures."""
    inner = detected(rule)
    rule_type = RULE_TYPES.get(inner.type)
    if rule_type is None or not rule_type.analyzer:
        able = ", ".join(one.name for one in RULE_TYPES.values() if one.analyzer)
        raise NotEvaluable(f'"{inner.type}" has no figures to watch; those that have are {able}')
    return inner
