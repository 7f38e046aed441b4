"""The expressions of `dialect` in Spark's SQL, for the same recipes and rules on a cluster.

Spark 3.5 or 4 with ANSI mode on and the session's time zone UTC. What both engines write the same is inherited; what
Spark cannot say with surely the same outcome is refused with NotOnSpark. `TIMESTAMP` in the contract's words is Spark's
TIMESTAMP_NTZ, `TIMESTAMP WITH TIME ZONE` its TIMESTAMP_LTZ. Regular expressions go through `java_patterns`.
"""

import functools
import re
from collections.abc import Callable, Sequence

from sqlglot import exp

from city_platform.engines.dialect import WHITESPACE, WHITESPACE_RUN, DuckDBDialect, UntypedValue, replacement
from city_platform.engines.java_patterns import java_pattern
from city_platform.engines.session import NotOnSpark
from city_platform.engines.spark_sql import spark_sql

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
# What a query ends with where the rules of a time zone differ.
OTHER_RELEASE = re.compile("some moments lie where Spark has the rules of [A-Za-z0-9_+/-]+ of another release")
_TYPES = {
    "VARCHAR": "STRING",
    "TIMESTAMP": "TIMESTAMP_NTZ",
    "TIMESTAMPTZ": "TIMESTAMP_LTZ",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP_LTZ",
    "INTEGER": "INT",
    "HUGEINT": "DECIMAL(38,0)",
}
# What a strptime format takes for a part of a date, and how the part is written in full.
_PARTS = {"%Y": ("[0-9]{1,4}", 4), "%m": ("[0-9]{1,2}", 2), "%d": ("[0-9]{1,2}", 2)}
_WHOLE_NUMBER = r"^ *([+-]?[0-9]+)(\.0*)? *$"
_DATE = "([0-9]{4}-[0-9]{2}-[0-9]{2})"
_TIME = "([0-9]{2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]+)?)?)"
# Characters whose other case DuckDB and some version of Java see differently: those that Java makes two of, the sigma,
# which Java writes otherwise at the end of a word, and the letters that came to Unicode since version 12.
_OF_OWN_CASE = (
    (0xDF, 0xDF), (0x130, 0x131), (0x149, 0x149), (0x19B, 0x19B), (0x1F0, 0x1F0), (0x264, 0x264), (0x390, 0x390),
    (0x3A3, 0x3A3), (0x3B0, 0x3B0), (0x3C2, 0x3C3), (0x587, 0x587), (0x1C80, 0x1C8A), (0x1E96, 0x1E9E),
    (0x1F50, 0x1F56), (0x1F80, 0x1FFC), (0x2C2F, 0x2C2F), (0x2C5F, 0x2C5F), (0xA7C0, 0xA7DC), (0xA7F5, 0xA7F6),
    (0xFB00, 0xFB17), (0x10570, 0x105BC), (0x10D50, 0x10D85), (0x16E40, 0x16ED3),
)  # fmt: skip


