"""A rule as SQL: which aggregates it needs, which rows pass, and how its metric follows from them.

A plan's aggregates are texts; plans that need the same thing hold the same text, so that the evaluation computes it
once. Uniqueness and CustomSql cannot share that query: they are run, once each, while their plan is made.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from city_platform.engines.duckdb import Session
from city_platform.quality import predicates, statements
from city_platform.quality.groupings import Groupings, KeyFacts
from city_platform.quality.hash_sets import HashSets
from city_platform.quality.model import Comparison, Condition, Number, Rule, Text
from city_platform.quality.operands import NotEvaluable
from city_platform.quality.rule_types import RULE_TYPES, RuleType, Takes

Answers = Mapping[str, Any]
ALL_ROWS = "count(*)"
_MUST_BE_ONE = Comparison("=", Number(Decimal(1)))


@dataclass(frozen=True, slots=True)
class Plan:
    """How one plain rule is evaluated.

    `metric` computes the metric from the answers to `aggregates`; None where there is nothing to compute it from.
    `predicate` is TRUE for rows that pass (see `predicates`), `where` limits it to the rows it speaks about.
    """

    metric_name: str
    condition: Condition
    metric: Callable[[Answers], Fraction | None]
    checked: str
    aggregates: tuple[str, ...] = ()
    failed: Callable[[Answers], int] | None = None
    predicate: str | None = None
    where: str | None = None

    @property
    def row_predicate(self) -> str | None:
        """The predicate for any row; rows outside `where` pass."""
        if self.predicate is None or self.where is None:
            return self.predicate
        return f"(({self.where}) IS NOT TRUE OR {self.predicate})"


@dataclass(frozen=True, slots=True)
class Scope:
    """What rules are evaluated against. `columns` maps names to SQL types; `now` is aware."""

    session: Session
    relation: str
    columns: Mapping[str, str]
    now: datetime
    groupings: Groupings

    def column(self, name: str) -> tuple[str, str]:
        """The quoted name and the type of a column, whatever its case; raises NotEvaluable."""
        for known, sql_type in self.columns.items():
            if known.casefold() == name.casefold():
                return self.session.dialect.name(known), sql_type
        raise NotEvaluable(f'there is no column "{name}"')


def count_rows(condition: str | None) -> str:
    """The aggregate that counts the rows for which a condition is true.

    Not `count(*) FILTER (WHERE ...)`: with a dozen rules the engine takes twice as long for that.
    """
    return f"count(NULLIF({condition}, false))" if condition else ALL_ROWS


def measured(value: Any) -> Fraction | None:
    """A number of the engine's; floating point to twelve digits, beyond which the order of the rows shows."""
    if value is None:
        return None
    if isinstance(value, float):
        return Fraction(Decimal(f"{value:.12g}")) if math.isfinite(value) else None
    if isinstance(value, bool | int | Decimal):
        return Fraction(value)
    raise NotEvaluable(f"the statement returned a {type(value).__name__}, not a number")


def _bounded(value: float | None) -> Fraction | None:
    """A figure of the order of one, to ten decimals: close to zero its relative error is no measure."""
    return None if value is None else measured(round(value, 10) + 0.0)


def plan(rule: Rule, scope: Scope) -> Plan:
    """The plan of a rule without variables; raises NotEvaluable with the reason."""
    rule_type = _known_type(rule)
    if rule.type in {"ColumnCount", "ColumnExists", "ColumnNamesMatchPattern"}:
        return _schema_plan(rule, scope)
    if rule.type == "CustomSql":
        return _statement_plan(rule, scope)
    where = _where(rule, scope)
    if rule.type == "RowCount":
        checked = count_rows(where)
        return Plan("row_count", _condition(rule), lambda answers: Fraction(answers[checked]), checked)
    columns = [scope.column(_parameter(rule, index)) for index in range(len(rule.parameters))]
    if rule.type in _KEY_METRICS:
        return _key_plan(rule, scope, [name for name, _ in columns], where)
    if rule_type.numeric_columns:
        return _statistic_plan(rule, columns, where)
    return _share_plan(rule, scope, columns[0], where)


def _known_type(rule: Rule) -> RuleType:
    """The rule's type; raises NotEvaluable where the rule is not of the type's form."""
    rule_type = RULE_TYPES.get(rule.type)
    if rule_type is None:
        raise NotEvaluable(f"there is no rule type {rule.type}")
    least, most = rule_type.columns
    problems = {
        "is read but not evaluated by this engine": not rule_type.evaluated,
        "has a wrong number of parameters": not least <= len(rule.parameters) <= most,
        "takes no `where`": rule.where is not None and not rule_type.where,
        "takes no `with threshold`": rule.tag("threshold") is not None and not rule_type.threshold,
        f"takes {rule_type.takes.value}": (rule.condition is None) is not (rule_type.takes is Takes.NOTHING)
        and rule_type.takes is not Takes.OPTIONAL_NUMBER,
    }
    for problem, applies in problems.items():
        if applies:
            raise NotEvaluable(f"{rule.type} {problem}")
    return rule_type


