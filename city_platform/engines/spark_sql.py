"""What stewards write, in Spark's SQL: only what surely says the same there.

Rules are written in Spark's SQL and mean what DuckDB makes of their translation, summaries are DuckDB's own. A tree is
written for Spark only if it is built of the parts listed here, whose meaning in both engines is compared by tests.
Everything else is refused with NotOnSpark.
"""

from sqlglot import exp

from city_platform.engines.java_patterns import java_pattern
from city_platform.engines.session import NotOnSpark

SAME: frozenset[type[exp.Expr]] = frozenset(
    {
        *(exp.Select, exp.From, exp.Where, exp.Table, exp.TableAlias, exp.Alias, exp.Column, exp.Identifier, exp.Star),
        *(exp.Subquery, exp.With, exp.CTE, exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Paren, exp.Tuple),
        *(exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Is, exp.In, exp.Between),
        *(exp.Literal, exp.Boolean, exp.Null, exp.Add, exp.Sub, exp.Mul, exp.Neg, exp.Case, exp.If, exp.Coalesce),
        *(exp.Nullif, exp.Count, exp.CountIf, exp.Min, exp.Max, exp.Abs, exp.Year, exp.Month, exp.Day, exp.Date),
        *(exp.Length, exp.StartsWith, exp.Interval, exp.Var, exp.DataType, exp.DataTypeParam, exp.NullSafeEQ),
        *(exp.NullSafeNEQ, exp.Mod, exp.Distinct, exp.Join, exp.Exists),
    }
)
_CASTS = {exp.DataType.Type.DATE, exp.DataType.Type.TIMESTAMPTZ, exp.DataType.Type.TIMESTAMPLTZ}


def spark_sql(tree: exp.Expr) -> str:
    """A rule's tree in Spark's SQL; raises NotOnSpark."""
    for node in tree.walk():
        if type(node) not in SAME and not _checked(node):
            raise NotOnSpark(f"{node.sql('spark')[:80]} may mean something else on Spark")
    return str(tree.transform(_rewritten).sql("spark"))


def _checked(node: exp.Expr) -> bool:
    """Whether a part that means the same only at times does so here."""
    match node:
        case exp.Cast():
            return node.to.this in _CASTS
        case exp.Like():
            return isinstance(node.expression, exp.Literal) and "\\" not in node.expression.name
        case exp.RegexpLike():
            return isinstance(node.expression, exp.Literal) and not node.args.get("flag")
        case exp.DateDiff():
            return (node.text("unit") or "day").lower() == "day"
        case exp.TsOrDsToDate():
            return True
    return False


def _rewritten(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.RegexpLike):
        return exp.RegexpLike(this=node.this, expression=exp.Literal.string(java_pattern(node.expression.name).pattern))
    return node
