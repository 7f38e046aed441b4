"""Checks a contract against the Open Data Contract Standard's own JSON schema, in words a steward can act on.

The schema comes with the package `open-data-contract-standard` (Bitol, Apache 2.0), so its version is the one the
lock file pins.
"""

import difflib
import importlib.resources
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import jsonschema_rs
from jsonschema import Draft201909Validator
from jsonschema.exceptions import ValidationError

from city_platform.contracts.yaml_lines import Document, Path, Place
from city_platform.errors import Finding

_TYPE_WORDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping of keys to values",
    "null": "nothing",
}
_SHOWN = 60  # characters of a value in a message
_NAMES_QUOTED = re.compile(r"'([^']*)'")


@cache
def schema() -> Mapping[str, Any]:
    """The standard's JSON schema."""
    text = importlib.resources.files("open_data_contract_standard").joinpath("schema.json").read_text("utf-8")
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded


@cache
def _validator() -> Draft201909Validator:
    return Draft201909Validator(schema())


@cache
def _quick_validator() -> jsonschema_rs.Draft201909Validator:
    return jsonschema_rs.Draft201909Validator(dict(schema()))


def _fits(value: object) -> bool:
    """Whether the value fits the standard, in a hundredth of the time that explaining takes."""
    try:
        return _quick_validator().is_valid(value)
    except ValueError:  # a key that is no text: not JSON, so for the other one to explain
        return False


def check_standard(document: Document, file: str) -> list[Finding]:
    """Every way in which the document departs from the standard, each at its line."""
    if _fits(document.value):
        return []
    errors = [leaf for error in _validator().iter_errors(document.value) for leaf in _leaves(error, ())]
    findings: dict[tuple[Place, str], Finding] = {}
    broken = {path for path, error in errors if error.validator != "unevaluatedProperties"}
    for path, error in errors:
        for place, problem, remedy in _explain(document, path, error, broken):
            findings.setdefault((place, problem), Finding(file, *place, problem, remedy))
    return sorted(findings.values())


def closest(name: str, allowed: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The allowed name that looks most like `name`, whatever the case; None if nothing looks like it."""
    folded = {one.casefold(): one for one in allowed}
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=cutoff)
    return folded[found[0]] if found else None


def instead(name: str, allowed: Iterable[str]) -> str:
    """What to write instead: the closest allowed name, or all of them."""
    listed = list(allowed)
    guess = closest(name, listed)
    return f"write '{guess}'" if guess else "write one of: " + ", ".join(listed)


def shown(value: object) -> str:
    """A value of the file as a message shows it: short, on one line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _leaves(error: ValidationError, base: Path) -> Iterator[tuple[Path, ValidationError]]:
    """The error itself; of alternatives the errors of the one that was probably meant."""
    path = (*base, *error.relative_path)
    branches: dict[object, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.relative_schema_path[0], []).append(inner)
    meant = [
        inners
        for inners in branches.values()
        if not any(one.validator == "type" and not one.relative_path for one in inners)
    ]
    if error.validator not in {"anyOf", "oneOf"} or not meant:
        yield path, error
        return
    for inner in min(meant, key=len):
        yield from _leaves(inner, path)


def _explain(
    document: Document, path: Path, error: ValidationError, broken: set[Path]
) -> Iterator[tuple[Place, str, str]]:
    """Place, problem and remedy of each mistake behind one schema error."""
    value: Any = error.instance
    wanted: Any = error.validator_value
    where = _where(path)
    place = document.place(path)
    match error.validator:
        case "unevaluatedProperties" | "additionalProperties" if isinstance(value, dict):
            yield from _unknown_keys(document, path, error, broken)
        case "required":
            for missing in (name for name in wanted if name not in value):
                yield place, f"{where} has no '{missing}'", f"add '{missing}:'{_meaning(error, missing)}"
        case "enum":
            listed = ", ".join(str(one) for one in wanted)
            guess = closest(value, [str(one) for one in wanted]) if isinstance(value, str) else None
            remedy = f"write '{guess}'; allowed: {listed}" if guess and len(wanted) > 1 else f"write one of: {listed}"
            yield place, f"{where} is {shown(value)}, which the standard does not know", remedy
        case "type":
            types = [wanted] if isinstance(wanted, str) else list(wanted)
            words = " or ".join(_TYPE_WORDS.get(one, one) for one in types)
            hint = ", in quotes" if types == ["string"] and isinstance(value, int | float) else ""
            yield place, f"{where} is {shown(value)}", f"write {words}{hint}"
        case "anyOf" | "oneOf":
            words = " or ".join(_TYPE_WORDS[one] for one in _branch_types(error) if one in _TYPE_WORDS)
            yield place, f"{where} is {shown(value)}", f"write {words or 'what the standard describes here'}"
        case "pattern":
            yield place, f"{where} is {shown(value)}", f"write a text that matches {wanted}"
        case _:
            yield place, f"{where}: {error.message[:200]}", f"the standard says: {error.validator} {shown(wanted)}"


def _unknown_keys(
    document: Document, path: Path, error: ValidationError, broken: set[Path]
) -> Iterator[tuple[Place, str, str]]:
    known = _known_properties(_schema_of(error))
    present: dict[str, Any] = error.instance if isinstance(error.instance, dict) else {}
    unknown = [key for key in present if key not in known]
    if not unknown and not any(one[: len(path)] == path for one in broken):
        # Known in another place of the standard: `map` without `logicalType: map`, for one.
        unknown = [key for key in _NAMES_QUOTED.findall(error.message) if key in present]
    for key in unknown:
        place = document.key_place((*path, key))
        guess = closest(key, known - set(present))
        remedy = f"write '{guess}'" if guess else "remove it, or move it below 'customProperties'"
        yield place, f"{_where(path)} has '{key}', which the standard does not know here", remedy


def _known_properties(part: Mapping[str, Any]) -> set[str]:
    """Every property name that a part of the schema mentions for its own object."""
    names = set(part.get("properties", ()))
    if "$ref" in part:
        names |= _known_properties(_resolve(part["$ref"]))
    for keyword in ("allOf", "anyOf", "oneOf"):
        for inner in part.get(keyword, ()):
            names |= _known_properties(inner)
    for keyword in ("then", "else"):
        if keyword in part:
            names |= _known_properties(part[keyword])
    return names


def _resolve(reference: str) -> Mapping[str, Any]:
    part: Any = schema()
    for step in reference.removeprefix("#/").split("/"):
        part = part[step]
    resolved: Mapping[str, Any] = part
    return resolved


def _schema_of(error: ValidationError) -> Mapping[str, Any]:
    """The part of the schema that the error is about; `true` and `false` are schemas without keywords."""
    return error.schema if isinstance(error.schema, Mapping) else {}


def _meaning(error: ValidationError, name: str) -> str:
    """What the standard says a property is for."""
    part = _schema_of(error)
    for known in (part, _resolve(part["$ref"])) if "$ref" in part else (part,):
        description = known.get("properties", {}).get(name, {}).get("description")
        if description:
            return f" ({str(description).split('. ')[0].rstrip('.')})"
    return ""


def _branch_types(error: ValidationError) -> list[str]:
    types = [one.validator_value for one in error.context or () if one.validator == "type" and not one.relative_path]
    return list(dict.fromkeys(one for one in types if isinstance(one, str)))


def _where(path: Path) -> str:
    """The path in words: `schema[0].properties[3].name`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f"{'.' if text else ''}{step}"
    return text or "the contract"
