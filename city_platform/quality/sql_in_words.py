"""The conditions that stewards write in SQL (`where`, CustomSql) in words. What has no plain words stays as written."""

import re
from functools import cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from city_platform.quality.conditions_in_words import alternatives

_COMPARED: dict[type[exp.Expr], str] = {
    exp.EQ: "is",
    exp.NEQ: "is not",
    exp.GT: "is more than",
    exp.GTE: "is at least",
    exp.LT: "is less than",
    exp.LTE: "is at most",
}
_COMPUTED: dict[type[exp.Expr], str] = {exp.Add: "plus", exp.Sub: "minus", exp.Mul: "times", exp.Div: "divided by"}
_FUNCTIONS: dict[type[exp.Expr], str] = {
    exp.Year: "the year of",
    exp.Month: "the month of",
    exp.Length: "the length of",
    exp.Trim: "",
    exp.Lower: "",
    exp.Upper: "",
    exp.Abs: "the size of",
}


@cache
def condition_in_words(sql: str) -> str:
    """A condition as a half sentence, as `FeePaid is at least 0`."""
    try:
        return _words(sqlglot.parse_one(f"SELECT 1 WHERE {sql}", read="spark").args["where"].this)
    except (SqlglotError, RecursionError, KeyError, AttributeError):
        return f"“{sql}”"


@cache
def guarded_column(sql: str) -> str | None:
    """The column of a condition that says nothing but `column is not null`."""
    try:
        tree = sqlglot.parse_one(f"SELECT 1 WHERE {sql}", read="spark").args["where"].this
    except (SqlglotError, RecursionError, KeyError, AttributeError):
        return None
    match tree:
        case exp.Not(this=exp.Is(this=exp.Column() as column, expression=exp.Null())):
            return str(column.name)
        case _:
            return None


@cache
def statement_in_words(sql: str) -> str:
    """What a query gives, as `the number of rows where FeePaid is missing` or `the result of the query “...”`."""
    try:
        tree = sqlglot.parse_one(sql, read="spark")
        if isinstance(tree, exp.Select) and not (set(_clauses(tree)) - {"expressions", "from_", "where"}):
            [given] = tree.expressions
            where = tree.args.get("where")
            rows = f"rows where {_words(where.this)}" if where else "rows"
            if isinstance(given, exp.Star):
                return rows
            if isinstance(given, exp.Count) and isinstance(given.this, exp.Star):
                return f"the number of {rows}"
    except (SqlglotError, RecursionError, ValueError):
        pass
    return f"the result of the query “{' '.join(sql.split())}”"


def _clauses(tree: exp.Select) -> list[str]:
    return [name for name, value in tree.args.items() if value]


def _words(node: exp.Expr) -> str:
    kind = type(node)
    if isinstance(node, exp.Year) and isinstance(node.this.unnest(), exp.CurrentDate | exp.TsOrDsToDate):
        moment = node.this.this if isinstance(node.this, exp.TsOrDsToDate) else node.this
        return "this year" if isinstance(moment, exp.CurrentDate) else f"the year of {_words(moment)}"
    if kind in _COMPARED:
        if isinstance(node, exp.EQ) and _test(node.this) and _test(node.expression):
            return f"{_words(node.this)} exactly when {_words(node.expression)}"
        return f"{_words(node.this)} {_compared(node)} {_words(node.expression)}"
    if kind in _COMPUTED:
        return f"{_words(node.this)} {_COMPUTED[kind]} {_words(node.expression)}"
    if kind in _FUNCTIONS:
        return f"{_FUNCTIONS[kind]} {_words(node.this)}".strip()
    return _test(node) or _term(node) or f"“{node.sql('spark')}”"


def _part(node: exp.Expr) -> str:
    """A part of a longer condition; one that is joined itself stands in parentheses."""
    inner = node.unnest()
    return f"({_words(inner)})" if isinstance(inner, exp.And | exp.Or) else _words(inner)


def _test(node: exp.Expr) -> str:  # noqa: PLR0911 -- one case a form
    """What is true or false; an empty text for what is neither."""
    match node:
        case exp.And() | exp.Or():
            word = "and" if isinstance(node, exp.And) else "or"
            return f" {word} ".join(_part(part) for part in node.flatten())
        case exp.Paren():
            return _part(node)
        case exp.Not(this=exp.Is(expression=exp.Null())):
            return f"{_words(node.this.this)} is given"
        case exp.Is(expression=exp.Null()):
            return f"{_words(node.this)} is missing"
        case exp.Not(this=exp.In() as inner) if inner.expressions:
            return f"{_words(inner.this)} is not one of {_listed(inner.expressions)}"
        case exp.In() if node.expressions:
            return f"{_words(node.this)} is one of {_listed(node.expressions)}"
        case exp.Between():
            return f"{_words(node.this)} is from {_words(node.args['low'])} to {_words(node.args['high'])}"
        case exp.Not():
            return f"it is not so that {_words(node.this)}"
        case _:
            return ""


def _term(node: exp.Expr) -> str:  # noqa: PLR0911 -- one case a form
    """What is compared; an empty text for what has no words."""
    match node:
        case exp.Column() | exp.Literal():
            return str(node.name)
        case exp.Neg(this=exp.Literal()):
            return f"-{node.this.name}"
        case exp.CurrentDate() | exp.CurrentTimestamp():
            return "today" if isinstance(node, exp.CurrentDate) else "now"
        case exp.Interval(unit=exp.Expr() as unit) if isinstance(node.this, exp.Literal):
            one = str(node.this.name) == "1"
            return f"{node.this.name} {unit.name.lower().rstrip('s')}{'' if one else 's'}"
        case exp.Cast() if str(node.to).upper() == "DATE":
            return f"the day of {_words(node.this)}"
        case exp.DateDiff() if str(node.args.get("unit") or "DAY").upper() == "DAY":
            return f"the days from {_words(node.expression)} to {_words(node.this)}"
        case exp.TsOrDsToDate():  # what sqlglot puts around the arguments of year() and datediff()
            return _words(node.this)
        case _:
            return ""


def _compared(node: exp.Expr) -> str:
    """Days come before or after one another, numbers are more or less."""
    told: dict[type[exp.Expr], str] = {
        exp.GT: "is after",
        exp.GTE: "is on or after",
        exp.LT: "is before",
        exp.LTE: "is on or before",
    }
    dated = any(_is_moment(side) for side in (node.this, node.expression))
    return told.get(type(node), _COMPARED[type(node)]) if dated else _COMPARED[type(node)]


def _is_moment(node: exp.Expr) -> bool:
    return any(
        isinstance(one, exp.CurrentDate | exp.CurrentTimestamp | exp.Interval)
        or (isinstance(one, exp.Cast) and str(one.to).upper() in {"DATE", "TIMESTAMP"})
        or (isinstance(one, exp.Column) and re.search("date|timestamp", one.name, re.IGNORECASE) is not None)
        for one in node.walk()
    ) and not isinstance(node, exp.Year | exp.Month)


def _listed(nodes: list[exp.Expr]) -> str:
    return alternatives([_words(one) for one in nodes], "and")
