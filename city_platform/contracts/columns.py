"""The columns of a contract: what each property below `schema[0].properties` says, and how they fit together."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from city_platform.contracts.model import Classification, Column, Masking, Partitioning, PartitionTransform
from city_platform.contracts.odcs import instead, shown
from city_platform.contracts.reader import COLUMN_PROPERTIES, SCHEMA_PROPERTIES, Custom, Reader
from city_platform.contracts.yaml_lines import Path

COLUMN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
SQL_TYPES: Mapping[str, tuple[str, ...]] = {
    "string": ("VARCHAR",),
    "integer": ("INTEGER", "BIGINT", "SMALLINT", "TINYINT"),
    "number": ("DECIMAL(12,2)", "DOUBLE"),
    "boolean": ("BOOLEAN",),
    "date": ("DATE",),
    "timestamp": ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP"),
}
_OTHER_STANDARD_TYPES = {"time", "object", "array", "map", "vector"}
_DECIMAL = re.compile(r"DECIMAL\(([0-9]{1,2}),([0-9]{1,2})\)")
_MAX_PRECISION = 38
_SAMPLE_DAY = datetime(2024, 5, 31)  # noqa: DTZ001 - a calendar day, to try formats on
_YEARS = (1, 9999)


def read_columns(reader: Reader, schema: Path) -> tuple[tuple[Column, ...], Partitioning | None]:
    """All columns in the file's order and the partitioning; mistakes are reported to the reader."""
    properties = reader.items((*schema, "properties"))
    if not properties:
        if not reader.has((*schema, "properties")) or reader.get((*schema, "properties")) == []:
            reader.report(schema, "the schema object has no columns", "add 'properties:' with one entry a column")
        return (), None
    customs = {path: reader.custom(path, COLUMN_PROPERTIES) for path, _ in properties}
    columns = tuple(_column(reader, path, customs[path]) for path, _ in properties)
    paths = [path for path, _ in properties]
    _check_names(reader, paths, columns)
    _check_headers(reader, paths, columns)
    own = reader.custom(schema, SCHEMA_PROPERTIES)
    _check_key(reader, paths, columns, own.get("noPrimaryKey"))
    return columns, _partitioning(reader, paths, columns, customs, own)


def _column(reader: Reader, path: Path, custom: Mapping[str, Custom]) -> Column:
    name = reader.text((*path, "name"), "write a text", by_standard=True)
    if name and not COLUMN_NAME.fullmatch(name):
        remedy = "start with a letter, then use letters, digits and '_'"
        reader.report((*path, "name"), f"{shown(name)} cannot be a column's name", remedy)
    source = reader.text((*path, "physicalName"), "add 'physicalName:' with the source's header")
    aliases = [one["synonym"] for _, one in reader.items((*path, "synonyms")) if isinstance(one.get("synonym"), str)]
    logical_type, sql_type = _types(reader, path)
    classification = _classification(reader, path)
    position = reader.get((*path, "primaryKeyPosition"))
    keyed = reader.flag((*path, "primaryKey"))
    return Column(
        name=name,
        source_name=source,
        aliases=tuple(str(alias) for alias in aliases),
        logical_type=logical_type,
        sql_type=sql_type,
        classification=classification,
        description=" ".join(reader.text((*path, "description"), "say what the column means").split()),
        required_in_source=_source_required(reader, custom),
        nullable=not reader.flag((*path, "required")),
        key_position=(position if isinstance(position, int) else 1) if keyed else None,
        masking=_masking(reader, path, classification, logical_type, custom),
        line=reader.document.place(path)[0],
    )


