"""Verdicts keep what they say, and the gate lets through exactly what was judged."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from city_platform.errors import PermanentError
from city_platform.quality.gate import GateClosed, admit
from city_platform.quality.results import Outcome, RuleResult
from city_platform.quality.settings import Action, Route, Severity
from city_platform.quality.verdict import UnreadableVerdict, Verdict

RESULT = RuleResult(
    rule_id="completeness_status",
    rule_text='Completeness "Status" >= 0.95',
    line=3,
    outcome=Outcome.PASS,
    action=Action.HALT,
    route=Route.GATE,
    severity=Severity.ERROR,
    owner="team:licensing",
    metric_name="completeness",
    metric_value=0.95,
    threshold=">= 0.95",
    rows_checked=20,
    rows_failed=1,
    explanation="The share of rows with a value in Status has to be at least 95 %.",
)
VERDICT = Verdict(
    dataset="business_licences",
    partition="2024",
    data_version="v1",
    ruleset_hash="r1",
    passed=True,
    evaluated_at=datetime(2024, 3, 1, 12, tzinfo=UTC),
    rows=20,
    rows_passed=19,
    rows_failed=1,
    results=(RESULT, replace(RESULT, outcome=Outcome.ERROR, action=Action.WARN, metric_value=None, rows_failed=None)),
)
ASKED = {"dataset": "business_licences", "partition": "2024", "data_version": "v1", "ruleset_hash": "r1"}


def test_a_verdict_survives_being_written_down() -> None:
    text = VERDICT.to_json()
    assert Verdict.from_json(text) == VERDICT
    assert Verdict.from_json(text.encode()).to_json() == text


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 99}', VERDICT.to_json().replace('"rows": 20', '"lines": 20')]
)
def test_what_is_no_verdict_says_so(text: str) -> None:
    with pytest.raises(UnreadableVerdict, match="evaluate the partition again"):
        Verdict.from_json(text)


def test_the_judged_data_is_admitted() -> None:
    assert admit(VERDICT, **ASKED) is VERDICT


@pytest.mark.parametrize(
    ("verdict", "asked", "said"),
    [
        (None, {}, "no verdict"),
        (VERDICT, {"data_version": "v2"}, "about other data"),
        (VERDICT, {"ruleset_hash": "r2"}, "rules have changed"),
        (VERDICT, {"partition": "2023"}, "is about business_licences 2024"),
        (VERDICT, {"dataset": "parking_tickets"}, "is about business_licences 2024"),
        (replace(VERDICT, rows=0), {}, "no rows"),
        (replace(VERDICT, passed=False), {}, "evaluation as a whole"),
        (replace(VERDICT, passed=False, results=(replace(RESULT, outcome=Outcome.FAIL),)), {}, "completeness_status"),
        # A verdict that says it passed and lists a failed halting rule is not believed.
        (replace(VERDICT, results=(replace(RESULT, outcome=Outcome.FAIL),)), {}, "completeness_status"),
    ],
)
def test_everything_else_is_refused_with_the_reason(verdict: Verdict | None, asked: dict[str, str], said: str) -> None:
    with pytest.raises(GateClosed, match=said) as refused:
        admit(verdict, **(ASKED | asked))
    assert isinstance(refused.value, PermanentError)
    assert "again" in str(refused.value)
