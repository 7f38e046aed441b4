"""Steps that change, search or cut text. Positions count from 1, both ends included: the reference calls characters
3 to 9 `startPosition` 3 and `endPosition` 9.
"""

import json
import re
from collections.abc import Callable, Sequence

from city_platform.cleaning.operation import (
    READ,
    SOURCE,
    TARGET,
    Effect,
    Kind,
    Operation,
    Parameter,
    Parameters,
    Rewrite,
    flag,
)
from city_platform.cleaning.patterns import group_count, literal_replacement
from city_platform.cleaning.steps.functions import function
from city_platform.engines.dialect import Dialect

_START = Parameter("startPattern", "a regular expression: what comes before", Kind.PATTERN)
_END = Parameter("endPattern", "a regular expression: what comes behind", Kind.PATTERN)
_FROM = Parameter("startPosition", "the first character, from 1", Kind.POSITION)
_TO = Parameter("endPosition", "the last character, from 1", Kind.POSITION)
_POSITION = Parameter("position", "how many characters", Kind.COUNT)


def _case(*functions: Callable[[Dialect], Rewrite]) -> Callable[[Dialect, Parameters], Sequence[Rewrite]]:
    return lambda dialect, _parameters: [one(dialect) for one in functions]


def _lower(dialect: Dialect) -> Rewrite:
    return dialect.lower


def _upper(dialect: Dialect) -> Rewrite:
    return dialect.upper


def _capital_after(delimiter: str) -> Callable[[Dialect], Rewrite]:
    return lambda dialect: lambda column: dialect.capital_after(column, delimiter)


def _around(before: str, behind: str) -> Callable[[Dialect, Parameters], Sequence[Rewrite]]:
    """Text put before and behind; the name of a parameter stands for its value."""

    def rewrites(dialect: Dialect, parameters: Parameters) -> Sequence[Rewrite]:
        first, last = (dialect.text(parameters.get(one, one)) for one in (before, behind))
        return [lambda column: f"CASE WHEN {column} <> '' THEN {first} || {column} || {last} ELSE {column} END"]

    return rewrites


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
    def asked(name: str) -> bool:
        return parameters.get(name) == "true"

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
    steps.extend(removal(pattern) for name, pattern in _REMOVALS.items() if asked(name))
    collapse, trim = asked("collapseConsecutiveWhitespace"), asked("removeLeadingAndTrailingWhitespace")
    if collapse and trim:
        steps.append(dialect.normalize_whitespace)
    elif collapse:
        steps.append(dialect.collapse_whitespace)
    elif trim:
        steps.append(dialect.trim)
    return steps


def _combined(parameters: Parameters) -> str | None:
    if "true" not in parameters.values():
        return "REMOVE_COMBINED removes nothing: none of its flags is true -> set one to true"
    for name, needs in (("removeCustomValue", "customValue"), ("removeCustomCharacters", "customCharacters")):
        if parameters.get(name) == "true" and needs not in parameters:
            return f'{name} is true and {needs} is missing -> add "{needs}"'
    return None


_WHOLE = re.compile(r"\^\(?([^\\.^$*+?()\[\]{}]+)\)?\$")  # ^word$ or ^(one|other)$, nothing else special


def _replace_text(dialect: Dialect, parameters: Parameters) -> Sequence[Rewrite]:
    pattern, value = parameters["pattern"], parameters["value"]
    whole = _WHOLE.fullmatch(pattern)
    plain_value = "$" not in value and "\\" not in value
    if whole and plain_value and ("|" not in pattern or pattern.startswith("^(")):
        listed = [dialect.text(one) for one in whole[1].split("|")]
        return [
            lambda column: f"CASE WHEN {dialect.is_one_of(column, listed)} THEN {dialect.text(value)} ELSE {column} END"
        ]
    if plain_value and pattern == re.sub(r"[\\.^$*+?()\[\]{}|]", "", pattern):
        return [lambda column: dialect.replace_text(column, pattern, value)]
    return [_replacing(dialect, pattern, value)]


def _replacing(dialect: Dialect, pattern: str, replacement: str) -> Rewrite:
    return lambda column: (
        f"CASE WHEN {dialect.contains_match(column, pattern)} "
        f"THEN {dialect.replace_all(column, pattern, replacement)} ELSE {column} END"
    )


