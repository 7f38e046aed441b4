"""The CloudFormation templates of a folder: what each needs and offers, and the order in which they can be deployed.

A template's stack is called `{Project}-{Environment}-{template}`. Values travel between stacks as exports and
`Fn::ImportValue`, whose names are made of parameters (`!Sub "${Project}-${Environment}-RawBucket"`).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from city_platform.errors import PermanentError

FUNCTION = "AWS::Lambda::Function"
CODE_KEY = "CodeKey"  # the parameter of a template whose functions come in a package
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z0-9]+)\}")


class BadTemplate(PermanentError):
    """A file is no template, or its stacks cannot be put in order; the message says which and why."""


class _Loader(yaml.CSafeLoader):
    """YAML with the short forms of CloudFormation's functions."""


def _function(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    name = suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    if isinstance(node, yaml.MappingNode):
        return {name: loader.construct_mapping(node, deep=True)}
    raise BadTemplate(f"!{suffix} of {node.tag}")


_Loader.add_multi_constructor("!", _function)


@dataclass(frozen=True, slots=True)
class Template:
    """One template. `body` has functions in their long form, `{"Fn::Sub": …}`."""

    name: str
    text: str
    body: Mapping[str, Any]

    @property
    def parameters(self) -> Mapping[str, Mapping[str, Any]]:
        return self.body.get("Parameters") or {}

    @property
    def by_hand(self) -> str | None:
        """Why only people deploy it, as its metadata say; None where it goes with the others."""
        return (self.body.get("Metadata") or {}).get("DeployedByHand")

    @property
    def kinds(self) -> set[str]:
        """The types of its resources."""
        return {one["Type"] for one in self.body["Resources"].values()}

    @property
    def handlers(self) -> Sequence[str]:
        """The Handler of every function whose code is in a package, once each."""
        functions = [one["Properties"] for one in self.body["Resources"].values() if one.get("Type") == FUNCTION]
        return sorted({str(one["Handler"]) for one in functions if "S3Key" in one.get("Code", {})})

    @property
    def is_packaged(self) -> bool:
        """Whether its functions' code has to be built and uploaded first."""
        return CODE_KEY in self.parameters and bool(self.handlers)

    def exports(self, values: Mapping[str, str]) -> set[str]:
        """The names its outputs are exported under, with these parameters."""
        outputs = (self.body.get("Outputs") or {}).values()
        return {self._text(one["Export"]["Name"], values) for one in outputs if "Export" in one}

    def imports(self, values: Mapping[str, str]) -> set[str]:
        """The exports it takes, on any side of its conditions."""
        return {self._text(one["Fn::ImportValue"], values) for one in walk(self.body) if "Fn::ImportValue" in one}

    def _text(self, name: Any, values: Mapping[str, str]) -> str:
        text = name.get("Fn::Sub") if isinstance(name, Mapping) else name
        if not isinstance(text, str):
            raise BadTemplate(f"{self.name}.yaml: the name {name} of an export is no text: write !Sub and parameters")
        known = {one: str(declared["Default"]) for one, declared in self.parameters.items() if "Default" in declared}
        known |= values
        if unknown := [one for one in _PLACEHOLDER.findall(text) if one not in known]:
            raise BadTemplate(f"{self.name}.yaml: {text} depends on {', '.join(unknown)}, which nobody gave a value")
        return _PLACEHOLDER.sub(lambda found: known[found[1]], text)


def read_templates(folder: Path) -> Mapping[str, Template]:
    """The templates among the folder's .yaml files, those with Resources, by name. Raises BadTemplate."""
    found = {}
    for file in sorted(folder.glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        try:
            body = yaml.load(text, _Loader)  # noqa: S506 - a subclass of the safe loader
        except yaml.YAMLError as error:
            raise BadTemplate(f"{file} is not YAML: {error}") from error
        if isinstance(body, dict) and "Resources" in body:
            found[file.stem] = Template(file.stem, text, body)
    if not found:
        raise BadTemplate(f"{folder} holds no templates: run this in the project's checkout")
    return found


def in_order(
    templates: Mapping[str, Template],
    values: Mapping[str, str],
    after: Mapping[str, Iterable[str]],
    region: Callable[[str], str] = lambda _: "",
) -> Sequence[Template]:
    """The templates so that each comes after those whose exports it takes, and after those that `after` names for it.

    Exports are a region's; `region` says where a template's stack stands. Among those that could come next, the first
    by name. Raises BadTemplate for a circle, for an export that nobody makes and for one that two make.
    """
    makers: dict[tuple[str, str], str] = {}
    problems = []
    for name, template in templates.items():
        for export in sorted(template.exports(values)):
            where = (region(name), export)
            if where in makers:
                problems.append(f"{makers[where]}.yaml and {name}.yaml both export {export}")
            makers[where] = name
    needs = {}
    for name, template in templates.items():
        wanted = {(region(name), one) for one in template.imports(values)}
        lost = sorted(one for _, one in wanted - makers.keys())
        problems += [f"{name}.yaml imports {one}, which no template exports in its region" for one in lost]
        needs[name] = {makers[one] for one in wanted & makers.keys()} | set(after.get(name, ()))
        problems += [
            f"{name} needs an output of {one}, and there is no such template" for one in needs[name] - set(templates)
        ]
    if problems:
        raise BadTemplate("the templates do not fit together:\n" + "\n".join(f"  {one}" for one in problems))
    sorter = TopologicalSorter(needs)
    try:
        sorter.prepare()
    except CycleError as error:
        raise BadTemplate(f"these stacks wait for each other: {' -> '.join(error.args[1])}") from error
    ordered: list[str] = []
    ready: list[str] = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()])
        chosen = ready.pop(0)
        ordered.append(chosen)
        sorter.done(chosen)
    return [templates[name] for name in ordered]


def walk(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping inside, the value itself included."""
    if isinstance(value, Mapping):
        yield value
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for one in inside:
        yield from walk(one)
