"""A dataset's recipe: reading `recipe.json` and checking it against the contract.

The file is what DataBrew itself takes and gives (`aws databrew create-recipe --steps file://recipe.json`): a list of
steps, each an Action with an Operation and its Parameters, all of them texts, and perhaps ConditionExpressions.
A recipe has no version of its own: DataBrew counts 1.0, 2.0 as it publishes (see `versions`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from city_platform.cleaning.conditions import Condition
from city_platform.cleaning.operation import Effect, Operation
from city_platform.cleaning.positioned import Node, read_json
from city_platform.cleaning.reading import Reading, StepReader
from city_platform.cleaning.values import DATABREW_TYPES
from city_platform.cleaning.versions import Steps, hash_of
from city_platform.contracts.model import Contract
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
    """The steps in order. `written` is how they stand in the file, `hash` tells what they say from any other recipe."""

    steps: tuple[Step, ...]
    hash: str
    written: Steps

    @property
    def needs_secret(self) -> bool:
        """Whether some step works under the dataset's secret."""
        return any(step.operation.needs_secret for step in self.steps)

    @property
    def reads_other_rows(self) -> bool:
        """Whether some step looks at more than the row it changes."""
        return any(step.operation.reads_other_rows for step in self.steps)


def parse_recipe(text: str, file: str, contract: Contract) -> tuple[Recipe | None, list[Finding]]:
    """The recipe, or None and every mistake of the file, each with its line and what to write instead."""
    document, findings = read_json(text, file)
    if document is None:
        return None, findings
    nodes, wrong = step_nodes(document, file)
    if not isinstance(document.value, list):
        return None, [*findings, *wrong]
    columns = {column.source_name: False for column in contract.columns}  # whether it has its type already
    types: dict[str, Reading] = {}
    steps: list[Step] = []
    for position, node in enumerate(nodes, start=1):
        reader = StepReader(file, columns)
        reading = reader.read(node)
        if reading is not None and not reader.findings:
            apply(reading, columns, types)
            steps.append(checked_step(position, reading))
        elif reading is not None:
            apply_roughly(reading, columns, types)
        findings.extend(reader.findings)
    findings.extend(wrong)
    findings.extend(_against_contract(file, document.line, contract, columns, types))
    steps = with_types(steps, {column.name: databrew_type(column.sql_type) for column in contract.columns})
    moves = [step for step in steps if step.operation.effect is Effect.MOVES]
    if moves and not findings:
        findings.extend(_order(file, moves[-1].line, contract, columns))
    if findings:
        return None, sorted(set(findings))
    written = json.loads(text.removeprefix("\ufeff"))
    return Recipe(tuple(steps), hash_of(written), written), []


def step_nodes(document: Node, file: str) -> tuple[Sequence[Node], list[Finding]]:
    """The document's steps, and what is wrong with their list."""
    if not isinstance(document.value, list):
        problem = f"a recipe is a list of steps, not {document.kind}"
        remedy = 'write [{"Action": {"Operation": ..., "Parameters": {...}}}]'
        return (), [Finding(file, document.line, document.column, problem, remedy)]
    if len(document.value) > MOST_STEPS:
        extra = document.value[MOST_STEPS]
        problem = f"{len(document.value)} steps; DataBrew takes at most {MOST_STEPS}"
        return document.value, [Finding(file, extra.line, extra.column, problem, "join steps or drop some")]
    return document.value, []


def checked_step(position: int, reading: Reading) -> Step:
    """A step that was read without findings."""
    return Step(position, reading.operation, dict(reading.parameters), tuple(reading.conditions), reading.line)


def with_types(steps: Sequence[Step], columns: Mapping[str, str]) -> list[Step]:
    """IS_INVALID learns the type that its column has when the steps are done; one of no type is text.

    `columns` are DataBrew's types of the columns at the end.
    """
    types = dict(columns)
    found: list[Step] = []
    for step in reversed(steps):
        for name in step.operation.created(step.parameters):
            became = types.pop(name, "string")
            if step.operation.effect is Effect.RENAMES:
                types[step.parameters["sourceColumn"]] = became
        conditions = tuple(
            replace(one, value=types.get(one.column, "string")) if one.name == "IS_INVALID" else one
            for one in step.conditions
        )
        found.append(replace(step, conditions=conditions))
    return found[::-1]


