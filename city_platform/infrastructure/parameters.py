"""What the stacks of an environment are given: `infrastructure/parameters/{environment}.json`.

A value is text, a number or true/false; `{"output": "replica.RawBucketArn"}`, an output of another stack of the
environment; or `{"variable": "CITY_…"}`, a variable of the process that deploys, for what is an account's own and not
the project's to know: addresses, identifiers, certificates; it may have a `default`. `common` values go to every
template that declares the parameter, `stacks` to the one named. What neither gives takes the template's default, and
without one is missing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from city_platform.errors import PermanentError
from city_platform.infrastructure.templates import Template

ENVIRONMENTS = ("dev", "staging", "prod")


class BadParameters(PermanentError):
    """A file of parameters is wrong, or something a stack needs is not given; the message names all of it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Output(_Strict):
    """An output of another stack, `{template}.{output}`; it may be in another region, as exports may not."""

    output: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*\.[A-Za-z0-9]+$")]

    @property
    def template(self) -> str:
        return self.output.partition(".")[0]

    @property
    def name(self) -> str:
        return self.output.partition(".")[2]


class Variable(_Strict):
    """A variable of the process that deploys."""

    variable: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
    default: str | None = None


Value = bool | int | str | Output | Variable


class EnvironmentFile(_Strict):
    """One environment.

    `regions` names the stacks that stand elsewhere than in `region`; `without` those it does not have, and why; `after`
    those that need others that they take no value from. `approval`: whether somebody has to agree to each change.
    `protected`: whether stacks refuse to be deleted.
    """

    region: str
    regions: Mapping[str, str] = {}
    without: Mapping[str, str] = {}
    after: Mapping[str, tuple[str, ...]] = {}
    approval: bool
    protected: bool
    common: Mapping[str, Value]
    stacks: Mapping[str, Mapping[str, Value]] = {}


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment's name and what its file says."""

    name: str
    file: EnvironmentFile

    @property
    def identity(self) -> Mapping[str, str]:
        """The parameters that names are made of."""
        project = self.file.common.get("Project", "city-platform")
        return {"Environment": self.name, "Project": str(project)}

    def stack(self, template: str) -> str:
        """The name of a template's stack."""
        return f"{self.identity['Project']}-{self.name}-{template}"

    def region(self, template: str) -> str:
        return self.file.regions.get(template, self.file.region)

    def given(self, template: Template) -> Mapping[str, Value]:
        """What the file gives this template, by parameter."""
        common = {name: value for name, value in self.file.common.items() if name in template.parameters}
        return common | dict(self.file.stacks.get(template.name, {}))

    def after(self, templates: Mapping[str, Template]) -> Mapping[str, set[str]]:
        """By template, those whose outputs it is given, and those that the file puts before it."""
        return {
            name: {value.template for value in self.given(template).values() if isinstance(value, Output)}
            | set(self.file.after.get(name, ()))
            for name, template in templates.items()
        }


def read_environment(folder: Path, name: str) -> Environment:
    """Raises BadParameters with everything that is wrong with the file."""
    file = folder / f"{name}.json"
    if name not in ENVIRONMENTS or not file.is_file():
        raise BadParameters(f"there is no environment {name!r} in {folder}; there are: {', '.join(ENVIRONMENTS)}")
    try:
        return Environment(name, EnvironmentFile.model_validate_json(file.read_bytes()))
    except ValidationError as error:
        found = "\n".join(f"  {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise BadParameters(f"{file}:\n{found}") from error


def check(environment: Environment, templates: Mapping[str, Template]) -> None:
    """Raises BadParameters where the file speaks of stacks or parameters that no template has."""
    file, known = environment.file, set(templates)
    problems = [f"stacks.{name}: there is no such template" for name in sorted(set(file.stacks) - known)]
    problems += [f"regions.{name}: there is no such template" for name in sorted(set(file.regions) - known)]
    problems += [f"without.{name}: there is no such template" for name in sorted(set(file.without) - known)]
    problems += [f"after.{name}: there is no such template" for name in sorted(set(file.after) - known)]
    declared = {parameter for template in templates.values() for parameter in template.parameters}
    problems += [f"common.{name}: no template has it" for name in sorted(set(file.common) - declared)]
    for name in sorted(set(file.stacks) & known):
        unknown = set(file.stacks[name]) - set(templates[name].parameters)
        problems += [f"stacks.{name}.{one}: the template has no such parameter" for one in sorted(unknown)]
    if problems:
        raise BadParameters(f"{environment.name}.json:\n" + "\n".join(f"  {one}" for one in problems))


@dataclass(frozen=True, slots=True)
class Resolved:
    """Values as CloudFormation takes them. `missing` says what cannot be given, `waits` for which stacks' outputs."""

    values: Mapping[str, str]
    missing: Mapping[str, str]
    waits: frozenset[str]


def resolve(
    environment: Environment,
    template: Template,
    built: Mapping[str, str],
    variables: Mapping[str, str],
    output: Callable[[str, str], str | None],
) -> Resolved:
    """The template's parameters: `built` (what this deployment made) before the file's, defaults left out.

    `output` gives a stack's output by template and name, None where that stack does not stand yet.
    """
    given = {**environment.given(template), **environment.identity, **built}
    values: dict[str, str] = {}
    missing: dict[str, str] = {}
    waits: set[str] = set()
    for name, declared in template.parameters.items():
        value: Any = given.get(name)
        if isinstance(value, Output):
            found = output(value.template, value.name)
            if found is None:
                waits.add(value.template)
                continue
        elif isinstance(value, Variable):
            found = variables.get(value.variable) or value.default
            if found is None:
                missing[name] = f"set {value.variable} in the environment of this command"
                continue
        elif value is None:
            if "Default" not in declared:
                missing[name] = f"give it in infrastructure/parameters/{environment.name}.json"
            continue
        else:
            found = str(value).lower() if isinstance(value, bool) else str(value)
        values[name] = found
    return Resolved(values, missing, frozenset(waits))