class SparkDialect(DuckDBDialect):
    """Spark SQL.

    `span` gives the moments, as texts in UTC, between which Spark and DuckDB have the same rules of a time zone: these
    come with the JVM and with DuckDB, and the law changes. None where it need not be asked.
    """

    def __init__(self, span: Callable[[str], tuple[str, str] | None] = lambda _: None) -> None:
        self._span = span

    def name(self, identifier: str) -> str:
        return "`" + identifier.replace("`", "``") + "`"

    def text(self, value: str) -> str:
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"

    def null(self, sql_type: str) -> str:
        return f"CAST(NULL AS {spark_type(sql_type)})"

    def as_text(self, sql: str) -> str:
        return f"CAST({sql} AS STRING)"

    def double_text(self, sql: str) -> str:  # noqa: ARG002 -- whatever it is
        raise NotOnSpark("numbers with decimals are written as text, for which Spark has another form")

    def typed_text(self, sql: str) -> str:  # noqa: ARG002 -- whatever it is
        raise NotOnSpark("values that are no texts are written as such, for which Spark may have another form")

    def cast(self, sql: str, sql_type: str) -> str:
        return f"CAST({sql} AS {spark_type(sql_type)})"

    def moment(self, text: str, sql_type: str) -> str:
        return f"{spark_type(sql_type)} {self.text(text)}"

    def try_cast(self, sql: str, sql_type: str) -> str:
        """As DuckDB's: '43.0' is the whole number 43, which Spark's cast from text is not, '12.5' and '1d' are none."""
        kind = spark_type(sql_type)
        if kind in {"TINYINT", "SMALLINT", "INT", "BIGINT"}:
            return f"TRY_CAST(NULLIF({self._extract(sql, _WHOLE_NUMBER, 1)}, '') AS {kind})"
        if kind in {"FLOAT", "DOUBLE"} or kind.startswith("DECIMAL"):
            plain = self.matches_fully(sql, r" *[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)? *")
            cast = f"TRY_CAST(trim({sql}) AS {kind})"
            finite = "" if kind.startswith("DECIMAL") else f" AND abs({cast}) < CAST('Infinity' AS {kind})"
            return f"CASE WHEN {plain}{finite} THEN {cast} END"
        if kind in {"BOOLEAN", "STRING"}:
            return self._boolean(sql) if kind == "BOOLEAN" else sql
        raise NotOnSpark(f"texts are tried as {sql_type}, of which Spark takes other forms")

    def _boolean(self, sql: str) -> str:
        words = {"TRUE": ("true", "t", "yes", "y", "1"), "FALSE": ("false", "f", "no", "n", "0")}
        cases = (
            f"WHEN {self.matches_fully(sql, '(?i)(' + '|'.join(listed) + ')')} THEN {value}"
            for value, listed in words.items()
        )
        return f"CASE {' '.join(cases)} END"

    def parse_date(self, sql: str, formats: Sequence[str]) -> str:
        # The year 0 is one to Spark.
        shape = f"{self.matches_fully(sql, _DATE)} AND NOT {self.starts_with(sql, '0000')}"
        iso = f"CASE WHEN {shape} THEN TRY_CAST({sql} AS DATE) END"
        others = [f"CAST({self.parse_format(sql, one)} AS DATE)" for one in formats]
        return f"COALESCE({', '.join([iso, *others])})" if others else iso

    def parse_format(self, sql: str, date_format: str) -> str:
        parts = re.findall("%.|[^%]+", date_format)
        named = [one for one in parts if one.startswith("%")]
        if not set(named) <= set(_PARTS) or len(set(named)) < len(named):
            raise NotOnSpark(f"dates are read by the format {date_format}, of which Spark takes other forms")
        pattern = "".join(f"({_PARTS[one][0]})" if one in _PARTS else re.escape(one) for one in parts)
        pattern = rf"^[ \t\n\v\f\r]*{pattern}[ \t\n\v\f\r]*$"
        given = {one: self._extract(sql, pattern, place) for place, one in enumerate(named, start=1)}
        padded = [
            f"lpad({given[one]}, {_PARTS[one][1]}, '0')" if one in given else self.text(default)
            for one, default in (("%Y", "1900"), ("%m", "01"), ("%d", "01"))
        ]
        whole = f"{padded[0]} || '-' || {padded[1]} || '-' || {padded[2]}"
        return f"CASE WHEN {self.contains_match(sql, pattern)} THEN TRY_CAST({whole} AS TIMESTAMP_NTZ) END"

    def parse_timestamp(self, sql: str, timezone: str) -> str:
        offset = rf"^ *({_DATE}[T ]{_TIME})([zZ]|[+-][0-9]{{2}}(:?[0-9]{{2}})?) *$"
        naive = rf"^ *({_DATE}([T ]{_TIME} *)?)$"
        # The offset is counted by hand: Spark knows none beyond 18 hours.
        zone, minutes = self._extract(sql, offset, 6), f"replace({self._extract(sql, offset, 7)}, ':', '')"
        ahead = f"TRY_CAST(substr({zone}, 2, 2) AS INT) * 60 + COALESCE(TRY_CAST(NULLIF({minutes}, '') AS INT), 0)"
        earlier = f"CASE WHEN {zone} = 'Z' THEN 0 WHEN startswith({zone}, '-') THEN {ahead} ELSE -({ahead}) END"
        at_offset = f"CAST({self._wall(self._extract(sql, offset, 1))} AS TIMESTAMP_LTZ)"
        wall = f"CAST({self._wall(f'rtrim({self._extract(sql, naive, 1)})')} AS TIMESTAMP_LTZ)"
        local = f"CAST(to_utc_timestamp({wall}, {self.text(timezone)}) AS TIMESTAMP_LTZ)"
        return (
            f"CASE WHEN {self.contains_match(sql, offset)} THEN timestampadd(MINUTE, {earlier}, {at_offset}) "
            f"WHEN {self.contains_match(sql, naive)} THEN {self._agreed(wall, timezone, local, 'TIMESTAMP_LTZ')} END"
        )

    def parse_wall_time(self, sql: str) -> str:
        return self._wall(self._extract(sql, rf"^ *({_DATE}([T ]{_TIME})?)([zZ]|[+-][0-9]{{2}}(:?[0-9]{{2}})?)? *$", 1))

    def _wall(self, found: str) -> str:
        """The TIMESTAMP_NTZ of `2024-01-01` or `2024-01-01 10:00[:00[.0]]`; 24:00 is the next day's 00:00."""
        over = self.matches_fully(f"substr({found}, 12)", r"24:00(:00(\.0+)?)?")
        time = f"CASE WHEN {over} THEN '00:00' ELSE substr({found}, 12) END"
        moment = f"TRY_CAST(substr({found}, 1, 10) || ' ' || {time} AS TIMESTAMP_NTZ)"
        later = f"timestampadd(DAY, CASE WHEN {over} THEN 1 ELSE 0 END, {moment})"
        return f"CASE WHEN length({found}) = 10 THEN TRY_CAST({found} AS TIMESTAMP_NTZ) ELSE {later} END"

    def local_time(self, sql: str, timezone: str) -> str:
        local = f"CAST(from_utc_timestamp({sql}, {self.text(timezone)}) AS TIMESTAMP_NTZ)"
        return self._agreed(sql, timezone, local, "TIMESTAMP_NTZ")

    def _agreed(self, moment: str, timezone: str, made: str, sql_type: str) -> str:
        """`made`, where both engines' rules of the time zone are the same; elsewhere the query ends."""
        span = self._span(timezone)
        if span is None:
            return made
        low, high = (f"TIMESTAMP_LTZ {self.text(one)}" for one in span)
        words = f"some moments lie where Spark has the rules of {timezone} of another release"
        refusal = f"CAST(raise_error({self.text(words)}) AS {sql_type})"
        return f"CASE WHEN {moment} < {low} OR {moment} >= {high} THEN {refusal} ELSE {made} END"

    def epoch_microseconds(self, sql: str) -> str:
        return f"unix_micros(CAST({sql} AS TIMESTAMP_LTZ))"

    def hours_of(self, microseconds: str) -> str:
        # Spark rounds the number's decimal digits to two places, where DuckDB rounds a hundred times the number.
        return f"(round({microseconds} / 3.6e9 * 100, 0) / 100)"

    def date_part(self, part: str, sql: str) -> str:
        return f"{ {'week': 'weekofyear'}.get(part, part) }({sql})"

    def add_time(self, sql: str, units: str, count: int) -> str:
        return f"timestampadd({units.removesuffix('S')}, {count}, {sql})"

    def add_seconds(self, moment: str, seconds: str) -> str:
        return f"timestampadd(SECOND, {seconds}, TIMESTAMP_NTZ {self.text(moment)})"

    def whole_units(self, first: str, second: str, units: str) -> str:
        return f"timestampdiff({units.removesuffix('S')}, {first}, {second})"

    def trim(self, sql: str) -> str:
        return f"trim(BOTH {self.text(''.join(WHITESPACE))} FROM {sql})"

    def capital_after(self, sql: str, delimiter: str) -> str:
        word = f"concat({self.upper('substr(word, 1, 1)')}, substr(word, 2))"
        words = f"split({sql}, {self.text(re.escape(delimiter))}, -1)"
        return f"array_join(transform({words}, word -> {word}), {self.text(delimiter)})"

    def lower(self, sql: str) -> str:
        return self._cased(sql, "lower")

    def upper(self, sql: str) -> str:
        return self._cased(sql, "upper")

    def _cased(self, sql: str, function: str) -> str:
        """Most texts by Spark's own function; with a letter of a case of its own, character by character."""
        unlike, table = _own_cases(function)
        known = ", ".join(f"{self.text(one)}, {self.text(other)}" for one, other in table)
        each = f"COALESCE(element_at(map({known}), letter), {function}(letter))"
        letters = f"array_join(transform(split({sql}, ''), letter -> {each}), '')"
        return f"CASE WHEN {sql} RLIKE {self.text(unlike)} THEN {letters} ELSE {function}({sql}) END"

    def starts_with(self, sql: str, prefix: str) -> str:
        return f"startswith({sql}, {self.text(prefix)})"

    def ends_with(self, sql: str, suffix: str) -> str:
        return f"endswith({sql}, {self.text(suffix)})"

    def is_one_of(self, sql: str, texts: Sequence[str]) -> str:
        return f"({sql} IN ({', '.join(dict.fromkeys(texts))}))"

    def first_match(self, sql: str, pattern: str, group: int = 0) -> str:
        return f"CASE WHEN {self.contains_match(sql, pattern)} THEN {self._extract(sql, pattern, group)} END"

    def _extract(self, sql: str, pattern: str, group: int) -> str:
        return f"regexp_extract({sql}, {self.text(java_pattern(pattern).pattern)}, {group})"

    def extract_match(self, sql: str, pattern: str, group: int) -> str:
        return self._extract(sql, pattern, group)

    def format_date(self, sql: str, date_format: str) -> str:
        return f"date_format({sql}, {self.text(java_date_format(date_format))})"

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

    def present(self, texts: Sequence[str]) -> str:
        # No lambda: none may look into another relation, as a test of repeated keys does.
        return f"array_except(array({', '.join(texts)}), array({self.null('VARCHAR')}))"

    def each(self, texts: str, variable: str, sql: str) -> str:
        return f"transform({texts}, {variable} -> {sql})"

    def matches_fully(self, sql: str, pattern: str) -> str:
        return self.contains_match(sql, f"^(?:{pattern})$")

    def contains_match(self, sql: str, pattern: str) -> str:
        return f"({sql} RLIKE {self.text(java_pattern(pattern).pattern)})"

    def replace_all(self, sql: str, pattern: str, replacement_text: str) -> str:
        found = java_pattern(pattern)
        if found.matches_nothing:
            raise NotOnSpark(f"the pattern {pattern!r} can match nothing, which Spark replaces in other places")
        words = replacement(
            replacement_text, lambda group: f"${{{group}}}", lambda one: f"\\{one}" if one in "\\$" else one
        )
        words = re.sub(r"\$\{([0-9])\}", r"$\1", words)
        return f"regexp_replace({sql}, {self.text(found.pattern)}, {self.text(words)})"

    def _one_space(self, sql: str) -> str:
        return self.replace_all(sql, WHITESPACE_RUN, " ")

    def last_value(self, sql: str, order: str) -> str:
        return f"last_value({sql}, TRUE) OVER (ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"

    def json_list(self, sql: str, order: str) -> str:
        listed = f"collect_list(CASE WHEN {sql} IS NOT NULL THEN named_struct('place', {order}, 'value', {sql}) END)"
        return f"NULLIF(to_json(transform(array_sort({listed}), one -> one.value)), '[]')"

    def hashed_number(self, number: str, salt: str) -> str:
        digest = f"substr(md5(concat({self.text(salt + '/')}, CAST({number} AS STRING))), 1, 8)"
        return f"(CAST(conv({digest}, 16, 10) AS BIGINT) % 2147483648)"

    def inexact_sum(self, sql: str) -> str:
        return f"sum(CAST({sql} AS DOUBLE))"

    def different_numbers(self, sql: str, least: int, greatest: int) -> str:  # noqa: ARG002 -- whatever they are
        raise NotOnSpark("numbers are counted by a set of bits, which Spark has not")

    def kept_query(self, name: str, query: str) -> str:
        return f"{name} AS ({query})"

    @property
    def sql_of(self) -> Callable[[exp.Expr], str]:
        return spark_sql


def spark_type(sql_type: str) -> str:
    """The contract's word for a type in Spark's."""
    return _TYPES.get(sql_type.upper(), sql_type.upper())


def java_date_format(date_format: str) -> str:
    """A strftime format as Java's pattern."""
    pieces = re.split("(%[A-Za-z])", date_format)
    return "".join(_JAVA[one] if one in _JAVA else f"'{one}'" if re.search("[A-Za-z]", one) else one for one in pieces)


@functools.cache
def _own_cases(function: str) -> tuple[str, Sequence[tuple[str, str]]]:
    """Java's class of the characters that have a case of their own, and what DuckDB makes of each of them."""
    from city_platform.engines.patterns import engine

    listed = [chr(code) for low, high in _OF_OWN_CASE for code in range(low, high + 1)]
    made = engine().cursor().execute(f"SELECT one, {function}(one) FROM (SELECT unnest(?) AS one)", [listed]).fetchall()
    ranges = "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in _OF_OWN_CASE)
    return f"[{ranges}]", made
