"""Regular expressions as the engine reads them."""

import functools

import duckdb


def pattern_problem(pattern: str) -> str | None:
    """What RE2, the engine's library of regular expressions, has against the pattern."""
    try:
        engine().cursor().execute("SELECT regexp_matches('', ?)", [pattern])
    except duckdb.Error as error:
        return str(error).partition(": ")[2] or str(error)
    return None


@functools.cache
def engine() -> duckdb.DuckDBPyConnection:
    """An empty database that lives as long as the process: opening one costs more than a hundred patterns."""
    return duckdb.connect(config={"threads": 1})
