"""A ruleset as plain values: what a DQDL document says, without what it means.

Numbers are decimals, so that 0.95 in a rule is 0.95 and not the nearest binary fraction. Positions count from 1 and
do not take part in equality: two rulesets that say the same are equal, however they are laid out.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Text:
    """A quoted text. Whether it is a word, a date or a number is decided by the column it meets."""

    value: str


class Keyword(StrEnum):
    """A kind of missing value."""

    NULL = "NULL"
    EMPTY = "EMPTY"
    WHITESPACES_ONLY = "WHITESPACES_ONLY"


@dataclass(frozen=True, slots=True)
class Variable:
    """`$name`, a constant defined in the document."""

    name: str


@dataclass(frozen=True, slots=True)
class Number:
    value: Decimal


@dataclass(frozen=True, slots=True)
class Duration:
    amount: Decimal
    unit: str  # days, hours, minutes


@dataclass(frozen=True, slots=True)
class Size:
    amount: Decimal
    unit: str  # B, KB, MB, GB, TB


@dataclass(frozen=True, slots=True)
class Call:
    """A function: `now()`, `last(10)`, `avg(last(10))`, ..."""

    name: str
    arguments: "tuple[Expression, ...]" = ()


@dataclass(frozen=True, slots=True)
class Negative:
    operand: "Expression"


@dataclass(frozen=True, slots=True)
class Arithmetic:
    operator: str  # + - * /
    left: "Expression"
    right: "Expression"


Expression = Number | Duration | Size | Call | Negative | Arithmetic | Variable
Operand = Expression | Text | Keyword


@dataclass(frozen=True, slots=True)
class Comparison:
    operator: str  # = != > >= < <=
    operand: Operand


@dataclass(frozen=True, slots=True)
class Between:
    """Both ends are exclusive; negated, both ends belong to it."""

    low: Operand
    high: Operand
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Membership:
    """`in [a, b]`, or `in $name` with a variable that stands for a list."""

    values: tuple[Operand, ...] | Variable
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Matches:
    """The whole value matches the regular expression."""

    pattern: Text | Variable
    negated: bool = False


Condition = Comparison | Between | Membership | Matches


@dataclass(frozen=True, slots=True)
class Parameter:
    value: Text | Variable
    connector: str = ""  # of, and: words between parameters that only please the reader


@dataclass(frozen=True, slots=True)
class Tag:
    """`with threshold > 0.9`, `with ignoreCase = "true"`, ..."""

    name: str
    condition: Condition


Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    type: str
    parameters: tuple[Parameter, ...] = ()
    condition: Condition | None = None
    where: Text | Variable | None = None
    tags: tuple[Tag, ...] = ()
    labels: Labels = ()
    line: int = field(default=0, compare=False)
    column: int = field(default=0, compare=False)

    def tag(self, name: str) -> Condition | None:
        """The condition of that tag, if the rule has it."""
        return next((tag.condition for tag in self.tags if tag.name == name), None)


@dataclass(frozen=True, slots=True)
class Composite:
    operator: str  # and, or
    parts: "tuple[Item, ...]"
    labels: Labels = ()
    line: int = field(default=0, compare=False)
    column: int = field(default=0, compare=False)


Item = Rule | Composite


@dataclass(frozen=True, slots=True)
class Ruleset:
    """One document. `file` is where it was read from, for findings."""

    rules: tuple[Item, ...] = ()
    analyzers: tuple[Rule, ...] = ()
    variables: tuple[tuple[str, Operand | tuple[Operand, ...]], ...] = ()
    default_labels: Labels = ()
    metadata: tuple[tuple[str, str | tuple[str, ...]], ...] = ()
    sources: tuple[tuple[str, str | tuple[str, ...]], ...] = ()
    file: str = field(default="rules.dqdl", compare=False)


def leaves(item: Item) -> tuple[Rule, ...]:
    """The plain rules an item is made of."""
    if isinstance(item, Rule):
        return (item,)
    return tuple(rule for part in item.parts for rule in leaves(part))
