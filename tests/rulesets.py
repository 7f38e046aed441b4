"""Rulesets made up for property tests: every construct of the language, and texts that are nearly rulesets; and the
contract of a made-up dataset to hold rules against.
"""

import random
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal

from hypothesis import strategies as st

from city_platform.contracts.model import Classification, Column, Contract, Partitioning, PartitionTransform
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
from tests.town import ROOT


def contract_with(columns: Mapping[str, str], personal: Collection[str] = ()) -> Contract:
    """A contract of columns with these SQL types, public but for those named."""
    return Contract(
        id="1",
        name="licences",
        title="Licences",
        purpose="",
        version="1",
        owner="team:open-data",
        domain="",
        licence="",
        source_url="",
        cadence="daily",
        freshness=timedelta(days=1),
        columns=tuple(
            Column(name, name, (), "string", sql_type, classification, "", True, True, None, None, 1)
            for name, sql_type in columns.items()
            for classification in [Classification.PERSONAL if name in personal else Classification.PUBLIC]
        ),
        partitioning=Partitioning("Year", PartitionTransform.FOUR_DIGITS),
        latest_by=None,
    )


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


dictionaries = st.lists(
    st.tuples(st.text(max_size=6), st.text(max_size=6) | st.lists(st.text(max_size=4), max_size=2).map(tuple)),
    max_size=2,
).map(tuple)
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
    dictionaries,
    dictionaries,
)


WORDS = (
    *("Rules", "Analyzers", "DefaultLabels", "Metadata", "DataSources", "labels", "where", "with", "threshold", "x"),
    *("RowCount", "IsComplete", "ColumnValues", "and", "or", "of", "not", "in", "between", "matches", "NULL", "EMPTY"),
    *(
        "now",
        "last",
        "avg",
        "days",
        "KB",
        "true",
        "0",
        "1.5",
        "99999999999",
        '"a"',
        '"',
        '"\\\\"',
        "\\",
        "$",
        "$x",
        "#",
        "\n",
    ),
    *(
        "=",
        "!=",
        ">",
        ">=",
        "<",
        "<=",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "+",
        "-",
        "*",
        "/",
        ";",
        "'",
        "\u00e9",
        "\0",
    ),
)


def nearly_rulesets(count: int, seed: int) -> Iterator[str]:
    """Texts no steward would write: words in any order, real rulesets with pieces cut, doubled, swapped or broken,
    deep nesting and long repetition. The same seed, the same texts.
    """
    chance = random.Random(seed)  # noqa: S311 - nothing secret is drawn
    real = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "datasets").glob("*/*.dqdl"))]
    for _ in range(count):
        match chance.randrange(4):
            case 0:
                yield " ".join(chance.choices(WORDS, k=chance.randrange(60)))
            case 1:
                yield "".join(chr(chance.choice((chance.randrange(128), chance.randrange(0x2FFF)))) for _ in range(100))
            case 2:
                word, times = chance.choice(WORDS), chance.randrange(1, 3_000)
                yield f"Rules = [ RowCount {chance.choice(('>', 'in [', '(', ''))} {word * times}"
            case _:
                text = chance.choice(real)
                for _ in range(chance.randrange(1, 5)):
                    start = chance.randrange(len(text) + 1)
                    end = min(len(text), start + chance.randrange(1, 40))
                    piece = chance.choice(("", text[start:end] * 2, chance.choice(WORDS), text[start:end][::-1]))
                    text = text[:start] + piece + text[end:]
                yield text
