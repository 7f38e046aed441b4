"""Pages that name tests as evidence: their tables, and which of the tests they name are there."""

import ast
import re
from collections.abc import Sequence

from tests.conftest import ROOT

_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def tables(page: str) -> Sequence[Sequence[Sequence[str]]]:
    """The tables of a Markdown text as rows of cells: the headings first, the line below them left out."""
    found: list[list[list[str]]] = []
    before = ""
    for line in page.splitlines():
        if line.startswith("|"):
            if not before.startswith("|"):
                found.append([])
            if not re.fullmatch(r"[|\s:-]+", line):
                found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        before = line
    return found


def named(cell: str) -> Sequence[tuple[str, str]]:
    """The tests that a cell names, as file and function."""
    return _TEST.findall(cell)


def names_tests_alone(cell: str) -> bool:
    """Whether a cell names at least one test, and says nothing else."""
    return bool(named(cell)) and re.sub(r"`[^`]+`|[, ]", "", cell) == "" and cell.count("`") == 2 * len(named(cell))


def missing(page: str) -> Sequence[str]:
    """The tests that a text names and that are not there."""
    found = []
    for file, name in sorted(set(named(page))):
        path = ROOT / file
        body = ast.parse(path.read_text("utf-8")).body if path.is_file() else []
        if name not in {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}:
            found.append(f"{file}::{name}")
    return found
