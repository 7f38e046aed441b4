"""SQL that stewards write, made safe: one query over the dataset itself, translated to the engine's dialect.

`where` clauses and CustomSql statements are Spark SQL, because the same file runs on AWS Glue. Nothing but the rows of
the dataset can be read: no other table, no file, no setting, and no statement that changes anything.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from city_platform.engines.dialect import duckdb_sql
from city_platform.quality.operands import NotEvaluable

SqlOf = Callable[[exp.Expr], str]  # writes a tree in an engine's SQL; one and the same object for each engine
PRIMARY = "primary"  # the name under which a statement reads the dataset
MAX_CHARACTERS = 20_000
_ANY_TIME = datetime.min.replace(tzinfo=UTC)

_CLAUSES_OF_A_FILTER = {"expressions", "from_", "where", "kind", "hint", "operation_modifiers"}
# What sqlglot knows that reaches beyond the rows, or says something else each time.
_FORBIDDEN = (
    *(exp.ReadCSV, exp.ReadParquet, exp.Command, exp.Into, exp.Lock, exp.Placeholder, exp.Parameter),
    *(exp.Insert, exp.Update, exp.Delete, exp.Create, exp.Drop),
    *(exp.Rand, exp.Randn, exp.Uuid, exp.TableSample, exp.CurrentTime, exp.Localtime, exp.Localtimestamp),
)
# Functions sqlglot does not know by name and that only compute.
_PLAIN_FUNCTIONS = {"luhn_check", "bit_count", "positive", "negative", "isnotnull", "nullif", "nvl2"}


@dataclass(frozen=True, slots=True)
class Statement:
    """A checked CustomSql statement.

    `predicate` is set where the statement only filters (`SELECT ... FROM primary WHERE predicate`): then each row's
    answer is that predicate, without running the statement.
    """

    sql: str
    predicate: str | None
    columns: frozenset[str]  # every column name it mentions, in lower case


def statement(text: str, relation: str, now: datetime, sql_of: SqlOf = duckdb_sql) -> Statement:
    """Checks a CustomSql text and points it at `relation`; raises NotEvaluable saying what is not allowed.

    `sql_of` writes it for the engine.
    """
    return _statement(text, relation, _moment(text, now), sql_of)


@functools.lru_cache(maxsize=256)
def _statement(text: str, relation: str, now: datetime, sql_of: SqlOf) -> Statement:
    tree = _single(text, now)
    if not isinstance(tree, exp.Query):
        raise NotEvaluable("only one SELECT statement is allowed")
    _check(tree)
    tables = list(tree.find_all(exp.Table))
    steps = {id(table) for table in tables if _names_a_step(table)}
    for table in tables:
        if not isinstance(table.this, exp.Identifier) or table.args.get("db"):
            raise NotEvaluable(f"a statement reads only the table `{PRIMARY}`")
        if id(table) in steps:
            continue
        if table.name.lower() != PRIMARY:
            raise NotEvaluable(f"the table `{table.name}` is not available; the dataset's name is `{PRIMARY}`")
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(PRIMARY, quoted=True)))
        table.set("this", exp.to_identifier(relation, quoted=True))
    return Statement(sql_of(tree), _predicate(tree, sql_of), _columns(tree))


def where_clause(text: str, now: datetime, sql_of: SqlOf = duckdb_sql) -> tuple[str, frozenset[str]]:
    """Checks a `where` text; the engine's SQL and the columns it mentions, in lower case."""
    select = f"SELECT 1 FROM {PRIMARY} WHERE {text}"
    return _where_clause(select, _moment(select, now), sql_of)


@functools.lru_cache(maxsize=256)
def _where_clause(select: str, now: datetime, sql_of: SqlOf) -> tuple[str, frozenset[str]]:
    tree = _single(select, now)
    if not isinstance(tree, exp.Select) or _beyond_a_filter(tree):
        raise NotEvaluable("`where` takes one condition and nothing after it")
    condition = tree.args["where"].this
    if condition.find(exp.Query):
        raise NotEvaluable("`where` takes no subquery; use CustomSql")
    _check(tree)
    return sql_of(condition), _columns(tree)


