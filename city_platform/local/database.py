"""One SQLite file, mode 0600; a connection for each thread of each process."""

import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from city_platform.errors import PermanentError, TransientError
from city_platform.local.durability import enabled, make_folder, sync_folder

_BUSY_SECONDS = 10.0
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class DamagedDatabase(PermanentError):
    """A file of SQLite's is cut short, was written over or is none."""


class OutdatedDatabase(PermanentError):
    """A file was written by an earlier version of the platform, whose tables lack columns."""


class Database:
    """Opens the file at its first use and makes what `schema` says: statements that do nothing where it is made."""

    def __init__(
        self, path: Path, schema: Sequence[str], failure: type[TransientError], name: str, *, durable: bool = True
    ) -> None:
        """SQLite's errors become `failure`, whose message names the database, or DamagedDatabase. A file whose tables
        are not those of `schema` is an OutdatedDatabase, and is not touched.

        With `durable` off a power cut may take the last commits; the end of a process never does.
        """
        self._path = path
        self._schema = schema
        self._failure = failure
        self._name = name
        self._durable = durable
        self._mine = threading.local()

    def read(self, sql: str, values: Sequence[str | int | float] = ()) -> list[tuple[Any, ...]]:
        with self._typed(), closing(self._connection().execute(sql, values)) as cursor:
            return cursor.fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything in it or nothing; one writer at a time."""
        with self._typed():
            connection = self._connection()
            with _transaction(connection):
                yield connection

    def compact(self) -> None:
        """Writes the file anew and empties its log: what was deleted is in neither."""
        with self._typed():
            connection = self._connection()
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _connection(self) -> sqlite3.Connection:
        """This thread's own connection; a forked child opens its own too."""
        mine: tuple[int, sqlite3.Connection] | None = getattr(self._mine, "connection", None)
        if mine is None or mine[0] != os.getpid():
            mine = (os.getpid(), self._open())
            self._mine.connection = mine
        return mine[1]

    def _open(self) -> sqlite3.Connection:
        try:
            ensure_private(self._path)
        except OSError as error:
            raise self._failure(f"{self._name} did not answer: {error.strerror} ({self._path})") from error
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._synchronous()}")
            self._refuse_outdated(connection)
            with _transaction(connection):
                for statement in self._schema:
                    connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _refuse_outdated(self, connection: sqlite3.Connection) -> None:
        with closing(sqlite3.connect(":memory:")) as wanted:
            for statement in self._schema:
                wanted.execute(statement)
            columns = _columns(wanted)
        there = _columns(connection)
        lacking = [
            f"{table} lacks {', '.join(sorted(names - there[table]))}"
            for table, names in columns.items()
            if names - there.get(table, names)
        ]
        if lacking:
            raise OutdatedDatabase(
                f"{self._path} was written by an earlier version of the platform: {'; '.join(lacking)}. Nothing was "
                "changed. Put it aside with its -wal and -shm files and begin anew, or go on with the version that "
                "wrote it"
            )

    def _synchronous(self) -> str:
        if not enabled():
            return "OFF"
        return "FULL" if self._durable else "NORMAL"

    @contextmanager
    def _typed(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
                raise DamagedDatabase(
                    f"{self._path} is damaged ({error}): end what uses it, put it aside with its -wal and -shm files, "
                    "and restore it from a backup"
                ) from error
            raise self._failure(f"{self._name} did not answer: {error} ({self._path})") from error


def ensure_private(path: Path) -> None:
    """Makes an empty file of mode 0600, in a folder of mode 0700, unless it is there.

    Never opens the file itself: a process that closes a file of SQLite's loses the locks its connections have on it,
    and another process then takes the write-ahead log away from under them (sqlite.org/howtocorrupt.html, 2.2).
    """
    make_folder(path.parent)
    if path.exists():
        return
    handle, empty = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        with suppress(FileExistsError):  # another one was first
            os.link(empty, path)
    finally:
        Path(empty).unlink()
    sync_folder(path.parent)


def _columns(connection: sqlite3.Connection) -> Mapping[str, frozenset[str]]:
    """The names of the columns of every table."""
    found: dict[str, set[str]] = {}
    for table, column in connection.execute(
        "SELECT one.name, its.name FROM sqlite_schema AS one JOIN pragma_table_info(one.name) AS its "
        "WHERE one.type = 'table' AND one.name NOT LIKE 'sqlite_%'"
    ):
        found.setdefault(table, set()).add(column)
    return {table: frozenset(names) for table, names in found.items()}


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # of a full disk SQLite has taken it back itself
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
