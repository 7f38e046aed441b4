"""The evaluator of filter patterns: AWS's own examples, and patterns made up with their answers."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.filter_patterns import MOST_CHARACTERS, NoPattern, matches

# The event of "Filter pattern syntax for metric filters", Amazon CloudWatch Logs User Guide.
EVENT = {
    "eventType": "UpdateTrail",
    "sourceIPAddress": "111.111.111.111",
    "user": {"id": 1, "name": "a"},
    "SomeObject": None,
    "ThisFlag": True,
    "latency": 12.5,
}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ('{ $.eventType = "UpdateTrail" }', True),
        ("{ $.eventType = UpdateTrail }", True),
        ('{ $.eventType = "Update" }', False),
        ('{ $.eventType = "Update*" }', True),
        ('{ $.eventType = "*Trail" }', True),
        ('{ $.eventType = "*dateT*" }', True),
        ('{ $.eventType = "*" }', True),
        ('{ $.eventType = "Up*Trail" }', False),
        ("{ $.sourceIPAddress != 123.123.* }", True),
        ("{ $.sourceIPAddress != 111.111.* }", False),
        ("{ $.user.id = 1 }", True),
        ("{ $.user.id != 1 }", False),
        ('{ $.user.id = "1" }', False),
        ("{ $.latency >= 12.5 && $.latency < 13 }", True),
        ("{ $.latency > 12.5 }", False),
        ("{ $.eventType > 1 }", False),
        ("{ $.SomeObject IS NULL }", True),
        ("{ $.eventType IS NULL }", False),
        ("{ $.ThisFlag IS TRUE }", True),
        ("{ $.ThisFlag IS FALSE }", False),
        ("{ $.SomeOtherObject NOT EXISTS }", True),
        ("{ $.SomeObject NOT EXISTS }", False),
        ('{ $.SomeOtherObject != "x" }', False),
        ('{ $.user != "x" }', False),
        ("{ $.user.id.deeper NOT EXISTS }", True),
        ('{ $.user.id = 2 && $.user.name = "b" || $.eventType = "*Trail" }', True),
        ('{ $.user.id = 2 && ($.user.name = "b" || $.eventType = "*Trail") }', False),
    ],
)
def test_patterns_say_of_the_event_what_the_guide_says(pattern: str, expected: bool) -> None:
    assert matches(pattern, EVENT) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "{}",
        "ERROR",
        "{ $.a }",
        "{ $.a = }",
        "{ $.a = 1",
        "{ ($.a = 1 }",
        "{ $.a = 1 } x",
        "{ a = 1 }",
        "{ $.a > x }",
        '{ $.a > "1" }',
        "{ $.a IS EMPTY }",
        "{ $.a = %x% }",
        "{ $.a[0] = 1 }",
        '{ $.a = "' + "x" * MOST_CHARACTERS + '" }',
    ],
)
def test_what_is_no_pattern_is_refused_rather_than_false(pattern: str) -> None:
    with pytest.raises(NoPattern):
        matches(pattern, {"a": 1})


Case = tuple[str, Callable[[Mapping[str, Any]], bool]]
_NAMES, _WORDS = st.sampled_from("abc"), st.sampled_from(["x", "xy", "yx", "y"])


def _text(name: str, word: str, ends: tuple[bool, bool], equal: bool) -> Case:
    def answer(event: Mapping[str, Any]) -> bool:
        value = event.get(name)
        if not isinstance(value, str):
            return False
        before, after = ends
        found = word in value if before and after else value.endswith(word) if before else value.startswith(word)
        return (found if before or after else value == word) is equal

    sign = "=" if equal else "!="
    return f'$.{name} {sign} "{"*" * ends[0]}{word}{"*" * ends[1]}"', answer


def _number(name: str, number: int) -> Case:
    return f"$.{name} >= {number}", lambda event: type(event.get(name)) is int and event[name] >= number


def _missing(name: str) -> Case:
    return f"$.{name} NOT EXISTS", lambda event: name not in event


def _joined(cases: list[Case], mark: str) -> Case:
    combine = {"&&": all, "||": any}[mark]
    text = f" {mark} ".join(f"({one})" for one, _ in cases)
    return text, lambda event: combine(answer(event) for _, answer in cases)


CASES = st.recursive(
    st.one_of(
        st.builds(_text, _NAMES, _WORDS, st.tuples(st.booleans(), st.booleans()), st.booleans()),
        st.builds(_number, _NAMES, st.integers(-2, 2)),
        st.builds(_missing, _NAMES),
    ),
    lambda inner: st.builds(_joined, st.lists(inner, min_size=1, max_size=3), st.sampled_from(["&&", "||"])),
    max_leaves=6,
)
EVENTS = st.dictionaries(_NAMES, st.one_of(_WORDS, st.integers(-3, 3), st.none(), st.booleans()))


@given(case=CASES, event=EVENTS)
def test_a_made_up_pattern_answers_as_it_was_made(case: Case, event: Mapping[str, Any]) -> None:
    pattern, answer = case
    assert matches(f"{{ {pattern} }}", event) is answer(event)
