"""A recipe step as a reviewable patch, and what it would do to a partition's failed rows. Nothing is applied.

The effect comes from the layers themselves, run with the changed recipe over an overlay of the lake: what a proposal
promises is what it will do.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from city_platform.cleaning.positioned import Node, read_json
from city_platform.cleaning.recipe import Recipe, parse_recipe
from city_platform.datasets import RECIPE, Dataset
from city_platform.errors import Finding, InvalidDefinition
from city_platform.lake.lake import Lake
from city_platform.lake.manifest import Manifest
from city_platform.lake.overlay import OverlayStore
from city_platform.layers import cleaned, quality_checked
from city_platform.layers.gated import gate
from city_platform.layers.platform import Platform
from city_platform.layers.review import shown
from city_platform.ports import ObjectStore
from city_platform.quality.results import RuleResult

CHANGES_SHOWN = 20
MOST_STEP_CHARACTERS = 10_000
_TYPES = "CHANGE_DATA_TYPE"
_STEP = "the step"  # what findings call the text that was given


@dataclass(frozen=True, slots=True)
class Proposal:
    """A recipe with one more step. `patch` is a unified diff for `git apply`; `position` counts steps from 1."""

    recipe: Recipe
    text: str
    patch: str
    position: int


@dataclass(frozen=True, slots=True)
class Change:
    """One value of a failed row, before and after, as texts; of a personal column only that it changes."""

    source: int
    row: int
    column: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Effect:
    """What a proposal does to a partition. Of the rows that fail now, `mended` pass, `gone` are no longer there."""

    gate_before: str
    gate_after: str
    rules: Sequence[tuple[RuleResult, RuleResult | None]]  # those of which it changes outcome, metric or rows
    rows_before: int
    rows_after: int
    failed_before: int
    failed_after: int
    mended: int
    gone: int
    newly_failing: int
    changes: Sequence[Change]

    def to_json(self) -> Mapping[str, Any]:
        told = {name: getattr(self, name) for name in self.__slots__}
        told["rules"] = [
            {"rule": old.rule_id, "before": _told(old), "after": _told(new) if new else None} for old, new in self.rules
        ]
        told["changes"] = [{name: getattr(one, name) for name in Change.__slots__} for one in self.changes]
        return told


def propose(dataset: Dataset, step: str, position: int | None = None) -> Proposal:
    """The dataset's recipe with `step` (one step's JSON) before the step at `position`, from 1.

    Without a position it goes before the one that gives its column a type, else to the end. Raises InvalidDefinition
    with every mistake.
    """
    file = f"{dataset.folder.parent.name}/{dataset.name}/{RECIPE}"
    text = (dataset.folder / RECIPE).read_bytes().decode("utf-8")
    document, _ = read_json(text, file)
    steps = json.loads(text)
    given = _step(step)
    if document is None or not isinstance(document.value, list):
        raise InvalidDefinition(
            [Finding(file, 1, 1, "the recipe is no list of steps", "run: city-platform datasets check")]
        )
    if position is None:
        column = given.get("Action", {}).get("Parameters", {}).get("sourceColumn")
        typed = [
            place
            for place, one in enumerate(steps, start=1)
            if one["Action"]["Operation"] == _TYPES and one["Action"]["Parameters"].get("sourceColumn") == column
        ]
        position = typed[0] if typed else len(steps) + 1
    if not 1 <= position <= len(steps) + 1:
        problem = f"there is no place {position} in a recipe of {len(steps)} steps"
        raise InvalidDefinition([Finding(_STEP, 0, 0, problem, f"name a place from 1 to {len(steps) + 1}")])
    changed = _inserted(text, document.value, json.dumps(given, ensure_ascii=False), position)
    recipe, findings = parse_recipe(changed, file, dataset.contract)
    if recipe is None or findings:
        raise InvalidDefinition(findings)
    return Proposal(recipe, changed, _patch(text, changed, file), position)


def effect_of(platform: Platform, dataset: Dataset, partition: str, proposal: Proposal, upper: ObjectStore) -> Effect:
    """Cleans and judges the partition with the proposed recipe. Writes go to `upper`, none to the lake.

    Raises NotPublished while the partition is not checked.
    """
    lake = platform.lake
    before = lake.require(quality_checked.LAYER, dataset.name, partition)
    tried = replace(platform, spark=None, lake=Lake(OverlayStore(lake.store, upper), platform.clock))
    changed = replace(dataset, recipe=proposal.recipe, recipe_hash=proposal.recipe.hash)
    clean = cleaned.materialize(tried, changed, partition)
    after, _ = quality_checked.materialize(tried, changed, partition)
    old, new = quality_checked.verdict_of(before), quality_checked.verdict_of(after)
    found = {result.rule_id: result for result in new.results} if new else {}
    stands, would_stand = gate(platform, dataset, partition), gate(tried, changed, partition)
    mended, gone, newly_failing, changes = _rows(tried, dataset, before, clean, after)
    return Effect(
        gate_before=stands.word if stands else "-",
        gate_after=would_stand.word if would_stand else "-",
        rules=[
            (result, found.get(result.rule_id))
            for result in (old.results if old else ())
            if _told(result) != _told(found.get(result.rule_id, result))
        ],
        rows_before=before.counts["rows_in"],
        rows_after=after.counts["rows_in"],
        failed_before=before.counts["failed"],
        failed_after=after.counts["failed"],
        mended=mended,
        gone=gone,
        newly_failing=newly_failing,
        changes=changes,
    )


def _step(text: str) -> dict[str, Any]:
    if len(text) > MOST_STEP_CHARACTERS:
        problem = f"more than {MOST_STEP_CHARACTERS:,} characters"
        raise InvalidDefinition([Finding(_STEP, 0, 0, problem, "propose one step")])
    node, findings = read_json(text, _STEP)
    if findings:
        raise InvalidDefinition(findings)
    if node is None or not isinstance(node.value, dict):
        remedy = 'write {"Action": {"Operation": …, "Parameters": {…}}}'
        raise InvalidDefinition([Finding(_STEP, 1, 1, "this is no recipe step", remedy)])
    step: dict[str, Any] = json.loads(text.removeprefix("\ufeff"))
    action = step.get("Action")
    if not isinstance(action, dict) or not isinstance(action.get("Parameters", {}), dict):
        remedy = 'write {"Action": {"Operation": …, "Parameters": {…}}}'
        raise InvalidDefinition([Finding(_STEP, 1, 1, "the step has no Action with Parameters", remedy)])
    return step


def _inserted(text: str, steps: Sequence[Node], step: str, position: int) -> str:
    """The recipe's text with the step on a line of its own, everything else as it was."""
    newline = "\r\n" if "\r\n" in text else "\n"
    if position > len(steps):
        end = text.rindex("]")
        kept = text[:end].rstrip()
        return f"{kept}{',' if steps else ''}{newline}  {step}{newline}{text[end:]}"
    place = steps[position - 1]
    lines = text.splitlines(keepends=True)
    line = lines[place.line - 1]
    indent = line[: place.column - 1]
    lines[place.line - 1] = f"{indent}{step},{newline if indent.isspace() else ' '}{indent if indent.isspace() else ''}"
    lines[place.line - 1] += line[place.column - 1 :]
    return "".join(lines)


