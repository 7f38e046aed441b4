"""CSV cells that a spreadsheet must not take for formulas.

A text that starts with one of `= + - @`, tab, CR, LF or a full-width form of these gets an apostrophe in front
(OWASP, CSV Injection). A text that has apostrophes before such a character gets one more, so that `unescape` gives
back exactly what went in and all other texts stay as they are. Numeric columns need none: leave them numbers.
"""

import re

from city_platform.engines.dialect import Dialect

_FORMULA = "^'*[=+@\t\r\n\uff1d\uff0b\uff0d\uff20-]"
_FORMULA_START = re.compile(_FORMULA)


def escape(text: str) -> str:
    """The text as a spreadsheet may open it."""
    return f"'{text}" if _FORMULA_START.match(text) else text


def unescape(text: str) -> str:
    """What `escape` was given."""
    return text[1:] if text.startswith("'") and _FORMULA_START.match(text) else text


def escaped(sql: str, dialect: Dialect) -> str:
    """SQL for `escape` of a text expression; null stays null."""
    # Comparing texts is far cheaper than the regular expression and rules out nearly every cell: what starts with a
    # digit or a letter. Texts compare by their bytes; the full-width forms come after every common letter.
    suspect = f"({sql} < '0' OR ({sql} >= '=' AND {sql} < 'A') OR {sql} >= '\uff0b')"
    return f"CASE WHEN {suspect} AND {dialect.contains_match(sql, _FORMULA)} THEN '''' || {sql} ELSE {sql} END"
