"""What a profile says of a table, as plain values that become JSON.

The words are AWS Glue DataBrew's. A cell is *missing* if it is null or an empty text, *invalid* if it holds something
that is no value of its column's type, else *valid*. A row is *valid* unless an equal row came before it, which makes
it a *duplicate row*. A value is *unique* if it occurs once, *distinct* values are counted once each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from city_platform.contracts.model import Classification

Z_SCORE, IQR = "z_score", "iqr"


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bins of equal width from the least to the greatest value; `edges` is one longer than `counts`.

    A bin holds its lower edge, the last one also its upper. Edges are numbers, or ISO 8601 for dates and times.
    """

    edges: tuple[float, ...] | tuple[str, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Outliers:
    """How many values lie below `low` or above `high`."""

    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Numbers:
    """Statistics of a column of numbers, computed in double precision.

    The standard deviation is the sample's (n - 1), null for one value; skewness and kurtosis are the population's, the
    latter in excess of the normal distribution's, null where all values are equal: Spark's definitions, on which
    DataBrew runs. Percentiles are interpolated between neighbours. Of several modes it is the least. Outliers by
    `z_score` are more than three standard deviations from the mean, by `iqr` more than one and a half interquartile
    ranges below the first or above the third quartile. None stands for what is too large for a double.
    """

    minimum: float
    maximum: float
    sum: float | None
    mean: float | None
    standard_deviation: float | None
    skewness: float | None
    kurtosis: float | None
    median: float
    percentiles: Mapping[int, float]
    interquartile_range: float | None
    mode: float
    zeros: int
    negatives: int
    histogram: Histogram
    outliers: Mapping[str, Outliers]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of texts in characters."""

    minimum: int
    maximum: int
    mean: float


@dataclass(frozen=True, slots=True)
class Times:
    """Dates, or times in UTC, in ISO 8601."""

    earliest: str
    latest: str
    histogram: Histogram


@dataclass(frozen=True, slots=True)
class Entity:
    """A kind of personal data that a column seems to hold. `share` is that of the looked-at values, from 0 to 1."""

    kind: str
    share: float


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One column. `withheld`: it holds or seems to hold personal data, so nothing here tells a value.

    `unique` values occur once. `entropy` is in bits. `top` are the most frequent values as text with their counts.
    """

    name: str
    type: str
    inferred: bool
    classification: Classification | None
    withheld: bool
    missing: int
    invalid: int
    valid: int
    distinct: int
    unique: int
    entropy: float
    entities: tuple[Entity, ...]
    top: tuple[tuple[str, int], ...] = ()
    lengths: Lengths | None = None
    numbers: Numbers | None = None
    times: Times | None = None


@dataclass(frozen=True, slots=True)
class Correlations:
    """Pearson's r of each pair of number columns, over the rows that have both; None where one does not vary."""

    columns: tuple[str, ...]
    matrix: tuple[tuple[float | None, ...], ...]
    left_out: tuple[str, ...]  # number columns beyond those that are compared


@dataclass(frozen=True, slots=True)
class Profile:
    """A table's profile."""

    name: str
    rows: int
    duplicate_rows: int
    columns: tuple[ColumnProfile, ...]
    correlations: Correlations
    findings: tuple[str, ...]  # what a steward should look at

    @property
    def cells(self) -> int:
        return self.rows * len(self.columns)

    @property
    def missing_cells(self) -> int:
        return sum(column.missing for column in self.columns)

    @property
    def invalid_cells(self) -> int:
        return sum(column.invalid for column in self.columns)

    @property
    def valid_cells(self) -> int:
        return sum(column.valid for column in self.columns)

    @property
    def valid_cells_percent(self) -> float:
        """Of a table without cells nothing is wrong."""
        return _percent(self.valid_cells, self.cells)

    @property
    def valid_rows_percent(self) -> float:
        return _percent(self.rows - self.duplicate_rows, self.rows)

    def to_json(self) -> Mapping[str, Any]:
        """Only JSON values."""
        figures = (
            "cells",
            "missing_cells",
            "invalid_cells",
            "valid_cells",
            "valid_cells_percent",
            "valid_rows_percent",
        )
        body = asdict(self)
        columns: Sequence[Any] = body.pop("columns")
        return {
            "name": body.pop("name"),
            "rows": body.pop("rows"),
            "column_count": len(columns),
            **{figure: getattr(self, figure) for figure in figures},
            **body,
            "columns": columns,
        }


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 100.0