def _types(reader: Reader, path: Path) -> tuple[str, str]:
    """The logical type, and the physical type in DuckDB's normal spelling; '' for what is not usable."""
    logical = reader.text((*path, "logicalType"), f"add 'logicalType:' with one of: {', '.join(SQL_TYPES)}")
    if logical in _OTHER_STANDARD_TYPES:
        problem = f"the logical type '{logical}' is not supported"
        reader.report((*path, "logicalType"), problem, f"write one of: {', '.join(SQL_TYPES)}")
    fitting = SQL_TYPES.get(logical, ())
    remedy = f"add 'physicalType:' with one of: {', '.join(fitting or _all_types())}"
    written = reader.text((*path, "physicalType"), remedy)
    physical = re.sub(r"\s*([(),])\s*", r"\1", " ".join(written.upper().split()))
    if not written or not fitting:
        return logical, ""
    decimal = _DECIMAL.fullmatch(physical)
    if decimal:
        precision, scale = int(decimal[1]), int(decimal[2])
        if not 1 <= precision <= _MAX_PRECISION or scale > precision:
            problem = f"{physical} has no such precision or scale"
            reader.report((*path, "physicalType"), problem, f"1 to {_MAX_PRECISION} digits, the scale within them")
        if logical == "number":
            return logical, physical
    if physical not in fitting:
        known = decimal or physical in _all_types()
        problem = (
            f"the type {physical} does not fit the logical type '{logical}'"
            if known
            else f"{shown(written)} is not a type of the cleaned layer"
        )
        reader.report((*path, "physicalType"), problem, f"write one of: {', '.join(fitting)}")
        return logical, ""
    return logical, physical


def _all_types() -> tuple[str, ...]:
    return tuple(one for types in SQL_TYPES.values() for one in types)


def _classification(reader: Reader, path: Path) -> Classification:
    """The column's classification; personal where it is not told, so that nothing leaks by omission."""
    allowed = [str(one) for one in Classification]
    written = reader.text((*path, "classification"), f"add 'classification:' with one of: {', '.join(allowed)}")
    if written in allowed:
        return Classification(written)
    if written:
        reader.report((*path, "classification"), f"no classification is called '{written}'", instead(written, allowed))
    return Classification.PERSONAL


def _masking(
    reader: Reader, path: Path, classification: Classification, logical_type: str, custom: Mapping[str, Custom]
) -> Masking | None:
    allowed = [str(one) for one in Masking]
    entry = custom.get("masking")
    if reader.get((*path, "classification")) not in list(Classification):
        return None  # reported already, and what masking it needs is unknown
    if entry is None:
        if classification is Classification.PERSONAL:
            remedy = f"add the custom property 'masking' with one of: {', '.join(allowed)}"
            reader.report(path, "a personal column does not say how it is masked", remedy)
        return None
    if classification is not Classification.PERSONAL:
        problem = f"a column classified '{classification}' cannot have a masking"
        reader.report(entry.path, problem, "remove 'masking', or classify the column 'personal'")
        return None
    if entry.value not in allowed:
        reader.report(entry.path, f"no masking is called {shown(entry.value)}", instead(str(entry.value), allowed))
        return None
    masking = Masking(str(entry.value))
    if masking is not Masking.REDACT and logical_type != "string":
        problem = f"the masking '{masking}' needs text, the column's logical type is '{logical_type}'"
        reader.report(entry.path, problem, f"write '{Masking.REDACT}', or 'logicalType: string'")
    return masking


def _source_required(reader: Reader, custom: Mapping[str, Custom]) -> bool:
    entry = custom.get("sourceRequired")
    if entry is None or entry.value is True:
        return True
    if entry.value is not False:
        reader.report(entry.path, f"sourceRequired is {shown(entry.value)}", "write true or false")
    return False


def _check_names(reader: Reader, paths: list[Path], columns: tuple[Column, ...]) -> None:
    first: dict[str, Column] = {}
    for path, column in zip(paths, columns, strict=True):
        if column.name and (other := first.setdefault(column.name.casefold(), column)) is not column:
            problem = f"the column '{column.name}' is there already, on line {other.line}"
            reader.report((*path, "name"), problem, "give one of the two another name; case makes no difference")


