"""Summaries, which stewards write in DuckDB's SQL, in Spark's: only what surely says the same there.

A summary's tree is typed from the columns of `trusted`, so that what depends on types (a cast that rounds, a sum whose
outcome depends on the order of the rows) is known where it stands. Parts that are not listed are refused with
NotOnSpark, and the summary is computed by DuckDB.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify

from city_platform.engines.java_patterns import java_pattern
from city_platform.engines.session import NotOnSpark
from city_platform.engines.spark import java_date_format
from city_platform.engines.spark_sql import SAME

_FURTHER: frozenset[type[exp.Expr]] = frozenset(
    {
        *(
            exp.Filter,
            exp.Window,
            exp.RowNumber,
            exp.Qualify,
            exp.DPipe,
            exp.Greatest,
            exp.DateFromParts,
            exp.WindowSpec,
        ),
        *(exp.Mod, exp.IntDiv),
    }
)
_WHOLE = {exp.DataType.Type.TINYINT, exp.DataType.Type.SMALLINT, exp.DataType.Type.INT, exp.DataType.Type.BIGINT}
_DECIMAL_DIGITS = 18  # a product of two of these fits into Spark's 38 digits with all its decimals
_FORMAT = re.compile(r"\{(?::([+]?0?[0-9]*d))?\}")


@dataclass(frozen=True, slots=True)
class SparkSummary:
    """A summary in Spark's SQL, the columns of `trusted` that it reads, and the time zones whose clocks it shows."""

    sql: str
    columns: frozenset[str]
    zones: frozenset[str]


def summary_for_spark(text: str, columns: Mapping[str, str], report_date: date) -> SparkSummary:
    """The summary in Spark's SQL; raises NotOnSpark.

    `columns` are those of `trusted` with their types in the contract's words.
    """
    schema: dict[str, object] = {"trusted": {name.lower(): _words(kind) for name, kind in columns.items()}}
    try:
        tree = sqlglot.parse_one(text, dialect="duckdb").transform(_before_types, report_date)
        tree = qualify(tree, schema=schema, dialect="duckdb")
        tree = annotate_types(tree, schema=schema, dialect="duckdb")
    except (SqlglotError, RecursionError) as error:
        raise NotOnSpark(f"the summary's columns cannot be told: {str(error).splitlines()[0][:200]}") from None
    # From the leaves on, so that what is replaced has its replaced parts in it.
    for node in reversed(list(tree.bfs())):
        made = _written(node)
        if made is not node:
            made.type = node.type
            node.replace(made)
    read = {one.name for one in tree.find_all(exp.Column) if one.table == "trusted"}
    zones = {one.expressions[1].name for one in tree.find_all(exp.Anonymous) if one.name == "from_utc_timestamp"}
    return SparkSummary(str(tree.sql("spark", comments=False)), frozenset(read), frozenset(zones))


def _words(kind: str) -> str:
    return {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}.get(kind.upper(), kind)


def _before_types(node: exp.Expr, report_date: date) -> exp.Expr:
    """What sqlglot does not know by its name, as something whose type it knows."""
    if not isinstance(node, exp.Anonymous):
        return node
    match node.name.lower(), node.expressions:
        case "getvariable", [exp.Literal()]:
            return exp.cast(exp.Literal.string(report_date.isoformat()), "date")
        case "timezone", [exp.Literal() as zone, moment]:
            inner = moment.transform(_before_types, report_date)
            return exp.cast(exp.func("from_utc_timestamp", inner, zone), exp.DataType.Type.TIMESTAMPNTZ)
        case "regexp_matches", [text, exp.Literal() as pattern]:
            return exp.RegexpLike(this=text.transform(_before_types, report_date), expression=pattern)
    return node


def _written(node: exp.Expr) -> exp.Expr:
    writer = _WRITERS.get(type(node))
    made = writer(node) if writer is not None else node if type(node) in SAME | _FURTHER else None
    if made is None:
        raise NotOnSpark(f"{node.sql('duckdb', comments=False)[:80]} may mean something else on Spark")
    return made


def _is(node: exp.Expr, *kinds: object) -> bool:
    return node.type is not None and node.type.this in kinds


def _whole(node: exp.Expr) -> bool:
    return _is(node, *_WHOLE)


def _digits(node: exp.Expr) -> int | None:
    """Of a decimal with a known number of digits, that number; of a whole number or literal as few as fit."""
    if _whole(node) or isinstance(node, exp.Literal):
        return 0
    if _is(node, exp.DataType.Type.DECIMAL) and node.type is not None and node.type.expressions:
        return int(node.type.expressions[0].name)
    return None


def _arithmetic(node: exp.Expr) -> exp.Expr | None:
    sides = [_digits(one.unnest()) for one in (node.this, node.expression)]
    return node if all(one is not None and one <= _DECIMAL_DIGITS for one in sides) else None


def _cast(node: exp.Expr) -> exp.Expr | None:
    value, kind = node.this, node.args["to"]
    to = kind.this
    if to in _WHOLE and not _whole(value):  # DuckDB rounds, Spark cuts off
        rounded = exp.cast(exp.func("round", value, exp.Literal.number(0)), kind)
        return rounded if _digits(value) is not None else None
    # `_before_types` made the local times. What is half a whole number a double holds exactly.
    local = to == exp.DataType.Type.TIMESTAMPNTZ and isinstance(value, exp.Anonymous)
    halves = isinstance(value, exp.Median) and len(kind.expressions) > 1 and int(kind.expressions[1].name) > 0
    exact = to == exp.DataType.Type.DECIMAL and (halves or _digits(value) is not None)
    return node if to in _WHOLE or to == exp.DataType.Type.DATE or local or exact else None