def _groups(parameters: Parameters) -> str | None:
    groups = group_count(parameters["pattern"])
    for number in re.findall(r"(?<!\\)\$([0-9])", parameters["value"]):
        if int(number) > groups:
            remedy = "add parentheses to the pattern, or write \\$ for a dollar"
            return f"the value names group ${number}, the pattern has {groups} -> {remedy}"
    return None


def _replace_between_delimiters(dialect: Dialect, parameters: Parameters) -> Sequence[Rewrite]:
    start, end = parameters["startPattern"], parameters["endPattern"]
    behind = 2 + group_count(start)
    replacement = f"$1{literal_replacement(parameters['value'])}${behind}"
    return [_replacing(dialect, f"(?s)((?:{start})).*?((?:{end}))", replacement)]


def _few_groups(parameters: Parameters) -> str | None:
    if group_count(parameters["startPattern"]) > 7:  # noqa: PLR2004 - the last delimiter is group $9 at most
        return "startPattern has more than 7 groups -> write (?:…) for what needs no group"
    return None


def _extract_between_delimiters(dialect: Dialect, parameters: Parameters) -> Sequence[Rewrite]:
    start = parameters["startPattern"]
    pattern = f"(?s)(?:{start})(.*?)(?:{parameters['endPattern']})"
    return [lambda column: dialect.first_match(column, pattern, 1 + group_count(start))]


def span(parameters: Parameters) -> tuple[int, int]:
    return int(parameters["startPosition"]), int(parameters["endPosition"])


def span_problem(parameters: Parameters) -> str | None:
    """What is wrong with the two positions."""
    start, end = span(parameters)
    return f"endPosition {end} is before startPosition {start} -> exchange them" if end < start else None


def _cut(parameters: Parameters, value: str) -> str:
    start, end = span(parameters)
    return f"substr({value}, {start}, {end - start + 1})"


def _replace_between_positions(dialect: Dialect, parameters: Parameters) -> Sequence[Rewrite]:
    start, end = span(parameters)
    text = dialect.text(parameters["value"])
    return [
        lambda column: (
            f"CASE WHEN length({column}) >= {start} "
            f"THEN substr({column}, 1, {start - 1}) || {text} || substr({column}, {end + 1}) ELSE {column} END"
        )
    ]


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


