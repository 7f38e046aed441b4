"""From which columns every column of a dataset is made, layer by layer, back to the source's own.

Worked out of the recipe's steps and of `curated.sql`, which sqlglot resolves; nothing is run or read from the lake.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.lineage import Node, lineage
from sqlglot.optimizer.pushdown_projections import pushdown_projections
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import build_scope, traverse_scope

from city_platform.cleaning.operation import Effect
from city_platform.cleaning.recipe import Step
from city_platform.contracts.curated import RELATION
from city_platform.contracts.model import Column, Contract
from city_platform.datasets import Dataset

RAW, CLEANED, CHECKED, CURATED, ENCRYPTED = "raw", "cleaned", "quality_checked", "curated", "encrypted"
UPSTREAM: Mapping[str, str] = {CLEANED: RAW, CHECKED: CLEANED, CURATED: CHECKED, ENCRYPTED: CHECKED}


@dataclass(frozen=True, slots=True)
class ColumnLineage:
    """One column of a layer.

    `sources` are the columns of the layer before that its values are made of, those of a summary in the contract's
    order; none where it is `constant`, the `report date` or a `number of rows`, as `how` then says. `conditions` decide
    which value a row gets.
    """

    column: str
    sources: tuple[str, ...]
    how: str  # `unchanged`, the recipe's steps, or the summary's SQL
    conditions: tuple[str, ...] = ()
    masking: str = ""  # how a personal column was masked on the way
    aggregated: bool = False
    steps: tuple[
        int, ...
    ] = ()  # positions of the recipe's steps that its values, or what they are made of, went through


@dataclass(frozen=True, slots=True)
class LayerLineage:
    """All columns of a layer. `rows` are the columns of the layer before that decide which rows there are, `row_steps`
    the positions of the recipe's steps that remove rows.
    """

    layer: str
    columns: tuple[ColumnLineage, ...]
    rows: tuple[str, ...] = ()
    row_steps: tuple[int, ...] = ()

    @property
    def upstream(self) -> str:
        return UPSTREAM[self.layer]


def layer_lineage(dataset: Dataset, layer: str) -> LayerLineage | None:
    """A layer's lineage; None for layers whose columns are not made of others."""
    return dataset_lineage(dataset).get(layer)


def dataset_lineage(dataset: Dataset) -> Mapping[str, LayerLineage]:
    """By layer, in the order of the layers."""
    return _lineage(_Key(dataset))


def trace(dataset: Dataset, layer: str, column: str) -> tuple[str, ...]:
    """The source's columns that a column's values are made of, in order; none for what is made of no column."""
    if layer == RAW:
        return (column,)
    known = {one.column: one for one in dataset_lineage(dataset)[layer].columns}
    found: dict[str, None] = {}
    for source in known[column].sources:
        found |= dict.fromkeys(trace(dataset, UPSTREAM[layer], source))
    return tuple(found)


