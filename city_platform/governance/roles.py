"""Who may decide about a dataset: the members of its team whose role is data steward, and nobody else.

An engineer may run things and may read every decision; an administrator too. The roles stand in the contract
(`team.members`), so that whoever changes them does so where everybody looks.
"""

from collections.abc import Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from city_platform.contracts.model import Contract, Member
from city_platform.errors import PermanentError

STEWARD = "data steward"


class NotEntitled(PermanentError):
    """The account does not have the role that this takes."""


def stewards(contract: Contract, day: date) -> tuple[str, ...]:
    """The accounts that may decide on that day, in the city's time."""
    return tuple(member.account for member in _serving(contract, day) if member.role.casefold() == STEWARD)


def is_member(contract: Contract, account: str, at: datetime) -> bool:
    """Whether the account is of the dataset's team at that instant, in whatever role: it may read internal columns."""
    day = at.astimezone(ZoneInfo(contract.timezone)).date()
    return any(member.account == account for member in _serving(contract, day))


def _serving(contract: Contract, day: date) -> Sequence[Member]:
    return [
        member
        for member in contract.members
        if (member.first_day is None or member.first_day <= day) and (member.last_day is None or day <= member.last_day)
    ]


def require_steward(contract: Contract, account: str, at: datetime, what: str) -> None:
    """Raises NotEntitled unless the account is one of the dataset's stewards at that instant, by the city's calendar.

    `what` is what the account wants to do, in the words that follow "may not".
    """
    entitled = stewards(contract, at.astimezone(ZoneInfo(contract.timezone)).date())
    if account in entitled:
        return
    who = (
        f"only {' or '.join(entitled)} may"
        if entitled
        else f"nobody may: no member of the team in its contract.yaml has the role '{STEWARD}' today"
    )
    raise NotEntitled(f"{account} may not {what}; {who}. Nothing was changed.")
