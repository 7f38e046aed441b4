"""Regular expressions as recipes write them: RE2's syntax, `$1` for a group in what replaces a match."""

import functools
import re

import duckdb

# What is no group is passed over: an escape, a class of characters.
_GROUP = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|(\((?!\?)|\(\?P?<(?![=!]))", re.DOTALL)


def group_count(pattern: str) -> int:
    """How many groups a pattern captures."""
    return sum(1 for found in _GROUP.finditer(pattern) if found[1])


def literal_replacement(text: str) -> str:
    """The text as a replacement that stands for itself."""
    return text.replace("\\", "\\\\").replace("$", "\\$")


def pattern_problem(pattern: str) -> str | None:
    """What RE2, the engine's library of regular expressions, has against the pattern."""
    try:
        _engine().cursor().execute("SELECT regexp_matches('', ?)", [pattern])
    except duckdb.Error as error:
        return str(error).partition(": ")[2] or str(error)
    return None


@functools.cache
def _engine() -> duckdb.DuckDBPyConnection:
    """An empty database that lives as long as the process: opening one costs more than a hundred patterns."""
    return duckdb.connect(config={"threads": 1})