class _Key:
    """A dataset as a cache's key: what its lineage follows from."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.hashes = (dataset.name, dataset.contract_hash, dataset.recipe.hash, dataset.curated_hash)

    def __hash__(self) -> int:
        return hash(self.hashes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.hashes == other.hashes


@lru_cache(maxsize=256)
def _lineage(key: _Key) -> Mapping[str, LayerLineage]:
    dataset = key.dataset
    unchanged = tuple(ColumnLineage(one.name, (one.name,), "unchanged") for one in dataset.contract.columns)
    return {
        CLEANED: _cleaned(dataset),
        CHECKED: LayerLineage(CHECKED, unchanged),
        CURATED: query_lineage(dataset.curated_sql, dataset.contract),
        ENCRYPTED: LayerLineage(ENCRYPTED, unchanged),
    }


@dataclass(frozen=True, slots=True)
class _Made:
    """A column while the recipe runs."""

    sources: tuple[str, ...]
    conditions: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    positions: tuple[int, ...] = ()


def _cleaned(dataset: Dataset) -> LayerLineage:
    columns = {one.source_name: _Made((one.source_name,)) for one in dataset.contract.columns}
    rows: tuple[str, ...] = ()
    removing: list[int] = []
    for step in dataset.recipe.steps:
        operation, parameters = step.operation, step.parameters
        subjects = operation.subjects(parameters)
        names = tuple(columns) if operation.reads_every_column else operation.reads(parameters)
        match operation.effect:
            case Effect.RENAMES:
                made = columns.pop(parameters["sourceColumn"])
                columns[parameters["targetColumn"]] = replace(made, positions=(*made.positions, step.position))
            case Effect.TYPES:
                columns |= {name: _after(step, columns, [name], columns[name]) for name in subjects}
            case Effect.DELETES:
                columns = {name: made for name, made in columns.items() if name not in subjects}
            case Effect.REWRITES:
                # Of several columns each is made of itself, and of what they share, such as a group.
                shared = [name for name in names if name not in subjects]
                columns |= {name: _after(step, columns, [name, *shared], columns[name]) for name in subjects}
            case Effect.DERIVES:
                columns |= dict.fromkeys(operation.created(parameters), _after(step, columns, names, _Made(())))
            case Effect.REMOVES_ROWS:
                rows = _union(rows, _read(columns, [*names, *(one.column for one in step.conditions)]))
                removing.append(step.position)
    return LayerLineage(
        CLEANED,
        tuple(
            ColumnLineage(one.name, made.sources, _steps(made), made.conditions, steps=made.positions)
            for one in dataset.contract.columns
            for made in (columns[one.name],)
        ),
        _union(rows, (one.source_name for one in dataset.contract.key)),
        tuple(removing),
    )


def _after(step: Step, columns: Mapping[str, _Made], names: Iterable[str], before: _Made) -> _Made:
    names = list(names)
    decided = [*(columns[name].conditions for name in names), _read(columns, (one.column for one in step.conditions))]
    steps = (*before.steps, step.operation.name)
    read = [*names, *(one.column for one in step.conditions)]
    positions = {*before.positions, step.position}.union(*(columns[name].positions for name in read))
    return _Made(_read(columns, names), _union(before.conditions, *decided), steps, tuple(sorted(positions)))


def _steps(made: _Made) -> str:
    if not made.sources:
        return "constant"
    return ", ".join(dict.fromkeys(made.steps)) or "unchanged"


def _read(columns: Mapping[str, _Made], names: Iterable[str]) -> tuple[str, ...]:
    return _union(*(columns[name].sources for name in names))


def _union(*names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for some in names for name in some))


def query_lineage(sql: str, contract: Contract) -> LayerLineage:
    """What a summary's columns are made of, or a question's; `sql` has been checked (see `contracts.curated`)."""
    written = sqlglot.parse_one(sql, into=exp.Select, dialect=DuckDB)
    schema: dict[str, object] = {RELATION: {column.name: column.sql_type for column in contract.columns}}
    query = written.copy()
    qualify(query, schema=schema, dialect=DuckDB)
    named = {column.name.casefold(): column for column in contract.columns}
    # Resolving folds the case of names: the outputs' own are those of the file, and of the contract behind a star.
    cased = {one.alias_or_name.casefold(): one.alias_or_name for one in written.selects}
    nodes = lineage(None, query, schema, dialect=DuckDB, scope=build_scope(query), trim_selects=False, copy=False)
    found = []
    for select in query.selects:
        name = select.alias_or_name
        walked = list(_walk(nodes[name]))
        leaves = [one for one in walked if not one.downstream]
        used = set(_trusted_columns(leaves))
        sources = [column for name, column in named.items() if name in used]
        masked = (column.masking.value if column.masking else "redact" for column in sources if column.personal)
        found.append(
            ColumnLineage(
                cased.get(name) or named[name].name,
                tuple(column.name for column in sources),
                _how(walked, leaves, sources),
                masking=", ".join(dict.fromkeys(masked)),
                aggregated=any(node.expression.find(exp.AggFunc) for node in walked),
            )
        )
    return LayerLineage(CURATED, tuple(found), tuple(named[one].name for one in _read_anywhere(query)))


def _trusted_columns(leaves: Iterable[Node]) -> Iterator[str]:
    for leaf in leaves:
        if isinstance(leaf.expression, exp.Table):
            yield exp.to_column(leaf.name).name


def _walk(start: Node) -> Iterator[Node]:
    """The node and all it is made of, once each and always in the same order; sqlglot's own walk follows sets."""
    seen: set[int] = set()
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting += sorted(node.downstream, key=_said, reverse=True)


def _said(node: Node) -> tuple[str, str]:
    return node.name, node.expression.sql(dialect=DuckDB)


def _how(walked: Iterable[Node], leaves: Iterable[Node], sources: Sequence[Column]) -> str:
    """In a word where nothing is calculated, else the summary's own SQL, step by step."""
    if not sources:
        made_of = [found for leaf in leaves for found in leaf.expression.walk()]
        if any(isinstance(one, exp.Anonymous) and one.name.casefold() == "getvariable" for one in made_of):
            return "report date"
        return "number of rows" if any(isinstance(one, exp.Count) for one in made_of) else "constant"
    selected = [one.expression.unalias() for one in walked if not isinstance(one.expression, exp.Table)]
    said = [one.sql(dialect=DuckDB, comments=False) for one in selected if not isinstance(one, exp.Column)]
    return " <- ".join(dict.fromkeys(said)) or "unchanged"


def _read_anywhere(query: exp.Query) -> tuple[str, ...]:
    """The columns of `trusted` that the summary reads for its values, filters, groups, joins or order."""
    needed = pushdown_projections(query.copy())
    return _union(
        column.name
        for scope in traverse_scope(needed)
        for column in scope.columns
        if isinstance(scope.sources.get(column.table), exp.Table)
    )
