"""The expressions of `dialect` in Spark's SQL, for the same recipes on a cluster.

Spark 3.5 or 4, ANSI mode or not, with the session's time zone UTC. What both engines write the same is inherited.
Regular expressions are Java's, which read what recipes may hold: RE2's syntax.
"""

import re
from collections.abc import Sequence

from city_platform.engines.dialect import WHITESPACE, DuckDBDialect, UntypedValue, replacement

_JAVA = {
    "%Y": "yyyy",
    "%y": "yy",
    "%m": "MM",
    "%B": "MMMM",
    "%d": "dd",
    "%A": "EEEE",
    "%H": "HH",
    "%M": "mm",
    "%S": "ss",
}
_TYPES = {"VARCHAR": "STRING", "TIMESTAMPTZ": "TIMESTAMP", "TIMESTAMP WITH TIME ZONE": "TIMESTAMP", "INTEGER": "INT"}


class SparkDialect(DuckDBDialect):
    """Spark SQL."""

    def name(self, identifier: str) -> str:
        return "`" + identifier.replace("`", "``") + "`"

    def text(self, value: str) -> str:
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"

    def null(self, sql_type: str) -> str:
        return f"CAST(NULL AS {_type(sql_type)})"

    def as_text(self, sql: str) -> str:
        return f"CAST({sql} AS STRING)"

    def try_cast(self, sql: str, sql_type: str) -> str:
        """As DuckDB's: '43.0' is the whole number 43, which Spark's cast from text is not, '12.5' and '1d' are none."""
        kind = _type(sql_type)
        if kind in {"TINYINT", "SMALLINT", "INT", "BIGINT"}:
            whole = f"regexp_extract({sql}, {self.text('^ *([+-]?[0-9]+)([.]0*)? *$')}, 1)"
            return f"TRY_CAST(NULLIF({whole}, '') AS {kind})"
        if kind in {"FLOAT", "DOUBLE"} or kind.startswith("DECIMAL"):
            plain = self.matches_fully(sql, r" *[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)? *")
            return f"CASE WHEN {plain} THEN NULLIF(TRY_CAST(trim({sql}) AS {kind}), {self._infinite(kind)}) END"
        return f"TRY_CAST({sql} AS {kind})"

    @staticmethod
    def _infinite(kind: str) -> str:
        return f"CAST(NULL AS {kind})" if kind.startswith("DECIMAL") else f"CAST('Infinity' AS {kind})"

    def parse_date(self, sql: str, formats: Sequence[str]) -> str:
        iso = f"CASE WHEN {self.matches_fully(sql, '[0-9]{4}-[0-9]{2}-[0-9]{2}')} THEN TRY_CAST({sql} AS DATE) END"
        others = [f"CAST(try_to_timestamp({sql}, {self.text(_java(one))}) AS DATE)" for one in formats]
        return f"COALESCE({', '.join([iso, *others])})" if others else iso

    def parse_timestamp(self, sql: str, timezone: str) -> str:
        shape = " *[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?"
        offset = self.matches_fully(sql, f"{shape}([zZ]|[+-][0-9]{{2}}(:?[0-9]{{2}})?) *")
        naive = self.matches_fully(sql, f"{shape} *| *[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}} *")
        moment = f"TRY_CAST(trim({sql}) AS TIMESTAMP)"
        return (
            f"CASE WHEN {offset} THEN {moment} WHEN {naive} THEN to_utc_timestamp({moment}, {self.text(timezone)}) END"
        )

    def local_time(self, sql: str, timezone: str) -> str:
        return f"from_utc_timestamp({sql}, {self.text(timezone)})"

    def date_part(self, part: str, sql: str) -> str:
        return f"{ {'week': 'weekofyear'}.get(part, part) }({sql})"

    def add_time(self, sql: str, units: str, count: int) -> str:
        return f"timestampadd({units.removesuffix('S')}, {count}, {sql})"

    def add_seconds(self, moment: str, seconds: str) -> str:
        return f"timestampadd(SECOND, {seconds}, TIMESTAMP {self.text(moment)})"

    def whole_units(self, first: str, second: str, units: str) -> str:
        return f"timestampdiff({units.removesuffix('S')}, {first}, {second})"

    def trim(self, sql: str) -> str:
        return f"trim(BOTH {self.text(''.join(WHITESPACE))} FROM {sql})"

    def capital_after(self, sql: str, delimiter: str) -> str:
        word = "concat(upper(substr(word, 1, 1)), substr(word, 2))"
        words = f"split({sql}, {self.text(re.escape(delimiter))}, -1)"
        return f"array_join(transform({words}, word -> {word}), {self.text(delimiter)})"

    def starts_with(self, sql: str, prefix: str) -> str:
        return f"startswith({sql}, {self.text(prefix)})"

    def ends_with(self, sql: str, suffix: str) -> str:
        return f"endswith({sql}, {self.text(suffix)})"

    def is_one_of(self, sql: str, texts: Sequence[str]) -> str:
        return f"({sql} IN ({', '.join(texts)}))"

    def format_date(self, sql: str, date_format: str) -> str:
        return f"date_format({sql}, {self.text(_java(date_format))})"

    def untyped_values(self, values: Sequence[UntypedValue]) -> str:
        kind = "ARRAY<STRUCT<column: STRING, value: STRING, reason: STRING>>"
        if not values:
            return f"CAST(NULL AS {kind})"
        entries = ", ".join(
            f"CASE WHEN {one.failed} THEN named_struct('column', {self.text(one.column)}, 'value', {one.value}, "
            f"'reason', {self.text(one.reason)}) END"
            for one in values
        )
        any_failed = " OR ".join(one.failed for one in values)
        return f"CASE WHEN {any_failed} THEN filter(array({entries}), entry -> entry IS NOT NULL) END"

    def matches_fully(self, sql: str, pattern: str) -> str:
        return f"({sql} RLIKE {self.text(f'^(?:{pattern})$')})"

    def contains_match(self, sql: str, pattern: str) -> str:
        return f"({sql} RLIKE {self.text(pattern)})"

    def replace_all(self, sql: str, pattern: str, replacement_text: str) -> str:
        words = replacement(
            replacement_text, lambda group: f"${group}", lambda one: f"\\{one}" if one in "\\$" else one
        )
        return f"regexp_replace({sql}, {self.text(pattern)}, {self.text(words)})"

    def _one_space(self, sql: str) -> str:
        return self.replace_all(sql, r"[ \t\n\r\x{A0}]+", " ")

    def last_value(self, sql: str, order: str) -> str:
        return f"last_value({sql}, TRUE) OVER (ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"

    def json_list(self, sql: str, order: str) -> str:
        listed = f"collect_list(CASE WHEN {sql} IS NOT NULL THEN named_struct('place', {order}, 'value', {sql}) END)"
        return f"NULLIF(to_json(transform(array_sort({listed}), one -> one.value)), '[]')"

    def hashed_number(self, number: str, salt: str) -> str:
        digest = f"substr(md5(concat({self.text(salt + '/')}, CAST({number} AS STRING))), 1, 8)"
        return f"(CAST(conv({digest}, 16, 10) AS BIGINT) % 2147483648)"


def _type(sql_type: str) -> str:
    """The contract's word for a type in Spark's."""
    return _TYPES.get(sql_type.upper(), sql_type.upper())


def _java(date_format: str) -> str:
    """A strftime format as Java's pattern."""
    pieces = re.split("(%[A-Za-z])", date_format)
    return "".join(_JAVA[one] if one in _JAVA else f"'{one}'" if re.search("[A-Za-z]", one) else one for one in pieces)
