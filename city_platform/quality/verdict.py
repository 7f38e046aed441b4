"""What an evaluation decided about one partition, kept beside the data and read by the gate."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from city_platform.errors import PermanentError
from city_platform.quality.results import RuleResult
from city_platform.readable import readable, shallow

FORMAT = 1  # raise it when a reader of an older format would misunderstand


class UnreadableVerdict(PermanentError):
    """The text is no verdict, or one of a format this version does not know."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one partition's data of one version may be released under one ruleset.

    `rows` = `rows_passed` + `rows_failed`; `evaluated_at` is aware. `rests_on` names what rules looked at besides the
    rows (other datasets, earlier evaluations), each with its version.
    """

    dataset: str
    partition: str
    data_version: str
    ruleset_hash: str
    passed: bool
    evaluated_at: datetime
    rows: int
    rows_passed: int
    rows_failed: int
    results: tuple[RuleResult, ...]
    rests_on: Mapping[str, str] = field(default_factory=dict)

    @property
    def failed_rules(self) -> tuple[str, ...]:
        """Ids of the rules that keep the gate closed."""
        return tuple(result.rule_id for result in self.results if result.closes_gate)

    def to_json(self) -> str:
        """The same verdict always gives the same text."""
        document = {"format": FORMAT, **shallow(self), "evaluated_at": self.evaluated_at.isoformat()}
        return readable(document, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Verdict":
        """Raises UnreadableVerdict."""
        try:
            document: dict[str, Any] = json.loads(text)
            if document.pop("format", None) != FORMAT:
                raise UnreadableVerdict(
                    f"this verdict is not of format {FORMAT}: evaluate the partition again with this version"
                )
            document["evaluated_at"] = datetime.fromisoformat(document["evaluated_at"])
            document["results"] = tuple(RuleResult.from_json(one) for one in document["results"])
            return cls(**document)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UnreadableVerdict(f"this is no verdict ({error}): evaluate the partition again") from error
