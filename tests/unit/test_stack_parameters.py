"""Files of parameters: what they may say, what is missing, and how the three environments differ."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from city_platform.infrastructure.parameters import (
    ENVIRONMENTS,
    BadParameters,
    Environment,
    EnvironmentFile,
    Variable,
    check,
    read_environment,
    resolve,
)
from city_platform.infrastructure.templates import Template, in_order, read_templates
from tests.conftest import ROOT

FOLDER = ROOT / "infrastructure"
TEMPLATES = read_templates(FOLDER)
PLAIN = {"region": "ca-central-1", "approval": False, "protected": False, "common": {}}


def environment(**more: Any) -> Environment:
    return Environment("dev", EnvironmentFile.model_validate_json(json.dumps(PLAIN | more)))


def template(name: str = "a", **parameters: Mapping[str, Any]) -> Template:
    return Template(name, "", {"Parameters": parameters, "Resources": {}})


def test_a_parameter_takes_what_was_built_then_its_stacks_then_common_then_its_default() -> None:
    one = environment(common={"A": 1, "B": 2, "C": 3, "Yes": True}, stacks={"a": {"B": 20, "C": 30}})
    asked = template(A={}, B={}, C={}, D={"Default": "d"}, Yes={}, Environment={}, Project={"Default": "p"})
    found = resolve(one, asked, {"C": "built"}, {}, lambda _stack, _name: None)
    assert found.values == {
        "A": "1", "B": "20", "C": "built", "Yes": "true", "Environment": "dev", "Project": "city-platform",
    }  # fmt: skip
    assert not found.missing
    assert not found.waits


def test_what_is_missing_is_said_with_where_to_give_it() -> None:
    one = environment(common={"Mail": {"variable": "CITY_MAIL"}, "Free": {"variable": "CITY_FREE", "default": ""}})
    found = resolve(one, template(Mail={}, Free={}, Other={}), {}, {"CITY_MAIL": ""}, lambda _stack, _name: None)
    assert found.values == {"Free": ""}
    assert found.missing == {
        "Mail": "set CITY_MAIL in the environment of this command",
        "Other": "give it in infrastructure/parameters/dev.json",
    }
    told = resolve(one, template(Mail={}, Free={}), {}, {"CITY_MAIL": "a@b", "CITY_FREE": "f"}, lambda _s, _n: None)
    assert told.values == {"Mail": "a@b", "Free": "f"}


def test_an_output_is_taken_or_waited_for() -> None:
    one = environment(stacks={"a": {"Arn": {"output": "replica.BucketArn"}}})
    asked = template(Arn={})
    assert resolve(one, asked, {}, {}, lambda _stack, _name: None).waits == {"replica"}
    outputs = {("replica", "BucketArn"): "arn"}
    assert resolve(one, asked, {}, {}, lambda *where: outputs[where]).values == {"Arn": "arn"}
    assert one.after({"a": asked}) == {"a": {"replica"}}
    assert environment(after={"a": ["b"]}).after({"a": asked}) == {"a": {"b"}}


def test_a_file_that_speaks_of_what_is_not_there_is_refused_as_a_whole() -> None:
    one = environment(
        common={"Gone": 1},
        stacks={"nowhere": {}, "a": {"Typo": 1}},
        regions={"r": "x"},
        without={"w": "x"},
        after={"f": ["a"]},
    )
    with pytest.raises(BadParameters) as refusal:
        check(one, {"a": template(Real={})})
    for words in ("common.Gone", "stacks.nowhere", "stacks.a.Typo", "regions.r", "without.w", "after.f"):
        assert words in str(refusal.value)


def test_a_file_with_mistakes_names_each(tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text(json.dumps({**PLAIN, "approval": "no", "extra": 1, "common": {"A": None}}))
    with pytest.raises(BadParameters) as refusal:
        read_environment(tmp_path, "dev")
    for words in ("dev.json", "approval", "extra", "common.A"):
        assert words in str(refusal.value)
    for unknown in ("prod", "test"):
        with pytest.raises(BadParameters, match=f"no environment '{unknown}'"):
            read_environment(tmp_path, unknown)


def accepts(declared: Mapping[str, Any], value: str) -> bool:
    """Whether CloudFormation takes the value for a parameter."""
    allowed, pattern = declared.get("AllowedValues"), declared.get("AllowedPattern")
    number = declared.get("Type") == "Number"
    return (
        (allowed is None or value in map(str, allowed))
        and (pattern is None or re.fullmatch(pattern, value) is not None)
        and (
            not number
            or float(declared.get("MinValue", "-inf")) <= float(value) <= float(declared.get("MaxValue", "inf"))
        )
    )


@pytest.mark.parametrize(
    ("declared", "right", "wrong"),
    [
        ({"AllowedValues": [30, 90]}, "30", "31"),
        ({"AllowedPattern": "[a-z]+"}, "ab", "aB"),
        ({"Type": "Number", "MinValue": 7}, "7", "6.9"),
        ({"Type": "Number", "MaxValue": 7}, "7", "8"),
    ],
)
def test_values_are_held_against_what_a_template_accepts(declared: Mapping[str, Any], right: str, wrong: str) -> None:
    assert accepts(declared, right)
    assert not accepts(declared, wrong)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_template_gets_what_it_has_no_default_for(name: str) -> None:
    one, templates = read_environment(FOLDER / "parameters", name), TEMPLATES
    check(one, templates)
    variables = {
        value.variable: "x" for each in templates.values() for value in one.given(each).values()
        if isinstance(value, Variable)
    }  # fmt: skip
    for each in templates.values():
        built = {"CodeBucket": "b", "CodeKey": "k"} if each.is_packaged else {}
        found = resolve(one, each, built, variables, lambda _stack, name: name)
        assert not found.missing, (each.name, found.missing)
        for parameter, value in found.values.items():
            given, declared = one.given(each).get(parameter), each.parameters[parameter]
            if isinstance(given, str | int):
                assert accepts(declared, value), (each.name, parameter, value)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_stacks_of_an_environment_can_be_put_in_order(name: str) -> None:
    one, templates = read_environment(FOLDER / "parameters", name), TEMPLATES
    order = [each.name for each in in_order(templates, one.identity, one.after(templates), one.region)]
    assert sorted(order) == sorted(templates)
    outputs = {
        (value.template, value.name) for each in templates.values() for value in one.given(each).values()
        if not isinstance(value, str | int | Variable)
    }  # fmt: skip
    for stack, output in outputs:
        assert output in templates[stack].body["Outputs"], (stack, output)


def test_the_environments_differ_where_they_should() -> None:
    dev, staging, prod = (read_environment(FOLDER / "parameters", name).file for name in ENVIRONMENTS)
    assert [one.approval for one in (dev, staging, prod)] == [False, True, True]
    assert [one.protected for one in (dev, staging, prod)] == [False, True, True]
    assert [one.common["DeletionProtection"] for one in (dev, staging, prod)] == [False, True, True]
    days = [one.common["LogRetentionDays"] for one in (dev, staging, prod)]
    assert days == sorted(set(days))  # type: ignore[type-var]
    # Alarms: dev is let go slower and be refused more often before somebody is woken.
    assert dev.stacks["monitoring"]["RunSecondsLimit"] > prod.stacks["monitoring"]["RunSecondsLimit"]  # type: ignore[operator]
    assert dev.stacks["audit"]["DeniedCallsTolerated"] > prod.stacks["audit"]["DeniedCallsTolerated"]  # type: ignore[operator]
    assert [one.stacks["dagster"]["DatabaseZones"] for one in (dev, staging, prod)] == ["1", "1", "2"]
    assert [bool(one.stacks["foundation"]["ReplicaRegion"]) for one in (dev, staging, prod)] == [False, True, True]
    assert "replica" in dev.without
    # What is the same everywhere is how stacks are put together.
    assert dev.stacks["iot-analytics-system"].keys() == prod.stacks["iot-analytics-system"].keys()
    assert staging.stacks["incidents"].keys() == prod.stacks["incidents"].keys()
