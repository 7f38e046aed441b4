"""Writes roles and districts into the tokens of a user pool (Cognito's trigger before tokens are made, version 2)."""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from city_platform.aws.accounts import CognitoAccounts
from city_platform.incidents.membership import group_map_of, membership

GROUP_MAP = "CITY_PLATFORM_GROUP_MAP"  # the identity provider's groups and our roles, as JSON
DISTRICTS_CLAIM = "districts"  # in both tokens; an access token holds no attributes of the account


@cache
def _parts() -> tuple[Mapping[str, str], CognitoAccounts]:
    # Made at the first event and kept: so long the function's container lives.
    return group_map_of(os.environ.get(GROUP_MAP, "")), CognitoAccounts()


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """The event with what the tokens shall say. After BadGroupMap, or an error of CognitoAccounts, nobody signs in."""
    group_map, accounts = _parts()
    request = event["request"]
    groups = (request.get("groupConfiguration") or {}).get("groupsToOverride") or []
    found = membership(
        request["userAttributes"],
        groups,
        group_map,
        lambda: accounts.has_second_factor(event["userPoolId"], event["userName"]),
    )
    claims = {DISTRICTS_CLAIM: " ".join(found.districts)} if found.districts else {}
    email = {"email": found.email} if found.email else {}
    told = {
        "idTokenGeneration": {"claimsToAddOrOverride": claims | email},
        "accessTokenGeneration": {"claimsToAddOrOverride": claims},
        "groupOverrideDetails": {"groupsToOverride": list(found.groups)},
    }
    return event | {"response": {"claimsAndScopeOverrideDetails": told}}
