"""The CloudFormation templates of infrastructure/, read for tests.

    foundation = template("foundation")              # infrastructure/foundation.yaml
    foundation.resources("AWS::S3::Bucket")          # as written, intrinsic functions as {"Fn::Sub": ...}
    foundation.resolve({"Fn::Sub": "${Project}-x"})  # "city-platform-x"
    foundation.deploy(Environment="prod")            # what a stack with these parameters would consist of
    resources("AWS::KMS::Key")                       # of all templates

Resolving gives readable text: parameters by their value or default, pseudo parameters and references to resources as
`${AWS::Region}`, `${RawBucket}`, `${InternalKey.Arn}`, imports as `${import:city-platform-dev-RawBucket}`. Give a
pseudo parameter a value like any other: `resolve(value, {"AWS::Region": "ca-central-1"})`. A parameter with NoEcho
shows as `${secret:Name}`, whatever its value.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "infrastructure"
NOTHING = object()  # what AWS::NoValue resolves to, until its key or element is dropped
_REFERENCE = re.compile(r"\$\{(!?)([^}]+)\}")
_OTHER = "given"  # a value that no condition compares with


class UnknownReference(LookupError):
    """A template refers to a parameter, resource, condition or mapping that it does not declare."""


class _Loader(yaml.CSafeLoader):
    """YAML with CloudFormation's short-form tags, dates kept as text, and no key twice."""


def _tagged(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    name = suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if name == "Fn::GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {name: value}


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise yaml.constructor.ConstructorError(None, None, f"twice in one mapping: {twice}", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_Loader.add_multi_constructor("!", _tagged)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: loader.construct_scalar(node))


def parse(text: str) -> Any:
    """A template's text as plain objects; `!Sub x` becomes `{"Fn::Sub": "x"}`, `!GetAtt a.b` a list."""
    return yaml.load(text, _Loader)  # noqa: S506 - a subclass of the safe loader


@dataclass(frozen=True)
class Resource:
    """One resource: `kind` is its Type, `body` everything written under its name."""

    template: str
    name: str
    body: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.body["Type"])

    @property
    def properties(self) -> Mapping[str, Any]:
        return self.body.get("Properties") or {}

    def __str__(self) -> str:
        return f"{self.template}:{self.name}"


@dataclass(frozen=True)
class Stack:
    """What a template becomes with one set of parameters: conditions decided, everything resolved to text."""

    template: str
    parameters: Mapping[str, Any]
    by_name: Mapping[str, Resource]
    outputs: Mapping[str, Mapping[str, Any]]

    def __getitem__(self, name: str) -> Resource:
        return self.by_name[name]

    def resources(self, kind: str | None = None) -> Sequence[Resource]:
        return [one for one in self.by_name.values() if kind is None or one.kind == kind]

    @property
    def exports(self) -> Mapping[str, Any]:
        """Export name -> value, resolved."""
        return {out["Export"]["Name"]: out["Value"] for out in self.outputs.values() if "Export" in out}


