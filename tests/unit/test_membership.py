"""Roles and districts of accounts, whoever keeps them."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.functions import sign_in
from city_platform.incidents.membership import BadGroupMap, Membership, group_map_of, listed, membership
from city_platform.incidents.roles import Actor, Role

MAP = {"Traffic Control": "traffic_admin", "City Staff": "officer"}
FEDERATED = {"cognito:user_status": "EXTERNAL_PROVIDER"}
NAMES = st.text("abcdefghij ÄéZ-_.09", min_size=1, max_size=20).map(str.strip).filter(bool)


def never() -> bool:
    raise AssertionError("nobody has to ask")


def test_staff_of_the_pool_count_as_staff_with_a_second_factor_only() -> None:
    account = {"cognito:user_status": "CONFIRMED", "custom:districts": "downtown", "email": "Jo.Li@City.Example"}
    groups = ["officer", "newsletter", "citizen"]
    assert membership(account, groups, MAP, lambda: True) == Membership(groups, ["downtown"], "jo.li@city.example")
    assert membership(account, groups, MAP, lambda: False).groups == ["newsletter", "citizen"]
    assert membership(account, ["citizen"], MAP, never).groups == ["citizen"]


def test_attributes_of_the_provider_count_for_its_own_accounts_alone() -> None:
    claimed = {"custom:idp_groups": "[City Staff, Unknown]", "custom:idp_districts": "downtown, west-end"}
    federated = membership(claimed | FEDERATED | {"custom:districts": "kitsilano"}, ["city_Entra"], MAP, never)
    assert federated == Membership(["city_Entra", "officer"], ["downtown", "west-end"], None)
    for status in ("CONFIRMED", "FORCE_CHANGE_PASSWORD", ""):
        own = membership(claimed | {"cognito:user_status": status}, [], MAP, never)
        assert own == Membership([], [], None)


@given(
    st.lists(NAMES, min_size=1, unique=True), st.sampled_from([json.dumps, ", ".join, lambda v: f"[{', '.join(v)}]"])
)
def test_values_are_read_however_a_provider_writes_them(
    values: list[str], write: Callable[[Sequence[str]], str]
) -> None:
    numbers = [one for one in values if one.replace(".", "", 1).replace("-", "", 1).isdigit()]
    if len(values) == 1 and numbers:
        return  # `007` alone is as good as the number 7
    assert listed(write(values)) == values or numbers


@given(st.text(max_size=60))
def test_no_claim_makes_it_fail(text: str) -> None:
    for one in listed(text):
        assert one == one.strip() != ""


def test_a_map_of_groups_names_everything_that_is_wrong_in_it() -> None:
    assert group_map_of(json.dumps(MAP)) == MAP
    assert group_map_of("") == {}
    with pytest.raises(BadGroupMap, match="'A' to 'system', 'B' to 'boss'"):
        group_map_of('{"A": "system", "B": "boss", "C": "citizen"}')
    for text in ("{", "[]"):
        with pytest.raises(BadGroupMap):
            group_map_of(text)


def test_the_trigger_answers_what_the_api_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    class Accounts:
        def has_second_factor(self, pool: str, name: str) -> bool:
            return (pool, name) == ("ca-central-1_A", "jo")

    monkeypatch.setattr(sign_in, "_parts", lambda: (MAP, Accounts()))
    event: dict[str, Any] = {
        "version": "2",
        "triggerSource": "TokenGeneration_HostedAuth",
        "userPoolId": "ca-central-1_A",
        "userName": "jo",
        "request": {
            "userAttributes": {"sub": "s", "email": "Jo@City.example", "custom:districts": "downtown,west-end"},
            "groupConfiguration": {"groupsToOverride": ["district_manager"], "iamRolesToOverride": []},
        },
        "response": {},
    }
    told = sign_in.handler(event, None)["response"]["claimsAndScopeOverrideDetails"]
    access = told["accessTokenGeneration"]["claimsToAddOrOverride"]
    assert told["idTokenGeneration"]["claimsToAddOrOverride"] == access | {"email": "jo@city.example"}
    actor = Actor.of("s", told["groupOverrideDetails"]["groupsToOverride"], access[sign_in.DISTRICTS_CLAIM].split())
    assert (actor.role, actor.districts) == (Role.DISTRICT_MANAGER, {"downtown", "west-end"})
    assert sign_in.handler(event | {"userName": "al"}, None)["response"]["claimsAndScopeOverrideDetails"][
        "groupOverrideDetails"
    ] == {"groupsToOverride": []}
