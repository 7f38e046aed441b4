"""A rule as SQL: which plan it gets.

All rules of a ruleset share one query. Keys and CustomSql cannot: they are run, once each, while their plan is made.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from city_platform.quality import predicates, statements
from city_platform.quality.comparisons import comparison_plan, sum_sql
from city_platform.quality.dynamic import NothingToCompare, rounded, with_history
from city_platform.quality.figures import anomaly_plan, extremes, statistics, watched_rule
from city_platform.quality.groupings import KeyFacts
from city_platform.quality.measures import is_dynamic, measure_of
from city_platform.quality.model import Comparison, Number, Rule, Tag, Text
from city_platform.quality.operands import NotEvaluable
from city_platform.quality.plans import (
    ALL_ROWS,
    MUST_BE_ONE,
    Answers,
    Figure,
    Plan,
    Scope,
    count_rows,
    count_values,
    demand,
    measured,
    parameter,
    share_plan,
    tag_text,
)
from city_platform.quality.references import COMPARING
from city_platform.quality.rule_types import RULE_TYPES, RuleType, Takes
from city_platform.quality.source_files import FILE_RULES, source_file_plan

_ANY_NUMBER = Comparison("=", Number(Decimal(0)))  # stands where an analyzer has no demand


def _bounded(value: float | None) -> Fraction | None:
    """A figure of the order of one, to ten decimals: close to zero its relative error is no measure."""
    return None if value is None else measured(round(value, 10) + 0.0)


def plan(rule: Rule, scope: Scope, *, by_row: bool = True) -> Plan:
    """The plan of a rule without variables; raises NotEvaluable with the reason.

    `by_row` says that the rows are routed, so that the plan needs a predicate even where it costs a query.
    """
    rule_type = _known_type(rule)
    if rule.type == "DetectAnomalies":
        return anomaly_plan(rule, figures(watched_rule(rule), scope), scope)
    dynamic = is_dynamic(rule.condition) or is_dynamic(rule.tag("threshold"))
    kept = extremes(rule, scope) if rule_type.compliance and is_dynamic(rule.condition) else ()
    try:
        made = _plan(_settled(rule, rule_type, scope) if dynamic else rule, rule_type, scope, by_row=by_row)
    except NothingToCompare as reason:
        # Its figures are kept all the same: they are what the next partition is compared with.
        if kept:
            return Plan("compliance", MUST_BE_ONE, lambda _: None, ALL_ROWS, abstains=str(reason), figures=kept)
        static = tuple(tag for tag in rule.tags if not is_dynamic(tag.condition))
        condition = _ANY_NUMBER if is_dynamic(rule.condition) else rule.condition
        made = _plan(replace(rule, condition=condition, tags=static), rule_type, scope, by_row=False)
        made = replace(made, abstains=str(reason), failed=None)
    figure = Figure(measure_of(rule), made.metric, made.aggregates)
    if dynamic:
        metric = made.metric
        made = replace(made, metric=lambda answers: _rounded(metric(answers)))
    return replace(made, figures=(*kept, figure))


def figures(rule: Rule, scope: Scope) -> tuple[Figure, ...]:
    """What an analyzer measures; raises NotEvaluable where it measures nothing."""
    rule_type = RULE_TYPES.get(rule.type)
    if rule_type is None or not rule_type.analyzer:
        raise NotEvaluable(f"{rule.type} is no analyzer")
    if rule.type == "AllStatistics":
        return tuple(figure for one in statistics(rule, scope) for figure in figures(one, scope))
    if rule_type.compliance:
        return extremes(rule, scope)
    takes_number = rule_type.takes in {Takes.NUMBER, Takes.OPTIONAL_NUMBER}
    return plan(replace(rule, condition=_ANY_NUMBER if takes_number else None), scope, by_row=False).figures


def _rounded(value: Fraction | None) -> Fraction | None:
    return None if value is None else rounded(value)


def _settled(rule: Rule, rule_type: RuleType, scope: Scope) -> Rule:
    """The rule with every last(k) computed from the history of what it measures."""
    earlier = scope.surroundings.earlier
    if earlier is None:
        raise NotEvaluable("no history of earlier evaluations is at hand")
    condition = rule.condition
    if condition is not None and is_dynamic(condition):
        if not rule_type.compliance:
            condition = with_history(condition, earlier.get(measure_of(rule), ()))
        elif isinstance(condition, Comparison) and condition.operator in {"=", "!="}:
            raise NotEvaluable("values can be compared with earlier ones by <, <=, >, >= and between")
        else:
            low, high = (earlier.get(figure.measure, ()) for figure in extremes(rule, scope))
            condition = with_history(condition, low, high)
    tags = tuple(
        Tag(tag.name, with_history(tag.condition, earlier.get(measure_of(rule), ())))
        if is_dynamic(tag.condition)
        else tag
        for tag in rule.tags
    )
    return replace(rule, condition=condition, tags=tags)


def _plan(rule: Rule, rule_type: RuleType, scope: Scope, *, by_row: bool) -> Plan:
    if rule.type in _MAKERS:
        return _MAKERS[rule.type](rule, scope)
    where = scope.where(rule)
    columns = [scope.column(parameter(rule, index)) for index in range(len(rule.parameters))]
    if rule.type in _KEY_METRICS:
        return _key_plan(rule, scope, [name for name, _ in columns], where, by_row=by_row)
    if rule_type.numeric_columns:
        return _statistic_plan(rule, scope, columns, where)
    return _share_plan(rule, scope, columns[0], where)


def _known_type(rule: Rule) -> RuleType:
    """The rule's type; raises NotEvaluable where the rule is not of the type's form."""
    rule_type = RULE_TYPES.get(rule.type)
    if rule_type is None:
        raise NotEvaluable(f"there is no rule type {rule.type}")
    least, most = rule_type.columns
    problems = {
        "is read but not evaluated by this engine": not rule_type.evaluated and not rule_type.analyzer,
        "has no demand: it stands under Analyzers": not rule_type.evaluated and rule_type.analyzer,
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


def _row_count_plan(rule: Rule, scope: Scope) -> Plan:
    checked = count_rows(scope.where(rule))
    return Plan("row_count", demand(rule), lambda answers: Fraction(answers[checked]), checked)


def _schema_plan(rule: Rule, scope: Scope) -> Plan:
    names = list(scope.columns)
    if rule.type == "ColumnCount":
        return Plan("column_count", demand(rule), lambda _: Fraction(len(names)), ALL_ROWS)
    wanted = parameter(rule, 0)
    if rule.type == "ColumnExists":
        exists = wanted.casefold() in {name.casefold() for name in names}
        return Plan("column_exists", MUST_BE_ONE, lambda _: Fraction(exists), ALL_ROWS)
    # The engine's own regular expressions: linear in the text, where Python's could be made to run for ever.
    tests = ", ".join(scope.session.dialect.contains_match(scope.session.dialect.text(name), wanted) for name in names)
    matching = sum(scope.session.rows(f"SELECT {tests}")[0]) if names else 0
    share = Fraction(matching, len(names)) if names else None
    return Plan("matching_column_names", MUST_BE_ONE, lambda _: share, ALL_ROWS)


def _share_plan(rule: Rule, scope: Scope, column: tuple[str, str], where: str | None) -> Plan:
    """Rules about single rows: the metric is the share of rows for which the predicate is true."""
    name, sql_type = column
    threshold = rule.tag("threshold")
    condition = threshold or MUST_BE_ONE
    metric_name = "compliance"
    match rule.type:
        case "IsComplete" | "Completeness":
            present = f"({name} IS NOT NULL)"
            return share_plan("completeness", demand(rule), present, where, count_values(name))
        case "ColumnLength":
            if predicates.family(sql_type) != "text":
                raise NotEvaluable(f"ColumnLength needs a text column, and {name} is {sql_type}")
            predicate = predicates.column_length(name, demand(rule), scope.session.dialect)
        case "DataFreshness":
            predicate = predicates.freshness(name, sql_type, demand(rule), scope.now, scope.session.dialect)
        case "ColumnDataType":
            predicate = _data_type(rule, name, sql_type, scope)
        case _:
            predicate = predicates.column_values(
                name,
                sql_type,
                demand(rule),
                ignore_case=tag_text(rule, "ignoreCase") == "true",
                now=scope.now,
                dialect=scope.session.dialect,
            )
    return share_plan(metric_name, condition, predicate, where)


def _data_type(rule: Rule, name: str, sql_type: str, scope: Scope) -> str:
    match rule.condition:
        case Comparison(("=" | "!=") as operator, Text(wanted)):
            date_format = tag_text(rule, "format")
            predicate = predicates.data_type(name, sql_type, wanted, date_format, scope.session.dialect)
            return predicate if operator == "=" else f"({predicate} IS NOT TRUE)"
        case _:
            raise NotEvaluable('ColumnDataType takes = or != and a type in quotes, as = "Date"')


_KEY_METRICS: Mapping[str, str] = {
    "IsUnique": "uniqueness",
    "Uniqueness": "uniqueness",
    "IsPrimaryKey": "complete_and_unique",
    "UniqueValueRatio": "unique_value_ratio",
    "DistinctValuesCount": "distinct_values",
    "Entropy": "entropy",
}


def _key_plan(rule: Rule, scope: Scope, columns: list[str], where: str | None, *, by_row: bool) -> Plan:
    facts = scope.groupings.facts(columns, where)
    checked = count_rows(where)
    condition, metric_name = demand(rule), _KEY_METRICS[rule.type]
    by_row = by_row and RULE_TYPES[rule.type].row_level
    once = scope.groupings.occurs_once(columns, where) if by_row else None
    if rule.type == "IsPrimaryKey":
        complete = " AND ".join(f"{column} IS NOT NULL" for column in columns)

        def complete_and_unique(answers: Answers) -> Fraction | None:
            return Fraction(facts.complete_singles, answers[checked]) if answers[checked] else None

        def failed(answers: Answers) -> int:
            return int(answers[checked] - facts.complete_singles)

        predicate = f"({complete} AND {once})" if once else None
        return Plan(metric_name, condition, complete_and_unique, checked, (), failed, predicate, where)
    value = _key_metric(rule.type, facts)
    if not RULE_TYPES[rule.type].row_level:
        return Plan(metric_name, condition, lambda _: value, checked, where=where)
    repeated = facts.rows - facts.singles
    return Plan(metric_name, condition, lambda _: value, checked, (), lambda _: repeated, once, where)


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


def _statistic_plan(rule: Rule, scope: Scope, columns: list[tuple[str, str]], where: str | None) -> Plan:
    for column, its_type in columns:
        if predicates.family(its_type) != "number":
            raise NotEvaluable(f"{rule.type} needs numbers, and {column} is {its_type}")
    only = f" FILTER (WHERE {where})" if where else ""
    name, sql_type = columns[0]
    total, values = f"{sum_sql(name, sql_type, scope.session.dialect)}{only}", f"count({name}){only}"
    checked = count_rows(where)

    def mean(answers: Answers) -> Fraction | None:
        summed = measured(answers[total])
        return summed / answers[values] if summed is not None and answers[values] else None

    if rule.type == "Mean":
        return Plan("mean", demand(rule), mean, checked, (total, values), where=where)
    metric_name, aggregate, read = {
        "Sum": ("sum", total, measured),
        "StandardDeviation": ("standard_deviation", f"stddev_pop({name}){only}", measured),
        "Variance": ("variance", f"var_pop({name}){only}", measured),
        "ColumnCorrelation": ("correlation", f"corr({', '.join(one for one, _ in columns)}){only}", _bounded),
    }[rule.type]
    return Plan(metric_name, demand(rule), lambda answers: read(answers[aggregate]), checked, (aggregate,), where=where)


def _statement_plan(rule: Rule, scope: Scope) -> Plan:
    checked_statement = statements.statement(
        parameter(rule, 0), scope.relation, scope.now, scope.session.dialect.sql_of
    )
    if rule.condition is not None:
        if rule.tag("threshold") is not None:
            raise NotEvaluable("a CustomSql rule has either a condition or a threshold")
        rows = scope.session.rows(f"SELECT * FROM ({checked_statement.sql}) LIMIT 2")
        if len(rows) != 1 or len(rows[0]) != 1:
            raise NotEvaluable("a CustomSql statement with a condition has to return exactly one value")
        value = measured(rows[0][0])
        return Plan("custom_sql", rule.condition, lambda _: value, ALL_ROWS)
    condition = rule.tag("threshold") or MUST_BE_ONE
    if checked_statement.predicate is not None:
        for name in sorted(checked_statement.columns):
            scope.column(name)
        return share_plan("compliance", condition, f"({checked_statement.predicate})", None)
    # The relation's columns that no rule can see come along with `SELECT *`.
    relation = scope.session.dialect.name(scope.relation)
    types = scope.session.types(f"SELECT * FROM {relation}")
    returned = list(scope.session.types(checked_statement.sql))
    typed = [(name, types[name]) if name in types else scope.column(name) for name in returned]
    names = [scope.session.dialect.name(name) if name in types else name for name, _ in typed]
    dialect = scope.session.dialect
    members = [dialect.cast(dialect.name(name), sql_type) for name, (_, sql_type) in zip(returned, typed, strict=True)]
    belongs = scope.session.belongs(names, members, f"FROM ({checked_statement.sql})")
    return share_plan("compliance", condition, f"({belongs})", None)


_MAKERS: Mapping[str, Callable[[Rule, Scope], Plan]] = {
    "RowCount": _row_count_plan,
    **dict.fromkeys(("ColumnCount", "ColumnExists", "ColumnNamesMatchPattern"), _schema_plan),
    "CustomSql": _statement_plan,
    **dict.fromkeys(COMPARING, comparison_plan),
    **dict.fromkeys(FILE_RULES, source_file_plan),
}
