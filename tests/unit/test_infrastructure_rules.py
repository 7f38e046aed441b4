"""The rules that hold over all templates of infrastructure/, and that each of them can fail."""

import pytest
import yaml

from tests.conftest import ROOT
from tests.infrastructure_rules import general  # noqa: F401 - registers its rules
from tests.infrastructure_rules.model import RULES, Exclusion, broken, broken_in, excepted, exclusions
from tests.templates import Stack, Template, parse, resources, template, template_names, templates

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
def test_a_rule_passes_what_is_right_and_finds_what_is_wrong(name: str) -> None:
    def findings(example: object) -> list[str]:
        only = {name: RULES[name]}
        return [one.what for one in broken(stack(example), only)]

    example = EXAMPLES[name]
    for right in example["right"]:
        assert not findings(right)
    assert example["wrong"]
    for wrong in example["wrong"]:
        assert findings(wrong), yaml.safe_dump(wrong)


def stack(example: object) -> Stack:
    return Template("example", {"Resources": example}).deploy()


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
