"""What a steward looks at before deciding about a partition: failed rules, failed rows with reasons, decisions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from city_platform.contracts.model import Column
from city_platform.datasets import Dataset
from city_platform.engines.dialect import Dialect
from city_platform.governance.decisions import to_json
from city_platform.governance.roles import STEWARD
from city_platform.lake.manifest import Manifest
from city_platform.layers import cleaned, quality_checked
from city_platform.layers.freshness import GATED
from city_platform.layers.gated import gate
from city_platform.layers.platform import Platform
from city_platform.quality.gate import Decisions, Standing
from city_platform.quality.model import leaves
from city_platform.quality.results import Outcome, RuleResult
from city_platform.quality.rule_types import column_parameters
from city_platform.quality.settings import rule_id
from city_platform.quality.verdict import Verdict

HIDDEN = "(personal)"  # stands for a value of a personal column


@dataclass(frozen=True, slots=True)
class FailedRow:
    """One row that was held back: `values` are those of its key and of the columns its rules are about, as text."""

    source: str
    row: int
    values: Mapping[str, str | None]
    rules: Sequence[str]
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True)
class Review:
    """One partition before a decision. `failed` are the rules that found something or could not be evaluated, those
    that close the gate first.
    """

    dataset: str
    partition: str
    data_version: str
    verdict: Verdict | None
    standing: Standing
    failed: Sequence[RuleResult]
    rows: Sequence[FailedRow]
    published: Mapping[str, datetime]  # when each layer behind the gate was last published
    next_steps: Sequence[str]

    def to_json(self) -> Mapping[str, Any]:
        verdict = self.verdict
        return {
            "dataset": self.dataset,
            "partition": self.partition,
            "data_version": self.data_version,
            "ruleset_hash": verdict.ruleset_hash if verdict else None,
            "evaluated_at": verdict.evaluated_at.isoformat() if verdict else None,
            "rows": verdict.rows if verdict else None,
            "rows_failed": verdict.rows_failed if verdict else None,
            **standing_json(self.standing),
            "failed_rules": [result.to_json() for result in self.failed],
            "failed_rows": [{name: getattr(row, name) for name in FailedRow.__slots__} for row in self.rows],
            "published": {layer: at.isoformat() for layer, at in self.published.items()},
            "next_steps": list(self.next_steps),
        }


def standing_json(standing: Standing) -> Mapping[str, Any]:
    """How the gate stands, for machines."""
    return {
        "gate": standing.word,
        "why": list(standing.reasons),
        "waived": {rule: to_json(waiver) for rule, waiver in standing.waivers.items()},
        "lapsed": [to_json(waiver) for waiver in standing.lapsed],
        "rejection": to_json(standing.rejection) if standing.rejection else None,
    }


def review(
    platform: Platform, dataset: Dataset, partition: str, *, rows: int, decisions: Decisions | None = None
) -> Review:
    """The partition as it stands; at most `rows` failed rows. Raises NotPublished while nothing is cleaned."""
    newest = platform.lake.require(cleaned.LAYER, dataset.name, partition)
    checked = platform.lake.latest(quality_checked.LAYER, dataset.name, partition)
    verdict = quality_checked.verdict_of(checked)
    standing = gate(platform, dataset, partition, decisions)
    assert standing is not None  # noqa: S101 -- only without cleaned data, which was required above
    failed = [one for one in verdict.results if one.outcome in {Outcome.FAIL, Outcome.ERROR}] if verdict else []
    layers = {layer: platform.lake.latest(layer, dataset.name, partition) for layer in GATED}
    return Review(
        dataset=dataset.name,
        partition=partition,
        data_version=newest.version,
        verdict=verdict,
        standing=standing,
        failed=sorted(failed, key=lambda one: not one.closes_gate),
        rows=failed_rows(platform, dataset, checked, rows) if checked and rows else (),
        published={layer: made.published_at for layer, made in layers.items() if made},
        next_steps=next_steps(dataset, partition, standing),
    )


def failed_rows(platform: Platform, dataset: Dataset, checked: Manifest, limit: int) -> Sequence[FailedRow]:
    """The first rows of failed/, in the order of the sources, without a value of a personal column."""
    files = platform.lake.paths(checked, "failed")
    if not files:
        return []
    sources = platform.lake.require(cleaned.LAYER, dataset.name, checked.partition).details["sources"]
    about = _columns_by_rule(dataset)
    key = {column.name for column in dataset.contract.key}
    names = [column.name for column in dataset.contract.columns]
    with platform.engine.session() as session:
        values = ", ".join(shown(column, session.dialect) for column in dataset.contract.columns)
        found = session.rows(
            f"SELECT _source, _row, _failed_rules, _reasons, {values} "
            f"FROM {session.parquet(files)} ORDER BY _source, _row LIMIT {limit}"
        )
    rows = []
    for source, row, rules, reasons, *texts in found:
        wanted = key | {name for rule in rules for name in about.get(rule, ())}
        told = {name: value for name, value in zip(names, texts, strict=True) if name in wanted}
        rows.append(FailedRow(sources[source], row, told, tuple(rules), tuple(reasons)))
    return rows


def shown(column: Column, dialect: Dialect, relation: str = "") -> str:
    """SQL for a column's value as text; a value of a personal column only shows that there is one."""
    name = f"{relation}." * bool(relation) + dialect.name(column.name)
    return f"CASE WHEN {name} IS NOT NULL THEN {dialect.text(HIDDEN)} END" if column.personal else f"{name}::VARCHAR"


def next_steps(dataset: Dataset, partition: str, standing: Standing) -> Sequence[str]:
    """What can be done now, as commands."""
    this = f"{dataset.name} {partition}"
    steward = next((one.account for one in dataset.contract.members if one.role.casefold() == STEWARD), "'…'")
    why = f"--actor {steward} --reason '…'"
    reject = f"city-platform quality reject {this} {why}"
    release = f"city-platform quality release {this} {why}"
    match standing.word:
        case "open":
            return (reject,)
        case "waived":
            return (release, reject)
        case "rejected":
            return ("correct the source and land it again: city-platform ingest FILE --dataset " + dataset.name,)
        case _ if not standing.unwaived:
            return (release,)
        case _:
            rules = " ".join(f"--rule {rule}" for rule in standing.unwaived)
            return (
                f"city-platform quality propose {this} --step '{{…}}' {why}",
                f"city-platform quality waive {this} {rules} --expires 7d {why}",
                reject,
                release,
            )


def _columns_by_rule(dataset: Dataset) -> Mapping[str, set[str]]:
    """The contract's columns each rule names, by rule id."""
    known = {column.name.casefold(): column.name for column in dataset.contract.columns}
    return {
        rule_id(item): {
            known[name.casefold()]
            for leaf in leaves(item)
            for name in column_parameters(leaf)
            if name.casefold() in known
        }
        for item in dataset.rules.rules
    }
