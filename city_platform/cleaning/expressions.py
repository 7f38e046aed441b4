"""DataBrew's expressions: conditions and values over columns in back ticks, as BOOLEAN_OPERATION takes them.

Known are comparisons, `and`, `or`, `not` and `!`, the functions of the reference's table of valid conditions
(`contains`, `matches`, `startsWith`, `endsWith`, `isBetween`, `isMissing`, `isValid`), texts, numbers, TRUE and FALSE,
and `case when … then … else … end`. The reference's `withExpressions`, aggregates over the rows, are not.

Columns hold text at that point of a recipe. A comparison with a number compares numbers; one between columns compares
numbers where both hold one, and text elsewhere, which is right for ISO dates too. A comparison with a missing value
does not hold.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

import sqlglot
from sqlglot import exp
from sqlglot.dialects.spark import Spark
from sqlglot.errors import SqlglotError

from city_platform.cleaning.values import DATABREW_TYPES, missing, valid
from city_platform.engines.dialect import Dialect

Columns = Callable[[str], str]  # a column's name -> its SQL
_COMPARISONS: Mapping[type[exp.Expr], str] = {
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.EQ: "=",
    exp.NEQ: "<>",
}
_SEARCHES: Mapping[type[exp.Expr], str] = {
    exp.Contains: "contains",
    exp.StartsWith: "starts_with",
    exp.EndsWith: "ends_with",
}
_DEEPEST = 50  # nested parts, so that no expression outgrows the engine's parser


class ExpressionError(ValueError):
    """What is wrong with an expression, and what to write instead, in words."""


def condition_columns(text: str) -> list[str]:
    """The columns a condition reads; raises ExpressionError."""
    node = _parsed(text)
    _Compiler(_no_dialect(), lambda name: name).condition(node)
    return _columns(node)


def value_columns(text: str) -> list[str]:
    """The columns a value reads: none, where it is a plain text; raises ExpressionError."""
    if not _is_expression(text):
        return []
    node = _parsed(text)
    _Compiler(_no_dialect(), lambda name: name).value(node)
    return _columns(node)


def chosen_value(dialect: Dialect, columns: Columns, condition: str, true: str, false: str) -> str:
    """SQL for one value where the condition holds and another elsewhere."""
    compiler = _Compiler(dialect, columns)
    met = compiler.condition(_parsed(condition))
    return f"CASE WHEN {met} THEN {_value(compiler, true)} ELSE {_value(compiler, false)} END"


def case_value(dialect: Dialect, columns: Columns, text: str) -> str:
    """SQL for a value."""
    return _value(_Compiler(dialect, columns), text)


def _value(compiler: "_Compiler", text: str) -> str:
    return compiler.value(_parsed(text)) if _is_expression(text) else compiler.dialect.text(text)


def _is_expression(text: str) -> bool:
    """A value is a plain text unless it names a column or is a CASE, as in the reference's examples."""
    return "`" in text or text.lstrip().casefold().startswith("case ")


def _parsed(text: str) -> exp.Expr:
    # Spark's grammar has DataBrew's back ticks, quotes, `!` and CASE.
    try:
        node = sqlglot.parse_one(text, dialect=Spark)
    except (SqlglotError, RecursionError) as error:
        first = str(error).partition("\n")[0].partition(". Line")[0]
        raise ExpressionError(f"not an expression: {first} -> write as in `column` < 2000 and `other` = 'x'") from None
    if max((one.depth for one in node.walk()), default=0) > _DEEPEST:
        raise ExpressionError(f"the expression nests deeper than {_DEEPEST} -> divide it over two steps")
    return node


def _columns(node: exp.Expr) -> list[str]:
    quoted = (one.this for one in node.find_all(exp.Column) if isinstance(one.this, exp.Identifier))
    return list(dict.fromkeys(one.name for one in quoted if one.quoted))


def _no_dialect() -> Dialect:
    from city_platform.engines.dialect import DuckDBDialect  # any one will do: the SQL is thrown away

    return DuckDBDialect()


def _refuse(node: exp.Expr) -> NoReturn:
    known = "comparisons, and, or, not, contains, matches, startsWith, endsWith, isBetween, isMissing, isValid"
    raise ExpressionError(f"{node.sql(dialect=Spark)} is not known here -> known are {known}, and case for values")


