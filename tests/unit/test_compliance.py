"""The compliance page names tests that exist, and a test for every control."""

from tests.conftest import ROOT
from tests.evidence import missing, names_tests_alone, tables

PAGE = (ROOT / "docs" / "compliance.md").read_text("utf-8")
LAWS = ["PIPEDA", "PIPA BC", "FOIPPA BC", "GDPR", "HIPAA"]


def test_every_control_has_its_sections_and_tests() -> None:
    ((head, *controls),) = tables(PAGE)
    assert head == ["control", *LAWS, "how", "shown by"]
    assert len(controls) >= 15
    for control, *sections, how, shown in controls:
        assert len(sections) == len(LAWS)
        assert all([control, how, *sections]), control
        assert names_tests_alone(shown), control


def test_the_tests_it_names_are_there() -> None:
    assert missing(PAGE) == []
