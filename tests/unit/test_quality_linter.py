"""Rules that are valid and do not say what was meant."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.datasets import load_datasets
from city_platform.quality.acceptance import accepted_numbers, between, numbers
from city_platform.quality.binding import check_ruleset
from city_platform.quality.linter import Level, Lint, lint
from city_platform.quality.model import Between, Comparison, Condition, Membership, Number
from city_platform.quality.operands import holds, number
from city_platform.quality.parser import parse_ruleset
from tests.rulesets import contract_with
from tests.town import ROOT

CONTRACT = contract_with(
    {
        "kind": "VARCHAR",
        "height": "DECIMAL(5,2)",
        "month": "INTEGER",
        "planted": "DATE",
        "seen": "TIMESTAMP WITH TIME ZONE",
    }
)


def linted(rules: str, before: str = "") -> list[Lint]:
    ruleset, findings = parse_ruleset(f"{before} Rules = [\n{rules}\n]", "rules.dqdl")
    assert ruleset is not None, findings
    assert check_ruleset(ruleset, CONTRACT) == []
    return lint(ruleset, CONTRACT)


@pytest.mark.parametrize(
    ("rule", "code", "remedy"),
    [
        ('Uniqueness "kind" < 20', "vacuous-threshold", 'DistinctValuesCount "kind" < 20'),
        ('Completeness "kind" >= 0', "vacuous-threshold", "a limit that data can miss"),
        ('Completeness "kind" <= 1', "vacuous-threshold", ""),
        ("RowCount >= 0", "vacuous-threshold", "RowCount > 0"),
        ('StandardDeviation "height" > -1', "vacuous-threshold", ""),
        ('ColumnCorrelation "height" "month" between -2 and 2', "vacuous-threshold", ""),
        ('ColumnValues "kind" = "oak" with threshold > -0.1', "vacuous-threshold", ""),
        ('ColumnLength "kind" > -1', "vacuous-threshold", ""),
        ('ColumnValues "month" < 3000000000 where "month is not null"', "vacuous-threshold", ""),
        ('Completeness "kind" > 95', "never-holds", "0.95 for 95 %"),
        ('ColumnValues "kind" = "oak" with threshold > 1', "never-holds", ""),
        ("RowCount between 9 and 1", "never-holds", ">= 9"),
        ('ColumnValues "month" between 11 and 12', "never-holds", ">= 11"),
        ('ColumnValues "month" > 3000000000', "never-holds", ""),
        ('ColumnValues "planted" between "2024-05-01" and "2024-05-02"', "never-holds", ""),
        ('ColumnValues "seen" between (now() - 1 days) and (now() - 2 days)', "never-holds", ""),
        ('ColumnLength "kind" in [-1] where "kind is not null"', "never-holds", ""),
        ("ColumnCount > 5", "never-holds", ""),
        ('Completeness "kind" between 0.9 and 1', "between-excludes-ends", ">= 0.9"),
        ('ColumnValues "month" > 0 with threshold between 0.5 and 1.0', "between-excludes-ends", ">= 0.5"),
        ('DataFreshness "seen" > 30 days', "inverted-freshness", "<= 30 days"),
        ('DataFreshness "seen" between 2 days and 999999 days', "", ""),
        ('FileFreshness < (now() - 2 days) labels=["action"="halt"]', "inverted-freshness", "> (now() - 2 days)"),
        ('DataFreshness "seen" <= 24 hours', "freshness-of-every-row", "threshold > 0"),
        ('ColumnValues "kind" matches "^oak"', "anchored-match", 'matches "oak.*"'),
        ('ColumnValues "kind" matches "oak$"', "anchored-match", 'matches ".*oak"'),
        ('ColumnValues "kind" matches "oak"', "anchored-match", '= "oak"'),
        ('ColumnValues "kind" matches "[a-z"', "not-a-pattern", "RE2"),
        ('ColumnValues "kind" matches "(?=a).*"', "not-a-pattern", "RE2"),
        ('ColumnNamesMatchPattern "("', "not-a-pattern", "RE2"),
        ('ColumnValues "kind" in ["oak", "elm", "oak"]', "repeated-value", "keep one"),
        ('(Completeness "kind" >= 0) or (IsUnique "month")', "unreachable-branch", "leave this part out"),
        ("(RowCount > 5) or (RowCount > 3)", "unreachable-branch", ""),
        ("(RowCount > 5) and (RowCount > 3)", "unreachable-branch", ""),
        ('(IsComplete "kind") and ((IsUnique "month") or (IsUnique "MONTH"))', "unreachable-branch", ""),
        ("(RowCount > 5) and (RowCount < 3)", "never-holds", "join them with `or`"),
    ],
)
def test_a_suspicious_rule_is_found(rule: str, code: str, remedy: str) -> None:
    found = linted(rule)
    assert (code in {one.code for one in found}) is bool(code), found
    assert all(one.line == 2 and one.column and one.problem and one.remedy for one in found)
    assert not code or any(remedy in one.remedy for one in found if one.code == code), found


@pytest.mark.parametrize(
    ("rules", "code", "line"),
    [
        ('IsComplete "kind",\nCompleteness "KIND" = 1 labels=["action"="quarantine", "name"="b"]', "duplicate-rule", 3),
        ('IsComplete "kind",\nColumnValues "kind" != NULL labels=["name"="b"]', "duplicate-rule", 3),
        (
            """ColumnValues "month" > 2 where "kind = 'a'",
            ColumnValues "MONTH" >= 3 where "KIND  =  'a'" labels=["name"="b"]""",
            "duplicate-rule",
            3,
        ),
        ('(IsComplete "kind") and (IsUnique "kind"),\n(IsUnique "kind") and (IsComplete "kind")', "duplicate-rule", 3),
        (
            'ColumnValues "kind" in ["b", ""],\nColumnValues "kind" in ["", "b"] labels=["name"="b"]',
            "duplicate-rule",
            3,
        ),
        ('ColumnValues "kind" in ["a", "b"],\nColumnValues "kind" = "a" labels=["name"="b"]', "shadowed-rule", 2),
        ('RowCount > 10,\nRowCount > 5 labels=["name"="b"]', "shadowed-rule", 3),
        ('RowCount > 10,\nRowCount < 5 labels=["name"="b"]', "contradicting-rules", 3),
        ('ColumnValues "kind" = "a",\nColumnValues "kind" not in ["a"] labels=["name"="b"]', "contradicting-rules", 3),
        ('RowCount > 1 labels=["action"="warn"],\nIsUnique "kind" labels=["action"="warn"]', "nothing-decides", 0),
    ],
)
def test_rules_are_held_against_each_other(rules: str, code: str, line: int) -> None:
    assert [(one.code, one.line) for one in linted(rules)] == [(code, line)]


@pytest.mark.parametrize(
    "rules",
    [
        'Completeness "kind" >= 0.95, IsComplete "kind"',  # the gate and the row
        'ColumnValues "month" > 2, ColumnValues "month" > 1 labels=["action"="warn", "name"="b"]',
        'ColumnValues "month" > 2, ColumnValues "month" > 1 where "kind = \'a\'" labels=["name"="b"]',
        'ColumnValues "kind" = NULL where "month > 12", ColumnValues "kind" = "a" labels=["name"="b"]',
        'ColumnValues "kind" in ["a", NULL], ColumnValues "kind" in ["b", NULL] labels=["name"="b"]',  # all may be null
        'ColumnValues "planted" between "2000-01-01" and (now() + 1 days)',
        'ColumnValues "kind" matches "^[a-z]+$", ColumnValues "kind" matches "a.*" labels=["name"="b"]',
        "RowCount between 1 and 3",
        'RowCount > avg(last(3)) labels=["name"="a"], RowCount > avg(last(5)) labels=["name"="b"]',
        'ColumnValues "height" between 1 and 2',
        'Sum "height" > -5, Mean "height" < 20',
        '(IsComplete "kind") or (ColumnValues "month" > 3)',
        'ColumnValues "month" < 3000000000, ColumnValues "month" > 0 labels=["name"="b", "action"="halt"]',
        'ColumnCount = 5, ColumnExists "kind"',
        'DataFreshness "seen" <= 24 hours where "month = 12"',
    ],
)
def test_a_sound_rule_is_left_alone(rules: str) -> None:
    assert linted(rules) == []


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ('IsComplete "hight"', "unknown-column"),
        ('RowCount > 0 where "hight > 1"', "unknown-column"),
        ('ColumnValues "kind" > 5', "type-mismatch"),
        ('Mean "kind" > 5', "type-mismatch"),
        ('ColumnValues "planted" > "soon"', "type-mismatch"),
        ('RowCount > 0 labels=["action"="quarantine"]', "quarantine-without-rows"),
        ('IsComplete "kind" > 5', "not-valid"),
    ],
)
def test_what_is_refused_is_found_too_and_nothing_more_is_said_of_it(rule: str, code: str) -> None:
    ruleset, _ = parse_ruleset(f"Rules = [\n{rule}\n]", "rules.dqdl")
    assert ruleset is not None
    assert [(one.code, one.level, one.line) for one in lint(ruleset, CONTRACT)] == [(code, Level.ERROR, 2)]


def test_levels_tell_what_cannot_hold_from_what_looks_wrong() -> None:
    levels = {one.code: one.level for one in linted('Completeness "kind" > 95, Uniqueness "kind" < 20')}
    assert levels == {"never-holds": Level.ERROR, "vacuous-threshold": Level.WARNING}


def test_an_unused_variable_is_found() -> None:
    [found] = linted("CustomSql $used > 0", before='used = "select count(*) from primary" idle = "x"')
    assert (found.code, "$idle" in found.problem) == ("unused-variable", True)


def test_exactly_the_two_defects_of_the_first_rules_are_found_and_nothing_in_the_rules_in_force() -> None:
    found = []
    for dataset in load_datasets(ROOT / "datasets"):
        found += lint(dataset.rules, dataset.contract)
        for _, ruleset in dataset.advisory:
            found += lint(ruleset, dataset.contract, gate=False)
    assert [(one.file.rpartition("/")[2], one.line, one.code) for one in found] == [
        ("source_rules.dqdl", 13, "vacuous-threshold"),
        ("source_rules.dqdl", 14, "inverted-freshness"),
    ]


FIGURES = st.integers(-8, 8).map(lambda halves: Fraction(halves, 2))
OPERANDS = FIGURES.map(lambda figure: Number(Decimal(figure.numerator) / Decimal(figure.denominator)))
CONDITIONS: st.SearchStrategy[Condition] = (
    st.builds(Comparison, st.sampled_from(["=", "!=", ">", ">=", "<", "<="]), OPERANDS)
    | st.builds(Between, OPERANDS, OPERANDS, st.booleans())
    | st.builds(Membership, st.lists(OPERANDS, min_size=1, max_size=3).map(tuple), st.booleans())
)


@settings(max_examples=150)
@given(CONDITIONS, CONDITIONS, st.booleans())
def test_sets_say_what_conditions_say(one: Condition, two: Condition, whole: bool) -> None:
    """Quarters lie between all ends, so they see every span there is."""
    points = [Fraction(place, 1 if whole else 4) for place in range(-24, 25)]
    first, second = (accepted_numbers(condition, number, whole=whole) for condition in (one, two))
    held = [[holds(point, condition, number) for point in points] for condition in (one, two)]
    for accepted, answers in ((first, held[0]), (second, held[1])):
        inside = [not (accepted & between(point, point, whole=whole)).empty for point in points]
        assert inside == answers
    both = [a and b for a, b in zip(*held, strict=True)]
    assert (first & second).empty is not any(both)
    assert first.within(second) is all(b for a, b in zip(*held, strict=True) if a)
    assert (first == second) is (held[0] == held[1])
    assert numbers((*first.spans, *second.spans), whole=whole).within(first) is second.within(first)