class _Compiler:
    def __init__(self, dialect: Dialect, columns: Columns) -> None:
        self.dialect, self.columns = dialect, columns

    def condition(self, node: exp.Expr) -> str:
        """A truth value; never null."""
        dialect = self.dialect
        match node:
            case exp.Paren():
                return self.condition(node.this)
            case exp.And() | exp.Or():
                word = "AND" if isinstance(node, exp.And) else "OR"
                return f"({self.condition(node.this)} {word} {self.condition(node.expression)})"
            case exp.Not():
                return f"(NOT {self.condition(node.this)})"
            case exp.LT() | exp.LTE() | exp.GT() | exp.GTE() | exp.EQ() | exp.NEQ():
                return f"COALESCE({self._compared(node)}, FALSE)"
            case exp.Contains() | exp.StartsWith() | exp.EndsWith():
                search = getattr(dialect, _SEARCHES[type(node)])
                return f"COALESCE({search(self._column(node.this), self._text(node.expression))}, FALSE)"
            case exp.Anonymous():
                return self._function(node, str(node.this).casefold(), node.expressions)
        _refuse(node)

    def _function(self, node: exp.Expr, name: str, given: Iterable[exp.Expr]) -> str:
        dialect = self.dialect
        match name, list(given):
            case "ismissing", [column]:
                return missing(self._column(column))
            case "matches", [column, pattern]:
                return f"COALESCE({dialect.contains_match(self._column(column), self._text(pattern))}, FALSE)"
            case "isbetween", [column, low, high]:
                number = dialect.try_cast(self._column(column), "DOUBLE")
                return f"COALESCE({number} BETWEEN {self._number(low)} AND {self._number(high)}, FALSE)"
            case "isvalid", [column, exp.Column() as kind] if kind.name.casefold() in _TYPES:
                value = self._column(column)
                return f"COALESCE({valid(dialect, value, kind.name.casefold())}, FALSE)"
        _refuse(node)

    def value(self, node: exp.Expr) -> str:
        """A text or null."""
        match node:
            case exp.Paren():
                return self.value(node.this)
            case exp.Column():
                return self._column(node)
            case exp.Literal() | exp.Neg(this=exp.Literal(is_string=False)):
                return self.dialect.text(str(node.this) if isinstance(node, exp.Literal) else node.sql())
            case exp.Boolean():
                return self.dialect.text("true" if node.this else "false")
            case exp.Case() if node.this is None:
                branches = " ".join(
                    f"WHEN {self.condition(one.this)} THEN {self.value(one.args['true'])}" for one in node.args["ifs"]
                )
                default = node.args.get("default")
                other = self.value(default) if default is not None else self.dialect.null("VARCHAR")
                return f"CASE {branches} ELSE {other} END"
        _refuse(node)

    def _compared(self, node: exp.Expr) -> str:
        operator = _COMPARISONS[type(node)]
        left, right = node.this, node.expression
        if any(_is_number(side) for side in (left, right)):
            one, two = (self._as_number(side) for side in (left, right))
            return f"{one} {operator} {two}"
        if any(isinstance(side, exp.Boolean) for side in (left, right)):
            one, two = (self.dialect.try_cast(self.value(side), "BOOLEAN") for side in (left, right))
            return f"{one} {operator} {two}"
        one, two = self.value(left), self.value(right)
        if isinstance(left, exp.Column) and isinstance(right, exp.Column):
            numbers = [self.dialect.try_cast(side, "DOUBLE") for side in (one, two)]
            both = " AND ".join(f"{number} IS NOT NULL" for number in numbers)
            return f"CASE WHEN {both} THEN {numbers[0]} {operator} {numbers[1]} ELSE {one} {operator} {two} END"
        return f"NULLIF({one}, '') {operator} NULLIF({two}, '')"

    def _as_number(self, node: exp.Expr) -> str:
        return self._number(node) if _is_number(node) else self.dialect.try_cast(self.value(node), "DOUBLE")

    def _number(self, node: exp.Expr) -> str:
        if not _is_number(node):
            _refuse(node)
        return f"CAST({self.dialect.text(node.sql())} AS DOUBLE)"

    def _column(self, node: exp.Expr) -> str:
        if not isinstance(node, exp.Column) or node.args.get("table") or not node.this.quoted:
            raise ExpressionError(f"{node.sql(dialect=Spark)} is no column -> write a column in back ticks: `column`")
        return self.columns(node.name)

    def _text(self, node: exp.Expr) -> str:
        if not isinstance(node, exp.Literal):
            raise ExpressionError(f"{node.sql(dialect=Spark)} is no text -> write a text in single quotes: 'text'")
        return str(node.this)


_TYPES = {"number", *DATABREW_TYPES.values()}


def _is_number(node: exp.Expr) -> bool:
    literal = node.this if isinstance(node, exp.Neg) else node
    return isinstance(literal, exp.Literal) and not literal.is_string
