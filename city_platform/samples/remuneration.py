"""Employees who earn more than 75,000 dollars, with their expenses. Names are made up, and some people share one.

Whatever is wrong in the rows is of the kinds that statements typed into spreadsheets have; the shares are shares of all
rows.
"""

import random
from collections.abc import Mapping, Sequence

from city_platform.samples.tables import REPEATED, Column, Row, SampleTable, weighted
from city_platform.samples.words import FAMILY_NAMES, GIVEN_NAMES

DIRT: Mapping[str, float] = {
    "no name": 0.002,
    "no remuneration": 0.002,
    "far below": 0.003,  # a tenth of the threshold: a decimal point one place off
    "negative expenses": 0.003,
    "expenses in words": 0.003,  # `-` for none, as accountants write it
    "dollars": 0.05,  # $ and commas
    "asterisk": 0.03,  # behind the name: a pay-out
    "padded": 0.02,
    "no year": 0.001,
    REPEATED: 0.002,  # namesakes in one position who earn the same
}
_DEPARTMENTS: Mapping[str, tuple[str, ...]] = {
    "Engineering Services": ("Civil Engineer II", "Street Inspector", "Equipment Operator IV"),
    "Fire & Rescue Services": ("Firefighter", "Captain", "Fire Dispatcher"),
    "Board of Parks & Recreation": ("Recreation Programmer", "Supervisor, Park Operations"),
    "Planning, Urban Design & Sustainability": ("Planner II", "Project Facilitator"),
    "Library": ("Librarian II", "Branch Head"),
    "Technology Services": ("Systems Analyst III", "Manager; Data Platforms"),
    "City Clerk": ("Meeting Coordinator",),
}
_department = weighted(*zip(_DEPARTMENTS, (30, 34, 14, 9, 6, 6, 0.4), strict=True))


def _employee(chance: random.Random, years: Sequence[int], _position: int, dirt: str) -> Row:
    department = _department(chance)
    name = f"{chance.choice(FAMILY_NAMES)}, {chance.choice(GIVEN_NAMES)}"
    pay = round(min(75_000 + chance.expovariate(1 / 28_000), 400_000) / (10 if dirt == "far below" else 1), 2)
    expenses: float | None = round(chance.expovariate(1 / 900), 2)
    if dirt == "negative expenses":
        expenses = round(-1 - chance.expovariate(1 / 900), 2)
    elif chance.random() < 0.25:  # noqa: PLR2004 - the share of those without expenses
        expenses = None
    return (
        None if dirt == "no year" else chance.choice(years),
        {"no name": None, "asterisk": f"{name} *", "padded": f" {name} "}.get(dirt, name),
        department,
        chance.choice(_DEPARTMENTS[department]),
        None if dirt == "no remuneration" else f"${pay:,.2f}" if dirt == "dollars" else pay,
        "-" if dirt == "expenses in words" else expenses,
    )


REMUNERATION = SampleTable(
    columns=tuple(map(Column, ("Year", "Name", "Department", "Title", "Remuneration", "Expenses"))),
    default_years=range(2012, 2025),
    known_years=range(2009, 2051),
    dirt=DIRT,
    row=_employee,
)
