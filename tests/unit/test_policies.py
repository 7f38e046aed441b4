"""The evaluation of policies decides as AWS documents it."""

import fnmatch
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policies import Decision, NotUnderstood, Request, arn_matches, condition, decide, matches

OWNER = "111122223333"
ROLE = f"arn:aws:iam::{OWNER}:role/reader"
STRANGER = "arn:aws:iam::999988887777:role/stranger"
OBJECT = "arn:aws:s3:::lake/year=2024/part-0.parquet"
KEY = f"arn:aws:kms:ca-central-1:{OWNER}:key/1"
READ = Request(ROLE, "s3:GetObject", OBJECT, {"aws:SecureTransport": "true"})
DECRYPT = Request(ROLE, "kms:Decrypt", KEY, {"kms:ViaService": "s3.ca-central-1.amazonaws.com"})


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(
    action: str | list[str] = "s3:GetObject", resource: str = "arn:aws:s3:::lake/*", **more: Any
) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(**more: Any) -> dict[str, Any]:
    return allow("*", "*", **more) | {"Effect": "Deny"}


ONLY_TLS = deny(Principal="*", Condition={"Bool": {"aws:SecureTransport": False}})


def test_nobody_may_what_nobody_allows() -> None:
    assert decide(READ, owner=OWNER) is Decision.NOT_ALLOWED
    assert decide(READ, [policy(allow())], owner=OWNER) is Decision.ALLOWED
    assert decide(READ.of(action="s3:PutObject"), [policy(allow())], owner=OWNER) is Decision.NOT_ALLOWED
    assert decide(READ.of(resource="arn:aws:s3:::other/x"), [policy(allow())], owner=OWNER) is Decision.NOT_ALLOWED


def test_an_explicit_deny_decides_wherever_it_stands() -> None:
    plain = READ.of(context={"aws:SecureTransport": "false"})
    assert decide(plain, [policy(allow())], policy(ONLY_TLS), owner=OWNER) is Decision.DENIED
    assert decide(READ, [policy(allow())], policy(ONLY_TLS), owner=OWNER) is Decision.ALLOWED
    assert decide(READ, [policy(allow(), deny())], owner=OWNER) is Decision.DENIED
    assert decide(READ, [policy(allow())], endpoint=policy(deny(Principal="*")), owner=OWNER) is Decision.DENIED


def test_a_resources_policy_lets_its_own_accounts_roles_in_by_name_and_strangers_only_with_their_own_right() -> None:
    named = policy(allow(Principal={"AWS": ROLE}))
    assert decide(READ, resource=named, owner=OWNER) is Decision.ALLOWED
    whole = policy(allow(Principal={"AWS": f"arn:aws:iam::{OWNER}:root"}))
    assert decide(READ, resource=whole, owner=OWNER) is Decision.NOT_ALLOWED
    stranger = READ.of(principal=STRANGER)
    assert decide(stranger, [policy(allow())], named, owner=OWNER) is Decision.NOT_ALLOWED
    theirs = policy(allow(Principal={"AWS": STRANGER}))
    assert decide(stranger, resource=theirs, owner=OWNER) is Decision.NOT_ALLOWED
    assert decide(stranger, [policy(allow())], theirs, owner=OWNER) is Decision.ALLOWED


def test_a_keys_policy_is_the_only_door_to_it() -> None:
    mine = [policy(allow("kms:Decrypt", KEY))]
    assert decide(DECRYPT, mine, owner=OWNER) is Decision.NOT_ALLOWED
    assert decide(DECRYPT, mine, policy(allow("kms:*", "*", Principal={"AWS": STRANGER})), owner=OWNER) is (
        Decision.NOT_ALLOWED
    )
    delegating = policy(allow("kms:*", "*", Principal={"AWS": f"arn:aws:iam::{OWNER}:root"}))
    assert decide(DECRYPT, mine, delegating, owner=OWNER) is Decision.ALLOWED
    assert decide(DECRYPT, (), delegating, owner=OWNER) is Decision.NOT_ALLOWED
    assert (
        decide(DECRYPT, (), policy(allow("kms:Decrypt", "*", Principal={"AWS": ROLE})), owner=OWNER) is Decision.ALLOWED
    )


