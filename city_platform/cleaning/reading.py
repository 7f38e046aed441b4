"""Reading one step of a recipe and finding all that is wrong with it."""

import difflib
import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import duckdb

from city_platform.cleaning.conditions import CONDITIONS, Condition
from city_platform.cleaning.operations import OPERATIONS, Effect, Kind, Operation, Parameter
from city_platform.cleaning.positioned import Node
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

    def __init__(self, file: str, columns: Mapping[str, bool]) -> None:
        self.file, self.columns = file, columns
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
        operation = OPERATIONS.get(name)
        if operation is None:
            self._find(parts["Operation"], f"unknown operation {name}", _instead(name, OPERATIONS))
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
        if parameter.allowed and value not in parameter.allowed:
            self._find(node, f"{parameter.name} cannot be {value}", _instead(value, parameter.allowed))
        match parameter.kind:
            case Kind.COLUMN:
                self._existing(value, node)
            case Kind.NEW_COLUMN if value in self.columns:
                self._find(node, f"there is a column {value} already", "delete or rename it first, or choose a name")
            case Kind.FLAG if value not in {"true", "false"}:
                self._find(node, f"{parameter.name} cannot be {value}", 'write "true" or "false"')
            case Kind.PATTERN:
                problem = pattern_problem(value)
                if problem:
                    self._find(node, f"not a regular expression the engine knows: {problem}", "correct the pattern")
            case Kind.CATEGORIES:
                self._categories(value, node)

    def _existing(self, value: str, node: Node) -> None:
        if value not in self.columns:
            remedy = _instead(value, self.columns)
            self._find(node, f"there is no column {value} at this point of the recipe", remedy)

    def _categories(self, value: str, node: Node) -> None:
        try:
            read = json.loads(value)
        except json.JSONDecodeError:
            read = None
        if not isinstance(read, dict) or not read or not all(isinstance(one, str) for one in read.values()):
            self._find(node, "categoryMap is no JSON object of texts", r'write "{\"old\":\"new\"}"')

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
        if operation.needs_conditions and not reading.conditions and not self.findings:
            self._find(action, f"{operation.name} without a condition removes no row", "add ConditionExpressions")
        if operation.effect not in {Effect.REWRITES, Effect.DERIVES, Effect.REMOVES_ROWS} and reading.conditions:
            self._find(action, f"{operation.name} takes no conditions", "remove ConditionExpressions")
        source = parameters.get("sourceColumn", "")
        if operation.effect in {Effect.REWRITES, Effect.DERIVES, Effect.TYPES} and self.columns.get(source):
            remedy = "move this step before the column's CHANGE_DATA_TYPE"
            self._find(action, f"{operation.name} on {source}, which has its type already", remedy)
        if operation.name == "REMOVE_COMBINED":
            self._combined(parameters, action)
        if "pattern" in parameters and "value" in parameters:
            self._groups(parameters["pattern"], parameters["value"], action)

    def _combined(self, parameters: Mapping[str, str], action: Node) -> None:
        if "true" not in parameters.values():
            self._find(action, "REMOVE_COMBINED removes nothing: none of its flags is true", "set one to true")
        for flag, needs in (("removeCustomValue", "customValue"), ("removeCustomCharacters", "customCharacters")):
            if parameters.get(flag) == "true" and needs not in parameters:
                self._find(action, f"{flag} is true and {needs} is missing", f'add "{needs}"')

    def _groups(self, pattern: str, value: str, action: Node) -> None:
        try:
            groups = re.compile(pattern).groups
        except re.error:
            return  # not Python's dialect; whether it is the engine's is checked with the pattern
        for number in re.findall(r"(?<!\\)\$([0-9])", value):
            if int(number) > groups:
                problem = f"the value names group ${number}, the pattern has {groups}"
                self._find(action, problem, "add parentheses to the pattern, or write \\$ for a dollar")


def pattern_problem(pattern: str) -> str | None:
    """What RE2, the engine's library of regular expressions, has against the pattern."""
    try:
        _engine().cursor().execute("SELECT regexp_matches('', ?)", [pattern])
    except duckdb.Error as error:
        return str(error).partition(": ")[2] or str(error)
    return None


@functools.cache
def _engine() -> duckdb.DuckDBPyConnection:
    """An empty database that lives as long as the process: opening one costs more than a hundred patterns."""
    return duckdb.connect(config={"threads": 1})


def _quoted(node: Node) -> str:
    scalar = isinstance(node.value, bool | int | float)
    return json.dumps(json.dumps(node.value)) if scalar else "a text in double quotes"
