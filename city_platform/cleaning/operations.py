"""The DataBrew step types the platform knows: parameters, meaning and SQL, one entry each.

Names and parameters are those of the AWS Glue DataBrew recipe step reference
(https://docs.aws.amazon.com/databrew/latest/dg/recipe-actions-reference.html). A step rewrites text: values get
their type after the last step, so that what cannot be typed can be kept with its reason. All steps leave a missing
value missing unless their documentation says otherwise.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType

from city_platform.engines.dialect import Dialect

Parameters = Mapping[str, str]
Rewrite = Callable[[str], str]  # a column's SQL name -> its next value; may name the column several times


class Effect(Enum):
    """What a step does to the table."""

    REWRITES = auto()  # the source column's text
    DERIVES = auto()  # a target column from the source column
    RENAMES = auto()
    DELETES = auto()
    TYPES = auto()
    REMOVES_ROWS = auto()  # those that meet its conditions
    REMOVES_REPEATED_ROWS = auto()


class Kind(Enum):
    """What a parameter's text stands for, and so how it is checked."""

    TEXT = auto()
    COLUMN = auto()  # exists at that point
    NEW_COLUMN = auto()  # does not exist yet
    FLAG = auto()  # true or false
    PATTERN = auto()  # a regular expression
    CATEGORIES = auto()  # a JSON object of texts


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    documentation: str
    kind: Kind = Kind.TEXT
    required: bool = True
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One step type. `rewrites` gives the changes of its column's text, one after the other."""

    name: str
    documentation: str
    effect: Effect
    parameters: tuple[Parameter, ...]
    rewrites: Callable[[Dialect, Parameters], Sequence[Rewrite]] = lambda _dialect, _parameters: ()
    needs_conditions: bool = False


# DataBrew's name of each type a contract may ask for.
DATABREW_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "TINYINT": "byte",
        "SMALLINT": "short",
        "INTEGER": "int",
        "BIGINT": "long",
        "FLOAT": "float",
        "DOUBLE": "double",
        "DECIMAL": "decimal",
        "VARCHAR": "string",
        "BOOLEAN": "boolean",
        "TIMESTAMP": "timestamp",
        "TIMESTAMP WITH TIME ZONE": "timestamp",
        "DATE": "date",
    }
)

_DATE_FORMATS = {
    "mm/dd/yyyy": "%m/%d/%Y",
    "mm-dd-yyyy": "%m-%d-%Y",
    "dd month yyyy": "%d %B %Y",
    "month yyyy": "%B %Y",
    "dd month": "%d %B",
}

_SOURCE = Parameter("sourceColumn", "the column to change", Kind.COLUMN)
_TARGET = Parameter("targetColumn", "the column to create", Kind.NEW_COLUMN)


def _flag(name: str, documentation: str) -> Parameter:
    return Parameter(name, documentation, Kind.FLAG, required=False)


def _upper(_dialect: Dialect, _parameters: Parameters) -> Sequence[Rewrite]:
    return [lambda column: f"upper({column})"]


def _lower(_dialect: Dialect, _parameters: Parameters) -> Sequence[Rewrite]:
    return [lambda column: f"lower({column})"]


def _capital(dialect: Dialect, _parameters: Parameters) -> Sequence[Rewrite]:
    return [dialect.capital_case]


# What each flag of REMOVE_COMBINED removes, as a regular expression, in the order of the removals.
_REMOVALS = {
    "removeAllPunctuation": r"[.!,?]",
    "removeAllQuotes": r"""['"]""",
    "removeLetters": "[A-Za-z]",
    "removeNumbers": "[0-9]",
    "removeSpecialCharacters": r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]""",
    "removeAllWhitespace": r"[ \t\n\r\x{A0}]",
    "removeLeadingAndTrailingPunctuation": r"^[.!,?]+|[.!,?]+$",
    "removeLeadingAndTrailingQuotes": r"""^['"]+|['"]+$""",
}


