"""Plans of the rules that compare a partition with another dataset.

Whether a row's key, or a whole row, exists in the reference is asked of a set of 64-bit hashes, so that the rows keep
their order and the rule takes part in the one query of its ruleset. Two different keys share a hash about once in
10^19 pairs. A missing key part is no key: such rows have no counterpart.
"""

from collections.abc import Sequence
from fractions import Fraction

from city_platform.engines.dialect import Dialect
from city_platform.quality.model import Rule
from city_platform.quality.operands import NotEvaluable
from city_platform.quality.plans import ALL_ROWS, Answers, Plan, Scope, column_of, demand, measured, share_plan
from city_platform.quality.predicates import common_type, family
from city_platform.quality.references import PRIMARY, Aggregate, Compared, ReferenceUse, aggregates, compared
from city_platform.quality.surroundings import Reference

_Column = tuple[str, str]  # quoted name, SQL type


def comparison_plan(rule: Rule, scope: Scope) -> Plan:
    """The plan of ReferentialIntegrity, DatasetMatch, RowCountMatch, SchemaMatch or AggregateMatch."""
    if rule.type == "AggregateMatch":
        return _aggregate_match(rule, scope)
    asked = compared(rule)
    reference = _reference(asked.use, scope)
    match rule.type:
        case "ReferentialIntegrity":
            return _exists(rule, scope, reference, _typed(asked.keys, asked, reference, scope), [])
        case "DatasetMatch":
            return _dataset_match(rule, scope, reference, asked)
        case "RowCountMatch":
            (count,) = scope.session.rows(f"SELECT count(*) FROM {reference.relation}")[0]
            return Plan("row_count_match", demand(rule), lambda answers: _ratio(answers[ALL_ROWS], count), ALL_ROWS)
        case _:
            share = _schema_share(scope, reference)
            return Plan("schema_match", demand(rule), lambda _: share, ALL_ROWS)


def _reference(use: ReferenceUse, scope: Scope) -> Reference:
    if use.dataset == PRIMARY:
        return Reference(scope.session.dialect.name(scope.relation), scope.columns)
    found = scope.surroundings.references.get(use)
    if isinstance(found, Reference):
        return found
    raise NotEvaluable(found or f"no rows of {use.dataset} are at hand to compare with")


def _typed(
    pairs: Sequence[tuple[str, str]], asked: Compared, reference: Reference, scope: Scope
) -> list[tuple[_Column, _Column]]:
    return [
        (scope.column(here), column_of(reference.columns, there, scope.session, f" in {asked.use.dataset}"))
        for here, there in pairs
    ]


def _dataset_match(rule: Rule, scope: Scope, reference: Reference, asked: Compared) -> Plan:
    keys = _typed(asked.keys, asked, reference, scope)
    facts = scope.groupings.facts([here for (here, _), _ in keys], None)
    there = ", ".join(name for _, (name, _) in keys)
    given = " AND ".join(f"{name} IS NOT NULL" for _, (name, _) in keys)
    repeated = scope.session.rows(
        f"SELECT 1 FROM {reference.relation} WHERE {given} GROUP BY {there} HAVING count(*) > 1 LIMIT 1"
    )
    for place, repeats in (("the dataset", facts.groups != facts.singles), (asked.use.dataset, bool(repeated))):
        if repeats:
            raise NotEvaluable(f"the key is not unique in {place}: name the columns that identify a row")
    named = {here.casefold() for here, _ in asked.keys}
    matched = asked.matched
    if matched is None:
        matched = tuple((name, name) for name in scope.columns if name.casefold() not in named)
    return _exists(rule, scope, reference, keys, _typed(matched, asked, reference, scope))


def _exists(
    rule: Rule,
    scope: Scope,
    reference: Reference,
    keys: Sequence[tuple[_Column, _Column]],
    matched: Sequence[tuple[_Column, _Column]],
) -> Plan:
    """The share of rows whose keys exist in the reference with the matched values; missing values match."""
    here, there = [], []
    for (name, its_type), (other, other_type) in (*keys, *matched):
        cast = common_type(its_type, other_type)
        if cast is None:
            raise NotEvaluable(f"{name} is {its_type} and {other} is {other_type}: they cannot be compared")
        here.append(scope.session.dialect.cast(name, cast))
        there.append(scope.session.dialect.cast(other, cast))
    # A key with a missing part is no member, so neither is a row's whose key misses that part.
    given = " AND ".join(f"{name} IS NOT NULL" for _, (name, _) in keys)
    exists = scope.session.belongs(here, there, f"FROM {reference.relation} WHERE {given}")
    metric_name = "referential_integrity" if rule.type == "ReferentialIntegrity" else "dataset_match"
    return share_plan(metric_name, demand(rule), exists)


def _schema_share(scope: Scope, reference: Reference) -> Fraction:
    """Columns of the same name and type; 0 where the numbers of columns differ."""
    here, there = (
        {name.casefold(): sql_type.upper().replace(" ", "") for name, sql_type in columns.items()}
        for columns in (scope.columns, reference.columns)
    )
    if len(here) != len(there) or not here:
        return Fraction(0)
    return Fraction(sum(there.get(name) == sql_type for name, sql_type in here.items()), len(here))


def _aggregate_match(rule: Rule, scope: Scope) -> Plan:
    sides = []
    needed: list[str] = []
    for side in aggregates(rule):
        if side.use is not None:
            reference = _reference(side.use, scope)
            total, count = _aggregate_sql(side, reference, scope)
            sides.append(scope.session.rows(f"SELECT {total}, {count} FROM {reference.relation}")[0])
        else:
            sides.append(_aggregate_sql(side, Reference("", scope.columns), scope))
            needed += sides[-1]
    first, second = aggregates(rule)

    def ratio(answers: Answers) -> Fraction | None:
        values = [
            _aggregated(side, *(given if side.use is not None else (answers[one] for one in given)))
            for side, given in zip((first, second), sides, strict=True)
        ]
        if values[0] is None or values[1] is None:
            return None
        return Fraction(values[0] == 0) if values[1] == 0 else values[0] / values[1]

    return Plan("aggregate_match", demand(rule), ratio, ALL_ROWS, tuple(needed))


def _aggregate_sql(side: Aggregate, reference: Reference, scope: Scope) -> tuple[str, str]:
    """The sum and the number of values, exact where the type is."""
    name, sql_type = column_of(reference.columns, side.column, scope.session)
    if family(sql_type) != "number":
        raise NotEvaluable(f"{side.function} needs numbers, and {name} is {sql_type}")
    return sum_sql(name, sql_type, scope.session.dialect), f"count({name})"


def _aggregated(side: Aggregate, total: object, count: object) -> Fraction | None:
    value = measured(total)
    return value / int(str(count)) if value is not None and side.function == "avg" else value


def sum_sql(name: str, sql_type: str, dialect: Dialect) -> str:
    """The sum; where the type is not exact, so that the order of the rows does not show."""
    inexact = sql_type.upper().startswith(("FLOAT", "REAL", "DOUBLE"))
    return dialect.inexact_sum(name) if inexact else f"sum({name})"


def _ratio(value: int, by: int) -> Fraction | None:
    return Fraction(value, by) if by else None
