"""Finds a row of a published table and the trusted rows behind it, and proves them: they alone make the row again.

A row of `trusted` has a place: its partition's number, its source's and its own, packed into one whole number.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as File

import duckdb

from city_platform.catalog.provenance import PLACE, PLACED, NotNarrowable, Provenance, provenance
from city_platform.contracts.curated import RELATION
from city_platform.contracts.model import Column
from city_platform.datasets import Dataset
from city_platform.engines.duckdb import DuckDBSession
from city_platform.errors import PermanentError
from city_platform.lake.manifest import Manifest
from city_platform.layers.curated import masked_rows
from city_platform.layers.passed import passed_rows
from city_platform.layers.platform import Platform

_ROW_BITS, _SOURCE_BITS = 40, 12  # of a place; the rest are the partition's
_CANDIDATES, _NEAREST = 6, 3  # rows that an error names
_FLOATING = {"DOUBLE", "FLOAT"}  # their last digit may depend on the order of the rows
_SHOWN = 60  # characters of a value in an error
_PASSED, _TRACED, _BEHIND, _EVERYTHING = "_passed", "_traced", "_behind", "_everything"

Texts = Mapping[str, str | None]


class NoSuchRow(PermanentError):
    """The table has no such row, or no such column; the message names what is near."""


class SeveralRows(PermanentError):
    """What was said fits several rows; the message says what tells them apart."""


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A trusted row: the source and the row in it, from 0, and its values as text, masked as in what is published."""

    partition: str
    source: int  # of the partition's raw version
    row: int
    values: Texts


@dataclass(frozen=True, slots=True)
class FoundRows:
    """The trusted rows behind one row of a table.

    `rows` by partition are those it is made of, `beside` how many others are looked at, by the step that does. Of
    `column`, where one was asked for, only `counted` of the rows count, by the `condition`; None: all of them.
    `reproduced` says whether the query gives the row of all rows of the version; `again` is the row as it makes it of
    those that were found and no others.
    """

    rows: Mapping[str, int]
    beside: Mapping[str, int]
    filters: Sequence[str]
    notes: Sequence[str]
    counted: int | None
    condition: str
    reproduced: bool
    again: Texts | None
    shown: Sequence[ShownRow]

    @property
    def total(self) -> int:
        return sum(self.rows.values())


@dataclass(frozen=True, slots=True)
class Wanted:
    """A row of a table, or the sum of `added` over some, and SQL that rows of its query fulfil.

    `condition` tells it from all others; `naming` goes by what no aggregate makes, for a row whose figures are others.
    """

    row: Texts
    condition: str
    naming: str = "false"
    added: str | None = None


def open_places(platform: Platform, dataset: Dataset, session: DuckDBSession, versions: Sequence[Manifest]) -> None:
    """Makes the trusted rows of quality-checked versions, one a partition, readable as `PLACED` and `trusted`, masked.

    Raises VersionPruned and the key service's errors.
    """
    names = ", ".join(session.dialect.name(column.name) for column in dataset.contract.columns)
    selects = []
    for number, checked in enumerate(versions):
        rows = passed_rows(session, platform.lake.paths(checked, "rows"), platform.lake.paths(checked, "failed"))
        base = number << (_ROW_BITS + _SOURCE_BITS)
        place = f"{base} + CAST(_source AS BIGINT) * {1 << _ROW_BITS} + _row AS {PLACE}"
        selects.append(f"SELECT {names}, {place} FROM ({rows})")
    session.execute(f"CREATE OR REPLACE TEMP VIEW {_PASSED} AS {' UNION ALL '.join(selects)}")
    masked = masked_rows(platform, dataset, session, _PASSED, [PLACE])
    session.execute(f"CREATE OR REPLACE TEMP VIEW {PLACED} AS {masked}")
    _trusted(session, "")


