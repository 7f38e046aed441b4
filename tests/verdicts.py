"""A year that was judged, one that failed, and a waiver for it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from city_platform.quality.gate import Waiver
from city_platform.quality.results import Outcome, RuleResult
from city_platform.quality.settings import Action, Route, Severity
from city_platform.quality.verdict import Verdict

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
NOW = datetime(2024, 3, 2, 12, tzinfo=UTC)
FAILED = replace(
    VERDICT,
    passed=False,
    results=(replace(RESULT, outcome=Outcome.FAIL), replace(RESULT, rule_id="row_count", outcome=Outcome.ERROR)),
)
WAIVER = Waiver(
    number=1,
    dataset="business_licences",
    partition="2024",
    data_version="v1",
    ruleset_hash="r1",
    rules=("completeness_status", "row_count"),
    reason="the source confirmed the gaps",
    actor="open-data-steward",
    at=NOW - timedelta(days=1),
    expires_at=NOW + timedelta(days=1),
)
