"""Rules that are valid and yet do not say what was meant: each with its line, a stable code, and what to write instead.

`check_ruleset` refuses what cannot be evaluated, and the linter judges what can. An `ERROR` can never hold, or cannot
be judged, whatever the data; a `WARNING` is suspicious. Sets of accepted values (see `acceptance`) decide: a rule that
accepts everything its measure can be is vacuous, one that accepts nothing can never hold.

| code                      | what it finds                                                                    |
|---------------------------|----------------------------------------------------------------------------------|
| `unknown-column`          | a column the contract does not have                                              |
| `type-mismatch`           | a comparison that does not fit the column's type                                 |
| `quarantine-without-rows` | an action that moves rows, for a rule that judges the partition as a whole       |
| `not-valid`               | whatever else `check_ruleset` refuses                                            |
| `vacuous-threshold`       | a demand that holds whatever the data: `Uniqueness "a" < 20`, a share            |
| `never-holds`             | a demand that nothing fulfils: `Completeness "a" > 95`, `between 9 and 1`        |
| `between-excludes-ends`   | `between 0.9 and 1` on a share: both ends are exclusive, so the best is refused  |
| `inverted-freshness`      | a freshness that demands old rows, or old files: `DataFreshness "d" > 30 days`   |
| `freshness-of-every-row`  | a freshness shorter than a partition, for every row of it                        |
| `unreachable-branch`      | a part of a composite that decides nothing                                       |
| `duplicate-rule`          | the same demand twice with the same consequence, however it is written           |
| `shadowed-rule`           | a demand that a stricter one with the same consequence includes                  |
| `contradicting-rules`     | two demands that no data fulfils together                                        |
| `anchored-match`          | `matches` with one anchor, or without any sign of a pattern: it is the whole text |
| `not-a-pattern`           | a regular expression the engine does not know                                    |
| `repeated-value`          | a value that stands twice in a list                                              |
| `nothing-decides`         | a gate's ruleset in which every rule only warns                                  |
| `unused-variable`         | a variable no rule uses                                                          |
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from city_platform.contracts.model import Contract
from city_platform.contracts.partitions import Granularity
from city_platform.engines.patterns import pattern_problem
from city_platform.errors import Finding
from city_platform.quality.acceptance import accepted_numbers
from city_platform.quality.binding import check_ruleset
from city_platform.quality.conditions_in_words import percent
from city_platform.quality.demands import DOMAINS, SHARE, Demand, column_names, demand_of, is_relative, measured
from city_platform.quality.model import (
    Between,
    Comparison,
    Composite,
    Condition,
    Item,
    Matches,
    Membership,
    Rule,
    Ruleset,
    Text,
    leaves,
)
from city_platform.quality.operands import NotEvaluable, hours, number, operands
from city_platform.quality.printer import print_condition, print_operand, print_rule
from city_platform.quality.settings import Action, Settings, settings_of
from city_platform.quality.variables import UnknownVariable, resolved


class Level(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Lint:
    """One finding about one rule. `line` and `column` count from 1; 0 means the ruleset as a whole."""

    file: str
    line: int
    column: int
    code: str
    level: Level
    rule: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.level} {self.code}: {self.problem} -> {self.remedy}"


def lint(ruleset: Ruleset, contract: Contract, *, gate: bool = True) -> list[Lint]:
    """Every finding, in the order of the file, those of `check_ruleset` among them.

    `gate` says that the ruleset is the one that holds data back.
    """
    refused = check_ruleset(ruleset, contract)
    subjects = list(_subjects(ruleset, contract, {(finding.line, finding.column) for finding in refused}))
    found = [as_lint(finding) for finding in refused]
    found += [finding for one in subjects for check in _CHECKS for finding in check(one)]
    found += _between_rules(subjects)
    found += _whole(ruleset, subjects, gate=gate)
    return sorted(set(found))


@dataclass(frozen=True, slots=True)
class _Subject:
    """A rule of the file, without variables, and what it decides."""

    item: Item
    settings: Settings
    contract: Contract
    file: str

    def found(self, code: str, level: Level, problem: str, remedy: str, place: Item | None = None) -> Lint:
        at = place or self.item
        return Lint(self.file, at.line, at.column, code, level, self.settings.rule_id, problem, remedy)


def _subjects(ruleset: Ruleset, contract: Contract, refused: set[tuple[int, int]]) -> Iterator[_Subject]:
    for item in ruleset.rules:
        if any((leaf.line, leaf.column) in refused for leaf in leaves(item)):
            continue
        try:
            plain = resolved(item, ruleset)
        except UnknownVariable:
            continue
        yield _Subject(plain, settings_of(item, ruleset), contract, ruleset.file)


def as_lint(finding: Finding, code: str = "not-valid") -> Lint:
    """A finding of the parser or of `check_ruleset`, which no ruleset in force can have."""
    place = finding.file, finding.line, finding.column
    return Lint(*place, finding.code or code, Level.ERROR, "", finding.problem, finding.remedy)


# Findings about one rule.


def _vacuous(subject: _Subject) -> Iterator[Lint]:
    for rule in leaves(subject.item):
        demand = demand_of(rule, subject.contract)
        # The contract fixes the number of columns; a rule that repeats it is kept for other engines.
        if demand is not None and demand.domain is not None and demand.always and rule.type != "ColumnCount":
            problem = f"it can never fail: {_metric(rule)} is {demand.domain.noun}, and all of that is accepted"
            yield subject.found("vacuous-threshold", Level.WARNING, problem, _meant(rule), rule)


def _never(subject: _Subject) -> Iterator[Lint]:
    for rule in leaves(subject.item):
        demand = demand_of(rule, subject.contract)
        if demand is None or not demand.never:
            continue
        why = f"{_metric(rule)} is {demand.domain.noun}, and none of that is accepted" if demand.domain else ""
        limit = rule.tag("threshold") or rule.condition
        if isinstance(limit, Between) and not limit.negated:
            why = "nothing lies between the two ends, which are not included themselves"
        yield subject.found("never-holds", Level.ERROR, f"it can never hold: {why}", _meant(rule), rule)


def _metric(rule: Rule) -> str:
    if rule.tag("threshold") is not None:
        return "the share of rows that comply"
    return {"ColumnValues": "a value here", "ColumnLength": "a length"}.get(rule.type, rule.type)


def _meant(rule: Rule) -> str:
    """What was probably meant by a demand that says nothing."""
    limit = rule.tag("threshold") or rule.condition
    figures = _figures(limit)
    on_share = rule.tag("threshold") is not None or DOMAINS.get(rule.type) is SHARE
    if on_share and any(1 < figure <= 100 for figure in figures):  # noqa: PLR2004 -- per cent
        share = next(figure for figure in figures if 1 < figure <= 100)  # noqa: PLR2004 -- per cent
        instead = f"write {float(share / 100):g} for {percent(Decimal(str(float(share / 100))))}"
        if rule.type in {"Uniqueness", "UniqueValueRatio"} and rule.tag("threshold") is None:
            names = " ".join(f'"{name}"' for name in column_names(rule))
            return f"to count values: DistinctValuesCount {names} {print_condition(limit)}; for a share, {instead}"  # type: ignore[arg-type]  # figures come from a condition
        return instead
    if isinstance(limit, Between):
        return f">= {print_operand(limit.low)}, or ends that leave something between them"
    if rule.type == "RowCount":
        return "RowCount > 0"
    return "a limit that data can miss and meet"


def _figures(condition: Condition | None) -> list[Fraction]:
    try:
        return [number(operand) for operand in operands(condition)] if condition is not None else []
    except NotEvaluable:
        return []


def _excluded_ends(subject: _Subject) -> Iterator[Lint]:
    for rule in leaves(subject.item):
        for condition in (rule.condition, rule.tag("threshold")):
            on_share = condition is not rule.condition or DOMAINS.get(rule.type) is SHARE
            if not (on_share and isinstance(condition, Between) and not condition.negated):
                continue
            if Fraction(1) in _figures(condition)[1:] and not _demand_never(rule, subject.contract):
                yield subject.found(
                    "between-excludes-ends",
                    Level.WARNING,
                    "`between` leaves out both ends, so a share of 1, where every row is right, fails",
                    f">= {print_operand(condition.low)}",
                    rule,
                )


def _demand_never(rule: Rule, contract: Contract) -> bool:
    demand = demand_of(rule, contract)
    return demand is not None and demand.never


_HOURS = {Granularity.YEAR: 365 * 24, Granularity.DAY: 24, Granularity.HOUR: 1}  # that a partition lasts


def _freshness(subject: _Subject) -> Iterator[Lint]:
    for rule in leaves(subject.item):
        condition = rule.condition
        if rule.type == "DataFreshness" and condition is not None:
            yield from _data_freshness(subject, rule, condition)
        if rule.type == "FileFreshness":
            match condition:
                case Comparison("<" | "<=", operand) if is_relative(operand):
                    problem = "it holds where the files are OLDER than that"
                    remedy = f"> {print_operand(operand)}"
                    yield subject.found("inverted-freshness", Level.WARNING, problem, remedy, rule)


def _data_freshness(subject: _Subject, rule: Rule, condition: Condition) -> Iterator[Lint]:
    accepted = accepted_numbers(condition, hours)
    column = column_names(rule)[0]
    first = next(iter(operands(condition)))
    age, granularity = print_operand(first), subject.contract.partitioning.granularity
    newest = f'ColumnValues "{column}" > (now() - {age}) with threshold > 0, if the newest row is meant'
    if accepted.high == math.inf and accepted.low > 0:
        yield subject.found(
            "inverted-freshness",
            Level.WARNING,
            f"it holds only where every single row is OLDER than {age}, and fails as soon as one is fresh",
            f"<= {age}; {newest}",
            rule,
        )
    elif 0 < accepted.high < _HOURS[granularity] and rule.where is None:
        yield subject.found(
            "freshness-of-every-row",
            Level.WARNING,
            f"every row has to be that fresh, and a partition holds the rows of a whole {granularity}",
            newest,
            rule,
        )


_ANCHOR_START, _ANCHOR_END = re.compile(r"\^"), re.compile(r"(?<!\\)\$$")
_SIGN_OF_A_PATTERN = re.compile(r"[\\^$.|?*+()\[\]{}]")


def _patterns(subject: _Subject) -> Iterator[Lint]:
    for rule in leaves(subject.item):
        for pattern in _patterns_of(rule):
            problem = pattern_problem(pattern)
            if problem is not None:
                remedy = "correct the pattern; the syntax is RE2's, without looking ahead or back"
                yield subject.found("not-a-pattern", Level.ERROR, f"not a regular expression: {problem}", remedy, rule)
        if isinstance(rule.condition, Matches) and isinstance(rule.condition.pattern, Text):
            yield from _anchors(subject, rule, rule.condition.pattern.value)


def _patterns_of(rule: Rule) -> Iterator[str]:
    if isinstance(rule.condition, Matches) and isinstance(rule.condition.pattern, Text):
        yield rule.condition.pattern.value
    if rule.type == "ColumnNamesMatchPattern":
        yield from column_names(rule)


def _anchors(subject: _Subject, rule: Rule, pattern: str) -> Iterator[Lint]:
    starts, ends = _ANCHOR_START.match(pattern) is not None, _ANCHOR_END.search(pattern) is not None
    if starts is not ends:
        missing = f'"{pattern.removeprefix("^")}.*"' if starts else f'".*{pattern.removesuffix("$")}"'
        problem = f"`matches` compares the whole value, and `{'^' if starts else '$'}` says that only a part was meant"
        yield subject.found("anchored-match", Level.WARNING, problem, f"matches {missing}", rule)
    elif not _SIGN_OF_A_PATTERN.search(pattern):
        problem = "`matches` compares the whole value, and this pattern is one plain text"
        remedy = f'= "{pattern}", or matches ".*{pattern}.*" for values that contain it'
        yield subject.found("anchored-match", Level.WARNING, problem, remedy, rule)


def _repeated_values(subject: _Subject) -> Iterator[Lint]:
    for rule in leaves(subject.item):
        match rule.condition:
            case Membership(tuple() as values) if len(set(values)) < len(values):
                twice = sorted({print_operand(value) for value in values if values.count(value) > 1})
                yield subject.found(
                    "repeated-value", Level.WARNING, f"in the list twice: {', '.join(twice)}", "keep one of each", rule
                )


# Findings about the parts of a composite.


def _branches(subject: _Subject) -> Iterator[Lint]:
    if isinstance(subject.item, Composite):
        yield from _branch_findings(subject, subject.item)


def _branch_findings(subject: _Subject, composite: Composite) -> Iterator[Lint]:
    either = composite.operator == "or"
    for part in composite.parts:
        if isinstance(part, Composite):
            yield from _branch_findings(subject, part)
        elif either and (demand := demand_of(part, subject.contract)) is not None and demand.always:
            problem = f"`{_short(part)}` holds always, so the other parts are never asked"
            yield subject.found("unreachable-branch", Level.WARNING, problem, "leave this part out", part)
    for place, part in enumerate(composite.parts):
        for other in (one for index, one in enumerate(composite.parts) if index != place):
            if _decides_nothing(
                part, other, subject.contract, either=either, later=composite.parts.index(other) < place
            ):
                included = (
                    f"whatever fulfils it fulfils `{_short(other)}`" if either else f"`{_short(other)}` demands as much"
                )
                problem = f"`{_short(part)}` decides nothing: {included}"
                yield subject.found("unreachable-branch", Level.WARNING, problem, "leave one of them out", part)
                break
    if not either:
        yield from _clashes(subject, [part for part in composite.parts if isinstance(part, Rule)])


def _decides_nothing(part: Item, other: Item, contract: Contract, *, either: bool, later: bool) -> bool:
    """Whether `other` makes `part` superfluous; of two equal parts it is the later one."""
    if _canonical(part, contract) == _canonical(other, contract):
        return later
    if isinstance(part, Composite) or isinstance(other, Composite):
        return False
    one, two = demand_of(part, contract), demand_of(other, contract)
    if one is None or two is None or one.measured != two.measured or one.always or one.never or two.never:
        return False
    return one.within(two) if either else two.within(one)


def _clashes(subject: _Subject, parts: Sequence[Rule]) -> Iterator[Lint]:
    for place, part in enumerate(parts):
        for other in parts[:place]:
            one, two = demand_of(part, subject.contract), demand_of(other, subject.contract)
            if one and two and _clash(one, two):
                problem = f"it can never hold: nothing fulfils both `{_short(other)}` and `{_short(part)}`"
                yield subject.found(
                    "never-holds", Level.ERROR, problem, "correct one of them, or join them with `or`", part
                )


def _clash(one: Demand, two: Demand) -> bool:
    return one.measured == two.measured and not one.never and not two.never and not one.meets(two)


def _canonical(item: Item, contract: Contract) -> object:
    """Equal for items that say the same."""
    if isinstance(item, Composite):
        return item.operator, frozenset(_canonical(part, contract) for part in item.parts)
    demand = demand_of(item, contract)
    if demand is not None:
        return demand.measured, demand.accepted, demand.null
    condition = print_condition(item.condition) if item.condition is not None else ""
    tags = sorted(f"{tag.name} {print_condition(tag.condition)}" for tag in item.tags)
    return measured(item, item.type, condition), *tags


def _short(item: Item) -> str:
    text = print_rule(item, labels=False)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 -- what fits a line


# Findings about several rules.


def _between_rules(subjects: Sequence[_Subject]) -> Iterator[Lint]:
    known = [(one, _canonical(one.item, one.contract), _whole_demand(one)) for one in subjects]
    for place, (one, form, demand) in enumerate(known):
        for other, its_form, its_demand in known[:place]:
            same_consequence = _consequence(one) == _consequence(other)
            if form == its_form:
                if same_consequence:
                    problem = f"it demands the same as {other.settings.rule_id} in line {other.item.line}"
                    yield one.found("duplicate-rule", Level.WARNING, problem, "keep one of them")
                continue
            if demand is None or its_demand is None or demand.measured != its_demand.measured:
                continue
            if _clash(demand, its_demand):
                warns = Action.WARN in {one.settings.action, other.settings.action}
                problem = f"no data fulfils both this and {other.settings.rule_id} in line {other.item.line}"
                yield one.found(
                    "contradicting-rules", Level.WARNING if warns else Level.ERROR, problem, "correct one of them"
                )
            elif same_consequence and not (demand.always or its_demand.always or demand.never or its_demand.never):
                yield from _shadow((one, demand), (other, its_demand))


def _shadow(one: tuple[_Subject, Demand], other: tuple[_Subject, Demand]) -> Iterator[Lint]:
    for (weaker, its_demand), (stricter, strict) in ((one, other), (other, one)):
        if strict.within(its_demand):
            problem = (
                f"{stricter.settings.rule_id} in line {stricter.item.line} demands more, with the same consequence"
            )
            yield weaker.found("shadowed-rule", Level.WARNING, problem, "leave it out, or give it another action")


def _whole_demand(subject: _Subject) -> Demand | None:
    return demand_of(subject.item, subject.contract) if isinstance(subject.item, Rule) else None


def _consequence(subject: _Subject) -> tuple[str, str]:
    return subject.settings.action, subject.settings.route


def _whole(ruleset: Ruleset, subjects: Sequence[_Subject], *, gate: bool) -> Iterator[Lint]:
    if gate and subjects and all(one.settings.action is Action.WARN for one in subjects):
        problem = "every rule only warns, so the gate lets everything through"
        remedy = '"action"="halt" or "action"="quarantine" for what must not be released'
        yield Lint(ruleset.file, 0, 0, "nothing-decides", Level.WARNING, "", problem, remedy)
    for name, _ in ruleset.variables:
        without = replace(ruleset, variables=tuple(one for one in ruleset.variables if one[0] != name))
        if _resolvable(ruleset) == _resolvable(without):
            problem, remedy = f"no rule uses ${name}", "leave it out, or use it"
            yield Lint(ruleset.file, 0, 0, "unused-variable", Level.WARNING, "", problem, remedy)


def _resolvable(ruleset: Ruleset) -> list[bool]:
    def is_resolvable(item: Item) -> bool:
        try:
            resolved(item, ruleset)
        except UnknownVariable:
            return False
        return True

    return [is_resolvable(item) for item in (*ruleset.rules, *ruleset.analyzers)]


_CHECKS: tuple[Callable[[_Subject], Iterator[Lint]], ...] = (
    _vacuous,
    _never,
    _excluded_ends,
    _freshness,
    _patterns,
    _repeated_values,
    _branches,
)
