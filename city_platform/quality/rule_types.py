"""The rule types of AWS Glue Data Quality: what each takes, and how far this engine evaluates it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from city_platform.quality.model import Composite, Item, Rule


class Takes(Enum):
    """The kind of condition a rule type compares its metric or values with."""

    NOTHING = "no condition"
    NUMBER = "a number, as >= 0.95"
    DURATION = "a duration, as <= 30 days"
    VALUES = 'a comparison of values, as >= 0 or in ["a", "b"]'
    TYPE = 'a type, as = "Date"'
    INSTANT = 'a moment, as > (now() - 3 days) or >= "2024-05-31"'
    SIZE = "a size, as > 2 MB"
    DIGESTS = 'SHA-256 checksums, as in ["9f86..."]'
    OPTIONAL_NUMBER = "a number for a statement that returns one, nothing for one that returns rows"
    ANY = "a condition of its own kind"


@dataclass(frozen=True, slots=True)
class RuleType:
    """`columns` bounds how many parameters there are; `names_columns` says that they are columns of the dataset."""

    name: str
    takes: Takes
    columns: tuple[int, int] = (1, 1)
    names_columns: bool = True
    numeric_columns: bool = False  # the columns must hold numbers
    compliance: bool = False  # the metric is the share of rows, or files, that fulfil the condition
    analyzer: bool = False  # it may stand under Analyzers: it has figures without a demand
    row_level: bool = False  # a predicate tells for each row whether it passes
    share_of_rows: bool = False  # the metric is a share: AWS leaves the type out of row-level composites
    where: bool = True
    threshold: bool = False
    evaluated: bool = True


def _types(*types: RuleType) -> Mapping[str, RuleType]:
    return {one.name: one for one in types}


MANY = 1_000

RULE_TYPES: Mapping[str, RuleType] = _types(
    RuleType("RowCount", Takes.NUMBER, columns=(0, 0), analyzer=True),
    RuleType("ColumnCount", Takes.NUMBER, columns=(0, 0), where=False, analyzer=True),
    RuleType("ColumnExists", Takes.NOTHING, names_columns=False, where=False),
    RuleType("IsComplete", Takes.NOTHING, row_level=True),
    RuleType("Completeness", Takes.NUMBER, row_level=True, share_of_rows=True, analyzer=True),
    RuleType("IsUnique", Takes.NOTHING, columns=(1, MANY), row_level=True),
    RuleType("Uniqueness", Takes.NUMBER, columns=(1, MANY), row_level=True, share_of_rows=True, analyzer=True),
    RuleType("UniqueValueRatio", Takes.NUMBER, columns=(1, MANY), analyzer=True),
    RuleType("DistinctValuesCount", Takes.NUMBER, columns=(1, MANY), analyzer=True),
    RuleType("IsPrimaryKey", Takes.NOTHING, columns=(1, MANY), row_level=True),
    RuleType("ColumnValues", Takes.VALUES, row_level=True, threshold=True, analyzer=True, compliance=True),
    RuleType("ColumnLength", Takes.NUMBER, row_level=True, analyzer=True, compliance=True),
    RuleType("ColumnDataType", Takes.TYPE, row_level=True, threshold=True, compliance=True),
    RuleType("ColumnNamesMatchPattern", Takes.NOTHING, names_columns=False, where=False),
    RuleType("DataFreshness", Takes.DURATION, row_level=True, compliance=True),
    RuleType(
        "CustomSql",
        Takes.OPTIONAL_NUMBER,
        names_columns=False,
        row_level=True,
        where=False,
        threshold=True,
        analyzer=True,
    ),
    RuleType("Mean", Takes.NUMBER, numeric_columns=True, analyzer=True),
    RuleType("Sum", Takes.NUMBER, numeric_columns=True, analyzer=True),
    RuleType("StandardDeviation", Takes.NUMBER, numeric_columns=True, analyzer=True),
    RuleType("Entropy", Takes.NUMBER, analyzer=True),
    RuleType("ColumnCorrelation", Takes.NUMBER, columns=(2, 2), numeric_columns=True, analyzer=True),
    RuleType("Variance", Takes.NUMBER, numeric_columns=True, analyzer=True),
    # Another dataset: what their parameters mean is `references`' to say.
    *(
        RuleType(name, Takes.NUMBER, (2, most), names_columns=False, row_level=True, share_of_rows=True, where=False)
        for name, most in (("ReferentialIntegrity", 2), ("DatasetMatch", 3))
    ),
    RuleType("RowCountMatch", Takes.NUMBER, names_columns=False, where=False),
    RuleType("SchemaMatch", Takes.NUMBER, names_columns=False, where=False),
    RuleType("AggregateMatch", Takes.NUMBER, columns=(2, 2), names_columns=False, where=False),
    # Earlier evaluations.
    RuleType("DetectAnomalies", Takes.NOTHING, columns=(1, MANY), names_columns=False),
    # The files a partition was made from.
    RuleType(
        "FileFreshness",
        Takes.INSTANT,
        columns=(0, 1),
        names_columns=False,
        where=False,
        threshold=True,
        compliance=True,
    ),
    RuleType("FileSize", Takes.SIZE, columns=(0, 1), names_columns=False, where=False, threshold=True, compliance=True),
    RuleType("FileMatch", Takes.DIGESTS, columns=(0, 1), names_columns=False, where=False, compliance=True),
    RuleType("FileUniqueness", Takes.NUMBER, columns=(0, 1), names_columns=False, where=False),
    # Figures only, and read without being evaluated.
    RuleType("AllStatistics", Takes.NOTHING, where=False, analyzer=True, evaluated=False),
    RuleType("Distribution", Takes.ANY, columns=(0, MANY), names_columns=False, where=False, evaluated=False),
)


def has_row_predicate(item: Item) -> bool:
    """Whether each row passes or fails by itself, so that failing rows can be routed to failed/.

    A composite has it where every part has; shares of rows and thresholds are left out of composites, as in AWS.
    """
    if isinstance(item, Composite):
        return all(has_row_predicate(part) and not judges_a_share(part) for part in item.parts)
    rule_type = RULE_TYPES.get(item.type)
    if rule_type is None or not rule_type.row_level:
        return False
    return rule_type.takes is not Takes.OPTIONAL_NUMBER or item.condition is None


def judges_a_share(item: Item) -> bool:
    """Whether a rule is about how many rows pass, and not about each of them."""
    if isinstance(item, Composite):
        return False
    return RULE_TYPES[item.type].share_of_rows or item.tag("threshold") is not None


def column_parameters(rule: Rule) -> tuple[str, ...]:
    """The columns a rule names, as written; nothing where its parameters are other things."""
    rule_type = RULE_TYPES.get(rule.type)
    if rule_type is None or not (rule_type.names_columns or rule.type == "ColumnExists"):
        return ()
    return tuple(str(getattr(parameter.value, "value", "")) for parameter in rule.parameters)
