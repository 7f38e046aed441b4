"""Steps that calculate: a new column from numbers in others.

What is no number, and what has no result, such as a division by zero, gives null. Results are double-precision
numbers, written without decimals where they are whole.
"""

from collections.abc import Callable

from city_platform.cleaning.operation import READ, TARGET, Effect, Kind, Operation, Parameter, Parameters, Table
from city_platform.cleaning.steps.functions import one_of, operand, operands
from city_platform.engines.dialect import Dialect

Formula = Callable[[str, str], str]


def _number(table: Table, text: str) -> str:
    return table.dialect.try_cast(text, "DOUBLE")


def _written(table: Table, number: str) -> str:
    return written(table.dialect, table.value(number))


def written(dialect: Dialect, value: str) -> str:
    """A double-precision number as text: 3, not 3.0; what is not finite is null."""
    whole = f"CAST({value} AS BIGINT)"
    shown = f"CASE WHEN {value} = floor({value}) AND abs({value}) < 1e15 THEN {dialect.as_text(whole)}"
    return f"CASE WHEN abs({value}) <= 1.7976931348623157e308 THEN {shown} ELSE {dialect.double_text(value)} END END"


def _of_one(name: str, documentation: str, formula: Callable[[str], str]) -> Operation:
    def compute(table: Table, parameters: Parameters) -> dict[str, str]:
        number = table.value(_number(table, table.column(parameters["sourceColumn"])))
        return {parameters["targetColumn"]: _written(table, formula(number))}

    return Operation(name, documentation, Effect.DERIVES, (READ, TARGET), computes=compute)


def _of_two(name: str, documentation: str, formula: Formula) -> Operation:
    def compute(table: Table, parameters: Parameters) -> dict[str, str]:
        first, second = (table.value(_number(table, operand(table, parameters, which))) for which in ("1", "2"))
        return {parameters["targetColumn"]: _written(table, formula(first, second))}

    parameters = (*operands("1", Kind.NUMBER), *operands("2", Kind.NUMBER), TARGET)
    return Operation(name, documentation, Effect.DERIVES, parameters, computes=compute, one_of=one_of("1", "2"))


def _power(table: Table, parameters: Parameters) -> dict[str, str]:
    number = table.value(_number(table, table.column(parameters["sourceColumn"])))
    exponent = f"CAST({table.dialect.text(parameters['value'])} AS DOUBLE)"
    # A root of a negative number has no real result; the engine would end the query.
    possible = f"({number} >= 0 OR {exponent} = floor({exponent})) AND ({number} <> 0 OR {exponent} >= 0)"
    return {parameters["targetColumn"]: _written(table, f"CASE WHEN {possible} THEN power({number}, {exponent}) END")}


OPERATIONS = (
    _of_two("ADD", "A new column of the sum.", lambda one, two: f"{one} + {two}"),
    _of_two("SUBTRACT", "A new column of the first number less the second.", lambda one, two: f"{one} - {two}"),
    _of_two("MULTIPLY", "A new column of the product.", lambda one, two: f"{one} * {two}"),
    _of_two("DIVIDE", "A new column of the first number by the second.", lambda one, two: f"{one} / NULLIF({two}, 0)"),
    # The reference speaks of the percentage one number is of another; the name and DataBrew's console say remainder.
    _of_two("MOD", "A new column of the remainder of a division.", lambda one, two: f"{one} % NULLIF({two}, 0)"),
    Operation(
        "POWER",
        "A new column of a number to the power of `value`.",
        Effect.DERIVES,
        (READ, Parameter("value", "the exponent", Kind.NUMBER), TARGET),
        computes=_power,
    ),
    _of_one("ABSOLUTE", "A new column of the distance from zero.", lambda one: f"abs({one})"),
    _of_one("CEILING", "A new column of the smallest whole number not below.", lambda one: f"ceil({one})"),
    _of_one("FLOOR", "A new column of the largest whole number not above.", lambda one: f"floor({one})"),
    _of_one("ROUND", "A new column of the nearest whole number; half goes up.", lambda one: f"floor({one} + 0.5)"),
    _of_one("NEGATE", "A new column of the number with the other sign.", lambda one: f"0 - {one}"),
    _of_one("SIGN", "A new column of -1, 0 or 1.", lambda one: f"CAST(sign({one}) AS DOUBLE)"),
    _of_one(
        "SQUARE_ROOT", "A new column of the square root.", lambda one: f"CASE WHEN {one} >= 0 THEN sqrt({one}) END"
    ),
)
