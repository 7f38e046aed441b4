"""What counts as a missing and as a valid value, in SQL over text."""

from collections.abc import Mapping
from types import MappingProxyType

from city_platform.engines.dialect import Dialect

# DataBrew's name of each type a contract may ask for.
DATABREW_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "TINYINT": "byte",
        "SMALLINT": "short",
        "INTEGER": "int",
        "BIGINT": "long",
        "FLOAT": "float",
        "DOUBLE": "double",
        "DECIMAL": "decimal",
        "VARCHAR": "string",
        "BOOLEAN": "boolean",
        "TIMESTAMP": "timestamp",
        "TIMESTAMP WITH TIME ZONE": "timestamp",
        "DATE": "date",
    }
)

# The type that a column of DataBrew's gets where no contract says it.
SQL_TYPES: Mapping[str, str] = MappingProxyType(
    {name: sql_type for sql_type, name in DATABREW_TYPES.items()} | {"decimal": "DECIMAL(38,10)", "number": "DOUBLE"}
)


def missing(column: str) -> str:
    """Whether a value is null or empty."""
    return f"({column} IS NULL OR {column} = '')"


def valid(dialect: Dialect, column: str, databrew_type: str) -> str:
    """Whether a text is a value of the type, as `CHANGE_DATA_TYPE` would read it; null where it is missing.

    `number` is DataBrew's word for any of the numeric types; every text is a valid `string`.
    """
    match databrew_type:
        case "string" | "unsupported":
            return f"{column} IS NOT NULL"
        case "date":
            return f"{dialect.parse_date(column, ())} IS NOT NULL"
        case "timestamp":
            return f"{dialect.parse_timestamp(column, 'UTC')} IS NOT NULL"
        case "number" | "double" | "float":
            return f"{dialect.try_cast(column, 'DOUBLE')} IS NOT NULL"
        case "decimal":
            return f"{dialect.try_cast(column, 'DECIMAL(38,10)')} IS NOT NULL"
        case _:
            sql_type = next(sql for sql, name in DATABREW_TYPES.items() if name == databrew_type)
            return f"{dialect.try_cast(column, sql_type)} IS NOT NULL"
