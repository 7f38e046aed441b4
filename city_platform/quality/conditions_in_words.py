"""Conditions and figures in words: `has to be at least 95 %`, `within the last 30 days`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from city_platform.quality.model import (
    Arithmetic,
    Between,
    Call,
    Comparison,
    Condition,
    Duration,
    Keyword,
    Matches,
    Membership,
    Negative,
    Number,
    Operand,
    Size,
    Text,
    Variable,
)
from city_platform.quality.pattern_example import example_of

_COMPARED = {"=": "exactly", ">": "more than", ">=": "at least", "<": "less than", "<=": "at most"}
_KEYWORDS = {Keyword.NULL: "missing", Keyword.EMPTY: "empty", Keyword.WHITESPACES_ONLY: "blank"}
_COMPUTED = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
_AGGREGATES = {
    "avg": "the average of",
    "min": "the lowest of",
    "max": "the highest of",
    "median": "the middle one of",
    "std": "the usual spread of",
    "sum": "the sum of",
}

MANY_VALUES, VALUES_SHOWN = 8, 5
_UNGROUPED = 10_000  # a year reads as 1990, a sum as 10,000

Figure = Callable[[Operand], str]


@dataclass(frozen=True, slots=True)
class Demand:
    """What something must be. `verb` is `has to be` or `must not be`; `words` what follows it."""

    verb: str
    words: str

    def __str__(self) -> str:
        return f"{self.verb} {self.words}"


def demand(condition: Condition, figure: Figure, after: str = "") -> Demand:  # noqa: PLR0911 -- one case a form
    """A condition on one figure. `after` follows each figure, as ` old`."""

    def said(operand: Operand) -> str:
        return figure(operand) + after

    match condition:
        case Comparison("!=", operand):
            return Demand("must not be", said(operand))
        case Comparison("=", Keyword() | Text() as operand):
            return Demand("has to be", said(operand))
        case Comparison(("=" | ">="), Number(value)) if figure is share and value == 1:
            return Demand("has to be", "100 %")
        case Comparison(operator, operand):
            return Demand("has to be", f"{_COMPARED[operator]} {said(operand)}")
        case Between(low, high, negated):
            if negated:
                return Demand("has to be", f"at most {said(low)}, or at least {said(high)}")
            return Demand("has to be", f"more than {figure(low)} and less than {said(high)}")
        case Membership(values, negated):
            listed = _any_of(values, figure) if isinstance(values, tuple) else f"one of the values of ${values.name}"
            return Demand("must not be" if negated else "has to be", listed + after)
        case Matches(pattern, negated):
            return Demand("must not" if negated else "has to", form(pattern))


def value_demand(condition: Condition) -> Demand:
    """A condition on a column's values: days come before and after each other, the rest as `demand` says it."""
    match condition:
        case Comparison(operator, operand) if operator not in {"=", "!="} and is_moment(operand):
            return Demand("has to be", _moment(operator, operand))
        case Between(low, high, negated) if is_moment(low) and is_moment(high):
            first, second = plain_figure(low), plain_figure(high)
            words = (
                f"on or before {first}, or on or after {second}" if negated else f"after {first} and before {second}"
            )
            return Demand("has to be", words)
        case _:
            return demand(condition, plain_figure)


def _any_of(values: tuple[Operand, ...], figure: Figure) -> str:
    """`one of a, b and c, or missing`; of a long list the beginning."""
    plain = [figure(one) for one in values if not isinstance(one, Keyword)]
    kinds = [_KEYWORDS[one] for one in values if isinstance(one, Keyword)]
    if len(plain) > MANY_VALUES:
        plain = [*plain[:VALUES_SHOWN], f"{len(plain) - VALUES_SHOWN} others"]
    told = f"one of {alternatives(plain, 'and')}" if len(plain) > 1 else "".join(plain)
    return f"{told}, or {alternatives(kinds)}," if told and kinds else told or alternatives(kinds)


def form(pattern: Text | Variable) -> str:
    """What a text has to look like, told by an example where there is a plain one."""
    if isinstance(pattern, Variable):
        return f"match the pattern ${pattern.name}"
    example = example_of(pattern.value)
    return f"look like “{example}”" if example else f"match the pattern {pattern.value}"


