"""Steps for missing and invalid values: fill, replace, flag, and remove their rows.

`FILL_WITH_…` gives missing values another, `REPLACE_WITH_…` those that are not of `columnDataType`. Averages, sums and
the like are those of the valid values of the rows; numbers count to eight decimals and 20 digits before them.
"""

from collections.abc import Callable

from city_platform.cleaning.operation import (
    READ,
    SOURCE,
    SOURCES,
    TARGET,
    Computation,
    Effect,
    Kind,
    Operation,
    Parameter,
    Parameters,
    Table,
)
from city_platform.cleaning.values import DATABREW_TYPES, missing, valid

_NUMBER = "DECIMAL(28,8)"
_MODE = Parameter(
    "modeType",
    "which of several most frequent values: NONE leaves the value as it is",
    allowed=("MINIMUM", "NONE", "AVERAGE", "MAXIMUM"),
)
_FILL_TYPE = Parameter(
    "columnDataType", "the column's type", allowed=("date", "number", "boolean", "unsupported", "string", "timestamp")
)
_TYPE = Parameter(
    "columnDataType", "what is valid", allowed=tuple(dict.fromkeys(["number", *DATABREW_TYPES.values(), "unsupported"]))
)
_NUMERIC = Parameter("columnDataType", "what is valid: number", allowed=("number",))

Value = Callable[[Table, Parameters, str], str]  # the column's SQL -> what takes a value's place


def _numbers(table: Table, column: str) -> str:
    return table.value(f"CASE WHEN {table.kept} THEN {table.dialect.try_cast(column, _NUMBER)} END")


def _sum(table: Table, _parameters: Parameters, column: str) -> str:
    return table.dialect.double_text(f"CAST(sum({_numbers(table, column)}) OVER () AS DOUBLE)")


def _average(table: Table, _parameters: Parameters, column: str) -> str:
    # Sums of decimals are exact, so that the average does not depend on the order in which they are added.
    numbers = _numbers(table, column)
    return table.dialect.double_text(f"CAST(sum({numbers}) OVER () AS DOUBLE) / NULLIF(count({numbers}) OVER (), 0)")


def _median(table: Table, _parameters: Parameters, column: str) -> str:
    return table.dialect.double_text(f"CAST(median({_numbers(table, column)}) OVER () AS DOUBLE)")


def _most_frequent(table: Table, values: str) -> str:
    """The values that occur as often as any; null elsewhere. Nulls do not count."""
    times = table.value(f"CASE WHEN {values} IS NOT NULL THEN count(*) OVER (PARTITION BY {values}) END")
    most = table.value(f"max({times}) OVER ()")
    return table.value(f"CASE WHEN {times} = {most} THEN {values} END")


def _most_frequent_text(table: Table, _parameters: Parameters, column: str) -> str:
    values = table.value(f"CASE WHEN {table.kept} AND NOT {missing(column)} THEN {column} END")
    return f"min({_most_frequent(table, values)}) OVER ()"


def _mode(table: Table, parameters: Parameters, column: str) -> str:
    most = _most_frequent(table, _numbers(table, column))
    low, high = f"min({most}) OVER ()", f"max({most}) OVER ()"
    match parameters["modeType"]:
        case "MINIMUM":
            chosen = low
        case "MAXIMUM":
            chosen = high
        case "AVERAGE":
            # Of the different values, each counted once: 2 and 3 give 2.5 however often they occur.
            first = table.value(f"row_number() OVER (PARTITION BY {most} ORDER BY {table.row})")
            once = table.value(f"CASE WHEN {first} = 1 THEN {most} END")
            chosen = f"CAST(sum({once}) OVER () AS DOUBLE) / count({once}) OVER ()"
        case _:
            chosen = f"CASE WHEN {low} = {high} THEN {low} END"
    return table.dialect.double_text(f"CAST({chosen} AS DOUBLE)")


def _last_valid(table: Table, parameters: Parameters, column: str) -> str:
    is_valid = valid(table.dialect, column, parameters["columnDataType"])
    values = table.value(f"CASE WHEN {table.kept} AND NOT {missing(column)} AND {is_valid} THEN {column} END")
    return table.dialect.last_value(values, table.row)


def _custom(table: Table, parameters: Parameters, _column: str) -> str:
    return table.dialect.text(parameters["value"])


def _empty(_table: Table, _parameters: Parameters, _column: str) -> str:
    return "''"


def _null(table: Table, _parameters: Parameters, _column: str) -> str:
    return table.dialect.null("VARCHAR")


def _fill(value: Value) -> Computation:
    def compute(table: Table, parameters: Parameters) -> dict[str, str]:
        name = parameters["sourceColumn"]
        column = table.column(name)
        return {name: f"CASE WHEN {missing(column)} THEN {value(table, parameters, column)} ELSE {column} END"}

    return compute


