"""Numbers, durations and instants in conditions, computed exactly."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

from city_platform.quality.model import (
    Arithmetic,
    Between,
    Call,
    Comparison,
    Condition,
    Duration,
    Expression,
    Matches,
    Membership,
    Negative,
    Number,
    Operand,
    Size,
    Text,
    Variable,
)


class NotEvaluable(ValueError):
    """Why a rule cannot be evaluated, in plain words; the rule's outcome becomes ERROR."""


# No exponent: "1e999999999" would be computed to its last digit.
_PLAIN_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?")
_BYTES = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_HOURS = {"days": Fraction(24), "hours": Fraction(1), "minutes": Fraction(1, 60)}
_COMPARE: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
}


def holds(value: Fraction, condition: Condition, read: Callable[[Operand], Fraction]) -> bool:
    """Whether a number fulfils a condition whose operands `read` turns into numbers."""
    match condition:
        case Comparison(operator, operand):
            return _COMPARE[operator](value, read(operand))
        case Between(low, high, negated):
            return (read(low) < value < read(high)) is not negated
        case Membership(tuple() as values, negated):
            return (value in [read(one) for one in values]) is not negated
        case _:
            raise NotEvaluable("a number cannot be compared with a pattern")


def number(operand: Operand) -> Fraction:
    """An operand as a number; `"1.0"` in quotes counts, as in AWS."""
    match operand:
        case Number(value):
            return Fraction(value)
        case Text(value):
            if not _PLAIN_NUMBER.fullmatch(value):
                raise NotEvaluable(f'"{value}" is not a number')
            return Fraction(value)
        case Negative(inner):
            return -number(inner)
        case Arithmetic(operator, left, right):
            return computed(operator, number(left), number(right))
        case Call(name):
            raise NotEvaluable(f"`{name}(...)` is no number here")
        case Variable(name):
            raise NotEvaluable(f"${name} is not defined")
        case _:
            raise NotEvaluable("a number belongs here")


def hours(operand: Operand) -> Fraction:
    """A duration in hours."""
    match operand:
        case Duration(amount, unit):
            return Fraction(amount) * _HOURS[unit]
        case Negative(inner):
            return -hours(inner)
        case Arithmetic(("+" | "-") as operator, left, right):
            return computed(operator, hours(left), hours(right))
        case _:
            raise NotEvaluable("a duration such as 30 days belongs here")


def size(operand: Operand) -> Fraction:
    """A file size in bytes; 1 KB is 1024 bytes. A plain number counts bytes."""
    match operand:
        case Size(amount, unit):
            return Fraction(amount) * _BYTES[unit]
        case _:
            return number(operand)


def instant(operand: Operand, now: datetime) -> datetime | date:
    """A date or a moment (aware, UTC): "2024-05-31", "2024-05-31T12:00:00", now(), (now() - 3 days)."""
    match operand:
        case Text(value):
            try:
                return date.fromisoformat(value)
            except ValueError:
                pass
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                raise NotEvaluable(f'"{value}" is not a date; write it as "2024-05-31"') from None
            return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        case Call("now", ()):
            return now.astimezone(UTC)
        case Arithmetic(("+" | "-") as operator, left, right):
            start = instant(left, now)
            try:
                step = timedelta(hours=float(hours(right)))
                return start + step if operator == "+" else start - step
            except OverflowError:
                raise NotEvaluable("this date lies outside the calendar") from None
        case _:
            raise NotEvaluable("a date belongs here")


def is_instant(operand: Operand) -> bool:
    """Whether an operand is a date by its look."""
    try:
        instant(operand, datetime.now(UTC))
    except NotEvaluable:
        return False
    return True


def is_number(operand: Operand) -> bool:
    """Whether an operand is written as a number or a calculation with numbers."""
    match operand:
        case Number():
            return True
        case Negative(inner):
            return is_number(inner)
        case Arithmetic(_, left, right):
            return is_number(left) and is_number(right)
        case Call(name):
            return name != "now"
        case _:
            return False


def operands(condition: Condition) -> tuple[Operand, ...]:
    """What a condition compares with; a pattern compares with nothing."""
    match condition:
        case Comparison(_, operand):
            return (operand,)
        case Between(low, high):
            return (low, high)
        case Membership(tuple() as values):
            return values
        case Membership() | Matches():
            return ()


def called_functions(condition: Condition | None) -> frozenset[str]:
    """The names of all functions a condition calls, nested ones too."""
    found: set[str] = set()
    waiting: list[Operand | Expression] = list(operands(condition)) if condition else []
    while waiting:
        match waiting.pop():
            case Call(name, arguments):
                found.add(name)
                waiting += arguments
            case Negative(inner):
                waiting.append(inner)
            case Arithmetic(_, left, right):
                waiting += (left, right)
            case _:
                pass
    return frozenset(found)


def computed(operator: str, left: Fraction, right: Fraction) -> Fraction:
    """One step of arithmetic; raises NotEvaluable for a division by zero."""
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case _:
            if not right:
                raise NotEvaluable("division by zero")
            return left / right
