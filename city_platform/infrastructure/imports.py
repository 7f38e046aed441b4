"""What a module needs when it runs, read from its text: the platform's modules, and the names of other packages."""

import ast
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from city_platform.errors import PermanentError


class NoSuchModule(PermanentError):
    """An entry point names a module that the source folder does not hold."""


@dataclass(frozen=True, slots=True)
class Closure:
    """`modules` are files of the source folder, `external` the top-level names of all else, standard library too.

    An import inside a function counts: a function that is packaged without it fails at its first call. One under
    `if TYPE_CHECKING:` does not run.
    """

    modules: Sequence[Path]
    external: Sequence[str]


def closure(root: Path, entries: Iterable[str], without: Collection[str] = ()) -> Closure:
    """Everything that the modules `entries` (dotted names below `root`) import, and what that imports.

    Modules and packages named in `without` are left out, and whatever only they import.

    Raises NoSuchModule. Names in `import_module` calls are not followed: the platform has none on these paths.
    """
    own: dict[str, Path] = {}
    external: set[str] = set()
    waiting = list(entries)
    for entry in waiting:
        if _file(root, entry) is None:
            raise NoSuchModule(f"there is no module {entry} below {root}: a function's Handler names it")
    while waiting:
        name = waiting.pop()
        if name in own or name in without or name.partition(".")[0] in without:
            continue
        file = _file(root, name)
        if file is None:
            top = name.partition(".")[0]
            if _file(root, top) is None:
                external.add(top)
            continue  # else a name inside one of our modules, which is followed by itself
        own[name] = file
        package, _, _ = name.rpartition(".")
        waiting += [package] if package else []
        waiting += _imported(file)
    return Closure(sorted(own.values()), sorted(external))


def clients(modules: Iterable[Path]) -> Sequence[str]:
    """The AWS services that the modules make clients of: every `….client("name", …)` in their text."""
    found = set()
    for module in modules:
        for node in _running(_tree(module)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "client":
                found |= {one.value for one in node.args[:1] if isinstance(one, ast.Constant)}
    return sorted(map(str, found))


def _file(root: Path, name: str) -> Path | None:
    path = root.joinpath(*name.split("."))
    for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
        if file.is_file():
            return file
    return None


def _imported(file: Path) -> Iterator[str]:
    for node in _running(_tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:  # ruff's TID holds relative imports out
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker reads."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).rpartition(".")[2] == "TYPE_CHECKING":
            for other in child.orelse:
                yield from _running(other)
        else:
            yield from _running(child)
