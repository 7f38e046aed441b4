"""What a rule measures, as a stable name: the history of earlier evaluations is kept under it.

A measure is the rule without its demand: `RowCount > 10` and `RowCount > avg(last(3))` measure `RowCount`, so a changed
threshold goes on with the same history, and a changed `where` begins its own. Where the figure is the share of rows
that fulfil the demand, the demand is part of the measure.
"""

from dataclasses import replace

from city_platform.quality.model import Condition, Parameter, Rule, Ruleset, Text, leaves
from city_platform.quality.operands import called_functions
from city_platform.quality.printer import print_rule
from city_platform.quality.rule_types import RULE_TYPES
from city_platform.quality.variables import UnknownVariable, resolved

MINIMUM, MAXIMUM = "minimum", "maximum"
_SAME = {"IsComplete": "Completeness", "IsUnique": "Uniqueness"}


def measure_of(rule: Rule, part: str = "") -> str:
    """The name of what a plain rule measures; `part` tells the figures of one rule apart (minimum, maximum)."""
    rule_type = RULE_TYPES[rule.type]
    parameters = rule.parameters
    if rule_type.names_columns:
        parameters = tuple(Parameter(Text(getattr(one.value, "value", "").casefold())) for one in parameters)
    plain = Rule(
        _SAME.get(rule.type, rule.type),
        parameters,
        rule.condition if rule_type.compliance and not part else None,
        rule.where,
        () if part else tuple(tag for tag in rule.tags if tag.name != "threshold"),
    )
    return print_rule(plain) + (f" {part}" if part else "")


def detected(rule: Rule) -> Rule:
    """The rule whose figures a DetectAnomalies rule watches: `DetectAnomalies "Mean" "amount"` watches `Mean "amount"`.

    AWS writes CustomSQL here where the rule type is CustomSql.
    """
    name = getattr(rule.parameters[0].value, "value", "") if rule.parameters else ""
    return replace(
        rule, type="CustomSql" if name == "CustomSQL" else name, parameters=rule.parameters[1:], condition=None, tags=()
    )


def is_dynamic(condition: Condition | None) -> bool:
    """Whether a condition compares with earlier evaluations: it calls any function but now()."""
    return bool(called_functions(condition) - {"now"})


def watched_measures(ruleset: Ruleset) -> frozenset[str]:
    """The measures whose earlier figures the rules of a set compare with."""
    found: set[str] = set()
    for item in ruleset.rules:
        try:
            rules = leaves(resolved(item, ruleset))
        except UnknownVariable:
            continue  # `check_ruleset` reports it
        for rule in rules:
            found.update(_watched(rule))
    return frozenset(found)


def _watched(rule: Rule) -> set[str]:
    if rule.type == "DetectAnomalies":
        rule = detected(rule)
    elif not is_dynamic(rule.condition) and not is_dynamic(rule.tag("threshold")):
        return set()
    rule_type = RULE_TYPES.get(rule.type)
    if rule_type is None:
        return set()
    # The figures of a column's values are those of its texts' lengths where it holds texts.
    kinds = (replace(rule, type=name) for name in ("ColumnValues", "ColumnLength") if rule_type.compliance)
    return {measure_of(rule), *(measure_of(kind, part) for kind in kinds for part in (MINIMUM, MAXIMUM))}
