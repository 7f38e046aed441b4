"""What a plan is: which aggregates a rule needs, which rows pass, and how its metric follows from them.

A plan's aggregates are texts; plans that need the same thing hold the same text, so that the evaluation computes it
once, in one query for the whole ruleset.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from city_platform.engines.session import Session
from city_platform.quality import statements
from city_platform.quality.groupings import Groupings
from city_platform.quality.model import Comparison, Condition, Number, Rule, Text
from city_platform.quality.operands import NotEvaluable
from city_platform.quality.surroundings import Surroundings

Answers = Mapping[str, Any]
ALL_ROWS = "count(*)"
MUST_BE_ONE = Comparison("=", Number(Decimal(1)))


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that the history keeps: its measure's name, and how it follows from the answers to `aggregates`."""

    measure: str
    metric: Callable[[Answers], Fraction | None]
    aggregates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """How one plain rule is evaluated.

    `metric` computes the metric from the answers to `aggregates`; None where there is nothing to compute it from.
    `predicate` is TRUE for rows that pass (see `predicates`), `where` limits it to the rows it speaks about.
    `abstains` says why there is nothing to compare the metric with; then the rule neither passes nor fails.
    `remark` adds to the outcome what was found, in words. `figures` are for the history.
    """

    metric_name: str
    condition: Condition
    metric: Callable[[Answers], Fraction | None]
    checked: str
    aggregates: tuple[str, ...] = ()
    failed: Callable[[Answers], int] | None = None
    predicate: str | None = None
    where: str | None = None
    abstains: str = ""
    remark: Callable[[Answers], str] | None = None
    figures: tuple[Figure, ...] = ()

    @property
    def row_predicate(self) -> str | None:
        """The predicate for any row; rows outside `where` pass."""
        if self.predicate is None or self.where is None:
            return self.predicate
        return f"(({self.where}) IS NOT TRUE OR {self.predicate})"


@dataclass(frozen=True, slots=True)
class Scope:
    """What rules are evaluated against. `columns` maps names to SQL types; `now` is aware; `values` are
    the columns of which it is known how many values are not null."""

    session: Session
    relation: str
    columns: Mapping[str, str]
    now: datetime
    groupings: Groupings
    surroundings: Surroundings = field(default_factory=Surroundings)
    values: Mapping[str, int] = field(default_factory=dict)

    def column(self, name: str) -> tuple[str, str]:
        """The quoted name and the type of a column, whatever its case; raises NotEvaluable."""
        return column_of(self.columns, name, self.session)

    def where(self, rule: Rule) -> str | None:
        """The rule's `where` in the engine's SQL."""
        if not isinstance(rule.where, Text):
            return None
        sql, columns = statements.where_clause(rule.where.value, self.now, self.session.dialect.sql_of)
        for column in sorted(columns):
            self.column(column)
        return sql


def column_of(columns: Mapping[str, str], name: str, session: Session, place: str = "") -> tuple[str, str]:
    """The quoted name and the type of a column, whatever its case; raises NotEvaluable."""
    for known, sql_type in columns.items():
        if known.casefold() == name.casefold():
            return session.dialect.name(known), sql_type
    raise NotEvaluable(f'there is no column "{name}"{place}')


def count_rows(condition: str | None) -> str:
    """The aggregate that counts the rows for which a condition is true.

    Of the ways to say it the engine's fastest by far: a seventh of `count(NULLIF(...))`, half of `FILTER (WHERE ...)`.
    Of no rows it counts null.
    """
    return f"COALESCE(count_if({condition}), 0)" if condition else ALL_ROWS


def count_values(column: str) -> str:
    """The aggregate that counts the values of a column (its quoted name) that are not null."""
    return f"count({column})"


def measured(value: Any) -> Fraction | None:
    """A number of the engine's; floating point to twelve digits, beyond which the order of the rows shows."""
    if value is None:
        return None
    if isinstance(value, float):
        return Fraction(Decimal(f"{value:.12g}")) if math.isfinite(value) else None
    if isinstance(value, bool | int | Decimal):
        return Fraction(value)
    raise NotEvaluable(f"the statement returned a {type(value).__name__}, not a number")


def demand(rule: Rule) -> Condition:
    """What the metric is compared with; rules without a condition demand 1."""
    return rule.condition or MUST_BE_ONE


def parameter(rule: Rule, index: int) -> str:
    value = rule.parameters[index].value
    return value.value if isinstance(value, Text) else value.name


def tag_text(rule: Rule, name: str) -> str | None:
    """The text of `with name = "..."`; None without the tag."""
    match rule.tag(name):
        case Comparison("=", Text(value)):
            return value
        case None:
            return None
        case _:
            raise NotEvaluable(f'`with {name}` takes = and a text, as with {name} = "..."')


def share_plan(
    metric_name: str, condition: Condition, predicate: str, where: str | None = None, counted: str | None = None
) -> Plan:
    """A plan whose metric is the share of rows for which the predicate is true.

    `counted` is an aggregate that counts those of all rows, if there is a cheaper one.
    """
    checked = count_rows(where)
    satisfied = count_rows(f"(({where}) AND {predicate})") if where else counted or count_rows(predicate)

    def share(answers: Answers) -> Fraction | None:
        return Fraction(answers[satisfied], answers[checked]) if answers[checked] else None

    def failed(answers: Answers) -> int:
        return int(answers[checked] - answers[satisfied])

    return Plan(metric_name, condition, share, checked, (satisfied,), failed, predicate, where)