def _replace(value: Value) -> Computation:
    def compute(table: Table, parameters: Parameters) -> dict[str, str]:
        found = {}
        for name in REPLACED.subjects(parameters):
            column = table.column(name)
            is_valid = valid(table.dialect, column, parameters["columnDataType"])
            replaced = table.value(f"NOT {missing(column)} AND NOT ({is_valid})")
            # What is worked out reads valid values alone, and a text that is no number is no value of the column.
            found[name] = f"CASE WHEN {replaced} THEN {value(table, parameters, column)} ELSE {column} END"
        return found

    return compute


_OF_OTHER_ROWS = (_average, _median, _sum, _mode, _most_frequent_text, _last_valid)


def _filling(name: str, what: str, value: Value, *more: Parameter) -> Operation:
    documentation = f"Gives missing values, null or empty, {what}."
    parameters, others = (SOURCE, *more), value in _OF_OTHER_ROWS
    name = f"FILL_WITH_{name}"
    return Operation(name, documentation, Effect.REWRITES, parameters, computes=_fill(value), reads_other_rows=others)


def _replacing(name: str, what: str, value: Value, *more: Parameter) -> Operation:
    documentation = f"Gives values that are not of the type {what}. Missing values stay missing."
    parameters, others = (SOURCE, *more), value in _OF_OTHER_ROWS
    name = f"REPLACE_WITH_{name}"
    compute = _replace(value)
    return Operation(name, documentation, Effect.REWRITES, parameters, computes=compute, reads_other_rows=others)


REPLACED = Operation(
    "REPLACE_WITH_CUSTOM",
    "Gives values that are not of the type one value. Missing values stay missing.",
    Effect.REWRITES,
    (
        Parameter("sourceColumn", "the column to change", Kind.COLUMN, required=False),
        Parameter("sourceColumns", SOURCES.documentation, Kind.COLUMNS, required=False),
        _TYPE,
        Parameter("value", "the value"),
    ),
    computes=_replace(_custom),
    one_of=(("sourceColumn", "sourceColumns"),),
)

OPERATIONS = (
    _filling("CUSTOM", "one value", _custom, Parameter("value", "the value"), _FILL_TYPE),
    _filling("EMPTY", "the empty text, which comes out of the recipe as null again", _empty),
    _filling("AVERAGE", "the average of the numbers", _average),
    _filling("MEDIAN", "the median of the numbers", _median),
    _filling("SUM", "the sum of the numbers", _sum),
    _filling("MODE", "the most frequent number", _mode, _MODE),
    _filling("MOST_FREQUENT", "the most frequent text, of several the first in order", _most_frequent_text),
    _filling("LAST_VALID", "the nearest valid value of a row before", _last_valid, _FILL_TYPE),
    Operation(
        "FILL_WITH_NULL",
        # The reference says that data values become null, not the missing ones.
        "Makes every value of the column null; with conditions, those of the rows that meet them.",
        Effect.REWRITES,
        (SOURCE,),
        lambda dialect, _given: [lambda _column: dialect.null("VARCHAR")],
    ),
    REPLACED,
    _replacing("EMPTY", "the empty text", _empty, _TYPE),
    _replacing("NULL", "null", _null, _TYPE),
    _replacing("AVERAGE", "the average of the numbers", _average, _NUMERIC),
    _replacing("MEDIAN", "the median of the numbers", _median, _NUMERIC),
    _replacing("SUM", "the sum of the numbers", _sum, _NUMERIC),
    _replacing("MODE", "the most frequent number", _mode, _NUMERIC, _MODE),
    _replacing("MOST_FREQUENT", "the most frequent text, of several the first in order", _most_frequent_text, _TYPE),
    _replacing("LAST_VALID", "the nearest valid value of a row before", _last_valid, _TYPE),
    Operation(
        "FLAG_COLUMN_FROM_NULL",
        "A new column that says whether the value is missing.",
        Effect.DERIVES,
        (
            READ,
            TARGET,
            Parameter("flagType", "what is flagged", allowed=("Null values",)),
            Parameter("trueString", "where it is missing; True if not given", required=False),
            Parameter("falseString", "elsewhere; False if not given", required=False),
        ),
        lambda dialect, given: [
            lambda column: (
                f"CASE WHEN {missing(column)} THEN {dialect.text(given.get('trueString', 'True'))} "
                f"ELSE {dialect.text(given.get('falseString', 'False'))} END"
            )
        ],
    ),
    Operation(
        "REMOVE_MISSING",
        "Removes the rows in which the value is missing.",
        Effect.REMOVES_ROWS,
        (READ,),
        removes=lambda table, given: missing(table.column(given["sourceColumn"])),
    ),
    Operation(
        "REMOVE_INVALID",
        "Removes the rows in which the value is not of the type; rows without a value stay.",
        Effect.REMOVES_ROWS,
        (READ, _TYPE),
        removes=lambda table, given: (
            f"{table.column(given['sourceColumn'])} <> '' "
            f"AND NOT ({valid(table.dialect, table.column(given['sourceColumn']), given['columnDataType'])})"
        ),
    ),
)
