"""CloudFormation's intrinsic functions as values, resources as YAML with the short-form tags, and what the written
templates have in common.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

Properties = Mapping[str, Any]

# The parameters that the names of all stacks and of what is in them are made of.
IDENTITY = """\
Parameters:
  Environment:
    Type: String
    AllowedValues: [dev, staging, prod]
  Project:
    Type: String
    Default: city-platform
    AllowedPattern: "[a-z][a-z0-9-]{1,19}"
"""


@dataclass(frozen=True, slots=True)
class Function:
    """An intrinsic function, `!Sub`, `!Ref`, `!GetAtt`, `!If` or `!ImportValue`, with its argument."""

    name: str
    argument: Any


def sub(text: str, **values: Any) -> Function:
    """Text with ${names}; of `values` those that are no parameter or resource."""
    return Function("Sub", [text, values] if values else text)


def ref(name: str) -> Function:
    return Function("Ref", name)


def attribute(resource: str, name: str) -> Function:
    return Function("GetAtt", f"{resource}.{name}")


def imported(name: str) -> Function:
    """What another stack exports under that name."""
    return Function("ImportValue", sub(f"${{Project}}-${{Environment}}-{name}"))


def either(condition: str, yes: Any, no: Any) -> Function:
    return Function("If", [condition, yes, no])


NO_VALUE = ref("AWS::NoValue")


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource: its logical name, Type and Properties, and the Condition it is made under, if any.

    `retained`: it stays when its stack goes, but for a stack whose creation failed.
    """

    name: str
    kind: str
    properties: Properties
    condition: str = ""
    retained: bool = False

    @property
    def body(self) -> Properties:
        condition = {"Condition": self.condition} if self.condition else {}
        kept = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"} if self.retained else {}
        return {"Type": self.kind, **condition, **kept, "Properties": self.properties}


def logical_name(*words: str) -> str:
    """`("curated", "parking_tickets")` as CuratedParkingTickets: letters and digits alone."""
    parts = [part for word in words for part in "".join(c if c.isalnum() else " " for c in word).split()]
    return "".join(part[:1].upper() + part[1:] for part in parts)


def tags(classification: str) -> list[Properties]:
    """The tags of every resource, as a list of pairs."""
    return [{"Key": key, "Value": value} for key, value in tag_map(classification).items()]


def tag_map(classification: str) -> Properties:
    """The same as a mapping, as some services want them."""
    return {"Project": ref("Project"), "Environment": ref("Environment"), "DataClassification": classification}


class _Dumper(yaml.CSafeDumper):
    """Texts of several lines as blocks, everything written out where it stands."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _function(dumper: _Dumper, value: Function) -> yaml.Node:
    tag = f"!{value.name}"
    if isinstance(value.argument, str):
        style = "|" if "\n" in value.argument else None
        return dumper.represent_scalar(tag, value.argument, style=style)
    if isinstance(value.argument, Function):
        # Two short-form tags cannot follow each other: the outer one is written in full.
        return dumper.represent_mapping("tag:yaml.org,2002:map", {f"Fn::{value.name}": value.argument})
    return dumper.represent_sequence(tag, value.argument)


def _text(dumper: _Dumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(Function, _function)
_Dumper.add_representer(str, _text)


def as_yaml(resources: list[Resource]) -> str:
    """The resources as they stand below `Resources:`, indented by two, an empty line before each."""
    texts = []
    for one in resources:
        text = yaml.dump({one.name: one.body}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
        texts.append("\n" + "".join(f"  {line}" if line.strip() else line for line in text.splitlines(keepends=True)))
    return "".join(texts)
