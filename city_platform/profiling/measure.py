"""Computes a profile: each column is read once, and everything about it comes from its distinct values.

A column is grouped into its distinct values with their counts, which the engine spills to disk when they outgrow its
memory; all statistics are then exact and computed over the distinct values alone. Beside that the table is read once
for duplicate rows, whose equality is that of a 64-bit hash (in ten million rows the chance of a single false
duplicate is one in 370,000), and once for the correlations of its number columns.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from city_platform.contracts.model import Classification
from city_platform.engines.dialect import Dialect
from city_platform.engines.duckdb import DuckDBSession
from city_platform.profiling.entities import entities, unclassified_entities
from city_platform.profiling.model import (
    IQR,
    Z_SCORE,
    ColumnProfile,
    Correlations,
    Histogram,
    Lengths,
    Numbers,
    Outliers,
    Profile,
    Times,
)

TOP = 10
BINS = 10
MEDIAN = 50
PERCENTILES = (5, 25, MEDIAN, 75, 95)
Z_SCORE_THRESHOLD = 3.0
IQR_FACTOR = 1.5
MOST_CORRELATED = 16
MOSTLY = 0.95  # texts are of a type if this share of them is; the others are invalid

_NUMBER = "value < ':' AND NOT value LIKE '____-__-__%'"  # in ASCII the colon follows the nine
_TIME = "value LIKE '____-__-__%' OR value < '!'"
# In this order; the tests are cheap and true of every text of the type.
_PLAUSIBLE = {
    "BIGINT": _NUMBER,
    "DOUBLE": _NUMBER,
    "DATE": _TIME,
    "TIMESTAMP WITH TIME ZONE": _TIME,
    "BOOLEAN": "length(value) IN (4, 5)",  # true, false; not t, f, 0 or 1
}
_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
_FLOATS = {"FLOAT", "DOUBLE"}
_TIMES = {"DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}
_COUNTED, _TYPED = "profile_counted", "profile_typed"
_LEADING_ZERO = "[+-]?0[0-9].*"


@dataclass(frozen=True, slots=True)
class ColumnToProfile:
    """One column of the relation. Without a `sql_type` it is text whose type is to be found out.

    `invalid` are values that were none of the column's type and are null by now.
    """

    name: str
    sql_type: str | None = None
    classification: Classification | None = None
    invalid: int = 0


def measure(
    session: DuckDBSession,
    relation: str,
    columns: Sequence[ColumnToProfile],
    name: str,
    timezone: str = "UTC",
    progress: Callable[[int], None] | None = None,
) -> Profile:
    """The profile of a relation, given as SQL that may stand after FROM; `progress` is told the columns done.

    Texts without an offset that are times are read as local time in `timezone`.
    """
    rows, duplicates = _rows(session, relation, columns)
    profiles = []
    for done, column in enumerate(columns, start=1):
        profiles.append(_column(session, relation, rows, column, timezone))
        if progress is not None:
            progress(done)
    session.execute(f"DROP TABLE IF EXISTS {_COUNTED}")
    session.execute(f"DROP TABLE IF EXISTS {_TYPED}")
    return Profile(
        name=name,
        rows=rows,
        duplicate_rows=duplicates,
        columns=tuple(profiles),
        correlations=_correlations(session, relation, profiles),
        findings=tuple(unclassified_entities(profiles)),
    )


def _rows(session: DuckDBSession, relation: str, columns: Sequence[ColumnToProfile]) -> tuple[int, int]:
    """How many rows there are, and how many of them are duplicates of an earlier one."""
    names = ", ".join(session.dialect.name(column.name) for column in columns)
    # Grouping spills to disk, counting distinct values does not.
    hashes = f"SELECT count(*) AS n FROM {relation} GROUP BY hash({names})"
    ((rows, distinct),) = session.rows(f"SELECT coalesce(sum(n), 0)::BIGINT, count(*) FROM ({hashes})")
    return rows, rows - distinct


def _column(session: DuckDBSession, relation: str, rows: int, column: ColumnToProfile, timezone: str) -> ColumnProfile:
    name = session.dialect.name(column.name)
    empty = f" AND {name} <> ''" if column.sql_type in {None, "VARCHAR"} else ""
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE {_COUNTED} AS SELECT {name} AS value, count(*) AS n FROM {relation} "
        f"WHERE {name} IS NOT NULL{empty} GROUP BY {name}"
    )
    counts = _counts(session, _COUNTED)
    present = counts.valid
    sql_type = column.sql_type or _inferred(session, present, timezone)
    found = entities(session, column.name, _COUNTED) if _may_name_somebody(sql_type) else ()
    counted = _typed(session, column, sql_type, timezone)
    if counted != _COUNTED:
        counts = _counts(session, counted)
    valid = counts.valid
    withheld = column.classification is Classification.PERSONAL or bool(found)
    told = valid > 0 and not withheld
    return ColumnProfile(
        name=column.name,
        type=sql_type,
        inferred=column.sql_type is None,
        classification=column.classification,
        withheld=withheld,
        missing=rows - present - column.invalid,
        invalid=present - valid + column.invalid,
        valid=valid,
        distinct=counts.distinct,
        unique=counts.unique,
        entropy=counts.entropy,
        entities=found,
        top=_top(session, counted) if told else (),
        lengths=_lengths(session, counted, valid) if valid and sql_type == "VARCHAR" else None,
        numbers=_numbers(session, counted, valid) if told and _is_number(sql_type) else None,
        times=_times(session, counted, sql_type) if told and sql_type in _TIMES else None,
    )


@dataclass(frozen=True, slots=True)
class _Counts:
    valid: int
    distinct: int
    unique: int
    entropy: float


def _counts(session: DuckDBSession, counted: str) -> _Counts:
    ((valid, distinct, unique, logarithms),) = session.rows(
        f"SELECT coalesce(sum(n), 0)::BIGINT, count(*), count(*) FILTER (WHERE n = 1), sum(n * log2(n)) FROM {counted}"
    )
    # The sum of p * log2(1 / p) with p = n / valid.
    entropy = max(0.0, math.log2(valid) - logarithms / valid) if valid else 0.0
    return _Counts(valid, distinct, unique, entropy)


def _is_number(sql_type: str) -> bool:
    return sql_type in _INTEGERS | _FLOATS or sql_type.startswith("DECIMAL")


def _may_name_somebody(sql_type: str) -> bool:
    """A fee or a date is no phone number, whatever its digits."""
    return sql_type in _INTEGERS | {"VARCHAR"}


def _inferred(session: DuckDBSession, present: int, timezone: str) -> str:
    """The first type that nearly all texts are of. What is written with a leading zero is a code and no number."""

    def fitting(tests: Mapping[str, str]) -> list[str]:
        sums = ", ".join(f"coalesce(sum(n) FILTER (WHERE {test}), 0)" for test in tests.values())
        (counts,) = session.rows(f"SELECT {sums} FROM {_COUNTED}")
        return [one for one, count in zip(tests, counts, strict=True) if present and count >= MOSTLY * present]

    # Reading every text as every type costs more than all the rest, so what cannot be is ruled out first.
    plausible = fitting(_PLAUSIBLE)
    if not plausible:
        return "VARCHAR"
    read = fitting({one: f"{_cast(session.dialect, 'value', one, timezone)} IS NOT NULL" for one in plausible})
    return read[0] if read else "VARCHAR"


def _cast(dialect: Dialect, text: str, sql_type: str, timezone: str) -> str:
    """SQL for a text expression as a value of the type; null where it is none."""
    match sql_type:
        case "DATE":
            return dialect.parse_date(text, ())
        case "TIMESTAMP WITH TIME ZONE":
            return dialect.parse_timestamp(text, timezone)
        case "BOOLEAN":
            return f"CASE WHEN length({text}) >= {len('true')} THEN {dialect.try_cast(text, sql_type)} END"
        case _:
            number = dialect.try_cast(text, sql_type)
            return f"CASE WHEN NOT {dialect.matches_fully(text, _LEADING_ZERO)} THEN {number} END"


def _typed(session: DuckDBSession, column: ColumnToProfile, sql_type: str, timezone: str) -> str:
    """The relation of the column's valid values and their counts. Infinite and undefined ones are not valid."""
    if column.sql_type is None and sql_type != "VARCHAR":
        cast = _cast(session.dialect, "value", sql_type, timezone)
        select = f"SELECT {cast} AS value, sum(n)::BIGINT AS n FROM {_COUNTED} GROUP BY 1 HAVING value IS NOT NULL"
    elif sql_type in _FLOATS | _TIMES:
        select = f"SELECT value, n FROM {_COUNTED} WHERE isfinite(value)"
    else:
        return _COUNTED
    session.execute(f"CREATE OR REPLACE TEMP TABLE {_TYPED} AS {select}")
    return _TYPED


