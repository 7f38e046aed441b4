"""JSON that remembers where everything stood, so that a mistake can be shown at its line and column."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from city_platform.errors import Finding


@dataclass(frozen=True, slots=True)
class Node:
    """One JSON value. Objects and arrays hold nodes; line and column count from 1."""

    value: "dict[str, Node] | list[Node] | str | int | float | bool | None"
    line: int
    column: int
    keys: "dict[str, Node] | None" = None  # where an object's keys stand

    @property
    def kind(self) -> str:
        """What a person calls the value."""
        for types, name in (
            (dict, "an object"),
            (list, "a list"),
            (str, "a text"),
            (bool, "true or false"),
            ((int, float), "a number"),
        ):
            if isinstance(self.value, types):
                return name
        return "null"


def read_json(text: str, file: str) -> tuple[Node | None, list[Finding]]:
    """The document, or where its syntax breaks. A key that appears twice in one object is a finding too."""
    text = text.removeprefix("\ufeff")
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return None, [Finding(file, error.lineno, error.colno, f"not valid JSON: {error.msg}", "correct the syntax")]
    except RecursionError:
        return None, [Finding(file, 1, 1, "not a recipe: nested too deeply", "write a list of recipe steps")]
    reader = _Reader(text, file)
    return reader.value(), reader.findings


class _Reader:
    """Walks a text already known to be valid JSON."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file, self.at = text, file, 0
        self.line, self.line_start, self.counted = 1, 0, 0
        self.findings: list[Finding] = []

    def value(self) -> Node:
        line, column = self._place()
        first = self.text[self.at]
        if first == "{":
            keys: dict[str, Node] = {}
            members: dict[str, Node] = {}
            for _ in self._items("}"):
                key = self._string()
                name = str(key.value)
                self._place()
                self.at += 1  # the colon
                member = self.value()
                if name in members:
                    problem = f'"{name}" appears twice'
                    self.findings.append(Finding(self.file, key.line, key.column, problem, "keep one of the two"))
                keys[name], members[name] = key, member
            return Node(members, line, column, keys)
        if first == "[":
            return Node([self.value() for _ in self._items("]")], line, column)
        if first == '"':
            return self._string()
        scalar, self.at = json.JSONDecoder().raw_decode(self.text, self.at)
        return Node(scalar, line, column)

    def _items(self, end: str) -> Iterator[None]:
        self.at += 1
        while True:
            self._place()
            if self.text[self.at] == end:
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
                self._place()
            yield

    def _string(self) -> Node:
        line, column = self._place()
        value, self.at = json.JSONDecoder().raw_decode(self.text, self.at)
        return Node(value, line, column)

    def _place(self) -> tuple[int, int]:
        """Skips white space; line and column of what follows."""
        while self.text[self.at] in " \t\r\n":
            self.at += 1
        passed = self.text.count("\n", self.counted, self.at)
        if passed:
            self.line += passed
            self.line_start = self.text.rindex("\n", self.counted, self.at) + 1
        self.counted = self.at
        return self.line, self.at - self.line_start + 1