def _remove_combined(dialect: Dialect, parameters: Parameters) -> Sequence[Rewrite]:
    def asked(flag: str) -> bool:
        return parameters.get(flag) == "true"

    def removal(pattern: str) -> Rewrite:
        # Searching is cheaper than rewriting, and most values hold nothing to remove.
        return lambda column: (
            f"CASE WHEN {dialect.contains_match(column, pattern)} "
            f"THEN {dialect.replace_all(column, pattern, '')} ELSE {column} END"
        )

    steps: list[Rewrite] = []
    if asked("removeCustomValue"):
        steps.append(lambda column: dialect.replace_text(column, parameters["customValue"], ""))
    if asked("removeCustomCharacters"):
        steps.append(removal("[" + "".join(re.escape(one) for one in parameters["customCharacters"]) + "]"))
    steps.extend(removal(pattern) for flag, pattern in _REMOVALS.items() if asked(flag))
    collapse, trim = asked("collapseConsecutiveWhitespace"), asked("removeLeadingAndTrailingWhitespace")
    if collapse and trim:
        steps.append(dialect.normalize_whitespace)
    elif collapse:
        steps.append(dialect.collapse_whitespace)
    elif trim:
        steps.append(dialect.trim)
    return steps


_WHOLE = re.compile(r"\^\(?([^\\.^$*+?()\[\]{}]+)\)?\$")  # ^word$ or ^(one|other)$, nothing else special


def _replace_text(dialect: Dialect, parameters: Parameters) -> Sequence[Rewrite]:
    pattern, value = parameters["pattern"], parameters["value"]
    whole = _WHOLE.fullmatch(pattern)
    plain_value = "$" not in value and "\\" not in value
    if whole and plain_value and ("|" not in pattern or pattern.startswith("^(")):
        listed = ", ".join(dialect.text(one) for one in whole[1].split("|"))
        return [lambda column: f"CASE WHEN {column} IN ({listed}) THEN {dialect.text(value)} ELSE {column} END"]
    if plain_value and pattern == re.sub(r"[\\.^$*+?()\[\]{}|]", "", pattern):
        return [lambda column: dialect.replace_text(column, pattern, value)]
    replacement = engine_replacement(value)
    return [
        lambda column: (
            f"CASE WHEN {dialect.contains_match(column, pattern)} "
            f"THEN {dialect.replace_all(column, pattern, replacement)} ELSE {column} END"
        )
    ]


def engine_replacement(value: str) -> str:
    """DataBrew's replacement text, with `$1` for a group and `\\$` for a dollar, as the engine writes it: `\\1`."""

    def one(match: re.Match[str]) -> str:
        if match["group"]:
            return "\\" + match["group"]
        literal = match["escaped"] or match["plain"]
        return "\\\\" if literal == "\\" else literal

    return re.sub(r"\$(?P<group>[0-9])|\\(?P<escaped>.)|(?P<plain>.)", one, value, flags=re.DOTALL)


def _map_categories(dialect: Dialect, parameters: Parameters) -> Sequence[Rewrite]:
    categories: dict[str, str] = json.loads(parameters["categoryMap"])
    cases = " ".join(f"WHEN {dialect.text(old)} THEN {dialect.text(kept)}" for old, kept in categories.items())

    def mapped(column: str) -> str:
        if parameters.get("keepOthers") == "true":
            other = column
        elif "other" in parameters:
            other = f"CASE WHEN {column} IS NOT NULL THEN {dialect.text(parameters['other'])} END"
        else:
            other = "NULL"
        return f"CASE {column} {cases} ELSE {other} END"

    return [mapped]


def _extract(dialect: Dialect, parameters: Parameters) -> Sequence[Rewrite]:
    return [lambda column: dialect.first_match(column, parameters["pattern"])]


def _fill(dialect: Dialect, parameters: Parameters) -> Sequence[Rewrite]:
    return [lambda column: f"COALESCE(NULLIF({column}, ''), {dialect.text(parameters['value'])})"]


def _format_date(dialect: Dialect, parameters: Parameters) -> Sequence[Rewrite]:
    known = tuple(form for form in _DATE_FORMATS.values() if "%d" in form and "%Y" in form)
    to = _DATE_FORMATS[parameters["targetDateFormat"]]
    return [lambda column: f"COALESCE({dialect.format_date(dialect.parse_date(column, known), to)}, {column})"]


