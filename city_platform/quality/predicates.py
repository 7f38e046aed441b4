"""Row predicates in SQL: TRUE where a row passes, FALSE or NULL where it fails.

Leaving NULL as it is keeps every predicate one plain comparison, which the engine evaluates on a column's dictionary;
whoever counts or routes rows treats NULL as failing.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from fractions import Fraction

from city_platform.engines.dialect import Dialect
from city_platform.quality.model import (
    Between,
    Comparison,
    Condition,
    Keyword,
    Matches,
    Membership,
    Operand,
    Text,
)
from city_platform.quality.operands import NotEvaluable, hours, instant, is_instant, is_number, number, operands

Literal = Callable[[Operand], str]

_MISSING: Mapping[Keyword, str] = {
    Keyword.NULL: "{0} IS NULL",
    Keyword.EMPTY: "{0} = ''",
}
_DATE_FORMATS: Mapping[str, tuple[str, str]] = {
    # AWS's format: (what completes a partial date, strptime's format)
    "yyyy-MM-dd": ("{0}", "%Y-%m-%d"),
    "dd-MM-yyyy": ("{0}", "%d-%m-%Y"),
    "MM-dd-yyyy": ("{0}", "%m-%d-%Y"),
    "yyyy/MM/dd": ("{0}", "%Y/%m/%d"),
    "dd/MM/yyyy": ("{0}", "%d/%m/%Y"),
    "MM/dd/yyyy": ("{0}", "%m/%d/%Y"),
    "yyyy-MM": ("{0} || '-01'", "%Y-%m-%d"),
    "yyyy/MM": ("{0} || '/01'", "%Y/%m/%d"),
    "MM-yyyy": ("'01-' || {0}", "%d-%m-%Y"),
    "MM/yyyy": ("'01/' || {0}", "%d/%m/%Y"),
    "dd-MM": ("{0} || '-2000'", "%d-%m-%Y"),  # 2000 is a leap year: 29-02 is a date
    "MM-dd": ("{0} || '-2000'", "%m-%d-%Y"),
    "dd/MM": ("{0} || '/2000'", "%d/%m/%Y"),
    "MM/dd": ("{0} || '/2000'", "%m/%d/%Y"),
}
# A typed column satisfies the types its values always convert to.
_WIDER: Mapping[str, tuple[str, ...]] = {
    "BOOLEAN": ("BOOLEAN",),
    "DATE": ("DATE", "TIMESTAMP"),
    "TIMESTAMP": ("TIMESTAMP",),
    "TINYINT": ("INTEGER", "LONG", "FLOAT", "DOUBLE"),
    "SMALLINT": ("INTEGER", "LONG", "FLOAT", "DOUBLE"),
    "INTEGER": ("INTEGER", "LONG", "FLOAT", "DOUBLE"),
    "BIGINT": ("LONG", "FLOAT", "DOUBLE"),
    "DECIMAL": ("FLOAT", "DOUBLE"),
    "FLOAT": ("FLOAT", "DOUBLE"),
    "DOUBLE": ("DOUBLE",),
}
_INTEGER_DIGITS: Mapping[str, int] = {"TINYINT": 3, "SMALLINT": 5, "INTEGER": 10, "BIGINT": 19}
_SQL_TYPES: Mapping[str, str] = {
    "BOOLEAN": "BOOLEAN",
    "DATE": "DATE",
    "TIMESTAMP": "TIMESTAMP",
    "INTEGER": "INTEGER",
    "LONG": "BIGINT",
    "FLOAT": "FLOAT",
    "DOUBLE": "DOUBLE",
}
_DECIMAL = re.compile(r"DECIMAL\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\)")


def family(sql_type: str) -> str:
    """`number`, `text`, `date`, `timestamp`, `timestamptz`, `boolean`, or `other` for what rules cannot compare."""
    name = sql_type.upper().split("(")[0].strip()
    if name in {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "REAL", "DOUBLE", "DECIMAL", "NUMERIC"}:
        return "number"
    if name in {"VARCHAR", "TEXT", "STRING"}:
        return "text"
    if name in {"TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"}:
        return "timestamptz"
    if name.startswith("TIMESTAMP") or name == "DATETIME":
        return "timestamp"
    return {"DATE": "date", "BOOLEAN": "boolean"}.get(name, "other")


def common_type(one: str, other: str) -> str | None:
    """The SQL type in which values of two types can be compared exactly; None where they cannot be compared."""
    kinds = {family(one), family(other)}
    if kinds == {"number"}:
        names = [re.split(r"[ (]", sql_type.upper(), maxsplit=1)[0] for sql_type in (one, other)]
        if all(name in {*_INTEGER_DIGITS, "HUGEINT"} for name in names):
            return "HUGEINT"
        scales = [int(found[2]) for sql_type in (one, other) if (found := _DECIMAL.fullmatch(sql_type.upper()))]
        inexact = {"FLOAT", "REAL", "DOUBLE"} & set(names)
        return "DOUBLE" if inexact or not scales else f"DECIMAL(38,{max(scales)})"
    if kinds == {"date", "timestamp"}:
        return "TIMESTAMP"
    types = {"text": "VARCHAR", "date": "DATE", "timestamp": "TIMESTAMP", "timestamptz": "TIMESTAMPTZ"}
    return (types | {"boolean": "BOOLEAN"}).get(kinds.pop()) if len(kinds) == 1 else None


def decimal_text(value: Fraction) -> str:
    """A number as SQL writes it: exact where it has a finite decimal form of moderate length."""
    if value.denominator == 1:
        return str(value.numerator)
    scale = next((digits for digits in range(1, 19) if 10**digits % value.denominator == 0), None)
    if scale is None:
        return f"CAST({float(value)!r} AS DOUBLE)"
    digits = str(abs(value.numerator) * (10**scale // value.denominator)).rjust(scale + 1, "0")
    return ("-" if value < 0 else "") + f"{digits[:-scale]}.{digits[-scale:]}"


def column_values(
    column: str, sql_type: str, condition: Condition, *, ignore_case: bool, now: datetime, dialect: Dialect
) -> str:
    """ColumnValues. Nulls fail, except for `!=` and `not in`, and where NULL is what the condition names."""
    kind = family(sql_type)
    if isinstance(condition, Matches):
        return _matches(column, kind, condition, ignore_case=ignore_case, dialect=dialect)
    compared = [one for one in operands(condition) if not isinstance(one, Keyword)]
    if kind == "text" and any(is_number(one) for one in compared):
        column, kind = dialect.try_cast(column, "DOUBLE"), "number"
    elif kind == "text" and compared and _ordered_dates(condition, compared):
        column, kind = dialect.try_cast(column, "TIMESTAMP"), "timestamp"
    if ignore_case and kind == "text":
        column = dialect.lower(column)

    def literal(operand: Operand) -> str:
        if ignore_case and kind == "text" and isinstance(operand, Text):
            operand = Text(operand.value.lower())
        return _literal(operand, kind, now, dialect)

    return _compared(column, condition, literal, kind, dialect)


def column_length(column: str, condition: Condition, dialect: Dialect) -> str:
    """ColumnLength. Where 0 is among the operands a null counts as length 0.

    Otherwise a null has no length to compare and is passed over, except by `in`, which it cannot satisfy.
    """
    length = f"length({column})"
    if Fraction(0) in {number(one) for one in operands(condition)}:
        return _compared(f"COALESCE({length}, 0)", condition, lambda one: decimal_text(number(one)), "number", dialect)
    predicate = _compared(length, condition, lambda one: decimal_text(number(one)), "number", dialect)
    if isinstance(condition, Membership) and not condition.negated:
        return predicate
    return f"({predicate} OR {column} IS NULL)"


def data_type(column: str, sql_type: str, wanted: str, date_format: str | None, dialect: Dialect) -> str:
    """ColumnDataType: a typed column by its type, a text by whether it can be cast. Nulls are of no type: they fail."""
    name, decimal = wanted.upper(), _DECIMAL.fullmatch(wanted.upper())
    if name not in _SQL_TYPES and decimal is None:
        known = ", ".join(word.capitalize() for word in _SQL_TYPES)
        raise NotEvaluable(f'"{wanted}" is not a type; the types are {known} and Decimal(p,s)')
    if date_format is not None and name != "DATE":
        raise NotEvaluable("`with format` belongs to the type Date")
    if date_format is not None and date_format not in _DATE_FORMATS:
        raise NotEvaluable(f'"{date_format}" is not a date format; the formats are {", ".join(_DATE_FORMATS)}')
    if family(sql_type) != "text":
        return f"({column} IS NOT NULL)" if _is_of_type(sql_type.upper(), name, decimal) else "FALSE"
    if date_format is not None:
        completed, pattern = _DATE_FORMATS[date_format]
        return f"({dialect.parse_format(completed.format(column), pattern)} IS NOT NULL)"
    if name == "DATE":
        return f"({dialect.parse_date(column, ())} IS NOT NULL)"
    return f"({dialect.try_cast(column, _SQL_TYPES.get(name, name))} IS NOT NULL)"


def freshness(column: str, sql_type: str, condition: Condition, now: datetime, dialect: Dialect) -> str:
    """DataFreshness: the row's age in hours, rounded to two decimals, against durations. Nulls fail."""
    kind = family(sql_type)
    if kind not in {"date", "timestamp", "timestamptz"}:
        raise NotEvaluable(f"freshness needs a date column, and this one is {sql_type}")
    micros = int(now.timestamp()) * 1_000_000 + now.microsecond
    moment = dialect.cast(column, "TIMESTAMP") if kind == "date" else column
    age = dialect.hours_of(f"({micros} - {dialect.epoch_microseconds(moment)})")
    return _compared(age, condition, lambda one: f"CAST({float(hours(one))!r} AS DOUBLE)", "number", dialect)


