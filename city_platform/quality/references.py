"""Rules about another dataset: how they name it, which part of it they are about, and which columns they compare.

The reference's alias is the dataset's name, as in `"business_licences.LicenceRSN"`; `primary` is the dataset itself.

| rule type                                               | is compared with                                    |
|---------------------------------------------------------|-----------------------------------------------------|
| ReferentialIntegrity, SchemaMatch                       | the reference's rows of all partitions              |
| RowCountMatch, AggregateMatch, DatasetMatch             | the reference's rows of the same partition          |

A key may have been issued in any year, so its existence is asked of all of them; counts, sums and whole datasets are
compared year by year. Of the reference always the newest rows that passed its own rules are read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from city_platform.quality.model import Rule, Ruleset, Text, leaves
from city_platform.quality.operands import NotEvaluable
from city_platform.quality.variables import UnknownVariable, resolved

PRIMARY = "primary"  # the alias of the dataset itself


class Extent(StrEnum):
    """Which partitions of the reference a rule is about."""

    PARTITION = "partition"
    ALL = "all"


_EXTENTS: Mapping[str, Extent] = {
    "ReferentialIntegrity": Extent.ALL,
    "SchemaMatch": Extent.ALL,
    "RowCountMatch": Extent.PARTITION,
    "AggregateMatch": Extent.PARTITION,
    "DatasetMatch": Extent.PARTITION,
}
COMPARING = frozenset(_EXTENTS)
_WITH_BRACES = re.compile(r"(?P<alias>[^{}]+)\.\{(?P<columns>[^{}]+)\}")
_ONE_COLUMN = re.compile(r"(?P<alias>.+)\.(?P<columns>[^.{}]+)")
_AGGREGATE = re.compile(
    r"\s*(?P<function>sum|avg)\s*\(\s*(?:(?P<alias>.+)\.)?(?P<column>[^.()]+?)\s*\)\s*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, order=True)
class ReferenceUse:
    """A dataset that some rule compares with, and which of its partitions."""

    dataset: str
    extent: Extent


@dataclass(frozen=True, slots=True)
class Compared:
    """What a rule compares: pairs of a column of the dataset and its counterpart in the reference.

    `matched` are the pairs whose values have to agree, beside the keys; None means every other column.
    """

    use: ReferenceUse
    keys: tuple[tuple[str, str], ...] = ()
    matched: tuple[tuple[str, str], ...] | None = ()


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One side of AggregateMatch; `use` is None for the dataset itself."""

    function: str  # sum, avg
    column: str
    use: ReferenceUse | None


def reference_uses(ruleset: Ruleset) -> tuple[ReferenceUse, ...]:
    """Every other dataset the rules of a ruleset compare with, in order. Rules that cannot be read use none."""
    found: set[ReferenceUse] = set()
    for item in ruleset.rules:
        try:
            for rule in leaves(resolved(item, ruleset)):
                found.update(uses_of(rule))
        except (UnknownVariable, NotEvaluable):
            continue  # `check_ruleset` reports it, and the evaluation answers with ERROR
    return tuple(sorted(found))


def uses_of(rule: Rule) -> tuple[ReferenceUse, ...]:
    """The datasets one plain rule compares with; raises NotEvaluable where its parameters cannot be read."""
    if rule.type not in _EXTENTS:
        return ()
    if rule.type == "AggregateMatch":
        return tuple(side.use for side in aggregates(rule) if side.use is not None)
    use = compared(rule).use
    return (use,) if use.dataset != PRIMARY else ()


def compared(rule: Rule) -> Compared:
    """What a ReferentialIntegrity, DatasetMatch, RowCountMatch or SchemaMatch rule compares; raises NotEvaluable."""
    texts = [parameter.value.value for parameter in rule.parameters if isinstance(parameter.value, Text)]
    if rule.type == "ReferentialIntegrity":
        return _referential(rule, texts)
    use = _use(rule, texts[0] if texts else "")
    if rule.type != "DatasetMatch":
        return Compared(use)
    if len(texts) not in {2, 3}:
        raise NotEvaluable('DatasetMatch takes the reference, its key columns and the columns to compare, as "a" "ID"')
    return Compared(use, _pairs(texts[1]), _pairs(texts[2]) if texts[2:] else None)