def _copy(_dialect: Dialect, _parameters: Parameters) -> Sequence[Rewrite]:
    return [lambda column: column]


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        operation.name: operation
        for operation in (
            Operation("RENAME", "Renames a column.", Effect.RENAMES, (_SOURCE, _TARGET)),
            Operation("DELETE", "Removes a column.", Effect.DELETES, (_SOURCE,)),
            Operation("DUPLICATE", "Copies a column.", Effect.DERIVES, (_SOURCE, _TARGET), _copy),
            Operation(
                "CHANGE_DATA_TYPE",
                "Gives a column its type. A value that cannot be converted becomes null and is kept beside the table.",
                Effect.TYPES,
                (
                    _SOURCE,
                    Parameter(
                        "columnDataType", "the column's type", allowed=tuple(dict.fromkeys(DATABREW_TYPES.values()))
                    ),
                ),
            ),
            Operation("UPPER_CASE", "All letters capital.", Effect.REWRITES, (_SOURCE,), _upper),
            Operation("LOWER_CASE", "All letters small.", Effect.REWRITES, (_SOURCE,), _lower),
            Operation("CAPITAL_CASE", "Every word starts with a capital.", Effect.REWRITES, (_SOURCE,), _capital),
            Operation(
                "REMOVE_COMBINED",
                "Removes characters: those the flags name, in the order of the flags here, white space last.",
                Effect.REWRITES,
                (
                    _SOURCE,
                    _flag("removeCustomValue", "every occurrence of customValue"),
                    Parameter("customValue", "the text to remove", required=False),
                    _flag("removeCustomCharacters", "every one of customCharacters"),
                    Parameter("customCharacters", "the characters to remove", required=False),
                    _flag("removeAllPunctuation", "all of . ! , ?"),
                    _flag("removeAllQuotes", "all single and double quotes"),
                    _flag("removeLetters", "all of A-Z and a-z"),
                    _flag("removeNumbers", "all of 0-9"),
                    _flag("removeSpecialCharacters", "all punctuation and symbols of ASCII"),
                    _flag("removeAllWhitespace", "all white space"),
                    _flag("removeLeadingAndTrailingPunctuation", ". ! , ? at either end"),
                    _flag("removeLeadingAndTrailingQuotes", "quotes at either end"),
                    _flag("collapseConsecutiveWhitespace", "runs of white space become one space"),
                    _flag("removeLeadingAndTrailingWhitespace", "white space at either end"),
                ),
                _remove_combined,
            ),
            Operation(
                "REPLACE_TEXT",
                "Replaces every match of a regular expression; $1 in the value is the match's first group.",
                Effect.REWRITES,
                (
                    _SOURCE,
                    Parameter("pattern", "the regular expression", Kind.PATTERN),
                    Parameter("value", "what takes the match's place"),
                ),
                _replace_text,
            ),
            Operation(
                "FILL_WITH_CUSTOM",
                "Gives missing values, null or empty, one value.",
                Effect.REWRITES,
                (
                    _SOURCE,
                    Parameter("value", "the value"),
                    Parameter(
                        "columnDataType",
                        "the column's type",
                        allowed=("date", "number", "boolean", "unsupported", "string", "timestamp"),
                    ),
                ),
                _fill,
            ),
            Operation(
                "FORMAT_DATE",
                "Writes a date another way; a text that is no date stays as it is.",
                Effect.REWRITES,
                (_SOURCE, Parameter("targetDateFormat", "how to write it", allowed=tuple(_DATE_FORMATS))),
                _format_date,
            ),
            Operation(
                "CATEGORICAL_MAPPING",
                "Maps values to others in a new column. Unmapped ones: kept, or all the same, or null.",
                Effect.DERIVES,
                (
                    _SOURCE,
                    _TARGET,
                    Parameter("categoryMap", "a JSON object of old and new values", Kind.CATEGORIES),
                    Parameter("mapType", "the new values' type", allowed=("TEXT", "NUMERIC")),
                    _flag("keepOthers", "unmapped values stay"),
                    Parameter("other", "what unmapped values become", required=False),
                    # Rows leave by REMOVE_VALUES alone, so that the reason a row left is one condition.
                    Parameter("deleteOtherRows", "only false: see REMOVE_VALUES", required=False, allowed=("false",)),
                ),
                _map_categories,
            ),
            Operation(
                "EXTRACT_PATTERN",
                "A new column of what the regular expression matches first; null where nothing does.",
                Effect.DERIVES,
                (_SOURCE, _TARGET, Parameter("pattern", "the regular expression", Kind.PATTERN)),
                _extract,
            ),
            Operation(
                "REMOVE_VALUES",
                "Removes the rows that meet all its conditions.",
                Effect.REMOVES_ROWS,
                (_SOURCE,),
                needs_conditions=True,
            ),
            Operation(
                "DELETE_DUPLICATE_ROWS",
                "Removes rows equal to an earlier one in every column of that point.",
                Effect.REMOVES_REPEATED_ROWS,
                (),
            ),
        )
    }
)