def find_row(session: DuckDBSession, files: Sequence[File], where: Texts, naming: Sequence[str]) -> tuple[Wanted, int]:
    """The one row of a published table that fits, and how often it stands there.

    `where` are values by column, the column's case aside; nothing for an empty one. `naming` are the columns that no
    aggregate makes. Raises NoSuchRow, SeveralRows.
    """
    table = session.parquet(files)
    types = column_types(session, table)
    wanted, conditions = _asked(session, table, types, where)
    texts = ", ".join(_text(session, name) for name in types)
    fitting = " AND ".join(conditions.values()) or "true"
    found = session.rows(
        f"SELECT count(*), {texts} FROM {table} WHERE {fitting} GROUP BY ALL ORDER BY ALL LIMIT {_CANDIDATES}"
    )
    if len(found) == 1:
        times, *values = found[0]
        row = dict(zip(types, values, strict=True))
        exact = [name for name in types if types[name] not in _FLOATING]
        named = _same(session, types, row, naming) if naming else "false"
        return Wanted(row, _same(session, types, row, exact), named), times
    if not found:
        raise NoSuchRow(_nearest(session, table, types, wanted, conditions))
    apart = [name for place, name in enumerate(types, 1) if len({row[place] for row in found}) > 1]
    shown = "; ".join(_said({name: row[1 + list(types).index(name)] for name in apart[:4]}) for row in found[:-1])
    more = "; and more" if len(found) == _CANDIDATES else ""
    raise SeveralRows(f"several rows fit; {', '.join(apart[:4])} tell them apart, as: {shown}{more}")


def find_total(session: DuckDBSession, files: Sequence[File], where: Texts, column: str) -> Wanted:
    """The sum of a column over all rows that fit, beside what names them; raises NoSuchRow."""
    table = session.parquet(files)
    types = column_types(session, table)
    wanted, conditions = _asked(session, table, types, where)
    fitting = " AND ".join(conditions.values()) or "true"
    ((rows, total),) = session.rows(f"SELECT count(*), {_sum(session, column)} FROM {table} WHERE {fitting}")
    if not rows:
        raise NoSuchRow(_nearest(session, table, types, wanted, conditions))
    return Wanted({**wanted, column: total}, fitting, added=column)


def find_behind(
    session: DuckDBSession,
    partitions: Sequence[str],
    sql: str,
    wanted: Wanted,
    *,
    column: str | None,
    limit: int,
    readable: Sequence[Column],
) -> FoundRows:
    """The rows behind what is wanted of the table that `sql` makes, after `open_places`.

    Up to `limit` of them are shown; `partitions` are those of the versions that were opened. Raises NotNarrowable where
    the rows cannot be told from others.
    """
    made = provenance(sql, column)
    _trace(session, made, wanted.condition)
    if wanted.added:
        reproduced = _made(session, sql, wanted) == wanted.row
    elif not (reproduced := _count(session, _TRACED) > 0):
        # A figure of the row is another than its rows give: it is told which, so the row goes by what names it.
        _trace(session, made, wanted.naming)
    driving = [path.column for path in made.paths if path.driving]
    _places(session, _BEHIND, driving)
    _places(session, _EVERYTHING, [path.column for path in made.paths])
    chosen = _BEHIND
    paths = made.paths_of(column) if column else ()
    if made.cell:
        chosen = "_counted"
        _places(session, chosen, [made.cell])
    elif column and set(paths) != set(driving):
        chosen = "_counted"
        _places(session, chosen, paths)
    counted = _count(session, chosen) if chosen != _BEHIND else None
    by_number = session.rows(f"SELECT {PLACE} >> {_ROW_BITS + _SOURCE_BITS}, count(*) FROM {_BEHIND} GROUP BY 1")
    shown = _shown(session, chosen, partitions, readable, limit)
    return FoundRows(
        rows={partitions[number]: count for number, count in sorted(by_number)},
        beside=_beside(session, made),
        filters=made.filters,
        notes=made.notes,
        counted=counted,
        condition=made.counted,
        reproduced=reproduced,
        again=_again(session, sql, wanted),
        shown=shown,
    )


def _same(session: DuckDBSession, types: Mapping[str, str], row: Texts, compared: Sequence[str]) -> str:
    """The condition for rows that are `row` in those columns."""
    return " AND ".join(_equals(session, name, types[name], row[name]) for name in compared) or "true"


