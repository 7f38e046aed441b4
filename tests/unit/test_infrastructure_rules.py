"""The rules that hold over all templates of infrastructure/, and that each of them can fail."""

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.infrastructure_rules.model import RULES, Exclusion, broken, broken_in, excepted, exclusions
from tests.templates import Template, parse, resources, template, template_names, templates, walk

PARAMETERS = {"Password": {"Type": "String", "NoEcho": True}}  # what examples may refer to
# Deployed into regions of their own, so that names may be there again.
ELSEWHERE = ("replica", "billing")
NAMES = (
    "AliasName",
    "AlarmName",
    "BucketName",
    "FunctionName",
    "LogGroupName",
    "Name",
    "QueueName",
    "RoleName",
    "TableName",
    "TopicName",
)
EXAMPLES = {
    name: example
    for file in sorted((ROOT / "tests/fixtures/infrastructure_rules").glob("*.yaml"))
    for name, example in parse(file.read_text("utf-8")).items()
}


@pytest.mark.parametrize("name", template_names())
def test_a_template_breaks_no_rule(name: str) -> None:
    found = sorted(one for one in broken_in(template(name)) if not excepted(one))
    assert not found, "\n".join(map(str, found))


def test_every_exception_is_needed_and_says_why() -> None:
    found = {Exclusion(one.rule, one.template, one.resource) for each in templates() for one in broken_in(each)}
    for exclusion, written in exclusions().items():
        assert set(written) == {"rule", "resources", "reason", "owner"}, written
        assert all(written.values()), written
        if not exclusion.rule.startswith("cfn-lint:"):
            assert exclusion in found, f"nothing needs {exclusion}"


def test_what_cfn_lint_is_told_to_ignore_is_among_the_exceptions() -> None:
    ignored = {
        Exclusion(f"cfn-lint:{check}", one.template, one.name)
        for one in resources()
        for check in one.body.get("Metadata", {}).get("cfn-lint", {}).get("config", {}).get("ignore_checks", ())
    }
    assert ignored == {one for one in exclusions() if one.rule.startswith("cfn-lint:")}


def test_every_rule_has_examples() -> None:
    assert set(EXAMPLES) == set(RULES)


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_rule_passes_what_is_right_and_finds_each_thing_that_is_wrong(name: str) -> None:
    example = EXAMPLES[name]
    for right in example["right"]:
        assert not findings(name, right)
    assert example["wrong"]
    for wrong in example["wrong"]:
        assert findings(name, changed(example["right"][0], wrong)), wrong


def findings(rule: str, resources: object) -> list[str]:
    stack = Template("example", {"Parameters": PARAMETERS, "Resources": resources}).deploy()
    return [one.what for one in broken(stack, {rule: RULES[rule]})]


def changed(right: Any, wrong: Mapping[str, Any]) -> Any:
    """The first example that is right, with values changed at dotted paths; null takes something away."""
    found = copy.deepcopy(right)
    for path, value in wrong.items():
        at, *steps = found, *(int(step) if step.isdecimal() else step for step in path.split("."))
        for step in steps[:-1]:
            at = at[step]
        if value is None:
            del at[steps[-1]]
        else:
            at[steps[-1]] = value
    return found


@pytest.mark.parametrize("name", template_names())
def test_every_template_has_the_common_parameters_and_a_description(name: str) -> None:
    each = template(name)
    assert each.parameters["Environment"]["AllowedValues"] == ["dev", "staging", "prod"]
    assert each.parameters["Project"]["Default"] == "city-platform"
    assert len(each.body["Description"]) > 80


@pytest.mark.parametrize("name", template_names())
def test_every_resource_is_in_some_variant(name: str) -> None:
    made = {each for stack in template(name).variants() for each in stack.by_name}
    assert made == set(template(name).body["Resources"])


@pytest.mark.parametrize("name", template_names())
def test_what_is_put_out_is_exported_under_the_name_that_others_import(name: str) -> None:
    for output, body in template(name).outputs.items():
        assert body["Export"]["Name"] == {"Fn::Sub": f"${{Project}}-${{Environment}}-{output}"}, output


def test_every_import_is_an_export_of_another_template() -> None:
    exported = {each.name: exports(each) for each in templates()}
    for each in templates():
        others = {name for other, names in exported.items() if other != each.name for name in names}
        missing = imports(each) - others
        assert not missing, f"{each.name} imports what no other template exports: {', '.join(sorted(missing))}"


@pytest.mark.parametrize("name", [name for name in template_names() if name not in ELSEWHERE])
def test_no_other_template_of_the_region_exports_or_names_the_same(name: str) -> None:
    for other in set(template_names()) - {name, *ELSEWHERE}:
        assert not named(name) & named(other), other


@cache
def named(name: str) -> set[tuple[str, str]]:
    """What an account and region can hold only once: exports, and names of resources by their type."""
    stack = template(name).deploy()
    given = [(one.kind, one.properties[key]) for one in stack.resources() for key in NAMES if key in one.properties]
    return {("export", export) for export in stack.exports} | {(kind, str(value)) for kind, value in given}


def exports(of: Template) -> set[str]:
    return {name for stack in of.variants() for name in stack.exports}


def imports(of: Template) -> set[str]:
    asked = [one["Fn::ImportValue"] for one in walk(of.body) if isinstance(one, dict) and "Fn::ImportValue" in one]
    return {of.resolve(one, {"Environment": "dev"}) for one in asked}
