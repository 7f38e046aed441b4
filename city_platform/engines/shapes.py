"""Regular expressions that say of each character what it may be, as the engine's GLOB.

`[A-Z][0-9][A-Z] [0-9][A-Z][0-9]` or `[0-9]{2}-[0-9]{6}` say nothing that GLOB could not say, and GLOB is compared
once for each distinct value of a dictionary, where the engine runs a regular expression for each row. Everything else
(alternatives, optional parts, flags, classes of Unicode) is left to the regular expression.

GLOB looks at bytes: the classes translated here hold ASCII alone, and no byte of another character is ASCII.
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

MOST_CHARACTERS = 64  # of a translated pattern; longer ones are no codes
_CLASSED = frozenset(" #&+,-./0123456789:;=@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")
_GLOB_SPECIAL = frozenset("*?[]\\")
_TOKEN = re.compile(
    r"""(?P<open>\((\?:)?)
    | (?P<close>\))(?![?*+{])
    | (\\(?P<digit>d) | \\(?P<escaped>[!-/:-@\[-^`{-~]) | \[(?P<members>[^\]\[\\^][^\]\[\\]*)\]
        | (?P<plain>[^\\.^$*+?()\[\]{}|]))
      (\{(?P<count>0|[1-9][0-9]?)(?P<least>,)?\} | (?P<many>[*+]))?(?![?*+{])""",
    re.VERBOSE,
)
_DIGITS = frozenset("0123456789")


@dataclass(frozen=True, slots=True)
class Shape:
    """The texts with one character for each of `characters`, as GLOB writes it, and further ones of a class, if any.

    `further` is what GLOB puts between brackets, or None where no further characters may follow. `groups` are the
    first and the last place (from 1) of what the regular expression's groups match, the whole text first.
    """

    characters: tuple[str, ...]
    further: str | None
    groups: tuple[tuple[int, int], ...]

    @property
    def globs(self) -> tuple[str, str | None]:
        """What a text has to match, and what it must not."""
        start = "".join(self.characters)
        return (start, None) if self.further is None else (f"{start}*", f"{start}*[!{self.further}]*")


@functools.lru_cache(maxsize=1024)
def shape_of(pattern: str) -> Shape | None:
    """The shape of the texts that a regular expression of RE2's matches from beginning to end, if it has one."""
    found = _Reading()
    place = 0
    while place < len(pattern):
        token = _TOKEN.match(pattern, place)
        if token is None or not found.takes(token):
            return None
        place = token.end()
    return found.shape()


def whole(pattern: str) -> str | None:
    """What stands between `^` and `$`; None where a match need not be the whole text."""
    inner = pattern[1:-1]
    return inner if pattern.startswith("^") and pattern.endswith("$") and len(pattern) > 1 else None


class _Reading:
    """A shape while its pattern is read."""

    def __init__(self) -> None:
        self._characters: list[str] = []
        self._further: str | None = None
        self._groups: list[tuple[int, int]] = []
        self._open: list[int | None] = []  # their places in the list of groups, none for (?:…)

    def takes(self, token: re.Match[str]) -> bool:
        """Whether the pattern still has a shape, with this token added."""
        if token["close"] is not None:
            return self._closes()
        if self._further is not None:
            return False  # something follows what may be repeated: how often it is, only trying tells
        if token["open"] is not None:
            self._open.append(len(self._groups) if token["open"] == "(" else None)
            if token["open"] == "(":
                self._groups.append((len(self._characters) + 1, 0))
            return True
        return self._goes_on(_allowed(token), token)

    def shape(self) -> Shape | None:
        if self._open or not self._characters:
            return None
        return Shape(tuple(self._characters), self._further, ((1, len(self._characters)), *self._groups))

    def _closes(self) -> bool:
        if not self._open:
            return False
        group = self._open.pop()
        if group is not None:
            self._groups[group] = (self._groups[group][0], len(self._characters))
        return True

    def _goes_on(self, allowed: frozenset[str], token: re.Match[str]) -> bool:
        if not allowed:
            return False
        if token["least"] is not None or token["many"] is not None:
            self._further = _members(allowed)
            if self._further is None:
                return False
        count = int(token["count"]) if token["count"] is not None else int(token["many"] != "*")
        self._characters += [_one(allowed)] * count
        return len(self._characters) <= MOST_CHARACTERS


def _allowed(token: re.Match[str]) -> frozenset[str]:
    """The characters one place may have; none where GLOB could not say it."""
    if token["digit"] is not None:
        return _DIGITS
    if token["members"] is not None:
        found = frozenset(_listed(token["members"]))
        return found if found <= _CLASSED else frozenset()
    literal = token["escaped"] or token["plain"]
    return frozenset(literal if literal.isprintable() else "")


def _listed(members: str) -> Iterator[str]:
    """The characters of a class; one that is not ASCII stands for whatever cannot be translated."""
    place = 0
    while place < len(members):
        first, last = members[place], members[place]
        if members[place + 1 : place + 2] == "-" and place + 2 < len(members):
            last = members[place + 2]
            place += 2
        place += 1
        if not first <= last < "\x7f":
            yield "\x7f"
            return
        yield from map(chr, range(ord(first), ord(last) + 1))


def _one(allowed: frozenset[str]) -> str:
    """GLOB for one character."""
    if len(allowed) > 1:
        return f"[{_members(allowed)}]"
    (only,) = allowed
    return f"\\{only}" if only in _GLOB_SPECIAL else only


def _members(allowed: frozenset[str]) -> str | None:
    """What GLOB puts between brackets, a hyphen first; None for what it could not read there."""
    if not allowed <= _CLASSED:
        return None
    runs: list[list[str]] = []
    for one in sorted(allowed - {"-"}):
        if runs and ord(one) == ord(runs[-1][-1]) + 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    ranges = (f"{run[0]}-{run[-1]}" if len(run) > 2 else "".join(run) for run in runs)  # noqa: PLR2004 -- a-b is ab
    return ("-" if "-" in allowed else "") + "".join(ranges)
