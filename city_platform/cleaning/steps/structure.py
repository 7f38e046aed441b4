"""Steps that merge columns, split them, or choose a value by a condition.

The reference does not say how the columns of a split are called: here they are the source's name with _1, _2 and so on,
and the source stays. A part that is not there is null.
"""

import json
import re
from collections.abc import Callable, Sequence

from city_platform.cleaning.expressions import case_value, chosen_value
from city_platform.cleaning.operation import (
    READ,
    TARGET,
    Effect,
    Kind,
    Operation,
    Parameter,
    Parameters,
    Table,
    flag,
    listed,
)
from city_platform.cleaning.steps.text import span, span_problem

_MOST_PARTS = 20
_COLUMNS = Parameter("sourceColumns", "a JSON list of columns", Kind.COLUMNS)
_SEPARATOR = Parameter("delimiter", "what stands between the values", required=False)
_LIMIT = Parameter("limit", "how many splits, 1 to 20; one more column than splits", Kind.POSITION)
_AT = Parameter("position", "how many characters", Kind.POSITION)

Cut = Callable[[Table, Parameters, str], Sequence[str]]  # the source's SQL -> the parts' in order


def _merge(table: Table, parameters: Parameters) -> dict[str, str]:
    """The values that are there, joined; null where none is."""
    columns = [table.column(name) for name in listed(parameters["sourceColumns"])]
    joined = table.dialect.join(columns, parameters.get("delimiter", ""))
    return {parameters["targetColumn"]: f"NULLIF({joined}, '')"}


def _coalesce(table: Table, parameters: Parameters) -> dict[str, str]:
    columns = [f"NULLIF({table.column(name)}, '')" for name in listed(parameters["sourceColumns"])]
    return {parameters["targetColumn"]: f"COALESCE({', '.join(columns)})"}


def parts(parameters: Parameters, count: int) -> tuple[str, ...]:
    return tuple(f"{parameters['sourceColumn']}_{number}" for number in range(1, count + 1))


def _split(name: str, documentation: str, count: Callable[[Parameters], int], cut: Cut, *more: Parameter) -> Operation:
    def compute(table: Table, parameters: Parameters) -> dict[str, str]:
        source = table.column(parameters["sourceColumn"])
        found = cut(table, parameters, source)
        return dict(zip(parts(parameters, count(parameters)), found, strict=True))

    return Operation(
        name,
        documentation,
        Effect.DERIVES,
        (READ, *more),
        computes=compute,
        targets=lambda parameters: parts(parameters, count(parameters)),
        check=_CHECKS.get(name, lambda _parameters: None),
    )


def _limit_problem(parameters: Parameters) -> str | None:
    if int(parameters["limit"]) > _MOST_PARTS:
        return f"limit is {parameters['limit']}, DataBrew takes at most {_MOST_PARTS} -> write 1 to {_MOST_PARTS}"
    return None


_CHECKS: dict[str, Callable[[Parameters], str | None]] = {
    "SPLIT_COLUMN_SINGLE_DELIMITER": _limit_problem,
    "SPLIT_COLUMN_MULTIPLE_DELIMITER": _limit_problem,
    "SPLIT_COLUMN_BETWEEN_POSITIONS": span_problem,
}


def _delimiters(parameters: Parameters) -> list[tuple[str, bool]]:
    """(text, whether it stays in the part before it) of each delimiter."""
    if "pattern" in parameters:
        return [(parameters["pattern"], parameters.get("includeInSplit") == "true")]
    return [(one["pattern"], bool(one.get("includeInSplit"))) for one in json.loads(parameters["patternOptions"])]


def _by_delimiters(table: Table, parameters: Parameters, source: str) -> list[str]:
    """Up to the first delimiter, up to the next, and so on; the last part is the rest with its delimiters."""
    dialect = table.dialect
    delimiters = _delimiters(parameters)
    either = "|".join(re.escape(text) for text, _ in delimiters)
    staying = ", ".join(dialect.text(text) for text, stays in delimiters if stays)
    pattern = f"(?s)^(.*?)({either})(.*)$"
    found = []
    rest = source
    for _ in range(int(parameters["limit"])):
        part, delimiter = (dialect.first_match(rest, pattern, group) for group in (1, 2))
        if staying:
            part = f"{part} || CASE WHEN {delimiter} IN ({staying}) THEN {delimiter} ELSE '' END"
        found.append(f"COALESCE({part}, {rest})")
        rest = table.value(dialect.first_match(rest, pattern, 3))
    return [*found, rest]


def _between_delimiters(table: Table, parameters: Parameters, source: str) -> list[str]:
    """What is before the first delimiter, between the two, and behind the second."""
    first, second = (json.loads(parameters[name]) for name in ("patternOption1", "patternOption2"))
    one, two = re.escape(first["pattern"]), re.escape(second["pattern"])
    before = f"(?s)^(.*?{one})" if first.get("includeInSplit") else f"(?s)^(.*?){one}"
    middle = f"(?s)^.*?{one}(.*?{two})" if second.get("includeInSplit") else f"(?s)^.*?{one}(.*?){two}"
    behind = f"(?s)^.*?{one}.*?{two}(.*)$"
    found = [table.dialect.first_match(source, pattern, 1) for pattern in (before, middle, behind)]
    # Without both delimiters there is nothing to split: the text is the first part.
    both = table.dialect.contains_match(source, f"(?s){one}.*?{two}")
    return [f"CASE WHEN {both} THEN {found[0]} ELSE {source} END", *found[1:]]