def _zoned(node: exp.Expr) -> exp.Expr | None:
    """The local time of an instant; of a time without zone DuckDB's function does the opposite."""
    if node.name.lower() != "from_utc_timestamp":
        return None
    return node if _is(node.expressions[0], exp.DataType.Type.TIMESTAMPTZ) else None


def _sum(node: exp.Expr) -> exp.Expr | None:
    return node if _digits(node.this) is not None else None  # those of doubles depend on the order of the rows


def _median(node: exp.Expr) -> exp.Expr | None:
    return node if _whole(node.this) and isinstance(node.parent, exp.Cast) else None


def _months(node: exp.Expr) -> exp.Expr | None:
    """DuckDB's truncated day is a DATE or TIMESTAMP, Spark's an instant: only the day itself is the same."""
    inside = isinstance(node.parent, exp.Cast | exp.Group)
    day = _is(node.this, exp.DataType.Type.DATE, exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPNTZ)
    return node if inside and day and node.text("unit").lower() in {"day", "month", "quarter", "year"} else None


def _difference(node: exp.Expr) -> exp.Expr | None:
    """DuckDB counts the boundaries that lie between."""
    unit, later, earlier = node.text("unit").lower(), node.this, node.expression
    if unit == "day" and _is(later, exp.DataType.Type.DATE) and _is(earlier, exp.DataType.Type.DATE):
        return exp.Anonymous(this="datediff", expressions=[later, earlier])
    if unit in {"minute", "hour"}:
        sides = [
            exp.Anonymous(this="date_trunc", expressions=[exp.Literal.string(unit), one]) for one in (earlier, later)
        ]
        return exp.Anonymous(this="timestampdiff", expressions=[exp.Var(this=unit.upper()), *sides])
    return None


def _shown_date(node: exp.Expr) -> exp.Expr | None:
    zoneless = (exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPNTZ, exp.DataType.Type.DATE)
    if not isinstance(node.args["format"], exp.Literal) or not _is(node.this, *zoneless):
        return None
    written = java_date_format(node.args["format"].name)
    return exp.Anonymous(this="date_format", expressions=[node.this, exp.Literal.string(written)])


def _formatted(node: exp.Expr) -> exp.Expr | None:
    given = node.expressions
    if not isinstance(node.this, exp.Literal) or "%" in node.this.name or not all(map(_counts, given)):
        return None
    written = _FORMAT.sub(lambda one: f"%{one[1] or 'd'}", node.this.name)
    if "{" in written or "}" in written:
        return None
    return exp.Anonymous(this="format_string", expressions=[exp.Literal.string(written), *given])


def _counts(node: exp.Expr) -> bool:
    return _whole(node) or isinstance(node, exp.IntDiv | exp.Mod)


def _sign(node: exp.Expr) -> exp.Expr | None:
    if not _whole(node.this):
        return None
    value = node.this
    zero = exp.Literal.number(0)
    signs = ((exp.GT, exp.Literal.number(1)), (exp.LT, exp.Literal.number(-1)), (exp.EQ, zero))
    ifs = [exp.If(this=test(this=value.copy(), expression=zero.copy()), true=sign.copy()) for test, sign in signs]
    return exp.Case(ifs=ifs)


def _anchored(node: exp.Expr) -> exp.Expr | None:
    """DuckDB replaces the first match, Spark all of them: the same where there can be one alone."""
    pattern, words = node.expression, node.args.get("replacement")
    if not isinstance(pattern, exp.Literal) or not isinstance(words, exp.Literal) or node.args.get("modifiers"):
        return None
    if not pattern.name.startswith("^") or "|" in pattern.name or set(words.name) & {"\\", "$"}:
        return None
    found = exp.Literal.string(java_pattern(pattern.name).pattern)
    return exp.Anonymous(this="regexp_replace", expressions=[node.this, found, words])


def _like_pattern(node: exp.Expr) -> exp.Expr | None:
    if not isinstance(node.expression, exp.Literal) or node.args.get("flag"):
        return None
    found = exp.Literal.string(java_pattern(node.expression.name).pattern)
    return exp.RegexpLike(this=node.this, expression=found)


_WRITERS: Mapping[type[exp.Expr], Callable[[exp.Expr], exp.Expr | None]] = {
    **dict.fromkeys((exp.Add, exp.Sub, exp.Mul), _arithmetic),
    exp.Cast: _cast,
    exp.Anonymous: _zoned,
    exp.Sum: _sum,
    exp.Median: _median,
    exp.TimestampTrunc: _months,
    exp.DateTrunc: _months,
    exp.DateDiff: _difference,
    exp.TimeToStr: _shown_date,
    exp.Format: _formatted,
    exp.Sign: _sign,
    exp.RegexpReplace: _anchored,
    exp.RegexpLike: _like_pattern,
    exp.Trim: lambda node: node if isinstance(node.expression, exp.Literal) else None,
}
