"""Rules in words that somebody who has never written one understands."""

from decimal import Decimal

from city_platform.quality.model import (
    Arithmetic,
    Between,
    Call,
    Comparison,
    Composite,
    Condition,
    Item,
    Keyword,
    Matches,
    Membership,
    Number,
    Operand,
    Rule,
    Text,
    Variable,
)
from city_platform.quality.printer import print_operand
from city_platform.quality.results import Outcome
from city_platform.quality.rule_types import RULE_TYPES

_COMPARED = {
    "=": "exactly",
    "!=": "anything but",
    ">": "more than",
    ">=": "at least",
    "<": "less than",
    "<=": "at most",
}
_KEYWORDS = {Keyword.NULL: "missing", Keyword.EMPTY: "empty", Keyword.WHITESPACES_ONLY: "blank"}
_SHARES = {"completeness", "uniqueness", "unique_value_ratio", "compliance", "complete_and_unique"} | {
    "matching_column_names"
}


def explain(item: Item) -> str:
    """One sentence that says what a rule demands."""
    return _sentence(item) + "."


def outcome_sentence(
    outcome: Outcome, *, metric_name: str, metric: float | None, checked: int, failed: int | None, reason: str
) -> str:
    """One sentence that says what came out."""
    if outcome is Outcome.ERROR:
        return f"It could not be checked: {reason}."
    if outcome is Outcome.WARN:
        return "There was nothing to check" + (f": {reason}." if reason else ".")
    verdict = "It holds" if outcome is Outcome.PASS else "It does not hold"
    if reason:
        return f"{verdict}: {reason}."
    if failed is not None:
        share = f" ({metric:.2%})" if metric is not None and metric_name in _SHARES else ""
        return f"{verdict}: {checked - failed:,} of {checked:,} rows are as they should be{share}."
    if metric is None:
        return f"{verdict}."
    return f"{verdict}: the figure is {metric:.2%}." if metric_name in _SHARES else f"{verdict}: it is {metric:,.6g}."


def _sentence(item: Item) -> str:
    if isinstance(item, Composite):
        joined = ", and " if item.operator == "and" else ", or "
        parts = [_sentence(part) for part in item.parts]
        return joined.join([parts[0], *(part[0].lower() + part[1:] for part in parts[1:])])
    sentence = _demand(item)
    if item.where is not None:
        sentence += f", looking only at rows where {_words(item.where)}"
    threshold = item.tag("threshold")
    if threshold is not None:
        sentence += f"; the share of rows that comply has to be {_amount(threshold, share=True)}"
    return sentence


# {first} is the first parameter, {listed} all of them, {together} the same as one key, {amount} and {share} the
# condition as a number or as a share of rows.
_DEMANDS = {
    "RowCount": "The number of rows has to be {amount}",
    "ColumnCount": "The number of columns has to be {amount}",
    "ColumnExists": "The column {first} has to exist",
    "IsComplete": "Every row needs a value in {first}",
    "Completeness": "The share of rows with a value in {first} has to be {share}",
    "IsUnique": "No two rows may have the same value in {together}",
    "Uniqueness": "The share of rows whose value in {together} occurs only once has to be {share}",
    "UniqueValueRatio": "The share of values in {together} that occur only once has to be {share}",
    "DistinctValuesCount": "The number of different values in {together} has to be {amount}",
    "IsPrimaryKey": "Every row has to be identified by {together}: always present and never repeated",
    "ColumnValues": "Every value in {first} has to be {values}",
    "ColumnLength": "The length of every value in {first}, in characters, has to be {amount}",
    "ColumnDataType": "Every value in {first} has to be {type}",
    "ColumnNamesMatchPattern": "The name of every column has to match the pattern {first}",
    "DataFreshness": "The age of every row by {first} has to be {amount}",
    "CustomSql": "The result of the query has to be {amount}: {first}",
    "Mean": "The average of {first} has to be {amount}",
    "Sum": "The sum of {first} has to be {amount}",
    "StandardDeviation": "The spread (standard deviation) of {first} has to be {amount}",
    "Entropy": "The variety (entropy) of the values in {first} has to be {amount}",
    "ColumnCorrelation": "The correlation between {listed} has to be {amount}",
}


def _demand(rule: Rule) -> str:
    names = [_words(parameter.value) for parameter in rule.parameters]
    listed = " and ".join(names) or "the dataset"
    amount = _amount(rule.condition, share=False) if rule.condition else ""
    if rule.type == "CustomSql" and rule.condition is None:
        return f"Every row has to be among those the query returns: {listed}"
    if rule.type not in _DEMANDS:
        known = "" if rule.type in RULE_TYPES else ", which is no known rule type"
        return f"{rule.type} {listed}{known}{f' has to be {amount}' if amount else ''}"
    return _DEMANDS[rule.type].format(
        first=names[0] if names else "the dataset",
        listed=listed,
        together=f"the combination of {listed}" if len(names) > 1 else listed,
        amount=amount,
        share=_amount(rule.condition, share=True) if rule.condition else "",
        values=_values(rule.condition),
        type=_type(rule.condition),
    )


def _words(value: Text | Variable) -> str:
    return value.value if isinstance(value, Text) else f"${value.name}"


def _amount(condition: Condition, *, share: bool) -> str:
    def said(operand: Operand) -> str:
        return _figure(operand, share=share)

    match condition:
        case Comparison(operator, operand):
            return f"{_COMPARED[operator]} {said(operand)}"
        case Between(low, high, negated):
            if negated:
                return f"{said(low)} or less, or {said(high)} or more"
            return f"more than {said(low)} and less than {said(high)}"
        case Membership(tuple() as values, negated):
            return f"{'none' if negated else 'one'} of {', '.join(said(one) for one in values)}"
        case Membership(_, negated):
            return f"{'none' if negated else 'one'} of a list"
        case Matches(pattern, negated):
            return f"{'unlike' if negated else 'of'} the form {_words(pattern)}"


def _values(condition: Condition | None) -> str:
    match condition:
        case Comparison("=", Keyword() as keyword):
            return _KEYWORDS[keyword]
        case Comparison("!=", Keyword() as keyword):
            return f"anything but {_KEYWORDS[keyword]}"
        case Comparison(operator, operand) if operator not in {"=", "!="} and _is_date(operand):
            words = {">": "after", ">=": "on or after", "<": "before", "<=": "on or before"}
            return f"{words[operator]} {_figure(operand, share=False)}"
        case None:
            return "checked"
        case _:
            return _amount(condition, share=False)


def _type(condition: Condition | None) -> str:
    match condition:
        case Comparison(operator, Text(name)):
            return f"{'' if operator == '=' else 'anything but '}a value of the type {name}"
        case _:
            return "of a given type"


def _is_date(operand: Operand) -> bool:
    match operand:
        case Text() | Call("now"):
            return True
        case Arithmetic(_, left, _):
            return _is_date(left)
        case _:
            return False


def _figure(operand: Operand, *, share: bool) -> str:
    match operand:
        case Number(value):
            as_share = share and Decimal(0) <= value <= Decimal(1)
            return f"{(value * 100).normalize():f} %" if as_share else f"{value:,f}"
        case Text(value):
            return value
        case Keyword():
            return _KEYWORDS[operand]
        case Arithmetic(("+" | "-") as operator, Call("now"), right):
            return f"{print_operand(right)} {'before' if operator == '-' else 'after'} today"
        case _:
            return "today" if isinstance(operand, Call) and operand.name == "now" else print_operand(operand)
