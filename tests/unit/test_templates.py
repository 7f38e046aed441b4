"""Reading templates: intrinsic functions, conditions, variants."""

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.templates import Template, UnknownReference, parse

SOME = settings(max_examples=40)
TEXT = """
Parameters:
  Environment: {Type: String, AllowedValues: [dev, prod]}
  Project: {Type: String, Default: city-platform}
  Replica: {Type: String, Default: ""}
  Mode: {Type: String, Default: KMS, AllowedValues: [KMS, SSE-S3]}
  Days: {Type: Number, Default: "30"}
  Zones: {Type: CommaDelimitedList, Default: "a, b"}
Mappings:
  Sizes: {dev: {Memory: 128}, prod: {Memory: 512}}
Conditions:
  HasReplica: !Not [!Equals [!Ref Replica, ""]]
  Kms: !Equals [!Ref Mode, KMS]
  Both: !And [!Condition HasReplica, !Condition Kms]
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    Properties:
      BucketName: !Sub "${Project}-${Environment}-x"
      Lifecycle: !Ref Days
      Memory: !FindInMap [Sizes, !Ref Environment, Memory]
      Key: !If [Kms, !GetAtt Key.Arn, !Ref AWS::NoValue]
      Zones: !Join ["+", !Ref Zones]
      Second: !Select [1, !Split ["/", "a/b"]]
      Topic: !ImportValue
        Fn::Sub: "${Project}-${Environment}-Topic"
      Own: !Sub ["${A}/${!B}/${Bucket}", {A: !Ref "AWS::Region"}]
      Policy: {Condition: {StringEquals: {a: b}}}
  Key: {Type: AWS::KMS::Key, Condition: Both}
Outputs:
  Name: {Value: !Ref Bucket, Export: {Name: !Sub "${Project}-${Environment}-Name"}}
"""


@pytest.fixture
def small() -> Template:
    return Template("small", parse(TEXT))


def test_everything_is_resolved_to_text(small: Template) -> None:
    stack = small.deploy({"AWS::Region": "xx-1"}, Environment="prod")
    assert stack["Bucket"].properties == {
        "BucketName": "city-platform-prod-x",
        "Lifecycle": 30,
        "Memory": 512,
        "Key": "${Key.Arn}",
        "Zones": "a+b",
        "Second": "b",
        "Topic": "${import:city-platform-prod-Topic}",
        "Own": "xx-1/${B}/${Bucket}",
        "Policy": {"Condition": {"StringEquals": {"a": "b"}}},
    }
    assert stack.exports == {"city-platform-prod-Name": "${Bucket}"}


def test_conditions_decide_what_is_there(small: Template) -> None:
    assert [one.name for one in small.deploy().resources()] == ["Bucket"]
    assert [one.name for one in small.deploy(Replica="x").resources()] == ["Bucket", "Key"]
    plain = small.deploy(Replica="x", Mode="SSE-S3")
    assert "Key" not in plain.by_name
    assert "Key" not in plain["Bucket"].properties


def test_variants_take_both_sides_of_each_condition(small: Template) -> None:
    taken = [(each.parameters.get("Replica", ""), each.parameters.get("Mode", "KMS")) for each in small.variants()]
    assert taken == [("", "KMS"), ("given", "KMS"), ("", "SSE-S3"), ("given", "SSE-S3")]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Type", "Tags", "a b"]), inner),
)
VALUES = {"Project": "city-platform", "Days": "30", "Bucket": "${Bucket}", "AWS::Region": "${AWS::Region}"}


@SOME
@given(PLAIN)
def test_what_holds_no_function_is_left_as_it_is(value: Any) -> None:
    assert Template("small", parse(TEXT)).resolve(value) == value
    assert parse(yaml.safe_dump(value)) == value


@SOME
@given(st.lists(st.tuples(st.text("az -/.*"), st.sampled_from(sorted(VALUES))), max_size=4))
def test_text_is_put_together_of_what_its_references_are(parts: list[tuple[str, str]]) -> None:
    small = Template("small", parse(TEXT))
    written = "".join(f"{text}${{{name}}}" for text, name in parts)
    expected = "".join(f"{text}{VALUES[name]}" for text, name in parts)
    assert small.resolve({"Fn::Sub": written}) == expected
    joined = ["", [piece for text, name in parts for piece in (text, {"Ref": name})]]
    assert small.resolve({"Fn::Join": joined}) == expected
    assert parse(yaml.safe_dump({"Value": written}).replace("Value:", "Value: !Sub")) == {"Value": {"Fn::Sub": written}}


@SOME
@given(st.sampled_from(["", "given"]), st.sampled_from(["KMS", "SSE-S3"]))
def test_a_condition_is_what_its_parts_are(replica: str, mode: str) -> None:
    stack = Template("small", parse(TEXT)).deploy(Replica=replica, Mode=mode)
    assert ("Key" in stack.by_name) == (replica != "" and mode == "KMS")


@pytest.mark.parametrize(
    "value",
    [
        {"Ref": "Nobody"},
        {"Fn::Sub": "${Nobody}"},
        {"Fn::GetAtt": ["Nobody", "Arn"]},
        {"Fn::If": ["Nobody", 1, 2]},
        {"Fn::FindInMap": ["Sizes", "staging", "Memory"]},
    ],
)
def test_a_reference_to_nothing_is_an_error(small: Template, value: object) -> None:
    with pytest.raises(UnknownReference):
        small.resolve(value)


def test_a_parameter_that_is_none_is_an_error(small: Template) -> None:
    with pytest.raises(UnknownReference, match="Enviroment"):
        small.deploy(Enviroment="prod")


def test_a_key_written_twice_is_an_error() -> None:
    with pytest.raises(Exception, match="twice"):
        parse("A: {B: 1, B: 2}")
