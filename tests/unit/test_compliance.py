"""The compliance page names tests that exist, and a test for every control."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "compliance.md").read_text("utf-8")
LAWS = ["PIPEDA", "PIPA BC", "FOIPPA BC", "GDPR", "HIPAA"]


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def named(cell: str) -> list[tuple[str, str]]:
    return re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", cell)


def test_every_control_has_its_sections_and_tests_that_exist() -> None:
    head, _, *controls = rows()
    assert head == ["control", *LAWS, "how", "shown by"]
    assert len(controls) >= 15
    for control, *sections, how, shown in controls:
        assert len(sections) == len(LAWS)
        assert all([control, how, *sections]), control
        assert named(shown), control
        assert re.sub(r"`[^`]+`|[, ]", "", shown) == "", control


def test_the_tests_it_names_are_there() -> None:
    for file, name in {one for cell in rows() for one in named(cell[-1])}:
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"
