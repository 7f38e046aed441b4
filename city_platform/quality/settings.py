"""What a rule's labels decide: its stable id, what happens when it fails, and who answers for it.

Labels are legal DQDL, so the same file deploys to AWS Glue, where they are only shown. Here they mean:

| label      | values                    | without it                                                             |
|------------|---------------------------|------------------------------------------------------------------------|
| `action`   | warn, quarantine, halt    | quarantine where every row is judged by itself, otherwise halt          |
| `route`    | row, gate                 | row for quarantine, gate for warn and halt                              |
| `severity` | warn, error               | error for halt, warn otherwise                                          |
| `owner`    | any text                  | the dataset's owner (empty here)                                        |
| `name`     | letters, digits and `_`   | the rule's type and columns, as `completeness_status`                   |

- `halt` closes the gate: nothing of the partition is released while the rule fails.
- `quarantine` routes the rows that fail to failed/ and leaves the gate open for the others.
- `warn` records and shows, and moves nothing.
- `halt` with `route=row` does both.
- A rule about a share of rows (Completeness, Uniqueness, or any rule `with threshold`) and a composite rule speak about
  the partition as a whole, so without a label they halt. Labelled `quarantine`, Completeness and Uniqueness route
  the rows without a value, or with a repeated one, whatever the share; a rule `with threshold` and a composite route
  rows only when they fail.

A rule that says nothing is never silently advisory: it moves rows or closes the gate. `DefaultLabels` apply to every
rule that does not say otherwise; `name` and `route` are not taken from there, because one value cannot fit all rules.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from city_platform.quality.model import Composite, Item, Rule, Ruleset
from city_platform.quality.rule_types import column_parameters, has_row_predicate, judges_a_share


class Action(StrEnum):
    WARN = "warn"
    QUARANTINE = "quarantine"
    HALT = "halt"


class Route(StrEnum):
    ROW = "row"
    GATE = "gate"


class Severity(StrEnum):
    WARN = "warn"
    ERROR = "error"


LABEL_VALUES = {"action": tuple(Action), "route": tuple(Route), "severity": tuple(Severity)}
PER_RULE_LABELS = ("name", "route")
_Choice = TypeVar("_Choice", Action, Route, Severity)
RULE_NAME = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Settings:
    rule_id: str
    action: Action
    route: Route
    severity: Severity
    owner: str


def settings_of(item: Item, ruleset: Ruleset) -> Settings:
    """A label with a value outside its set counts as absent; `check_ruleset` has reported it."""
    labels = {key: value for key, value in ruleset.default_labels if key not in PER_RULE_LABELS} | dict(item.labels)
    by_row = has_row_predicate(item)
    action = _one_of(Action, labels.get("action"))
    if action is None:
        # AWS judges a composite on the whole dataset unless told otherwise, so it stays a matter of the gate.
        single_rows = by_row and isinstance(item, Rule) and not judges_a_share(item)
        action = Action.QUARANTINE if single_rows else Action.HALT
    route = _one_of(Route, labels.get("route"))
    if route is None:
        route = Route.ROW if action is Action.QUARANTINE else Route.GATE
    if action is Action.WARN or not by_row:
        route = Route.GATE
    severity = _one_of(Severity, labels.get("severity"))
    if severity is None:
        severity = Severity.ERROR if action is Action.HALT else Severity.WARN
    return Settings(rule_id(item), action, route, severity, labels.get("owner", ""))


def rule_id(item: Item) -> str:
    """The rule's name in checks, verdicts and failed rows; a changed threshold leaves it as it is."""
    name = dict(item.labels).get("name", "")
    return name if RULE_NAME.fullmatch(name) else _slug(item)


def _slug(item: Item) -> str:
    if isinstance(item, Composite):
        return f"_{item.operator}_".join(_slug(part) for part in item.parts)
    words = [re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", item.type), *column_parameters(item)]
    return "_".join(re.sub(r"[^A-Za-z0-9]+", "_", word).strip("_") for word in words if word).lower()


def _one_of(kind: type[_Choice], value: str | None) -> _Choice | None:
    return kind(value) if value is not None and value in set(kind) else None
