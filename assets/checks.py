"""Governance rules as asset checks: one check a rule, on the quality-checked layer.

A rule of `rules.dqdl` that may close the gate is a blocking check; Dagster then stops what is downstream in the
same run, and the gate itself stops every other run. The rules of every other `*.dqdl` file are advisory: they warn.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from assets.graph import asset_key, markdown_table, partitions
from city_platform.datasets import Dataset
from city_platform.governance.decisions import to_json
from city_platform.lake.lake import Lake
from city_platform.lake.manifest import Manifest
from city_platform.layers.quality_checked import LAYER, advisory_results, verdict_of
from city_platform.quality.declared import DeclaredRule, declared_rules
from city_platform.quality.gate import Standing
from city_platform.quality.results import Outcome, RuleResult
from city_platform.quality.settings import Action


def check_specs(dataset: Dataset) -> Iterator[dg.AssetCheckSpec]:
    """The checks of `rules.dqdl`, then those of the advisory rulesets, named after their file."""
    for rule in declared_rules(dataset.rules):
        yield _spec(dataset, rule.settings.rule_id, rule, gates=True)
    for name, ruleset in dataset.advisory:
        for rule in declared_rules(ruleset):
            yield _spec(dataset, _advisory_name(name, rule.settings.rule_id), rule, gates=False)


def check_results(dataset: Dataset, checked: Manifest, lake: Lake) -> Iterator[dg.AssetCheckResult]:
    """What every rule found in a partition, as Dagster records it."""
    verdict = verdict_of(checked)
    keys, waivers = checked.details["failed_keys"], checked.details.get("waivers", {})
    where = ", ".join(lake.store.uri(file.key) for file in checked.parts.get("failed", ()))
    for result in verdict.results if verdict else ():
        waiver = waivers.get(result.rule_id)
        yield _result(dataset, checked, result.rule_id, result, keys.get(result.rule_id, ()), where, waiver)
    for name, results in advisory_results(checked).items():
        for result in results:
            yield _result(dataset, checked, _advisory_name(name, result.rule_id), result, (), "")


def gate_metadata(dataset: Dataset, standing: Standing | None) -> Mapping[str, dg.MetadataValue]:
    """How the gate stands after this evaluation, and the decisions that make it stand so."""
    if standing is None:
        return {}
    waived = [{"rule": rule, **_waived(dataset, to_json(waiver))} for rule, waiver in sorted(standing.waivers.items())]
    return {
        "gate": dg.MetadataValue.text(standing.word),
        **({"gate/why closed": dg.MetadataValue.text(" ".join(standing.reasons))} if standing.reasons else {}),
        **({"gate/waived": dg.MetadataValue.md(markdown_table(waived))} if waived else {}),
    }


def _advisory_name(file: str, rule_id: str) -> str:
    return f"{file}__{rule_id}"


def _spec(dataset: Dataset, name: str, rule: DeclaredRule, *, gates: bool) -> dg.AssetCheckSpec:
    settings = rule.settings
    return dg.AssetCheckSpec(
        name,
        asset=asset_key(dataset, LAYER),
        description=rule.explanation,
        # Any rule of the gate closes it when it cannot be evaluated, so only the warning ones never block.
        blocking=gates and settings.action is not Action.WARN,
        metadata={
            "rule": rule.text,
            "line": rule.line,
            "action": settings.action.value if gates else "advisory",
            "owner": settings.owner or dataset.contract.owner,
        },
        partitions_def=partitions(dataset),
    )


def _result(
    dataset: Dataset,
    checked: Manifest,
    name: str,
    result: RuleResult,
    keys: Sequence[str],
    where: str,
    waiver: Mapping[str, Any] | None = None,
) -> dg.AssetCheckResult:
    """ERROR stops what is downstream; a rule that quarantines rows, only warns or is waived never does.

    A waived rule stays failed: what a steward let through is not what the rule asked for.
    """
    gates = name == result.rule_id
    blocks = gates and result.closes_gate and not waiver
    return dg.AssetCheckResult(
        asset_key=asset_key(dataset, LAYER),
        check_name=name,
        passed=result.outcome is Outcome.PASS,
        severity=dg.AssetCheckSeverity.ERROR if blocks else dg.AssetCheckSeverity.WARN,
        description=result.explanation,
        metadata={
            "partition": checked.partition,
            "outcome": result.outcome.value,
            "rule": result.rule_text,
            "in plain words": result.explanation,
            "metric": f"{result.metric_name} = {result.metric_value}" if result.metric_name else "none",
            "threshold": result.threshold or "none",
            **({"what to do": _review(dataset, checked.partition)} if blocks else {}),
            "rows checked": result.rows_checked,
            "rows failed": result.rows_failed if result.rows_failed is not None else "not counted by row",
            "share failed": _share(result),
            "action": result.action.value if gates else "advisory",
            **(_waived(dataset, waiver) if waiver else {}),
            **({"keys of failed rows": ", ".join(keys), "failed rows": where} if keys else {}),
        },
    )


def _waived(dataset: Dataset, waiver: Mapping[str, Any]) -> Mapping[str, str]:
    """Who let the data through although the rule failed, until when and why."""
    until = datetime.fromisoformat(waiver["expires_at"]).astimezone(ZoneInfo(dataset.contract.timezone))
    return {
        "waived by": waiver["actor"],
        "waived until": until.isoformat(" ", "minutes"),
        "waived because": waiver["reason"],
        "waiver": f"entry {waiver['number']} of the audit log",
    }


def _review(dataset: Dataset, partition: str) -> str:
    return f"city-platform quality review {dataset.name} {partition} shows the rows and what a steward can decide"


def _share(result: RuleResult) -> float | str:
    if result.rows_failed is None or not result.rows_checked:
        return "not counted by row"
    return round(result.rows_failed / result.rows_checked, 6)
