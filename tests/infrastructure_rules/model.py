"""What a rule over templates is, and how exceptions to it are kept.

A rule looks at one resource as a stack would have it (intrinsic functions resolved) and yields what is wrong:

    @rule("s3-versioning", "AWS::S3::Bucket")
    def versioning(bucket: Resource, stack: Stack) -> Iterator[str]:
        if ...:
            yield "keeps no versions"

Each rule has a passing and at least one failing example in tests/fixtures/infrastructure_rules/. Exceptions are in
infrastructure/exceptions.yaml: under each template's name a list of {rule, resources, reason, owner}; one that nothing
needs is an error.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from tests.templates import FOLDER, Resource, Stack, Template

EXCEPTIONS = FOLDER / "exceptions.yaml"

Check = Callable[[Resource, Stack], Iterator[str]]


@dataclass(frozen=True)
class Rule:
    """`kinds` are the resource types it looks at; none means every resource."""

    name: str
    kinds: Sequence[str]
    check: Check


@dataclass(frozen=True, order=True)
class Finding:
    rule: str
    template: str
    resource: str
    what: str

    def __str__(self) -> str:
        return f"{self.template}:{self.resource} {self.what} [{self.rule}]"


RULES: dict[str, Rule] = {}


def rule(name: str, *kinds: str) -> Callable[[Check], Check]:
    """Registers a check under its id."""

    def register(check: Check) -> Check:
        if name in RULES:
            raise ValueError(f"two rules are called {name}")
        RULES[name] = Rule(name, kinds, check)
        return check

    return register


def broken(stack: Stack, rules: Mapping[str, Rule] = RULES) -> Iterator[Finding]:
    """Everything in one stack that breaks a rule, exceptions not yet taken off."""
    for resource in stack.resources():
        for one in rules.values():
            if not one.kinds or resource.kind in one.kinds:
                for what in one.check(resource, stack):
                    yield Finding(one.name, stack.template, resource.name, what)


def broken_in(template: Template) -> set[Finding]:
    """The same over all variants of a template."""
    return {finding for stack in template.variants() for finding in broken(stack)}


@dataclass(frozen=True)
class Exclusion:
    """One resource that need not keep one rule."""

    rule: str
    template: str
    resource: str


@cache
def exclusions() -> Mapping[Exclusion, Mapping[str, Any]]:
    """infrastructure/exceptions.yaml: each exclusion with what is written about it."""
    written = yaml.safe_load(EXCEPTIONS.read_text("utf-8"))
    return {
        Exclusion(one["rule"], template, resource): one
        for template, several in written.items()
        for one in several
        for resource in one["resources"]
    }


def excepted(finding: Finding) -> bool:
    return Exclusion(finding.rule, finding.template, finding.resource) in exclusions()