def _condition(rule: Rule) -> Condition:
    return rule.condition or _MUST_BE_ONE


def _parameter(rule: Rule, index: int) -> str:
    value = rule.parameters[index].value
    return value.value if isinstance(value, Text) else value.name


def _where(rule: Rule, scope: Scope) -> str | None:
    if not isinstance(rule.where, Text):
        return None
    sql, columns = statements.where_clause(rule.where.value, scope.now)
    for column in sorted(columns):
        scope.column(column)
    return sql


def _schema_plan(rule: Rule, scope: Scope) -> Plan:
    names = list(scope.columns)
    if rule.type == "ColumnCount":
        return Plan("column_count", _condition(rule), lambda _: Fraction(len(names)), ALL_ROWS)
    wanted = _parameter(rule, 0)
    if rule.type == "ColumnExists":
        exists = wanted.casefold() in {name.casefold() for name in names}
        return Plan("column_exists", _MUST_BE_ONE, lambda _: Fraction(exists), ALL_ROWS)
    # The engine's own regular expressions: linear in the text, where Python's could be made to run for ever.
    tests = ", ".join(scope.session.dialect.contains_match(scope.session.dialect.text(name), wanted) for name in names)
    matching = sum(scope.session.rows(f"SELECT {tests}")[0]) if names else 0
    share = Fraction(matching, len(names)) if names else None
    return Plan("matching_column_names", _MUST_BE_ONE, lambda _: share, ALL_ROWS)


def _share_plan(rule: Rule, scope: Scope, column: tuple[str, str], where: str | None) -> Plan:
    """Rules about single rows: the metric is the share of rows for which the predicate is true."""
    name, sql_type = column
    threshold = rule.tag("threshold")
    condition = threshold or _MUST_BE_ONE
    metric_name = "compliance"
    match rule.type:
        case "IsComplete" | "Completeness":
            predicate, metric_name, condition = f"({name} IS NOT NULL)", "completeness", _condition(rule)
        case "ColumnLength":
            if predicates.family(sql_type) != "text":
                raise NotEvaluable(f"ColumnLength needs a text column, and {name} is {sql_type}")
            predicate = predicates.column_length(name, _condition(rule))
        case "DataFreshness":
            predicate = predicates.freshness(name, sql_type, _condition(rule), scope.now)
        case "ColumnDataType":
            predicate = _data_type(rule, name, sql_type, scope)
        case _:
            predicate = predicates.column_values(
                name,
                sql_type,
                _condition(rule),
                ignore_case=_tag_text(rule, "ignoreCase") == "true",
                now=scope.now,
                dialect=scope.session.dialect,
            )
    return _by_row(metric_name, condition, predicate, where)


def _by_row(metric_name: str, condition: Condition, predicate: str, where: str | None) -> Plan:
    checked = count_rows(where)
    satisfied = count_rows(f"(({where}) AND {predicate})" if where else predicate)

    def share(answers: Answers) -> Fraction | None:
        return Fraction(answers[satisfied], answers[checked]) if answers[checked] else None

    def failed(answers: Answers) -> int:
        return int(answers[checked] - answers[satisfied])

    return Plan(metric_name, condition, share, checked, (satisfied,), failed, predicate, where)


def _data_type(rule: Rule, name: str, sql_type: str, scope: Scope) -> str:
    match rule.condition:
        case Comparison(("=" | "!=") as operator, Text(wanted)):
            date_format = _tag_text(rule, "format")
            predicate = predicates.data_type(name, sql_type, wanted, date_format, scope.session.dialect)
            return predicate if operator == "=" else f"({predicate} IS NOT TRUE)"
        case _:
            raise NotEvaluable('ColumnDataType takes = or != and a type in quotes, as = "Date"')


def _tag_text(rule: Rule, name: str) -> str | None:
    match rule.tag(name):
        case Comparison("=", Text(value)):
            return value
        case None:
            return None
        case _:
            raise NotEvaluable(f'`with {name}` takes = and a text, as with {name} = "..."')


_KEY_METRICS: Mapping[str, str] = {
    "IsUnique": "uniqueness",
    "Uniqueness": "uniqueness",
    "IsPrimaryKey": "complete_and_unique",
    "UniqueValueRatio": "unique_value_ratio",
    "DistinctValuesCount": "distinct_values",
    "Entropy": "entropy",
}


