"""Dynamic rules: conditions with last(k), computed from earlier evaluations.

`last(k)` is what the rule's measure was in the k partitions before this one, newest first, each by its newest
evaluation; `last()` is last(1). Later partitions are never seen, so that a backfill of an old partition judges as it
would have been judged then. With fewer than k earlier partitions it is all there are, as in AWS; with none AWS takes
0.0, which passes or fails by accident: here the rule abstains (WARN) until there is something to compare with.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from statistics import median

from city_platform.quality.model import (
    Arithmetic,
    Between,
    Call,
    Comparison,
    Condition,
    Expression,
    Matches,
    Membership,
    Negative,
    Number,
    Operand,
)
from city_platform.quality.operands import NotEvaluable, computed, number

LIMIT = 100  # earlier partitions that are looked at, at most

_Past = Sequence[Fraction]  # newest first


class NothingToCompare(ValueError):
    """There is no earlier evaluation yet."""


def with_history(condition: Condition, low: Sequence[float], high: Sequence[float] | None = None) -> Condition:
    """The condition with every last(k) computed. `low` and `high` are earlier figures, oldest first.

    `high` is given where a rule has two figures: what bounds values from above is compared with the highest of
    before, what bounds them from below with the lowest. Raises NotEvaluable for what cannot be computed and
    NothingToCompare where there are no earlier figures.
    """
    lower = [rounded(Fraction(one)) for one in reversed(low)]
    upper = lower if high is None else [rounded(Fraction(one)) for one in reversed(high)]
    match condition:
        case Comparison(operator, operand):
            return Comparison(operator, _operand(operand, upper if operator in {"<", "<="} else lower))
        case Between(first, second, negated):
            return Between(_operand(first, lower), _operand(second, upper), negated)
        case Membership(tuple() as values, negated):
            return Membership(tuple(_operand(one, lower) for one in values), negated)
        case Membership() | Matches():
            return condition


def rounded(value: Fraction) -> Fraction:
    """To twelve significant digits: what the history keeps of a figure, and so what it can be compared with."""
    return value if value.denominator == 1 else Fraction(Decimal(f"{float(value):.12g}"))


def _operand(operand: Operand, past: _Past) -> Operand:
    match operand:
        case Call(name) if name != "now":
            return _as_number(_single(operand, past))
        case Arithmetic() | Negative() if _calls_history(operand):
            return _as_number(_single(operand, past))
        case _:
            return operand


def _calls_history(expression: Expression) -> bool:
    match expression:
        case Call(name):
            return name != "now"
        case Negative(inner):
            return _calls_history(inner)
        case Arithmetic(_, left, right):
            return _calls_history(left) or _calls_history(right)
        case _:
            return False


def _as_number(value: Fraction) -> Number:
    return Number(Decimal(value.numerator) / Decimal(value.denominator))


def _single(expression: Expression, past: _Past) -> Fraction:
    value = _value(expression, past)
    if isinstance(value, Fraction):
        return value
    if len(value) == 1 and expression in {Call("last"), Call("last", (Number(Decimal(1)),))}:
        return value[0]
    raise NotEvaluable("last(k) is several figures; say which one is meant, as in avg(last(3)) or max(last(3))")


def _value(expression: Expression, past: _Past) -> Fraction | _Past:
    match expression:
        case Call("last", arguments):
            return _last(arguments, past)
        case Call("index", (Call("last", arguments), place)):
            return _indexed(_last(arguments, past), _asked(arguments), _single(place, past))
        case Call(name, arguments):
            return _called(name, [_value(argument, past) for argument in arguments])
        case Negative(inner):
            return -_single(inner, past)
        case Arithmetic(operator, left, right):
            return computed(operator, _single(left, past), _single(right, past))
        case _:
            return number(expression)


def _asked(arguments: tuple[Expression, ...]) -> int:
    asked = number(arguments[0]) if arguments else Fraction(1)
    if len(arguments) > 1 or asked.denominator != 1 or not 1 <= asked <= LIMIT:
        raise NotEvaluable(f"last(k) takes a whole number from 1 to {LIMIT}")
    return int(asked)


def _last(arguments: tuple[Expression, ...], past: _Past) -> _Past:
    asked = _asked(arguments)
    if not past:
        raise NothingToCompare("no earlier partition has been evaluated yet")
    return past[:asked]


def _indexed(past: _Past, asked: int, place: Fraction) -> Fraction:
    if place.denominator != 1 or not 0 <= place < asked:
        raise NotEvaluable(f"index counts from 0, the newest, to {asked - 1} in last({asked})")
    if place >= len(past):
        raise NothingToCompare(f"only {len(past)} earlier partitions have been evaluated")
    return past[int(place)]


def _deviation(past: _Past) -> Fraction:
    """Of the population, as the rule type StandardDeviation."""
    mean = sum(past, Fraction(0)) / len(past)
    return rounded(Fraction(math.sqrt(sum((one - mean) ** 2 for one in past) / len(past))))


_REDUCED: Mapping[str, Callable[[_Past], Fraction]] = {
    "avg": lambda past: sum(past, Fraction(0)) / len(past),
    "min": min,
    "max": max,
    "sum": lambda past: sum(past, Fraction(0)),
    "median": median,
    "std": _deviation,
}
FUNCTIONS = ("last", *_REDUCED, "percentile", "index", "abs")


def _called(name: str, given: Sequence[Fraction | _Past]) -> Fraction:
    match name, given:
        case "abs", [Fraction() as value]:
            return abs(value)
        case "abs", [[value]]:
            return abs(value)
        case "percentile", [list() as past, Fraction() as share]:
            return _percentile(past, share)
        case _, [list() as past] if name in _REDUCED:
            return _REDUCED[name](past)
        case _:
            raise NotEvaluable(
                f"`{name}` is not understood here; the functions are {', '.join(FUNCTIONS)}, as in avg(last(3)), "
                "percentile(last(10), 90) and index(last(3), 0)"
            )


def _percentile(past: _Past, share: Fraction) -> Fraction:
    """Between two figures by straight line; the share in percent."""
    if share != 0 and not 1 <= share <= 100:  # noqa: PLR2004 -- percent
        raise NotEvaluable("percentile takes percent from 0 to 100, as in percentile(last(10), 90)")
    ordered = sorted(past)
    place = share / 100 * (len(ordered) - 1)
    below = ordered[math.floor(place)]
    return below + (ordered[math.ceil(place)] - below) * (place - math.floor(place))