def _check_headers(reader: Reader, paths: list[Path], columns: tuple[Column, ...]) -> None:
    """A source's header must lead to one column, whatever its case."""
    owner: dict[str, Column] = {}
    for path, column in zip(paths, columns, strict=True):
        entries = [((*path, "physicalName"), column.source_name)]
        entries += [
            ((*entry, "synonym"), str(one["synonym"]))
            for entry, one in reader.items((*path, "synonyms"))
            if isinstance(one.get("synonym"), str)
        ]
        for where, header in entries:
            other = owner.setdefault(header.strip().casefold(), column)
            if header and other is not column:
                problem = f"the header '{header}' already leads to the column '{other.name}' on line {other.line}"
                reader.report(where, problem, "keep it at one column; case makes no difference")


def _check_key(reader: Reader, paths: list[Path], columns: tuple[Column, ...], no_key: Custom | None) -> None:
    """The key's columns are numbered; a dataset without a key says why, for then equal rows all count."""
    keyed = [(path, column) for path, column in zip(paths, columns, strict=True) if column.key_position is not None]
    if keyed and no_key is not None:
        problem = f"'noPrimaryKey', and '{keyed[0][1].name}' is a key column"
        reader.report(no_key.path, problem, "remove one of the two")
    elif not keyed and (no_key is None or not isinstance(no_key.value, str) or not no_key.value.strip()):
        remedy = (
            "add 'primaryKey: true' to the key's columns, or the schema's custom property 'noPrimaryKey': the reason"
        )
        where = no_key.path if no_key else paths[0][:-1]
        reader.report(where, "the dataset has no primary key and does not say why", remedy)
    for path in paths:
        position = reader.get((*path, "primaryKeyPosition"))
        if isinstance(position, int) and position != -1 and not reader.flag((*path, "primaryKey")):
            reader.report(
                (*path, "primaryKeyPosition"),
                "a position in the primary key without being part of it",
                "add 'primaryKey: true', or remove the position",
            )
    taken: dict[int, str] = {}
    for path, column in keyed:
        where = (*path, "primaryKeyPosition")
        position = column.key_position or 0
        if len(keyed) > 1 and not reader.has(where):
            remedy = f"add 'primaryKeyPosition:' with a number from 1 to {len(keyed)}"
            reader.report(path, f"the key column '{column.name}' has no position among {len(keyed)}", remedy)
        elif position in taken:
            problem = f"the column '{taken[position]}' has position {position} in the primary key too"
            reader.report(where, problem, f"number the key's columns from 1 to {len(keyed)}")
        elif not 1 <= position <= len(keyed):
            problem = f"position {position} in a primary key of {len(keyed)}"
            reader.report(where, problem, f"number the key's columns from 1 to {len(keyed)}")
        taken.setdefault(position, column.name)


def _partitioning(
    reader: Reader,
    paths: list[Path],
    columns: tuple[Column, ...],
    customs: Mapping[Path, Mapping[str, Custom]],
    own: Mapping[str, Custom],
) -> Partitioning | None:
    """From the partitioned column, or from the schema object's own custom properties `own` for a snapshot."""
    partitioned = [(path, one) for path, one in zip(paths, columns, strict=True) if reader.flag((*path, "partitioned"))]
    for path in paths:
        if not reader.flag((*path, "partitioned")):
            for name in ("partitionTransform", "dateFormats", "firstYear", "lastYear"):
                if name in customs[path]:
                    problem = f"'{name}' on a column that is not partitioned"
                    reader.report(customs[path][name].path, problem, "add 'partitioned: true', or remove it")
    if "partitionTransform" in own:
        return _snapshot(reader, [column for _, column in partitioned], own)
    if not partitioned:
        remedy = (
            "add 'partitioned: true' to the column that tells a row's year, day or hour; where none does, the "
            f"schema's custom property 'partitionTransform: {PartitionTransform.SNAPSHOT}'"
        )
        reader.report(paths[0][:-1], "no column is partitioned", remedy)
        return None
    for path, column in partitioned[1:]:
        problem = f"'{column.name}' is partitioned, and '{partitioned[0][1].name}' too"
        reader.report((*path, "partitioned"), problem, "keep one: a partition is one span of time")
    path, column = partitioned[0]
    position = reader.get((*path, "partitionKeyPosition"))
    if isinstance(position, int) and position not in {1, -1}:
        reader.report((*path, "partitionKeyPosition"), f"position {position} of one partition column", "write 1")
    transform = _transform(reader, path, customs[path])
    formats = _date_formats(reader, transform, customs[path])
    partitioning = Partitioning(column.source_name, transform or PartitionTransform.YEAR, formats)
    return _limited(reader, partitioning, customs[path])


