"""Batch work on one machine: DuckDB computes, Arrow carries rows, and nothing outgrows the memory limit."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from city_platform.engines.dialect import Dialect, DuckDBDialect
from city_platform.errors import TransientError


class EngineDeadline(TransientError):
    """A query ran past its deadline and was interrupted; nothing of it was published."""


@dataclass(frozen=True, slots=True)
class DuckDBEngine:
    """Opens sessions that share settings.

    `memory_limit` bounds DuckDB's own buffers (more spills to `scratch`); `deadline` is in seconds and bounds one
    session, because a query that never ends must not hold a partition for ever.
    """

    scratch: Path
    threads: int = 2
    memory_limit: str = "512MB"
    deadline: float = 3600.0

    @property
    def dialect(self) -> Dialect:
        return DuckDBDialect()

    @contextmanager
    def session(self) -> Iterator["Session"]:
        """A fresh in-memory database; raises EngineDeadline if the body is still querying at the deadline."""
        self.scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        connection = duckdb.connect(
            config={
                "threads": self.threads,
                "memory_limit": self.memory_limit,
                "temp_directory": str(self.scratch),
                "preserve_insertion_order": True,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )
        connection.execute("SET TimeZone = 'UTC'")
        # It turns `IN` with five constants or more into a join, and a join does not keep the order of the rows.
        connection.execute("SET disabled_optimizers = 'in_clause'")
        connection.execute("SET enable_progress_bar = false")
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            connection.interrupt()

        timer = threading.Timer(self.deadline, expire)
        timer.daemon = True
        timer.start()
        try:
            yield Session(connection)
        except duckdb.InterruptException as error:
            if expired.is_set():
                raise EngineDeadline(f"a query ran longer than {self.deadline:.0f} s and was interrupted") from error
            raise
        finally:
            timer.cancel()
            connection.close()


class Session:
    """One connection. Not for use by two threads at once."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.dialect: Dialect = DuckDBDialect()

    def view(self, name: str, files: Sequence[Path]) -> None:
        """Makes Parquet files readable as one relation, rows in the order of the files."""
        listed = ", ".join(self.dialect.text(str(file)) for file in files)
        self.connection.execute(
            f"CREATE OR REPLACE TEMP VIEW {self.dialect.name(name)} AS "
            f"SELECT * FROM read_parquet([{listed}], hive_partitioning = false)"
        )

    def execute(self, sql: str) -> None:
        self.connection.execute(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a query whose result is small."""
        return self.connection.execute(sql).fetchall()

    def stream(self, sql: str, batch_rows: int = 65_536) -> pa.RecordBatchReader:
        """A query's rows as Arrow batches in order, computed while they are read."""
        return self.connection.sql(sql).to_arrow_reader(batch_rows)
