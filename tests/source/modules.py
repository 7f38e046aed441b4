"""The project's modules, parsed once."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("city_platform", "assets", "resources", "sensors", "schedules", "definitions", "runner", "lambda_handler")
Definition = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True)
class Source:
    """A module's tree, and what its names mean at its top."""

    name: str
    tree: ast.Module
    text: str
    names: dict[str, ast.AST] = field(default_factory=dict)


class Sources:
    """The project's modules by name, read once."""

    def __init__(self, root: Path = ROOT, packages: Sequence[str] = PACKAGES) -> None:
        self._root = root
        self._packages = set(packages)
        self._read: dict[str, Source | None] = {}

    def of(self, name: str) -> Source | None:
        """The module, or None where it is not the project's."""
        if name.partition(".")[0] not in self._packages:
            return None
        if name not in self._read:
            path = self._root.joinpath(*name.split("."))
            file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            self._read[name] = _source(name, file) if file.is_file() else None
        return self._read[name]

    def below(self, name: str) -> Sequence[str]:
        """The modules of a package, itself among them."""
        folder = self._root.joinpath(*name.split("."))
        if not folder.is_dir():
            return [name]
        found = (path.relative_to(self._root).with_suffix("").parts for path in sorted(folder.rglob("*.py")))
        return [".".join(parts[:-1] if parts[-1] == "__init__" else parts) for parts in found]


def _source(name: str, file: Path) -> Source:
    text = file.read_text("utf-8")
    source = Source(name, ast.parse(text, str(file)), text)
    for statement in _flat(source.tree.body):
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                source.names.setdefault(statement.name, statement)
            case ast.Assign(targets=[ast.Name(id=target)]) | ast.AnnAssign(target=ast.Name(id=target)):
                source.names.setdefault(target, statement)
            case ast.Import() | ast.ImportFrom():
                for alias in statement.names:
                    source.names.setdefault(alias.asname or alias.name.partition(".")[0], statement)
    return source


def _flat(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module's top with those under `if`, `try` and `with`."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            for name in ("body", "orelse", "finalbody"):
                yield from _flat(getattr(statement, name, []))


def is_typing_only(statement: ast.stmt) -> bool:
    """Whether it is `if TYPE_CHECKING:`, whose imports never run."""
    match statement:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
    return False