def _snapshot(reader: Reader, partitioned: list[Column], own: Mapping[str, Custom]) -> Partitioning:
    entry = own["partitionTransform"]
    if entry.value != PartitionTransform.SNAPSHOT:
        problem = f"the schema's partitionTransform is {shown(entry.value)}"
        reader.report(
            entry.path, problem, f"write '{PartitionTransform.SNAPSHOT}', or move it to the column that tells the year"
        )
    elif partitioned:
        problem = f"the year of a snapshot is when it was taken, and '{partitioned[0].name}' is partitioned too"
        reader.report(entry.path, problem, "keep one of the two")
    return _limited(reader, Partitioning(None, PartitionTransform.SNAPSHOT), own)


def _limited(reader: Reader, partitioning: Partitioning, custom: Mapping[str, Custom]) -> Partitioning:
    """With the years that `firstYear` and `lastYear` allow, where they stand."""
    first, last = (_year(reader, name, custom) for name in ("firstYear", "lastYear"))
    partitioning = replace(
        partitioning,
        first_year=partitioning.first_year if first is None else first,
        last_year=partitioning.last_year if last is None else last,
    )
    if partitioning.first_year > partitioning.last_year:
        where = custom.get("firstYear") or custom["lastYear"]
        problem = f"the years {partitioning.first_year} to {partitioning.last_year} are none"
        reader.report(where.path, problem, "let firstYear be no later than lastYear")
    return partitioning


def _transform(reader: Reader, path: Path, custom: Mapping[str, Custom]) -> PartitionTransform | None:
    allowed = [str(one) for one in PartitionTransform if one is not PartitionTransform.SNAPSHOT]
    entry = custom.get("partitionTransform")
    if entry is None:
        remedy = f"add the custom property 'partitionTransform' with one of: {', '.join(allowed)}"
        reader.report(path, "the partitioned column does not say how its text names the partition", remedy)
    elif entry.value not in allowed:
        problem = f"no partition transform is called {shown(entry.value)}"
        reader.report(entry.path, problem, instead(str(entry.value), allowed))
    else:
        return PartitionTransform(str(entry.value))
    return None


def _date_formats(
    reader: Reader, transform: PartitionTransform | None, custom: Mapping[str, Custom]
) -> tuple[str, ...]:
    entry = custom.get("dateFormats")
    if entry is None:
        return ()
    if transform is not None and not transform.takes_formats:
        remedy = f"remove them, or write '{PartitionTransform.YEAR}'"
        reader.report(entry.path, f"'{transform}' has no date formats", remedy)
    formats = entry.value if isinstance(entry.value, list) else [entry.value]
    if not isinstance(entry.value, list) or not formats:
        reader.report(entry.path, f"dateFormats is {shown(entry.value)}", 'write a list, as ["%m/%d/%Y"]')
    for place, one in enumerate(formats):
        if not _names_a_day(one):
            where = (*entry.path, place) if isinstance(entry.value, list) else entry.path
            problem = f"{shown(one)} is not a format that tells year, month and day"
            reader.report(where, problem, 'write it in strptime\'s words, as "%m/%d/%Y"')
    return tuple(str(one) for one in formats)


def _names_a_day(text: object) -> bool:
    try:
        return isinstance(text, str) and datetime.strptime(_SAMPLE_DAY.strftime(text), text) == _SAMPLE_DAY  # noqa: DTZ007 - a day has no zone
    except (ValueError, re.error):
        return False


def _year(reader: Reader, name: str, custom: Mapping[str, Custom]) -> int | None:
    entry = custom.get(name)
    if entry is None:
        return None
    value = entry.value
    if not isinstance(value, int) or isinstance(value, bool) or not _YEARS[0] <= value <= _YEARS[1]:
        reader.report(entry.path, f"{name} is {shown(value)}", "write a year of four digits")
        return None
    return value
