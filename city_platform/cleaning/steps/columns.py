"""Steps about whole columns: names, order, types, copies."""

from city_platform.cleaning.operation import READ, SOURCE, TARGET, Effect, Kind, Operation, Parameter
from city_platform.cleaning.values import DATABREW_TYPES

_BESIDE = Parameter("targetColumn", "the column it comes to stand beside", Kind.COLUMN)

OPERATIONS = (
    Operation("RENAME", "Renames a column.", Effect.RENAMES, (SOURCE, TARGET)),
    Operation(
        "DELETE",
        # The reference has sourceColumn alone; recipes written by the console hold sourceColumns.
        "Removes a column, or several.",
        Effect.DELETES,
        (
            Parameter("sourceColumn", "the column", Kind.COLUMN, required=False),
            Parameter("sourceColumns", "a JSON list of columns", Kind.COLUMNS, required=False),
        ),
        one_of=(("sourceColumn", "sourceColumns"),),
    ),
    Operation(
        "DUPLICATE", "Copies a column.", Effect.DERIVES, (READ, TARGET), lambda _dialect, _parameters: [lambda one: one]
    ),
    Operation(
        "CHANGE_DATA_TYPE",
        "Gives a column its type. A value that cannot be converted becomes null and is kept beside the table.",
        Effect.TYPES,
        (
            SOURCE,
            Parameter("columnDataType", "the column's type", allowed=tuple(dict.fromkeys(DATABREW_TYPES.values()))),
        ),
    ),
    Operation("MOVE_AFTER", "Moves a column right behind another.", Effect.MOVES, (SOURCE, _BESIDE)),
    Operation("MOVE_BEFORE", "Moves a column right before another.", Effect.MOVES, (SOURCE, _BESIDE)),
    Operation("MOVE_TO_START", "Moves a column to the first place.", Effect.MOVES, (SOURCE,)),
    Operation("MOVE_TO_END", "Moves a column to the last place.", Effect.MOVES, (SOURCE,)),
    Operation(
        "MOVE_TO_INDEX",
        "Moves a column to a place, counted from 0.",
        Effect.MOVES,
        (SOURCE, Parameter("targetIndex", "the place, from 0", Kind.COUNT)),
    ),
)
