"""Checks a ruleset against the dataset it is about. All mistakes at once, each with what to write instead.

Each check is a function of one rule and its surroundings; a further one (a linter of thresholds, say) is one more
entry in `_CHECKS`.
"""

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from city_platform.contracts.model import Contract
from city_platform.engines.dialect import DuckDBDialect
from city_platform.errors import Finding
from city_platform.quality import predicates, statements
from city_platform.quality.dynamic import LIMIT, with_history
from city_platform.quality.figures import watched_rule
from city_platform.quality.measures import is_dynamic
from city_platform.quality.model import Comparison, Condition, Item, Matches, Operand, Rule, Ruleset, Text, leaves
from city_platform.quality.operands import NotEvaluable, hours, instant, is_number, number, operands, size
from city_platform.quality.references import COMPARING, PRIMARY, own_columns, uses_of
from city_platform.quality.rule_types import RULE_TYPES, RuleType, Takes, column_parameters, has_row_predicate
from city_platform.quality.settings import LABEL_VALUES, RULE_NAME, Action, Route, rule_id, settings_of
from city_platform.quality.variables import UnknownVariable, resolved

_SAMPLE_HISTORY = (1.0,) * LIMIT
UNKNOWN_COLUMN, MISMATCH = "unknown-column", "type-mismatch"
_ANY_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Rule:
    """One plain rule without variables, what is known of its type, and where it stands."""

    rule: Rule
    type: RuleType
    contract: Contract
    file: str

    def finding(self, problem: str, remedy: str, code: str = "") -> Finding:
        return Finding(self.file, self.rule.line, self.rule.column, f"{self.rule.type}: {problem}", remedy, code)


def check_ruleset(ruleset: Ruleset, contract: Contract) -> list[Finding]:
    """Everything in a ruleset that cannot be right for this contract, in the order of the file."""
    findings = list(_label_findings(ruleset))
    for item in (*ruleset.rules, *ruleset.analyzers):
        try:
            plain = resolved(item, ruleset)
        except UnknownVariable as error:
            defined = ", ".join(f"${name}" for name, _ in ruleset.variables) or "none so far"
            findings.append(Finding(ruleset.file, item.line, item.column, str(error), f"defined variables: {defined}"))
            continue
        for leaf in leaves(plain):
            findings += _leaf_findings(leaf, contract, ruleset.file, analyzer=item in ruleset.analyzers)
    return sorted(set(findings))


def _label_findings(ruleset: Ruleset) -> Iterator[Finding]:
    ids = Counter(rule_id(item) for item in ruleset.rules)
    first: set[str] = set()
    yield from _value_findings(ruleset, dict(ruleset.default_labels), 0, 0)
    for item in ruleset.rules:
        labels = dict(item.labels)
        yield from _value_findings(ruleset, labels, item.line, item.column)
        identity = rule_id(item)
        if ids[identity] > 1 and identity in first:
            yield Finding(
                ruleset.file,
                item.line,
                item.column,
                f"two rules have the id {identity}",
                'give each a name: labels=["name"="..."]',
            )
        first.add(identity)
        settings, by_row = settings_of(item, ruleset), has_row_predicate(item)
        known = all(leaf.type in RULE_TYPES for leaf in leaves(item))
        wants_rows = settings.action is Action.QUARANTINE or labels.get("route") == Route.ROW
        if known and not by_row and wants_rows:
            yield Finding(
                ruleset.file,
                item.line,
                item.column,
                f"{identity} cannot route rows: it judges the partition as a whole",
                'use "action"="halt" or "action"="warn", or a rule that judges rows, such as IsComplete',
                "quarantine-without-rows",
            )
        if settings.action is Action.QUARANTINE and labels.get("route") == Route.GATE:
            yield _contradiction(ruleset, item, 'quarantine routes rows: leave "route" out, or use "action"="halt"')
        if settings.action is Action.WARN and labels.get("route") == Route.ROW:
            yield _contradiction(ruleset, item, 'a warning moves no rows: use "action"="quarantine"')


def _contradiction(ruleset: Ruleset, item: Item, remedy: str) -> Finding:
    return Finding(
        ruleset.file, item.line, item.column, "the labels `action` and `route` contradict each other", remedy
    )


def _value_findings(ruleset: Ruleset, labels: dict[str, str], line: int, column: int) -> Iterator[Finding]:
    for key, allowed in LABEL_VALUES.items():
        if key in labels and labels[key] not in allowed:
            yield Finding(
                ruleset.file,
                line,
                column,
                f'the label "{key}" cannot be "{labels[key]}"',
                _closest(labels[key], allowed) or f"one of {', '.join(allowed)}",
            )
    if "name" in labels and not RULE_NAME.fullmatch(labels["name"]):
        yield Finding(ruleset.file, line, column, f'"{labels["name"]}" is no rule name', "letters, digits and _ only")


