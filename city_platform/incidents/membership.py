"""What an account's sign-in says of its roles and districts, whoever keeps the account.

An account of the city's own user pool has its groups and districts from there, where administrators set them. One of a
federated identity provider (OpenID Connect or SAML) brings the provider's groups, which a map turns into roles.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from city_platform.errors import PermanentError
from city_platform.incidents.roles import Role

GROUPS = frozenset(role.value for role in Role) - {Role.ANONYMOUS, Role.SYSTEM}  # what an account can be in
STAFF = GROUPS - {Role.CITIZEN}
# The attributes into which a provider's claims are mapped. An account of the pool's own could write them, so they count
# for accounts of the provider alone; these have no token with which to write attributes.
PROVIDER_GROUPS = "custom:idp_groups"
PROVIDER_DISTRICTS = "custom:idp_districts"
DISTRICTS = "custom:districts"
_STATUS = "cognito:user_status"
_FEDERATED = "EXTERNAL_PROVIDER"


class BadGroupMap(PermanentError):
    """The map from a provider's groups to roles cannot be used; the message names everything that is wrong in it."""


@dataclass(frozen=True, slots=True)
class Membership:
    """Groups and districts for the token; `email` in lower case, as two spellings of an address are one person."""

    groups: Sequence[str]
    districts: Sequence[str]
    email: str | None


def membership(
    attributes: Mapping[str, str],
    groups: Sequence[str],
    group_map: Mapping[str, str],
    has_second_factor: Callable[[], bool],
) -> Membership:
    """Of an account with these attributes, in these groups of the pool.

    Staff of the pool's own count as staff only with a second factor, and are citizens until they set one up; a
    provider asks its people for theirs itself. `has_second_factor` is called for such staff only.
    """
    if attributes.get(_STATUS) == _FEDERATED:
        named = [group_map[one] for one in listed(attributes.get(PROVIDER_GROUPS, "")) if one in group_map]
        found = dict.fromkeys([*groups, *named])
        districts = listed(attributes.get(PROVIDER_DISTRICTS, ""))
    else:
        found = dict.fromkeys(groups)
        districts = listed(attributes.get(DISTRICTS, ""))
        if not STAFF.isdisjoint(found) and not has_second_factor():
            found = dict.fromkeys(one for one in groups if one not in STAFF)
    email = attributes.get("email")
    return Membership(list(found), districts, email.lower() if email else None)


def group_map_of(text: str) -> Mapping[str, str]:
    """The map as JSON, from the provider's group to a role: `{"Traffic Control": "traffic_admin"}`; empty is no map.

    Raises BadGroupMap.
    """
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise BadGroupMap(f"the map of groups is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadGroupMap("the map of groups is no JSON object of groups and roles")
    wrong = [f"{group!r} to {role!r}" for group, role in found.items() if role not in GROUPS]
    if wrong:
        raise BadGroupMap(f"there is no such role: {', '.join(wrong)}; roles are {', '.join(sorted(GROUPS))}")
    return found


def listed(text: str) -> Sequence[str]:
    """Several values as providers write them: JSON, `[a, b]` (SAML through Cognito), or with commas between."""
    text = text.strip()
    try:
        values = json.loads(text)
    except ValueError:
        values = text.removeprefix("[").removesuffix("]").split(",") if text.endswith("]") else text.split(",")
    if not isinstance(values, list):
        values = [text]
    return [one for one in (str(value).strip() for value in values) if one]
