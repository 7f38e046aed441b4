"""Checks a dataset's `curated.sql`: one SELECT over `trusted` that reads nothing else and always says the same.

What is allowed is listed, not what is forbidden: one kind of statement, one table, two table functions. The
statement is read with sqlglot, which finds all unknown columns at once; then DuckDB plans it over an empty table of
the contract's columns, with access to files and network switched off, which finds unknown functions and wrong types.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.optimizer.scope import Scope, traverse_scope

from city_platform.contracts.model import Contract
from city_platform.contracts.odcs import instead
from city_platform.engines.dialect import DuckDBDialect
from city_platform.errors import Finding

RELATION = "trusted"
REPORT_DATE = "report_date"  # a session variable of type DATE
_TABLE_FUNCTIONS = {"range", "generate_series"}
_VARYING = {
    *("now", "today", "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"),
    *("get_current_timestamp", "get_current_time", "transaction_timestamp", "random", "rand", "setseed"),
    *("uuid", "uuidv4", "uuidv7", "gen_random_uuid", "nextval", "currval", "getenv", "current_setting"),
}
_ONE_SELECT = f"write one SELECT that reads {RELATION}"
_POSITION = re.compile(r"^LINE ([0-9]+): (.*)\n( *)\^", re.MULTILINE)
_UNCLOSED = re.compile(r"from (?:line )?([0-9]+):([0-9]+)")

Place = tuple[int, int]


def check_curated(text: str, file: str, contract: Contract) -> list[Finding]:
    """All mistakes in the summary, in the file's order; none means that it runs on every partition."""
    try:
        statements = [one for one in sqlglot.parse(text, dialect=DuckDB) if one is not None]
    except ParseError as error:
        return [_syntax_error(text, file, error)]
    except RecursionError:
        return [Finding(file, 1, 1, "the query nests too deep", "use WITH to name its steps")]
    except SqlglotError as error:
        unclosed = _UNCLOSED.search(str(error))
        place = (int(unclosed[1]), int(unclosed[2])) if unclosed else (1, 1)
        return [Finding(file, *_within(text, place), "a quote or comment is not closed", "close it")]
    statements = [one for one in statements if not isinstance(one, exp.Semicolon)]
    if not statements:
        return [Finding(file, 1, 1, "the file holds no query", _ONE_SELECT)]
    findings = [
        Finding(file, *_place(one, text), "a second statement", f"keep one statement: {_ONE_SELECT}")
        for one in statements[1:]
    ]
    query = statements[0]
    if not isinstance(query, exp.Select):
        place = _first_word(text)
        return [*findings, Finding(file, *place, f"the query is a statement of kind {query.key.upper()}", _ONE_SELECT)]
    for place, problem, remedy in _mistakes(query, text, contract):
        findings.append(Finding(file, *place, problem, remedy))
    return sorted(set(findings)) or _plan(query, text, file, contract)


def _mistakes(query: exp.Select, text: str, contract: Contract) -> Iterator[tuple[Place, str, str]]:
    scopes = traverse_scope(query)
    yield from _relations(query, scopes, text)
    yield from _unknown_columns(query, scopes, text, contract)
    if any(_function_name(call) in _VARYING for call in query.find_all(exp.Func)):
        yield from _varying(text)
    if query.args.get("order") is None:
        yield _last_line(text), "the rows come in no order", "end the query with ORDER BY over what tells rows apart"


def _varying(text: str) -> Iterator[tuple[Place, str, str]]:
    """Every call whose value changes from run to run. The parser keeps no place of these calls, the tokens do."""
    remedy = f"use getvariable('{REPORT_DATE}') for the date; the same rows must give the same bytes"
    for token in sqlglot.tokenize(text, dialect=DuckDB):
        if token.text.casefold() in _VARYING and token.token_type.name != "STRING":
            place = (token.line, token.col - token.end + token.start)
            yield place, f"{token.text} gives another value at each run", remedy


