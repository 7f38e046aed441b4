"""Claims in one SQLite file."""

from datetime import datetime
from pathlib import Path

from city_platform.local.database import Database
from city_platform.local.moments import text
from city_platform.ports import ClaimState, ClaimsUnavailable, Clock

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS claim (
        name TEXT PRIMARY KEY, holder TEXT NOT NULL, until TEXT, -- NULL: finished for good
        at TEXT NOT NULL
    ) WITHOUT ROWID""",
)


class SqliteClaims:
    """Claims, safe between threads and between processes."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._database = Database(path, _SCHEMA, ClaimsUnavailable, "the store of claims")
        self._clock = clock

    def claim(self, name: str, holder: str, until: datetime) -> ClaimState:
        now = text(self._clock.now())
        with self._database.transaction() as connection:
            row = connection.execute("SELECT holder, until FROM claim WHERE name = ?", (name,)).fetchone()
            if row is not None and row[1] is None:
                return ClaimState.DONE
            if row is not None and row[0] != holder and row[1] > now:
                return ClaimState.HELD
            connection.execute("INSERT OR REPLACE INTO claim VALUES (?, ?, ?, ?)", (name, holder, text(until), now))
        return ClaimState.TAKEN

    def finish(self, name: str, holder: str) -> bool:
        return self._let_go("UPDATE claim SET until = NULL WHERE name = ? AND holder = ? AND until > ?", name, holder)

    def release(self, name: str, holder: str) -> bool:
        return self._let_go("DELETE FROM claim WHERE name = ? AND holder = ? AND until > ?", name, holder)

    def _let_go(self, sql: str, name: str, holder: str) -> bool:
        with self._database.transaction() as connection:
            return connection.execute(sql, (name, holder, text(self._clock.now()))).rowcount == 1
