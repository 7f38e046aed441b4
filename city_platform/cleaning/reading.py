"""Reading one step of a recipe and finding all that is wrong with it."""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from city_platform.cleaning.conditions import CONDITIONS, Condition, is_number
from city_platform.cleaning.expressions import ExpressionError, condition_columns, value_columns
from city_platform.cleaning.operation import Effect, Kind, Operation, Parameter, listed
from city_platform.cleaning.operations import OPERATIONS
from city_platform.cleaning.positioned import Node
from city_platform.cleaning.steps.refused import REFUSED
from city_platform.cleaning.steps.reshaping import FUNCTIONS, summaries
from city_platform.engines.patterns import pattern_problem
from city_platform.errors import Finding

_LONGEST_VALUE = 32768  # characters, DataBrew's limit of a parameter's value
_LONGEST_CONDITION_VALUE = 1024


@dataclass(slots=True)
class Reading:
    """What could be read of a step; complete only if the reader has no findings."""

    operation: Operation
    line: int
    column: int
    parameters: dict[str, str] = field(default_factory=dict)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)  # line and column of each parameter's value
    conditions: list[Condition] = field(default_factory=list)


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, whatever its case."""
    folded = {one.casefold(): one for one in known}
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    return folded[found[0]] if found else None


def _instead(name: str, known: Iterable[str]) -> str:
    names = list(known)
    best = closest(name, names)
    listed = "one of " + ", ".join(sorted(names))
    return f"write {best}; possible: {listed}" if best else f"write {listed}"


class StepReader:
    """Reads one step; `findings` holds its mistakes. `columns` are those at that point: name -> typed already."""

    def __init__(
        self, file: str, columns: Mapping[str, bool], operations: Mapping[str, Operation] = OPERATIONS
    ) -> None:
        self.file, self.columns, self.operations = file, columns, operations
        self.findings: list[Finding] = []

    def read(self, step: Node) -> Reading | None:
        """The step, as far as it can be read; None if not even its operation is known."""
        members = self._members(step, "a step", {"Action": True, "ConditionExpressions": False})
        action = members.get("Action")
        if action is None:
            return None
        parts = self._members(action, "Action", {"Operation": True, "Parameters": False})
        name = self._string(parts.get("Operation"), "Operation")
        if name is None:
            return None
        operation = self.operations.get(name)
        if operation is None and name in REFUSED:
            reason, remedy = REFUSED[name]
            self._find(parts["Operation"], f"{name} has no place in a dataset's recipe: {reason}", remedy)
            return None
        if operation is None:
            self._find(parts["Operation"], f"unknown operation {name}", _instead(name, self.operations))
            return None
        reading = Reading(operation, step.line, step.column)
        self._parameters(reading, parts.get("Parameters"), action)
        self._conditions(reading, members.get("ConditionExpressions"))
        self._whole(reading, action)
        return reading

    def _find(self, where: Node, problem: str, remedy: str) -> None:
        self.findings.append(Finding(self.file, where.line, where.column, problem, remedy))

    def _members(self, node: Node, what: str, known: Mapping[str, bool]) -> dict[str, Node]:
        """An object's members, by known name; reports missing and unknown ones."""
        if not isinstance(node.value, dict) or node.keys is None:
            form = ", ".join(f'"{name}": …' for name in known)
            self._find(node, f"{what} is an object, not {node.kind}", f"write {{{form}}}")
            return {}
        for name in node.value.keys() - known.keys():
            self._find(node.keys[name], f"{what} has no {name}", _instead(name, known))
        for name, required in known.items():
            if required and name not in node.value:
                self._find(node, f"{what} has no {name}", f'add "{name}"')
        return {name: member for name, member in node.value.items() if name in known}

    def _string(self, node: Node | None, what: str, longest: int = _LONGEST_VALUE) -> str | None:
        if node is None:
            return None
        if not isinstance(node.value, str):
            self._find(node, f"{what} is a text in DataBrew, not {node.kind}", f"write {_quoted(node)}")
            return None
        if not 1 <= len(node.value) <= longest:
            self._find(node, f"{what} has {len(node.value)} characters", f"write 1 to {longest} characters")
            return None
        return node.value

    def _parameters(self, reading: Reading, given: Node | None, action: Node) -> None:
        known = {parameter.name: parameter for parameter in reading.operation.parameters}
        where = given if given is not None else action
        members: dict[str, Node] = {}
        if given is not None:
            required = {name: parameter.required for name, parameter in known.items()}
            members = self._members(given, reading.operation.name, required)
        else:
            for name in (name for name, parameter in known.items() if parameter.required):
                self._find(where, f"{reading.operation.name} has no {name}", f'add "{name}"')
        for name, node in members.items():
            value = self._string(node, name)
            reading.places[name] = (node.line, node.column)
            if value is not None:
                reading.parameters[name] = value
                self._parameter(known[name], value, node)

    def _parameter(self, parameter: Parameter, value: str, node: Node) -> None:
        match parameter.kind:
            case Kind.COLUMN:
                self._existing(value, node)
            case Kind.COLUMNS:
                self._listed(value, node)
            case Kind.NEW_COLUMN:
                self._absent(value, node)
            case Kind.CONDITION:
                self._expression(value, node, condition_columns)
            case Kind.EXPRESSION:
                self._expression(value, node, value_columns)
            case Kind.PATTERN:
                problem = pattern_problem(value)
                if problem:
                    self._find(node, f"not a regular expression the engine knows: {problem}", "correct the pattern")
            case Kind.CHOICES:
                self._choices(parameter, value, node)
            case Kind.SUMMARIES:
                self._summaries(value, node)
            case Kind.TEXT if parameter.allowed and value not in parameter.allowed:
                self._find(node, f"{parameter.name} cannot be {value}", _instead(value, parameter.allowed))
            case _ if parameter.kind in _FORMS and not _FORMS[parameter.kind][0](value):
                self._find(node, f"{parameter.name} cannot be {value}", f"write {_FORMS[parameter.kind][1]}")

    def _choices(self, parameter: Parameter, value: str, node: Node) -> None:
        given = listed(value)
        for one in given:
            if one not in parameter.allowed:
                self._find(node, f"{parameter.name} cannot hold {one}", _instead(one, parameter.allowed))
        if not given:
            example = json.dumps(json.dumps(list(parameter.allowed[:1])))
            self._find(node, f"{parameter.name} is no JSON list of texts", f"write {example}")

    def _summaries(self, value: str, node: Node) -> None:
        found, problem = summaries(value)
        if problem:
            example = {"sourceColumnName": "…", "targetColumnName": "…", "targetColumnDataType": "number"}
            remedy = json.dumps([example | {"functionName": "SUM"}], ensure_ascii=False)
            self._find(node, problem, f"write {remedy}; functions: {', '.join(FUNCTIONS)}")
        for one in found:
            self._existing(one.source, node)

    def _listed(self, value: str, node: Node) -> None:
        names = listed(value)
        for name in names:
            self._existing(name, node)
        if not names:
            self._find(node, "not a JSON list of columns", r'write "[\"one\",\"other\"]"')
        elif len(set(names)) < len(names):
            self._find(node, "a column is named twice", "name it once")

    def _expression(self, value: str, node: Node, columns: Callable[[str], list[str]]) -> None:
        try:
            for name in columns(value):
                self._existing(name, node)
        except ExpressionError as error:
            problem, _, remedy = str(error).partition(" -> ")
            self._find(node, problem, remedy)

    def _absent(self, value: str, node: Node) -> None:
        if value in self.columns:
            self._find(node, f"there is a column {value} already", "delete or rename it first, or choose a name")

    def _existing(self, value: str, node: Node) -> None:
        if value not in self.columns:
            remedy = _instead(value, self.columns)
            self._find(node, f"there is no column {value} at this point of the recipe", remedy)

    def _conditions(self, reading: Reading, given: Node | None) -> None:
        if given is None:
            return
        if not isinstance(given.value, list):
            self._find(given, f"ConditionExpressions is a list, not {given.kind}", 'write [{"Condition": …}]')
            return
        for node in given.value:
            parts = self._members(node, "a condition", {"Condition": True, "Value": False, "TargetColumn": True})
            name = self._string(parts.get("Condition"), "Condition")
            column = self._string(parts.get("TargetColumn"), "TargetColumn")
            value = self._string(parts.get("Value"), "Value", _LONGEST_CONDITION_VALUE) or ""
            if column is not None:
                self._existing(column, parts["TargetColumn"])
            if name is not None and name not in CONDITIONS:
                self._find(parts["Condition"], f"unknown condition {name}", _instead(name, CONDITIONS))
            elif name is not None:
                wrong = CONDITIONS[name].check(value)
                if wrong:
                    self._find(parts.get("Value", node), f"{name}: {wrong}", CONDITIONS[name].documentation)
                elif column is not None:
                    reading.conditions.append(Condition(name, column, value))

    def _whole(self, reading: Reading, action: Node) -> None:
        """What no parameter alone shows."""
        operation, parameters = reading.operation, reading.parameters
        for group in operation.one_of:
            given = [name for name in group if name in parameters]
            if len(given) != 1:
                problem = f"{operation.name} has both {' and '.join(given)}" if given else f"{operation.name} has none"
                self._find(action, f"{problem} of {' and '.join(group)}", f"give one of {' and '.join(group)}")
        if self.findings:
            return
        if operation.needs_conditions and not reading.conditions:
            self._find(action, f"{operation.name} without a condition removes no row", "add ConditionExpressions")
        changes = operation.effect in {Effect.REWRITES, Effect.DERIVES, Effect.REMOVES_ROWS}
        if not changes and reading.conditions:
            self._find(action, f"{operation.name} takes no conditions", "remove ConditionExpressions")
        if operation.effect in {Effect.REWRITES, Effect.DERIVES, Effect.TYPES}:
            for name in operation.reads(parameters):
                if self.columns.get(name):
                    remedy = "move this step before the column's CHANGE_DATA_TYPE"
                    self._find(action, f"{operation.name} on {name}, which has its type already", remedy)
        wrong = operation.check(parameters)
        if wrong is not None:
            problem, _, remedy = wrong.partition(" -> ")
            self._find(action, problem, remedy)
            return
        if operation.targets is not None:
            for name in operation.created(parameters):
                self._absent(name, action)