def _compared(column: str, condition: Condition, literal: Literal, kind: str, dialect: Dialect) -> str:
    match condition:
        case Comparison("=", Keyword() as keyword):
            return f"({_missing(column, keyword, kind, dialect)})"
        case Comparison("!=", Keyword() as keyword):
            return f"(({_missing(column, keyword, kind, dialect)}) IS NOT TRUE)"
        case Comparison(_, Keyword()):
            raise NotEvaluable("NULL, EMPTY and WHITESPACES_ONLY can only be equal or not equal")
        case Comparison("!=", operand):
            return f"({column} <> {literal(operand)} OR {column} IS NULL)"
        case Comparison(operator, operand):
            return f"({column} {operator} {literal(operand)})"
        case Between(low, high, negated):
            below, above = literal(low), literal(high)
            return (
                f"({column} <= {below} OR {column} >= {above})"
                if negated
                else f"({column} > {below} AND {column} < {above})"
            )
        case Membership(tuple() as values, negated):
            return _membership(column, values, literal, kind, dialect, negated=negated)
        case _:
            raise NotEvaluable("a pattern cannot be compared with a number")


def _membership(
    column: str,
    values: tuple[Operand, ...],
    literal: Literal,
    kind: str,
    dialect: Dialect,
    *,
    negated: bool,
) -> str:
    listed = [literal(one) for one in values if not isinstance(one, Keyword)]
    tests = []
    if listed and kind == "text":
        tests.append(dialect.is_one_of(column, listed))
    elif listed:
        tests.append(f"{column} IN ({', '.join(listed)})")
    tests += [_missing(column, one, kind, dialect) for one in values if isinstance(one, Keyword)]
    if not negated:
        return "(" + " OR ".join(tests) + ")"
    return "(" + " AND ".join(f"({test}) IS NOT TRUE" for test in tests) + ")"