def _key_plan(rule: Rule, scope: Scope, columns: list[str], where: str | None) -> Plan:
    facts = scope.groupings.facts(columns, where)
    checked = count_rows(where)
    condition, metric_name = _condition(rule), _KEY_METRICS[rule.type]
    if rule.type == "IsPrimaryKey":
        complete = " AND ".join(f"{column} IS NOT NULL" for column in columns)
        predicate = f"({complete} AND {facts.occurs_once})" if facts.groups != facts.singles else f"({complete})"

        def complete_and_unique(answers: Answers) -> Fraction | None:
            return Fraction(facts.complete_singles, answers[checked]) if answers[checked] else None

        def failed(answers: Answers) -> int:
            return int(answers[checked] - facts.complete_singles)

        return Plan(metric_name, condition, complete_and_unique, checked, (), failed, predicate, where)
    value = _key_metric(rule.type, facts)
    if not RULE_TYPES[rule.type].row_level:
        return Plan(metric_name, condition, lambda _: value, checked, where=where)
    repeated = facts.rows - facts.singles
    return Plan(metric_name, condition, lambda _: value, checked, (), lambda _: repeated, facts.occurs_once, where)


def _key_metric(rule_type: str, facts: KeyFacts) -> Fraction | None:
    match rule_type:
        case "DistinctValuesCount":
            return Fraction(facts.groups)
        case "UniqueValueRatio":
            return Fraction(facts.singles, facts.groups) if facts.groups else None
        case "Entropy":
            return _bounded(abs(math.log(facts.rows) - facts.n_log_n / facts.rows)) if facts.rows else None
        case _:
            return Fraction(facts.singles, facts.rows) if facts.rows else None


def _statistic_plan(rule: Rule, columns: list[tuple[str, str]], where: str | None) -> Plan:
    for column, its_type in columns:
        if predicates.family(its_type) != "number":
            raise NotEvaluable(f"{rule.type} needs numbers, and {column} is {its_type}")
    only = f" FILTER (WHERE {where})" if where else ""
    name, sql_type = columns[0]
    # Kahan summation where the type is not exact, so that the order of the rows does not show.
    exact = not re.match(r"FLOAT|REAL|DOUBLE", sql_type.upper())
    total, values = f"{'sum' if exact else 'fsum'}({name}){only}", f"count({name}){only}"
    checked = count_rows(where)
    match rule.type:
        case "Sum":
            return Plan("sum", _condition(rule), lambda a: measured(a[total]), checked, (total,), where=where)
        case "Mean":

            def mean(answers: Answers) -> Fraction | None:
                summed = measured(answers[total])
                return summed / answers[values] if summed is not None and answers[values] else None

            return Plan("mean", _condition(rule), mean, checked, (total, values), where=where)
        case "StandardDeviation":
            deviation = f"stddev_pop({name}){only}"
            return Plan(
                "standard_deviation",
                _condition(rule),
                lambda a: measured(a[deviation]),
                checked,
                (deviation,),
                where=where,
            )
        case _:
            correlation = f"corr({name}, {columns[1][0]}){only}"
            return Plan(
                "correlation",
                _condition(rule),
                lambda a: _bounded(a[correlation]),
                checked,
                (correlation,),
                where=where,
            )


def _statement_plan(rule: Rule, scope: Scope) -> Plan:
    checked_statement = statements.statement(_parameter(rule, 0), scope.relation, scope.now)
    if rule.condition is not None:
        if rule.tag("threshold") is not None:
            raise NotEvaluable("a CustomSql rule has either a condition or a threshold")
        rows = scope.session.rows(f"SELECT * FROM ({checked_statement.sql}) LIMIT 2")
        if len(rows) != 1 or len(rows[0]) != 1:
            raise NotEvaluable("a CustomSql statement with a condition has to return exactly one value")
        value = measured(rows[0][0])
        return Plan("custom_sql", rule.condition, lambda _: value, ALL_ROWS)
    condition = rule.tag("threshold") or _MUST_BE_ONE
    if checked_statement.predicate is not None:
        for name in sorted(checked_statement.columns):
            scope.column(name)
        return _by_row("compliance", condition, f"({checked_statement.predicate})", None)
    # The relation's columns that no rule can see come along with `SELECT *`.
    relation = scope.session.dialect.name(scope.relation)
    types = {str(row[0]): str(row[1]) for row in scope.session.rows(f"DESCRIBE {relation}")}
    returned = [str(row[0]) for row in scope.session.rows(f"DESCRIBE {checked_statement.sql}")]
    typed = [(name, types[name]) if name in types else scope.column(name) for name in returned]
    names = [scope.session.dialect.name(name) if name in types else name for name, _ in typed]
    cast = ", ".join(
        f"CAST({scope.session.dialect.name(name)} AS {sql_type})"
        for name, (_, sql_type) in zip(returned, typed, strict=True)
    )
    belongs = HashSets(scope.session).function(f"SELECT DISTINCT hash({cast}) FROM ({checked_statement.sql})")
    return _by_row("compliance", condition, f"({belongs}(hash({', '.join(names)})))", None)
