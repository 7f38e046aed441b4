"""An example of what a regular expression matches, for readers who do not know regular expressions."""

import re
from collections.abc import Iterable, Sequence
from re import _parser as reader  # the only reader of patterns Python has
from typing import Any

MAX_CHARACTERS = 40
_CATEGORIES = {"CATEGORY_DIGIT": "0", "CATEGORY_WORD": "a", "CATEGORY_SPACE": " "}


def example_of(pattern: str) -> str | None:
    """The plainest text the whole of which matches: `AA-00` for `[A-Z]{2}-[0-9]{2}`.

    None where the pattern is beyond letters, classes and repetitions, or the example would be long.
    """
    try:
        example = _written(reader.parse(pattern))
        matches = len(example) <= MAX_CHARACTERS and re.fullmatch(pattern, example) is not None
    except (re.error, _Beyond, RecursionError, OverflowError):
        return None
    return example if matches and example.strip() else None


class _Beyond(Exception):
    """The pattern has a part without a plain example."""


def _written(parts: Iterable[tuple[Any, Any]]) -> str:
    return "".join(_part(str(kind), value) for kind, value in parts)


def _part(kind: str, value: Any) -> str:
    match kind:
        case "LITERAL":
            return chr(value)
        case "ANY":
            return "x"
        case "AT":
            return ""
        case "IN":
            return _one_of(value)
        case "SUBPATTERN":
            return _written(value[-1])
        case "MAX_REPEAT" | "MIN_REPEAT":
            least, most, repeated = value
            # A part that may stand again and again is shown once, one that may be missing is not shown.
            times = least or int(most > 1 and str(most) == "MAXREPEAT" and len(repeated) == 1)
            if times > MAX_CHARACTERS:
                raise _Beyond
            return _written(repeated) * times if times else ""
        case _:
            raise _Beyond


def _one_of(choices: Sequence[tuple[Any, Any]]) -> str:
    if len(choices) > 1 and all(str(kind) == "LITERAL" for kind, _ in choices):
        raise _Beyond  # one of a few letters shown would pass for the only one
    for kind, value in choices:
        match str(kind):
            case "LITERAL":
                return chr(value)
            case "RANGE":
                return chr(value[0])
            case "CATEGORY" if str(value) in _CATEGORIES:
                return _CATEGORIES[str(value)]
            case _:
                raise _Beyond
    raise _Beyond
