"""Dagster's event log in SQLite, with its connections kept open between events.

Dagster's own storage makes an engine and a connection for every event and closes both afterwards: every statement is
compiled again, and SQLite writes its log of changes back into the database each time the last connection closes. The
files are the same, every event is still a transaction of its own, and either storage reads what the other wrote.

A run's file begins as a copy of an empty one: to declare its tables and find their revision takes a tenth of a second.
Events are not forced to the disk one by one, as three hundred of a run would be. After a power cut the last ones of a
run may be missing, and the file is sound; what a run published is in the lake's manifests.
"""

import os
import sqlite3
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dagster._core.instance.ref import InstanceRef  # the only way to give an instance a storage but by its settings
from dagster._core.storage.event_log import SqliteEventLogStorage  # an instance's settings name it by this module
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS, create_db_conn_string
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, QueuePool

_KEPT = 4  # databases: the index and those of the last runs
_NO_FILE = (0, 0)


@dataclass(frozen=True, slots=True)
class _Kept:
    """An engine and what its file was when it was opened."""

    engine: Engine
    process: int
    file: tuple[int, int]


class KeptSqliteEventLogStorage(SqliteEventLogStorage):
    """One connection a database, used by one thread at a time, which Dagster's own lock sees to."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._empty: bytes | None = None
        self._there: set[str] = set()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "KeptSqliteEventLogStorage":
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock, self._engine(shard).connect() as connection, connection.begin():
            yield connection

    def has_table(self, table_name: str) -> bool:
        """Whether the index has it; asked of the file until it does, because no table is ever removed."""
        if table_name not in self._there and super().has_table(table_name):
            self._there.add(table_name)
        return table_name in self._there

    def dispose(self) -> None:
        super().dispose()
        with self._db_lock:
            while self._kept:
                self._kept.popitem()[1].engine.dispose()

    def _engine(self, shard: str) -> Engine:
        kept = self._kept.get(shard)
        if kept is not None and (kept.process, kept.file) != (os.getpid(), self._file(shard)):
            # A child of a fork must not touch its parent's connection; a file that is gone is not written to any more.
            kept.engine.dispose(close=kept.process == os.getpid())
            del self._kept[shard]
            kept = None
        if kept is None:
            if self._file(shard) == _NO_FILE:
                self._begin(Path(self.path_for_shard(shard)))
            else:
                self._prepare(self.conn_string_for_shard(shard))
            arguments = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False}
            address = self.conn_string_for_shard(shard)
            engine = create_engine(address, poolclass=QueuePool, pool_size=1, max_overflow=0, connect_args=arguments)
            event.listen(engine, "connect", _without_forcing)
            kept = self._kept[shard] = _Kept(engine, os.getpid(), self._file(shard))
        self._kept.move_to_end(shard)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)[1].engine.dispose()
        return kept.engine

    def _prepare(self, address: str) -> None:
        arguments = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
        self._initdb(create_engine(address, poolclass=NullPool, connect_args=arguments))  # uses several at once

    def _begin(self, path: Path) -> None:
        """Puts an empty database there, whole or not at all.

        One that another process put there meanwhile stays, and is waited for: Dagster declares the tables one by one.
        """
        if self._empty is None:
            with tempfile.TemporaryDirectory(prefix="event-log-") as folder:
                self._prepare(create_db_conn_string(folder, "empty"))
                self._empty = Path(folder, "empty.db").read_bytes()
        copy = path.with_suffix(f".{os.getpid()}.new")
        copy.write_bytes(self._empty)
        try:
            os.link(copy, path)
        except FileExistsError:
            self._prepare(self.conn_string_for_shard(path.stem))
        finally:
            copy.unlink()

    def _file(self, shard: str) -> tuple[int, int]:
        """Which file it is; zeros where there is none."""
        try:
            facts = os.stat(self.path_for_shard(shard))  # noqa: PTH116 -- three microseconds, at every event
        except FileNotFoundError:
            return _NO_FILE
        return facts.st_dev, facts.st_ino


def _without_forcing(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")


def instance_ref(folder: Path) -> InstanceRef:
    """The instance kept in a folder, for a process that writes runs: with this event log, unless its settings name a
    storage of their own.
    """
    chosen = yaml.safe_load((folder / "dagster.yaml").read_text(encoding="utf-8")) or {}
    if any("storage" in name for name in chosen):
        return InstanceRef.from_dir(str(folder))
    storage = {
        "module": KeptSqliteEventLogStorage.__module__,
        "class": KeptSqliteEventLogStorage.__name__,
        "config": {"base_dir": str(folder / "history" / "runs")},
    }
    return InstanceRef.from_dir(str(folder), overrides={"event_log_storage": storage})