def _between_positions(_table: Table, parameters: Parameters, source: str) -> list[str]:
    start, end = span(parameters)
    return [
        f"substr({source}, 1, {start - 1})",
        f"substr({source}, {start}, {end - start + 1})",
        f"substr({source}, {end + 1})",
    ]


def _from_start(_table: Table, parameters: Parameters, source: str) -> list[str]:
    position = int(parameters["position"])
    return [f"substr({source}, 1, {position})", f"substr({source}, {position + 1})"]


def _from_end(_table: Table, parameters: Parameters, source: str) -> list[str]:
    position = int(parameters["position"])
    return [
        f"CASE WHEN length({source}) > {position} THEN left({source}, length({source}) - {position}) END",
        f"right({source}, {position})",
    ]


def _two(_parameters: Parameters) -> int:
    return 2


def _boolean(table: Table, parameters: Parameters) -> dict[str, str]:
    return {
        parameters["targetColumn"]: chosen_value(
            table.dialect,
            table.column,
            parameters["valueExpression"],
            parameters["trueValueExpression"],
            parameters["falseValueExpression"],
        )
    }


OPERATIONS = (
    Operation(
        "MERGE",
        "A new column of several columns' values, joined; a missing value and its delimiter are left out.",
        Effect.DERIVES,
        (_COLUMNS, _SEPARATOR, TARGET),
        computes=_merge,
    ),
    Operation(
        "MERGE_COLUMNS_AND_VALUES",
        "A new column of several columns' values, joined; a missing value and its delimiter are left out.",
        Effect.DERIVES,
        (_COLUMNS, _SEPARATOR, TARGET),
        computes=_merge,
    ),
    Operation(
        "COALESCE",
        "A new column of the first value that is not missing, in the order of the columns.",
        Effect.DERIVES,
        (_COLUMNS, TARGET),
        computes=_coalesce,
    ),
    _split(
        "SPLIT_COLUMN_SINGLE_DELIMITER",
        "New columns of what stands between the delimiters; the last one holds the rest.",
        lambda given: int(given["limit"]) + 1,
        _by_delimiters,
        Parameter("pattern", "the delimiter, a plain text"),
        _LIMIT,
        flag("includeInSplit", "each part keeps the delimiter that ends it"),
    ),
    _split(
        "SPLIT_COLUMN_MULTIPLE_DELIMITER",
        "New columns of what stands between any of the delimiters; the last one holds the rest.",
        lambda given: int(given["limit"]) + 1,
        _by_delimiters,
        Parameter("patternOptions", "the delimiters as a JSON list", Kind.DELIMITERS),
        _LIMIT,
    ),
    _split(
        "SPLIT_COLUMN_BETWEEN_DELIMITER",
        "Three new columns: before the first delimiter, between the two, behind the second.",
        lambda _given: 3,
        _between_delimiters,
        Parameter("patternOption1", "the first delimiter as JSON", Kind.DELIMITER),
        Parameter("patternOption2", "the second delimiter as JSON", Kind.DELIMITER),
    ),
    _split(
        "SPLIT_COLUMN_BETWEEN_POSITIONS",
        "Three new columns: before the first position, from it to the last, behind that.",
        lambda _given: 3,
        _between_positions,
        Parameter("startPosition", "the first character of the second part, from 1", Kind.POSITION),
        Parameter("endPosition", "the last character of the second part, from 1", Kind.POSITION),
    ),
    _split(
        "SPLIT_COLUMN_FROM_START",
        "Two new columns: the first characters, the rest.",
        _two,
        _from_start,
        _AT,
    ),
    _split(
        "SPLIT_COLUMN_FROM_END",
        "Two new columns: the first characters, the last.",
        _two,
        _from_end,
        _AT,
    ),
    Operation(
        "BOOLEAN_OPERATION",
        "A new column of one value where a condition holds, and another elsewhere.",
        Effect.DERIVES,
        (
            Parameter("valueExpression", "the condition", Kind.CONDITION),
            Parameter("trueValueExpression", "a text, or a column in back ticks", Kind.EXPRESSION),
            Parameter("falseValueExpression", "a text, or a column in back ticks", Kind.EXPRESSION),
            TARGET,
        ),
        computes=_boolean,
    ),
    Operation(
        "CASE_OPERATION",
        "A new column of the value whose condition holds first.",
        Effect.DERIVES,
        (Parameter("valueExpression", "case when ... then ... else ... end", Kind.EXPRESSION), TARGET),
        computes=lambda table, given: {
            given["targetColumn"]: case_value(table.dialect, table.column, given["valueExpression"])
        },
    ),
)
