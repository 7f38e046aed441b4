"""What batch work asks of the engine that computes it, whichever that is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from city_platform.engines.dialect import Dialect
from city_platform.errors import PermanentError, TransientError


class EngineDeadline(TransientError):
    """A query ran past its deadline and was interrupted; nothing of it was published."""


class EngineUnavailable(TransientError):
    """The engine cannot be reached, was lost, ran out of memory or disk, or could not read or write a file; nothing of
    it was published."""


class NotOnSpark(PermanentError):
    """Why something cannot be computed on Spark with certainly the same outcome. Whoever asked computes it here."""


class Session(Protocol):
    """One connection to an engine, whose views nobody else sees. Not for use by two threads at once.

    Rows, types and outcomes are the same whichever engine answers; what an engine cannot answer so, it refuses with
    NotOnSpark. Queries raise EngineDeadline and EngineUnavailable where it was not their own fault.
    """

    @property
    def dialect(self) -> Dialect:
        """The engine's SQL."""
        ...

    @property
    def reads_objects(self) -> bool:
        """Whether it reads files by the store's own addresses, so that none has to be brought to this machine."""
        ...

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What a query raises that is at fault itself, where that is no NotOnSpark; `interruptions` are not it."""
        ...

    @property
    def interruptions(self) -> tuple[type[Exception], ...]:
        """What a query raises that was interrupted, or ran out of memory or disk."""
        ...

    def parquet(self, files: Sequence[Path | str]) -> str:
        """SQL that may stand after FROM: Parquet files as one relation."""
        ...

    def view(self, name: str, files: Sequence[Path | str]) -> None:
        """Gives Parquet files a name in this session."""
        ...

    def select_view(self, name: str, select: str) -> None:
        """Gives a query a name in this session."""
        ...

    def types(self, query: str) -> Mapping[str, str]:
        """The columns of a query's result and their types, in the contract's words (VARCHAR, DECIMAL(12,2) …)."""
        ...

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a query whose result is small."""
        ...

    def numbers(self, sql: str) -> npt.NDArray[np.int64]:
        """The first column of a query's result, whole numbers without nulls."""
        ...

    def stream(self, sql: str) -> pa.RecordBatchReader:
        """A query's rows as Arrow batches in order, computed while they are read."""
        ...

    def belongs(self, values: Sequence[str], members: Sequence[str], source: str) -> str:
        """SQL that says of a row of any relation whether its `values` are among the `members` of some row of `source`.

        All are SQL expressions, `source` what stands after SELECT … and starts with FROM. Null equals null here.
        """
        ...

    def repeats(self, columns: Sequence[str], source: str) -> str:
        """SQL that says of a row whether its values of these columns are those of several rows of `source`."""
        ...