def _top(session: DuckDBSession, counted: str) -> tuple[tuple[str, int], ...]:
    found = session.rows(f"SELECT CAST(value AS VARCHAR), n FROM {counted} ORDER BY n DESC, value LIMIT {TOP}")
    return tuple((text, count) for text, count in found)


def _lengths(session: DuckDBSession, counted: str, valid: int) -> Lengths:
    sizes = "SELECT length(value) AS size, n FROM " + counted
    ((least, most, total),) = session.rows(f"SELECT min(size), max(size), sum(size * n) FROM ({sizes})")
    return Lengths(least, most, float(total) / valid)


def _numbers(session: DuckDBSession, counted: str, valid: int) -> Numbers:
    numbers = f"(SELECT CAST(value AS DOUBLE) AS value, n FROM {counted})"
    ((least, most, zeros, negatives, mode),) = session.rows(
        "SELECT min(value), max(value), coalesce(sum(n) FILTER (WHERE value = 0), 0)::BIGINT, "
        "coalesce(sum(n) FILTER (WHERE value < 0), 0)::BIGINT, arg_min(value, (-n, value)) "
        f"FROM {numbers}"
    )
    scale = _scale(least, most)
    scaled = f"(SELECT value / {scale!r}::DOUBLE AS value, n::DOUBLE AS n FROM {numbers})"
    ((total,),) = session.rows(f"SELECT fsum(value * n) FROM {scaled}")
    mean = total / valid
    ((second, third, fourth),) = session.rows(
        "SELECT sum(n * d * d), sum(n * d * d * d), sum(n * d * d * d * d) "
        f"FROM (SELECT value - {mean!r}::DOUBLE AS d, n FROM {scaled})"
    )
    varies = least < most and second > 0
    deviation = math.sqrt(second / (valid - 1)) * scale if valid > 1 else None
    spread = second / valid
    quantiles = _quantiles(session, numbers, valid)
    iqr = quantiles[75] - quantiles[25]
    limits = {IQR: (quantiles[25] - IQR_FACTOR * iqr, quantiles[75] + IQR_FACTOR * iqr)}
    if deviation is not None:
        far = Z_SCORE_THRESHOLD * deviation
        limits[Z_SCORE] = (mean * scale - far, mean * scale + far) if varies else (least, most)
    return Numbers(
        minimum=least,
        maximum=most,
        sum=_finite(total * scale),
        mean=mean * scale,
        standard_deviation=_settled(deviation),
        skewness=_settled(third / valid / spread**1.5) if varies and spread**1.5 else None,
        kurtosis=_settled(fourth / valid / spread**2 - 3.0) if varies and spread**2 else None,
        median=quantiles[MEDIAN],
        percentiles={one: quantiles[one] for one in PERCENTILES if one != MEDIAN},
        interquartile_range=_finite(iqr),
        mode=mode,
        zeros=zeros,
        negatives=negatives,
        histogram=Histogram(*_histogram(session, numbers, least, most)),
        outliers=_outliers(session, numbers, limits),
    )


