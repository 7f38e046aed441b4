"""Column types as Hive, Glue and Athena write them, from the words of DuckDB and of Arrow."""

import re

from city_platform.errors import PermanentError

_NAMES = {
    **dict.fromkeys(("VARCHAR", "TIME", "UUID", "string", "large_string", "time64[us]"), "string"),
    **dict.fromkeys(("BOOLEAN", "bool"), "boolean"),
    **dict.fromkeys(("TINYINT", "int8"), "tinyint"),
    **dict.fromkeys(("SMALLINT", "UTINYINT", "int16", "uint8"), "smallint"),
    **dict.fromkeys(("INTEGER", "USMALLINT", "int32", "uint16"), "int"),
    **dict.fromkeys(("BIGINT", "UINTEGER", "int64", "uint32"), "bigint"),
    **dict.fromkeys(("UBIGINT", "uint64"), "decimal(20,0)"),
    **dict.fromkeys(("HUGEINT", "UHUGEINT"), "decimal(38,0)"),
    **dict.fromkeys(("FLOAT", "float"), "float"),
    **dict.fromkeys(("DOUBLE", "double"), "double"),
    **dict.fromkeys(("DATE", "date32[day]"), "date"),
    **dict.fromkeys(("BLOB", "binary", "large_binary"), "binary"),
}
_DECIMAL = re.compile(r"(?:DECIMAL|decimal128|decimal) *\( *([0-9]+) *, *([0-9]+) *\)")
_LIST = re.compile(r"list<\w+: (.+)>|(.+)\[\]")


class UnknownType(PermanentError):
    """There is no such type in the catalog."""


def catalog_type(kind: str) -> str:
    """The type in the catalog's words; raises UnknownType. Times of every precision are `timestamp`."""
    if kind in _NAMES:
        return _NAMES[kind]
    if kind.casefold().startswith("timestamp"):
        return "timestamp"
    if decimal := _DECIMAL.fullmatch(kind):
        return f"decimal({decimal[1]},{decimal[2]})"
    if listed := _LIST.fullmatch(kind):
        return f"array<{catalog_type(listed[1] or listed[2])}>"
    raise UnknownType(f"the catalog has no type for {kind}: cast the column to another type")
