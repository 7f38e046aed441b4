"""The changelog is of this version, and what it says can be looked at and is shown by tests."""

import re
import tomllib

from tests.commands import check
from tests.conftest import ROOT
from tests.evidence import missing, names_tests_alone, tables

PAGE = (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_it_is_of_this_version_and_has_both_phases() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert re.findall(r"^## (\S+?),? ", PAGE, re.MULTILINE)[0] == version
    parts = re.findall(r"^### (.+)$", PAGE, re.MULTILINE)
    assert [one.partition(":")[0] for one in parts[:2]] == ["Phase 1", "Phase 2"]
    assert len(parts) == len(tables(PAGE))


def test_what_it_lists_can_be_looked_at_and_is_shown_by_tests_that_are_there() -> None:
    for head, *rows in tables(PAGE):
        assert head == ["what", "look at", "shown by"]
        for what, looked, shown in rows:
            command = looked.strip("`")
            if command.startswith("city-platform "):
                check(command)
            else:
                assert (ROOT / command).is_file(), what
            assert names_tests_alone(shown), what
    assert missing(PAGE) == []
