"""What a ruleset declares, before any data is looked at: one entry for each rule, as checks and pages show it."""

from dataclasses import dataclass

from city_platform.quality.model import Item, Ruleset
from city_platform.quality.plain_language import explain
from city_platform.quality.printer import print_rule
from city_platform.quality.settings import Settings, settings_of
from city_platform.quality.variables import UnknownVariable, resolved


@dataclass(frozen=True, slots=True)
class DeclaredRule:
    """`settings` holds the stable id, action, route, severity and owner; `explanation` is for a citizen."""

    settings: Settings
    text: str
    line: int
    explanation: str


def declared_rules(ruleset: Ruleset) -> tuple[DeclaredRule, ...]:
    """In the order of the file, which is the order of `Evaluation.results`."""
    return tuple(
        DeclaredRule(
            settings_of(item, ruleset), print_rule(item, labels=False), item.line, explain(_plain(item, ruleset))
        )
        for item in ruleset.rules
    )


def _plain(item: Item, ruleset: Ruleset) -> Item:
    try:
        return resolved(item, ruleset)
    except UnknownVariable:
        return item  # `check_ruleset` reports it; here the rule is only described