def _trace(session: DuckDBSession, made: Provenance, same: str) -> None:
    """Makes the table `_TRACED` of the lists of places of the rows that fulfil the condition."""
    lists = [path.column for path in made.paths] + ([made.cell] if made.cell else [])
    try:
        session.execute(
            f"CREATE OR REPLACE TEMP TABLE {_TRACED} AS SELECT {', '.join(lists) or '1'} FROM ({made.sql}) WHERE {same}"
        )
    except (duckdb.BinderException, duckdb.ParserException, duckdb.CatalogException) as error:
        first, *_ = str(error).splitlines()
        raise NotNarrowable(f"the summary cannot be rewritten: {first}") from error


def column_types(session: DuckDBSession, table: str) -> Mapping[str, str]:
    """The columns of a relation, SQL that may stand after FROM, with the engine's types."""
    return {str(name): str(kind) for name, kind, *_ in session.rows(f"DESCRIBE SELECT * FROM {table}")}


def _asked(
    session: DuckDBSession, table: str, types: Mapping[str, str], where: Texts
) -> tuple[Texts, Mapping[str, str]]:
    """What was asked for by the columns' own names, and the condition that each makes; raises NoSuchRow."""
    known = {name.casefold(): name for name in types}
    for name in where:
        if name.casefold() not in known:
            raise NoSuchRow(f"there is no column {name!r}; there are: {', '.join(types)}")
    wanted = {known[name.casefold()]: value for name, value in where.items()}
    return wanted, {name: _fits(session, table, name, types[name], value) for name, value in wanted.items()}


def _sum(session: DuckDBSession, column: str) -> str:
    return f"CAST(sum({session.dialect.name(column)}) AS VARCHAR)"


def _beside(session: DuckDBSession, made: Provenance) -> Mapping[str, int]:
    """How many rows a row's other paths lead to, by the step that looks at them."""
    found = {}
    for path in made.paths:
        if not path.driving:
            _places(session, "_looked_at", [path.column])
            found[" in ".join(reversed(path.steps)) or path.column] = _count(session, "_looked_at")
    return found


def _query(sql: str) -> str:
    """A summary as it may stand in parentheses; its last line may be a comment."""
    return sql.rstrip().removesuffix(";") + "\n"


def _again(session: DuckDBSession, sql: str, wanted: Wanted) -> Texts | None:
    """What is wanted, as the query makes it of the rows that were found and of no others; None where it makes none."""
    _trusted(session, f" SEMI JOIN {_EVERYTHING} USING ({PLACE})")
    made = _made(session, sql, wanted)
    _trusted(session, "")
    return made


def _made(session: DuckDBSession, sql: str, wanted: Wanted) -> Texts | None:
    """What is wanted, as the query makes it of the rows that `trusted` has."""
    query = f"({sql.rstrip().removesuffix(';')}\n)"  # its last line may be a comment
    if wanted.added:
        ((total,),) = session.rows(f"SELECT {_sum(session, wanted.added)} FROM {query} WHERE {wanted.condition}")
        return {**wanted.row, wanted.added: total}
    texts = ", ".join(_text(session, name) for name in wanted.row)
    for condition in (wanted.condition, wanted.naming):
        if made := session.rows(f"SELECT {texts} FROM {query} WHERE {condition} LIMIT 1"):
            return dict(zip(wanted.row, made[0], strict=True))
    return None


def _shown(
    session: DuckDBSession, places: str, partitions: Sequence[str], readable: Sequence[Column], limit: int
) -> Sequence[ShownRow]:
    names = [column.name for column in readable]
    texts = "".join(f", {_text(session, name)}" for name in names)
    found = session.rows(
        f"SELECT {PLACE}{texts} FROM {PLACED} SEMI JOIN {places} USING ({PLACE}) ORDER BY {PLACE} LIMIT {limit}"
    )
    shown = []
    for place, *values in found:
        source = (place >> _ROW_BITS) & ((1 << _SOURCE_BITS) - 1)
        number = place >> (_ROW_BITS + _SOURCE_BITS)
        row = place & ((1 << _ROW_BITS) - 1)
        shown.append(ShownRow(partitions[number], source, row, dict(zip(names, values, strict=True))))
    return shown


