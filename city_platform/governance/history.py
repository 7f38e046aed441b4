"""The history of evaluations: what every rule found, kept for good beside the data.

Layout of keys:
    evaluations/{dataset}/{partition}/{sequence:010d}.json   one evaluation each, created and never replaced

An evaluation that says what the newest one of its partition says already (same data, rules, surroundings, outcomes
and figures) is not recorded again, whenever it ran: a retry or an uneventful weekly run adds nothing.

What rules compare with (`last(k)`, DetectAnomalies) are the figures of earlier partitions, in the order of their
names, each by its newest evaluation. Later partitions are never seen, nor older evaluations of the same one, so a
backfill of an old partition in whatever order comes to the same outcome once the partitions before it are there.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any

from city_platform.errors import PermanentError, TransientError
from city_platform.ports import ObjectExists, ObjectStore
from city_platform.quality.dynamic import LIMIT
from city_platform.quality.results import Outcome, RuleResult
from city_platform.readable import readable, shallow

FORMAT = 1  # raise it when a reader of an older format would misunderstand
PREFIX = "evaluations"
ATTEMPTS = 20  # to take the next number while others take theirs


class UnreadableEvaluation(PermanentError):
    """The object is no evaluation, or one of a format this version does not know."""


class HistoryBusy(TransientError):
    """Other writers took every number this one tried for; nothing was recorded."""


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """One evaluation of one partition. `evaluated_at` is aware, `seconds` is how long it took.

    `results` are those of the gate's ruleset, `advisory` those of the others by name. `figures` maps measures (see
    `quality.measures`) to numbers. `rests_on` are the versions of what the rules looked at besides the rows.
    """

    dataset: str
    partition: str
    data_version: str
    ruleset_hash: str
    rests_on: Mapping[str, str]
    evaluated_at: datetime
    seconds: float
    rows: int
    rows_failed: int
    results: tuple[RuleResult, ...]
    advisory: Mapping[str, tuple[RuleResult, ...]]
    figures: Mapping[str, float]
    sequence: int = 0  # its number within the partition, from 1; 0 while it is not recorded

    @property
    def score(self) -> float | None:
        """The share of the gate's rules that passed, as AWS counts it; None without rules."""
        passed = sum(result.outcome is Outcome.PASS for result in self.results)
        return passed / len(self.results) if self.results else None

    def says_the_same(self, other: "EvaluationRecord") -> bool:
        """Whether two evaluations differ in nothing but when and how fast they ran."""
        return self == replace(other, evaluated_at=self.evaluated_at, seconds=self.seconds, sequence=self.sequence)

    def to_json(self) -> bytes:
        body = shallow(self) | {"format": FORMAT, "evaluated_at": self.evaluated_at.isoformat()}
        return readable(body, indent=1, sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "EvaluationRecord":
        """Raises UnreadableEvaluation."""
        try:
            body: dict[str, Any] = json.loads(data)
            if body.pop("format") != FORMAT:
                raise UnreadableEvaluation("the evaluation was recorded by another version of the platform")
            body["evaluated_at"] = datetime.fromisoformat(body["evaluated_at"])
            body["results"] = tuple(RuleResult.from_json(one) for one in body["results"])
            body["advisory"] = {
                name: tuple(RuleResult.from_json(one) for one in results) for name, results in body["advisory"].items()
            }
            return cls(**body)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UnreadableEvaluation(f"not an evaluation: {error}") from error


@dataclass(frozen=True, slots=True)
class EvaluationHistory:
    """The evaluations in one object store."""

    store: ObjectStore

    def record(self, evaluation: EvaluationRecord) -> EvaluationRecord:
        """Appends the evaluation and returns it with its number, or the newest one if that says the same.

        Raises HistoryBusy where others keep taking the next number, StoreUnavailable.
        """
        for _ in range(ATTEMPTS):
            newest = self.newest(evaluation.dataset, evaluation.partition)
            if newest is not None and newest.says_the_same(evaluation):
                return newest
            numbered = replace(evaluation, sequence=newest.sequence + 1 if newest else 1)
            key = f"{_folder(evaluation.dataset, evaluation.partition)}{numbered.sequence:010d}.json"
            try:
                self.store.put(key, numbered.to_json(), create_only=True)
            except ObjectExists:
                continue  # somebody else was first: look at what they recorded
            return numbered
        raise HistoryBusy(
            f"{evaluation.dataset} {evaluation.partition} is being evaluated by many at once: evaluate it again"
        )

    def newest(self, dataset: str, partition: str) -> EvaluationRecord | None:
        """The newest evaluation of a partition."""
        return next(self.of(dataset, partition), None)

    def of(self, dataset: str, partition: str, limit: int = LIMIT) -> Iterator[EvaluationRecord]:
        """The evaluations of a partition, newest first, at most `limit`."""
        keys = sorted(self.store.keys(_folder(dataset, partition)), reverse=True)
        for key in islice(keys, limit):
            yield EvaluationRecord.from_json(self.store.get(key))

    def partitions(self, dataset: str) -> Sequence[str]:
        """The partitions that were evaluated at least once, in order."""
        prefix = f"{PREFIX}/{dataset}/"
        return sorted({key[len(prefix) :].split("/", 1)[0] for key in self.store.keys(prefix)})

    def earlier(self, dataset: str, partition: str, measures: Collection[str]) -> Mapping[str, Sequence[float]]:
        """The measures in the partitions before this one, oldest first; at most `LIMIT` partitions are looked at."""
        before = [one for one in self.partitions(dataset) if one < partition][-LIMIT:]
        found: dict[str, list[float]] = {measure: [] for measure in sorted(measures)}
        for one in before:
            newest = self.newest(dataset, one)
            for measure, figures in found.items():
                if newest is not None and measure in newest.figures:
                    figures.append(newest.figures[measure])
        return found


def _folder(dataset: str, partition: str) -> str:
    return f"{PREFIX}/{dataset}/{partition}/"