def test_an_endpoint_lets_through_what_it_allows_alone() -> None:
    door = policy(allow(Principal="*"))
    assert decide(READ, [policy(allow())], endpoint=door, owner=OWNER) is Decision.ALLOWED
    other = READ.of(resource="arn:aws:s3:::elsewhere/x")
    assert decide(other, [policy(allow("s3:*", "*"))], endpoint=door, owner=OWNER) is Decision.NOT_ALLOWED


def test_a_service_is_named_as_one() -> None:
    logs = READ.of(principal="delivery.logs.amazonaws.com", context={"aws:SourceAccount": OWNER})
    named = policy(
        allow(
            Principal={"Service": "delivery.logs.amazonaws.com"},
            Condition={"StringEquals": {"aws:SourceAccount": OWNER}},
        )
    )
    assert decide(logs, resource=named, owner=OWNER) is Decision.ALLOWED
    assert decide(logs.of(context={"aws:SourceAccount": "9"}), resource=named, owner=OWNER) is Decision.NOT_ALLOWED
    assert decide(logs.of(principal="iot.amazonaws.com"), resource=named, owner=OWNER) is Decision.NOT_ALLOWED
    assert decide(READ, resource=named, owner=OWNER) is Decision.NOT_ALLOWED


def test_all_but_some() -> None:
    all_but_reading = policy({"Effect": "Allow", "NotAction": "s3:Get*", "NotResource": "arn:aws:s3:::lake/secret/*"})
    put = READ.of(action="s3:PutObject")
    assert decide(put, [all_but_reading], owner=OWNER) is Decision.ALLOWED
    assert decide(READ, [all_but_reading], owner=OWNER) is Decision.NOT_ALLOWED
    assert decide(put.of(resource="arn:aws:s3:::lake/secret/1"), [all_but_reading], owner=OWNER) is Decision.NOT_ALLOWED


def test_a_variable_is_filled_in_from_the_request_or_matches_nothing() -> None:
    own = [policy(allow("iot:Publish", "arn:aws:iot:x:1:topic/city/${iot:Connection.Thing.ThingName}/data"))]
    request = Request(
        ROLE, "iot:Publish", "arn:aws:iot:x:1:topic/city/s-1/data", {"iot:Connection.Thing.ThingName": "s-1"}
    )
    assert decide(request, own, owner=OWNER) is Decision.ALLOWED
    assert decide(request.of(resource="arn:aws:iot:x:1:topic/city/s-2/data"), own, owner=OWNER) is Decision.NOT_ALLOWED
    assert decide(request.of(context={}), own, owner=OWNER) is Decision.NOT_ALLOWED


@pytest.mark.parametrize(
    ("operator", "wanted", "value", "holds"),
    [
        ("StringEquals", ["a", "b"], "b", True),
        ("StringEquals", ["a"], "A", False),
        ("StringEquals", ["a"], None, False),
        ("StringEqualsIfExists", ["a"], None, True),
        ("StringEqualsIfExists", ["a"], "b", False),
        ("StringEqualsIgnoreCase", ["a"], "A", True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", ["a", "b"], "c", True),
        ("StringNotEquals", ["a"], None, True),
        ("StringNotEqualsIfExists", ["a"], None, True),
        ("StringLike", ["a*"], "abc", True),
        ("StringNotLike", ["a*"], "abc", False),
        ("ArnLike", ["arn:aws:iam::1:role/*"], "arn:aws:iam::1:role/x", True),
        ("ArnNotLike", ["arn:aws:iam::1:role/*"], "arn:aws:iam::2:role/x", True),
        ("ArnEquals", ["arn:aws:s3:::a"], "arn:aws:s3:::a", True),
        ("Bool", ["true"], "True", True),
        ("Bool", ["false"], None, False),
        ("BoolIfExists", ["false"], None, True),
        ("Null", ["true"], None, True),
        ("Null", ["true"], "x", False),
        ("Null", ["false"], "x", True),
        ("NumericLessThan", ["1.2"], "1.1", True),
        ("NumericLessThan", ["1.2"], "1.2", False),
        ("NumericGreaterThanEquals", ["7"], "7", True),
        ("IpAddress", ["10.0.0.0/8"], "10.1.2.3", True),
        ("NotIpAddress", ["10.0.0.0/8"], "10.1.2.3", False),
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "a"], True),
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "c"], False),
        ("ForAllValues:StringEquals", ["a"], None, True),
        ("ForAnyValue:StringEquals", ["a"], ["c", "a"], True),
        ("ForAnyValue:StringEquals", ["a"], None, False),
        ("ForAnyValue:StringNotEquals", ["a"], ["a", "b"], True),
        ("ForAnyValue:StringNotEquals", ["a"], None, False),
        ("ForAllValues:StringNotEquals", ["a"], ["a", "b"], False),
    ],
)
def test_conditions_hold_as_documented(operator: str, wanted: list[str], value: Any, *, holds: bool) -> None:
    request = READ.of(context={} if value is None else {"Key": value})
    assert condition(operator, "key", wanted, request) is holds


