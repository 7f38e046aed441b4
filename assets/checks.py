"""Governance rules as asset checks: one check a rule, on the quality-checked layer.

A rule of `rules.dqdl` that may close the gate is a blocking check; Dagster then stops what is downstream in the
same run, and the gate itself stops every other run. The rules of every other `*.dqdl` file are advisory: they warn.
"""

from collections.abc import Iterator, Sequence

import dagster as dg

from assets.graph import asset_key, years
from city_platform.datasets import Dataset
from city_platform.lake.lake import Lake
from city_platform.lake.manifest import Manifest
from city_platform.layers.quality_checked import LAYER, advisory_results, verdict_of
from city_platform.quality.declared import DeclaredRule, declared_rules
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
    keys = checked.details["failed_keys"]
    where = ", ".join(lake.store.uri(file.key) for file in checked.parts.get("failed", ()))
    for result in verdict.results if verdict else ():
        yield _result(dataset, checked, result.rule_id, result, keys.get(result.rule_id, ()), where)
    for name, results in advisory_results(checked).items():
        for result in results:
            yield _result(dataset, checked, _advisory_name(name, result.rule_id), result, (), "")


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
        partitions_def=years(dataset),
    )


def _result(
    dataset: Dataset, checked: Manifest, name: str, result: RuleResult, keys: Sequence[str], where: str
) -> dg.AssetCheckResult:
    """ERROR stops what is downstream; a rule that quarantines rows or only warns never does."""
    gates = name == result.rule_id
    blocks = gates and result.closes_gate
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
            "rows checked": result.rows_checked,
            "rows failed": result.rows_failed if result.rows_failed is not None else "not counted by row",
            "share failed": _share(result),
            "action": result.action.value if gates else "advisory",
            **({"keys of failed rows": ", ".join(keys), "failed rows": where} if keys else {}),
        },
    )


def _share(result: RuleResult) -> float | str:
    if result.rows_failed is None or not result.rows_checked:
        return "not counted by row"
    return round(result.rows_failed / result.rows_checked, 6)
