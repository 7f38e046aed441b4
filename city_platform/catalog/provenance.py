"""Which rows of `trusted` each row of a summary is made of: the summary, rewritten so that its rows carry them.

Rows have places, whole numbers. Every step of the summary hands on, beside its columns, a list of the places of the
rows that each of its own rows is made of; a step that groups puts the lists of a group's members together. So the
summary's grouping and conditions, in the engine's own meaning of them, are the filter, whatever functions they use.
This is the lineage of Cui, Widom and Wiener, "Tracing the Lineage of View Data in a Warehousing Environment" (ACM TODS
25(2), 2000), computed by rewriting as in Glavic and Alonso, "Perm" (ICDE 2009). Nothing is run or read from the lake.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import sqlglot
from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import SqlglotError

from city_platform.errors import PermanentError

PLACED, PLACE = "_placed", "_place"  # the relation to run over: the columns of `trusted`, and BIGINT
_ROWS, _CELL = "_rows", "_cell"
_OUTSIDE = {"SEMI", "ANTI"}
_MADE_OF = {"", "RIGHT", "FULL"}  # joins after which a row may be of this side alone; "" is what stands after FROM


class NotNarrowable(PermanentError):
    """The rows behind a row of this summary cannot be told from the others; the message says what stands in the way."""


@dataclass(frozen=True, slots=True)
class Path:
    """One way from the summary to `trusted`.

    `column` of the rewritten query is the list of places found that way, `steps` the names of what lies between. The
    rows of a `driving` path are what the summary's rows are made of; those of another are looked at beside them, as
    the right side of a join.
    """

    column: str
    steps: tuple[str, ...]
    driving: bool


@dataclass(frozen=True, slots=True)
class Provenance:
    """`sql` gives the summary's columns and a list of places for each of `paths`, over the relation `PLACED`.

    `by_column`, whose names have no case, says which paths a column's values come by; `*` stands for all that have no
    name of their own. `filters` are the summary's own
    conditions and groups, `notes` what a row depends on besides the rows that are found. Where one column was asked
    for and its aggregates count only some of the rows, `cell` is the list of these, `counted` the condition.
    """

    sql: str
    paths: tuple[Path, ...]
    by_column: Mapping[str, tuple[str, ...]]
    filters: tuple[str, ...]
    notes: tuple[str, ...]
    cell: str | None = None
    counted: str = ""

    def paths_of(self, column: str) -> tuple[str, ...]:
        """The paths that a column's values come by; none for a constant."""
        return self.by_column.get(column.casefold(), self.by_column.get("*", ()))


def provenance(sql: str, column: str | None = None) -> Provenance:
    """The rewritten summary. `sql` has been checked (see `contracts.curated`); `column` is one that it gives.

    Raises NotNarrowable for set operations, DISTINCT rows, pivots, recursion and joins by whatever names are equal.
    """
    try:
        query = sqlglot.parse_one(sql, into=exp.Select, dialect=DuckDB)
    except SqlglotError as error:
        raise NotNarrowable(f"the summary cannot be rewritten: {error}") from error
    rewriting = _Rewriting(_narrowest(query, column) if column else None)
    given = rewriting.select(query, {}, ())
    driving = given.driving or frozenset(given.paths)
    paths = tuple(Path(name, rewriting.steps[name], name in driving) for name in given.paths if name != _CELL)
    return Provenance(
        sql=query.sql(dialect=DuckDB, comments=False),
        paths=paths,
        by_column={
            name: tuple(one.column for one in paths if one.column in found) for name, found in given.columns.items()
        },
        filters=tuple(dict.fromkeys(rewriting.filters)),
        notes=tuple(dict.fromkeys(rewriting.notes)),
        cell=_CELL if _CELL in given.paths else None,
        counted=rewriting.counted,
    )


@dataclass(frozen=True, slots=True)
class _Given:
    """What a relation hands on: the paths that its columns' values come by, and the lists of places it has."""

    columns: Mapping[str, frozenset[str]]  # by the name without its case; `*` stands for all others
    paths: tuple[str, ...]
    driving: frozenset[str]
    called: Mapping[str, str] = field(default_factory=dict)  # what a path of another name is called in the relation

    def of(self, column: str) -> frozenset[str] | None:
        return self.columns.get(column.casefold(), self.columns.get("*"))


@dataclass(frozen=True, slots=True)
class _Narrowest:
    """The step in which a column's aggregates take only some rows, and which."""

    step: int  # the id of its SELECT
    condition: exp.Expr


