"""Steps that make other rows of the rows: GROUP_BY, PIVOT, UNPIVOT. For recipes on a file alone: see `refused`.

Their results are text again, in the order in which the rows they are made of first come in the source, and each
column remembers the type it was given. Empty and null values are ignored by every function, as the reference says of
DataBrew's aggregate functions, so that a count of none is 0 and everything else of none is missing; rows without a
value in a column they are grouped by form a group of their own. Numbers count to eight decimals and 20 digits before
them, so that no sum depends on the order in which it is added.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from city_platform.cleaning.operation import READ, Effect, Kind, Operation, Parameter, Parameters, listed
from city_platform.cleaning.steps.arithmetic import written
from city_platform.cleaning.values import SQL_TYPES
from city_platform.engines.dialect import Dialect

MOST_PIVOTED = 10  # DataBrew's limit of distinct values in the column to pivot

_NUMBER = "DECIMAL(28,8)"
_MEMBERS = ("sourceColumnName", "targetColumnName", "targetColumnDataType", "functionName")


@dataclass(frozen=True, slots=True)
class Function:
    """An aggregate function. `sql` takes the values, null where one is missing, and the row's number; it gives text."""

    sql: Callable[[Dialect, str, str], str]
    sql_type: str | None = None  # None: that of the column it reads


def _numbers(dialect: Dialect, values: str) -> str:
    return dialect.try_cast(values, _NUMBER)


def _plain(dialect: Dialect, number: str) -> str:
    """An exact number as text: 12.5, not 12.50000000."""
    return dialect.replace_all(dialect.as_text(number), "[.]?0+$", "")


def _measured(function: str, digits: int | None = None) -> Callable[[Dialect, str, str], str]:
    """A function of numbers whose result is none of them; rounded where the order of adding would show in it."""

    def sql(dialect: Dialect, values: str, _row: str) -> str:
        result = function.format(numbers=_numbers(dialect, values))
        return written(dialect, result if digits is None else f"round({result}, {digits})")

    return sql


def _extreme(function: str) -> Callable[[Dialect, str, str], str]:
    """The smallest or largest: among numbers by size if all are, else as text, which is right for ISO dates too."""

    def sql(dialect: Dialect, values: str, _row: str) -> str:
        numbers = _numbers(dialect, values)
        of_numbers = _plain(dialect, f"{function}({numbers})")
        return f"CASE WHEN count({numbers}) = count({values}) THEN {of_numbers} ELSE {function}({values}) END"

    return sql


_LIST = Function(lambda dialect, values, row: dialect.json_list(values, row), "VARCHAR")
FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {
        "ANY": Function(lambda _dialect, values, row: f"min_by({values}, {row}) FILTER (WHERE {values} IS NOT NULL)"),
        "AVERAGE": Function(
            _measured("CAST(sum({numbers}) AS DOUBLE) / NULLIF(count({numbers}), 0)"),
            "DOUBLE",
        ),
        "COUNT": Function(lambda dialect, values, _row: dialect.as_text(f"count({values})"), "BIGINT"),
        "COUNT_DISTINCT": Function(
            lambda dialect, values, _row: dialect.as_text(f"count(DISTINCT {values})"), "BIGINT"
        ),
        "MAX": Function(_extreme("max")),
        "MEDIAN": Function(_measured("CAST(median({numbers}) AS DOUBLE)"), "DOUBLE"),
        "MIN": Function(_extreme("min")),
        # Of several most frequent values the first in the order of texts.
        "MODE": Function(lambda _dialect, values, _row: f"mode() WITHIN GROUP (ORDER BY {values})"),
        "STANDARD_DEVIATION": Function(_measured("stddev_pop(CAST({numbers} AS DOUBLE))", 8), "DOUBLE"),
        "SUM": Function(lambda dialect, values, _row: _plain(dialect, f"sum({_numbers(dialect, values)})"), "DOUBLE"),
        "VARIANCE": Function(_measured("var_pop(CAST({numbers} AS DOUBLE))", 8), "DOUBLE"),
        # The reference's two words for no aggregation: the values as a JSON list, in the order of the rows.
        "COLLECT_LIST": _LIST,
        "UNAGGREGATED": _LIST,
    }
)


