"""Steps about dates and times.

Read are yyyy-mm-dd and yyyy-mm-dd HH:MM:SS, with T and an offset too; FORMAT_DATE also reads the forms it writes. A
time with an offset counts as the wall clock shows it there. What is no date gives null in a new column.
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from city_platform.cleaning.operation import (
    READ,
    SOURCE,
    TARGET,
    Effect,
    Kind,
    Operation,
    Parameter,
    Parameters,
    Rewrite,
    Table,
)
from city_platform.cleaning.steps.functions import function, one_of, operand, operands
from city_platform.engines.dialect import Dialect

_WRITTEN: Mapping[str, str] = MappingProxyType(
    {
        "mm/dd/yyyy": "%m/%d/%Y",
        "mm-dd-yyyy": "%m-%d-%Y",
        "dd month yyyy": "%d %B %Y",
        "month yyyy": "%B %Y",
        "dd month": "%d %B",
    }
)
_UNITS = ("YEARS", "QUARTERS", "MONTHS", "WEEKS", "DAYS", "HOURS", "MINUTES", "SECONDS", "MILLISECONDS", "MICROSECONDS")
_DEFAULT_FORMAT = "yyyy-mm-dd HH:MM:SS"
_A_YEAR = (1, 4, 12, 53, 366, 8_784, 527_040, 31_622_400, 31_622_400_000, 31_622_400_000_000)  # of each of the units
_MOST_YEARS = 10_000
_FORMAT = Parameter("dateTimeFormat", "how to write it: yyyy yy mm month dd HH MM SS and signs between", required=False)
_ZONE = re.compile(r"UTC([+-][0-9]{2}:[0-9]{2})?|[A-Z][A-Za-z_]+(/[A-Z][A-Za-z_]+)+")


def _format_date(dialect: Dialect, parameters: Parameters) -> Sequence[Rewrite]:
    known = tuple(form for form in _WRITTEN.values() if "%d" in form and "%Y" in form)
    to = _WRITTEN[parameters["targetDateFormat"]]
    return [lambda column: f"COALESCE({dialect.format_date(dialect.parse_date(column, known), to)}, {column})"]


_WORDS = {"yyyy": "%Y", "yy": "%y", "month": "%B", "mm": "%m", "dd": "%d", "HH": "%H", "MM": "%M", "SS": "%S"}


def _strftime(date_format: str) -> str:
    """DataBrew's format as strftime's: mm is the month, MM the minute."""
    return re.sub("|".join(_WORDS) + "|%", lambda one: _WORDS.get(one[0], "%%"), date_format)


def _format_problem(parameters: Parameters) -> str | None:
    left = re.sub("|".join(_WORDS), "", parameters.get("dateTimeFormat", ""))
    unknown = re.search("[A-Za-z]+", left)
    if unknown:
        return f"dateTimeFormat has {unknown[0]} -> write it with {', '.join(_WORDS)} and signs between"
    return None


def _add(table: Table, parameters: Parameters) -> dict[str, str]:
    dialect = table.dialect
    moment = table.value(dialect.parse_wall_time(operand(table, parameters)))
    later = dialect.add_time(moment, parameters["units"], int(parameters["dateAddValue"]))
    written = _strftime(parameters.get("dateTimeFormat", _DEFAULT_FORMAT))
    return {parameters["targetColumn"]: dialect.format_date(later, written)}


def _add_problem(parameters: Parameters) -> str | None:
    a_year = dict(zip(_UNITS, _A_YEAR, strict=True))[parameters["units"]]
    if abs(int(parameters["dateAddValue"])) > a_year * _MOST_YEARS:
        return f"dateAddValue is more than {_MOST_YEARS:,} years -> correct it"
    return _format_problem(parameters)


def _difference(table: Table, parameters: Parameters) -> dict[str, str]:
    dialect = table.dialect
    first, second = (table.value(dialect.parse_wall_time(operand(table, parameters, which))) for which in ("1", "2"))
    return {parameters["targetColumn"]: dialect.as_text(dialect.whole_units(first, second, parameters["units"]))}


def _convert(table: Table, parameters: Parameters) -> dict[str, str]:
    dialect = table.dialect
    source, target = (parameters.get(name, "UTC") for name in ("fromTimeZone", "toTimeZone"))
    moment = dialect.parse_timestamp(table.column(parameters["sourceColumn"]), _engine_zone(source))
    local = dialect.local_time(moment, _engine_zone(target))
    written = _strftime(parameters.get("dateTimeFormat", _DEFAULT_FORMAT))
    return {parameters["targetColumn"]: dialect.format_date(local, written)}


def _engine_zone(zone: str) -> str:
    """UTC-08:00 is Etc/GMT+8 to the database of time zones, whose signs are the other way round."""
    offset = re.fullmatch(r"UTC([+-])([0-9]{2}):00", zone)
    return f"Etc/GMT{'-' if offset[1] == '+' else '+'}{int(offset[2])}" if offset else zone


def _zone_problem(parameters: Parameters) -> str | None:
    for name in ("fromTimeZone", "toTimeZone"):
        zone = parameters.get(name, "UTC")
        if not _ZONE.fullmatch(zone) or (zone.startswith("UTC+") and not zone.endswith(":00")):
            return f"{name} {zone} is not known -> write a name as America/Vancouver, or whole hours as UTC-08:00"
    return _format_problem(parameters)


def _part(name: str, documentation: str, part: str) -> Operation:
    return function(
        name,
        documentation,
        lambda dialect, _given, value: dialect.as_text(dialect.date_part(part, dialect.parse_wall_time(value))),
    )


_ADDED = Parameter("dateAddValue", "how many, a whole number", Kind.INDEX)
_UNIT = Parameter("units", "the unit", allowed=_UNITS)

OPERATIONS = (
    Operation(
        "FORMAT_DATE",
        "Writes a date another way; a text that is no date stays as it is.",
        Effect.REWRITES,
        (SOURCE, Parameter("targetDateFormat", "how to write it", allowed=tuple(_WRITTEN))),
        _format_date,
    ),
    _part("YEAR", "A new column of the year.", "year"),
    _part("QUARTER", "A new column of the quarter, 1 to 4.", "quarter"),
    _part("MONTH", "A new column of the month, 1 to 12.", "month"),
    _part("WEEK_NUMBER", "A new column of the week as ISO 8601 counts it, 1 to 53.", "week"),
    _part("DAY", "A new column of the day of the month.", "day"),
    _part("HOUR", "A new column of the hour, 0 to 23.", "hour"),
    _part("MINUTE", "A new column of the minute.", "minute"),
    _part("SECOND", "A new column of the whole second.", "second"),
    function(
        "MONTH_NAME",
        "A new column of the month's English name.",
        lambda dialect, _given, value: dialect.format_date(dialect.parse_wall_time(value), "%B"),
    ),
    function(
        # The reference does not say how; the name of the day cannot be misread.
        "WEEK_DAY",
        "A new column of the English name of the day of the week.",
        lambda dialect, _given, value: dialect.format_date(dialect.parse_wall_time(value), "%A"),
    ),
    Operation(
        "DATE_FORMAT",
        "A new column of the date or time in a form of its own.",
        Effect.DERIVES,
        (*operands(), TARGET, _FORMAT),
        computes=lambda table, given: {
            given["targetColumn"]: table.dialect.format_date(
                table.dialect.parse_wall_time(operand(table, given)),
                _strftime(given.get("dateTimeFormat", _DEFAULT_FORMAT)),
            )
        },
        one_of=one_of(),
        check=_format_problem,
    ),
    Operation(
        "DATE_ADD",
        "A new column of a date or time some units later; 31 January and a month is the end of February.",
        Effect.DERIVES,
        (*operands(kind=Kind.MOMENT), _UNIT, _ADDED, _FORMAT, TARGET),
        computes=_add,
        one_of=one_of(),
        check=_add_problem,
    ),
    Operation(
        "DATE_DIFF",
        "A new column of the whole units from the first date to the second, negative where that is earlier.",
        Effect.DERIVES,
        (*operands("1", Kind.MOMENT), *operands("2", Kind.MOMENT), _UNIT, TARGET),
        computes=_difference,
        one_of=one_of("1", "2"),
    ),
    Operation(
        "CONVERT_TIMEZONE",
        "A new column of a time as clocks of another zone show it; a time with an offset keeps its instant.",
        Effect.DERIVES,
        (
            READ,
            Parameter("fromTimeZone", "the zone of times without an offset; UTC if not given", required=False),
            Parameter("toTimeZone", "the zone to show; UTC if not given", required=False),
            TARGET,
            _FORMAT,
        ),
        computes=_convert,
        check=_zone_problem,
    ),
)
