"""A ruleset as DQDL text: `parse_ruleset(print_ruleset(ruleset))` gives an equal ruleset."""

import re

from city_platform.quality.model import (
    Arithmetic,
    Between,
    Call,
    Comparison,
    Composite,
    Condition,
    Duration,
    Expression,
    Item,
    Keyword,
    Labels,
    Matches,
    Membership,
    Negative,
    Number,
    Operand,
    Ruleset,
    Size,
    Text,
    Variable,
)


def print_ruleset(ruleset: Ruleset) -> str:
    """The whole document, one rule a line."""
    sections = []
    for heading, dictionary in (("Metadata", ruleset.metadata), ("DataSources", ruleset.sources)):
        if dictionary:
            pairs = (f"    {_quoted(key)}: {_dictionary_value(value)}" for key, value in dictionary)
            sections.append(f"{heading} = {{\n" + ",\n".join(pairs) + "\n}")
    sections += [f"{name} = {_definition(value)}" for name, value in ruleset.variables]
    if ruleset.default_labels:
        sections.append(f"DefaultLabels = {_labels(ruleset.default_labels)}")
    # A document needs one of the two sections; without rules and analyzers an empty list of rules says so.
    if ruleset.rules or not ruleset.analyzers:
        sections.append(_section("Rules", [print_rule(rule) for rule in ruleset.rules]))
    if ruleset.analyzers:
        sections.append(_section("Analyzers", [print_rule(rule) for rule in ruleset.analyzers]))
    return "\n\n".join(sections) + "\n"


def print_rule(item: Item, *, labels: bool = True) -> str:
    """One rule on one line; without its labels where they are shown elsewhere."""
    shown = f" labels={_labels(item.labels)}" if labels and item.labels else ""
    if isinstance(item, Composite):
        body = f" {item.operator} ".join(f"({print_rule(part)})" for part in item.parts)
        return f"({body}){shown}" if shown else body
    words = [item.type]
    for parameter in item.parameters:
        words += [parameter.connector] if parameter.connector else []
        words.append(_name_or_text(parameter.value))
    if item.condition:
        words.append(print_condition(item.condition))
    if item.where:
        words.append(f"where {_name_or_text(item.where)}")
    words += [f"with {tag.name} {print_condition(tag.condition)}" for tag in item.tags]
    return " ".join(words) + shown


def print_condition(condition: Condition) -> str:
    match condition:
        case Comparison(operator, operand):
            return f"{operator} {print_operand(operand)}"
        case Between(low, high, negated):
            return f"{_not(negated)}between {print_operand(low)} and {print_operand(high)}"
        case Membership(values, negated):
            return f"{_not(negated)}in {_name_or_text(values) if isinstance(values, Variable) else _list(values)}"
        case Matches(pattern, negated):
            return f"{_not(negated)}matches {_name_or_text(pattern)}"


def print_operand(operand: Operand) -> str:
    match operand:
        case Text():
            return _quoted(operand.value)
        case Keyword():
            return operand.value
        case Arithmetic(_, Call("now"), _):
            return f"({_expression(operand)})"  # the parentheses AWS wants around date arithmetic
        case _:
            return _expression(operand)


def _expression(expression: Expression, *, inside: bool = False) -> str:
    match expression:
        case Number(value):
            return f"{value:f}"
        case Duration(amount, unit) | Size(amount, unit):
            return f"{amount:f} {unit}"
        case Call(name, arguments):
            return f"{name}({', '.join(_expression(argument) for argument in arguments)})"
        case Negative(operand):
            text = _expression(operand, inside=True)
            return f"-({text})" if isinstance(operand, Negative) else f"-{text}"
        case Variable(name):
            return f"${name}"
        case Arithmetic(operator, left, right):
            text = f"{_expression(left, inside=True)} {operator} {_expression(right, inside=True)}"
            return f"({text})" if inside else text


def _section(heading: str, rules: list[str]) -> str:
    return f"{heading} = [\n" + ",\n".join(f"    {rule}" for rule in rules) + "\n]" if rules else f"{heading} = []"


def _labels(labels: Labels) -> str:
    return "[" + ", ".join(f"{_quoted(key)}={_quoted(value)}" for key, value in labels) + "]"


def _list(values: tuple[Operand, ...]) -> str:
    return "[" + ", ".join(print_operand(value) for value in values) + "]"


def _definition(value: Operand | tuple[Operand, ...]) -> str:
    return _list(value) if isinstance(value, tuple) else print_operand(value)


def _dictionary_value(value: str | tuple[str, ...]) -> str:
    return _quoted(value) if isinstance(value, str) else "[" + ", ".join(_quoted(one) for one in value) + "]"


def _name_or_text(value: Text | Variable) -> str:
    return f"${value.name}" if isinstance(value, Variable) else _quoted(value.value)


def _not(negated: bool) -> str:
    return "not " if negated else ""


def _quoted(text: str) -> str:
    """Backslashes are doubled only where they would otherwise escape: a regular expression's \\d stays as written."""
    return '"' + re.sub(r'\\(?=[\\"]|$)', r"\\\\", text).replace('"', '\\"') + '"'