@pytest.mark.parametrize(
    "statement",
    [
        allow() | {"NotPrincipal": {"AWS": ROLE}},
        allow() | {"Actions": "s3:*"},
        allow() | {"NotAction": "s3:*"},
        allow() | {"Effect": "Permit"},
        allow(Condition={"DateLessThan": {"aws:CurrentTime": "2026-01-01"}}),
        allow(Principal={"CanonicalUser": "1"}),
    ],
)
def test_what_is_not_understood_is_refused(statement: dict[str, Any]) -> None:
    with pytest.raises(NotUnderstood):
        decide(READ, resource=policy(statement), owner=OWNER)


def test_a_star_stays_within_its_segment_of_an_arn() -> None:
    assert arn_matches("arn:aws:s3:::lake*", OBJECT)
    assert arn_matches("*", OBJECT)
    assert not arn_matches("arn:aws:*", OBJECT)
    assert not arn_matches("arn:aws:sqs:*:queue", f"arn:aws:sqs:ca-central-1:{OWNER}:queue")
    assert arn_matches("${RawBucket.Arn}/*", "${RawBucket.Arn}/a:b")
    assert not arn_matches("${RawBucket.Arn}/*", "${RawBucket.Arn}")


WORDS = st.text("ab*?.[/", max_size=8)


@given(WORDS, st.text("ab.[/", max_size=8))
def test_patterns_match_as_file_names_do(pattern: str, text: str) -> None:
    assert matches(pattern, text) == fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


STATEMENTS = st.builds(
    lambda effect, action, resource, only_tls: {
        "Effect": effect, "Action": action, "Resource": resource,
        **({"Condition": {"Bool": {"aws:SecureTransport": "true"}}} if only_tls else {}),
    },
    st.sampled_from(["Allow", "Deny"]),
    st.sampled_from(["s3:GetObject", "s3:Get*", "s3:PutObject", "*"]),
    st.sampled_from([OBJECT, "arn:aws:s3:::lake/*", "arn:aws:s3:::other/*", "*"]),
    st.booleans(),
)  # fmt: skip
REQUESTS = st.builds(
    lambda action, resource, tls: Request(ROLE, action, resource, {"aws:SecureTransport": tls}),
    st.sampled_from(["s3:GetObject", "s3:PutObject"]),
    st.sampled_from([OBJECT, "arn:aws:s3:::other/x"]),
    st.sampled_from(["true", "false"]),
)


@given(REQUESTS, st.lists(STATEMENTS, min_size=1, max_size=5), STATEMENTS, st.integers(0, 5))
def test_a_statement_more_opens_or_closes_as_its_effect_says(
    request_: Request, some: list[dict[str, Any]], more: dict[str, Any], place: int
) -> None:
    before = decide(request_, [policy(*some)], owner=OWNER)
    after = decide(request_, [policy(*some[:place], more, *some[place:])], owner=OWNER)
    if more["Effect"] == "Deny":
        assert after in {before, Decision.DENIED}
    else:
        assert after in {before, Decision.ALLOWED}
        assert (before is Decision.DENIED) == (after is Decision.DENIED)
    # One document or several: the same.
    assert after is decide(request_, [policy(one) for one in (*some, more)], owner=OWNER)
