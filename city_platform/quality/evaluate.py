"""Evaluates a ruleset over one relation, in as few passes as its rules allow.

Every count and statistic of all rules and analyzers comes from one aggregate query. Keys take one GROUP BY for each
set of columns, CustomSql one query each. A rule that cannot be evaluated is an ERROR of its own and leaves the others
alone. The outcome follows from the arguments: same rows in any order, rules, time and surroundings, same evaluation.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from city_platform.engines.parquet import Footers
from city_platform.engines.session import Session
from city_platform.quality.compile import figures, plan
from city_platform.quality.dynamic import rounded
from city_platform.quality.groupings import Groupings
from city_platform.quality.model import Composite, Condition, Item, Rule, Ruleset, leaves
from city_platform.quality.operands import NotEvaluable, holds, number
from city_platform.quality.plain_language import explain, outcome_sentence
from city_platform.quality.plans import ALL_ROWS, Figure, Plan, Scope, count_rows, count_values
from city_platform.quality.printer import print_condition, print_rule
from city_platform.quality.results import Evaluation, Outcome, RuleResult
from city_platform.quality.rule_types import has_row_predicate
from city_platform.quality.settings import Route, Settings, settings_of
from city_platform.quality.surroundings import Surroundings
from city_platform.quality.variables import UnknownVariable, resolved

_Made = TypeVar("_Made")
_NO_ROWS = "there are no rows, and nothing is no evidence"


@dataclass(frozen=True, slots=True)
class _Judgement:
    outcome: Outcome
    metric: Fraction | None = None
    checked: int = 0
    failed: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Task:
    """A rule of the set with the plans of its leaves, or the reason why there are none."""

    item: Item  # without variables, if they could be resolved
    settings: Settings
    plans: Mapping[int, Plan | str]  # by id() of the leaf
    predicate: str | None  # of the whole item, where its rows are routed

    @property
    def failing_rows(self) -> str | None:
        """The aggregate that counts the rows passing a composite's predicate."""
        return count_rows(self.predicate) if self.predicate and isinstance(self.item, Composite) else None

    @property
    def aggregates(self) -> list[str]:
        needed = [self.failing_rows] if self.failing_rows else []
        for one in self.plans.values():
            if isinstance(one, Plan):
                needed += [one.checked, *one.aggregates, *_needed_by(one.figures)]
        return needed


def evaluate(
    session: Session,
    relation: str,
    ruleset: Ruleset,
    columns: Mapping[str, str],
    now: datetime,
    surroundings: Surroundings | None = None,
    files: Sequence[Path] = (),
) -> Evaluation:
    """Every rule's result over `relation` (a table or view of the session), and every analyzer's figures.

    `columns` maps the relation's columns to their SQL types; columns that are not in it are invisible to rules.
    `now` is aware. `surroundings` is what rules may look at besides the rows; without it, rules that need more are
    ERROR. `files` are the Parquet files whose rows the relation is, where it is just those: what their footers tell is
    not counted again. Raises only what makes the whole evaluation impossible: an unreadable relation, a deadline.
    """
    quoted = session.dialect.name(relation)
    footers = Footers.of(files)
    groupings = Groupings(session, quoted, columns, footers.repetitive)
    scope = Scope(session, relation, columns, now, groupings, surroundings or Surroundings(), footers.values)
    tasks = [_task(item, ruleset, scope) for item in ruleset.rules]
    analyzers = [(print_rule(item, labels=False), _analyzed(item, ruleset, scope)) for item in ruleset.analyzers]
    measuring = [one for _, found in analyzers if not isinstance(found, str) for one in found]
    answers, broken = _answers(scope, [*(one for task in tasks for one in task.aggregates), *_needed_by(measuring)])
    rows = int(answers[ALL_ROWS])
    results = []
    failing: list[tuple[str, str]] = []
    for task in tasks:
        judgement = _judged(task, task.item, answers, broken, rows)
        if task.predicate and judgement.outcome is not Outcome.ERROR:
            judgement = _by_rows(task, judgement, answers, rows)
            tolerated = _tolerant(task.item) and judgement.outcome is Outcome.PASS
            if judgement.failed and not tolerated:
                failing.append((task.settings.rule_id, task.predicate))
        results.append(_result(task, judgement))
    measuring += [
        one for task in tasks for made in task.plans.values() if isinstance(made, Plan) for one in made.figures
    ]
    return Evaluation(
        tuple(results),
        rows,
        _failed_rules_sql(session, failing) if failing else None,
        _measured(measuring, answers, broken) if rows else {},
        {text: found for text, found in analyzers if isinstance(found, str)},
    )


