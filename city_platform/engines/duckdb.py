"""Batch work on one machine: DuckDB computes, Arrow carries rows, and nothing outgrows the memory limit."""

import atexit
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from duckdb.func import PythonUDFType

from city_platform.engines.dialect import Dialect, DuckDBDialect
from city_platform.engines.hash_sets import HashSet
from city_platform.engines.session import EngineDeadline, EngineUnavailable


@dataclass(frozen=True, slots=True)
class DuckDBEngine:
    """Opens sessions that share settings.

    Files are read and written in `scratch` and at `places`, folders or single files, alone: whatever a summary, a rule
    or a recipe may say, and whatever a check of theirs may have missed, no query reaches another file of the machine.
    `memory_limit` bounds DuckDB's own buffers (more spills to `scratch`); `deadline` is in seconds and bounds one
    session, because a query that never ends must not hold a partition for ever.
    """

    scratch: Path
    places: tuple[Path, ...] = ()
    threads: int = 2
    memory_limit: str = "512MB"
    deadline: float = 3600.0

    @property
    def dialect(self) -> Dialect:
        return DuckDBDialect()

    @contextmanager
    def session(self) -> Iterator["DuckDBSession"]:
        """A connection whose temporary tables and functions nobody else sees; they go with it.

        All sessions of one engine share its buffers, and so its memory limit. Raises EngineDeadline if the body is
        still querying at the deadline, and EngineUnavailable.
        """
        connection = self._database().cursor()
        connection.execute("SET TimeZone = 'UTC'")
        # It turns `IN` with five constants or more into a join, and a join does not keep the order of the rows.
        connection.execute("SET disabled_optimizers = 'in_clause'")
        connection.execute("SET enable_progress_bar = false")
        session = DuckDBSession(connection)
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            connection.interrupt()

        timer = threading.Timer(self.deadline, expire)
        timer.daemon = True
        timer.start()
        try:
            yield session
        except duckdb.InterruptException as error:
            if expired.is_set():
                raise EngineDeadline(f"a query ran longer than {self.deadline:.0f} s and was interrupted") from error
            raise
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            first, *_ = str(error).splitlines()
            raise EngineUnavailable(f"{first}. It works in {self.scratch} with {self.memory_limit}") from error
        finally:
            timer.cancel()
            session.close()

    def _database(self) -> duckdb.DuckDBPyConnection:
        """One in-memory database for each setting, opened at the first use: opening costs 20 ms, a connection none."""
        with _OPENING:
            if self not in _DATABASES:
                self.scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
                database = duckdb.connect(
                    config={
                        "threads": self.threads,
                        "memory_limit": self.memory_limit,
                        "temp_directory": str(self.scratch),
                        "preserve_insertion_order": True,
                        "autoinstall_known_extensions": False,
                        "autoload_known_extensions": False,
                        "python_enable_replacements": False,  # nor a variable of this process
                    }
                )
                places = ", ".join(self.dialect.text(str(one.absolute())) for one in (self.scratch, *self.places))
                database.execute(f"SET allowed_directories = [{places}]")
                database.execute(f"SET allowed_paths = [{places}]")
                database.execute("SET enable_external_access = false")  # nothing turns it on again
                _DATABASES[self] = database
            return _DATABASES[self]


_OPENING = threading.Lock()
_DATABASES: dict[DuckDBEngine, duckdb.DuckDBPyConnection] = {}
_FUNCTIONS = itertools.count()
_STREAMED = "_streamed"
# Every partition of a dataset asks the same, in the same words, of relations of the same names; reading the words takes
# the engine as long as planning what they say.
_PARSING = threading.Lock()
_PARSED: dict[str, duckdb.Statement] = {}
_MOST_PARSED = 256


@atexit.register
def _close_databases() -> None:
    while _DATABASES:
        _DATABASES.popitem()[1].close()


