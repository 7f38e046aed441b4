"""YAML read with the line and column of every key and value, so that a mistake can be shown where it stands.

Only what a definition needs is read: the scalars of YAML 1.2 (`no`, `010` and `2024-05-01` are text), no aliases
and no tags. The document is built from parser events on a stack of its own, so neither deep nesting nor an alias
that multiplies itself can exhaust the process.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Protocol

import yaml

from city_platform.errors import Finding

MAX_BYTES = 1_000_000
MAX_DEPTH = 50

Path = tuple[str | int, ...]
Place = tuple[int, int]  # line and column, from 1

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NOT_YAML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_LONGEST_NUMBER = 24  # characters; longer ones are identifiers, which a float would blur
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_SYNTAX_REMEDIES = (
    ("cannot start any token", "put the value in quotes; a value cannot start with this character"),
    ("mapping values are not allowed", 'indent the line like its neighbours, and quote a text that holds ": "'),
    ("unexpected end of stream", "close the quote that opens here or above"),
    ("expected ',' or", "close the bracket, and separate its entries by commas"),
    ("expected '-' indicator", "indent the line below the list entry it belongs to, or start it with '- '"),
    ("expected <block end>", "indent the line like the other keys of its block"),
    ("could not find expected ':'", "write 'key: value', with a space after the colon"),
    ("unknown escape character", "use single quotes, in which a backslash is just a backslash"),
)


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML document's value and where each part of it stands; a path leads through keys and list indices."""

    value: object
    values: dict[Path, Place]
    keys: dict[Path, Place]

    def place(self, path: Path) -> Place:
        """Where the value stands; of a path that leads nowhere, where its nearest parent stands."""
        while path not in self.values and path:
            path = path[:-1]
        return self.values.get(path, (1, 1))

    def key_place(self, path: Path) -> Place:
        """Where the key of the value stands; for a list's entry, where the entry stands."""
        return self.keys.get(path) or self.place(path)


