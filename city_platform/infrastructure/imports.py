"""What a module needs when it runs, read from its text: the platform's modules, and the names of other packages."""

import ast
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
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
        waiting += _imported(_text(file))
    return Closure(sorted(own.values()), sorted(external))


def clients(modules: Iterable[Path]) -> Sequence[str]:
    """The AWS services that the modules make clients of: every `….client("name", …)` in their text."""
    found = set()
    for module in modules:
        for node in _running(ast.parse(_text(module))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "client":
                found |= {one.value for one in node.args[:1] if isinstance(one, ast.Constant)}
    return sorted(map(str, found))


def _file(root: Path, name: str) -> Path | None:
    path = root.joinpath(*name.split("."))
    for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
        if file.is_file():
            return file
    return None


@lru_cache(1024)  # many functions import the same modules
def _imported(text: str) -> Sequence[str]:
    found: list[str] = []
    for node in _running(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:  # ruff's TID holds relative imports out
            found += (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    return found


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _running(tree: ast.Module) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker reads, in no particular order."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            yield node
            waiting += ast.iter_child_nodes(node)
