"""The weekly scorecard: how good every partition of every dataset is, how that changed, and what has to be done.

A score is the share of the gate's rules that passed, as AWS Glue Data Quality counts it: a rule that had nothing to
judge did not pass. A dataset's score is the share over all its partitions together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from city_platform.governance.audit import Head
from city_platform.governance.history import EvaluationRecord
from city_platform.quality.gate import Standing, Waiver
from city_platform.quality.results import Outcome, RuleResult
from city_platform.quality.verdict import Verdict

STALE = timedelta(days=7)  # older evaluations missed a weekly run
WORST = 10


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One partition as it stands. `history` holds its evaluations, newest first; those that changed nothing are not
    among them. `weekly`: whether the weekly runs evaluate it.
    """

    verdict: Verdict
    standing: Standing
    history: Sequence[EvaluationRecord]
    next_steps: Sequence[str]
    weekly: bool = True

    @property
    def score(self) -> float | None:
        return _share(self.verdict.results)


@dataclass(frozen=True, slots=True)
class WorstRule:
    """A rule that found something, over all partitions of its dataset."""

    dataset: str
    rule_id: str
    explanation: str
    partitions_failing: int
    partitions: int
    rows_failed: int
    rows_checked: int


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Everything at one moment. `trend` has for each dataset its score after each evaluation that changed something."""

    at: datetime
    head: Head  # of the audit log, so that it can be compared with later
    doubts: Sequence[str]
    partitions: Sequence[PartitionState]
    worst: Sequence[WorstRule]
    trend: Mapping[str, Sequence[tuple[datetime, float]]]

    @property
    def failing(self) -> Sequence[PartitionState]:
        """The partitions whose gate stands closed."""
        return [one for one in self.partitions if not one.standing.open]

    @property
    def stale(self) -> Sequence[PartitionState]:
        """The partitions that no weekly run has evaluated lately."""
        return [one for one in self.partitions if one.weekly and self.at - one.verdict.evaluated_at > STALE]

    @property
    def waivers(self) -> Sequence[Waiver]:
        """Those in force, the next to end first."""
        found = {waiver.number: waiver for one in self.partitions for waiver in one.standing.waivers.values()}
        return sorted(found.values(), key=lambda waiver: waiver.expires_at)

    @property
    def scores(self) -> Mapping[str, float]:
        """The score of each dataset now."""
        names = dict.fromkeys(one.verdict.dataset for one in self.partitions)
        shares = {
            name: _share(
                [result for one in self.partitions if one.verdict.dataset == name for result in one.verdict.results]
            )
            for name in names
        }
        return {name: share for name, share in shares.items() if share is not None}

    def to_json(self) -> Mapping[str, Any]:
        """Only JSON values."""
        return {
            "at": self.at.isoformat(),
            "audit_head": str(self.head),
            "audit_doubts": list(self.doubts),
            "scores": dict(self.scores),
            "partitions": [_partition_json(one) for one in self.partitions],
            "worst_rules": [{name: getattr(one, name) for name in WorstRule.__slots__} for one in self.worst],
            "waivers": [
                {
                    "number": one.number,
                    "dataset": one.dataset,
                    "partition": one.partition,
                    "rules": list(one.rules),
                    "actor": one.actor,
                    "reason": one.reason,
                    "expires_at": one.expires_at.isoformat(),
                }
                for one in self.waivers
            ],
            "trend": {name: [[at.isoformat(), score] for at, score in line] for name, line in self.trend.items()},
        }


def scorecard(at: datetime, states: Sequence[PartitionState], head: Head, doubts: Sequence[str]) -> Scorecard:
    """The scorecard of these partitions at that moment, in the order of dataset and partition."""
    ordered = sorted(states, key=lambda one: (one.verdict.dataset, one.verdict.partition))
    return Scorecard(at, head, tuple(doubts), ordered, _worst(ordered), _trend(ordered))


def _worst(states: Sequence[PartitionState]) -> Sequence[WorstRule]:
    """The rules that failed in most partitions, then for most rows."""
    found: dict[tuple[str, str], list[RuleResult]] = {}
    for state in states:
        for result in state.verdict.results:
            found.setdefault((state.verdict.dataset, result.rule_id), []).append(result)
    rules = [
        WorstRule(
            dataset=dataset,
            rule_id=rule,
            explanation=max(results, key=_failing).explanation,
            partitions_failing=sum(_failing(one)[0] for one in results),
            partitions=len(results),
            rows_failed=sum(one.rows_failed or 0 for one in results),
            rows_checked=sum(one.rows_checked for one in results),
        )
        for (dataset, rule), results in found.items()
    ]
    failing = [one for one in rules if one.partitions_failing]
    return sorted(failing, key=lambda one: (-one.partitions_failing, -one.rows_failed, one.dataset, one.rule_id))[
        :WORST
    ]


def _failing(result: RuleResult) -> tuple[bool, int]:
    """Sorts those that failed, for most rows, last."""
    return result.outcome in {Outcome.FAIL, Outcome.ERROR}, result.rows_failed or 0


def _trend(states: Sequence[PartitionState]) -> Mapping[str, Sequence[tuple[datetime, float]]]:
    """After each evaluation the share of rules that pass over all partitions evaluated by then."""
    lines: dict[str, list[tuple[datetime, float]]] = {}
    records = sorted(
        (record for state in states for record in state.history),
        key=lambda record: (record.evaluated_at, record.partition, record.sequence),
    )
    standing: dict[str, dict[str, tuple[RuleResult, ...]]] = {}
    for record in records:
        now = standing.setdefault(record.dataset, {})
        now[record.partition] = record.results
        share = _share([result for results in now.values() for result in results])
        if share is not None:
            lines.setdefault(record.dataset, []).append((record.evaluated_at, share))
    return lines


def _share(results: Sequence[RuleResult]) -> float | None:
    return sum(one.outcome is Outcome.PASS for one in results) / len(results) if results else None


def _partition_json(one: PartitionState) -> Mapping[str, Any]:
    verdict, standing = one.verdict, one.standing
    return {
        "dataset": verdict.dataset,
        "partition": verdict.partition,
        "data_version": verdict.data_version,
        "evaluated_at": verdict.evaluated_at.isoformat(),
        "score": one.score,
        "rows": verdict.rows,
        "rows_failed": verdict.rows_failed,
        "gate": standing.word,
        "closed_by": list(standing.unwaived),
        "why": list(standing.reasons),
        "next_steps": list(one.next_steps) if not standing.open else [],
        "history": [
            {"at": record.evaluated_at.isoformat(), "score": record.score, "rows_failed": record.rows_failed}
            for record in reversed(one.history)
        ],
    }
