"""Batch work beyond one machine: Spark computes, this process asks over Spark Connect and reads the rows as Arrow.

https://spark.apache.org/docs/latest/spark-connect-overview.html. Nothing is written by Spark: rows come back in order
and batch by batch, and the same code as ever writes the lake's files. So no rights to write are needed, and moving the
work changes no byte of what is published.
"""

import itertools
import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from city_platform.engines.dialect import Dialect
from city_platform.engines.patterns import engine
from city_platform.engines.session import EngineDeadline, EngineUnavailable, NotOnSpark
from city_platform.engines.spark import OTHER_RELEASE, SparkDialect
from city_platform.errors import PermanentError

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame
    from pyspark.sql.connect.session import SparkSession as ConnectSession

_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",  # what overflows or cannot be cast ends the query, and is computed here
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.legacy.timeParserPolicy": "CORRECTED",
    "spark.sql.caseSensitive": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
}
_TRIES = 5
_HALF_A_DAY, _HALF_DAYS = 43_200, 400 * 365 * 2
_EARLIEST = int(datetime(1800, 1, 1, tzinfo=UTC).timestamp())
_SPANS: dict[tuple[str, str], tuple[str, str]] = {}
_FILES = itertools.count()
_SQL_TYPES = {
    pa.string(): "VARCHAR",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.date32(): "DATE",
    pa.timestamp("us"): "TIMESTAMP",
    pa.timestamp("us", "UTC"): "TIMESTAMP WITH TIME ZONE",
}


class SparkNotInstalled(PermanentError):
    """A Spark server is named, and its client is not installed."""


@dataclass(frozen=True, slots=True)
class SparkEngine:
    """Where Spark is, and from how many rows of a partition it is asked.

    `address` gives `sc://host:port/;parameters` whenever a session begins; with a token in it, which is why it is never
    shown: `place` is what people are told. `deadline` is in seconds and bounds one session.
    """

    address: Callable[[], str]
    place: str
    least_rows: int
    deadline: float = 3600.0

    @contextmanager
    def session(self) -> Iterator["SparkSession"]:
        """A session whose views nobody else sees. Raises SparkNotInstalled, EngineUnavailable, EngineDeadline."""
        connected = self._connected()
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            with suppress(Exception):
                connected.interruptAll()

        timer = threading.Timer(self.deadline, expire)
        timer.daemon = True
        timer.start()
        lost = False
        try:
            with self._failures(expired):
                yield SparkSession(connected, self._failures(expired))
        except EngineUnavailable:
            lost = True  # nobody answers: the server ends sessions that nobody asks any more
            raise
        finally:
            timer.cancel()
            if not lost:
                with suppress(Exception):
                    connected.stop()

    def _connected(self) -> "ConnectSession":
        session_class = _client()
        with self._failures(threading.Event()):
            connected = session_class.builder.remote(self.address()).create()
            from pyspark.sql.connect.client.retries import DefaultPolicy

            # About twenty seconds in all; by itself it would try for ten minutes, at every call.
            policy = DefaultPolicy(max_retries=_TRIES, initial_backoff=200, backoff_multiplier=3, max_backoff=10_000)
            connected.client.set_retry_policies([policy])
            for name, value in _SETTINGS.items():
                connected.conf.set(name, value)
        return connected

    def _failures(self, expired: threading.Event) -> "_Failures":
        return _Failures(self.place, self.deadline, expired)


class _Failures:
    """What goes wrong on the way to Spark, in the platform's own words and without a value of any row."""

    def __init__(self, place: str, deadline: float, expired: threading.Event) -> None:
        self.place, self.deadline, self.expired = place, deadline, expired

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        import grpc
        from pyspark.errors import PySparkException

        if not isinstance(error, PySparkException | grpc.RpcError):
            return
        if self.expired.is_set():
            raise EngineDeadline(f"Spark computed longer than {self.deadline:.0f} s and was interrupted") from None
        if _lost(error):
            # Its own words may hold the address with its token.
            raise EngineUnavailable(
                f"Spark at {self.place} cannot be reached, refuses this client or lost the session "
                f"({_condition(error)}); nothing was published: run it again, or without Spark"
            ) from None
        own = OTHER_RELEASE.search(str(error))  # what the dialect itself has said; the rest may quote a row
        raise NotOnSpark(own[0] if own else f"Spark cannot compute it: {_condition(error)}") from None


# https://spark.apache.org/docs/latest/sql-error-conditions.html
_OF_THE_QUERY = ("AnalysisException", "ParseException", "ArithmeticException", "NumberFormatException")
_LOST_CONDITIONS = ("INVALID_HANDLE", "RETRIES_EXCEEDED", "RESPONSE_ALREADY_RECEIVED", "NO_ACTIVE_SESSION")
_LOST_CODES = {
    "UNAVAILABLE",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "DEADLINE_EXCEEDED",
    "CANCELLED",
    "ABORTED",
    "RESOURCE_EXHAUSTED",
    "NOT_FOUND",
}


