"""Stacks come after what they build on, and what does not fit together is said beforehand, all of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from city_platform.infrastructure.templates import BadTemplate, Template, in_order, read_templates

VALUES = {"Environment": "dev", "Project": "city"}


def named(what: str) -> Mapping[str, Any]:
    return {"Fn::Sub": "${Project}-${Environment}-" + what}


def template(name: str, exports: list[str], imports: list[str], **more: Any) -> Template:
    body = {
        "Parameters": {"Environment": {}, "Project": {"Default": "city-platform"}},
        "Resources": {"R": {"Type": "T", "Properties": [{"Fn::ImportValue": named(one)} for one in imports]}},
        "Outputs": {one: {"Value": "v", "Export": {"Name": named(one)}} for one in exports},
        **more,
    }
    return Template(name, yaml.safe_dump(body), body)


@given(st.permutations(range(8)), st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20))
def test_each_comes_after_those_whose_exports_it_takes(ranks: list[int], pairs: list[tuple[int, int]]) -> None:
    takes: dict[int, set[int]] = {number: set() for number in range(8)}
    for one, other in pairs:
        if ranks[one] != ranks[other]:
            late, early = (one, other) if ranks[one] > ranks[other] else (other, one)
            takes[late].add(early)
    templates = {f"s{one}": template(f"s{one}", [f"E{one}"], [f"E{two}" for two in takes[one]]) for one in range(8)}
    order = [one.name for one in in_order(templates, VALUES, {})]
    assert sorted(order) == sorted(templates)
    for one, needed in takes.items():
        assert all(order.index(f"s{two}") < order.index(f"s{one}") for two in needed)
    again = [one.name for one in in_order(dict(reversed(templates.items())), VALUES, {})]
    assert again == order


def test_a_circle_names_its_members() -> None:
    templates = {"a": template("a", ["A"], ["B"]), "b": template("b", ["B"], ["A"]), "c": template("c", [], [])}
    with pytest.raises(BadTemplate, match=r"wait for each other: (a -> b -> a|b -> a -> b)"):
        in_order(templates, VALUES, {})
    with pytest.raises(BadTemplate, match="wait for each other"):
        in_order({"a": template("a", ["A"], []), "b": template("b", [], ["A"])}, VALUES, {"a": {"b"}})


def test_exports_that_nobody_or_two_make_are_all_named() -> None:
    templates = {"a": template("a", ["A"], ["X", "Y"]), "b": template("b", ["A"], [])}
    with pytest.raises(BadTemplate) as refusal:
        in_order(templates, VALUES, {"b": {"gone"}})
    for words in ("imports city-dev-X", "imports city-dev-Y", "a.yaml and b.yaml both export city-dev-A", "gone"):
        assert words in str(refusal.value)


def test_exports_are_a_regions() -> None:
    templates = {"a": template("a", ["A"], []), "b": template("b", ["A"], []), "c": template("c", [], ["A"])}
    where = {"a": "west", "b": "east", "c": "east"}
    assert [one.name for one in in_order(templates, VALUES, {}, where.__getitem__)] == ["a", "b", "c"]
    with pytest.raises(BadTemplate, match=r"c\.yaml imports city-dev-A, which no template exports in its region"):
        in_order(templates, VALUES, {}, (where | {"c": "north"}).__getitem__)


def test_a_name_that_depends_on_what_nobody_gave_is_refused() -> None:
    lost = template("a", [], [])
    lost = Template("a", "", {**lost.body, "Outputs": {"O": {"Export": {"Name": {"Fn::Sub": "${Nobody}-X"}}}}})
    with pytest.raises(BadTemplate, match="depends on Nobody"):
        lost.exports(VALUES)
    joined = Template("a", "", {**lost.body, "Outputs": {"O": {"Export": {"Name": {"Fn::Join": []}}}}})
    with pytest.raises(BadTemplate, match="is no text"):
        joined.exports(VALUES)


def test_templates_are_read_with_the_short_forms_of_functions(tmp_path: Path) -> None:
    (tmp_path / "exceptions.yaml").write_text("a: []\n")
    (tmp_path / "stack.yaml").write_text(
        "Metadata: {DeployedByHand: because}\n"
        "Parameters: {CodeKey: {Type: String}, Project: {Default: p}}\n"
        "Resources:\n"
        "  A: {Type: 'AWS::Lambda::Function', Properties: {Handler: m.f, Code: {S3Key: !Ref CodeKey}}}\n"
        "  B: {Type: 'AWS::Lambda::Function', Properties: {Handler: index.handler, Code: {ZipFile: x}}}\n"
        "  C: {Type: T, Properties: {X: !If [Q, !GetAtt A.Arn, !Ref 'AWS::NoValue']}}\n"
        "  D: {Type: T, Properties: {X: !Sub {a: b}, Y: !ImportValue plain}}\n"
    )
    (found,) = read_templates(tmp_path).values()
    assert found.handlers == ["m.f"]
    assert found.is_packaged
    assert found.by_hand == "because"
    assert found.imports({}) == {"plain"}
    choice = found.body["Resources"]["C"]["Properties"]["X"]
    assert choice == {"Fn::If": ["Q", {"Fn::GetAtt": "A.Arn"}, {"Ref": "AWS::NoValue"}]}
    (tmp_path / "stack.yaml").write_text("Resources: [\n")
    with pytest.raises(BadTemplate, match=r"stack\.yaml is not YAML"):
        read_templates(tmp_path)
    with pytest.raises(BadTemplate, match="holds no templates"):
        read_templates(tmp_path / "empty")
