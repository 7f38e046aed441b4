"""The few expressions on which SQL engines disagree, one class an engine.

Recipe steps and rules compile to SQL through these methods alone, so that the same folder runs on another engine.
Every `sql` argument and result is a SQL expression; names and values from outside enter only through `name` and
`text`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from city_platform.engines.shapes import Shape, shape_of, whole

if TYPE_CHECKING:
    from sqlglot import exp

# What the platform calls white space: a regular expression's \\s leaves out the no-break space of copied web pages.
WHITESPACE = (" ", "\t", "\n", "\r", "\u00a0")
_WHITESPACE_SQL = "' ' || chr(9) || chr(10) || chr(13) || chr(160)"
WHITESPACE_RUN = r"[ \t\n\r\x{A0}]+"


@dataclass(frozen=True, slots=True)
class UntypedValue:
    """One column's place in the list of values that could not be typed; `failed` and `value` are SQL."""

    column: str
    failed: str
    value: str
    reason: str


class Dialect(Protocol):
    """What a compiler may ask of an engine's SQL."""

    def name(self, identifier: str) -> str: ...
    def text(self, value: str) -> str: ...
    def null(self, sql_type: str) -> str: ...
    def as_text(self, sql: str) -> str: ...
    def try_cast(self, sql: str, sql_type: str) -> str: ...
    def parse_date(self, sql: str, formats: Sequence[str]) -> str: ...
    def parse_timestamp(self, sql: str, timezone: str) -> str: ...
    def parse_wall_time(self, sql: str) -> str: ...
    def date_part(self, part: str, sql: str) -> str: ...
    def add_time(self, sql: str, units: str, count: int) -> str: ...
    def add_seconds(self, moment: str, seconds: str) -> str: ...
    def whole_units(self, first: str, second: str, units: str) -> str: ...
    def trim(self, sql: str) -> str: ...
    def collapse_whitespace(self, sql: str) -> str: ...
    def normalize_whitespace(self, sql: str) -> str: ...
    def capital_after(self, sql: str, delimiter: str) -> str: ...
    def contains(self, sql: str, part: str) -> str: ...
    def starts_with(self, sql: str, prefix: str) -> str: ...
    def ends_with(self, sql: str, suffix: str) -> str: ...
    def is_one_of(self, sql: str, texts: Sequence[str]) -> str: ...
    def replace_text(self, sql: str, part: str, replacement: str) -> str: ...
    def first_match(self, sql: str, pattern: str, group: int = 0) -> str: ...
    def format_date(self, sql: str, date_format: str) -> str: ...
    def untyped_values(self, values: Sequence["UntypedValue"]) -> str: ...
    def matches_fully(self, sql: str, pattern: str) -> str: ...
    def contains_match(self, sql: str, pattern: str) -> str: ...
    def replace_all(self, sql: str, pattern: str, replacement_text: str) -> str: ...
    def local_time(self, sql: str, timezone: str) -> str: ...
    def join(self, values: Sequence[str], delimiter: str) -> str: ...
    def last_value(self, sql: str, order: str) -> str: ...
    def json_list(self, sql: str, order: str) -> str: ...
    def hashed_number(self, number: str, salt: str) -> str: ...
    def extract_match(self, sql: str, pattern: str, group: int) -> str: ...
    def lower(self, sql: str) -> str: ...
    def upper(self, sql: str) -> str: ...
    def double_text(self, sql: str) -> str: ...
    def typed_text(self, sql: str) -> str: ...
    def cast(self, sql: str, sql_type: str) -> str: ...
    def moment(self, text: str, sql_type: str) -> str: ...
    def parse_format(self, sql: str, date_format: str) -> str: ...
    def epoch_microseconds(self, sql: str) -> str: ...
    def hours_of(self, microseconds: str) -> str: ...
    def present(self, texts: Sequence[str]) -> str: ...
    def each(self, texts: str, variable: str, sql: str) -> str: ...
    def inexact_sum(self, sql: str) -> str: ...
    def different_numbers(self, sql: str, least: int, greatest: int) -> str: ...
    def kept_query(self, name: str, query: str) -> str: ...
    @property
    def sql_of(self) -> "Callable[[exp.Expr], str]": ...


