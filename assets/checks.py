"""Governance rules as asset checks: one check a rule, on the quality-checked layer.

A rule of `rules.dqdl` that may close the gate is a blocking check; Dagster then stops what is downstream in the
same run, and the gate itself stops every other run. The rules of every other `*.dqdl` file are advisory: they warn.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
from city_platform.contracts.folder import Dataset
from city_platform.quality.evaluate import RuleResult
from city_platform.quality.rule import Action

from city_platform.lake.lake import Lake
from city_platform.lake.manifest import Manifest


def rule_specs(dataset: Dataset) -> Iterator[dg.AssetCheckSpec]:
    """The checks of `rules.dqdl`."""
    for rule in dataset.rules.rules:
        yield _spec(dataset, rule.rule_id, rule, blocking=rule.action is Action.HALT)


def advisory_specs(dataset: Dataset) -> Iterator[dg.AssetCheckSpec]:
    """The checks of the advisory rulesets, named after their file."""
    for name, ruleset in dataset.advisory:
        for rule in ruleset.rules:
            yield _spec(dataset, f"{name}__{rule.rule_id}", rule, blocking=False)


def rule_result(
    dataset: Dataset, manifest: Manifest, result: RuleResult, keys: Sequence[str], lake: Lake
) -> dg.AssetCheckResult:
    """What one rule found, as Dagster records it."""
    where = [lake.store.uri(file.key) for file in manifest.parts.get("failed", ())]
    return _result(dataset, manifest, result.rule_id, result, keys=keys, failed_rows_at=where)


def advisory_result(dataset: Dataset, manifest: Manifest, name: str, body: Mapping[str, Any]) -> dg.AssetCheckResult:
    """What one advisory rule found: a warning at the most."""
    result = RuleResult.from_json(body)
    return _result(dataset, manifest, f"{name}__{result.rule_id}", result, advisory=True)