def aggregates(rule: Rule) -> tuple[Aggregate, Aggregate]:
    """Both sides of an AggregateMatch rule; raises NotEvaluable."""
    first, second = (_aggregate(rule, getattr(parameter.value, "value", "")) for parameter in rule.parameters[:2])
    return first, second


def own_columns(rule: Rule) -> tuple[str, ...]:
    """The columns of the dataset itself that a comparing rule names; raises NotEvaluable."""
    if rule.type == "AggregateMatch":
        return tuple(side.column for side in aggregates(rule) if side.use is None)
    asked = compared(rule)
    return tuple(here for here, _ in (*asked.keys, *(asked.matched or ())))


def reference_columns(rule: Rule) -> tuple[tuple[str, str], ...]:
    """The columns of other datasets that a comparing rule names, as (dataset, column); raises NotEvaluable.

    A rule that names a dataset and no column of it has one pair with an empty column.
    """
    if rule.type == "AggregateMatch":
        return tuple((side.use.dataset, side.column) for side in aggregates(rule) if side.use is not None)
    asked = compared(rule)
    pairs = (*asked.keys, *(asked.matched or ()))
    return tuple((asked.use.dataset, there) for _, there in pairs) or ((asked.use.dataset, ""),)


def _referential(rule: Rule, texts: list[str]) -> Compared:
    wanted = 'write it as "Licence" "business_licences.LicenceRSN", several columns as "a,b" "business_licences.{a,b}"'
    if len(texts) != 2:  # noqa: PLR2004 -- the columns here and the columns there
        raise NotEvaluable(f"ReferentialIntegrity takes columns and the reference's columns: {wanted}")
    there = _WITH_BRACES.fullmatch(texts[1].strip()) or _ONE_COLUMN.fullmatch(texts[1].strip())
    if there is None:
        raise NotEvaluable(f'"{texts[1]}" names no columns of a reference: {wanted}')
    columns, counterparts = _listed(texts[0]), _listed(there["columns"])
    if not columns or len(columns) != len(counterparts):
        raise NotEvaluable(f"{len(columns)} columns cannot be compared with {len(counterparts)}: {wanted}")
    return Compared(_use(rule, there["alias"]), tuple(zip(columns, counterparts, strict=True)))


def _aggregate(rule: Rule, text: str) -> Aggregate:
    read = _AGGREGATE.fullmatch(text)
    if read is None:
        raise NotEvaluable(f'"{text}" is no aggregate; write it as "sum(amount)" or "avg(reference.amount)"')
    alias = (read["alias"] or PRIMARY).strip()
    use = None if alias == PRIMARY else _use(rule, alias)
    return Aggregate(read["function"].lower(), read["column"].strip().strip('"'), use)


def _use(rule: Rule, alias: str) -> ReferenceUse:
    alias = alias.strip().strip('"')
    if not alias:
        raise NotEvaluable(f"{rule.type} names no dataset to compare with")
    return ReferenceUse(alias, _EXTENTS[rule.type])


def _listed(text: str) -> list[str]:
    return [word for part in text.split(",") if (word := part.strip().strip('"'))]


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    """`"ID_1->ID_ref1,ID_2"` as pairs; a column without an arrow has the same name on both sides."""
    pairs = []
    for part in _listed(text):
        here, _, there = (word.strip() for word in part.partition("->"))
        pairs.append((here, there or here))
    if not pairs:
        raise NotEvaluable(f'"{text}" names no columns; write them as "ID" or "ID->ReferenceID, Year"')
    return tuple(pairs)