def apply(reading: Reading, columns: dict[str, bool], types: dict[str, Reading]) -> None:
    """What a step does to the names and types the next step sees."""
    operation, parameters = reading.operation, reading.parameters
    source, target = parameters.get("sourceColumn", ""), parameters.get("targetColumn", "")
    match operation.effect:
        case Effect.RENAMES:
            renamed = {target if name == source else name: typed for name, typed in columns.items()}
            columns.clear()
            columns.update(renamed)
            if source in types:
                types[target] = types.pop(source)
        case Effect.DELETES:
            for name in operation.subjects(parameters):
                del columns[name]
                types.pop(name, None)
        case Effect.DERIVES:
            columns.update(dict.fromkeys(operation.created(parameters), False))
        case Effect.MOVES:
            _move(operation.name, parameters, columns)
        case Effect.TYPES:
            columns[source] = True
            types[source] = reading


def _move(how: str, parameters: Mapping[str, str], columns: dict[str, bool]) -> None:
    """Gives a column another place among the others."""
    source, beside = parameters["sourceColumn"], parameters.get("targetColumn", "")
    others = [name for name in columns if name != source]
    places: dict[str, Callable[[], int]] = {
        "MOVE_TO_START": lambda: 0,
        "MOVE_TO_END": lambda: len(others),
        "MOVE_TO_INDEX": lambda: int(parameters["targetIndex"]),
        "MOVE_BEFORE": lambda: others.index(beside),
        "MOVE_AFTER": lambda: others.index(beside) + 1,
    }
    if source == beside:
        return
    others.insert(places[how](), source)
    moved = {name: columns[name] for name in others}
    columns.clear()
    columns.update(moved)


def apply_roughly(reading: Reading, columns: dict[str, bool], types: dict[str, Reading]) -> None:
    """The same for a step with mistakes, where it is clear enough: one mistake must not show up as ten."""
    source, target = reading.parameters.get("sourceColumn"), reading.parameters.get("targetColumn")
    if reading.operation.effect is Effect.DERIVES and target:
        columns.setdefault(target, False)
    elif reading.operation.effect in {Effect.MOVES, Effect.DELETES}:
        return
    elif source in columns and (target or reading.operation.effect is not Effect.RENAMES):
        if reading.operation.effect is Effect.TYPES:
            columns[source] = True
            types.setdefault(source, reading)
        elif reading.operation.effect is Effect.RENAMES and target not in columns:
            apply(reading, columns, types)
    elif reading.operation.effect is Effect.RENAMES and target:
        columns.setdefault(target, False)


def databrew_type(sql_type: str) -> str:
    """DataBrew's name of a column's type."""
    return DATABREW_TYPES[sql_type.upper().partition("(")[0].strip()]


def _against_contract(
    file: str, line: int, contract: Contract, columns: Mapping[str, bool], types: Mapping[str, Reading]
) -> list[Finding]:
    """Every contract column leaves the recipe under its cleaned name and with its type."""
    findings = []
    for column in contract.columns:
        wanted = databrew_type(column.sql_type)
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


def _order(file: str, line: int, contract: Contract, columns: Mapping[str, bool]) -> list[Finding]:
    """The contract orders the columns; a recipe that moves them must come to the same order."""
    wanted = [column.name for column in contract.columns]
    given = [name for name in columns if name in wanted]
    if given == wanted:
        return []
    place = next(number for number, (one, other) in enumerate(zip(given, wanted, strict=True)) if one != other)
    problem = f"the recipe leaves {given[place]} where the contract has {wanted[place]}"
    return [Finding(file, line, 1, problem, "move it there, or leave moving out: the contract orders the columns")]


def _add(operation: str, **parameters: str) -> str:
    return f"add the step {json.dumps({'Action': {'Operation': operation, 'Parameters': parameters}})}"
