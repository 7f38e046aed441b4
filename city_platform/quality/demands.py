"""A rule's demand as a set of accepted values: what it measures, what that can be, and which of it fulfils the rule.

Two rules with the same `measured` can be compared: one may include the other, or both exclude each other.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import sqlglot
from sqlglot.errors import SqlglotError

from city_platform.contracts.model import Contract
from city_platform.quality.acceptance import Numbers, Words, accepted_numbers, accepted_words, between
from city_platform.quality.model import (
    Arithmetic,
    Call,
    Comparison,
    Condition,
    Keyword,
    Membership,
    Number,
    Operand,
    Rule,
    Text,
)
from city_platform.quality.operands import NotEvaluable, called_functions, hours, instant, number, operands, size
from city_platform.quality.predicates import family
from city_platform.quality.printer import print_condition
from city_platform.quality.sql_in_words import guarded_column

Accepted = Numbers | Words


@dataclass(frozen=True, slots=True)
class Domain:
    """What a measure can be. `noun` names it in a sentence."""

    values: Numbers
    noun: str


@dataclass(frozen=True, slots=True)
class Demand:
    """One plain rule as a set: what is measured, and which of its values are accepted.

    `every_row` says that the accepted set is asked of each row; `null` whether a missing value is accepted too.
    """

    measured: str  # equal where two rules measure the same
    accepted: Accepted
    domain: Domain | None
    every_row: bool = False
    null: bool = False

    @property
    def always(self) -> bool:
        """Whether it holds whatever is measured."""
        if self.domain is None or self.domain.values.empty or (self.every_row and not self.null):
            return False
        return self.accepted == self.domain.values

    @property
    def never(self) -> bool:
        """Whether nothing fulfils it."""
        return self.accepted.empty and not self.null

    def within(self, other: "Demand") -> bool:
        """Whether whatever fulfils this fulfils the other."""
        return _part(self.accepted, other.accepted) and (other.null or not self.null)

    def meets(self, other: "Demand") -> bool:
        """Whether something fulfils both."""
        return not _common(self.accepted, other.accepted).empty or (self.null and other.null)


SHARE = Domain(between(0, 1), "a share between 0 and 1")
COUNT = Domain(between(0, math.inf, whole=True), "a count, 0 or more")
_POSITIVE = Domain(between(0, math.inf), "never negative")
DOMAINS = {
    **dict.fromkeys(("Completeness", "Uniqueness", "UniqueValueRatio", "FileUniqueness"), SHARE),
    **dict.fromkeys(("ReferentialIntegrity", "SchemaMatch", "DatasetMatch"), SHARE),
    **dict.fromkeys(("RowCount", "DistinctValuesCount"), COUNT),
    **dict.fromkeys(("StandardDeviation", "Variance", "Entropy", "RowCountMatch"), _POSITIVE),
    "ColumnCorrelation": Domain(between(-1, 1), "a number between -1 and 1"),
    "Mean": Domain(between(-math.inf, math.inf), "any number"),
    "Sum": Domain(between(-math.inf, math.inf), "any number"),
    "AggregateMatch": Domain(between(-math.inf, math.inf), "any number"),
}
_INTEGERS = {"TINYINT": 7, "SMALLINT": 15, "INTEGER": 31, "BIGINT": 63}
# Rules that say the same in other words: the type, and what it demands of it.
_SAME = {"IsComplete": "Completeness", "IsUnique": "Uniqueness"}
_ALL = Comparison("=", Number(Decimal(1)))


def demand_of(rule: Rule, contract: Contract) -> Demand | None:
    """The rule as a set; None where it is none, as with patterns and with what earlier runs decide."""
    limit = rule.tag("threshold")
    if (called_functions(rule.condition) | called_functions(limit)) - {"now"}:
        return None
    try:
        if limit is not None:
            own = print_condition(rule.condition) if rule.condition is not None else ""
            return Demand(measured(rule, rule.type, own), accepted_numbers(limit, number) & SHARE.values, SHARE)
        if rule.type in _SAME or _is_completeness(rule):
            name = _SAME.get(rule.type, "Completeness")
            return Demand(measured(rule, name), accepted_numbers(_ALL, number), SHARE)
        if rule.type in DOMAINS and rule.condition is not None:
            domain = DOMAINS[rule.type]
            accepted = accepted_numbers(rule.condition, number, whole=domain.values.whole)
            return Demand(measured(rule, rule.type), accepted & domain.values, domain)
        read = _READERS.get(rule.type)
        return read(rule, rule.condition, contract) if read is not None and rule.condition is not None else None
    except NotEvaluable:
        return None


def _values_demand(rule: Rule, condition: Condition, contract: Contract) -> Demand:
    column = contract.column(column_names(rule)[0])
    kind = family(column.sql_type)
    guarded = guarded_column(rule.where.value) if isinstance(rule.where, Text) else None
    excluded = guarded is not None and guarded.casefold() == column.name.casefold()
    null = excluded or _accepts_null(condition)
    plain = _without_null(condition)
    if kind == "text":
        ignore_case = rule.tag("ignoreCase") is not None
        words = accepted_words(plain, ignore_case=ignore_case)
        return Demand(measured(rule, "ColumnValues", f"ignoreCase={ignore_case}"), words, None, True, null)
    if kind == "number":
        base = column.sql_type.upper().split("(")[0].strip()
        whole = base in _INTEGERS
        domain = None
        if whole:
            limit = Fraction(2) ** _INTEGERS[base]
            domain = Domain(between(-limit, limit - 1, whole=True), f"a whole number of the type {base}")
        accepted = accepted_numbers(plain, number, whole=whole)
        return Demand(
            measured(rule, "ColumnValues"), accepted & domain.values if domain else accepted, domain, True, null
        )
    relative = {is_relative(operand) for operand in operands(plain)}
    if kind not in {"date", "timestamp", "timestamptz"} or len(relative) > 1:
        raise NotEvaluable("what it accepts depends on the day")
    whole = kind == "date" and relative == {False}
    accepted = accepted_numbers(plain, _days if whole else _seconds, whole=whole)
    return Demand(measured(rule, "ColumnValues", "now" if True in relative else ""), accepted, None, True, null)


def _lengths_demand(rule: Rule, condition: Condition, _: Contract) -> Demand:
    lengths = accepted_numbers(condition, number, whole=True) & COUNT.values
    return Demand(measured(rule, rule.type), lengths, COUNT, every_row=True, null=null_has_no_length(condition))


def null_has_no_length(condition: Condition) -> bool:
    """Whether ColumnLength passes over a missing value: not where the rule speaks of the length 0, nor with `in`."""
    listed = isinstance(condition, Membership) and not condition.negated
    return not listed and Number(Decimal(0)) not in operands(condition)


def _columns_demand(rule: Rule, condition: Condition, contract: Contract) -> Demand:
    count = Fraction(len(contract.columns))
    exactly = Domain(between(count, count, whole=True), f"{count} by the contract")
    return Demand(measured(rule, rule.type), accepted_numbers(condition, number) & exactly.values, exactly)


def _ages_demand(rule: Rule, condition: Condition, _: Contract) -> Demand:
    return Demand(measured(rule, rule.type), accepted_numbers(condition, hours), None, every_row=True)


def _sizes_demand(rule: Rule, condition: Condition, _: Contract) -> Demand:
    sizes = accepted_numbers(condition, lambda operand: Fraction(size(operand)))
    return Demand(measured(rule, rule.type), sizes & _POSITIVE.values, _POSITIVE, every_row=True)


_READERS: Mapping[str, Callable[[Rule, Condition, Contract], Demand]] = {
    "ColumnValues": _values_demand,
    "ColumnLength": _lengths_demand,
    "ColumnCount": _columns_demand,
    "DataFreshness": _ages_demand,
    "FileSize": _sizes_demand,
}


def _is_completeness(rule: Rule) -> bool:
    return rule.type == "ColumnValues" and rule.condition == Comparison("!=", Keyword.NULL)


def _accepts_null(condition: Condition) -> bool:
    match condition:
        case Comparison(operator, operand):
            return (operator == "!=") is not (operand is Keyword.NULL)
        case Membership(tuple() as values, negated):
            return (Keyword.NULL in values) is not negated
        case _:
            return False


def _without_null(condition: Condition) -> Condition:
    """`in ["a", NULL]` as `in ["a"]`; `= NULL` accepts no value at all."""
    match condition:
        case Comparison(operator, Keyword.NULL):
            return Membership((), operator == "!=")
        case Membership(tuple() as values, negated):
            return Membership(tuple(value for value in values if value is not Keyword.NULL), negated)
        case _:
            return condition


_TODAY = datetime(2000, 1, 1, tzinfo=UTC)  # any day: what is relative to now is compared only with what is, too


def _days(operand: Operand) -> Fraction:
    moment = instant(operand, _TODAY)
    if isinstance(moment, datetime):
        raise NotEvaluable("a moment, where days are compared")
    return Fraction(moment.toordinal())


def _seconds(operand: Operand) -> Fraction:
    moment = instant(operand, _TODAY)
    if isinstance(moment, datetime):
        return Fraction(moment.timestamp())
    return Fraction(datetime(moment.year, moment.month, moment.day, tzinfo=UTC).timestamp())


def is_relative(operand: Operand) -> bool:
    match operand:
        case Call("now"):
            return True
        case Arithmetic(_, left, _):
            return is_relative(left)
        case _:
            return False


def column_names(rule: Rule) -> list[str]:
    return [parameter.value.value for parameter in rule.parameters if isinstance(parameter.value, Text)]


def measured(rule: Rule, name: str, further: str = "") -> str:
    """What a rule measures, in one spelling."""
    return "|".join([name, *(one.casefold() for one in column_names(rule)), _where(rule), further])


def _where(rule: Rule) -> str:
    if not isinstance(rule.where, Text):
        return ""
    try:
        condition = sqlglot.parse_one(f"SELECT 1 WHERE {rule.where.value}", read="spark")
        return str(condition.sql(normalize=True, normalize_functions="upper"))
    except (SqlglotError, RecursionError):
        return rule.where.value


def _common(one: Accepted, other: Accepted) -> Accepted:
    if isinstance(one, Numbers) and isinstance(other, Numbers):
        return one & other
    if isinstance(one, Words) and isinstance(other, Words):
        return one & other
    raise TypeError("numbers and texts have nothing in common")


def _part(one: Accepted, other: Accepted) -> bool:
    return _common(one, other) == one
