"""Lets through exactly the data that was judged, and nothing else.

What passed its rules goes through. What failed goes through only under a steward's waiver of every rule that keeps
the gate closed, for exactly that version of the data under exactly that ruleset, and only until the waiver expires.
What a steward rejected never goes through.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from city_platform.errors import PermanentError
from city_platform.quality.verdict import Verdict


class GateClosed(PermanentError):
    """This data may not be released; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Waiver:
    """A steward lets data through although `rules` fail. Times are aware; at `expires_at` it is over.

    Of several waivers of one rule the newest counts, so another one prolongs it or cuts it short.
    """

    number: int  # of its entry in the audit log
    dataset: str
    partition: str
    data_version: str
    ruleset_hash: str
    rules: tuple[str, ...]
    reason: str
    actor: str
    at: datetime
    expires_at: datetime

    def in_force(self, now: datetime) -> bool:
        return now < self.expires_at


@dataclass(frozen=True, slots=True)
class Rejection:
    """A steward holds a version of the data back, whatever the rules say. It is never taken back."""

    number: int  # of its entry in the audit log
    dataset: str
    partition: str
    data_version: str
    reason: str
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Decisions:
    """What stewards decided. With `doubts` about the record of it no waiver counts, while every rejection does."""

    waivers: tuple[Waiver, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    doubts: tuple[str, ...] = ()

    def about(self, dataset: str, partition: str) -> "Decisions":
        """Those about one partition."""
        return Decisions(
            tuple(one for one in self.waivers if (one.dataset, one.partition) == (dataset, partition)),
            tuple(one for one in self.rejections if (one.dataset, one.partition) == (dataset, partition)),
            self.doubts,
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """How the gate stands for one version of a partition's data under one ruleset, at one moment.

    `waivers` names, for each rule that would keep the gate closed, the waiver in force; `unwaived` are the others.
    `lapsed` are the waivers that once covered a rule of `unwaived`. Unless `judged` there is no verdict on this data
    under these rules: it waits for its evaluation.
    """

    data_version: str
    reasons: tuple[str, ...] = ()  # what keeps it closed
    unwaived: tuple[str, ...] = ()
    waivers: Mapping[str, Waiver] = field(default_factory=dict)
    lapsed: tuple[Waiver, ...] = ()
    rejection: Rejection | None = None
    judged: bool = True

    @property
    def open(self) -> bool:
        return not self.reasons

    @property
    def word(self) -> str:
        """open, waived, rejected, unjudged, lapsed (a waiver has ended) or closed."""
        if self.open:
            return "waived" if self.waivers else "open"
        if not self.judged:
            return "unjudged"
        return "rejected" if self.rejection else "lapsed" if self.lapsed else "closed"


_AGAIN = "Run the quality_checked layer of this partition again."


def standing(
    verdict: Verdict | None,
    *,
    dataset: str,
    partition: str,
    data_version: str,
    ruleset_hash: str,
    decisions: Decisions,
    now: datetime,
    rests_on: Mapping[str, str] | None = None,
) -> Standing:
    """How the gate stands for that data under that ruleset. `now` is aware.

    `rests_on` are the versions that stand now of what rules look at besides the rows; None: those of the verdict.
    """
    decisions = decisions.about(dataset, partition)
    for rejection in decisions.rejections:
        if rejection.data_version == data_version:
            reason = (
                f"this data (version {data_version}) was rejected by {rejection.actor}: {rejection.reason}. "
                "Land corrected data; a rejected version never passes."
            )
            return Standing(data_version, (reason,), rejection=rejection)
    misfit = _misfit(verdict, dataset, partition, data_version, ruleset_hash) or _moved(verdict, rests_on)
    if verdict is None or misfit:
        return Standing(data_version, (misfit,), judged=False)
    if verdict.rows <= 0:
        empty = f"the partition has no rows, and nothing is no evidence. Check the source, then: {_AGAIN}"
        return Standing(data_version, (empty,))
    if not verdict.failed_rules:
        whole = f"the evaluation as a whole did not pass, and no rule of it failed. {_AGAIN}"
        return Standing(data_version, () if verdict.passed else (whole,))
    exact = [one for one in decisions.waivers if (one.data_version, one.ruleset_hash) == (data_version, ruleset_hash)]
    newest = {rule: one for one in sorted(exact, key=lambda one: one.number) for rule in one.rules}
    waivers = {
        rule: newest[rule]
        for rule in verdict.failed_rules
        if rule in newest and newest[rule].in_force(now) and not decisions.doubts
    }
    unwaived = tuple(rule for rule in verdict.failed_rules if rule not in waivers)
    if not unwaived:
        return Standing(data_version, waivers=waivers)
    latest = {one.number: one for rule, one in newest.items() if rule in unwaived}
    lapsed = tuple(one for one in latest.values() if not one.in_force(now))
    reasons = _failures(verdict, unwaived, lapsed, exact, decisions.doubts)
    return Standing(data_version, reasons, unwaived, waivers, lapsed)


def admit(found: Standing, dataset: str, partition: str) -> None:
    """Raises GateClosed unless the gate stands open."""
    if not found.open:
        raise GateClosed(f"{dataset} {partition}: {' '.join(found.reasons)}")


def _misfit(verdict: Verdict | None, dataset: str, partition: str, data_version: str, ruleset_hash: str) -> str:
    """Why the verdict says nothing about this data under these rules; empty where it does."""
    if verdict is None:
        return f"there is no verdict on this data (version {data_version}). {_AGAIN}"
    if (verdict.dataset, verdict.partition) != (dataset, partition):
        return f"the verdict is about {verdict.dataset} {verdict.partition}. {_AGAIN}"
    if verdict.data_version != data_version:
        return f"the verdict is about other data (version {verdict.data_version}, not {data_version}). {_AGAIN}"
    if verdict.ruleset_hash != ruleset_hash:
        return (
            f"the rules have changed since the verdict (ruleset {verdict.ruleset_hash}, now {ruleset_hash}). {_AGAIN}"
        )
    return ""


def _moved(verdict: Verdict | None, rests_on: Mapping[str, str] | None) -> str:
    """What the verdict rests on besides the data and rules, and has changed since; empty where nothing has."""
    if verdict is None or rests_on is None or dict(verdict.rests_on) == dict(rests_on):
        return ""
    names = sorted(verdict.rests_on.keys() | rests_on.keys())
    changed = [name for name in names if verdict.rests_on.get(name) != rests_on.get(name)]
    return f"what the rules compare with has changed since the verdict ({', '.join(changed)}). {_AGAIN}"


def _failures(
    verdict: Verdict,
    unwaived: tuple[str, ...],
    lapsed: tuple[Waiver, ...],
    exact: list[Waiver],
    doubts: tuple[str, ...],
) -> tuple[str, ...]:
    results = [result for result in verdict.results if result.rule_id in unwaived and result.closes_gate]
    told = "; ".join(f"{result.rule_id} ({result.outcome}): {result.explanation}" for result in results)
    reasons = [f"failed by {len(results)} {'rule' if len(results) == 1 else 'rules'}: {told}"]
    reasons += [
        f"Waiver {one.number} of {', '.join(one.rules)} expired at {one.expires_at.isoformat()}." for one in lapsed
    ]
    if doubts and exact:
        reasons.append(
            f"Its waivers do not count, because the audit log does not verify ({'; '.join(doubts)}): "
            "`city-platform audit verify` says more."
        )
    reasons.append(
        "Correct the source or the cleaning recipe, have the data's owner change the rule, or have a steward waive "
        "it; then evaluate again."
    )
    return tuple(reasons)
