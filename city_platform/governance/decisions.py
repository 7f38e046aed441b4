"""What stewards decide about a partition, written to the audit log and read from it. There is no other record.

- waive: let one version of the data through although certain rules fail, until a moment, for a reason
- reject: never let this version of the data through
- release: evaluate again, and make what waits behind the gate if it opens
- propose: a recipe step that would mend the data, for review; nothing is applied
- restore: make an earlier version of a layer the newest again
- approve schema: let breaking changes of a table happen

How the gate takes decisions into account, `quality.gate` says. Deciding takes the role of a data steward; an attempt
without it changes nothing and is logged.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from city_platform.contracts.model import Contract
from city_platform.contracts.team import ACCOUNT
from city_platform.errors import PermanentError
from city_platform.governance.audit import AuditLog, Entry
from city_platform.governance.roles import NotEntitled, require_steward
from city_platform.quality.gate import Decisions, Rejection, Waiver, standing
from city_platform.quality.verdict import Verdict

LONGEST_WAIVER = timedelta(days=366)  # what has to last longer is a change of the rule
REASON_CHARACTERS = (10, 500)
_EMAIL_OR_PHONE = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+|\(?\b[0-9]{3}\)?[ .-]?[0-9]{3}[ .-][0-9]{4}\b")


class Action(StrEnum):
    WAIVE = "waive"
    REJECT = "reject"
    RELEASE = "release"
    PROPOSE = "propose"
    RESTORE = "restore"
    APPROVE = "approve schema"
    ERASE = "erase"  # what was removed of a person, the log says in entries of their own
    REFUSED = "refused"  # somebody without the role tried one of the others


class InvalidDecision(PermanentError):
    """The decision cannot be taken as it was given; the message says everything that is wrong with it."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


def read_decisions(log: AuditLog) -> Decisions:
    """All decisions that hold a gate open or closed, with every doubt about the log they stand in."""
    reading = log.read()
    waivers, rejections, doubts = [], [], list(reading.breaks)
    for entry in reading.entries:
        try:
            if entry.action == Action.WAIVE:
                waivers.append(_waiver(entry))
            elif entry.action == Action.REJECT:
                rejections.append(_rejection(entry))
        except (KeyError, TypeError, ValueError):
            doubts.append(f"entry {entry.sequence} is not a decision as this version writes them")
    return Decisions(tuple(waivers), tuple(rejections), tuple(doubts))


def waivers_in_force(log: AuditLog, verdict: Verdict | None, now: datetime) -> Mapping[str, Waiver]:
    """For each rule that closes the gate by this verdict the waiver that holds it open. Reads no log for a pass."""
    if verdict is None or verdict.passed:
        return {}
    return standing(
        verdict,
        dataset=verdict.dataset,
        partition=verdict.partition,
        data_version=verdict.data_version,
        ruleset_hash=verdict.ruleset_hash,
        decisions=read_decisions(log),
        now=now,
    ).waivers


