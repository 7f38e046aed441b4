"""DataBrew's functions: a new column from one value, a column's or a constant."""

from collections.abc import Callable

from city_platform.cleaning.operation import TARGET, Effect, Kind, Operation, Parameter, Parameters, Table
from city_platform.engines.dialect import Dialect

Function = Callable[[Dialect, Parameters, str], str]  # dialect, parameters and the value's SQL -> the result's


def operand(table: Table, parameters: Parameters, number: str = "") -> str:
    """The value of `sourceColumn` or `value`, with a number behind the names where there are two."""
    column = parameters.get(f"sourceColumn{number}")
    return table.column(column) if column is not None else table.dialect.text(parameters[f"value{number}"])


def operands(number: str = "", kind: Kind = Kind.TEXT) -> tuple[Parameter, Parameter]:
    """The two parameters of which one says what is worked on."""
    return (
        Parameter(f"sourceColumn{number}", "the column to read", Kind.COLUMN, required=False),
        Parameter(f"value{number}", "a constant in its place", kind, required=False),
    )


def one_of(*numbers: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"sourceColumn{number}", f"value{number}") for number in numbers or ("",))


def function(name: str, documentation: str, sql: Function, *more: Parameter) -> Operation:
    """A step that creates `targetColumn` from one value; a missing value gives null."""

    def compute(table: Table, parameters: Parameters) -> dict[str, str]:
        value = operand(table, parameters)
        result = sql(table.dialect, parameters, value)
        return {parameters["targetColumn"]: f"CASE WHEN {value} <> '' THEN {result} END"}

    parameters = (*operands(), TARGET, *more)
    return Operation(name, documentation, Effect.DERIVES, parameters, computes=compute, one_of=one_of())