def _needed_by(figures: Iterable[Figure]) -> list[str]:
    return [aggregate for figure in figures for aggregate in figure.aggregates]


def _analyzed(item: Rule, ruleset: Ruleset, scope: Scope) -> tuple[Figure, ...] | str:
    """An analyzer's figures, or the reason why it has none."""
    try:
        return _without_failure(scope.session, lambda: figures(leaves(resolved(item, ruleset))[0], scope))
    except UnknownVariable as error:
        return str(error)


def _measured(figures: Iterable[Figure], answers: Mapping[str, Any], broken: Mapping[str, str]) -> dict[str, float]:
    """The figures by measure, in alphabetical order; those without a value are left out."""
    found = {}
    for figure in figures:
        if not any(aggregate in broken for aggregate in figure.aggregates):
            try:
                value = figure.metric(answers)
            except (NotEvaluable, OverflowError):
                continue  # the rule itself is an ERROR and says so
            if value is not None:
                found[figure.measure] = float(rounded(value))
    return dict(sorted(found.items()))


def _task(item: Item, ruleset: Ruleset, scope: Scope) -> _Task:
    settings = settings_of(item, ruleset)
    try:
        item = resolved(item, ruleset)
    except UnknownVariable as error:
        return _Task(item, settings, {id(leaf): str(error) for leaf in leaves(item)}, None)
    by_row = settings.route is Route.ROW and has_row_predicate(item)
    plans = {id(leaf): _planned(leaf, scope, by_row=by_row) for leaf in leaves(item)}
    return _Task(item, settings, plans, _row_predicate(item, plans) if by_row else None)


def _planned(leaf: Rule, scope: Scope, *, by_row: bool) -> Plan | str:
    return _without_failure(scope.session, lambda: plan(leaf, scope, by_row=by_row))


def _without_failure(session: Session, make: Callable[[], _Made]) -> _Made | str:
    """What `make` makes, or the reason why it cannot. A query that is interrupted ends the whole evaluation."""
    try:
        return make()
    except NotEvaluable as error:
        return str(error)
    except session.interruptions:
        raise
    except session.failures as error:
        return _first_line(error)


def _row_predicate(item: Item, plans: Mapping[int, Plan | str]) -> str | None:
    if isinstance(item, Rule):
        one = plans[id(item)]
        return one.row_predicate if isinstance(one, Plan) else None
    parts = [_row_predicate(part, plans) for part in item.parts]
    known = [part for part in parts if part is not None]
    return "(" + f" {item.operator.upper()} ".join(known) + ")" if len(known) == len(parts) else None


def _answers(scope: Scope, aggregates: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of all aggregates, and those that could not be computed with the reason."""
    session, quoted = scope.session, scope.session.dialect.name(scope.relation)
    told = _told(scope, set(aggregates))
    needed = [one for one in dict.fromkeys([ALL_ROWS, *aggregates]) if one not in told]
    try:
        return told | _aggregated(session, quoted, needed), {}
    except session.interruptions:
        raise
    except session.failures:
        # One rule's SQL is at fault. Asked one by one, the others keep their answers.
        answers = told | _aggregated(session, quoted, [ALL_ROWS])
        broken: dict[str, str] = {}
        for one in needed[1:]:
            try:
                answers |= _aggregated(session, quoted, [one])
            except session.interruptions:
                raise
            except session.failures as error:
                broken[one] = _first_line(error)
        return answers, broken


def _told(scope: Scope, aggregates: Collection[str]) -> dict[str, Any]:
    """Counts of values that the files' footers tell: a column that is asked for nothing else is not read at all."""
    counted = {count_values(scope.session.dialect.name(name)): name for name in scope.columns}
    return {one: scope.values[name] for one, name in counted.items() if one in aggregates and name in scope.values}


def _aggregated(session: Session, quoted: str, needed: list[str]) -> dict[str, Any]:
    return dict(zip(needed, session.rows(f"SELECT {', '.join(needed)} FROM {quoted}")[0], strict=True))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300]


def _judged(task: _Task, item: Item, answers: Mapping[str, Any], broken: Mapping[str, str], rows: int) -> _Judgement:
    if isinstance(item, Composite):
        return _combined(item, [_judged(task, part, answers, broken, rows) for part in item.parts], rows)
    one = task.plans[id(item)]
    if isinstance(one, str):
        return _Judgement(Outcome.ERROR, reason=one)
    unanswered = [broken[aggregate] for aggregate in (one.checked, *one.aggregates) if aggregate in broken]
    if unanswered:
        return _Judgement(Outcome.ERROR, reason=unanswered[0])
    return _compared(one, answers, rows)


