"""A dataset's recipe: reading `recipe.json` and checking it against the contract.

The file is what DataBrew itself takes and gives (`aws databrew create-recipe --steps file://recipe.json`): a list of
steps, each an Action with an Operation and its Parameters, all of them texts, and perhaps ConditionExpressions.
A recipe has no version of its own: DataBrew counts 1.0, 2.0 as it publishes, so here the `hash` of its steps is.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from city_platform.cleaning.conditions import Condition
from city_platform.cleaning.operations import DATABREW_TYPES, Effect, Operation
from city_platform.cleaning.positioned import read_json
from city_platform.cleaning.reading import Reading, StepReader
from city_platform.contracts.model import Column, Contract
from city_platform.errors import Finding

MOST_STEPS = 100  # DataBrew's limit of transformations in a recipe


@dataclass(frozen=True, slots=True)
class Step:
    """One step, checked: its operation is known, its parameters are complete, its columns exist."""

    position: int  # from 1
    operation: Operation
    parameters: Mapping[str, str]
    conditions: tuple[Condition, ...]
    line: int

    @property
    def description(self) -> str:
        """What a person reads where a row was removed by this step."""
        column = self.parameters.get("sourceColumn")
        conditions = " and ".join(f"{one.column} {one.name} {one.value}".strip() for one in self.conditions)
        return (
            f"recipe step {self.position}, {self.operation.name}"
            + (f" on {column}" if column else "")
            + (f", where {conditions}" if conditions else "")
        )


@dataclass(frozen=True, slots=True)
class Recipe:
    """The steps in order. `hash` is the sha256 of what they say, whatever the file's white space, in hex."""

    steps: tuple[Step, ...]
    hash: str


def parse_recipe(text: str, file: str, contract: Contract) -> tuple[Recipe | None, list[Finding]]:
    """The recipe, or None and every mistake of the file, each with its line and what to write instead."""
    document, findings = read_json(text, file)
    if document is None:
        return None, findings
    if not isinstance(document.value, list):
        problem = f"a recipe is a list of steps, not {document.kind}"
        remedy = 'write [{"Action": {"Operation": ..., "Parameters": {...}}}]'
        return None, [*findings, Finding(file, document.line, document.column, problem, remedy)]
    columns = {column.source_name: False for column in contract.columns}  # whether it has its type already
    types: dict[str, Reading] = {}
    steps: list[Step] = []
    for position, node in enumerate(document.value, start=1):
        reader = StepReader(file, columns)
        reading = reader.read(node)
        if reading is not None and not reader.findings:
            _apply(reading, columns, types)
            steps.append(_step(position, reading))
        elif reading is not None:
            _apply_roughly(reading, columns, types)
        findings.extend(reader.findings)
    if len(document.value) > MOST_STEPS:
        extra = document.value[MOST_STEPS]
        problem = f"{len(document.value)} steps; DataBrew takes at most {MOST_STEPS}"
        findings.append(Finding(file, extra.line, extra.column, problem, "join steps or drop some"))
    findings.extend(_against_contract(file, document.line, contract, columns, types))
    if findings:
        return None, sorted(set(findings))
    return Recipe(tuple(steps), _hash(steps)), []


def _step(position: int, reading: Reading) -> Step:
    return Step(position, reading.operation, dict(reading.parameters), tuple(reading.conditions), reading.line)


def _hash(steps: Sequence[Step]) -> str:
    said = [
        [
            step.operation.name,
            sorted(step.parameters.items()),
            [[one.name, one.column, one.value] for one in step.conditions],
        ]
        for step in steps
    ]
    return hashlib.sha256(json.dumps(said, ensure_ascii=False).encode()).hexdigest()


def _apply(reading: Reading, columns: dict[str, bool], types: dict[str, Reading]) -> None:
    """What a step does to the names and types the next step sees."""
    source, target = reading.parameters.get("sourceColumn", ""), reading.parameters.get("targetColumn", "")
    match reading.operation.effect:
        case Effect.RENAMES:
            columns[target] = columns.pop(source)
            if source in types:
                types[target] = types.pop(source)
        case Effect.DELETES:
            del columns[source]
            types.pop(source, None)
        case Effect.DERIVES:
            columns[target] = False
        case Effect.TYPES:
            columns[source] = True
            types[source] = reading


def _apply_roughly(reading: Reading, columns: dict[str, bool], types: dict[str, Reading]) -> None:
    """The same for a step with mistakes, where it is clear enough: one mistake must not show up as ten."""
    source, target = reading.parameters.get("sourceColumn"), reading.parameters.get("targetColumn")
    if reading.operation.effect is Effect.DERIVES and target:
        columns.setdefault(target, False)
    elif source in columns and (target or reading.operation.effect is not Effect.RENAMES):
        if reading.operation.effect is Effect.TYPES:
            columns[source] = True
            types.setdefault(source, reading)
        elif reading.operation.effect is Effect.RENAMES and target not in columns:
            _apply(reading, columns, types)
    elif reading.operation.effect is Effect.RENAMES and target:
        columns.setdefault(target, False)


def databrew_type(column: Column) -> str:
    """DataBrew's name of the contract column's type."""
    return DATABREW_TYPES[column.sql_type.upper().partition("(")[0].strip()]


def _against_contract(
    file: str, line: int, contract: Contract, columns: Mapping[str, bool], types: Mapping[str, Reading]
) -> list[Finding]:
    """Every contract column leaves the recipe under its cleaned name and with its type."""
    findings = []
    for column in contract.columns:
        wanted = databrew_type(column)
        if column.name not in columns:
            still = column.source_name if column.source_name in columns else "the column that holds it"
            problem = f"no column {column.name} comes out of the recipe, the contract has one (line {column.line})"
            remedy = _add("RENAME", sourceColumn=still, targetColumn=column.name)
            findings.append(Finding(file, line, 1, problem, remedy))
        elif column.name not in types:
            if wanted != "string":
                problem = f"{column.name} is text at the end of the recipe, the contract says {column.sql_type}"
                remedy = _add("CHANGE_DATA_TYPE", sourceColumn=column.name, columnDataType=wanted)
                findings.append(Finding(file, line, 1, problem, remedy))
        else:
            given = types[column.name]
            asked = given.parameters.get("columnDataType")
            if asked in DATABREW_TYPES.values() and asked != wanted:
                problem = f"{column.name} becomes {asked}, the contract says {column.sql_type}"
                place = given.places.get("columnDataType", (given.line, given.column))
                findings.append(Finding(file, *place, problem, f'write "columnDataType": "{wanted}"'))
    return findings


def _add(operation: str, **parameters: str) -> str:
    return f"add the step {json.dumps({'Action': {'Operation': operation, 'Parameters': parameters}})}"