def _is_categories(value: str) -> bool:
    read = _json(value)
    return isinstance(read, dict) and bool(read) and all(isinstance(one, str) for one in read.values())


def _is_delimiter(read: object) -> bool:
    return (
        isinstance(read, dict)
        and set(read) <= {"pattern", "includeInSplit"}
        and isinstance(read.get("pattern"), str)
        and bool(read["pattern"])
        and isinstance(read.get("includeInSplit", False), bool)
    )


def _are_delimiters(value: str) -> bool:
    read = _json(value)
    return isinstance(read, list) and bool(read) and all(_is_delimiter(one) for one in read)


def _is_moment(value: str) -> bool:
    if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9]{2}:[0-9]{2}:[0-9]{2})?", value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _json(value: str) -> object:
    try:
        return json.loads(value)
    except (json.JSONDecodeError, RecursionError):
        return None


# What a parameter's text must be like, and what to write.
_FORMS: Mapping[Kind, tuple[Callable[[str], bool], str]] = {
    Kind.FLAG: (lambda value: value in {"true", "false"}, '"true" or "false"'),
    Kind.CATEGORIES: (_is_categories, r'a JSON object of texts as "{\"old\":\"new\"}"'),
    Kind.NUMBER: (is_number, 'a number, as "2.5"'),
    Kind.COUNT: (lambda value: bool(re.fullmatch("[0-9]{1,5}", value)), 'a whole number from 0, as "3"'),
    Kind.POSITION: (lambda value: bool(re.fullmatch("[1-9][0-9]{0,4}", value)), 'a whole number from 1, as "3"'),
    Kind.INDEX: (lambda value: bool(re.fullmatch("-?[0-9]{1,15}", value)), 'a whole number, as "-3"'),
    Kind.MOMENT: (_is_moment, 'a date or time, as "2024-05-01" or "2024-05-01 10:30:00"'),
    Kind.DELIMITER: (lambda value: _is_delimiter(_json(value)), r'"{\"pattern\":\",\",\"includeInSplit\":false}"'),
    Kind.DELIMITERS: (_are_delimiters, r'"[{\"pattern\":\",\",\"includeInSplit\":false}]"'),
}


def _quoted(node: Node) -> str:
    scalar = isinstance(node.value, bool | int | float)
    return json.dumps(json.dumps(node.value)) if scalar else "a text in double quotes"