def _compared(one: Plan, answers: Mapping[str, Any], rows: int) -> _Judgement:
    """The outcome that the answers give a plan."""
    checked = int(answers[one.checked])
    failed = one.failed(answers) if one.failed else None
    try:
        metric = one.metric(answers)
        fulfilled = metric is not None and holds(metric, one.condition, number)
        remark = one.remark(answers) if one.remark and metric is not None else ""
    except (NotEvaluable, OverflowError) as error:
        return _Judgement(Outcome.ERROR, checked=checked, reason=str(error))
    found = _Judgement(Outcome.PASS if fulfilled else Outcome.FAIL, metric, checked, failed, remark)
    if not rows:
        return replace(found, outcome=Outcome.FAIL, reason=_NO_ROWS)
    if not checked:
        return replace(found, outcome=Outcome.WARN, metric=None, reason="no row fulfils the rule's `where`")
    if one.abstains:
        return replace(found, outcome=Outcome.WARN, reason=one.abstains)
    if metric is None:
        return replace(found, reason="there is no value to compute the metric from")
    return found


def _combined(item: Composite, parts: list[_Judgement], rows: int) -> _Judgement:
    """Three-valued logic, WARN being the unknown; an ERROR anywhere is an ERROR of the whole."""
    outcomes = {part.outcome for part in parts}
    decisive, other = (Outcome.FAIL, Outcome.PASS) if item.operator == "and" else (Outcome.PASS, Outcome.FAIL)
    if Outcome.ERROR in outcomes:
        outcome = Outcome.ERROR
    elif decisive in outcomes:
        outcome = decisive
    else:
        outcome = Outcome.WARN if Outcome.WARN in outcomes else other
    reasons = dict.fromkeys(part.reason for part in parts if part.reason and part.outcome is outcome)
    return _Judgement(outcome, None, rows, None, "; ".join(reasons))


def _by_rows(task: _Task, judgement: _Judgement, answers: Mapping[str, Any], rows: int) -> _Judgement:
    """A composite whose rows are routed is judged row by row, so that verdict and folders say the same."""
    if task.failing_rows is None or not rows:
        return judgement
    if task.failing_rows not in answers:
        return _Judgement(Outcome.ERROR, reason="the rows could not be judged one by one")
    passing = int(answers[task.failing_rows])
    outcome = Outcome.PASS if passing == rows else Outcome.FAIL
    if judgement.outcome is Outcome.WARN and outcome is Outcome.PASS:
        outcome = Outcome.WARN
    return _Judgement(outcome, Fraction(passing, rows), rows, rows - passing)


def _tolerant(item: Item) -> bool:
    """A rule `with threshold` accepts its failing rows as long as the threshold holds."""
    return isinstance(item, Rule) and item.tag("threshold") is not None


def _failed_rules_sql(session: Session, failing: list[tuple[str, str]]) -> str:
    """Rows that fail nothing, nearly all, cost the predicates and no list."""
    good = " AND ".join(predicate for _, predicate in failing)
    listed = [
        f"CASE WHEN {predicate} THEN NULL ELSE {session.dialect.text(rule_id)} END" for rule_id, predicate in failing
    ]
    return f"CASE WHEN {good} THEN NULL ELSE {session.dialect.present(listed)} END"


def _result(task: _Task, judgement: _Judgement) -> RuleResult:
    item, settings = task.item, task.settings
    one = task.plans[id(item)] if isinstance(item, Rule) else None
    metric_name = one.metric_name if isinstance(one, Plan) else "compliance" if judgement.metric is not None else ""
    threshold = print_condition(_metric_condition(item, one)) if isinstance(one, Plan) else ""
    metric = None if judgement.metric is None else float(judgement.metric)
    sentence = outcome_sentence(
        judgement.outcome,
        metric_name=metric_name,
        metric=metric,
        checked=judgement.checked,
        failed=judgement.failed,
        reason=judgement.reason,
    )
    return RuleResult(
        rule_id=settings.rule_id,
        rule_text=print_rule(item, labels=False),
        line=item.line,
        outcome=judgement.outcome,
        action=settings.action,
        route=settings.route,
        severity=settings.severity,
        owner=settings.owner,
        metric_name=metric_name,
        metric_value=metric,
        threshold=threshold,
        rows_checked=judgement.checked,
        rows_failed=judgement.failed,
        explanation=f"{explain(item)} {sentence}",
        reason=judgement.reason,
    )


def _metric_condition(item: Item, one: Plan) -> Condition:
    threshold = item.tag("threshold") if isinstance(item, Rule) else None
    return threshold or one.condition