def _missing(column: str, keyword: Keyword, kind: str, dialect: Dialect) -> str:
    if keyword is not Keyword.NULL and kind != "text":
        raise NotEvaluable(f"{keyword} belongs to text columns; use NULL")
    if keyword is Keyword.WHITESPACES_ONLY:
        return dialect.matches_fully(column, r"\s+")
    return _MISSING[keyword].format(column)


def _matches(column: str, kind: str, condition: Matches, *, ignore_case: bool, dialect: Dialect) -> str:
    pattern = str(getattr(condition.pattern, "value", ""))
    matched = dialect.matches_fully(
        column if kind == "text" else dialect.typed_text(column), f"(?i){pattern}" if ignore_case else pattern
    )
    return f"(NOT {matched})" if condition.negated else f"({matched})"


def _ordered_dates(condition: Condition, compared: Sequence[Operand]) -> bool:
    """Whether a text column has to be read as dates: it is ordered against dates, or against now()."""
    ordered = isinstance(condition, Between) or (
        isinstance(condition, Comparison) and condition.operator not in {"=", "!="}
    )
    return all(is_instant(one) for one in compared) and (ordered or not all(isinstance(one, Text) for one in compared))


def _literal(operand: Operand, kind: str, now: datetime, dialect: Dialect) -> str:
    if kind == "number":
        return decimal_text(number(operand))
    if kind == "text":
        if not isinstance(operand, Text):
            raise NotEvaluable("a text column is compared with a text in quotes")
        return dialect.text(operand.value)
    if kind == "boolean":
        word = str(getattr(operand, "value", "")).lower()
        if word not in {"true", "false"}:
            raise NotEvaluable("a boolean column is compared with true or false")
        return word.upper()
    if kind == "other":
        raise NotEvaluable("a column of this type cannot be compared")
    moment = instant(operand, now)
    if kind == "date":
        return f"DATE '{(moment.date() if isinstance(moment, datetime) else moment).isoformat()}'"
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=now.tzinfo)
    zone = "TIMESTAMPTZ" if kind == "timestamptz" else "TIMESTAMP"
    return dialect.moment(_utc(moment, with_offset=kind == "timestamptz"), zone)


def _utc(moment: date, *, with_offset: bool) -> str:
    text = moment.isoformat(sep=" ") if isinstance(moment, datetime) else moment.isoformat()
    return text if with_offset else text.removesuffix("+00:00")


def _is_of_type(sql_type: str, wanted: str, decimal: re.Match[str] | None) -> bool:
    base = re.split(r"[ (]", sql_type, maxsplit=1)[0].replace("TIMESTAMPTZ", "TIMESTAMP")
    if decimal is None:
        return wanted in _WIDER.get(base, ())
    precision, scale = int(decimal[1]), int(decimal[2])
    have = _DECIMAL.fullmatch(sql_type)
    if have is not None:
        return int(have[1]) - int(have[2]) <= precision - scale and int(have[2]) <= scale
    return _INTEGER_DIGITS.get(base, 99) <= precision - scale
