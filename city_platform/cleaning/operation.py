"""What a step type is: its name, its parameters, what it does to the table, and its SQL.

A step rewrites text: values get their type after the last step, so that what cannot be typed can be kept with its
reason. A missing value, null or empty, stays missing unless a step's documentation says otherwise. "The rows" of a
step that looks beyond its own row are those of one source file in one year that no earlier step removed.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from city_platform.cleaning.expressions import condition_columns, value_columns
from city_platform.engines.dialect import Dialect

Parameters = Mapping[str, str]
Rewrite = Callable[[str], str]  # a column's SQL name -> its next value; may name the column several times


class Table(Protocol):
    """The table as a step finds it, in SQL."""

    dialect: Dialect

    def column(self, name: str) -> str:
        """A column's value."""
        ...

    def every_column(self) -> Sequence[str]:
        """All values of the row."""
        ...

    @property
    def row(self) -> str:
        """The row's number in its source; gives the rows their order."""
        ...

    @property
    def kept(self) -> str:
        """Whether no earlier step removed the row: a condition."""
        ...

    def keyed(self, purpose: str, secret: str, value: str) -> str:
        """A text under the dataset's secret: purpose `hash` (hexadecimal) or `encrypt` (base64). Null stays null."""
        ...

    def value(self, sql: str) -> str:
        """Computes an expression once and gives it a name, so that it may stand within a window function."""
        ...


Computation = Callable[[Table, Parameters], Mapping[str, str]]  # -> the columns' next values as SQL, by name


class Effect(Enum):
    """What a step does to the table."""

    REWRITES = auto()  # the text of its source columns
    DERIVES = auto()  # target columns from what it reads
    RENAMES = auto()
    DELETES = auto()
    MOVES = auto()  # a column to another place
    TYPES = auto()
    REMOVES_ROWS = auto()  # those that meet its conditions, and its own
    RESHAPES = auto()  # makes other rows of the rows


class Kind(Enum):
    """What a parameter's text stands for, and so how it is checked."""

    TEXT = auto()
    COLUMN = auto()  # exists at that point
    COLUMNS = auto()  # a JSON list of columns that exist at that point
    NEW_COLUMN = auto()  # does not exist yet
    FLAG = auto()  # true or false
    PATTERN = auto()  # a regular expression
    CATEGORIES = auto()  # a JSON object of texts
    CHOICES = auto()  # a JSON list of allowed texts
    NUMBER = auto()
    COUNT = auto()  # a whole number from 0
    POSITION = auto()  # a whole number from 1
    INDEX = auto()  # a whole number; negative ones count from the end
    MOMENT = auto()  # yyyy-mm-dd, perhaps with HH:MM:SS
    CONDITION = auto()  # DataBrew's expression language, a truth value
    EXPRESSION = auto()  # the same, a value
    DELIMITER = auto()  # a JSON object {"pattern": ..., "includeInSplit": ...}
    DELIMITERS = auto()  # a list of them
    SUMMARIES = auto()  # a JSON list of objects, each a column, a function and the column that holds its value


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    documentation: str
    kind: Kind = Kind.TEXT
    required: bool = True
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One step type.

    Its SQL is one of: `rewrites`, the changes of one column's text, one after the other; `computes`, for what reads
    several columns or several rows; `removes`, the condition under which a row leaves.
    """

    name: str
    documentation: str
    effect: Effect
    parameters: tuple[Parameter, ...]
    rewrites: Callable[[Dialect, Parameters], Sequence[Rewrite]] | None = None
    computes: Computation | None = None
    removes: Callable[[Table, Parameters], str] | None = None
    targets: Callable[[Parameters], Sequence[str]] | None = None  # where they have no parameter of their own
    one_of: tuple[tuple[str, ...], ...] = ()  # of each group, exactly one parameter is given
    reads_every_column: bool = False
    reads_other_rows: bool = False  # a row's result depends on other rows; their order then has to be kept
    needs_conditions: bool = False
    needs_secret: bool = False
    check: Callable[[Parameters], str | None] = lambda _parameters: None  # what no parameter alone shows

    def subjects(self, parameters: Parameters) -> tuple[str, ...]:
        """The columns the step is about: those of `sourceColumn` and `sourceColumns`."""
        one = [parameters["sourceColumn"]] if "sourceColumn" in parameters else []
        return tuple(dict.fromkeys([*one, *listed(parameters.get("sourceColumns", "[]"))]))

    def reads(self, parameters: Parameters) -> tuple[str, ...]:
        """The columns the step's values are made of, `reads_every_column` and conditions aside."""
        found: list[str] = []
        for parameter in self.parameters:
            given = parameters.get(parameter.name)
            if given is None:
                continue
            match parameter.kind:
                case Kind.COLUMN:
                    found.append(given)
                case Kind.COLUMNS:
                    found += listed(given)
                case Kind.CONDITION:
                    found += condition_columns(given)
                case Kind.EXPRESSION:
                    found += value_columns(given)
        return tuple(dict.fromkeys(found))

    def created(self, parameters: Parameters) -> tuple[str, ...]:
        """The columns the step creates."""
        if self.targets is not None:
            return tuple(self.targets(parameters))
        names = (one.name for one in self.parameters if one.kind is Kind.NEW_COLUMN)
        return tuple(parameters[name] for name in names if name in parameters)


def listed(value: str) -> list[str]:
    """The texts of a parameter that is a JSON list; empty where it is none."""
    try:
        read = json.loads(value)
    except (json.JSONDecodeError, RecursionError):
        return []
    return read if isinstance(read, list) and all(isinstance(one, str) for one in read) else []


SOURCE = Parameter("sourceColumn", "the column to change", Kind.COLUMN)
SOURCES = Parameter("sourceColumns", "a JSON list of the columns to change", Kind.COLUMNS)
READ = Parameter("sourceColumn", "the column to read", Kind.COLUMN)
TARGET = Parameter("targetColumn", "the column to create", Kind.NEW_COLUMN)


def flag(name: str, documentation: str) -> Parameter:
    return Parameter(name, documentation, Kind.FLAG, required=False)
