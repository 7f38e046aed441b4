"""The page of benefits: no promise without a test that is there, and measures that somebody can look at."""

import re

import pytest

from tests.conftest import ROOT
from tests.evidence import missing, names_tests_alone, tables

PAGE = (ROOT / "docs" / "benefits.md").read_text("utf-8")
BENEFITS, PILLARS, LENSES = tables(PAGE)
STACKS = ("monitoring", "billing", "audit", "analytics")
SHOWN = [(ROOT / "infrastructure" / f"{name}.yaml").read_text("utf-8") for name in STACKS]


def unseen(cell: str) -> list[str]:
    """The measures of a cell that are on no dashboard and have no alarm, and the alarms that are none."""
    names = re.findall(r"`(\w+)`", cell)
    declared = {one: rf"(?m)^  {one}:\n    Type: AWS::CloudWatch::Alarm$" for one in names if one.endswith("Alarm")}
    return [one for one in names if not any(re.search(declared.get(one, rf"\b{one}\b"), text) for text in SHOWN)]


def test_every_benefit_and_every_pillar_is_on_the_page() -> None:
    promised = ["consistency", "trustworthiness", "auditability", "automation", "readiness for analytics"]
    assert [row[0] for row in BENEFITS[1:]] == promised
    pillars = ["operational excellence", "security", "reliability", "performance efficiency", "cost optimisation"]
    assert [row[0] for row in PILLARS[1:]] == [*pillars, "sustainability"]


@pytest.mark.parametrize("row", [*BENEFITS[1:], *PILLARS[1:]], ids=lambda row: row[0])
def test_a_promise_has_a_way_tests_and_measures(row: list[str]) -> None:
    _, how, shown, measures = row
    assert how
    assert names_tests_alone(shown)
    assert re.fullmatch(r"`\w+`(, `\w+`)*", measures)
    assert unseen(measures) == []


@pytest.mark.parametrize("row", LENSES[1:], ids=lambda row: f"{row[0]}: {row[1]}")
def test_what_a_lens_asks_has_a_way_and_tests(row: list[str]) -> None:
    assert all(row)
    assert names_tests_alone(row[3])


def test_the_tests_and_pages_it_names_are_there() -> None:
    assert missing(PAGE) == []
    assert [one for one in re.findall(r"\]\(([^)]+)\)", PAGE) if not (ROOT / "docs" / one).is_file()] == []


def test_what_is_not_there_is_found_out() -> None:
    page = "| a | `tests/unit/test_benefits.py::test_of_nothing`, `tests/unit/test_none.py::test_a` |"
    assert missing(page) == ["tests/unit/test_benefits.py::test_of_nothing", "tests/unit/test_none.py::test_a"]
    assert unseen("`RunsFailed`, `RunsForgotten`") == ["RunsForgotten"]
    assert unseen("`RunFailedAlarm`, `RunAlarm`") == ["RunAlarm"]
    assert not names_tests_alone("by hand")
    assert not names_tests_alone("`tests/unit/test_benefits.py::test_a`, `by hand`")
    assert tables("| a |\n|---|\n| b |\n\n| c |\n") == [[["a"], ["b"]], [["c"]]]