def _lost(error: BaseException) -> bool:
    """Whether not the query was at fault, but the way to Spark or its machines."""
    if type(error).__name__ in _OF_THE_QUERY:
        return False
    condition = _condition(error)
    if condition.startswith(_LOST_CONDITIONS) or condition in _LOST_CODES:
        return True
    text = str(error)
    return any(
        one in text
        for one in ("ExecutorLostFailure", "SparkContext was shut down", "FetchFailed", "StatusCode.UNAVAILABLE")
    )


def _condition(error: BaseException) -> str:
    """The name of what happened, which tells no value of a row."""
    named = getattr(error, "getCondition", None) or getattr(error, "getErrorClass", None)
    with suppress(Exception):
        condition = named() if named is not None else None
        if condition:
            return str(condition)
    code = getattr(error, "code", None)
    with suppress(Exception):
        status = code() if code is not None else None
        if status is not None:
            return str(getattr(status, "name", status))
    status = getattr(error, "_grpc_status_code", None)
    return str(getattr(status, "name", None) or type(error).__name__)


class SparkSession:
    """One session of Spark Connect. Not for use by two threads at once."""

    reads_objects = True

    def __init__(self, connected: "ConnectSession", failures: _Failures) -> None:
        self._connected = connected
        self._failures = failures
        self.dialect: Dialect = SparkDialect(self.zone_span)
        # What is the query's own fault is NotOnSpark, and everything else ends the session.
        self.failures: tuple[type[Exception], ...] = ()
        self.interruptions: tuple[type[Exception], ...] = ()

    def zone_span(self, timezone: str) -> tuple[str, str] | None:
        """The moments between which the server has DuckDB's rules of a time zone, as texts; None for UTC.

        Looked up twice a day from 1800 to 2200, once a server and zone.
        """
        if timezone == "UTC":
            return None
        known = (self._failures.place, timezone)
        if known not in _SPANS:
            zone = self.dialect.text(timezone)
            local = f"from_utc_timestamp(timestamp_seconds(moment), {zone})"
            moments = f"SELECT {_EARLIEST} + id * {_HALF_A_DAY} AS moment FROM range({_HALF_DAYS})"
            there = self.numbers(f"SELECT unix_seconds({local}) - moment FROM ({moments}) ORDER BY moment")
            _SPANS[known] = _same_rules(there, timezone)
        return _SPANS[known]

    @property
    def version(self) -> str:
        with self._failures:
            return str(self._connected.version)

    def parquet(self, files: Sequence[Path | str]) -> str:
        """SQL that may stand after FROM: Parquet files as one relation, their rows in no order."""
        name = f"_files_{next(_FILES)}"
        self.view(name, files)
        return self.dialect.name(name)

    def view(self, name: str, files: Sequence[Path | str]) -> None:
        """Gives Parquet files, of this machine's or the store's addresses, a name in this session."""
        places = [_place(one) for one in files]
        with self._failures:
            self._connected.read.parquet(*places).createOrReplaceTempView(name)

    def select_view(self, name: str, select: str) -> None:
        """Gives a query a name in this session."""
        with self._failures:
            self._connected.sql(select).createOrReplaceTempView(name)

    def types(self, query: str) -> Mapping[str, str]:
        """The columns of a query's result and their types, in the contract's words."""
        schema = self._schema(self._frame(query))
        return {field.name: _sql_type(field.type) for field in schema}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a query whose result is small."""
        frame = self._frame(sql)
        with self._failures:
            table = frame.toArrow()
        # By place: two columns may have the same name.
        columns = [column.cast(_type(column.type)).to_pylist() for column in table.columns]
        return list(zip(*columns, strict=True)) if columns else []

    def numbers(self, sql: str) -> npt.NDArray[np.int64]:
        """The first column of a query's result, whole numbers without nulls: eight bytes each, however many."""
        found = [np.asarray(batch.column(0), np.int64) for batch in self.stream(sql)]
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def stream(self, sql: str) -> pa.RecordBatchReader:
        """A query's rows as Arrow batches, in the order the query asks for; Spark waits for none but the next ones."""
        frame = self._frame(sql)
        schema = self._schema(frame)
        return pa.RecordBatchReader.from_batches(schema, self._batches(frame, schema))

    def _frame(self, sql: str) -> "DataFrame":
        with self._failures:
            return self._connected.sql(sql)

    def _schema(self, frame: "DataFrame") -> pa.Schema:
        from pyspark.sql.pandas.types import to_arrow_schema

        with self._failures:
            found = to_arrow_schema(frame.schema, timezone="UTC")
        return pa.schema([(field.name, _type(field.type)) for field in found])

    def _batches(self, frame: "DataFrame", schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        client = self._connected.client
        with self._failures:
            plan = frame._plan  # noqa: SLF001 -- the public ways give rows one by one, or all of them at once
            for piece in client.to_table_as_iterator(plan.to_proto(client), plan.observations):
                if isinstance(piece, pa.Table):
                    table = pa.Table.from_arrays([one.cast(_type(one.type)) for one in piece.columns], schema=schema)
                    yield from table.to_batches()

    def belongs(self, values: Sequence[str], members: Sequence[str], source: str) -> str:
        """SQL that says whether a row's values are among the members; null equals null.

        Spark makes a join of it. Unlike hashes it cannot err.
        """
        listed = ", ".join(f"{one} AS _m{place}" for place, one in enumerate(members))
        equal = " AND ".join(f"_members._m{place} <=> {one}" for place, one in enumerate(values))
        return f"EXISTS (SELECT 1 FROM (SELECT DISTINCT {listed} {source}) AS _members WHERE {equal})"

    def repeats(self, columns: Sequence[str], source: str) -> str:
        """SQL that says whether a row's values are those of several rows of `source`."""
        listed = ", ".join(columns)
        members = f"FROM (SELECT {listed} {source} GROUP BY {listed} HAVING count(*) > 1)"
        return self.belongs(columns, columns, members)


def _same_rules(there: npt.NDArray[np.int64], timezone: str) -> tuple[str, str]:
    """The longest span around the year 2000 in which the offsets, of every half day, are DuckDB's."""
    moments = np.arange(_HALF_DAYS, dtype=np.int64) * _HALF_A_DAY + _EARLIEST
    local = "epoch(timezone($zone, to_timestamp(moment)))"
    found = (
        engine()
        .cursor()
        .execute(
            f"SELECT CAST({local} AS BIGINT) - moment AS ahead "
            "FROM (SELECT unnest(range($first, $last, $step)) AS moment) ORDER BY moment",
            {
                "zone": timezone,
                "first": _EARLIEST,
                "last": _EARLIEST + _HALF_DAYS * _HALF_A_DAY,
                "step": _HALF_A_DAY,
            },
        )
    )
    differing = moments[np.asarray(found.fetchnumpy()["ahead"], np.int64) != there]
    middle = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp())
    low = max([int(one) for one in differing if one < middle], default=_EARLIEST) + _HALF_A_DAY
    high = min([int(one) for one in differing if one >= middle], default=int(moments[-1])) - _HALF_A_DAY
    first, last = (datetime.fromtimestamp(one, UTC).strftime("%Y-%m-%d %H:%M:%S+00:00") for one in (low, high))
    return first, last