def _single(text: str, now: datetime) -> exp.Expr:
    if len(text) > MAX_CHARACTERS:
        raise NotEvaluable(f"the statement is longer than {MAX_CHARACTERS:,} characters")
    return _parsed(text).transform(_at, now)  # a copy: the tree is shared by everybody who asks for the text


def _moment(text: str, now: datetime) -> datetime:
    """The same for every time where the text does not ask for it, so that its translation is kept, too."""
    return now if _looks_at_the_clock(text) else _ANY_TIME


@functools.lru_cache(maxsize=256)
def _looks_at_the_clock(text: str) -> bool:
    return len(text) > MAX_CHARACTERS or _parsed(text).find(exp.CurrentDate, exp.CurrentTimestamp) is not None


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> exp.Expr:
    """The one statement of a text. Kept, because every partition asks for the same ones and one takes a millisecond."""
    try:
        found = [one for one in sqlglot.parse(text, read="spark") if one is not None]
    except (SqlglotError, RecursionError) as error:
        raise NotEvaluable(f"this is not a SQL statement: {str(error).splitlines()[0][:200]}") from None
    if len(found) != 1:
        raise NotEvaluable("exactly one statement is allowed")
    return found[0]


def _at(node: exp.Expr, now: datetime) -> exp.Expr:
    """The evaluation's own time instead of the engine's, so that the same data is judged the same again."""
    moment = now.astimezone(UTC)
    if isinstance(node, exp.CurrentDate):
        return exp.cast(exp.Literal.string(moment.date().isoformat()), "date")
    if isinstance(node, exp.CurrentTimestamp):
        return exp.cast(exp.Literal.string(moment.isoformat(sep=" ")), "timestamptz")
    return node


def _check(tree: exp.Expr) -> None:
    for node in tree.walk():
        if isinstance(node, _FORBIDDEN):
            raise NotEvaluable(f"`{node.key}` is not allowed in a rule")
        if isinstance(node, exp.Anonymous) and node.name.lower() not in _PLAIN_FUNCTIONS:
            raise NotEvaluable(f"the function `{node.name}` is not allowed in a rule")


def _names_a_step(table: exp.Table) -> bool:
    """Whether the name is that of a step of a WITH that is visible there.

    Elsewhere the engine would take the name for a file's and read it.
    """
    name = table.name.lower()
    child: exp.Expr = table
    while (parent := child.parent) is not None:
        steps = parent.args.get("with_")
        if isinstance(parent, exp.With):  # a step sees the ones before it, and itself where it is recursive
            before = parent.expressions[: (child.index or 0) + bool(parent.args.get("recursive"))]
        else:
            before = steps.expressions if steps is not None and steps is not child else []
        if any(step.alias_or_name.lower() == name for step in before):
            return True
        child = parent
    return False


def _beyond_a_filter(select: exp.Select) -> bool:
    return any(value for key, value in select.args.items() if key not in _CLAUSES_OF_A_FILTER)


def _predicate(tree: exp.Query, sql_of: SqlOf) -> str | None:
    """The condition of a statement that does nothing but filter."""
    if not isinstance(tree, exp.Select) or _beyond_a_filter(tree):
        return None
    plain = all(isinstance(one, exp.Column | exp.Star) for one in tree.expressions)
    source = tree.args["from_"].this if tree.args.get("from_") else None
    if not plain or not isinstance(source, exp.Table) or len(list(tree.find_all(exp.Query))) > 1:
        return None
    if any(isinstance(node, exp.AggFunc | exp.Window) for node in tree.walk()):
        return None
    where = tree.args.get("where")
    if where is None:
        return "TRUE"
    condition = where.this.copy()
    for column in condition.find_all(exp.Column):
        column.set("table", None)
    return sql_of(condition)


def _columns(tree: exp.Expr) -> frozenset[str]:
    return frozenset(column.name.lower() for column in tree.find_all(exp.Column) if column.name)
