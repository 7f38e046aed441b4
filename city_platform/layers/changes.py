"""What is different between two versions of a partition's cleaned rows: inserted, updated and deleted rows.

Rows are paired by the contract's key. Rows without a complete key, or all where the contract has none, cannot be
paired: they are compared as a multiset, so an update shows as one row deleted and one inserted. The column that only
tells which of two rows is the newer (`latestBy`) makes no row an updated one, for sources write it anew every day.
The platform's own columns (`_row`, `_source`) say where a row stood and count for nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from city_platform.contracts.model import Contract
from city_platform.datasets import Dataset
from city_platform.engines.dialect import Dialect
from city_platform.engines.duckdb import DuckDBSession
from city_platform.lake.lake import Lake
from city_platform.ports import ObjectNotFound

_ROWS = "rows"
PERSONAL = "(personal)"  # what is shown instead of a personal value


@dataclass(frozen=True, slots=True)
class Changes:
    """How many rows changed since the version `since`. `columns`: in how many updated rows each column differs."""

    since: str
    inserted: int
    updated: int
    deleted: int
    columns: Mapping[str, int] = field(default_factory=dict)
    # Columns that only one of the versions has: nothing in them is compared.
    added_columns: Sequence[str] = ()
    removed_columns: Sequence[str] = ()

    def to_json(self) -> Mapping[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Changes":
        return cls(**body)


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """One changed row as texts: its key, and of every column that differs (all of an inserted or deleted row) the
    value before and after. Personal values are replaced by `PERSONAL`.
    """

    kind: str  # inserted, updated, deleted
    key: Mapping[str, str | None]
    values: Mapping[str, tuple[str | None, str | None]]


def changes_since(
    session: DuckDBSession, lake: Lake, dataset: Dataset, partition: str, layer: str, rows: Sequence[Path], version: str
) -> Changes | None:
    """What `rows`, about to be published as `version`, change in the newest version that is another one.

    None where there is none or its files are gone. One query.
    """
    older = lake.before(layer, dataset.name, partition, version)
    if older is None:
        return None
    try:
        comparison = _Comparison(session, dataset.contract, lake.paths(older, _ROWS), rows)
    except ObjectNotFound:
        return None
    return comparison.counted(older.version)


def changed_rows(
    session: DuckDBSession, lake: Lake, dataset: Dataset, partition: str, layer: str, limit: int
) -> list[ChangedRow]:
    """Up to `limit` of the rows behind the newest version's changes: updated ones first, each kind by key.

    Raises NotPublished without a version, ObjectNotFound where the files of one of the two are gone.
    """
    newest = lake.require(layer, dataset.name, partition)
    older = lake.before(layer, dataset.name, partition, newest.version)
    if older is None:
        return []
    files = (lake.paths(older, _ROWS), lake.paths(newest, _ROWS))
    return _Comparison(session, dataset.contract, *files).rows(limit)


def same_rows(session: DuckDBSession, before: Path, after: Path, columns: Sequence[str]) -> bool:
    """Whether two files of equally many rows hold the same rows, in whatever order, going by those columns.

    Told by the sums of two 64-bit hashes: one pass in bounded memory, wrong once in more files than there will be.
    """
    names = ", ".join(session.dialect.name(name) for name in columns)
    sums = f"SELECT count(*), sum(hash({names})), sum(hash({names}, 1)) FROM "
    return session.rows(sums + session.parquet([before])) == session.rows(sums + session.parquet([after]))


class _Comparison:
    """Two sets of files and the SQL that compares them."""

    def __init__(
        self, session: DuckDBSession, contract: Contract, before: Sequence[Path], after: Sequence[Path]
    ) -> None:
        self._session = session
        self._dialect: Dialect = session.dialect
        old, new = self._types(before), self._types(after)
        self.added, self.removed = [name for name in new if name not in old], [name for name in old if name not in new]
        key = [column.name for column in contract.key]
        self.key = key if all(name in old and name in new for name in key) else []
        self.compared = [name for name in new if name in old and name not in self.key and name != contract.latest_by]
        self._personal = {column.name for column in contract.columns if column.personal}
        retyped = {name for name in new if name in old and new[name] != old[name]}  # compared as text
        self._before, self._after = self._side(before, retyped), self._side(after, retyped)

    def counted(self, since: str) -> Changes:
        """How many rows of each kind, by one query."""
        counts = [f"count(*) FILTER ({self._kind()} = '{kind}')" for kind in ("inserted", "updated", "deleted")]
        counts += [f"count(*) FILTER ({self._both()} AND {self._differs(name)})" for name in self.compared]
        (row,) = self._session.rows(
            f"SELECT * FROM (SELECT {', '.join(counts)} FROM {self._pairs()}), "
            f"(SELECT coalesce(sum(greatest(_more, 0)), 0), coalesce(sum(greatest(-_more, 0)), 0) "
            f"FROM ({self._unpaired()}))"
        )
        inserted, updated, deleted, *columns, more, less = (int(value) for value in row)
        return Changes(
            since=since,
            inserted=inserted + more,
            updated=updated,
            deleted=deleted + less,
            columns={name: count for name, count in zip(self.compared, columns, strict=True) if count},
            added_columns=self.added,
            removed_columns=self.removed,
        )

    def rows(self, limit: int) -> list[ChangedRow]:
        """Up to `limit` changed rows."""
        name = self._dialect.name
        columns = [*self.key, *self.compared]
        texts = [self._text(f"{side}.{name(one)}", one) for one in columns for side in ("before", "after")]
        differ = [self._differs(one) for one in self.compared]
        found = [
            self._paired_row(row)
            for row in self._session.rows(
                f"SELECT {', '.join([f'{self._kind()} AS _kind', *texts, *differ])} FROM {self._pairs()} "
                f"WHERE _kind IS NOT NULL ORDER BY {', '.join(['_kind DESC', *self._keys()])} LIMIT {limit}"
            )
        ]
        texts = [self._text(name(one), one) for one in columns]
        rest = self._session.rows(
            f"SELECT _more, {', '.join(texts)} FROM ({self._unpaired()}) ORDER BY ALL LIMIT {limit}"
        )
        for more, *values in rest:
            pairs = [(None, value) if more > 0 else (value, None) for value in values]
            row = ChangedRow("inserted" if more > 0 else "deleted", {}, dict(zip(columns, pairs, strict=True)))
            found += [row] * abs(more)
        return found[:limit]

    def _paired_row(self, row: Sequence[Any]) -> ChangedRow:
        kind, *rest = row
        columns = [*self.key, *self.compared]
        pairs = dict(
            zip(columns, zip(rest[: 2 * len(columns) : 2], rest[1 : 2 * len(columns) : 2], strict=True), strict=True)
        )
        differs = dict(zip(self.compared, rest[2 * len(columns) :], strict=True))
        return ChangedRow(
            kind,
            {
                name: before if kind == "deleted" else after
                for name, (before, after) in pairs.items()
                if name in self.key
            },
            {name: pair for name, pair in pairs.items() if name in differs and (kind != "updated" or differs[name])},
        )

    def _types(self, files: Sequence[Path]) -> dict[str, str]:
        """The dataset's own columns and their SQL types."""
        described = self._session.rows(f"DESCRIBE SELECT * FROM {self._session.parquet(files)}")
        return {name: kind for name, kind, *_ in described if not name.startswith("_")}

    def _side(self, files: Sequence[Path], retyped: set[str]) -> str:
        """One version's rows with the columns that are compared; `_complete` tells whether they have their key."""
        name = self._dialect.name
        columns = [
            f"CAST({name(one)} AS VARCHAR) AS {name(one)}" if one in retyped else name(one)
            for one in (*self.key, *self.compared)
        ]
        complete = " AND ".join(f"{name(one)} IS NOT NULL" for one in self.key) or "FALSE"
        return f"SELECT {', '.join([*columns, f'{complete} AS _complete'])} FROM {self._session.parquet(files)}"

    def _pairs(self) -> str:
        """Rows with a complete key, `before` beside `after`."""
        equal = " AND ".join(f"before.{one} = after.{one}" for one in map(self._dialect.name, self.key)) or "FALSE"
        before, after = (f"(SELECT * FROM ({side}) WHERE _complete)" for side in (self._before, self._after))
        return f"{before} AS before FULL JOIN {after} AS after ON {equal}"

    def _unpaired(self) -> str:
        """Rows without a complete key that one version has more often: `_more` times more after than before."""
        columns = ", ".join(map(self._dialect.name, (*self.key, *self.compared)))
        sides = ((self._before, -1), (self._after, 1))
        rows = " UNION ALL ".join(
            f"SELECT {columns}, {weight} AS _weight FROM ({side}) WHERE NOT _complete" for side, weight in sides
        )
        return f"SELECT {columns}, sum(_weight) AS _more FROM ({rows}) GROUP BY {columns} HAVING sum(_weight) <> 0"

    def _both(self) -> str:
        return "(before._complete AND after._complete) IS TRUE"

    def _kind(self) -> str:
        differs = " OR ".join(self._differs(name) for name in self.compared) or "FALSE"
        return (
            "CASE WHEN before._complete IS NULL THEN 'inserted' WHEN after._complete IS NULL THEN 'deleted' "
            f"WHEN {differs} THEN 'updated' END"
        )

    def _differs(self, column: str) -> str:
        name = self._dialect.name(column)
        return f"(before.{name} IS DISTINCT FROM after.{name})"

    def _keys(self) -> list[str]:
        return [f"coalesce(after.{one}, before.{one})" for one in map(self._dialect.name, self.key)]

    def _text(self, sql: str, column: str) -> str:
        """The value for people; of a personal column not even the engine's result holds it."""
        if column in self._personal:
            return f"CASE WHEN {sql} IS NOT NULL THEN {self._dialect.text(PERSONAL)} END"
        return f"CAST({sql} AS VARCHAR)"