def _scale(least: float, most: float) -> float:
    """A power of two, by which dividing is exact, that brings all values into -2..2: no sum of powers overflows."""
    return math.ldexp(1.0, math.frexp(max(abs(least), abs(most)))[1] - 1)


def _quantiles(session: DuckDBSession, numbers: str, valid: int) -> dict[int, float]:
    """Percentile to value, interpolated between the two values around its place."""
    places = {percent: percent / 100 * (valid - 1) for percent in PERCENTILES}
    wanted = sorted({place for at in places.values() for place in (math.floor(at), math.ceil(at))})
    at_place = ", ".join(f"min(value) FILTER (WHERE seen > {place})" for place in wanted)
    (found,) = session.rows(
        f"SELECT {at_place} FROM (SELECT value, sum(n) OVER (ORDER BY value) AS seen FROM {numbers})"
    )
    value = dict(zip(wanted, found, strict=True))
    result = {}
    for percent, at in places.items():
        low, high, part = value[math.floor(at)], value[math.ceil(at)], at - math.floor(at)
        result[percent] = low if low == high else low * (1.0 - part) + high * part
    return result


def _histogram(
    session: DuckDBSession, numbers: str, least: float, most: float
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Edges and counts."""
    if least == most:
        ((count,),) = session.rows(f"SELECT sum(n)::BIGINT FROM {numbers}")
        return (least, most), (count,)
    # Halves: the difference of two doubles may be too large for a double.
    width = most / 2 - least / 2
    place = f"least({BINS - 1}, floor((value / 2 - {least / 2!r}::DOUBLE) / {width!r}::DOUBLE * {BINS}))::INTEGER"
    counts = dict(session.rows(f"SELECT {place} AS bin, sum(n)::BIGINT FROM {numbers} GROUP BY bin"))
    edges = [2 * (least / 2 + width * index / BINS) for index in range(BINS)]
    return (*edges, most), tuple(counts.get(index, 0) for index in range(BINS))


def _outliers(session: DuckDBSession, numbers: str, limits: Mapping[str, tuple[float, float]]) -> dict[str, Outliers]:
    """How many values lie beyond the limits of each rule; a rule whose limits are no doubles is left out."""
    finite = {rule: ends for rule, ends in limits.items() if all(map(math.isfinite, ends))}
    counts = ", ".join(
        f"coalesce(sum(n) FILTER (WHERE value < {low!r}::DOUBLE OR value > {high!r}::DOUBLE), 0)::BIGINT"
        for low, high in finite.values()
    )
    (found,) = session.rows(f"SELECT {counts} FROM {numbers}") if finite else [()]
    return {rule: Outliers(*ends, count) for (rule, ends), count in zip(finite.items(), found, strict=True)}


def _times(session: DuckDBSession, counted: str, sql_type: str) -> Times:
    day = sql_type == "DATE"
    # Days are counted, because the engine's last days lie beyond its last times.
    seconds = "(value - DATE '1970-01-01') * 86400" if day else "epoch(value)"
    numbers = f"(SELECT CAST({seconds} AS DOUBLE) AS value, n FROM {counted})"
    ((least, most),) = session.rows(f"SELECT min(value), max(value) FROM {numbers}")
    edges, counts = _histogram(session, numbers, least, most)
    shown = ", ".join(_moment(math.floor(edge), day=day) for edge in edges)
    ((earliest, latest, *texts),) = session.rows(
        f"SELECT CAST(min(value) AS VARCHAR), CAST(max(value) AS VARCHAR), {shown} FROM {counted}"
    )
    return Times(earliest, latest, Histogram(tuple(texts), counts))


def _moment(seconds: int, *, day: bool) -> str:
    """SQL for the text of a date or time given in seconds since 1970."""
    if day:
        return f"CAST(DATE '1970-01-01' + ({seconds // 86400}) AS VARCHAR)"
    return f"CAST(make_timestamp({seconds * 1_000_000}) AS VARCHAR)"


def _correlations(session: DuckDBSession, relation: str, profiles: Sequence[ColumnProfile]) -> Correlations:
    numbers = [(one, one.numbers) for one in profiles if one.numbers is not None]
    chosen, left_out = numbers[:MOST_CORRELATED], numbers[MOST_CORRELATED:]
    pairs = [(i, j) for i in range(len(chosen)) for j in range(i)]
    r: dict[tuple[int, int], float | None] = {
        (i, i): 1.0 if one.minimum < one.maximum else None for i, (_, one) in enumerate(chosen)
    }
    if pairs:
        scaled = ", ".join(f"{_scaled(session.dialect, *one)} AS c{place}" for place, one in enumerate(chosen))
        asked = ", ".join(f"corr(c{i}, c{j})" for i, j in pairs)
        (answers,) = session.rows(f"SELECT {asked} FROM (SELECT {scaled} FROM {relation})")
        for (i, j), answer in zip(pairs, answers, strict=True):
            r[i, j] = r[j, i] = _settled(answer)
    return Correlations(
        columns=tuple(column.name for column, _ in chosen),
        matrix=tuple(tuple(r[i, j] for j in range(len(chosen))) for i in range(len(chosen))),
        left_out=tuple(column.name for column, _ in left_out),
    )


def _scaled(dialect: Dialect, column: ColumnProfile, numbers: Numbers) -> str:
    """SQL for the value in units that keep squares within the range of a double; null where it is not finite."""
    value = dialect.name(column.name)
    if column.inferred:
        value = _cast(dialect, value, column.type, timezone="")
    number = f"CAST({value} AS DOUBLE) / {_scale(numbers.minimum, numbers.maximum)!r}::DOUBLE"
    return f"CASE WHEN isfinite({number}) THEN {number} END"


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _settled(value: Any) -> float | None:
    """Twelve digits of a figure made of plain sums, whose last ones differ with the order in which threads add."""
    finite = _finite(value)
    return None if finite is None else float(f"{finite:.12g}")