def duckdb_sql(tree: "exp.Expr") -> str:
    """SQL as DuckDB reads it."""
    return str(tree.sql("duckdb"))


def replacement(value: str, group: Callable[[str], str], literal: Callable[[str], str]) -> str:
    """A replacement text, with `$1` for a group and `\\$` for a dollar, in the words of an engine."""

    def one(match: re.Match[str]) -> str:
        return group(match["group"]) if match["group"] else literal(match["escaped"] or match["plain"])

    return re.sub(r"\$(?P<group>[0-9])|\\(?P<escaped>.)|(?P<plain>.)", one, value, flags=re.DOTALL)


class DuckDBDialect:
    """DuckDB 2.0. Regular expressions are RE2's."""

    def name(self, identifier: str) -> str:
        """A quoted identifier."""
        return '"' + identifier.replace('"', '""') + '"'

    def text(self, value: str) -> str:
        """A string literal."""
        return "'" + value.replace("'", "''") + "'"

    def null(self, sql_type: str) -> str:
        """A null of a type."""
        return f"CAST(NULL AS {sql_type})"

    def as_text(self, sql: str) -> str:
        """A number as text."""
        return f"CAST({sql} AS VARCHAR)"

    def try_cast(self, sql: str, sql_type: str) -> str:
        """The value as `sql_type`, or null. Whole-number types take only whole numbers: '12.5' is null, '43.0' is 43.

        DuckDB alone would round '12.5' to 13 and read '1_000' and '0x1F' as numbers; a governance platform must not.
        Spaces around a number do no harm.
        """
        cast = f"TRY_CAST({sql} AS {sql_type})"
        if sql_type.upper() in {"TINYINT", "SMALLINT", "INTEGER", "BIGINT"}:
            # A number written as the engine itself writes it needs no regular expression, and nearly all are.
            plain = f"CAST({cast} AS VARCHAR) = {sql} OR regexp_full_match({sql}, ' *[+-]?[0-9]+(\\.0*)? *')"
            return f"CASE WHEN {plain} THEN {cast} END"
        if sql_type.upper() in {"FLOAT", "DOUBLE"} or sql_type.upper().startswith("DECIMAL"):
            plain = f"regexp_full_match({sql}, ' *[+-]?([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([eE][+-]?[0-9]+)? *')"
            finite = "" if sql_type.upper().startswith("DECIMAL") else f" AND isfinite({cast})"
            return f"CASE WHEN {plain}{finite} THEN {cast} END"
        return cast

    def parse_date(self, sql: str, formats: Sequence[str]) -> str:
        """A text as DATE: ISO 8601 first (four-digit year), then each strptime format in order; null if none fits."""
        iso = (
            f"CASE WHEN length({sql}) = 10 AND CAST(TRY_CAST({sql} AS DATE) AS VARCHAR) = {sql} "
            f"THEN TRY_CAST({sql} AS DATE) END"
        )
        if not formats:
            return iso
        listed = ", ".join(self.text(one) for one in formats)
        return f"COALESCE({iso}, {self._with_digits(sql, f'TRY_STRPTIME({sql}, [{listed}])')}::DATE)"

    @staticmethod
    def _with_digits(sql: str, parsed: str) -> str:
        """Whatever the format, the engine would take the words `infinity` and `epoch`."""
        return f"CASE WHEN {sql} GLOB '*[0-9]*' THEN {parsed} END"

    def parse_timestamp(self, sql: str, timezone: str) -> str:
        """A text as TIMESTAMP WITH TIME ZONE; without an offset it is read as local time in `timezone`.

        An ambiguous local hour (the clock going back) is taken as the first of the two; a skipped one (the clock
        going forward) by the offset before the change, as Python's zoneinfo does.
        """
        # The portal's own form is told by LIKE, faster than a regular expression; all others go the long way.
        usual = f"{sql} LIKE '____-__-__T__:__:__-__:__' OR {sql} LIKE '____-__-__T__:__:__+__:__'"
        shape = " *[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]+)?)?"
        offset = f"regexp_full_match({sql}, '{shape}([zZ]|[+-][0-9]{{2}}(:?[0-9]{{2}})?) *')"
        naive = f"regexp_full_match({sql}, '{shape} *| *[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}} *')"
        zoned = f"TRY_CAST({sql} AS TIMESTAMPTZ)"
        wall = f"TRY_CAST({sql} AS TIMESTAMP)"
        later = f"timezone({self.text(timezone)}, {wall})"
        # The engine takes the second of two like hours; an hour earlier that reads the same is the first.
        earlier = f"({later} - INTERVAL 1 HOUR)"
        first = f"CASE WHEN {self.local_time(earlier, timezone)} = {wall} THEN {earlier} ELSE {later} END"
        return f"CASE WHEN {usual} OR {offset} THEN {zoned} WHEN {naive} THEN {first} END"

    def parse_wall_time(self, sql: str) -> str:
        """An ISO 8601 date or time as the TIMESTAMP it shows, any offset left out; null for everything else."""
        time = r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?)?"
        shape = rf"^ *([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}{time})([zZ]|[+-][0-9]{{2}}(:?[0-9]{{2}})?)? *$"
        return f"TRY_CAST(regexp_extract({sql}, {self.text(shape)}, 1) AS TIMESTAMP)"

    def date_part(self, part: str, sql: str) -> str:
        """A whole number: year, quarter, month, week (ISO 8601), day, hour, minute or second of a TIMESTAMP."""
        return f"extract({part} FROM {sql})"

    def add_time(self, sql: str, units: str, count: int) -> str:
        """A TIMESTAMP some units (YEARS to MICROSECONDS) later."""
        months = {"YEARS": 12, "QUARTERS": 3}
        amount = f"{count * months[units]} MONTHS" if units in months else f"{count} {units}"
        return f"({sql} + INTERVAL '{amount}')"

    def add_seconds(self, moment: str, seconds: str) -> str:
        """The TIMESTAMP that many whole seconds after `moment`, a time as text."""
        return f"(TIMESTAMP {self.text(moment)} + to_seconds({seconds}))"

    def whole_units(self, first: str, second: str, units: str) -> str:
        """How many complete units lie between two TIMESTAMPs; negative where the second is earlier."""
        return f"date_sub('{units.removesuffix('S').lower()}', {first}, {second})"

    def trim(self, sql: str) -> str:
        """Without white space at either end: space, tab, line breaks, no-break space."""
        ends = " OR ".join(f"{test(sql, one)}" for one in WHITESPACE for test in (self.starts_with, self.ends_with))
        return f"CASE WHEN {ends} THEN trim({sql}, {_WHITESPACE_SQL}) ELSE {sql} END"

    def collapse_whitespace(self, sql: str) -> str:
        """Runs of white space as one space. The cheap test spares the regular expression on nearly every row."""
        return f"CASE WHEN {self._has_runs(sql)} THEN {self._one_space(sql)} ELSE {sql} END"

    def normalize_whitespace(self, sql: str) -> str:
        """Collapsed and trimmed, behind one cheap test."""
        dirty = f"{self.starts_with(sql, ' ')} OR {self.ends_with(sql, ' ')} OR {self._has_runs(sql)}"
        return f"CASE WHEN {dirty} THEN trim({self._one_space(sql)}) ELSE {sql} END"

    def _has_runs(self, sql: str) -> str:
        return " OR ".join(self.contains(sql, part) for part in ("  ", *WHITESPACE[1:]))

    def _one_space(self, sql: str) -> str:
        return f"regexp_replace({sql}, {self.text(WHITESPACE_RUN)}, ' ', 'g')"

    def capital_after(self, sql: str, delimiter: str) -> str:
        """The first letter, and that after every occurrence of the delimiter, a capital; the others stay."""
        word, text = "upper(word[1]) || word[2:]", self.text(delimiter)
        return f"array_to_string(list_transform(string_split({sql}, {text}), lambda word: {word}), {text})"

    def contains(self, sql: str, part: str) -> str:
        """Whether the text holds `part`, letter by letter."""
        return f"contains({sql}, {self.text(part)})"

    def starts_with(self, sql: str, prefix: str) -> str:
        """Whether the text starts with `prefix`."""
        return f"starts_with({sql}, {self.text(prefix)})"

    def ends_with(self, sql: str, suffix: str) -> str:
        """Whether the text ends with `suffix`."""
        return f"ends_with({sql}, {self.text(suffix)})"

    def is_one_of(self, sql: str, texts: Sequence[str]) -> str:
        """Whether the text is one of these literals of SQL; not true of a null.

        A map is asked once for each distinct value of a dictionary, `IN` for each row and text.
        """
        several = dict.fromkeys(texts)
        if len(several) == 1:
            return f"({sql} = {texts[0]})"
        return f"(MAP {{{', '.join(f'{one}: true' for one in several)}}}[{sql}] IS NOT NULL)"

    def replace_text(self, sql: str, part: str, replacement: str) -> str:
        """Every occurrence of `part` replaced, no regular expression."""
        return f"replace({sql}, {self.text(part)}, {self.text(replacement)})"

    def first_match(self, sql: str, pattern: str, group: int = 0) -> str:
        """What the regular expression, or a group of it, matches first, or null."""
        found = f"regexp_extract({sql}, {self.text(pattern)}, {group})"
        return f"CASE WHEN {self.contains_match(sql, pattern)} THEN {found} END"

    def format_date(self, sql: str, date_format: str) -> str:
        """A DATE or TIMESTAMP as text in a strftime format."""
        return f"strftime({sql}, {self.text(date_format)})"

    def untyped_values(self, values: Sequence[UntypedValue]) -> str:
        """A list of structs (column, value, reason) of those that failed; null when none did."""
        kind = 'STRUCT("column" VARCHAR, "value" VARCHAR, reason VARCHAR)[]'
        if not values:
            return f"CAST(NULL AS {kind})"
        entries = ", ".join(
            f"CASE WHEN {one.failed} THEN {{'column': {self.text(one.column)}, 'value': {one.value}, "
            f"'reason': {self.text(one.reason)}}} END"
            for one in values
        )
        any_failed = " OR ".join(one.failed for one in values)
        listed = f"list_filter([{entries}], lambda entry: entry IS NOT NULL)"
        return f"CASE WHEN {any_failed} THEN CAST({listed} AS {kind}) END"

    def matches_fully(self, sql: str, pattern: str) -> str:
        """Whether the whole text matches the regular expression."""
        if shape := shape_of(whole(pattern) or pattern):
            return self._of_shape(sql, shape)
        return f"regexp_full_match({sql}, {self.text(pattern)})"

    def contains_match(self, sql: str, pattern: str) -> str:
        """Whether some part of the text matches the regular expression."""
        inner = whole(pattern)
        if inner is not None and (shape := shape_of(inner)):
            return self._of_shape(sql, shape)
        return f"regexp_matches({sql}, {self.text(pattern)})"

    def _of_shape(self, sql: str, shape: Shape) -> str:
        right, wrong = shape.globs
        exceptions = f" AND NOT ({sql}) GLOB {self.text(wrong)}" if wrong is not None else ""
        return f"(({sql}) GLOB {self.text(right)}{exceptions})"

    def replace_all(self, sql: str, pattern: str, replacement_text: str) -> str:
        """Every match replaced; `$1` in the replacement is the match's first group."""
        inner = whole(pattern)
        shape = shape_of(inner) if inner is not None else None
        if shape is not None and shape.further is None:
            put = self._put(sql, shape, replacement_text)
            return f"CASE WHEN {self._of_shape(sql, shape)} THEN {put} ELSE {sql} END"
        words = replacement(replacement_text, lambda group: f"\\{group}", lambda one: "\\\\" if one == "\\" else one)
        return f"regexp_replace({sql}, {self.text(pattern)}, {self.text(words)}, 'g')"

    def _put(self, sql: str, shape: Shape, replacement_text: str) -> str:
        """The replacement of a text of that shape, whose groups are known by their places."""

        def group(number: str) -> str:
            first, last = shape.groups[int(number)]
            part = sql if (first, last) == shape.groups[0] else f"substr({sql}, {first}, {last - first + 1})"
            return f"' || {part} || '"

        quoted = replacement(replacement_text, group, lambda one: "''" if one == "'" else one)
        return f"('{quoted}')"

    def local_time(self, sql: str, timezone: str) -> str:
        """A TIMESTAMP WITH TIME ZONE as the wall clock's TIMESTAMP in `timezone`."""
        return f"timezone({self.text(timezone)}, {sql})"

    def join(self, values: Sequence[str], delimiter: str) -> str:
        """The texts that are there, joined; empty where none is."""
        given = ", ".join(f"NULLIF({one}, '')" for one in values)
        return f"concat_ws({self.text(delimiter)}, {given})"

    def last_value(self, sql: str, order: str) -> str:
        """The nearest value that is not null, of this row or those before it."""
        return (
            f"last_value({sql} IGNORE NULLS) OVER (ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
        )

    def json_list(self, sql: str, order: str) -> str:
        """An aggregate: the values that are not null as a JSON list, in an order; null where there is none."""
        return f"CAST(to_json(list({sql} ORDER BY {order}) FILTER (WHERE {sql} IS NOT NULL)) AS VARCHAR)"

    def hashed_number(self, number: str, salt: str) -> str:
        """A whole number from 0 to 2^31 - 1 that the number and the salt fix and nothing else tells."""
        digest = f"substr(md5({self.text(salt + '/')} || CAST({number} AS VARCHAR)), 1, 8)"
        return f"(CAST('0x' || {digest} AS BIGINT) % 2147483648)"

    def extract_match(self, sql: str, pattern: str, group: int) -> str:
        """What a group of the regular expression matches first, or an empty text."""
        return f"regexp_extract({sql}, {self.text(pattern)}, {group})"

    def lower(self, sql: str) -> str:
        """All letters small, character by character: `ẞ` becomes `ß`, and a sigma at a word's end is like any other."""
        return f"lower({sql})"

    def upper(self, sql: str) -> str:
        """All letters capital, character by character: `ß` becomes `ẞ`, not `SS`."""
        return f"upper({sql})"

    def double_text(self, sql: str) -> str:
        """A double-precision number as text."""
        return f"CAST({sql} AS VARCHAR)"

    def typed_text(self, sql: str) -> str:
        """A value of any type as text."""
        return f"CAST({sql} AS VARCHAR)"

    def cast(self, sql: str, sql_type: str) -> str:
        """A value as another type that can hold it."""
        return f"CAST({sql} AS {sql_type})"

    def moment(self, text: str, sql_type: str) -> str:
        """A literal TIMESTAMP or, with its offset, TIMESTAMPTZ."""
        return f"{sql_type} {self.text(text)}"

    def parse_format(self, sql: str, date_format: str) -> str:
        """A text as a TIMESTAMP by a strptime format; null where it does not fit."""
        return self._with_digits(sql, f"TRY_STRPTIME({sql}, {self.text(date_format)})")

    def epoch_microseconds(self, sql: str) -> str:
        """A TIMESTAMP or TIMESTAMPTZ as whole microseconds since 1970 in UTC."""
        return f"epoch_us({sql})"

    def hours_of(self, microseconds: str) -> str:
        """Hours, to two decimals."""
        return f"round({microseconds} / 3.6e9, 2)"

    def present(self, texts: Sequence[str]) -> str:
        """The texts that are not null, of which no two are alike, as a list."""
        return f"list_filter([{', '.join(texts)}], lambda one: one IS NOT NULL)"

    def each(self, texts: str, variable: str, sql: str) -> str:
        """What `sql` makes of each text of a list, which it knows as `variable`."""
        return f"list_transform({texts}, lambda {variable}: {sql})"

    def inexact_sum(self, sql: str) -> str:
        """The sum of double-precision numbers, by Kahan, so that the order of the rows does not show."""
        return f"fsum({sql})"

    def different_numbers(self, sql: str, least: int, greatest: int) -> str:
        """An aggregate: how many different ones there are of whole numbers that lie close together."""
        bounds = f"CAST({least} AS BIGINT), CAST({greatest} AS BIGINT)"
        return f"bit_count(bitstring_agg(CAST({sql} AS BIGINT), {bounds}))"

    def kept_query(self, name: str, query: str) -> str:
        """A step of a WITH that is computed once, however often it is read."""
        return f"{name} AS MATERIALIZED ({query})"

    @property
    def sql_of(self) -> "Callable[[exp.Expr], str]":
        """Writes what stewards wrote."""
        return duckdb_sql