@dataclass(frozen=True)
class Template:
    """One template as written. `name` is the file's name without its ending."""

    name: str
    body: Mapping[str, Any]
    _stacks: dict[str, Stack] = field(default_factory=dict, compare=False, repr=False)  # by their parameters

    @property
    def parameters(self) -> Mapping[str, Mapping[str, Any]]:
        return self.body.get("Parameters") or {}

    @property
    def outputs(self) -> Mapping[str, Mapping[str, Any]]:
        return self.body.get("Outputs") or {}

    def resources(self, kind: str | None = None) -> Sequence[Resource]:
        """The resources as written, all or of one Type, whatever their conditions."""
        found = [Resource(self.name, name, body) for name, body in self.body["Resources"].items()]
        return [one for one in found if kind is None or one.kind == kind]

    def resource(self, name: str) -> Resource:
        return Resource(self.name, name, self.body["Resources"][name])

    def resolve(self, value: Any, parameters: Mapping[str, Any] | None = None) -> Any:
        """`value` with its intrinsic functions worked out; raises UnknownReference."""
        return _Resolver(self, parameters or {}).value(value)

    def deploy(self, parameters: Mapping[str, Any] | None = None, /, **named: Any) -> Stack:
        """The stack these parameters make; those not given take their default, Environment `dev`.

        It is worked out once and shared: nobody changes it.
        """
        given = {"Environment": "dev"} | dict(parameters or {}) | named
        if unknown := {name for name in given if not name.startswith("AWS::")} - set(self.parameters) - {"Environment"}:
            raise UnknownReference(f"{self.name} has no parameters {sorted(unknown)}")
        if (key := repr(sorted(given.items()))) not in self._stacks:
            self._stacks[key] = self._deployed(given)
        return self._stacks[key]

    def _deployed(self, given: Mapping[str, Any]) -> Stack:
        resolver = _Resolver(self, given)
        made = {
            one.name: Resource(self.name, one.name, resolver.value(one.body))
            for one in self.resources()
            if "Condition" not in one.body or resolver.condition(one.body["Condition"])
        }
        outputs = {
            name: resolver.value(output)
            for name, output in self.outputs.items()
            if "Condition" not in output or resolver.condition(output["Condition"])
        }
        return Stack(self.name, given, made, outputs)

    def variants(self) -> Iterator[Stack]:
        """Stacks that between them take both sides of the conditions: defaults, each parameter changed, all changed."""
        choices = {name: values for name, values in self._choices().items() if values}
        yield self.deploy()
        for name, values in choices.items():
            for value in values:
                yield self.deploy({name: value})
        if len(choices) > 1:
            yield self.deploy({name: values[0] for name, values in choices.items()})

    def _choices(self) -> Mapping[str, list[Any]]:
        """The parameters that conditions look at, each with values other than its default."""
        found: dict[str, list[Any]] = {}
        for one in walk(self.body.get("Conditions") or {}):
            if not (isinstance(one, Mapping) and "Fn::Equals" in one):
                continue
            sides = one["Fn::Equals"]
            names = [side["Ref"] for side in sides if isinstance(side, Mapping) and side.get("Ref") in self.parameters]
            for name in names:
                declared = self.parameters[name]
                literals = [side for side in sides if not isinstance(side, Mapping)]
                values = declared.get("AllowedValues") or [*literals, _OTHER]
                default = "dev" if name == "Environment" else declared.get("Default")
                found[name] = [value for value in values if value != default]
        return found


@cache
def template(name: str) -> Template:
    """The template of that name (`foundation` is infrastructure/foundation.yaml)."""
    return Template(name, parse((FOLDER / f"{name}.yaml").read_text("utf-8")))


