"""What 3-1-1 was asked and asked for: inquiries counted by month, and the service requests of 2009 to 2021.

Of the requests before the case system of 2022 no extract was at hand: these rows have the columns that no description
of them lacks. Whatever is wrong in the rows is wrong in the city's newer files too; the shares are shares of all rows.
"""

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from city_platform.samples.tables import REPEATED, VANCOUVER, Column, Kind, Row, SampleTable, local_area
from city_platform.samples.words import NAMED_STREETS

INQUIRY_DIRT: Mapping[str, float] = {
    REPEATED: 0.004,  # the count once more
    "no type": 0.002,
    "nothing asked": 0.003,  # a count of 0
    "count in words": 0.001,
    "no month": 0.002,
    "padded": 0.02,
}
REQUEST_DIRT: Mapping[str, float] = {
    REPEATED: 0.006,  # equal to the request before: another request
    "no type": 0.002,
    "closed before it was opened": 0.003,
    "open and closed": 0.002,
    "never opened": 0.001,  # no timestamp, and so no year
    "padded": 0.02,
    "hyphen": 0.004,  # the spelling that licences have for Arbutus Ridge
}
NO_ADDRESS_SHARE, NO_AREA_SHARE = 0.68, 0.23
TYPE_LENGTH = 50  # characters that the source keeps of a type of request

_DIVISIONS: Mapping[str, tuple[str, ...]] = {
    "ENG - Sanitation Services": (
        "Missed Garbage Bin Pickup Case", "Missed Green Bin Pickup Case", "Abandoned Mattress Case",
        "Missed Recycling Collection of a Multi-Family Building Case",
    ),
    "ENG - Streets and Electrical": ("Street Light Out Case", "Pothole Case", "Traffic Signal Case"),
    "ENG - Water and Sewers": ("Sewer Blockage Case", "Water Main Break Case", "Catch Basin Flooding Case"),
    "DBL - Animal Services": ("Animal Concern Case", "Lost Dog Case", "Dog Off Leash Case"),
    "DBL - Property Use Inspections": ("Untidy Property Case", "Noise From a Construction Site on a Holiday Eve Case"),
    "PR - Park Board": ("Tree Maintenance Case", "Playground Case", "ZZ OLD - Park Washroom"),
    "ZZ OLD - Corporate Services": ("ZZ OLD - General Inquiry", "ZZ OLD - Tax Question"),
}  # fmt: skip
_TYPES = [(division, kind) for division, kinds in _DIVISIONS.items() for kind in kinds]
_CHANNELS = ("Phone", "E-mail", "Chat", "Social Media", "In Person")
_MONTHS = 12


def _inquiry(chance: random.Random, years: Sequence[int], number: int, dirt: str) -> Row:
    """Each number is another month, type and channel; when all have had their turn, further types of the same name."""
    bi_id = 40_000 + 2 * number + chance.randrange(2)
    rest, channel = divmod(number, len(_CHANNELS))
    rest, kind = divmod(rest, len(_TYPES))
    rest, month = divmod(rest, _MONTHS)
    lap, year = divmod(rest, len(years))
    department, asked = _TYPES[kind]
    asked = f"{asked} {lap + 1}" if lap else asked
    count = 0 if dirt == "nothing asked" else 1 + min(int(chance.paretovariate(0.7)), 40_000)
    return (
        department,
        None if dirt == "no type" else f" {asked}  " if dirt == "padded" else asked,
        None if dirt == "no month" else f"{years[year]}-{month + 1:02d}",
        _CHANNELS[channel],
        "few" if dirt == "count in words" else count,
        bi_id,
    )


def _request(chance: random.Random, years: Sequence[int], _position: int, dirt: str) -> Row:
    department, kind = chance.choice(_TYPES)
    year = chance.choice(years)
    first = datetime(year, 1, 1, tzinfo=VANCOUVER).astimezone(UTC)
    opened = first + timedelta(seconds=chance.randrange(365 * 86_400))
    is_open = dirt == "open and closed" or (chance.random() < 0.01 and dirt != "closed before it was opened")  # noqa: PLR2004 - the share of open cases
    day = opened.astimezone(VANCOUVER).date()
    days = -2 - chance.randrange(30) if dirt == "closed before it was opened" else int(chance.expovariate(0.1))
    closed = None if is_open and dirt != "open and closed" else (day + timedelta(days)).isoformat()
    area, _ = local_area(chance)
    address = f"{chance.randrange(1, 90)}00 {chance.choice(NAMED_STREETS)}"
    kept = kind[:TYPE_LENGTH]
    return (
        f"  {department}" if dirt == "padded" else department,
        None if dirt == "no type" else kept,
        "Open" if is_open else "Close",
        None if dirt == "never opened" else int(opened.timestamp()),
        closed,
        None if chance.random() < NO_ADDRESS_SHARE else address,
        "Arbutus-Ridge" if dirt == "hyphen" else None if chance.random() < NO_AREA_SHARE else area,
    )


INQUIRIES = SampleTable(
    columns=(
        Column("Department"), Column("Type"), Column("Year Month", Kind.MONTH), Column("Channel"),
        Column("Number of Records"), Column("BI_ID"),
    ),
    default_years=range(2009, 2026),
    known_years=range(2009, 2051),
    dirt=INQUIRY_DIRT,
    row=_inquiry,
)  # fmt: skip
REQUESTS = SampleTable(
    columns=(
        Column("Department"), Column("Service request type"), Column("Status"),
        Column("Service request open timestamp", Kind.INSTANT), Column("Service request close date", Kind.DAY),
        Column("Address"), Column("Local area"),
    ),
    default_years=range(2009, 2022),
    known_years=range(2009, 2022),
    dirt=REQUEST_DIRT,
    row=_request,
)  # fmt: skip