def _leaf_findings(rule: Rule, contract: Contract, file: str, *, analyzer: bool) -> Iterator[Finding]:
    rule_type = RULE_TYPES.get(rule.type)
    if rule_type is None:
        remedy = _closest(rule.type, RULE_TYPES) or f"one of {', '.join(RULE_TYPES)}"
        yield Finding(file, rule.line, rule.column, f"there is no rule type {rule.type}", remedy)
        return
    bound = _Rule(rule, rule_type, contract, file)
    yield from _parameters(bound)
    if analyzer:
        if rule_type.evaluated and not rule_type.analyzer:
            able = ", ".join(one.name for one in RULE_TYPES.values() if one.analyzer)
            yield bound.finding("it is no analyzer", f"the analyzers are {able}")
        yield from _extremes_shown(bound, rule)
        return
    for check in _CHECKS:
        yield from check(bound)


def _parameters(bound: _Rule) -> Iterator[Finding]:
    least, most = bound.type.columns
    given = len(bound.rule.parameters)
    if not least <= given <= most:
        wanted = "no parameter" if not most else f"{least} parameter(s)" if least == most else f"at least {least}"
        yield bound.finding(f"{given} parameters given, {wanted} expected", "is a comma missing before the next rule?")
    for name in column_parameters(bound.rule):
        yield from _column(bound, name)


def _column(bound: _Rule, name: str) -> Iterator[Finding]:
    names = [column.name for column in bound.contract.columns]
    if name.casefold() not in {known.casefold() for known in names}:
        remedy = _closest(name, names)
        yield bound.finding(
            f'there is no column "{name}"', remedy or f"the columns are {', '.join(names)}", UNKNOWN_COLUMN
        )


def _condition(bound: _Rule) -> Iterator[Finding]:
    takes, condition = bound.type.takes, bound.rule.condition
    if takes in {Takes.ANY, Takes.OPTIONAL_NUMBER} and condition is None:
        return
    if takes is Takes.NOTHING and condition is not None:
        yield bound.finding("it takes no condition", "leave the condition out")
    elif takes is not Takes.NOTHING and condition is None:
        yield bound.finding("a condition is missing", takes.value)
    elif condition is not None and takes in _READERS:
        if isinstance(condition, Matches):
            yield bound.finding("a pattern cannot be compared with a number", takes.value)
        try:
            for operand in operands(_with_sample(condition)):
                _READERS[takes](operand)
        except NotEvaluable as error:
            yield bound.finding(str(error), takes.value)


_READERS: Mapping[Takes, Callable[[Operand], object]] = {
    Takes.NUMBER: number,
    Takes.OPTIONAL_NUMBER: number,
    Takes.DURATION: hours,
    Takes.INSTANT: lambda operand: instant(operand, _ANY_MOMENT),
    Takes.SIZE: size,
}


def _with_sample(condition: Condition) -> Condition:
    """The condition with last(k) computed from a made-up history, which tells whether it can be computed at all."""
    return with_history(condition, _SAMPLE_HISTORY) if is_dynamic(condition) else condition


def _values(bound: _Rule) -> Iterator[Finding]:
    """Compiles what a rule asks of its column's type: whatever the compiler refuses, it refuses here already."""
    rule, condition = bound.rule, bound.rule.condition
    if not bound.type.names_columns or not bound.type.evaluated:
        return
    for name in column_parameters(rule):
        try:
            column = bound.contract.column(name)
        except KeyError:
            continue
        kind = predicates.family(column.sql_type)
        if bound.type.numeric_columns and kind != "number":
            yield bound.finding(
                f"{column.name} is {column.sql_type}, and numbers are needed", "a numeric column", MISMATCH
            )
        if rule.type == "ColumnLength" and kind != "text":
            yield bound.finding(f"{column.name} is {column.sql_type}, which has no length", "a text column", MISMATCH)
        try:
            condition = condition and _with_sample(condition)
            if rule.type == "ColumnValues" and condition is not None:
                if kind == "text" and any(is_number(operand) for operand in operands(condition)):
                    yield bound.finding(
                        f"{column.name} is text and is compared with numbers",
                        'numbers in quotes compare as text, as in ["1", "2"]; for sizes, make the column numeric',
                        MISMATCH,
                    )
                predicates.column_values(
                    column.name, column.sql_type, condition, ignore_case=False, now=_ANY_MOMENT, dialect=DuckDBDialect()
                )
            elif rule.type == "DataFreshness" and condition is not None:
                predicates.freshness(column.name, column.sql_type, condition, _ANY_MOMENT, DuckDBDialect())
            elif rule.type == "ColumnDataType":
                yield from _wanted_type(bound, column.sql_type)
        except NotEvaluable as error:
            yield bound.finding(
                f"{error} ({column.name} is {column.sql_type})", "a value of the column's type", MISMATCH
            )


