"""A recipe's steps in plain words; steps that do the same to several columns in one sentence."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from city_platform.catalog.handbook.text import code, joined
from city_platform.cleaning.conditions import CONDITIONS, Condition, choices
from city_platform.cleaning.operation import Kind
from city_platform.cleaning.recipe import Step

_RENAME, _TYPE = "RENAME", "CHANGE_DATA_TYPE"
_CLEANERS = {"customValue": "removeCustomValue", "customCharacters": "removeCustomCharacters"}


def steps_in_words(steps: Sequence[Step]) -> Iterator[str]:
    """In the recipe's order. Neighbours that differ in their column alone are said together."""
    for _, group in groupby(steps, key=_sameness):
        alike = list(group)
        first = alike[0]
        if first.operation.name == _RENAME:
            renamed = (f"{code(one.parameters['sourceColumn'])} as {code(_target(one))}" for one in alike)
            yield f"Name {joined(renamed)}."
            continue
        if first.operation.name == _TYPE:
            types = (f"{code(one.parameters['sourceColumn'])} {one.parameters['columnDataType']}" for one in alike)
            yield f"Give types: {joined(types)}. A value that has not its column's is kept apart, with the reason."
            continue
        said = _said(first) + _where(first)
        columns = list(dict.fromkeys(name for one in alike for name in one.operation.subjects(one.parameters)))
        yield f"{joined(map(code, columns))}: {said}." if columns else f"{said[:1].upper()}{said[1:]}."


def _sameness(step: Step) -> object:
    """Equal for steps that one sentence can say."""
    if step.operation.name in {_RENAME, _TYPE} and not step.conditions:
        return step.operation.name
    own = step.parameters.get("sourceColumn")
    rest = tuple(sorted((name, value) for name, value in step.parameters.items() if name != "sourceColumn"))
    conditions = tuple((one.name, one.value, None if one.column == own else one.column) for one in step.conditions)
    return step.operation.name, rest, conditions, own is None


def _said(step: Step) -> str:
    special = _SPECIAL.get(step.operation.name)
    if special is not None:
        return special(step)
    said = step.operation.documentation.rstrip(".")
    given = (
        f"{one.documentation}: {code(step.parameters[one.name])}"
        for one in step.operation.parameters
        if one.name in step.parameters and one.name not in {"sourceColumn", "sourceColumns"}
    )
    details = "; ".join(given)
    return f"{said[:1].lower()}{said[1:]}" + (f" ({details})" if details else "")


def _removed(step: Step) -> str:
    """REMOVE_COMBINED: what its flags name."""
    parameters = step.parameters
    texts = {flag: parameters[name] for name, flag in _CLEANERS.items() if name in parameters}
    flags = [one for one in step.operation.parameters if one.kind is Kind.FLAG and parameters.get(one.name) == "true"]
    collapses = [one.documentation for one in flags if one.name == "collapseConsecutiveWhitespace"]
    removes = []
    for one in flags:
        if one.name == "removeCustomValue":
            removes.append(f"every {code(texts[one.name])}")
        elif one.name == "removeCustomCharacters":
            removes.append(f"each of the characters {code(texts[one.name])}")
        elif one.name != "collapseConsecutiveWhitespace":
            removes.append(one.documentation)
    parts = [f"remove {' and '.join(removes)}"] if removes else []
    return ", and ".join([*parts, *collapses])


def _replaced(step: Step) -> str:
    value = step.parameters.get("value", "")
    return f"what matches {code(step.parameters['pattern'])} becomes {code(value) if value else 'nothing'}"


def _target(step: Step) -> str:
    return step.parameters["targetColumn"]


def _where(step: Step) -> str:
    own = step.parameters.get("sourceColumn")
    conditions = [_condition(one, own) for one in step.conditions]
    return f", where {' and '.join(conditions)}" if conditions else ""


def _condition(condition: Condition, own: str | None) -> str:
    subject = "it" if condition.column == own else code(condition.column)
    texts = choices(condition.value) if condition.value else ()
    values = joined(map(code, texts))
    if condition.name == "IS" and len(texts) == 1:
        return f"{subject} is {values}"
    return f"{subject} {CONDITIONS[condition.name].documentation} {values}".rstrip()


_SPECIAL: Mapping[str, Callable[[Step], str]] = {
    "REMOVE_COMBINED": _removed,
    "REPLACE_TEXT": _replaced,
}
