"""Which values a condition accepts, as sets that can be compared: empty, everything, part of another, disjoint.

Numbers are spans between cuts. A cut lies just before (0) or just after (1) a value, so that open and closed ends need
no cases: [1, 2) runs from the cut before 1 to the cut before 2. Where only whole numbers occur, spans are brought to
the whole numbers in them, so that `> 2` and `>= 3` are the same set.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

from city_platform.quality.model import Between, Comparison, Condition, Keyword, Membership, Operand, Text
from city_platform.quality.operands import NotEvaluable

Cut = tuple[Fraction | float, int]
Span = tuple[Cut, Cut]
BELOW_ALL, ABOVE_ALL = (-math.inf, 0), (math.inf, 1)


@dataclass(frozen=True, slots=True)
class Numbers:
    """A set of numbers: spans in order that neither overlap nor touch."""

    spans: tuple[Span, ...]
    whole: bool = False

    @property
    def empty(self) -> bool:
        return not self.spans

    def __and__(self, other: "Numbers") -> "Numbers":
        shared = ((max(a[0], b[0]), min(a[1], b[1])) for a in self.spans for b in other.spans)
        return numbers(shared, whole=self.whole or other.whole)

    def within(self, other: "Numbers") -> bool:
        return (self & other).spans == self.spans

    @property
    def low(self) -> Fraction | float:
        """The lower end; of the empty set infinity."""
        return self.spans[0][0][0] if self.spans else math.inf

    @property
    def high(self) -> Fraction | float:
        return self.spans[-1][1][0] if self.spans else -math.inf


def numbers(spans: Iterable[Span], *, whole: bool = False) -> Numbers:
    """The union of spans."""
    joined: list[Span] = []
    for low, high in sorted(_whole(span) if whole else span for span in spans):
        if low >= high:
            continue
        touching = joined and (low <= joined[-1][1] or (whole and low[0] == joined[-1][1][0] + 1))
        if touching:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return Numbers(tuple(joined), whole)


def _whole(span: Span) -> Span:
    (low, after_low), (high, after_high) = span
    if math.isfinite(low):
        low = Fraction(math.floor(low) + 1 if after_low else math.ceil(low))
    if math.isfinite(high):
        high = Fraction(math.floor(high) if after_high else math.ceil(high) - 1)
    return (low, 0), (high, 1)


def between(low: Fraction | float, high: Fraction | float, *, whole: bool = False) -> Numbers:
    """All numbers from `low` to `high`, both included."""
    return numbers([((low, 0), (high, 1))], whole=whole)


def accepted_numbers(condition: Condition, read: Callable[[Operand], Fraction], *, whole: bool = False) -> Numbers:
    """The numbers that fulfil a condition; raises NotEvaluable where an operand is no number."""
    return numbers(_spans(condition, read), whole=whole)


def _spans(condition: Condition, read: Callable[[Operand], Fraction]) -> list[Span]:
    match condition:
        case Comparison(operator, operand):
            value = read(operand)
            below, exactly, above = (BELOW_ALL, (value, 0)), ((value, 0), (value, 1)), ((value, 1), ABOVE_ALL)
            spans: dict[str, list[Span]] = {
                "=": [exactly],
                "!=": [below, above],
                "<": [below],
                "<=": [below, exactly],
                ">": [above],
                ">=": [exactly, above],
            }
            return spans[operator]
        case Between(low, high, negated):
            first, last = read(low), read(high)
            if negated:
                return [(BELOW_ALL, (first, 1)), ((last, 0), ABOVE_ALL)]
            return [((first, 1), (last, 0))]
        case Membership(tuple() as values, negated):
            points = sorted({read(value) for value in values})
            if not negated:
                return [((point, 0), (point, 1)) for point in points]
            cuts: list[Cut] = [BELOW_ALL, *(cut for point in points for cut in ((point, 0), (point, 1))), ABOVE_ALL]
            return list(zip(cuts[::2], cuts[1::2], strict=True))
        case _:
            raise NotEvaluable("a pattern accepts no set of numbers")


@dataclass(frozen=True, slots=True)
class Words:
    """A set of texts: those named, or all but those."""

    named: frozenset[str]
    all_but: bool = False

    @property
    def empty(self) -> bool:
        return not self.named and not self.all_but

    def __and__(self, other: "Words") -> "Words":
        if self.all_but and other.all_but:
            return Words(self.named | other.named, all_but=True)
        if self.all_but:
            return Words(other.named - self.named)
        return Words(self.named - other.named if other.all_but else self.named & other.named)

    def within(self, other: "Words") -> bool:
        return self & other == self


def accepted_words(condition: Condition, *, ignore_case: bool) -> Words:
    """The texts that fulfil a condition; raises NotEvaluable for an order of texts and for patterns."""
    match condition:
        case Comparison(("=" | "!=") as operator, operand):
            return Words(_named([operand], ignore_case=ignore_case), operator == "!=")
        case Membership(tuple() as values, negated):
            return Words(_named(values, ignore_case=ignore_case), negated)
        case _:
            raise NotEvaluable("only = and in accept a set of texts that can be listed")


def _named(operands: Iterable[Operand], *, ignore_case: bool) -> frozenset[str]:
    named = set()
    for operand in operands:
        match operand:
            case Text(value):
                named.add(value.lower() if ignore_case else value)
            case Keyword.EMPTY:
                named.add("")
            case Keyword.NULL:
                continue  # a missing value is no text; whether it is accepted is told apart
            case _:
                raise NotEvaluable("not a text")
    return frozenset(named)