class DuckDBSession:
    """One connection. Not for use by two threads at once."""

    reads_objects = False
    failures: tuple[type[Exception], ...] = (duckdb.Error,)
    interruptions: tuple[type[Exception], ...] = (
        duckdb.InterruptException,
        duckdb.OutOfMemoryException,
        duckdb.IOException,
    )

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.dialect: Dialect = DuckDBDialect()
        self._functions: list[str] = []

    def function(self, work: Callable[..., pa.Array], parameters: Sequence[str], returns: str, **options: Any) -> str:
        """Makes a function over Arrow arrays known to SQL; returns its name.

        Functions live in the database, not in the session, so each has a name of its own and is removed at the end.
        """
        name = f"_function_{next(_FUNCTIONS)}"
        self.connection.create_function(name, work, list(parameters), returns, type=PythonUDFType.ARROW, **options)
        self._functions.append(name)
        return name

    def close(self) -> None:
        for name in self._functions:
            self.connection.remove_function(name)
        self.connection.close()

    def parquet(self, files: Sequence[Path | str]) -> str:
        """SQL that may stand after FROM: Parquet files as one relation, rows in the order of the files.

        A folder named `year=2024` is not taken for a column, which would shadow a column of that name.
        """
        return f"read_parquet({self._listed(files)}, hive_partitioning = false)"

    def view(self, name: str, files: Sequence[Path | str]) -> None:
        """Gives Parquet files a name in this session."""
        self.select_view(name, f"SELECT * FROM {self.parquet(files)}")

    def select_view(self, name: str, select: str) -> None:
        """Gives a query a name in this session."""
        self.execute(f"CREATE OR REPLACE TEMP VIEW {self.dialect.name(name)} AS {select}")

    def types(self, query: str) -> Mapping[str, str]:
        """The columns of a query's result and their SQL types."""
        return {str(name): str(kind) for name, kind, *_ in self.rows(f"DESCRIBE {query}")}

    def belongs(self, values: Sequence[str], members: Sequence[str], source: str) -> str:
        """SQL that says whether a row's values are among the members; null equals null.

        Asked of a set of 64-bit hashes, so that the rows keep their order, which a join would give up. Two different
        keys share a hash about once in 10^19 pairs.
        """
        found = self.connection.sql(f"SELECT DISTINCT hash({', '.join(members)}) {source}").to_arrow_table()[0]
        return f"{self._hash_set(found)}(hash({', '.join(values)}))"

    def repeats(self, columns: Sequence[str], source: str) -> str:
        """SQL that says whether a row's values are those of several rows of `source`."""
        listed, salt = ", ".join(columns), 0
        while True:
            hashed = f"hash({listed}, {salt})"
            groups = f"SELECT {hashed} AS h, count(*) AS n {source} GROUP BY {listed}"
            repeated = f"SELECT h, count(*) AS keys FROM ({groups}) GROUP BY h HAVING max(n) > 1"
            found = self.connection.sql(repeated).to_arrow_table()
            # Two keys under one hash, about once in a million runs over ten million keys: hash differently.
            if (pc.max(found["keys"]).as_py() or 1) == 1:
                return f"{self._hash_set(found['h'])}({hashed})"
            salt += 1

    def _hash_set(self, hashes: pa.ChunkedArray) -> str:
        """The function `name(UBIGINT) -> BOOLEAN` that says whether a hash is among these."""
        return self.function(HashSet(hashes.chunks).contains, ["UBIGINT"], "BOOLEAN")

    def execute(self, sql: str) -> None:
        self.connection.execute(self._parsed(sql))

    def _listed(self, files: Sequence[Path | str]) -> str:
        return f"[{', '.join(self.dialect.text(str(file)) for file in files)}]"

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a query whose result is small."""
        return self.connection.execute(self._parsed(sql)).fetchall()

    def numbers(self, sql: str) -> npt.NDArray[np.int64]:
        """The first column of a query's result, whole numbers without nulls: eight bytes each, however many."""
        found = self.connection.execute(self._parsed(sql)).fetchnumpy()
        return np.asarray(next(iter(found.values())), np.int64)

    def stream(self, sql: str, batch_rows: int = 65_536) -> pa.RecordBatchReader:
        """A query's rows as Arrow batches in order, computed while they are read."""
        # Through a view: a relation reads the text of its query three times, and that of a recipe takes 10 ms each.
        self.execute(f"CREATE OR REPLACE TEMP VIEW {_STREAMED} AS {sql}")
        return self.connection.sql(f"FROM {_STREAMED}").to_arrow_reader(batch_rows)

    def _parsed(self, sql: str) -> duckdb.Statement | str:
        """The text as the engine's parser reads it; raises what the parser raises."""
        with _PARSING:
            statement = _PARSED.pop(sql, None)
            if statement is None:
                statements = self.connection.extract_statements(sql)
                if len(statements) != 1:
                    return sql
                statement = statements[0]
            _PARSED[sql] = statement  # the newest stands last
            if len(_PARSED) > _MOST_PARSED:
                del _PARSED[next(iter(_PARSED))]
        return statement