def alternatives(words: Sequence[str], last: str = "or") -> str:
    """`a, b or c`."""
    return ", ".join(words[:-1]) + (f" {last} " if len(words) > 1 else "") + "".join(words[-1:])


def is_moment(operand: Operand) -> bool:
    """Whether an operand is a day or a moment by its look; a text that is compared by size is one."""
    match operand:
        case Text() | Call("now"):
            return True
        case Arithmetic(_, left, _):
            return is_moment(left)
        case _:
            return False


def _moment(operator: str, operand: Operand) -> str:
    match operand:
        case Call("now"):
            return {">": "in the future", ">=": "now or later", "<": "in the past", "<=": "no later than now"}[operator]
        case Arithmetic("-", Call("now"), Duration() as step):
            recent = f"within the last {plain_figure(step).removeprefix('1 ')}"
            return {">": recent, ">=": recent, "<": f"more than {plain_figure(step)} ago"}.get(
                operator, f"at least {plain_figure(step)} ago"
            )
        case Arithmetic("+", Call("now"), Duration() as step):
            return f"{_COMPARED[operator]} {plain_figure(step)} from now"
        case _:
            words = {">": "after", ">=": "on or after", "<": "before", "<=": "on or before"}
            return f"{words[operator]} {plain_figure(operand)}"


def plain_figure(operand: Operand) -> str:  # noqa: PLR0911 -- one case a form
    """A value, a count, a duration, a size or a day."""
    match operand:
        case Number(value):
            return f"{value:,f}" if abs(value) >= _UNGROUPED else f"{value:f}"
        case Text(value):
            return value if value.strip() else f"“{value}”"
        case Keyword():
            return _KEYWORDS[operand]
        case Duration(amount, unit):
            return f"{amount:,f} {unit.removesuffix('s') if amount == 1 else unit}"
        case Size(amount, unit):
            return f"{amount:,f} {unit}"
        case Variable(name):
            return f"${name}"
        case Negative(inner):
            return f"minus {plain_figure(inner)}"
        case Call(name, arguments):
            return _called(name, [plain_figure(one) for one in arguments])
        case Arithmetic(("+" | "-") as operator, Call("now"), step):
            return f"{plain_figure(step)} {'ago' if operator == '-' else 'from now'}"
        case Arithmetic(operator, left, right):
            if operator == "*" and isinstance(right, Number):
                left, right = right, left
            return f"{_term(left)} {_COMPUTED[operator]} {_term(right)}"


def share(operand: Operand) -> str:
    """A share of rows; a plain number from 0 to 1 is told in per cent."""
    match operand:
        case Number(value):
            return percent(value) if 0 <= value <= 1 else plain_figure(operand)
        case Arithmetic("*", Number(value), other) | Arithmetic("*", other, Number(value)):
            return f"{percent(value)} of {plain_figure(other)}"
        case _:
            return plain_figure(operand)


def ratio(operand: Operand) -> str:
    """A ratio of two figures, in per cent."""
    return percent(operand.value) if isinstance(operand, Number) else share(operand)


def percent(value: Decimal) -> str:
    return f"{(value * 100).normalize():,f} %"


def _term(operand: Operand) -> str:
    nested = isinstance(operand, Arithmetic) and not is_moment(operand)
    return f"({plain_figure(operand)})" if nested else plain_figure(operand)


def _called(name: str, arguments: list[str]) -> str:  # noqa: PLR0911 -- one case a function
    past = arguments[0] if arguments else ""
    match name:
        case "now":
            return "now"
        case "last" if past in {"", "1"}:
            return "the figure before"
        case "last":
            return f"the last {past} figures"
        case "percentile" if len(arguments) > 1:
            return f"the value that {arguments[1].removesuffix('.0')} % of {past} stay below"
        case "index" if len(arguments) > 1:
            return f"number {arguments[1]} of {past}"
        case _ if name in _AGGREGATES and len(arguments) == 1:
            return f"{_AGGREGATES[name]} {past}"
        case _:
            return f"{name}({', '.join(arguments)})"
