"""A pattern that is compared as GLOB finds the same texts as the engine's regular expression, and cuts them alike."""

from collections.abc import Iterator, Sequence

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.engines.dialect import DuckDBDialect
from city_platform.engines.shapes import shape_of

_DIALECT = DuckDBDialect()
_FLAVOURS = "-A0z9 Zaé*[]?!^\\.ß中\n\x00{}"
_CLASSES = ["[0-9]", "[A-Z]", "[a-zA-Z]", r"\d", "[A-C-]", "[-+.]", "[A-C-E]", "[0-9 -]", "[é]", "[*]", "[!a]", "[--0]"]
_LITERALS = ["A", "-", " ", r"\.", r"\*", r"\-", "é", "中", "_", "/", r"\[", r"\\", "'", r"\?", "!", ","]
_QUANTIFIERS = ["", "", "", "{2}", "{0}", "{1,}", "+", "*", "{1,2}", "?", "+?", "{02}"]
_pieces = st.tuples(st.sampled_from(_CLASSES + _LITERALS), st.sampled_from(_QUANTIFIERS)).map("".join)
_groups = st.tuples(
    st.sampled_from(["({})", "(?:{})", "({})+", "{}", "{}", "(({}))", "(?i){}"]), st.lists(_pieces, max_size=3)
).map(lambda made: made[0].format("".join(made[1])))
_patterns = st.lists(_groups, min_size=1, max_size=4).map("".join)
_texts = st.lists(st.text(_FLAVOURS, max_size=8), max_size=6)


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect(config={"threads": 1})
    yield connection
    connection.close()


def _asked(engine: duckdb.DuckDBPyConnection, sql: str, texts: Sequence[str | None]) -> list[object]:
    found = engine.execute(f"SELECT {sql} FROM (SELECT unnest(?::VARCHAR[]) AS x)", [list(texts)]).fetchall()
    return [row[0] for row in found]


def _near(pattern: str) -> list[str]:
    """Texts that a pattern of the test's making may match, and some that miss it by little."""
    shape = shape_of(pattern)
    if shape is None:
        return []
    text = "".join(one[-2] if one.startswith("[") else one[-1] for one in shape.characters)
    more = "" if shape.further is None else shape.further[-1]
    return [text, text + more, text + more * 3, text + more + "é", text[:-1], text + "\n", "é" + text, text + "\x00"]


@settings(max_examples=150)
@given(pattern=_patterns, texts=_texts)
def test_shape_and_regular_expression_agree(engine: duckdb.DuckDBPyConnection, pattern: str, texts: list[str]) -> None:
    asked = [*texts, *_near(pattern), None, ""]
    quoted = _DIALECT.text(pattern)
    try:
        expected = _asked(engine, f"regexp_full_match(x, {quoted})", asked)
    except duckdb.Error:
        return  # no regular expression at all
    assert _asked(engine, _DIALECT.matches_fully("x", pattern), asked) == expected
    anchored = f"^{pattern}$"
    expected = _asked(engine, f"regexp_matches(x, {_DIALECT.text(anchored)})", asked)
    assert _asked(engine, _DIALECT.contains_match("x", anchored), asked) == expected
    shape = shape_of(pattern)
    group = "$1" if shape is not None and len(shape.groups) > 1 else "$0"
    words = group.replace("$", "\\")
    expected = _asked(engine, f"regexp_replace(x, {_DIALECT.text(anchored)}, '<''{words}>', 'g')", asked)
    assert _asked(engine, _DIALECT.replace_all("x", anchored, f"<'{group}>"), asked) == expected


@pytest.mark.parametrize(
    ("pattern", "right", "wrong"),
    [
        ("[0-9]{2}-[0-9]{6}", "[0-9][0-9]-" + "[0-9]" * 6, None),
        ("[A-Z][0-9][A-Z] [0-9][A-Z][0-9]", "[A-Z][0-9][A-Z] [0-9][A-Z][0-9]", None),
        ("Area [0-9]+", "Area [0-9]*", "Area [0-9]*[!0-9]*"),
        (r"(\d{3,})", "[0-9][0-9][0-9]*", "[0-9][0-9][0-9]*[!0-9]*"),
        (r"B\.C\.\*", r"B.C.\*", None),
        ("[A-C-]", "[-A-C]", None),
    ],
)
def test_patterns_of_codes_have_a_shape(pattern: str, right: str, wrong: str | None) -> None:
    shape = shape_of(pattern)
    assert shape is not None
    assert shape.globs == (right, wrong)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a|b",
        "a?",
        "(a)+",
        "(?i)a",
        "[^a]",
        "a.",
        "[0-9]{1,3}",
        "[0-9]+-[0-9]",
        "[é]",
        r"\w",
        r"\bA",
        "[0-9]{65}",
        "a{02}",
        "(a",
        "a)",
    ],
)
def test_what_glob_cannot_say_is_left_to_the_regular_expression(pattern: str) -> None:
    assert shape_of(pattern) is None
