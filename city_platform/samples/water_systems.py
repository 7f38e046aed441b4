"""Water systems with an operating permit: the permits that stand, and the water quality reports of their holders.

Permit holders type the measurements themselves, and so does whatever is wrong in them. The shares below are shares of
all rows.
"""

import random
from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from city_platform.samples.tables import REPEATED, Column, Kind, Row, SampleTable, local_area, weighted
from city_platform.samples.words import NAMED_STREETS

PERMIT_DIRT: Mapping[str, float] = {
    REPEATED: 0.004,  # the row once more, exactly
    "no number": 0.002,
    "boiling": 0.003,  # a temperature in Fahrenheit, or without its decimal point
    "negative turbidity": 0.003,
    "turbidity in words": 0.004,
    "padded": 0.02,
    "two lines": 0.01,  # an address with a line break in it
    "hyphen": 0.01,  # the spelling that licences have for Arbutus Ridge
}
REPORT_DIRT: Mapping[str, float] = {
    REPEATED: 0.004,  # two samples of one day, equal in all they say
    "no day": 0.002,
    "no number": 0.002,
    "boiling": 0.003,
    "negative turbidity": 0.003,
    "turbidity in words": 0.004,
    "padded": 0.02,
}
NO_REPORT_SHARE = 0.12  # of permits; also of reports that name no result of the laboratory

_system = weighted(
    ("Cooling Tower", 62), ("Decorative Water Feature", 24), ("Building Water Treatment System", 10),
    ("Rainwater System", 4),
)  # fmt: skip
_status = weighted(("Active", 88), ("Shut Down", 9), ("Seasonal", 3))
_legionella = weighted(("Not detected", 46), ("<10", 30), ("<100", 6), ("20", 5), ("140", 3), ("1,200", 1), ("ND", 9))
_coli = weighted(("Not detected", 60), ("<1", 34), ("2", 4), ("TNTC", 2))
_PERMITS = 1_237  # as many as the city has
_YEARS = range(2019, 2027)
_KNOWN_YEARS = range(2019, 2051)


def _permit(chance: random.Random, years: Sequence[int], number: int, dirt: str) -> Row:
    last = max(years)
    renewal = date(last + 1, 1, 1) + timedelta(chance.randrange(365))
    report = None if chance.random() < NO_REPORT_SHARE else date(last, 1, 1) + timedelta(chance.randrange(365))
    area, point = local_area(chance)
    return (
        None if dirt == "no number" else _number(number, years),
        f" {_system(chance)} " if dirt == "padded" else _system(chance),
        _status(chance),
        _address(chance, "\r\n" if dirt == "two lines" else " "),
        renewal.isoformat(),
        report.isoformat() if report else None,
        chance.choice(("Yes", "No", "No", "No")),
        *(_measured(chance, dirt) if report else (None,) * 4),
        "Arbutus-Ridge" if dirt == "hyphen" else area,
        point,
        point,
    )


def _report(chance: random.Random, years: Sequence[int], _position: int, dirt: str) -> Row:
    day = date(chance.choice(years), 1, 1) + timedelta(chance.randrange(365))
    return (
        None if dirt == "no number" else _number(chance.randrange(_PERMITS), years),
        None if dirt == "no day" else day.isoformat(),
        chance.choice(("Issued", "Issued", "Issued", "Expired")),
        f" {_system(chance)}  " if dirt == "padded" else _system(chance),
        _status(chance),
        _address(chance, " "),
        *_measured(chance, dirt),
    )


def _measured(chance: random.Random, dirt: str) -> tuple[float | str | None, ...]:
    """Temperature in degrees Celsius, turbidity in NTU, and the laboratory's two words."""
    turbidity: float | str = round(chance.lognormvariate(-0.4, 0.9), 2)
    if dirt == "negative turbidity":
        turbidity = -0.1 - float(turbidity)
    elif dirt == "turbidity in words":
        turbidity = chance.choice(("clear", "<0.5", "n/a"))
    sampled = chance.random() >= NO_REPORT_SHARE
    return (
        round(chance.uniform(101, 900), 1) if dirt == "boiling" else round(chance.gauss(24, 4), 1),
        round(turbidity, 2) if isinstance(turbidity, float) else turbidity,
        _legionella(chance) if sampled else None,
        _coli(chance) if sampled else None,
    )


def _number(number: int, years: Sequence[int]) -> str:
    return f"OP-{years[number % len(years)]}-{number:06d}"


def _address(chance: random.Random, separator: str) -> str:
    return f"{chance.randrange(1, 90) * 100 + chance.randrange(99)}{separator}{chance.choice(NAMED_STREETS)}"


PERMITS = SampleTable(
    columns=(
        Column("Operating Permit Number"), Column("Mechanical System Type"), Column("Current System Status"),
        Column("Address"), Column("Permit Renewal Date", Kind.DAY), Column("System Report Date", Kind.DAY),
        Column("Voluntary Participant"), Column("Temperature"), Column("Turbidity"), Column("Legionella"),
        Column("E. coli"), Column("Geo Local Area"), Column("Geom", Kind.GEOMETRY), Column("geo_point_2d", Kind.PAIR),
    ),
    default_years=_YEARS,
    known_years=_KNOWN_YEARS,
    dirt=PERMIT_DIRT,
    row=_permit,
)  # fmt: skip
REPORTS = SampleTable(
    columns=(
        Column("Operating Permit Number"), Column("System Report Date", Kind.DAY), Column("Permit Status"),
        Column("Mechanical System Type"), Column("System Status"), Column("Address"), Column("Temperature"),
        Column("Turbidity"), Column("Legionella"), Column("E. coli"),
    ),
    default_years=_YEARS,
    known_years=_KNOWN_YEARS,
    dirt=REPORT_DIRT,
    row=_report,
)  # fmt: skip