@cache
def template_names() -> Sequence[str]:
    """All templates, in order; not every file of the folder is one."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml") if "AWSTemplateFormatVersion" in file.read_text("utf-8"))


def templates() -> Sequence[Template]:
    return [template(name) for name in template_names()]


def resources(kind: str | None = None) -> Sequence[Resource]:
    """The resources of all templates as written."""
    return [one for each in templates() for one in each.resources(kind)]


def walk(value: Any) -> Iterator[Any]:
    """The value and everything inside it, lists and mappings alike."""
    yield value
    below: Iterator[Any] = iter(())
    if isinstance(value, Mapping):
        below = iter(value.values())
    elif isinstance(value, list):
        below = iter(value)
    for one in below:
        yield from walk(one)


class _Resolver:
    """The intrinsic functions, for one template and one set of parameters."""

    def __init__(self, of: Template, parameters: Mapping[str, Any]) -> None:
        self._template = of
        self._parameters = parameters
        self._decided: dict[str, bool] = {}

    def condition(self, name: str) -> bool:
        if name not in self._decided:
            declared = self._template.body.get("Conditions") or {}
            if name not in declared:
                raise UnknownReference(f"{self._template.name} has no condition {name}")
            self._decided[name] = self._holds(declared[name])
        return self._decided[name]

    def value(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            if len(value) == 1:
                (name, argument), *_ = value.items()
                function = _FUNCTIONS.get(name)
                if function is not None and not (name == "Condition" and not isinstance(argument, str)):
                    return function(self, argument)
            found = {key: self.value(one) for key, one in value.items()}
            return {key: one for key, one in found.items() if one is not NOTHING}
        if isinstance(value, list):
            return [one for one in map(self.value, value) if one is not NOTHING]
        return value

    def _holds(self, test: Any) -> bool:
        (name, argument), *_ = test.items()
        if name == "Condition":
            return self.condition(argument)
        if name == "Fn::Equals":
            left, right = (str(self.value(side)) for side in argument)
            return left == right
        inner = [self._holds(one) for one in argument]
        return {"Fn::And": all, "Fn::Or": any, "Fn::Not": lambda held: not held[0]}[name](inner)

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NOTHING
        if str(self._template.parameters.get(name, {}).get("NoEcho", "false")).lower() == "true":
            return f"${{secret:{name}}}"
        if name in self._parameters:
            return _typed(self._template.parameters.get(name, {}), self._parameters[name])
        if name in self._template.parameters:
            declared = self._template.parameters[name]
            return _typed(declared, declared["Default"]) if "Default" in declared else f"${{{name}}}"
        if name.startswith("AWS::") or name in self._template.body["Resources"]:
            return f"${{{name}}}"
        raise UnknownReference(f"{self._template.name} declares neither a parameter nor a resource {name}")

    def _attribute(self, argument: Sequence[str]) -> str:
        name, *path = argument
        if name not in self._template.body["Resources"]:
            raise UnknownReference(f"{self._template.name} has no resource {name} to take {'.'.join(path)} of")
        return f"${{{name}.{'.'.join(path)}}}"

    def _sub(self, argument: Any) -> str:
        text, own = (argument, {}) if isinstance(argument, str) else argument

        def replaced(found: re.Match[str]) -> str:
            literal, name = found.groups()
            if literal:
                return f"${{{name}}}"
            if name in own:
                return str(self.value(own[name]))
            if "." in name and name not in self._parameters:
                return self._attribute(name.split(".", 1))
            value = self._ref(name)
            return ",".join(map(str, value)) if isinstance(value, list) else str(value)

        return _REFERENCE.sub(replaced, text)

    def _if(self, argument: Sequence[Any]) -> Any:
        name, yes, no = argument
        return self.value(yes if self.condition(name) else no)

    def _join(self, argument: Sequence[Any]) -> str:
        by, values = argument
        values = self.value(values)
        return by.join(map(str, values)) if isinstance(values, list) else f"${{join:{values}}}"

    def _select(self, argument: Sequence[Any]) -> Any:
        index, values = int(self.value(argument[0])), self.value(argument[1])
        return values[index] if isinstance(values, list) and index < len(values) else f"${{{index} of {values}}}"

    def _split(self, argument: Sequence[Any]) -> Any:
        by, text = argument[0], self.value(argument[1])
        return text if text.startswith("${") else text.split(by)

    def _find(self, argument: Sequence[Any]) -> Any:
        at: Any = self._template.body.get("Mappings") or {}
        for key in map(self.value, argument):
            if key not in at:
                raise UnknownReference(f"{self._template.name} maps no {key} in {argument}")
            at = at[key]
        return self.value(at)

    def _import(self, argument: Any) -> str:
        return f"${{import:{self.value(argument)}}}"


def _shown(name: str) -> Any:
    return lambda resolver, argument: f"${{{name}:{resolver.value(argument)}}}"


_FUNCTIONS: Mapping[str, Any] = {
    "Ref": _Resolver._ref,
    "Condition": lambda resolver, name: resolver.condition(name),
    "Fn::GetAtt": _Resolver._attribute,
    "Fn::Sub": _Resolver._sub,
    "Fn::If": _Resolver._if,
    "Fn::Join": _Resolver._join,
    "Fn::Select": _Resolver._select,
    "Fn::Split": _Resolver._split,
    "Fn::FindInMap": _Resolver._find,
    "Fn::ImportValue": _Resolver._import,
    "Fn::GetAZs": _shown("zones"),
    "Fn::Cidr": _shown("cidr"),
    "Fn::Base64": _shown("base64"),
}


def _typed(declared: Mapping[str, Any], value: Any) -> Any:
    """A parameter's value as its Type has it: a list, a number, text."""
    kind = str(declared.get("Type", "String"))
    if kind == "CommaDelimitedList" or kind.startswith("List<"):
        return value if isinstance(value, list) else [one.strip() for one in str(value).split(",") if one.strip()]
    if kind == "Number":
        return int(value) if float(value).is_integer() else float(value)
    return value