@dataclass(frozen=True, slots=True)
class Summary:
    """One column of a GROUP_BY's result."""

    source: str
    target: str
    sql_type: str
    function: str


def summaries(text: str) -> tuple[list[Summary], str]:
    """What `groupByAggFunctionOptions` asks for, and what is wrong with it, else nothing."""
    try:
        given = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        given = None
    if not isinstance(given, list) or not given:
        return [], "groupByAggFunctionOptions is no JSON list of objects"
    found = []
    for one in given:
        if not isinstance(one, dict) or set(one) != set(_MEMBERS) or not all(isinstance(v, str) for v in one.values()):
            return [], f"an option has not exactly the texts {', '.join(_MEMBERS)}"
        source, target, data_type, function = (one[name] for name in _MEMBERS)
        if function not in FUNCTIONS:
            return [], f"there is no function {function}"
        if data_type not in SQL_TYPES:
            return [], f"there is no targetColumnDataType {data_type}; there are: {', '.join(sorted(SQL_TYPES))}"
        if not target:
            return [], "a targetColumnName is empty"
        own = FUNCTIONS[function].sql_type
        sql_type = own if own is not None and data_type == "number" else SQL_TYPES[data_type]
        found.append(Summary(source, target, sql_type, function))
    return found, ""


def columns_after(
    step: str, parameters: Parameters, columns: Mapping[str, str], pivoted: Sequence[str | None] = ()
) -> list[tuple[str, str]]:
    """The columns after a step and their SQL types; `pivoted` are the values that a PIVOT makes columns of.

    Names may come twice, which is the caller's to refuse.
    """
    if step == "GROUP_BY":
        asked, _ = summaries(parameters["groupByAggFunctionOptions"])
        keys = [(name, columns[name]) for name in listed(parameters["sourceColumns"])]
        return [*keys, *((one.target, one.sql_type) for one in asked)]
    others = [(name, columns[name]) for name in _others(step, parameters, columns)]
    if step == "PIVOT":
        own = FUNCTIONS[parameters["aggregateFunction"]].sql_type
        sql_type = own if own is not None else columns[parameters["valueColumn"]]
        # Spark's name of the column of what has no value, and so DataBrew's.
        return [*others, *(("null" if value is None else value, sql_type) for value in pivoted)]
    types = {columns[name] for name in listed(parameters["sourceColumns"])}
    value_type = types.pop() if len(types) == 1 else "VARCHAR"
    return [*others, (parameters["unpivotColumn"], "VARCHAR"), (parameters["valueColumn"], value_type)]


def reshaping_select(
    step: str,
    parameters: Parameters,
    columns: Mapping[str, str],
    dialect: Dialect,
    relation: str,
    pivoted: Sequence[str | None] = (),
) -> str:
    """The query of `_row`, from 0, and the columns after the step as text, over rows of `columns` and `_row`."""
    # Names of its own for everything within, since a result's column may be called as one that was read.
    texts = {name: f"c{number}" for number, name in enumerate(columns)}
    read = ", ".join(f"{_text(dialect, name, columns[name])} AS {texts[name]}" for name in columns)
    rows = f"(SELECT _row AS place, {read} FROM {relation})"
    names = [dialect.name(name) for name, _ in columns_after(step, parameters, columns, pivoted)]
    if step == "UNPIVOT":
        made = _unpivoted(parameters, columns, texts, dialect, rows)
    elif step == "PIVOT":
        keys = [texts[name] for name in _others(step, parameters, columns)]
        pivot, value = texts[parameters["sourceColumn"]], texts[parameters["valueColumn"]]
        function = FUNCTIONS[parameters["aggregateFunction"]]
        chosen = [f"{pivot} = {dialect.text(one)}" if one is not None else f"{pivot} IS NULL" for one in pivoted]
        values = [function.sql(dialect, f"CASE WHEN {one} THEN {value} END", "place") for one in chosen]
        made = _grouped(keys, values, rows)
    else:
        keys = [texts[name] for name in listed(parameters["sourceColumns"])]
        asked, _ = summaries(parameters["groupByAggFunctionOptions"])
        values = [FUNCTIONS[one.function].sql(dialect, texts[one.source], "place") for one in asked]
        made = _grouped(keys, values, rows)
    outputs = ", ".join(f"o{number} AS {name}" for number, name in enumerate(names))
    return f"SELECT row_number() OVER (ORDER BY place) - 1 AS _row, {outputs} FROM ({made})"