def _patch(before: str, after: str, file: str) -> str:
    """A unified diff in git's form."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{file}", f"b/{file}"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _told(result: RuleResult) -> Mapping[str, Any]:
    return {"outcome": result.outcome.value, "metric": result.metric_value, "rows_failed": result.rows_failed}


def _rows(
    platform: Platform, dataset: Dataset, before: Manifest, clean: Manifest, after: Manifest
) -> tuple[int, int, int, Sequence[Change]]:
    """Of the rows that fail before how many pass and how many are gone; how many fail only after; values changed."""
    lake, key = platform.lake, "USING (_source, _row)"
    with platform.engine.session() as session:
        session.view("rows_before", lake.paths(before, "rows"))
        session.view("rows_after", lake.paths(clean, "rows"))
        for name, manifest in (("failed_before", before), ("failed_after", after)):
            if files := lake.paths(manifest, "failed"):
                session.view(name, files)
            else:
                session.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM rows_before LIMIT 0")

        def count(sql: str) -> int:
            return int(session.rows(f"SELECT count(*) FROM {sql}")[0][0])

        values = ", ".join(
            f'struct_pack("column" := {session.dialect.text(column.name)}, '
            f"before := {shown(column, session.dialect, 'b')}, after := {shown(column, session.dialect, 'a')}, "
            f"differs := b.{name} IS DISTINCT FROM a.{name})"
            for column in dataset.contract.columns
            if (name := session.dialect.name(column.name))
        )
        pairs = f"failed_before AS b JOIN rows_after AS a {key}"
        changes = session.rows(
            f"SELECT _source, _row, v.column, v.before, v.after "
            f"FROM (SELECT _source, _row, unnest([{values}]) AS v FROM {pairs}) WHERE v.differs "
            f"ORDER BY _source, _row, v.column LIMIT {CHANGES_SHOWN}"
        )
        return (
            count(f"failed_before SEMI JOIN rows_after {key} ANTI JOIN failed_after {key}"),
            count(f"failed_before ANTI JOIN rows_after {key}"),
            count(f"failed_after ANTI JOIN failed_before {key}"),
            [Change(*change) for change in changes],
        )
