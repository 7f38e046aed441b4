"""Records as readable JSON: the same text as the standard library's."""

import json
from dataclasses import asdict, dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.readable import readable, shallow

_TEXT = st.text(max_size=12)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=20,
)


@dataclass(frozen=True, slots=True)
class _Record:
    name: str
    kept: object


@given(st.dictionaries(_TEXT, _VALUES, max_size=5), st.integers(1, 2), st.booleans())
def test_the_text_is_that_of_the_standard_library(body: dict[str, object], indent: int, sort_keys: bool) -> None:
    expected = json.dumps(body, ensure_ascii=False, indent=indent, sort_keys=sort_keys)
    assert readable(body, indent=indent, sort_keys=sort_keys) == expected


def test_records_inside_are_objects() -> None:
    outer = _Record("outer", [_Record("inner", ("a", 1))])
    assert json.loads(readable(shallow(outer), indent=1)) == json.loads(json.dumps(asdict(outer)))


def test_a_number_that_json_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        readable({"share": float("nan")}, indent=1)
