"""A step's conditions, as DataBrew names them: which rows the step touches.

A comparison with a missing value is not met, as in SQL; IS_MISSING asks for it. IS_INVALID asks whether a text is no
value of the type that the column comes to have; its Value is filled in when the recipe is read.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from city_platform.cleaning.values import valid
from city_platform.engines.dialect import Dialect


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on one column, under the column's name at that point of the recipe."""

    name: str
    column: str
    value: str

    def sql(self, dialect: Dialect, column: str) -> str:
        """The test on `column`, a SQL expression that is named once or is cheap to name again."""
        return CONDITIONS[self.name].sql(dialect, column, self.value)


@dataclass(frozen=True, slots=True)
class ConditionKind:
    documentation: str
    sql: Callable[[Dialect, str, str], str]
    check: Callable[[str], str | None]  # what is wrong with the value, or None


def choices(value: str) -> tuple[str, ...]:
    """IS and IS_NOT take one text, or a JSON list of texts as DataBrew's console writes it."""
    if value.startswith("["):
        try:
            listed = json.loads(value)
        except json.JSONDecodeError:
            return (value,)
        if isinstance(listed, list) and listed and all(isinstance(one, str) for one in listed):
            return tuple(listed)
    return (value,)


def is_number(value: str) -> bool:
    """Whether a text is a finite number in digits."""
    try:
        float(value)
    except ValueError:
        return False
    return value.strip().lower().lstrip("+-") not in {"nan", "inf", "infinity"} and "_" not in value


def _text(value: str) -> str | None:
    return None if value else "Value is missing"


def _number(value: str) -> str | None:
    return None if is_number(value) else f'Value must be a number, not "{value}"'


def _bounds(value: str) -> str | None:
    if len(choices(value)) == 2 and all(is_number(one) for one in choices(value)):  # noqa: PLR2004 - two bounds
        return None
    return f'Value must be two numbers as ["1","5"], not "{value}"'


def _nothing(value: str) -> str | None:
    return "it takes no Value" if value else None


def _listed(dialect: Dialect, value: str) -> list[str]:
    return [dialect.text(one) for one in choices(value)]


def _compared(operator: str) -> Callable[[Dialect, str, str], str]:
    def sql(dialect: Dialect, column: str, value: str) -> str:
        return f"{dialect.try_cast(column, 'DOUBLE')} {operator} CAST({dialect.text(value)} AS DOUBLE)"

    return sql


def _between(dialect: Dialect, column: str, value: str) -> str:
    low, high = (f"CAST({dialect.text(one)} AS DOUBLE)" for one in choices(value))
    return f"{dialect.try_cast(column, 'DOUBLE')} BETWEEN {low} AND {high}"


CONDITIONS: Mapping[str, ConditionKind] = MappingProxyType(
    {
        "IS": ConditionKind("equals one of the texts", lambda d, c, v: d.is_one_of(c, _listed(d, v)), _text),
        "IS_NOT": ConditionKind(
            "equals none of the texts", lambda d, c, v: f"{c} NOT IN ({', '.join(_listed(d, v))})", _text
        ),
        "IS_BETWEEN": ConditionKind("is a number between two, both included", _between, _bounds),
        "CONTAINS": ConditionKind("holds the text", lambda d, c, v: d.contains(c, v), _text),
        "NOT_CONTAINS": ConditionKind("does not hold the text", lambda d, c, v: f"NOT {d.contains(c, v)}", _text),
        "STARTS_WITH": ConditionKind("starts with the text", lambda d, c, v: d.starts_with(c, v), _text),
        "NOT_STARTS_WITH": ConditionKind(
            "does not start with the text", lambda d, c, v: f"NOT {d.starts_with(c, v)}", _text
        ),
        "ENDS_WITH": ConditionKind("ends with the text", lambda d, c, v: d.ends_with(c, v), _text),
        "NOT_ENDS_WITH": ConditionKind("does not end with the text", lambda d, c, v: f"NOT {d.ends_with(c, v)}", _text),
        "LESS_THAN": ConditionKind("is a smaller number", _compared("<"), _number),
        "LESS_THAN_EQUAL": ConditionKind("is a smaller number or the same", _compared("<="), _number),
        "GREATER_THAN": ConditionKind("is a larger number", _compared(">"), _number),
        "GREATER_THAN_EQUAL": ConditionKind("is a larger number or the same", _compared(">="), _number),
        "IS_INVALID": ConditionKind(
            "is there and not of the column's type", lambda d, c, v: f"({c} <> '' AND NOT ({valid(d, c, v)}))", _nothing
        ),
        "IS_MISSING": ConditionKind("is null or empty", lambda _d, c, _v: f"({c} IS NULL OR {c} = '')", _nothing),
    }
)