def _relations(query: exp.Select, scopes: list[Scope], text: str) -> Iterator[tuple[Place, str, str]]:
    """Everything read that is neither `trusted` nor a step named by WITH in its own scope."""
    named_steps = {
        id(node)
        for scope in scopes
        for node, source in scope.selected_sources.values()
        if isinstance(source, Scope) and isinstance(node, exp.Table)
    }
    for step in query.find_all(exp.CTE):
        if step.alias.casefold() == RELATION:
            yield _place(step.args["alias"], text), f"a step is called {RELATION}", "give it another name"
    for table in query.find_all(exp.Table):
        name = table.this
        if not isinstance(name, exp.Identifier):
            function = _function_name(name)
            if function not in _TABLE_FUNCTIONS:
                yield _place(table, text), f"the query reads from {function}()", f"read from {RELATION} alone"
        elif id(table) not in named_steps and (table.args.get("db") or table.name.casefold() != RELATION):
            readable = ".".join(part.name for part in table.parts)
            yield _place(table, text), f"the query reads from '{readable}'", f"read from {RELATION} alone"


def _unknown_columns(
    query: exp.Select, scopes: list[Scope], text: str, contract: Contract
) -> Iterator[tuple[Place, str, str]]:
    if query.find(exp.Pivot):
        return  # its columns are made of values; the plan tells
    reported: set[Place] = set()  # a correlated column belongs to the inner scope and to the outer one
    for scope in scopes:
        own = scope.expression
        aliases = {one.alias for one in own.selects if one.alias} if isinstance(own, exp.Select) else set()
        visible: set[str] | None = set(aliases)
        outer: Scope | None = scope
        while outer is not None and visible is not None:
            inside = [_outputs(source, contract) for _, source in outer.selected_sources.values()]
            visible = None if any(one is None for one in inside) else visible.union(*(one or () for one in inside))
            outer = outer.parent if outer.is_correlated_subquery or outer.is_subquery else None
        if visible is None:
            continue
        known = {name.casefold() for name in visible}
        for column in scope.columns:
            if isinstance(column.this, exp.Identifier) and column.name.casefold() not in known:
                place = _place(column, text)
                if place not in reported:
                    reported.add(place)
                    remedy = instead(column.name, sorted(visible))
                    yield place, f"there is no column '{column.name}' here", remedy


def _outputs(source: Scope | exp.Expr, contract: Contract) -> set[str] | None:
    """The names of a relation's columns; None where only the plan knows them."""
    if isinstance(source, Scope):
        names: set[str] = set()
        if not isinstance(source.expression, exp.Query) or any(
            isinstance(one, exp.Columns) for one in source.expression.selects
        ):
            return None
        for one in source.expression.selects:
            if not one.is_star:
                names.add(one.alias_or_name)
                continue
            for _, inner in source.selected_sources.values():
                below = _outputs(inner, contract)
                if below is None:
                    return None
                names |= below
        return names
    is_trusted = isinstance(source, exp.Table) and source.name.casefold() == RELATION
    return {column.name for column in contract.columns} if is_trusted else None


def summary_columns(text: str, columns: Mapping[str, str]) -> Mapping[str, str]:
    """The columns that a checked summary or question gives, with their types in DuckDB's words.

    `columns` are those of `trusted` with theirs; a type that masking changes is the masked one.
    """
    dialect = DuckDBDialect()
    declared = ", ".join(f"{dialect.name(name)} {kind}" for name, kind in columns.items())
    return {str(row[0]): str(row[1]) for row in _described(text, declared)}


def _described(text: str, declared: str) -> list[tuple[Any, ...]]:
    cursor = _planner()
    with _PLANNING:
        cursor.execute(f"CREATE OR REPLACE TABLE {RELATION} ({declared})")
        return cursor.execute("DESCRIBE\n" + text.rstrip().removesuffix(";")).fetchall()


