"""The few expressions on which SQL engines disagree, one class an engine.

Recipe steps and rules compile to SQL through these methods alone, so that the same folder runs on another engine.
Every `sql` argument and result is a SQL expression; names and values from outside enter only through `name` and
`text`.
"""

from collections.abc import Sequence
from typing import Protocol


class Dialect(Protocol):
    """What a compiler may ask of an engine's SQL."""

    def name(self, identifier: str) -> str: ...
    def text(self, value: str) -> str: ...
    def try_cast(self, sql: str, sql_type: str) -> str: ...
    def parse_date(self, sql: str, formats: Sequence[str]) -> str: ...
    def parse_timestamp(self, sql: str, timezone: str) -> str: ...
    def trim(self, sql: str) -> str: ...
    def collapse_whitespace(self, sql: str) -> str: ...
    def matches_fully(self, sql: str, pattern: str) -> str: ...
    def contains_match(self, sql: str, pattern: str) -> str: ...
    def replace_all(self, sql: str, pattern: str, replacement: str) -> str: ...
    def local_time(self, sql: str, timezone: str) -> str: ...


class DuckDBDialect:
    """DuckDB 2.0. Regular expressions are RE2's."""

    def name(self, identifier: str) -> str:
        """A quoted identifier."""
        return '"' + identifier.replace('"', '""') + '"'

    def text(self, value: str) -> str:
        """A string literal."""
        return "'" + value.replace("'", "''") + "'"

    def try_cast(self, sql: str, sql_type: str) -> str:
        """The value as `sql_type`, or null. Whole-number types take only whole numbers: '12.5' is null, '43.0' is 43.

        DuckDB alone would round '12.5' to 13 and read '1_000' and '0x1F' as numbers; a governance platform must not.
        """
        if sql_type.upper() in {"TINYINT", "SMALLINT", "INTEGER", "BIGINT"}:
            plain = f"regexp_full_match({sql}, '[+-]?[0-9]+(\\.0*)?')"
            return f"CASE WHEN {plain} THEN TRY_CAST({sql} AS {sql_type}) END"
        if sql_type.upper() == "DOUBLE" or sql_type.upper().startswith("DECIMAL"):
            plain = f"regexp_full_match({sql}, '[+-]?([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([eE][+-]?[0-9]+)?')"
            return f"CASE WHEN {plain} THEN TRY_CAST({sql} AS {sql_type}) END"
        return f"TRY_CAST({sql} AS {sql_type})"

    def parse_date(self, sql: str, formats: Sequence[str]) -> str:
        """A text as DATE: ISO 8601 first (four-digit year), then each strptime format in order; null if none fits."""
        iso = f"CASE WHEN regexp_full_match({sql}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}') THEN TRY_CAST({sql} AS DATE) END"
        if not formats:
            return iso
        listed = ", ".join(self.text(one) for one in formats)
        return f"COALESCE({iso}, TRY_STRPTIME({sql}, [{listed}])::DATE)"

    def parse_timestamp(self, sql: str, timezone: str) -> str:
        """A text as TIMESTAMP WITH TIME ZONE; without an offset it is read as local time in `timezone`.

        An ambiguous local hour (the clock going back) is taken as the first of the two.
        """
        offset = f"regexp_matches({sql}, '([zZ]|[+-][0-9]{{2}}:?[0-9]{{2}})$')"
        zoned = f"TRY_CAST({sql} AS TIMESTAMPTZ)"
        local = f"timezone({self.text(timezone)}, TRY_CAST({sql} AS TIMESTAMP))"
        return f"CASE WHEN {offset} THEN {zoned} ELSE {local} END"

    def trim(self, sql: str) -> str:
        """Without white space at either end, tabs and line breaks included."""
        return f"trim({sql}, ' ' || chr(9) || chr(10) || chr(13) || chr(160))"

    def collapse_whitespace(self, sql: str) -> str:
        """Runs of white space as one space. The cheap test spares the regular expression on nearly every row."""
        dirty = f"(contains({sql}, '  ') OR contains({sql}, chr(10)) OR contains({sql}, chr(9)) OR contains({sql}, chr(13)))"
        return f"CASE WHEN {dirty} THEN regexp_replace({sql}, '\\s+', ' ', 'g') ELSE {sql} END"

    def matches_fully(self, sql: str, pattern: str) -> str:
        """Whether the whole text matches the regular expression."""
        return f"regexp_full_match({sql}, {self.text(pattern)})"

    def contains_match(self, sql: str, pattern: str) -> str:
        """Whether some part of the text matches the regular expression."""
        return f"regexp_matches({sql}, {self.text(pattern)})"

    def replace_all(self, sql: str, pattern: str, replacement: str) -> str:
        """Every match replaced."""
        return f"regexp_replace({sql}, {self.text(pattern)}, {self.text(replacement)}, 'g')"

    def local_time(self, sql: str, timezone: str) -> str:
        """A TIMESTAMP WITH TIME ZONE as the wall clock's TIMESTAMP in `timezone`."""
        return f"timezone({self.text(timezone)}, {sql})"
