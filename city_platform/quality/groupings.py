"""How often each key occurs: one GROUP BY for each distinct set of columns, shared by all rules about it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from city_platform.engines.session import Session

_Key = tuple[tuple[str, ...], str | None]
_WHOLE_NUMBERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT"}
_BITS_A_ROW = 64  # more would be slower than a hash table
_MOST_BITS = 1 << 28  # 32 MB a thread


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """Counts over the rows in which at least one column of the key is not null."""

    groups: int  # distinct keys
    rows: int
    singles: int  # keys that occur exactly once
    complete_singles: int  # of these, keys without any null
    n_log_n: float  # sum over the keys of n * ln(n), for the entropy


class Groupings:
    """Key facts of one relation, each computed at most once. `columns` maps its columns to their SQL types.

    Of `repetitive` columns it is known that values occur several times.
    """

    def __init__(
        self, session: Session, relation: str, columns: Mapping[str, str], repetitive: Collection[str] = ()
    ) -> None:
        self._session = session
        self._relation = relation
        self._perhaps_different = {
            session.dialect.name(name)
            for name, sql_type in columns.items()
            if sql_type.upper() in _WHOLE_NUMBERS and name not in repetitive and not session.reads_objects
        }
        self._known: dict[_Key, KeyFacts] = {}
        self._repeated_sql: dict[_Key, str] = {}

    def facts(self, columns: Sequence[str], where: str | None) -> KeyFacts:
        """Facts of these columns (quoted names) over the rows for which `where` is true."""
        key = (tuple(columns), where)
        if key not in self._known:
            self._known[key] = self._all_different(*key) or self._counted(*key)
        return self._known[key]

    def _all_different(self, columns: tuple[str, ...], where: str | None) -> KeyFacts | None:
        """The facts of whole numbers that lie close together, if no two are alike: one bit a number, no hash table."""
        if len(columns) != 1 or columns[0] not in self._perhaps_different:
            return None
        number, (_, source) = columns[0], self._source(columns, where)
        rows, least, greatest = self._session.rows(f"SELECT count(*), min({number}), max({number}) {source}")[0]
        bits = greatest - least + 1 if rows else 0
        if not 0 < rows <= bits <= min(_BITS_A_ROW * rows, _MOST_BITS):
            return None
        seen = self._session.dialect.different_numbers(number, least, greatest)
        if self._session.rows(f"SELECT {seen} {source}")[0][0] < rows:
            return None
        return KeyFacts(rows, rows, rows, rows, 0.0)

    def _counted(self, columns: tuple[str, ...], where: str | None) -> KeyFacts:
        listed = ", ".join(columns)
        _, source = self._source(columns, where)
        complete = " AND ".join(f"{column} IS NOT NULL" for column in columns)
        total = self._session.dialect.inexact_sum("_n * ln(_n)")
        groups, rows, singles, complete_singles, n_log_n = self._session.rows(
            "SELECT count(*), CAST(COALESCE(sum(_n), 0) AS BIGINT), count(NULLIF(_n = 1, false)), "
            f"count(NULLIF(_n = 1 AND {complete}, false)), COALESCE({total} FILTER (WHERE _n > 1), 0) "
            f"FROM (SELECT {listed}, count(*) AS _n {source} GROUP BY {listed})"
        )[0]
        return KeyFacts(groups, rows, singles, complete_singles, float(n_log_n))

    def occurs_once(self, columns: Sequence[str], where: str | None) -> str:
        """SQL over the relation: the row's key occurs once, or the row has no key."""
        facts = self.facts(columns, where)
        if facts.groups == facts.singles:
            return "TRUE"
        key = (tuple(columns), where)
        if key not in self._repeated_sql:
            has_key, source = self._source(*key)
            self._repeated_sql[key] = f"(NOT ({has_key}) OR NOT {self._session.repeats(columns, source)})"
        return self._repeated_sql[key]

    def _source(self, columns: tuple[str, ...], where: str | None) -> tuple[str, str]:
        has_key = " OR ".join(f"{column} IS NOT NULL" for column in columns)
        return has_key, f"FROM {self._relation} WHERE ({has_key})" + (f" AND ({where})" if where else "")
