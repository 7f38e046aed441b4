"""Replaces `$name` by what the document defines under it."""

from collections.abc import Mapping
from dataclasses import replace

from city_platform.quality.model import (
    Arithmetic,
    Between,
    Call,
    Comparison,
    Composite,
    Condition,
    Expression,
    Item,
    Matches,
    Membership,
    Negative,
    Operand,
    Parameter,
    Rule,
    Ruleset,
    Text,
    Variable,
)

Definitions = Mapping[str, Operand | tuple[Operand, ...]]


class UnknownVariable(ValueError):
    """A rule uses a variable that the document does not define, or one of another kind than fits there."""


def resolved(item: Item, ruleset: Ruleset) -> Item:
    """The item without variables; raises UnknownVariable."""
    return _item(item, dict(ruleset.variables))


def _item(item: Item, definitions: Definitions) -> Item:
    if isinstance(item, Composite):
        return replace(item, parts=tuple(_item(part, definitions) for part in item.parts))
    return Rule(
        item.type,
        tuple(Parameter(_text(one.value, definitions), one.connector) for one in item.parameters),
        item.condition and _condition(item.condition, definitions),
        item.where and _text(item.where, definitions),
        tuple(replace(tag, condition=_condition(tag.condition, definitions)) for tag in item.tags),
        item.labels,
        item.line,
        item.column,
    )


def _condition(condition: Condition, definitions: Definitions) -> Condition:
    match condition:
        case Comparison(operator, operand):
            return Comparison(operator, _operand(operand, definitions))
        case Between(low, high, negated):
            return Between(_operand(low, definitions), _operand(high, definitions), negated)
        case Matches(pattern, negated):
            return Matches(_text(pattern, definitions), negated)
        case Membership():
            values = condition.values
            if isinstance(values, Variable):
                defined = _defined(values.name, definitions)
                return Membership(defined if isinstance(defined, tuple) else (defined,), condition.negated)
            return Membership(tuple(_operand(value, definitions) for value in values), condition.negated)


def _operand(operand: Operand, definitions: Definitions) -> Operand:
    match operand:
        case Variable(name):
            value = _defined(name, definitions)
            if isinstance(value, tuple):
                raise UnknownVariable(f"${name} is a list and stands where one value belongs")
            return value
        case Arithmetic() | Call() | Negative():
            return _expression(operand, definitions)
        case _:
            return operand


def _expression(expression: Expression, definitions: Definitions) -> Expression:
    match expression:
        case Arithmetic(operator, left, right):
            return Arithmetic(operator, _expression(left, definitions), _expression(right, definitions))
        case Call(name, arguments):
            return Call(name, tuple(_expression(argument, definitions) for argument in arguments))
        case Negative(inner):
            return Negative(_expression(inner, definitions))
        case Variable(name):
            value = _operand(expression, definitions)
            if isinstance(value, Text | str):
                raise UnknownVariable(f"${name} is a text and stands in a calculation")
            return value
        case _:
            return expression


def _text(value: Text | Variable, definitions: Definitions) -> Text:
    if isinstance(value, Text):
        return value
    defined = _defined(value.name, definitions)
    if not isinstance(defined, Text):
        raise UnknownVariable(f"${value.name} is not a text and stands where one belongs")
    return defined


def _defined(name: str, definitions: Definitions) -> Operand | tuple[Operand, ...]:
    if name not in definitions:
        raise UnknownVariable(f"${name} is not defined")
    value = definitions[name]
    # One step only: a definition that used another would allow circles, and AWS has none.
    if isinstance(value, Variable):
        raise UnknownVariable(f"${name} is defined by another variable; give it a value")
    return value
