"""A recipe as a job on one file: any columns, no contract, and steps that make other rows of the rows.

A job is a row of stages. Each ends with a step that reshapes the table, the last with the recipe. What a PIVOT makes
depends on the data, so steps behind one are read when its columns are known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from city_platform.cleaning.operation import Effect
from city_platform.cleaning.operations import OPERATIONS
from city_platform.cleaning.positioned import Node, read_json
from city_platform.cleaning.reading import Reading, StepReader
from city_platform.cleaning.recipe import (
    Step,
    apply,
    apply_roughly,
    checked_step,
    databrew_type,
    step_nodes,
    with_types,
)
from city_platform.cleaning.steps import reshaping
from city_platform.cleaning.values import SQL_TYPES
from city_platform.errors import Finding

JOB_OPERATIONS = {**OPERATIONS, **{operation.name: operation for operation in reshaping.OPERATIONS}}
_RESERVED = ("_row", "_source", "_untyped", "_removed")  # what stands beside the columns while the job runs


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps that keep rows apart, and the one that makes others of them, if any does."""

    steps: tuple[Step, ...]
    columns: tuple[str, ...]  # before the first step, all text
    outputs: Mapping[str, str]  # after the last step, with their SQL types, in their order
    reshaping: Step | None


def read_job(text: str, file: str) -> tuple[Sequence[Node], list[Finding]]:
    """The steps, as they stand in a recipe or in one of its published versions, and what is wrong as a whole."""
    document, findings = read_json(text, file)
    if document is not None and isinstance(document.value, dict) and "Steps" in document.value:
        document = document.value["Steps"]
    if document is None:
        return (), findings
    nodes, wrong = step_nodes(document, file)
    return nodes, [*findings, *wrong]


def read_stages(
    nodes: Sequence[Node], start: int, file: str, columns: Mapping[str, str]
) -> tuple[list[Stage], list[Finding]]:
    """The stages from step `start` (from 0) to the next PIVOT or the end, and every mistake in them.

    `columns` are those at that point and the SQL types they were given. A type given before a step that reshapes is
    kept until a later step rewrites the column's text or gives it another.
    """
    stages: list[Stage] = []
    findings: list[Finding] = []
    stage = _Stage(columns)
    for position, node in enumerate(nodes[start:], start + 1):
        reader = StepReader(file, stage.typed, JOB_OPERATIONS)
        reading = reader.read(node)
        findings += reader.findings
        if reading is None:
            continue
        if reading.operation.effect is not Effect.RESHAPES:
            stage.add(position, reading, clean=not reader.findings)
            continue
        if reader.findings:
            return stages, findings  # what columns come after it is anybody's guess
        findings += stage.ambiguous(file, reading.line)
        step = checked_step(position, reading)
        stages.append(stage.finished(step))
        if step.operation.name == "PIVOT" or findings:
            return stages, findings
        after = reshaping.columns_after(step.operation.name, step.parameters, stages[-1].outputs)
        twice = reshaping.repeated([name for name, _ in after])
        if twice:
            problem = f"{step.operation.name} makes a column twice: {', '.join(twice)}"
            return stages, [*findings, Finding(file, reading.line, reading.column, problem, "give it another name")]
        stage = _Stage(dict(after))
    findings += stage.ambiguous(file, nodes[-1].line if nodes else 1)
    stages.append(stage.finished(None))
    return stages, findings


class _Stage:
    """A stage while it is read."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        self.columns = tuple(columns)
        self.typed = dict.fromkeys(columns, False)
        self.kept = {name: sql_type for name, sql_type in columns.items() if sql_type != "VARCHAR"}
        self.types: dict[str, Reading] = {}
        self.steps: list[Step] = []

    def add(self, position: int, reading: Reading, *, clean: bool) -> None:
        if not clean:
            apply_roughly(reading, self.typed, self.types)
            return
        apply(reading, self.typed, self.types)
        source, target = (reading.parameters.get(name, "") for name in ("sourceColumn", "targetColumn"))
        if reading.operation.effect is Effect.RENAMES and source in self.kept:
            self.kept[target] = self.kept.pop(source)
        elif reading.operation.effect in {Effect.REWRITES, Effect.DELETES}:
            for name in reading.operation.subjects(reading.parameters):
                self.kept.pop(name, None)
        self.steps.append(checked_step(position, reading))

    def finished(self, last: Step | None) -> Stage:
        given = {name: SQL_TYPES[reading.parameters["columnDataType"]] for name, reading in self.types.items()}
        outputs = {name: given.get(name, self.kept.get(name, "VARCHAR")) for name in self.typed}
        steps = with_types(self.steps, {name: databrew_type(sql_type) for name, sql_type in outputs.items()})
        return Stage(tuple(steps), self.columns, outputs, last)

    def ambiguous(self, file: str, line: int) -> list[Finding]:
        """Columns whose names the engine cannot tell apart, or which are its own."""
        names = [*reshaping.repeated(list(self.typed)), *(one for one in self.typed if one.casefold() in _RESERVED)]
        if not names:
            return []
        problem = f"columns named as another one or as the platform's own: {', '.join(names)}"
        return [Finding(file, line, 1, problem, "rename them; upper and lower case are the same")]