def _wanted_type(bound: _Rule, sql_type: str) -> Iterator[Finding]:
    match bound.rule.condition:
        case Comparison("=" | "!=", Text(wanted)):
            date_format = bound.rule.tag("format")
            text = date_format.operand if isinstance(date_format, Comparison) else None
            predicates.data_type("c", sql_type, wanted, text.value if isinstance(text, Text) else None, DuckDBDialect())
        case _:
            yield bound.finding("only = and != with a type are possible", 'as = "Date"')


def _clauses(bound: _Rule) -> Iterator[Finding]:
    rule = bound.rule
    if rule.where is not None and not bound.type.where and bound.type.evaluated:
        yield bound.finding("it takes no `where`", "leave `where` out, or use CustomSql")
    threshold = rule.tag("threshold")
    if threshold is not None and not bound.type.threshold:
        able = ", ".join(one.name for one in RULE_TYPES.values() if one.threshold and one.evaluated)
        yield bound.finding("it takes no `with threshold`", f"only {able} do")
    elif threshold is not None:
        try:
            for operand in operands(_with_sample(threshold)):
                number(operand)
        except NotEvaluable as error:
            yield bound.finding(f"the threshold is no number: {error}", "with threshold > 0.9")


def _sql(bound: _Rule) -> Iterator[Finding]:
    try:
        if isinstance(bound.rule.where, Text):
            _, columns = statements.where_clause(bound.rule.where.value, _ANY_MOMENT)
            for name in sorted(columns):
                yield from _column(bound, name)
        if bound.rule.type == "CustomSql" and bound.rule.parameters:
            value = bound.rule.parameters[0].value
            statements.statement(value.value if isinstance(value, Text) else "", "rows", _ANY_MOMENT)
    except NotEvaluable as error:
        yield bound.finding(str(error), "one SELECT over `primary`, or for `where` one condition")


def _watched(bound: _Rule) -> Iterator[Finding]:
    """What is compared with earlier figures has to have such figures, of columns that exist."""
    if is_dynamic(bound.rule.condition):
        yield from _extremes_shown(bound, bound.rule)
    if bound.rule.type != "DetectAnomalies" or not bound.rule.parameters:
        return
    try:
        watched = watched_rule(bound.rule)
        for name in column_parameters(watched):
            yield from _column(bound, name)
        yield from _extremes_shown(bound, watched)
    except NotEvaluable as error:
        yield bound.finding(str(error), 'as in DetectAnomalies "RowCount" or DetectAnomalies "Mean" "FeePaid"')


def _extremes_shown(bound: _Rule, measured: Rule) -> Iterator[Finding]:
    """The smallest and the largest value of a column are kept and shown: that must be nobody's."""
    if measured.type not in {"ColumnValues", "AllStatistics"}:
        return
    for name in column_parameters(measured):
        for column in bound.contract.columns:
            same = column.name.casefold() == name.casefold()
            if same and column.personal and predicates.family(column.sql_type) != "text":
                problem = f"{column.name} is personal, and its smallest and largest values would be kept and shown"
                yield bound.finding(problem, "a figure of many rows, such as Mean or Completeness")


def _comparisons(bound: _Rule) -> Iterator[Finding]:
    """The dataset's own side of a comparison; that of the other dataset is checked where all datasets are known."""
    if bound.rule.type not in COMPARING or not bound.rule.parameters:
        return
    try:
        for name in own_columns(bound.rule):
            yield from _column(bound, name)
        if any(use.dataset == bound.contract.name for use in uses_of(bound.rule)):
            yield bound.finding("a dataset is not its own reference", f'name the partition itself "{PRIMARY}"')
    except NotEvaluable as error:
        yield bound.finding(str(error), f'another dataset by its name, the dataset itself as "{PRIMARY}"')


_CHECKS: tuple[Callable[[_Rule], Iterable[Finding]], ...] = (
    _condition,
    _values,
    _clauses,
    _sql,
    _watched,
    _comparisons,
)


def _closest(word: str, known: Iterable[str]) -> str:
    by_folded = {one.casefold(): one for one in known}
    found = difflib.get_close_matches(word.casefold(), by_folded, 1)
    return f"did you mean {by_folded[found[0]]}?" if found else ""