OPERATIONS = (
    Operation("UPPER_CASE", "All letters capital.", Effect.REWRITES, (SOURCE,), _case(_upper)),
    Operation("LOWER_CASE", "All letters small.", Effect.REWRITES, (SOURCE,), _case(_lower)),
    Operation(
        "CAPITAL_CASE",
        "Every word starts with a capital, all other letters are small; words end at a space.",
        Effect.REWRITES,
        (SOURCE,),
        _case(_lower, _capital_after(" ")),
    ),
    Operation(
        "SENTENCE_CASE",
        "Every sentence starts with a capital, all other letters are small; sentences end at . ! ? and a space.",
        Effect.REWRITES,
        (SOURCE,),
        _case(_lower, *(_capital_after(end) for end in (". ", "! ", "? "))),
    ),
    Operation("ADD_DOUBLE_QUOTES", "Puts double quotes around values.", Effect.REWRITES, (SOURCE,), _around('"', '"')),
    Operation("ADD_SINGLE_QUOTES", "Puts single quotes around values.", Effect.REWRITES, (SOURCE,), _around("'", "'")),
    Operation(
        "ADD_PREFIX",
        "Puts a text before values.",
        Effect.REWRITES,
        (SOURCE, Parameter("pattern", "the text")),
        _around("pattern", ""),
    ),
    Operation(
        "ADD_SUFFIX",
        "Puts a text behind values.",
        Effect.REWRITES,
        (SOURCE, Parameter("pattern", "the text")),
        _around("", "pattern"),
    ),
    Operation(
        "REMOVE_COMBINED",
        "Removes characters: those the flags name, in the order of the flags here, white space last.",
        Effect.REWRITES,
        (
            SOURCE,
            flag("removeCustomValue", "every occurrence of customValue"),
            Parameter("customValue", "the text to remove", required=False),
            flag("removeCustomCharacters", "every one of customCharacters"),
            Parameter("customCharacters", "the characters to remove", required=False),
            flag("removeAllPunctuation", "all of . ! , ?"),
            flag("removeAllQuotes", "all single and double quotes"),
            flag("removeLetters", "all of A-Z and a-z"),
            flag("removeNumbers", "all of 0-9"),
            flag("removeSpecialCharacters", "all punctuation and symbols of ASCII"),
            flag("removeAllWhitespace", "all white space"),
            flag("removeLeadingAndTrailingPunctuation", ". ! , ? at either end"),
            flag("removeLeadingAndTrailingQuotes", "quotes at either end"),
            flag("collapseConsecutiveWhitespace", "runs of white space become one space"),
            flag("removeLeadingAndTrailingWhitespace", "white space at either end"),
        ),
        _remove_combined,
        check=_combined,
    ),
    Operation(
        "REPLACE_TEXT",
        "Replaces every match of a regular expression; $1 in the value is the match's first group.",
        Effect.REWRITES,
        (
            SOURCE,
            Parameter("pattern", "the regular expression", Kind.PATTERN),
            Parameter("value", "what takes the match's place"),
        ),
        _replace_text,
        check=_groups,
    ),
    Operation(
        "REPLACE_BETWEEN_DELIMITERS",
        "Replaces what stands between two delimiters, at every pair of them; the delimiters stay.",
        Effect.REWRITES,
        (SOURCE, _START, _END, Parameter("value", "what takes its place")),
        _replace_between_delimiters,
        check=_few_groups,
    ),
    Operation(
        "REPLACE_BETWEEN_POSITIONS",
        "Replaces the characters from one position to another; a text that ends before the first stays as it is.",
        Effect.REWRITES,
        (SOURCE, _FROM, _TO, Parameter("value", "what takes their place")),
        _replace_between_positions,
        check=span_problem,
    ),
    Operation(
        "CATEGORICAL_MAPPING",
        "Maps values to others in a new column. Unmapped ones: kept, or all the same, or null.",
        Effect.DERIVES,
        (
            READ,
            TARGET,
            Parameter("categoryMap", "a JSON object of old and new values", Kind.CATEGORIES),
            Parameter("mapType", "the new values' type", allowed=("TEXT", "NUMERIC")),
            flag("keepOthers", "unmapped values stay"),
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
        (READ, TARGET, Parameter("pattern", "the regular expression", Kind.PATTERN)),
        lambda dialect, given: [lambda column: dialect.first_match(column, given["pattern"])],
    ),
    Operation(
        "EXTRACT_BETWEEN_DELIMITERS",
        "A new column of what stands between the first pair of delimiters; null where there is none.",
        Effect.DERIVES,
        (READ, TARGET, _START, _END),
        _extract_between_delimiters,
    ),
    Operation(
        "EXTRACT_BETWEEN_POSITIONS",
        "A new column of the characters from one position to another.",
        Effect.DERIVES,
        (READ, TARGET, _FROM, _TO),
        lambda _dialect, given: [lambda column: _cut(given, column)],
        check=span_problem,
    ),
    Operation(
        "FLAG_COLUMN_FROM_PATTERN",
        "A new column that says whether the regular expression matches some part of the value.",
        Effect.DERIVES,
        (
            READ,
            TARGET,
            Parameter("flagType", "what is flagged", allowed=("Pattern",)),
            Parameter("pattern", "the regular expression", Kind.PATTERN),
            Parameter("trueString", "where it matches; True if not given", required=False),
            Parameter("falseString", "elsewhere; False if not given", required=False),
        ),
        lambda dialect, given: [
            lambda column: (
                f"CASE WHEN {dialect.contains_match(column, given['pattern'])} "
                f"THEN {dialect.text(given.get('trueString', 'True'))} "
                f"ELSE {dialect.text(given.get('falseString', 'False'))} END"
            )
        ],
    ),
    function("LOWER", "A new column, all letters small.", lambda dialect, _given, value: dialect.lower(value)),
    function("UPPER", "A new column, all letters capital.", lambda dialect, _given, value: dialect.upper(value)),
    function("TRIM", "A new column without white space at either end.", lambda dialect, _given, one: dialect.trim(one)),
    function(
        "LEN",
        "A new column of the number of characters.",
        lambda dialect, _given, value: dialect.as_text(f"length({value})"),
    ),
    function(
        "LEFT",
        "A new column of the first characters.",
        lambda _dialect, given, value: f"left({value}, {int(given['position'])})",
        _POSITION,
    ),
    function(
        "RIGHT",
        "A new column of the last characters.",
        lambda _dialect, given, value: f"right({value}, {int(given['position'])})",
        _POSITION,
    ),
    Operation(
        "SUBSTRING",
        "A new column of the characters from one position to another.",
        Effect.DERIVES,
        (READ, TARGET, _FROM, _TO),
        lambda _dialect, given: [lambda column: _cut(given, column)],
        check=span_problem,
    ),
)
