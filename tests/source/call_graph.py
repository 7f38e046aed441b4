"""Which functions of the project an entry point can reach, by reading the source and running none of it.

A call on a value goes where its annotation says: to the class, or where that is a protocol or a base, to every class
that fits it *and that reachable code makes* (rapid type analysis, Bacon and Sweeney 1996). A value without a known type
may be of any class that has the method. Mentioning a function counts as calling it, for it may be handed on.
What is annotated `Any` or `object` is taken for data from outside (JSON, answers of AWS): nobody hands a part of ours
as that, and tests/slow/test_aws_calls.py compares with what was in fact called.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.source.kinds import Class, Function, Instance, Outside, Type, Unknown
from tests.source.modules import Sources
from tests.source.scope import PLAIN, Scope, code_of, read_in
from tests.source.symbols import Symbols, decorators

# Bases of other packages whose makers call nothing but dunder and decorated methods of their subclasses.
_PASSIVE = {
    "Protocol", "Exception", "Enum", "StrEnum", "IntEnum", "NamedTuple", "TypedDict", "BaseModel", "Struct", "ABC",
    "Generic", "ValueError", "KeyError", "TypeError", "RuntimeError", "dict", "str", "object",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reach:
    """What an entry point can come to: functions as `module:Class.name`, modules that it imports, classes it makes."""

    functions: frozenset[str]
    modules: frozenset[str]
    classes: frozenset[str]
    packages: frozenset[str]  # of others, by their first name
    because: Mapping[str, str]  # what first led to a function

    def way(self, function: str) -> Sequence[str]:
        """From the entry to a function, one line a step."""
        steps = [function]
        while (before := self.because.get(steps[0])) and before not in steps:
            steps.insert(0, before)
        return steps


class CallGraph:
    """Reachability over one set of sources; what was read once serves every entry."""

    def __init__(self, sources: Sources | None = None) -> None:
        self.symbols = Symbols(sources or Sources(), read_in)
        self._scopes: dict[str, Scope | None] = {}

    def reach(self, entries: Sequence[str]) -> Reach:
        """From modules (`a.b`: importing it), or functions (`a.b:handler`: importing and calling it)."""
        return _Walk(self.symbols, self._scope).from_entries(entries)

    def _scope(self, name: str) -> Scope | None:
        if name not in self._scopes:
            self._scopes[name] = code_of(self.symbols, name)
        return self._scopes[name]


class _Walk:
    def __init__(self, symbols: Symbols, scope: Callable[[str], Scope | None]) -> None:
        self._symbols = symbols
        self._scope = scope
        self._todo: deque[str] = deque()
        self._functions: set[str] = set()
        self._modules: set[str] = set()
        self._classes: set[str] = set()
        self._packages: set[str] = set()
        self._calls: dict[str, dict[Type, str]] = defaultdict(dict)  # by the name asked: receivers, and who asks
        self._having: dict[str, set[str]] = defaultdict(set)  # classes that are made, by the names of their methods
        self._because: dict[str, str] = {}

    def from_entries(self, entries: Sequence[str]) -> Reach:
        for entry in entries:
            module, _, function = entry.partition(":")
            self._import(module)
            if function:
                for one in self._symbols.name(module, function):
                    self._mention(one, entry)
        while self._todo:
            here = self._todo.popleft()
            scope = self._scope(here)
            if scope is None:
                continue
            for name in scope.imports:
                self._import(name)
            for one in scope.mentions:
                self._mention(one, here)
            for wanted, attribute in scope.calls:
                if wanted not in self._calls[attribute]:
                    self._calls[attribute][wanted] = here
                    for made in list(self._having[attribute]):
                        self._dispatch(wanted, attribute, made)
                    self._dispatch_concrete(wanted, attribute)
        found = (self._functions, self._modules, self._classes, self._packages)
        return Reach(*map(frozenset, found), self._because)

    def _import(self, name: str) -> None:
        parts = name.split(".")
        if self._symbols.sources.of(parts[0]) is None:
            self._packages.add(parts[0])
        for end in range(1, len(parts) + 1):
            module = ".".join(parts[:end])
            if module not in self._modules and self._symbols.sources.of(module):
                self._modules.add(module)
                self._todo.append(f"{module}:")

    def _mention(self, one: Type, here: str) -> None:
        if isinstance(one, Function) and one.name not in self._functions:
            self._functions.add(one.name)
            self._because[one.name] = here
            self._todo.append(one.name)
        elif isinstance(one, Class):
            self._make(one.name, here)

    def _make(self, name: str, here: str) -> None:
        if name in self._classes:
            return
        self._classes.add(name)
        for method in self._called_from_outside(name):
            self._mention(method, here)
        for attribute in {method for one in self._symbols.lineage(name) for method in self._symbols.methods(one)}:
            self._having[attribute].add(name)
            for wanted in list(self._calls[attribute]):
                self._dispatch(wanted, attribute, name)

    def _called_from_outside(self, name: str) -> Iterator[Function]:
        """Methods that no line of ours calls by name: syntax does, a decorator, a base of another package."""
        lineage = self._symbols.lineage(name)
        outside = {base.name for one in lineage for base in self._symbols.bases(one) if isinstance(base, Outside)}
        for one in lineage:
            for method, tree in self._symbols.methods(one).items():
                dunder = method.startswith("__") and method.endswith("__")
                if dunder or decorators(tree) - PLAIN or (outside - _PASSIVE and not self._symbols.is_protocol(one)):
                    yield Function(f"{one}.{method}")

    def _dispatch(self, wanted: Type, attribute: str, made: str) -> None:
        if isinstance(wanted, Unknown) or (isinstance(wanted, Instance) and self._symbols.fits(made, wanted.name)):
            method = self._symbols.method(made, attribute)
            if method is not None:
                self._mention(method, self._calls[attribute][wanted])

    def _dispatch_concrete(self, wanted: Type, attribute: str) -> None:
        """The class's own method, for one that no line of ours makes: a decoder does, or it is a base's `self`."""
        if isinstance(wanted, Instance) and not self._symbols.is_protocol(wanted.name):
            method = self._symbols.method(wanted.name, attribute)
            if method is not None:
                self._mention(method, self._calls[attribute][wanted])
