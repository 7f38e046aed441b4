"""DQDL text in, ruleset out, and back."""

from decimal import Decimal

import pytest
from hypothesis import given, settings

from city_platform.quality.model import (
    Arithmetic,
    Between,
    Call,
    Composite,
    Keyword,
    Membership,
    Number,
    Rule,
    Ruleset,
    Text,
)
from city_platform.quality.parser import MAX_CHARACTERS, MAX_DEPTH, MAX_DIGITS, parse_ruleset
from city_platform.quality.printer import print_ruleset
from tests.rulesets import nearly_rulesets, rulesets


@settings(max_examples=100)
@given(rulesets)
def test_what_is_printed_reads_back_equal(ruleset: Ruleset) -> None:
    text = print_ruleset(ruleset)
    read, findings = parse_ruleset(text, "rules.dqdl")
    assert findings == [], text
    assert read == ruleset, text


def test_any_text_gives_a_ruleset_or_findings() -> None:
    """Never another exception, and never a hang; many more texts are tried in the slow tier."""
    outcomes = set()
    for text in nearly_rulesets(300, seed=1):
        ruleset, findings = parse_ruleset(text, "rules.dqdl")
        assert (ruleset is None) is bool(findings), text
        assert all(finding.problem for finding in findings), text
        outcomes.add(ruleset is None)
    assert outcomes == {True, False}


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("Rules = [\n  RowCount >\n]", 3, 1, "a number"),
        ('Rules = [\n  IsComplete "a\n]', 2, 14, "never closed"),
        ("Rules = [ RowCount > 0, ]", 1, 25, "a name"),
        ("Rules = [ // note\n ]", 1, 11, "begins with #"),
        ("Rules = [ RowCount > 0", 1, 23, "']'"),
        ("Rules = [ RowCount ? 0 ]", 1, 20, "a condition such as"),
        ('Rules = [ (IsComplete "a") and (IsUnique "b") labels=["k"="v"] ]', 1, 33, "in parentheses"),
        ("Rules = [] Rules = []", 1, 12, "defined twice"),
        ("", 0, 0, "no rules"),
        ('Rules = [ IsComplete "a" WHERE "b" ]', 1, 26, "write where"),
        ("Rules = [ ColumnValues \"a\" = 'b' ]", 1, 30, "double quotes"),
        ('Rules = [ Completeness "a" > 95% ]', 1, 32, "95 % is 0.95"),
        ('Rules = [ Completeness "a" > .95 ]', 1, 30, "0.95"),
        ("Rules = [ RowCount > 1e6 ]", 1, 23, "plain digits"),
        ("Rules = [ RowCount > 1,000 ]", 1, 24, "without separators"),
        ("Rules = [ RowCount == 1 ]", 1, 21, "one = compares"),
        ("Rules = [ RowCount <> 1 ]", 1, 21, "not equal is !="),
        ('Rules = [ (IsComplete "a") and IsUnique "b" ]', 1, 32, "parentheses"),
        ('Rules = [ ColumnValues "a" = yes ]', 1, 34, "double quotes"),
        ("Rules = [ IsComplete order-id ]", 1, 27, "double quotes"),
        ("Rules = [ RowCount > " + "9" * (MAX_DIGITS + 1) + " ]", 1, 22, f"at most {MAX_DIGITS}"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, line: int, column: int, said: str) -> None:
    ruleset, [finding] = parse_ruleset(text, "rules.dqdl")
    assert ruleset is None
    assert (finding.line, finding.column) == (line, column)
    assert said in f"{finding.problem} {finding.remedy}"


@pytest.mark.parametrize(
    "text",
    [
        "Rules = [ RowCount > " + "(" * 20_000 + "1" + ")" * 20_000 + " ]",
        "Rules = [ RowCount > 1" + "+1" * 10_000 + " ]",
        "Rules = [ " + "(" * (MAX_DEPTH + 1) + 'IsComplete "a"' + ")" * (MAX_DEPTH + 1) + " ]",
        "x" * (MAX_CHARACTERS + 1),
        'Rules = [ IsComplete "' + "\\" * 20_001,
    ],
    ids=["brackets", "sums", "composites", "size", "backslashes"],
)
def test_hostile_text_is_refused_and_does_not_exhaust_the_stack(text: str) -> None:
    ruleset, [finding] = parse_ruleset(text, "rules.dqdl")
    assert ruleset is None
    assert finding.remedy


def test_every_part_of_the_language_is_read() -> None:
    ruleset, findings = parse_ruleset(
        r"""
        Metadata = { "Version": "1.0", "Readers": ["a", "b"] }
        # a comment
        query = "select count(*) from primary"
        DefaultLabels = ["frequency"="monthly"]
        Rules = [
            IsPrimaryKey "a" and "b" where "x > \"3\"" labels=["action"="halt"],
            CustomSql $query between 0 and 100,
            ColumnValues "d" >= (now() - 3 days) with threshold > 0.9,
            DistinctValuesCount "a" between min(last(10))-1 and max(last(10))+1,
            ((Mean "S" > 3) and ((Mean "T" > 5) or (IsComplete "O"))) labels=["foo"="bar"],
            ColumnValues "c" not in ["a", NULL, "\d+"] with ignoreCase = "true",
            FileSize "s3://bucket/key" > 2 MB
        ]
        Analyzers = [ Distribution "S" with bins = 20, rebin = false, ColumnLength "Name" ]
        """,
        "rules.dqdl",
    )
    assert findings == []
    assert ruleset is not None
    key, _, _, distinct, composite, values, _ = ruleset.rules
    assert isinstance(key, Rule)
    assert key.where == Text('x > "3"')
    assert isinstance(distinct, Rule)
    assert distinct.condition == Between(
        Arithmetic("-", Call("min", (Call("last", (Number(Decimal(10)),)),)), Number(Decimal(1))),
        Arithmetic("+", Call("max", (Call("last", (Number(Decimal(10)),)),)), Number(Decimal(1))),
    )
    assert isinstance(composite, Composite)
    assert composite.labels == (("foo", "bar"),)
    assert isinstance(values, Rule)
    assert values.condition == Membership((Text("a"), Keyword.NULL, Text(r"\d+")), negated=True)
    assert [tag.name for tag in ruleset.analyzers[0].tags] == ["bins", "rebin"]
