"""Regular expressions of RE2 in the words of Java's, which Spark runs.

Recipes and rules are read by RE2. Java reads most of its patterns, and some otherwise: `$` also matches before a
last line break, `.` no lone carriage return, `\\s` a vertical tab, `\\b` what is no ASCII, `(?i)` ASCII alone; classes
may hold classes. So a pattern is read here, with RE2's grammar (https://github.com/google/re2/wiki/Syntax), and written
anew; what would not surely match the same is refused with NotOnSpark: Unicode properties, `(?m)`, and repeated parts
that can match nothing, after which the two libraries go on in different ways.
"""

import functools
import re
from dataclasses import dataclass

from city_platform.engines.session import NotOnSpark

_WORD = "0-9A-Za-z_"
_SPACE = r"\t\n\f\r\x{20}"
_CLASSES = {"d": "0-9", "w": _WORD, "s": _SPACE}
_BOUNDARY = f"(?:(?<=[{_WORD}])(?![{_WORD}])|(?<![{_WORD}])(?=[{_WORD}]))"
_NO_BOUNDARY = f"(?:(?<=[{_WORD}])(?=[{_WORD}])|(?<![{_WORD}])(?![{_WORD}]))"
_POSITIONS = {"A": r"\A", "z": r"\z", "b": _BOUNDARY, "B": _NO_BOUNDARY}
_CONTROLS = {"a": 7, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_COUNT = re.compile(r"\{(\d+)(,(\d*))?\}", re.ASCII)
_HEX = re.compile(r"x(?:\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{2}))")
_FLAGS = re.compile(r"\?([is]+)(:|\))")


@dataclass(frozen=True, slots=True)
class JavaPattern:
    """A pattern for `find`; `matches_nothing` says whether it can match an empty text."""

    pattern: str
    matches_nothing: bool


@functools.lru_cache(maxsize=1024)
def java_pattern(pattern: str) -> JavaPattern:
    """The same pattern in Java's words; raises NotOnSpark where that is not sure. It has to be one that RE2 takes."""
    reader = _Reader(pattern)
    try:
        written, empty = reader.alternatives()
    except IndexError:
        raise reader.refusal("something without its end") from None
    if reader.place < len(pattern):
        raise reader.refusal("a parenthesis")
    # (?d): `.` stops at a line feed alone. Flags of letters' cases are Unicode's with (?u).
    return JavaPattern(f"(?d){written}", empty)


class _Reader:
    """A pattern while it is read."""

    def __init__(self, pattern: str) -> None:
        self.pattern, self.place = pattern, 0
        self.any_case = False

    def refusal(self, what: str) -> NotOnSpark:
        return NotOnSpark(f"the pattern {self.pattern!r} holds {what}, which Spark may read otherwise")

    def _next(self, text: str) -> bool:
        if self.pattern.startswith(text, self.place):
            self.place += len(text)
            return True
        return False

    def alternatives(self) -> tuple[str, bool]:
        """What stands between parentheses, and whether it can match nothing."""
        branches, empties = [], []
        outer = self.any_case
        while True:
            written, empty = self._sequence()
            branches.append(written)
            empties.append(empty)
            if not self._next("|"):
                self.any_case = outer
                return "|".join(branches), any(empties)

    def _sequence(self) -> tuple[str, bool]:
        parts, empty = [], True
        while self.place < len(self.pattern) and self.pattern[self.place] not in "|)":
            written, part_empty, position = self._atom()
            repeated, optional = self._repetition()
            if repeated and (part_empty or position):
                raise self.refusal("a repeated part that can match nothing")
            parts.append(written + repeated)
            empty = empty and (part_empty or optional)
        return "".join(parts), empty

    def _repetition(self) -> tuple[str, bool]:
        """How often, and whether that may be never."""
        found = _COUNT.match(self.pattern, self.place)
        if found:
            self.place = found.end()
            often, least = found[0], int(found[1])
        elif self.place < len(self.pattern) and self.pattern[self.place] in "*+?":
            often = self.pattern[self.place]
            self.place += 1
            least = int(often == "+")
        else:
            return "", False
        lazy = "?" if self._next("?") else ""
        if self.place < len(self.pattern) and self.pattern[self.place] in "*+?":
            raise self.refusal("a repetition of a repetition")
        return often + lazy, not least

    def _atom(self) -> tuple[str, bool, bool]:
        """One part, whether it can match nothing, and whether it is a position."""
        one = self.pattern[self.place]
        self.place += 1
        if one == "(":
            return (*self._group(), False)
        if one in "^$":
            return (r"\A" if one == "^" else r"\z"), True, True
        if one == "\\":
            return self._escaped()
        return self._class() if one == "[" else one if one == "." else self._literal(ord(one)), False, False

    def _group(self) -> tuple[str, bool]:
        opened = "("
        flags = _FLAGS.match(self.pattern, self.place)
        before = self.any_case
        if flags:
            self.place = flags.end()
            self.any_case = self.any_case or "i" in flags[1]
            letters = flags[1].replace("i", "iu")
            if flags[2] == ")":  # from here to the end of the group around it
                return f"(?{letters})", True
            opened = f"(?{letters}:"
        elif self._next("?:"):
            opened = "(?:"
        elif self._next("?"):
            raise self.refusal("a flag or a name of a group")
        written, empty = self.alternatives()
        self.any_case = before
        if not self._next(")"):
            raise self.refusal("a parenthesis without its other one")
        return f"{opened}{written})", empty

    def _escaped(self) -> tuple[str, bool, bool]:
        letter = self.pattern[self.place : self.place + 1]
        if letter in _POSITIONS and letter:
            self.place += 1
            return _POSITIONS[letter], True, True
        if letter.lower() in _CLASSES and letter:
            self.place += 1
            return f"[{'^' if letter.isupper() else ''}{_CLASSES[letter.lower()]}]", False, False
        return self._literal(self._character()), False, False

    def _literal(self, code: int) -> str:
        if code > 0x7F and self.any_case:  # noqa: PLR2004 -- beyond ASCII
            raise self.refusal("letters beyond ASCII in any case")
        character = chr(code)
        return character if character.isascii() and character.isalnum() else f"\\x{{{code:x}}}"

    def _character(self) -> int:
        """The code of the character that an escape stands for."""
        found = _HEX.match(self.pattern, self.place)
        if found:
            self.place = found.end()
            return int(found[1] or found[2], 16)
        one = self.pattern[self.place : self.place + 1]
        self.place += 1
        if one in _CONTROLS:
            return _CONTROLS[one]
        if not one or not one.isascii() or one.isalnum():
            raise self.refusal(f"\\{one}")
        return ord(one)

    def _class(self) -> str:
        negated = "^" if self._next("^") else ""
        members: list[str] = []
        first = True
        while first or not self._next("]"):
            if self.place >= len(self.pattern):
                raise self.refusal("a class without its end")
            members.append(self._member())
            first = False
        return f"[{negated}{''.join(members)}]"

    def _member(self) -> str:
        if self.pattern.startswith("[:", self.place):
            raise self.refusal("a class by its name")
        if self.pattern.startswith("\\", self.place):
            letter = self.pattern[self.place + 1 : self.place + 2]
            if letter and letter in _CLASSES:
                self.place += 2
                return _CLASSES[letter]
        low = self._of_class()
        if self.pattern.startswith("-", self.place) and not self.pattern.startswith("-]", self.place):
            self.place += 1
            high = self._of_class()
            return f"{self._in_class(low)}-{self._in_class(high)}"
        return self._in_class(low)

    def _of_class(self) -> int:
        one = self.pattern[self.place]
        self.place += 1
        return self._character() if one == "\\" else ord(one)

    def _in_class(self, code: int) -> str:
        if code > 0x7F and self.any_case:  # noqa: PLR2004 -- beyond ASCII
            raise self.refusal("letters beyond ASCII in any case")
        return f"\\x{{{code:x}}}"
