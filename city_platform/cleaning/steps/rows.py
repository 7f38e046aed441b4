"""Steps about whole rows: which leave, which repeat an earlier one.

Every removed row is kept beside the cleaned ones with the step that removed it, so these may stand in a dataset's
recipe. A step that makes other rows of the rows may not: see `refused`.
"""

from collections.abc import Sequence

from city_platform.cleaning.operation import READ, TARGET, Effect, Operation, Parameter, Parameters, Table


def _repeats(table: Table, columns: Sequence[str]) -> str:
    """Whether an earlier row that is still there has the same values; nulls are the same."""
    same = ", ".join([*columns, table.kept])
    return f"row_number() OVER (PARTITION BY {same} ORDER BY {table.row}) > 1"


def _flag_repeats(table: Table, parameters: Parameters, columns: Sequence[str]) -> dict[str, str]:
    words = (table.dialect.text(parameters[name]) for name in ("trueString", "falseString"))
    true, false = words
    return {parameters["targetColumn"]: f"CASE WHEN {_repeats(table, columns)} THEN {true} ELSE {false} END"}


_TRUE = Parameter("trueString", "for a row that repeats an earlier one")
_FALSE = Parameter("falseString", "for all others")

OPERATIONS = (
    Operation(
        "REMOVE_VALUES",
        "Removes the rows that meet all its conditions.",
        Effect.REMOVES_ROWS,
        (READ,),
        needs_conditions=True,
    ),
    Operation(
        "REMOVE_DUPLICATES",
        "Removes the rows whose value an earlier row has; of the rows without a value the first stays.",
        Effect.REMOVES_ROWS,
        (READ,),
        removes=lambda table, given: _repeats(table, [table.column(given["sourceColumn"])]),
        reads_other_rows=True,
    ),
    Operation(
        "DELETE_DUPLICATE_ROWS",
        "Removes rows equal to an earlier one in every column of that point.",
        Effect.REMOVES_ROWS,
        (),
        removes=lambda table, _given: _repeats(table, table.every_column()),
        reads_every_column=True,
        reads_other_rows=True,
    ),
    Operation(
        "FLAG_DUPLICATE_ROWS",
        "A new column that says whether the row equals an earlier one in every column of that point.",
        Effect.DERIVES,
        (_TRUE, _FALSE, TARGET),
        computes=lambda table, given: _flag_repeats(table, given, table.every_column()),
        reads_every_column=True,
        reads_other_rows=True,
    ),
    Operation(
        "FLAG_DUPLICATES_IN_COLUMN",
        "A new column that says whether an earlier row has the same value.",
        Effect.DERIVES,
        (READ, TARGET, _TRUE, _FALSE),
        computes=lambda table, given: _flag_repeats(table, given, [table.column(given["sourceColumn"])]),
        reads_other_rows=True,
    ),
)