@dataclass(frozen=True, slots=True)
class Desk:
    """One person's place at a dataset: `actor` is the role account, `account` the operating system's user.

    Every method checks the role first (NotEntitled, logged), then the decision (InvalidDecision), and has written it
    to the audit log when it returns; on any error nothing was decided. Raises the log's errors too.
    """

    log: AuditLog
    contract: Contract
    actor: str
    account: str

    def waive(self, verdict: Verdict, rules: Sequence[str], reason: str, expires_at: datetime) -> Waiver:
        """Waives rules that close the gate by this verdict. `expires_at` is aware."""
        self.require_role(Action.WAIVE, verdict.partition)
        now = self.log.clock.now()
        reason, problems = _reason(reason)
        decided = read_decisions(self.log).about(verdict.dataset, verdict.partition)
        problems += _not_waivable(verdict, rules, decided)
        if not now < expires_at <= now + LONGEST_WAIVER:
            latest = (now + LONGEST_WAIVER).astimezone(ZoneInfo(self.contract.timezone)).isoformat(" ", "minutes")
            problems.append(f"it cannot expire at {expires_at.isoformat()}: name a moment to come, until {latest}")
        if problems:
            raise InvalidDecision(problems)
        return _waiver(
            self._write(
                Action.WAIVE,
                {
                    "dataset": verdict.dataset,
                    "partition": verdict.partition,
                    "data_version": verdict.data_version,
                    "ruleset_hash": verdict.ruleset_hash,
                    "rules": list(dict.fromkeys(rules)),
                    "reason": reason,
                    "expires_at": expires_at.isoformat(),
                },
            )
        )

    def reject(self, partition: str, data_version: str, reason: str) -> Rejection:
        """Holds that version back for ever."""
        self.require_role(Action.REJECT, partition)
        reason, problems = _reason(reason)
        decided = read_decisions(self.log).about(self.contract.name, partition)
        if any(one.data_version == data_version for one in decided.rejections):
            problems.append(f"version {data_version} of {partition} is rejected already")
        if problems:
            raise InvalidDecision(problems)
        facts = {"dataset": self.contract.name, "partition": partition, "data_version": data_version, "reason": reason}
        return _rejection(self._write(Action.REJECT, facts))

    def release(self, verdict: Verdict, gate: str, reason: str) -> Entry:
        """Notes that the data was evaluated again and how the gate stands now (`Standing.word`)."""
        facts = {"data_version": verdict.data_version, "ruleset_hash": verdict.ruleset_hash, "gate": gate}
        return self._note(Action.RELEASE, verdict.partition, reason, facts)

    def propose(self, partition: str, data_version: str, patch_sha256: str, reason: str) -> Entry:
        """Notes that a change of the recipe was proposed, and which."""
        facts = {"data_version": data_version, "patch_sha256": patch_sha256}
        return self._note(Action.PROPOSE, partition, reason, facts)

    def restore(self, partition: str, layer: str, version: str, reason: str) -> Entry:
        """Notes that an earlier version of a layer is made the newest again."""
        return self._note(Action.RESTORE, partition, reason, {"layer": layer, "version": version})

    def approve(self, table: str, changes: Sequence[str], reason: str) -> Entry:
        """Notes that breaking changes of a table, told in words, are let happen."""
        return self._note(Action.APPROVE, "all", reason, {"table": table, "changes": list(changes)})

    def require_role(self, action: Action, partition: str) -> None:
        """Raises NotEntitled, with the attempt in the log."""
        if not ACCOUNT.fullmatch(self.actor):
            raise NotEntitled("an actor is a role account: letters, digits, '.', '-' and '_', as open-data-steward")
        what = {
            Action.ERASE: "have a person erased who reported incidents",
            Action.APPROVE: f"approve a schema of {self.contract.name}",
        }
        of_quality = f"decide about the quality of {self.contract.name}"
        try:
            require_steward(self.contract, self.actor, self.log.clock.now(), what.get(action, of_quality))
        except NotEntitled:
            facts = {"dataset": self.contract.name, "partition": partition, "attempted": action.value}
            self._write(Action.REFUSED, facts)
            raise

    def _note(self, action: Action, partition: str, reason: str, facts: Mapping[str, Any]) -> Entry:
        """Writes what says for itself what it is about; only the role and the reason are checked."""
        self.require_role(action, partition)
        reason = checked_reason(reason)
        return self._write(action, {"dataset": self.contract.name, "partition": partition, **facts, "reason": reason})

    def _write(self, action: Action, facts: Mapping[str, Any]) -> Entry:
        return self.log.append(actor=self.actor, account=self.account, action=action.value, facts=facts)


def checked_reason(reason: str) -> str:
    """The reason as it will stand in the log; raises InvalidDecision."""
    reason, problems = _reason(reason)
    if problems:
        raise InvalidDecision(problems)
    return reason


def _reason(text: str) -> tuple[str, list[str]]:
    """The reason on one line, and what is wrong with it: it is kept for ever and shown to everybody."""
    reason = " ".join(text.split())
    problems = []
    low, high = REASON_CHARACTERS
    if not low <= len(reason) <= high or not reason.isprintable():
        problems.append(f"the reason has {len(reason)} characters: say in {low} to {high} printable ones why")
    if _EMAIL_OR_PHONE.search(reason):
        problems.append("the reason holds an e-mail address or a telephone number: name the role, not the person")
    return reason, problems


def _not_waivable(verdict: Verdict, rules: Sequence[str], decided: Decisions) -> list[str]:
    problems = []
    if any(one.data_version == verdict.data_version for one in decided.rejections):
        problems.append(f"version {verdict.data_version} of {verdict.partition} was rejected, and stays so")
    if verdict.rows <= 0:
        problems.append("the partition has no rows: there is nothing to release")
    failing = ", ".join(verdict.failed_rules) or "none"
    if not rules:
        problems.append(f"name the rules to waive; these close the gate: {failing}")
    strange = [rule for rule in rules if rule not in verdict.failed_rules]
    if strange:
        problems.append(f"{', '.join(strange)} does not close the gate of {verdict.partition}; these do: {failing}")
    return problems


def _waiver(entry: Entry) -> Waiver:
    facts = entry.facts
    waiver = Waiver(
        number=entry.sequence,
        dataset=facts["dataset"],
        partition=facts["partition"],
        data_version=facts["data_version"],
        ruleset_hash=facts["ruleset_hash"],
        rules=tuple(facts["rules"]),
        reason=facts["reason"],
        actor=entry.actor,
        at=entry.at,
        expires_at=datetime.fromisoformat(facts["expires_at"]),
    )
    if waiver.expires_at.tzinfo is None:
        raise ValueError("a waiver's end has a time zone")
    return waiver


def _rejection(entry: Entry) -> Rejection:
    facts = entry.facts
    return Rejection(
        number=entry.sequence,
        dataset=facts["dataset"],
        partition=facts["partition"],
        data_version=facts["data_version"],
        reason=facts["reason"],
        actor=entry.actor,
        at=entry.at,
    )


def to_json(decision: Waiver | Rejection) -> dict[str, Any]:
    """Only JSON values, for manifests and machines."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(decision).items()
    }
