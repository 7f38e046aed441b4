"""What an evaluation says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from city_platform.quality.settings import Action, Route, Severity
from city_platform.readable import shallow


class Outcome(StrEnum):
    """PASS and FAIL are answers. WARN: there was nothing to check. ERROR: the rule could not be evaluated."""

    PASS = "PASS"  # noqa: S105 - an outcome, not a password
    FAIL = "FAIL"
    WARN = "WARN"
    ERROR = "ERROR"


_KINDS: Mapping[str, type[StrEnum]] = {"outcome": Outcome, "action": Action, "route": Route, "severity": Severity}


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule's answer for one relation. `rows_failed` is None where rows do not fail one by one."""

    rule_id: str
    rule_text: str
    line: int
    outcome: Outcome
    action: Action
    route: Route
    severity: Severity
    owner: str
    metric_name: str
    metric_value: float | None
    threshold: str
    rows_checked: int
    rows_failed: int | None
    explanation: str
    reason: str = ""

    @property
    def closes_gate(self) -> bool:
        """A halting rule that failed or could not be evaluated; and a quarantining one that could not be evaluated,
        because then nobody knows which rows belong in failed/.
        """
        if self.action is Action.HALT:
            return self.outcome in {Outcome.FAIL, Outcome.ERROR}
        return self.action is Action.QUARANTINE and self.outcome is Outcome.ERROR

    def to_json(self) -> dict[str, Any]:
        """Only JSON values, in the order of the fields."""
        return shallow(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "RuleResult":
        """Raises ValueError or TypeError where the document is no result."""
        fields = dict(document)
        for name, kind in _KINDS.items():
            fields[name] = kind(str(fields.get(name)))
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A ruleset's answer for one relation.

    `failed_rules_sql` is a SQL expression over the relation: the ids of the row-routed rules a row fails as
    VARCHAR[], NULL where it fails none. None where no row fails any. It may read temporary tables of the session.
    `figures` are the measures of rules and analyzers (see `measures`), `unmeasured` the analyzers without figures and
    the reason.
    """

    results: tuple[RuleResult, ...]
    rows: int
    failed_rules_sql: str | None
    figures: Mapping[str, float] = field(default_factory=dict)
    unmeasured: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the gate opens. No rows is never a pass."""
        return self.rows > 0 and not any(result.closes_gate for result in self.results)