def _grouped(keys: Sequence[str], values: Sequence[str], rows: str) -> str:
    selected = ", ".join(f"{sql} AS o{number}" for number, sql in enumerate([*keys, *values]))
    by = f" GROUP BY {', '.join(keys)}" if keys else ""
    return f"SELECT min(place) AS place, {selected} FROM {rows}{by}"


def _unpivoted(
    parameters: Parameters, columns: Mapping[str, str], texts: Mapping[str, str], dialect: Dialect, rows: str
) -> str:
    sources = listed(parameters["sourceColumns"])
    numbered = ", ".join(f"({number}, {dialect.text(name)})" for number, name in enumerate(sources))
    value = " ".join(f"WHEN {number} THEN {texts[name]}" for number, name in enumerate(sources))
    values = [*(texts[name] for name in _others("UNPIVOT", parameters, columns)), "label", f"CASE number {value} END"]
    selected = ", ".join(f"{sql} AS o{number}" for number, sql in enumerate(values))
    place = f"place * {len(sources)} + number AS place"
    return f"SELECT {place}, {selected} FROM {rows} CROSS JOIN (VALUES {numbered}) AS labels(number, label)"


def _others(step: str, parameters: Parameters, columns: Mapping[str, str]) -> list[str]:
    """The columns the step leaves as they are."""
    used = (
        {parameters["sourceColumn"], parameters["valueColumn"]}
        if step == "PIVOT"
        else set(listed(parameters["sourceColumns"]))
    )
    return [name for name in columns if name not in used]


def _text(dialect: Dialect, name: str, sql_type: str) -> str:
    return dialect.name(name) if sql_type == "VARCHAR" else dialect.as_text(dialect.name(name))


def repeated(names: Sequence[str]) -> list[str]:
    """Those that come more than once; the engine takes names that differ only in case for one."""
    counts = Counter(name.casefold() for name in names)
    return [name for name in names if counts[name.casefold()] > 1]


def _check_unpivot(parameters: Parameters) -> str | None:
    same = parameters["unpivotColumn"] == parameters["valueColumn"]
    return "unpivotColumn and valueColumn are the same -> give two names" if same else None


def _check_pivot(parameters: Parameters) -> str | None:
    same = parameters["sourceColumn"] == parameters["valueColumn"]
    return "sourceColumn and valueColumn are the same -> name two columns" if same else None


OPERATIONS = (
    Operation(
        "GROUP_BY",
        "One row for each combination of values of some columns, with what functions find in the rows of the group.",
        Effect.RESHAPES,
        (
            Parameter("sourceColumns", "a JSON list of the columns to group by", Kind.COLUMNS),
            Parameter(
                "groupByAggFunctionOptions",
                "a JSON list of objects of sourceColumnName, targetColumnName, targetColumnDataType and functionName",
                Kind.SUMMARIES,
            ),
            # The reference says what true does, and nothing of false.
            Parameter("useNewDataFrame", "true: the result takes the table's place", required=False, allowed=("true",)),
        ),
    ),
    Operation(
        "PIVOT",
        "A column for each of at most ten values of one column, a row for each combination of values of all others.",
        Effect.RESHAPES,
        (
            READ,
            Parameter("valueColumn", "the column whose values come to stand in the new columns", Kind.COLUMN),
            Parameter(
                "aggregateFunction",
                "what is made of several values that come to stand in one place",
                allowed=tuple(name for name in FUNCTIONS if name != "UNAGGREGATED"),
            ),
        ),
        check=_check_pivot,
    ),
    Operation(
        "UNPIVOT",
        "A row for each of some columns, with the column's name and its value.",
        Effect.RESHAPES,
        (
            Parameter("sourceColumns", "a JSON list of the columns to turn into rows", Kind.COLUMNS),
            Parameter("unpivotColumn", "the column to hold their names", Kind.NEW_COLUMN),
            Parameter("valueColumn", "the column to hold their values", Kind.NEW_COLUMN),
        ),
        check=_check_unpivot,
    ),
)
