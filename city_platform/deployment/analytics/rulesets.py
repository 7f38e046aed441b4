"""The datasets' rules as rulesets of AWS Glue Data Quality, attached to the tables of cleaned rows.

A ruleset says what the steward's file says, one rule a line, without the comments. What needs more than the one table
that Glue is given is left out, and the description names it with the reason: the platform judges it, where the gate is.
A rule speaks of one partition, so an evaluation in Glue has to be of one, by a predicate such as `year = '2024'`.
"""

from collections.abc import Iterator
from dataclasses import replace

from city_platform.datasets import Dataset
from city_platform.deployment.cloudformation import Resource, logical_name, ref, sub, tag_map
from city_platform.quality.model import Item, Ruleset, leaves
from city_platform.quality.printer import print_rule, print_ruleset
from city_platform.quality.references import COMPARING
from city_platform.quality.rule_types import RULE_TYPES

_LAYER = "cleaned"
_LONGEST = 2048  # characters of a description, the limit of Glue's API


def rulesets(dataset: Dataset) -> list[Resource]:
    """The gate's ruleset, and the advisory ones."""
    named = [("rules", dataset.rules), *dataset.advisory]
    return [_ruleset(dataset, name, ruleset) for name, ruleset in named]


def _ruleset(dataset: Dataset, name: str, ruleset: Ruleset) -> Resource:
    given, left_out = for_glue(ruleset)
    description = (
        f"{dataset.contract.title}, {name}.dqdl. Evaluate it for one {dataset.contract.partitioning.granularity}."
    )
    if left_out:
        description += " Left out: " + "; ".join(left_out)
    return Resource(
        logical_name(dataset.name, name, "quality"),
        "AWS::Glue::DataQualityRuleset",
        {
            "Name": sub(f"${{Project}}-${{Environment}}-{dataset.name}-{name}"),
            "Description": description[:_LONGEST],
            "Ruleset": print_ruleset(given),
            "TargetTable": {
                "DatabaseName": ref(logical_name(_LAYER, "database")),
                "TableName": ref(logical_name(_LAYER, dataset.name)),
            },
            "Tags": tag_map("internal"),
        },
    )


def for_glue(ruleset: Ruleset) -> tuple[Ruleset, list[str]]:
    """The rules that Glue can evaluate of one table, and each of the others with the reason why not."""
    judged = [(item, next(_reasons(item), "")) for item in ruleset.rules]
    left_out = [f"{print_rule(item, labels=False)} ({reason})" for item, reason in judged if reason]
    left_out += [f"{print_rule(one, labels=False)} (figures are the platform's profile)" for one in ruleset.analyzers]
    kept = tuple(item for item, reason in judged if not reason)
    return replace(ruleset, rules=kept, analyzers=(), sources=()), left_out


def _reasons(item: Item) -> Iterator[str]:
    for rule in leaves(item):
        if rule.type in COMPARING:
            yield "it compares with another dataset"
        elif rule.type.startswith("File"):
            yield "it looks at the source's files"
        elif rule.type == "DetectAnomalies":
            yield "it learns from the platform's earlier evaluations"
        elif rule.type not in RULE_TYPES:
            yield "no such type is known"
        elif not RULE_TYPES[rule.type].evaluated:
            yield "it demands nothing"
