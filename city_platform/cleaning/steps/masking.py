"""Steps that protect personal values within a column, before they reach any layer.

The contract's classification masks and encrypts what leaves the platform; these are for what must not even be in its
cleaned layer. They give the same for the same source: a number or date drawn for a row comes from the row's place, and
what needs a secret uses the dataset's own, kept under its key for personal columns. `secretId` is part of the secret:
another name gives other values. Unkeyed hashes are refused: who can guess a value could confirm it.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from city_platform.cleaning.operation import (
    SOURCES,
    Effect,
    Kind,
    Operation,
    Parameter,
    Parameters,
    Rewrite,
    Table,
    flag,
    listed,
)
from city_platform.engines.dialect import Dialect
from city_platform.engines.patterns import pattern_problem

_SYMBOL = Parameter("maskSymbol", "one character")
_ALPHABET = Parameter(
    "alphabet", "characters that stay as they are", Kind.CHOICES, required=False, allowed=("SYMBOLS", "WHITESPACE")
)
_SECRET = Parameter("secretId", "the secret's name, such as databrew!default")
_DATE_PARTS = {
    "YEAR": (1, 4),
    "MONTH": (6, 7),
    "DAY": (9, 10),
    "HOUR": (12, 13),
    "MINUTE": (15, 16),
    "SECOND": (18, 19),
}
_KEPT = {"WHITESPACE": r" \t\n\r", "SYMBOLS": r"""!-/:-@\[-`{-~"""}


def _symbol_problem(parameters: Parameters) -> str | None:
    return None if len(parameters["maskSymbol"]) == 1 else "maskSymbol is one character -> write one, such as #"


def _custom_problem(parameters: Parameters) -> str | None:
    wrong = pattern_problem(parameters["customValue"]) if parameters.get("regex") == "true" else None
    return f"customValue: {wrong} -> correct the pattern" if wrong else _symbol_problem(parameters)


def _masked(dialect: Dialect, parameters: Parameters, part: str) -> str:
    """Every character of the part masked, but those of the alphabet."""
    kept = "".join(_KEPT[one] for one in listed(parameters.get("alphabet", "[]")))
    return dialect.replace_all(part, f"(?s)[^{kept}]" if kept else "(?s).", _replacement(parameters))


def _replacement(parameters: Parameters) -> str:
    symbol = parameters["maskSymbol"]
    return f"\\{symbol}" if symbol in "\\$" else symbol


def _range(dialect: Dialect, parameters: Parameters) -> Sequence[Rewrite]:
    start, stop = int(parameters.get("start", 0)), parameters.get("stop")

    def place(column: str, index: int) -> str:
        return str(index) if index >= 0 else f"greatest(length({column}) - {-index}, 0)"

    def rewrite(column: str) -> str:
        first = place(column, start)
        last = f"length({column})" if stop is None else place(column, int(stop))
        middle = _masked(dialect, parameters, f"substr({column}, {first} + 1, {last} - {first})")
        masked = f"substr({column}, 1, {first}) || {middle} || substr({column}, {last} + 1)"
        return f"CASE WHEN {last} > {first} THEN {masked} ELSE {column} END"

    return [rewrite]


def _delimiter(dialect: Dialect, parameters: Parameters) -> Sequence[Rewrite]:
    start, end = (parameters.get(name) for name in ("startDelimiter", "endDelimiter"))
    before = f"^.*?{re.escape(start)}" if start else "^"
    behind = f"{re.escape(end)}.*$" if end else "$"
    pattern = f"(?s)({before})(.*?)({behind})"
    # The reference's words for preserveDelimiters contradict its name and its example; the name is taken.
    keeps = parameters.get("preserveDelimiters", "true") == "true"

    def rewrite(column: str) -> str:
        head, middle, tail = (dialect.first_match(column, pattern, group) for group in (1, 2, 3))
        if not keeps:
            cut, rest = len(start or ""), len(end or "")
            whole = f"substr({column}, length({head}) - {cut} + 1, length({middle}) + {cut + rest})"
            head = f"substr({head}, 1, length({head}) - {cut})"
            tail = f"substr({tail}, {rest + 1})"
            middle = whole
        masked = f"{head} || {_masked(dialect, parameters, middle)} || {tail}"
        return f"CASE WHEN {dialect.contains_match(column, pattern)} THEN {masked} ELSE {column} END"

    return [rewrite]


def _custom(dialect: Dialect, parameters: Parameters) -> Sequence[Rewrite]:
    value = parameters["customValue"]
    if parameters.get("regex") == "true":
        # One symbol a match: how long what was masked is would tell something of it.
        return [lambda column: dialect.replace_all(column, value, _replacement(parameters))]
    return [lambda column: dialect.replace_text(column, value, parameters["maskSymbol"] * len(value))]


def _date(dialect: Dialect, parameters: Parameters) -> Sequence[Rewrite]:
    def part_of(part: str) -> Rewrite:
        first, last = _DATE_PARTS[part]
        symbols = dialect.text(parameters["maskSymbol"] * (last - first + 1))
        shape = "^[^ ]{10}" if part in {"YEAR", "MONTH", "DAY"} else "^[^ ]{10}[T ].{8}"
        return lambda column: (
            f"CASE WHEN {dialect.contains_match(column, shape)} AND length({column}) >= {last} "
            f"THEN substr({column}, 1, {first - 1}) || {symbols} || substr({column}, {last + 1}) ELSE {column} END"
        )

    is_date = "^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?$"
    # What is no date would stay readable: it is masked as a whole.
    whole: Rewrite = lambda column: (  # noqa: E731 - one of the step's rewrites, like the others
        f"CASE WHEN {dialect.contains_match(column, is_date)} THEN {column} "
        f"ELSE {dialect.replace_all(column, '(?s).', _replacement(parameters))} END"
    )
    return [whole, *(part_of(one) for one in listed(parameters["redact"]))]


def _drawn(table: Table, column: str, name: str) -> str:
    """A number from 0 to 2^31 - 1 that the row's place and the column's name fix."""
    return f"CASE WHEN {column} <> '' THEN {table.dialect.hashed_number(f'CAST({table.row} AS BIGINT)', name)} END"


def _random_between(table: Table, parameters: Parameters) -> dict[str, str]:
    low, high = int(parameters["lowerBound"]), int(parameters["upperBound"])
    return {
        name: table.dialect.as_text(f"{low} + {_drawn(table, table.column(name), name)} % {high - low + 1}")
        for name in listed(parameters["sourceColumns"])
    }


def _bounds_problem(parameters: Parameters) -> str | None:
    low, high = int(parameters["lowerBound"]), int(parameters["upperBound"])
    if not 0 <= high - low < 2**31:
        return "upperBound is below lowerBound or more than 2,147,483,647 above it -> correct the bounds"
    return None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _random_date_between(table: Table, parameters: Parameters) -> dict[str, str]:
    start, end = (_moment(parameters[name]) for name in ("startDate", "endDate"))
    seconds = int((end - start).total_seconds()) + 1
    found = {}
    for name in listed(parameters["sourceColumns"]):
        drawn = f"{_drawn(table, table.column(name), name)} % {seconds}"
        later = table.dialect.add_seconds(start.strftime("%Y-%m-%d %H:%M:%S"), drawn)
        found[name] = table.dialect.format_date(later, "%Y-%m-%d %H:%M:%S")
    return found


def _dates_problem(parameters: Parameters) -> str | None:
    start, end = (_moment(parameters[name]) for name in ("startDate", "endDate"))
    if not 0 <= (end - start).total_seconds() < 2**31 - 1:
        return "endDate is before startDate or more than 68 years behind it -> correct the dates"
    return None


def _shuffle(table: Table, parameters: Parameters) -> dict[str, str]:
    """Each row of a group gets the value of the next one, in an order that only the secret tells."""
    same = ", ".join([*(table.column(name) for name in listed(parameters.get("groupByColumns", "[]"))), table.kept])
    found = {}
    for name in listed(parameters["sourceColumns"]):
        column = table.column(name)
        place = table.dialect.as_text(table.row)
        drawn = table.value(table.keyed("hash", "databrew!default", f"{table.dialect.text(f'{name}/')} || {place}"))
        order = f"PARTITION BY {same} ORDER BY {drawn}, {table.row}"
        number = table.value(f"row_number() OVER ({order})")
        following = f"lead({column}) OVER ({order})"
        first = f"first_value({column}) OVER ({order})"
        last = f"{number} = count(*) OVER (PARTITION BY {same})"
        found[name] = f"CASE WHEN {last} THEN {first} ELSE {following} END"
    return found


def _keyed(purpose: str) -> Callable[[Table, Parameters], dict[str, str]]:
    def compute(table: Table, parameters: Parameters) -> dict[str, str]:
        found = {}
        for name in listed(parameters["sourceColumns"]):
            column = table.column(name)
            keyed = table.keyed(purpose, parameters["secretId"], column)
            found[name] = f"CASE WHEN {column} <> '' THEN {keyed} ELSE {column} END"
        return found

    return compute


OPERATIONS = (
    Operation(
        "MASK_CUSTOM",
        "Masks every occurrence of a text, or with one symbol every match of a regular expression.",
        Effect.REWRITES,
        (SOURCES, _SYMBOL, Parameter("customValue", "what to mask", Kind.TEXT), flag("regex", "it is a pattern")),
        _custom,
        check=_custom_problem,
    ),
    Operation(
        "MASK_DATE",
        "Masks parts of dates and times written yyyy-mm-dd HH:MM:SS; what is no date is masked as a whole.",
        Effect.REWRITES,
        (
            SOURCES,
            _SYMBOL,
            Parameter("redact", "a JSON list of the parts to mask", Kind.CHOICES, allowed=tuple(_DATE_PARTS)),
        ),
        _date,
        check=_symbol_problem,
    ),
    Operation(
        "MASK_DELIMITER",
        "Masks what stands between two delimiters; without one, from the start or to the end.",
        Effect.REWRITES,
        (
            SOURCES,
            _SYMBOL,
            Parameter("startDelimiter", "what comes before", required=False),
            Parameter("endDelimiter", "what comes behind", required=False),
            flag("preserveDelimiters", "the delimiters stay; true if not given"),
            _ALPHABET,
        ),
        _delimiter,
        check=_symbol_problem,
    ),
    Operation(
        "MASK_RANGE",
        "Masks the characters from `start` to before `stop`, counted from 0, negative ones from the end.",
        Effect.REWRITES,
        (
            SOURCES,
            _SYMBOL,
            Parameter("start", "the first; the text's if not given", Kind.INDEX, required=False),
            Parameter("stop", "the one behind the last; the text's end if not given", Kind.INDEX, required=False),
            _ALPHABET,
        ),
        _range,
        check=_symbol_problem,
    ),
    Operation(
        "REPLACE_WITH_RANDOM_BETWEEN",
        "Gives every value a whole number between two, both included; missing values stay missing.",
        Effect.REWRITES,
        (
            SOURCES,
            Parameter("lowerBound", "the smallest", Kind.INDEX),
            Parameter("upperBound", "the largest", Kind.INDEX),
        ),
        computes=_random_between,
        check=_bounds_problem,
    ),
    Operation(
        "REPLACE_WITH_RANDOM_DATE_BETWEEN",
        "Gives every value a date and time between two, both included; missing values stay missing.",
        Effect.REWRITES,
        (
            SOURCES,
            Parameter("startDate", "the first, as 2020-12-12 12:12:12", Kind.MOMENT),
            Parameter("endDate", "the last", Kind.MOMENT),
        ),
        computes=_random_date_between,
        check=_dates_problem,
    ),
    Operation(
        "SHUFFLE_ROWS",
        "Exchanges the values of a column between the rows, within groups if asked for.",
        Effect.REWRITES,
        (
            SOURCES,
            Parameter("groupByColumns", "a JSON list of columns whose rows form a group", Kind.COLUMNS, required=False),
        ),
        computes=_shuffle,
        needs_secret=True,
        reads_other_rows=True,
    ),
    Operation(
        "CRYPTOGRAPHIC_HASH",
        "Puts a keyed hash, HMAC with SHA-256 in hexadecimal digits, in each value's place.",
        Effect.REWRITES,
        (SOURCES, _SECRET, Parameter("algorithm", "the hash", required=False, allowed=("HMAC_SHA256",))),
        computes=_keyed("hash"),
        needs_secret=True,
    ),
    Operation(
        "DETERMINISTIC_ENCRYPT",
        "Encrypts each value, AES-256-GCM-SIV in base64, equal values alike.",
        Effect.REWRITES,
        (SOURCES, _SECRET),
        computes=_keyed("encrypt"),
        needs_secret=True,
    ),
)
