"""Resources as YAML: what is written is what CloudFormation reads."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from city_platform.deployment.cloudformation import (
    Function,
    Resource,
    as_yaml,
    attribute,
    either,
    imported,
    logical_name,
    ref,
    sub,
)
from tests.templates import parse

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n"), max_size=40)
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,8}", fullmatch=True)
FUNCTIONS = st.one_of(
    st.builds(ref, NAMES),
    st.builds(attribute, NAMES, NAMES),
    st.builds(imported, NAMES),
    st.builds(sub, TEXTS),
    st.builds(lambda text, name: sub(text, Bucket=imported(name)), TEXTS, NAMES),
    st.builds(either, NAMES, TEXTS, st.just(ref("AWS::NoValue"))),
)
VALUES = st.recursive(
    st.one_of(TEXTS, st.booleans(), st.integers(-(10**9), 10**9), FUNCTIONS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def as_read(value: Any) -> Any:
    """The value as a reader of the template sees it."""
    match value:
        case Function("Ref", argument):
            return {"Ref": argument}
        case Function("GetAtt", argument):
            return {"Fn::GetAtt": argument.split(".", 1)}
        case Function(name, argument):
            return {f"Fn::{name}": as_read(argument)}
        case dict():
            return {key: as_read(one) for key, one in value.items()}
        case list():
            return [as_read(one) for one in value]
        case _:
            return value


@given(st.dictionaries(NAMES, VALUES, max_size=3))
def test_what_is_written_is_what_is_read(properties: dict[str, Any]) -> None:
    text = as_yaml([Resource("One", "AWS::X::Y", properties), Resource("Two", "AWS::X::Z", {}, "Wanted")])
    assert parse(text) == {
        "One": {"Type": "AWS::X::Y", "Properties": as_read(properties)},
        "Two": {"Type": "AWS::X::Z", "Condition": "Wanted", "Properties": {}},
    }


def test_logical_names_are_letters_and_digits() -> None:
    assert logical_name("curated", "parking_tickets") == "CuratedParkingTickets"
    assert logical_name("service_requests_311", "data set") == "ServiceRequests311DataSet"