def _trusted(session: DuckDBSession, restricted: str) -> None:
    """What the table's own query reads: all rows, or those that are left."""
    session.execute(f"CREATE OR REPLACE TEMP VIEW {RELATION} AS SELECT * EXCLUDE ({PLACE}) FROM {PLACED}{restricted}")


def _places(session: DuckDBSession, name: str, lists: Sequence[str]) -> None:
    """The places in the traced row's lists, each once."""
    selects = [f"SELECT unnest({one}) AS {PLACE} FROM {_TRACED}" for one in lists]
    union = " UNION ".join(selects) or f"SELECT CAST(NULL AS BIGINT) AS {PLACE} WHERE false"
    session.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT DISTINCT {PLACE} FROM ({union})")


def _count(session: DuckDBSession, places: str) -> int:
    ((count,),) = session.rows(f"SELECT count(*) FROM {places}")
    return int(count)


def _text(session: DuckDBSession, column: str) -> str:
    return f"CAST({session.dialect.name(column)} AS VARCHAR)"


def _equals(session: DuckDBSession, column: str, kind: str, value: str | None) -> str:
    name = session.dialect.name(column)
    return f"{name} IS NULL" if value is None else f"{name} = CAST({session.dialect.text(value)} AS {kind})"


def _fits(session: DuckDBSession, table: str, column: str, kind: str, value: str | None) -> str:
    """The condition that a person's value makes; raises NoSuchRow for one that is none of the column's type."""
    name = session.dialect.name(column)
    if not value:
        return f"({name} IS NULL OR {name} = '')" if kind == "VARCHAR" else f"{name} IS NULL"
    if session.rows(f"SELECT TRY_CAST({session.dialect.text(value)} AS {kind}) IS NULL") == [(True,)]:
        example = session.rows(f"SELECT {_text(session, column)} FROM {table} WHERE {name} IS NOT NULL LIMIT 1")
        written = f", as {example[0][0]}" if example else ""
        raise NoSuchRow(f"{column} is a {kind}: {value!r} is none{written}")
    return _equals(session, column, kind, value)


def _nearest(
    session: DuckDBSession, table: str, types: Mapping[str, str], wanted: Texts, conditions: Mapping[str, str]
) -> str:
    """What to say where no row fits: the rows that fit most of it, those first whose other values are nearest."""
    names = ", ".join(_text(session, name) for name in wanted)
    fitting = " + ".join(f"coalesce(CAST({one} AS INTEGER), 0)" for one in conditions.values()) or "0"
    far = " + ".join(_distance(session, name, types[name], value) for name, value in wanted.items() if value) or "0"
    rows = session.rows(
        f"SELECT DISTINCT {fitting} AS _fit, {far} AS _far, {names or '1'} FROM {table} "
        f"ORDER BY _fit DESC, _far LIMIT {_NEAREST}"
    )
    if not rows or not wanted:
        return "the table has no rows"
    near = "; ".join(_said(dict(zip(wanted, row[2:], strict=True))) for row in rows)
    return f"no row has {_said(wanted)}; the nearest are: {near}"


def _distance(session: DuckDBSession, column: str, kind: str, value: str | None) -> str:
    """SQL for how far a value is from the one that was asked for, from 0 to 1; a missing one is farthest."""
    name, text = session.dialect.name(column), session.dialect.text(value or "")
    if kind == "VARCHAR":
        return f"coalesce(1 - jaro_winkler_similarity(lower({name}), lower({text})), 1)"
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        apart = f"abs(epoch({name}) - epoch(CAST({text} AS {kind})))"
        return f"coalesce({apart} / ({apart} + 31557600), 1)"
    if kind == "BOOLEAN":
        return "0"
    number = f"CAST({name} AS DOUBLE)"
    return f"coalesce(abs({number} - {text}::DOUBLE) / (abs({number}) + abs({text}::DOUBLE) + 1), 1)"


def _said(values: Texts) -> str:
    """Values as `--where` takes them."""
    told = ((name, value or "") for name, value in values.items())
    return ", ".join(
        f"{name}={value[:_SHOWN]}{'…' if len(value) > _SHOWN else ''}" for name, value in itertools.islice(told, 8)
    )