def _plan(query: exp.Select, text: str, file: str, contract: Contract) -> list[Finding]:
    """What DuckDB says of the query over an empty table, and of the columns it would give."""
    dialect = DuckDBDialect()
    declared = ", ".join(f"{dialect.name(column.name)} {column.sql_type}" for column in contract.columns)
    try:
        described = _described(text, declared)
    except duckdb.Error as error:
        problem = str(error).partition("\n")[0].removeprefix("Binder Error: ").removeprefix("Catalog Error: ")
        hint = next((line for line in str(error).splitlines() if line.startswith(("Did you mean", "Either"))), "")
        remedy = hint or "correct the query here"
        return [Finding(file, *_engine_place(str(error), text), f"DuckDB: {problem}", remedy)]
    findings: list[Finding] = []
    seen: set[str] = set()
    for name in (str(row[0]) for row in described):
        place = next((_place(one, text) for one in query.selects if one.alias_or_name == name), _last_line(text))
        # The folders are called year=2024, so no file may hold a column of that name.
        if name.casefold() == contract.partitioning.granularity:
            remedy = f"leave it out: the {name.casefold()} is in the folder's name, and every reader adds it"
            findings.append(Finding(file, *place, f"the summary has a column '{name}'", remedy))
        if name.casefold() in seen:
            findings.append(Finding(file, *place, f"two columns are called '{name}'", "give one of them another name"))
        seen.add(name.casefold())
    return findings


_PLANNING = threading.Lock()


@cache
def _planner() -> duckdb.DuckDBPyConnection:
    """An empty database of its own that may touch nothing outside; opening one takes 10 ms, so it is kept."""
    connection = duckdb.connect(
        config={
            "threads": 1,
            "enable_external_access": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET VARIABLE {REPORT_DATE} = DATE '2000-01-01'")
    return connection


def _engine_place(message: str, text: str) -> Place:
    """The place that DuckDB underlines; the query starts on its second line."""
    found = _POSITION.search(message)
    if not found:
        return 1, 1
    prefix = len(f"LINE {found[1]}: ")
    return _within(text, (int(found[1]) - 1, len(found[3]) - prefix + 1))


def _syntax_error(text: str, file: str, error: ParseError) -> Finding:
    first = error.errors[0] if error.errors else {}
    line, end = int(first.get("line") or 1), int(first.get("col") or 1)
    word = str(first.get("highlight") or "")
    place = _within(text, (line, end - len(word) + 1))
    problem = f"not valid SQL: {str(first.get('description') or error).rstrip('.')}"
    return Finding(file, *place, problem, f"correct the SQL near '{word}'" if word else "correct the SQL here")


def _function_name(call: exp.Expr) -> str:
    name = call.name if isinstance(call, exp.Anonymous) else type(call).sql_name() if isinstance(call, exp.Func) else ""
    return str(name or call.key).casefold()


def _place(node: exp.Expr, text: str) -> Place:
    """Where the first word of the node stands, as far as the parser kept it."""
    nodes = [*node.walk()]
    parent = node.parent
    while parent is not None and not any("line" in one.meta for one in nodes):
        nodes, parent = [*parent.walk()], parent.parent
    places = [(one.meta["line"], one.meta["col"] - one.meta["end"] + one.meta["start"]) for one in nodes if one.meta]
    return _within(text, min(places)) if places else _first_word(text)


def _first_word(text: str) -> Place:
    """The first line that is neither empty nor a comment."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip() and not line.strip().startswith("--"):
            return number, len(line) - len(line.lstrip()) + 1
    return 1, 1


def _last_line(text: str) -> Place:
    return max(text.rstrip().count("\n") + 1, 1), 1


def _within(text: str, place: Place) -> Place:
    """The place, moved into the file where a parser counts beyond its end."""
    return min(max(place[0], 1), text.count("\n") + 1), max(place[1], 1)
