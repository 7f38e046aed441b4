"""A few rows for people to look at, without anything personal."""

from collections.abc import Iterable, Mapping, Sequence

from city_platform.contracts.model import Contract
from city_platform.engines.duckdb import DuckDBSession

ROWS = 5


def preview_of(
    session: DuckDBSession, relation: str, columns: Iterable[str], contract: Contract
) -> Sequence[Mapping[str, str | None]]:
    """The first rows of a relation as texts, without the platform's own columns and those the contract calls personal.

    `relation` is SQL that may stand after FROM.
    """
    personal = {column.name for column in contract.columns if column.personal}
    shown = [name for name in columns if name not in personal and not name.startswith("_")]
    texts = ", ".join(f"CAST({session.dialect.name(name)} AS VARCHAR)" for name in shown)
    rows = session.rows(f"SELECT {texts} FROM {relation} LIMIT {ROWS}") if shown else []
    return [dict(zip(shown, row, strict=True)) for row in rows]
