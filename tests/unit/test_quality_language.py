"""DQDL text in, ruleset out, and back."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.quality.model import (
    Arithmetic,
    Between,
    Call,
    Comparison,
    Composite,
    Condition,
    Duration,
    Item,
    Keyword,
    Matches,
    Membership,
    Negative,
    Number,
    Operand,
    Parameter,
    Rule,
    Ruleset,
    Size,
    Tag,
    Text,
    Variable,
)
from city_platform.quality.parser import MAX_CHARACTERS, MAX_DEPTH, parse_ruleset
from city_platform.quality.printer import print_ruleset

numbers = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=0, max_value=10**6).map(Number)
texts = st.text(max_size=12).map(Text)
amounts = st.integers(0, 999).map(Decimal)
variables = st.sampled_from(["limit", "names"]).map(Variable)
durations = st.builds(Duration, amounts, st.sampled_from(["days", "hours", "minutes"]))
sizes = st.builds(Size, amounts, st.sampled_from(["B", "KB", "MB", "GB", "TB"]))
calls = st.builds(Call, st.sampled_from(["last", "avg", "now"]), st.tuples(numbers) | st.just(()))
expressions = st.recursive(
    numbers | durations | sizes | calls | variables,
    lambda inner: (
        st.builds(Arithmetic, st.sampled_from("+-*/"), inner, inner)
        | st.builds(Negative, inner.filter(lambda one: not isinstance(one, Number)))
        | st.builds(Call, st.sampled_from(["avg", "max"]), st.tuples(inner))
    ),
    max_leaves=4,
)
operands: st.SearchStrategy[Operand] = expressions | texts | st.sampled_from(Keyword)
references = texts | variables
conditions: st.SearchStrategy[Condition] = (
    st.builds(Comparison, st.sampled_from(["=", "!=", ">", ">=", "<", "<="]), operands)
    | st.builds(Between, operands, operands, st.booleans())
    | st.builds(Membership, st.lists(operands, min_size=1, max_size=3).map(tuple) | variables, st.booleans())
    | st.builds(Matches, references, st.booleans())
)
names = st.from_regex(r"[a-z][A-Za-z]{0,8}", fullmatch=True)
pairs = st.lists(st.tuples(st.text(min_size=1, max_size=8), st.text(max_size=8)), max_size=3, unique_by=lambda p: p[0])
labels = pairs.map(tuple)
rules = st.builds(
    Rule,
    st.from_regex(r"[A-Z][A-Za-z]{0,8}", fullmatch=True).filter(lambda name: name not in {"AND", "OR", "OF", "B"}),
    st.lists(st.builds(Parameter, references, st.sampled_from(["", "of", "and"])), max_size=3).map(tuple),
    st.none() | conditions,
    st.none() | references,
    st.lists(st.builds(Tag, names, conditions), max_size=2).map(tuple),
)
plain: st.SearchStrategy[Item] = st.recursive(
    rules,
    lambda inner: st.builds(
        Composite, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3).map(tuple)
    ),
    max_leaves=5,
)


def labelled(item: Item, given_labels: tuple[tuple[str, str], ...]) -> Item:
    if isinstance(item, Rule):
        return Rule(item.type, item.parameters, item.condition, item.where, item.tags, given_labels)
    return Composite(item.operator, item.parts, given_labels)


rulesets = st.builds(
    Ruleset,
    st.lists(st.builds(labelled, plain, labels), max_size=3).map(tuple),
    st.lists(rules, max_size=2).map(tuple),
    st.lists(
        st.tuples(
            st.sampled_from(["limit", "names"]), operands | st.lists(operands, min_size=1, max_size=2).map(tuple)
        ),
        max_size=2,
        unique_by=lambda pair: pair[0],
    ).map(tuple),
    labels,
    st.just((("Version", "1"), ("Tags", ("a", "b")))) | st.just(()),
)


@settings(max_examples=150, deadline=None)
@given(rulesets)
def test_what_is_printed_reads_back_equal(ruleset: Ruleset) -> None:
    text = print_ruleset(ruleset)
    read, findings = parse_ruleset(text, "rules.dqdl")
    assert findings == [], text
    assert read == ruleset, text


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=200)
    | st.lists(
        st.sampled_from(
            [
                "Rules",
                "=",
                "[",
                "]",
                "(",
                ")",
                '"a"',
                '"',
                "RowCount",
                ">",
                "0",
                ",",
                "and",
                "with",
                "threshold",
                "$x",
                "\\",
            ]
        ),
        max_size=30,
    ).map(" ".join)
)
def test_any_text_gives_a_ruleset_or_findings(text: str) -> None:
    ruleset, findings = parse_ruleset(text, "rules.dqdl")
    assert (ruleset is None) is bool(findings)


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
        "Rules = [ RowCount > 1" + "+1" * 50_000 + " ]",
        "Rules = [ " + "(" * (MAX_DEPTH + 1) + 'IsComplete "a"' + ")" * (MAX_DEPTH + 1) + " ]",
        "x" * (MAX_CHARACTERS + 1),
    ],
    ids=["brackets", "sums", "composites", "size"],
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