@dataclass
class _Rewriting:
    cell: _Narrowest | None
    steps: dict[str, tuple[str, ...]] = field(default_factory=dict)  # of each path
    filters: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counted: str = ""

    def select(self, query: exp.Expr, known: Mapping[str, _Given], named: tuple[str, ...]) -> _Given:
        """Adds the lists to the query and says what it gives then."""
        _refuse(query)
        assert isinstance(query, exp.Select)  # noqa: S101 -- all else was refused
        known = dict(known)
        for step in query.ctes:
            known[step.alias.casefold()] = self.select(step.this, known, (step.alias,))
        sources = dict(self._sources(query, known, named))
        joined = [one for one in sources.values() if one.paths]
        driving = frozenset(path for one in sources.values() for path in one.driving)
        self._tell(query, named)
        # Read before the lists are added: they are no columns of the summary.
        columns = self._columns(query, sources, driving)
        grouped = _aggregates(query)
        starred = {alias for one in query.selects for alias in _starred(one, sources)}
        if len(joined) > 1 and (len(starred) > 1 or any(sources[alias].called for alias in starred)):
            raise NotNarrowable("a join hands on all columns of its relations (*): name them")
        for alias, given in sources.items():
            for path in given.paths if grouped or alias not in starred else ():
                carried: exp.Expr = exp.column(given.called.get(path, path), table=alias, quoted=True)
                query.select(_list(carried, path, grouped=grouped), append=True, copy=False)
        paths = tuple(path for one in joined for path in one.paths)
        counted = self._counted(query, sources)
        if counted is not None and self.cell is not None:
            self.counted = _words(self.cell.condition)
            kept = self.cell.condition.copy()
            query.select(_list(counted, _CELL, grouped=True, kept=kept), append=True, copy=False)
            paths = (*paths, _CELL)
        return _Given(columns, paths, driving)

    def _counted(self, query: exp.Select, sources: Mapping[str, _Given]) -> exp.Column | None:
        """The list of which the asked column's aggregates take some; None unless this is their step."""
        if self.cell is None or self.cell.step != id(query):
            return None
        named = {column.table.casefold() for column in self.cell.condition.find_all(exp.Column)}
        carrying = [alias for alias, one in sources.items() if one.paths]
        found = carrying if len(carrying) == 1 else [alias for alias in carrying if named == {alias.casefold()}]
        if len(found) != 1:
            return None
        given = sources[found[0]]
        return exp.column(given.called.get(given.paths[0], given.paths[0]), table=found[0], quoted=True)

    def _sources(
        self, query: exp.Select, known: Mapping[str, _Given], named: tuple[str, ...]
    ) -> Iterator[tuple[str, _Given]]:
        """What the query reads, by alias, in its order; those whose rows stay behind (SEMI, ANTI) are left out."""
        seen: set[str] = set()
        start = query.args.get("from_")
        read = [(start.this, "")] if start is not None else []
        for join in query.args.get("joins") or ():
            if join.method.upper() == "NATURAL":
                raise NotNarrowable("a NATURAL JOIN goes by whatever names are equal: say ON or USING")
            read.append(
                (join.this, join.kind.upper() if join.kind.upper() in _OUTSIDE else join.side.upper() or "INNER")
            )
        for relation, kind in read:
            alias = relation.alias_or_name
            if kind in _OUTSIDE:
                self.notes.append(f"a {kind} JOIN with {alias} also decides which rows count")
                continue
            given = self._once(self._relation(relation, known, named), seen)
            if kind and given.paths:
                self.notes.append(f"each row is joined with {alias}")
            seen.update(given.paths)
            yield alias, given if kind in _MADE_OF else replace(given, driving=frozenset())

    def _once(self, given: _Given, seen: Collection[str]) -> _Given:
        """The same under paths that the query has not read yet: it may join a step with itself."""
        if _CELL in seen:  # what the aggregates of one column count is handed on once
            given = replace(given, paths=tuple(path for path in given.paths if path != _CELL))
        called = {}
        for path in given.paths:
            if path in seen:
                name = f"{_ROWS}_{len(self.steps) + 1}"
                self.steps[name] = self.steps[path]
                called[name] = path
        if not called:
            return given
        now = {path: name for name, path in called.items()}
        return _Given(
            {name: frozenset(now.get(one, one) for one in paths) for name, paths in given.columns.items()},
            tuple(now.get(one, one) for one in given.paths),
            frozenset(now.get(one, one) for one in given.driving),
            called,
        )

    def _relation(self, relation: exp.Expr, known: Mapping[str, _Given], named: tuple[str, ...]) -> _Given:
        if isinstance(relation, exp.Subquery):
            return self.select(relation.this, known, (*named, relation.alias) if relation.alias else named)
        if not isinstance(relation, exp.Table) or not isinstance(relation.this, exp.Identifier):
            return _Given({}, (), frozenset())  # a function's rows are of no file
        name = relation.name.casefold()
        if name in known:
            return known[name]
        path = f"{_ROWS}_{len(self.steps) + 1}"
        self.steps[path] = named
        inner = sqlglot.parse_one(
            f"SELECT * EXCLUDE ({PLACE}), [{PLACE}] AS {path} FROM {PLACED}", into=exp.Select, dialect=DuckDB
        )
        alias = exp.TableAlias(this=exp.to_identifier(relation.alias_or_name))
        relation.replace(exp.Subquery(this=inner, alias=alias))
        return _Given({"*": frozenset({path})}, (path,), frozenset({path}))

    def _columns(
        self, query: exp.Select, sources: Mapping[str, _Given], driving: frozenset[str]
    ) -> Mapping[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for select in query.selects:
            starred = list(_starred(select, sources))
            if starred:
                for alias in starred:
                    found |= {name: paths for name, paths in sources[alias].columns.items() if name not in found}
                continue
            made: set[str] = set()
            for column in select.find_all(exp.Column):
                made |= _resolved(column, sources, found)
            if select.find(exp.AggFunc):
                made |= driving  # a number of rows is made of all rows, whichever columns it names
            found[select.alias_or_name.casefold()] = frozenset(made)
        return found

    def _tell(self, query: exp.Select, named: tuple[str, ...]) -> None:
        """The step's filters, and what in it looks beyond the rows that a row is made of."""
        where = f"{named[-1]}: " if named else ""
        for clause in ("where", "group", "having", "qualify"):
            if (found := query.args.get(clause)) is not None:
                self.filters.append(where + " ".join(found.sql(dialect=DuckDB, comments=False).split()))
        for window in _own(query, exp.Window):
            self.notes.append(f"{window.sql(dialect=DuckDB, comments=False)} looks at other rows of the partition too")
        for clause in ("having", "limit", "offset"):
            if query.args.get(clause) is not None:
                self.notes.append(f"{clause.upper()} leaves out whole rows of the summary")
        for inner in _own(query, exp.Subquery, exp.Exists):
            if inner.find_ancestor(exp.From, exp.Join, exp.Select) is query:
                self.notes.append("a subquery within an expression looks at other rows too")
                if any(one.is_star for one in inner.find_all(exp.Select)):
                    raise NotNarrowable("a subquery within an expression reads all columns (*): name them")


def _refuse(query: exp.Expr) -> None:
    """Raises NotNarrowable for what no list can be added to."""
    if not isinstance(query, exp.Select):
        raise NotNarrowable(f"{query.key.upper()} puts the rows of several queries together")
    if query.args.get("distinct") is not None:
        raise NotNarrowable("SELECT DISTINCT makes one row of several: write GROUP BY instead")
    with_ = query.args.get("with_")
    if with_ is not None and with_.args.get("recursive"):
        raise NotNarrowable("a recursive step goes over its rows again and again")
    for one in query.find_all(exp.Pivot):
        raise NotNarrowable(f"{one.sql(dialect=DuckDB)} turns values into columns")
    if any(_own(query, exp.Columns)):
        raise NotNarrowable("COLUMNS(...) names columns by a pattern: name them")


def _own(query: exp.Select, *kinds: type[exp.Expr]) -> Iterator[exp.Expr]:
    """What stands in the query itself and not in a step or relation of it."""
    for one in query.find_all(*kinds):
        parent = one.parent
        while parent is not None and not isinstance(parent, exp.Select):
            parent = parent.parent
        if parent is query:
            yield one


def _aggregates(query: exp.Select) -> bool:
    return query.args.get("group") is not None or any(
        one.find_ancestor(exp.Window, exp.Select) is query or _over_aggregates(one, query)
        for one in _own(query, exp.AggFunc)
    )


def _over_aggregates(call: exp.Expr, query: exp.Select) -> bool:
    """Whether an aggregate stands within a window's function, as in sum(count(*)) OVER ()."""
    window = call.find_ancestor(exp.Window, exp.Select)
    function = window.this if isinstance(window, exp.Window) else None
    while isinstance(function, exp.Filter | exp.IgnoreNulls | exp.RespectNulls):
        function = function.this
    return isinstance(window, exp.Window) and call is not function and window.find_ancestor(exp.Select) is query


def _list(carried: exp.Expr, name: str, *, grouped: bool, kept: exp.Expr | None = None) -> exp.Expr:
    """The list of places under its name: of a group the members' lists together, of a missing side an empty one."""
    made: exp.Expr = carried
    if grouped:
        made = exp.func("list", carried, dialect=DuckDB)
        if kept is not None:
            made = exp.Filter(this=made, expression=exp.Where(this=kept))
        made = exp.func("flatten", made, dialect=DuckDB)
    empty = exp.cast(exp.Array(expressions=[]), "BIGINT[]", dialect=DuckDB)
    return exp.alias_(exp.Coalesce(this=made, expressions=[empty]), name)


def _starred(select: exp.Expr, sources: Mapping[str, _Given]) -> Iterator[str]:
    """The relations whose columns an item of a SELECT hands on as they are."""
    if isinstance(select, exp.Star):
        yield from sources
    elif isinstance(select, exp.Column) and isinstance(select.this, exp.Star):
        yield from (alias for alias in sources if alias.casefold() == select.table.casefold())


def _resolved(
    column: exp.Column, sources: Mapping[str, _Given], before: Mapping[str, frozenset[str]]
) -> frozenset[str]:
    """The paths of a column's values: of the relation it names, else of the one that has it, else of an item before."""
    for alias, given in sources.items():
        if column.table.casefold() in {"", alias.casefold()}:
            found = given.of(column.name)
            if found is not None:
                return found
    return before.get(column.name.casefold(), frozenset())


def _narrowest(query: exp.Select, column: str) -> _Narrowest | None:
    """Where the aggregates that make a column all take the same rows out of their group, and no others."""
    step, wanted, found = query, column, None
    known: dict[str, exp.Expr] = {}
    while True:
        known |= {one.alias.casefold(): one.this for one in step.ctes}
        made = next((one.unalias() for one in step.selects if one.alias_or_name.casefold() == wanted.casefold()), None)
        if made is None and any(one.is_star for one in step.selects) and not step.args.get("joins"):
            made = exp.column(wanted)
        if made is None or made.find(exp.Window, exp.Subquery):
            return found
        calls = list(made.find_all(exp.AggFunc))
        if calls:
            conditions = {_taken(one) for one in calls}
            (condition, *others) = conditions
            if others:
                return None
            found = _Narrowest(id(step), condition) if condition is not None else None
        columns = {(one.table, one.name) for one in made.find_all(exp.Column)}
        if len(columns) != 1:
            return found
        ((table, wanted),) = columns
        inner = _step(step, table, known)
        # What a step below counts is narrower than what this one adds up; its own nulls say nothing.
        if inner is None or (calls and not _aggregates(inner)):
            return found
        step = inner


def _step(query: exp.Select, table: str, known: Mapping[str, exp.Expr]) -> exp.Select | None:
    """The query of the relation of that alias, if it is a step of the summary; of the only one where it has none."""
    start = query.args.get("from_")
    read = [start.this] if start is not None else []
    read += [one.this for one in query.args.get("joins") or ()]
    named = [one for one in read if table.casefold() in {"", one.alias_or_name.casefold()}]
    if len(named) != 1:
        return None
    relation = named[0]
    inner = relation.this if isinstance(relation, exp.Subquery) else known.get(relation.name.casefold())
    return inner if isinstance(inner, exp.Select) else None


def _taken(call: exp.Expr) -> exp.Expr | None:
    """The condition under which a row of the group counts for an aggregate; None where every row does."""
    subject = call.this
    if isinstance(subject, exp.Distinct):
        (subject, *_) = subject.expressions
    conditions: list[exp.Expr] = []
    if isinstance(call.parent, exp.Filter):
        conditions.append(call.parent.expression.this)
    if isinstance(subject, exp.Expr) and not isinstance(subject, exp.Star | exp.Literal):
        conditions.append(exp.Not(this=exp.Is(this=exp.paren(subject), expression=exp.Null())))
    return exp.and_(*conditions) if conditions else None


def _words(condition: exp.Expr) -> str:
    """A condition of `_taken` as people write it."""
    if isinstance(condition, exp.And):
        return f"{_words(condition.left)} AND {_words(condition.right)}"
    inner = condition.this
    if isinstance(condition, exp.Not) and isinstance(inner, exp.Is) and isinstance(inner.expression, exp.Null):
        return f"{inner.this.unnest().sql(dialect=DuckDB, comments=False)} IS NOT NULL"
    return condition.sql(dialect=DuckDB, comments=False)