def renamed(reader: pa.RecordBatchReader, schema: pa.Schema) -> pa.RecordBatchReader:
    """The same rows under other names and types, by place. Raises NotOnSpark where a value does not fit its type."""

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            try:
                columns = [one.cast(field.type) for one, field in zip(batch.columns, schema, strict=True)]
            except pa.ArrowInvalid:
                raise NotOnSpark("a result does not fit the type that it has here") from None
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _place(file: Path | str) -> str:
    """A file as Hadoop names it: nothing percent-encoded, and what would be a pattern taken by the letter."""
    text = str(file)
    plain = f"file://{unquote(text.removeprefix('file://'))}" if text.startswith("file://") else text
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", plain)


def _type(kind: pa.DataType) -> pa.DataType:
    """A type of Arrow's as DuckDB gives it, so that files come out the same."""
    if pa.types.is_list(kind):
        return pa.list_(pa.field("l", _type(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(one.name, _type(one.type)) for one in kind])
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return pa.timestamp("us", "UTC")
    return pa.string() if pa.types.is_large_string(kind) else kind


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if pa.types.is_list(kind):
        return f"{_sql_type(kind.value_type)}[]"
    return _SQL_TYPES.get(kind, str(kind))


def _client() -> "type[ConnectSession]":
    """Spark's client, imported where it is needed: it takes seconds."""
    # It tells on standard error what a query was and which value it failed at.
    logging.getLogger("SQLQueryContextLogger").disabled = True
    logging.getLogger("pyspark").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", r"\[RETRIES_EXCEEDED\]")  # the error that follows says it
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pyspark.sql.connect.session import SparkSession as ConnectSession
    except ImportError as error:
        raise SparkNotInstalled(
            "a Spark server is named, and its client is not installed: uv sync --extra spark"
        ) from error
    found: type[ConnectSession] = ConnectSession
    return found
