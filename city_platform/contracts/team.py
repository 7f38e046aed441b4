"""Who belongs to the team behind a dataset, from the contract's `team.members`, and in which role.

Members are role accounts, as `open-data-steward`: a contract is published, and whoever stands behind an account is
the business of whoever runs the accounts. What a role may do, `governance.roles` says.
"""

import re
from datetime import date

from city_platform.contracts.model import Member
from city_platform.contracts.odcs import shown
from city_platform.contracts.reader import Reader
from city_platform.contracts.yaml_lines import Path

ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def read_members(reader: Reader) -> tuple[Member, ...]:
    """The members in the file's order; without the key, none."""
    members: dict[str, Member] = {}
    for path, entry in reader.items(("team", "members")):
        account = reader.text((*path, "username"), "write the role account", by_standard=True)
        if account and not ACCOUNT.fullmatch(account):
            remedy = "write a role account in letters, digits, '.', '-' and '_', as open-data-steward; no one's address"
            reader.report((*path, "username"), f"{shown(account)} cannot be a role account", remedy)
        if account in members:
            reader.report((*path, "username"), f"the member '{account}' stands here again", "keep one of the two")
        role = entry.get("role")
        if role is None:
            reader.report(path, f"the member '{account}' has no 'role'", "add 'role:', as 'data steward'")
        member = Member(
            account,
            " ".join(role.split()) if isinstance(role, str) else "",
            _day(reader, (*path, "dateIn")),
            _day(reader, (*path, "dateOut")),
        )
        members.setdefault(account, member)
    return tuple(members.values())


def _day(reader: Reader, path: Path) -> date | None:
    value = reader.get(path)
    if not isinstance(value, str):
        return None  # absent, or of a type that the standard's own check reports
    try:
        return date.fromisoformat(value)
    except ValueError:
        reader.report(path, f"{shown(value)} is not a date", "write it as 2026-01-31")
        return None