def read_yaml(text: str, file: str) -> tuple[Document | None, list[Finding]]:
    """The one document in `text`, with all duplicate keys, aliases and tags found; None where it cannot be parsed.

    A repeated key's first value stays, an alias counts as null, so that what follows can be checked all the same.
    """
    text = text.removeprefix("\ufeff")
    if len(text.encode(errors="replace")) > MAX_BYTES:
        return None, [Finding(file, 0, 0, f"the file is larger than {MAX_BYTES:,} bytes", "keep one dataset a file")]
    if stray := _NOT_YAML.search(text):
        line = text.count("\n", 0, stray.start()) + 1
        column = stray.start() - text.rfind("\n", 0, stray.start())
        problem = f"the character U+{ord(stray.group()):04X} is not allowed in YAML"
        return None, [Finding(file, line, column, problem, "remove the character")]
    builder = _Builder(file)
    try:
        for event in yaml.parse(text, _LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        return None, [*builder.findings, _syntax_error(error, text, file)]
    except _TooDeep as error:
        remedy = f"nest at most {MAX_DEPTH} levels"
        return None, [Finding(file, *error.place, "the file nests too deep", remedy)]
    if not builder.documents:
        return None, [Finding(file, 1, 1, "the file is empty", "write the dataset's definition")]
    return Document(builder.root, builder.values, builder.keys), builder.findings


def _syntax_error(error: yaml.MarkedYAMLError, text: str, file: str) -> Finding:
    mark = error.problem_mark or error.context_mark
    lines = text.splitlines() or [""]
    line = min(mark.line + 1, len(lines)) if mark else 1
    column = min(mark.column + 1, len(lines[line - 1]) + 1) if mark else 1
    problem = ", ".join(part for part in (error.context, error.problem) if part) or "this is not YAML"
    if "\t" in lines[line - 1][:column]:
        return Finding(file, line, column, "a tab stands where YAML wants spaces", "indent with spaces")
    remedy = next((remedy for sign, remedy in _SYNTAX_REMEDIES if sign in problem), "correct the YAML syntax here")
    return Finding(file, line, column, f"not valid YAML: {problem}", remedy)


class _TooDeep(Exception):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.place = place


class _Mark(Protocol):
    line: int
    column: int


@dataclass(slots=True)
class _Frame:
    """A mapping or list still open. `key` is the mapping's key that waits for its value."""

    container: dict[str, object] | list[object]
    path: Path
    key: str | None = None
    duplicate: bool = False  # the waiting key was there before
    is_key: bool = False  # this container stands where a key should


@dataclass(slots=True)
class _Builder:
    """Builds values from parser events, in order."""

    file: str
    root: object = None
    documents: int = 0
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    _stack: list[_Frame] = field(default_factory=list)

    def take(self, event: Any) -> None:
        place = _place(event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            self._refuse_tag(event, place)
            self._add_scalar(event.value, _scalar(event), place)
        elif isinstance(event, yaml.AliasEvent):
            remedy = "write the value out, so that each line says what it means"
            self.findings.append(Finding(self.file, *place, f"the alias *{event.anchor} is not supported", remedy))
            self._add_scalar(f"*{event.anchor}", None, place)
        elif isinstance(event, yaml.MappingStartEvent):
            self._refuse_tag(event, place)
            self._open({}, place)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._refuse_tag(event, place)
            self._open([], place)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._close(place)
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self.findings.append(Finding(self.file, *place, "a second document starts here", "remove it"))

    def _refuse_tag(self, event: Any, place: Place) -> None:
        if event.tag is not None:
            problem = f"the tag {event.tag} is not supported"
            self.findings.append(Finding(self.file, *place, problem, "write the plain value; quote it if it is text"))

    def _add_scalar(self, text: str, value: object, place: Place) -> None:
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.container, dict) and frame.key is None:
            self._await_value(frame, text, place)
        else:
            self._attach(value, place)

    def _await_value(self, frame: _Frame, key: str, place: Place) -> None:
        path = (*frame.path, key)
        frame.key, frame.duplicate = key, path in self.keys
        if frame.duplicate:
            problem = f"the key {key!r} stands here again, first on line {self.keys[path][0]}"
            self.findings.append(Finding(self.file, *place, problem, "keep one of the two"))
        else:
            self.keys[path] = place

    def _attach(self, value: object, place: Place) -> Path:
        """Puts the value into the open container and returns its path."""
        if not self._stack:
            if self.documents == 1:
                self.root, self.values[()] = value, place
            return ()
        frame = self._stack[-1]
        if isinstance(frame.container, list):
            path: Path = (*frame.path, len(frame.container))
            frame.container.append(value)
        else:
            path = (*frame.path, frame.key or "")
            if not frame.duplicate:
                frame.container[frame.key or ""] = value
            frame.key = None
        self.values.setdefault(path, place)
        return path

    def _open(self, container: dict[str, object] | list[object], place: Place) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise _TooDeep(place)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.container, dict) and frame.key is None:
            self.findings.append(Finding(self.file, *place, "a key is a list or mapping", "use a text as the key"))
            self._stack.append(_Frame(container, (*frame.path, f"key at {place}"), is_key=True))
            return
        discarded = bool(frame and frame.duplicate) or (not self._stack and self.documents > 1)
        path = self._attach(container, place)
        # What hangs below a repeated key is parsed but not recorded under the path of the first.
        self._stack.append(_Frame(container, (*path, f"again at {place}") if discarded else path))

    def _close(self, place: Place) -> None:
        closed = self._stack.pop()
        if closed.is_key:
            self._await_value(self._stack[-1], f"key at {place}", place)


def _place(mark: _Mark) -> Place:
    return mark.line + 1, mark.column + 1


def _scalar(event: Any) -> object:
    """The scalar's value by YAML 1.2's core schema; whatever is quoted is text."""
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text) if text.lstrip("+-") == "0" or not text.lstrip("+-").startswith("0") else text
    if len(text) <= _LONGEST_NUMBER and _FLOAT.fullmatch(text) and not re.match(r"[-+]?0[0-9]", text):
        return float(text)
    return text
