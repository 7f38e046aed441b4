"""CloudWatch Logs filter patterns for JSON log events, as far as the templates use them.

    matches('{ ($.errorCode = "AccessDenied*") && ($.userIdentity.invokedBy NOT EXISTS) }', event)

Selectors are paths of names; comparisons are = and != with texts (an asterisk at either end, or both, stands for
anything), all six with numbers, IS NULL, IS TRUE, IS FALSE, NOT EXISTS; && binds closer than ||. A comparison with what
is not there, or is neither text nor number, is false, also with !=. Source: Filter pattern syntax for metric filters,
Amazon CloudWatch Logs User Guide; what it leaves open was decided as the service's TestMetricFilter answers.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

MOST_CHARACTERS = 1024  # of a filter pattern
_TOKEN = re.compile(
    r"""\s*(?:(?P<mark>&&|\|\||!=|<=|>=|[=<>(){}])|(?P<selector>\$(?:\.[A-Za-z_][\w-]*)+)"""
    r"""|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<word>[A-Za-z0-9.*_:/-]+))"""
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)
_ORDER: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_ABSENT = object()

Event = Mapping[str, Any]
Test = Callable[[Event], bool]
Token = tuple[str, str]


class NoPattern(ValueError):
    """The text is no filter pattern, or one this evaluator does not know."""


def matches(pattern: str, event: Event) -> bool:
    """Whether a log event matches; raises NoPattern."""
    return parse(pattern)(event)


def parse(pattern: str) -> Test:
    """The pattern as a function of an event."""
    if len(pattern) > MOST_CHARACTERS:
        raise NoPattern(f"{len(pattern)} characters are more than {MOST_CHARACTERS}")
    return _Parser(pattern).whole()


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._tokens = list(_tokens(pattern))
        self._at = 0

    def whole(self) -> Test:
        self._expect("{")
        test = self._any()
        self._expect("}")
        if self._at != len(self._tokens):
            raise NoPattern(f"something stands behind the pattern: {self._pattern}")
        return test

    def _any(self) -> Test:
        tests = [self._all()]
        while self._take("||"):
            tests.append(self._all())
        return lambda event: any(test(event) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._take("&&"):
            tests.append(self._one())
        return lambda event: all(test(event) for test in tests)

    def _one(self) -> Test:
        if self._take("("):
            test = self._any()
            self._expect(")")
            return test
        kind, selector = self._next()
        if kind != "selector":
            raise NoPattern(f"a comparison begins with a selector, not with {selector!r}: {self._pattern}")
        path = selector.split(".")[1:]
        kind, sign = self._next()
        if kind == "mark" and sign in _ORDER:
            return self._comparison(path, sign)
        said = f"{sign} {self._next()[1]}"
        state: Mapping[str, Callable[[Any], bool]] = {
            "IS NULL": lambda value: value is None,
            "IS TRUE": lambda value: value is True,
            "IS FALSE": lambda value: value is False,
            "NOT EXISTS": lambda value: value is _ABSENT,
        }
        if said not in state:
            raise NoPattern(f"{said!r} is no comparison: {self._pattern}")
        return lambda event: state[said](_value(event, path))

    def _comparison(self, path: list[str], sign: str) -> Test:
        kind, wanted = self._next()
        if kind == "word" and _NUMBER.fullmatch(wanted):
            number = float(wanted)
            return lambda event: _compares(_value(event, path), sign, number)
        if kind not in {"word", "quoted"} or sign not in {"=", "!="}:
            raise NoPattern(f"{sign} does not compare with {wanted!r}: {self._pattern}")
        text = _like(wanted)

        def test(event: Event) -> bool:
            value = _value(event, path)
            return isinstance(value, str) and bool(text.fullmatch(value)) == (sign == "=")

        return test

    def _next(self) -> Token:
        if self._at == len(self._tokens):
            raise NoPattern(f"the pattern ends too early: {self._pattern}")
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, mark: str) -> bool:
        if self._tokens[self._at : self._at + 1] == [("mark", mark)]:
            self._at += 1
            return True
        return False

    def _expect(self, mark: str) -> None:
        if not self._take(mark):
            raise NoPattern(f"{mark} is missing at token {self._at}: {self._pattern}")


def _tokens(pattern: str) -> list[Token]:
    found, at = [], 0
    text = pattern.rstrip()
    while at < len(text):
        one = _TOKEN.match(text, at)
        if one is None:
            raise NoPattern(f"character {at} is no part of a pattern this knows: {pattern}")
        found.append((str(one.lastgroup), str(one[str(one.lastgroup)])))
        at = one.end()
    return found


def _like(wanted: str) -> re.Pattern[str]:
    """An asterisk stands for anything at the ends alone; within a text it is itself."""
    literal = re.sub(r"\\(.)", r"\1", wanted)
    inner = literal[literal.startswith("*") : len(literal) - (literal.endswith("*") and len(literal) > 1)]
    before, after = ".*" if literal.startswith("*") else "", ".*" if literal.endswith("*") else ""
    return re.compile(f"{before}{re.escape(inner)}{after}", re.DOTALL)


def _compares(value: Any, sign: str, number: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and _ORDER[sign](value, number)


def _value(event: Any, path: list[str]) -> Any:
    for name in path:
        if not isinstance(event, Mapping) or name not in event:
            return _ABSENT
        event = event[name]
    return event
