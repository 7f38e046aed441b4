"""Deploys an environment: which stacks, in which order, with what; shown first, and made one after the other.

rights       what CloudFormation makes stacks with, and what the roles that they make may do at most
bootstrap    what the others are deployed from (bucket for code and large templates, repository for the image)
packages     one zip for each template with functions, named by its content, so that the same code is no change
the rest     in the order of their exports and imports
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from city_platform.errors import PermanentError
from city_platform.infrastructure.parameters import BadParameters, Environment, check, resolve
from city_platform.infrastructure.stacks import BODY_LIMIT, ChangeSet, Stacks, aws_errors
from city_platform.infrastructure.templates import CODE_KEY, BadTemplate, Template, in_order

RIGHTS, BOOTSTRAP = "rights", "bootstrap"
BY_PEOPLE = f"--stack {RIGHTS} --stack {BOOTSTRAP}"
ROLE, BUCKET = (RIGHTS, "ExecutionRoleArn"), (BOOTSTRAP, "ArtifactsBucket")  # stacks and their outputs
CODE_BUCKET = "CodeBucket"


class NothingToDeployFrom(PermanentError):
    """The stacks that people deploy first do not stand."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A stack that cannot be looked at yet, because stacks it builds on do not stand."""

    stack: str
    region: str
    waits_for: Sequence[str]
    resources: int


@dataclass(frozen=True)
class Deployment:
    """One environment over one account. `packages` is where `deploy package` wrote its zips."""

    environment: Environment
    templates: Mapping[str, Template]
    stacks: Stacks
    bucket: Callable[[str], Any]  # a region's S3 client
    variables: Mapping[str, str]
    packages: Path

    def chosen(self, names: Collection[str]) -> Sequence[Template]:
        """The templates of these names, or without names all that are not left to people or left out, in order.

        Raises BadTemplate, BadParameters.
        """
        check(self.environment, self.templates)
        if unknown := set(names) - set(self.templates):
            raise BadTemplate(f"there are no stacks {sorted(unknown)}; there are: {', '.join(self.templates)}")
        environment = self.environment
        ordered = in_order(self.templates, environment.identity, environment.after(self.templates), environment.region)
        left_out = environment.file.without
        return [
            one for one in ordered if (one.name in names if names else one.by_hand is None and one.name not in left_out)
        ]

    def require(self, chosen: Sequence[Template]) -> None:
        """Raises, with all of it at once, where something that can be known beforehand is missing."""
        missing = []
        for template in chosen:
            if template.is_packaged and not self._package(template).is_file():
                missing.append(f"{self._package(template)}: run `city-platform deploy package`")
            built = {CODE_BUCKET: "", CODE_KEY: ""} if template.is_packaged else {}
            found = resolve(self.environment, template, built, self.variables, lambda _stack, _name: None)
            missing += [f"{template.name}.{name}: {remedy}" for name, remedy in found.missing.items()]
        if missing:
            raise BadParameters(
                f"{self.environment.name} is not complete:\n" + "\n".join(f"  {one}" for one in missing)
            )

    def proposals(self, chosen: Sequence[Template], *, clearing: bool = False) -> Iterator[ChangeSet | Waiting]:
        """Each stack's change in order, worked out when it is asked for: make or discard it before the next.

        `clearing` removes what is left of a stack whose creation failed, in which there is nothing. Raises
        NothingToDeployFrom and what Stacks raises.
        """
        for template in chosen:
            if clearing:
                self.stacks.clear(self.environment.stack(template.name), self.environment.region(template.name))
            yield self._propose(template)

    def make(self, change_set: ChangeSet) -> None:
        """Raises StackFailed."""
        self.stacks.make(change_set, protected=self.environment.file.protected)

    def remove(self, chosen: Sequence[Template]) -> Iterator[tuple[str, bool]]:
        """Deletes stacks, the last one first; each with whether there was one. Raises StackFailed."""
        for template in reversed(chosen):
            stack = self.environment.stack(template.name)
            yield stack, self.stacks.remove(stack, self.environment.region(template.name))

    def _propose(self, template: Template) -> ChangeSet | Waiting:
        environment = self.environment
        # What people do not deploy is made with the role of those stacks, and may lie in their bucket.
        role = None if template.by_hand else self._by_people(*ROLE)
        stack, region = environment.stack(template.name), environment.region(template.name)
        there = self.stacks.exports(region)
        waits = {one for one in template.imports(environment.identity) if one not in there}
        built = self._upload(template) if template.is_packaged else {}
        found = resolve(environment, template, built, self.variables, self._output)
        waits |= {environment.stack(one) for one in found.waits}
        if waits:
            return Waiting(stack, region, sorted(waits), len(template.body["Resources"]))
        return self.stacks.propose(stack, region, self._body(template), found.values, environment.identity, role)

    def _output(self, template: str, name: str) -> str | None:
        outputs = self.stacks.outputs(self.environment.stack(template), self.environment.region(template))
        if outputs and name not in outputs:
            raise BadParameters(
                f"{self.environment.name}.json asks for {template}.{name}; it has: {', '.join(outputs)}"
            )
        return outputs.get(name)

    def _body(self, template: Template) -> Mapping[str, str]:
        data = template.text.encode()
        if len(data) <= BODY_LIMIT:
            return {"TemplateBody": template.text}
        key = f"templates/{template.name}/{hashlib.sha256(data).hexdigest()}.yaml"
        self._put(key, data)
        bucket, region = self._artifacts
        suffix = self.bucket(region).meta.endpoint_url.partition("://s3.")[2] or f"{region}.amazonaws.com"
        return {"TemplateURL": f"https://{bucket}.s3.{suffix}/{key}"}

    def _upload(self, template: Template) -> Mapping[str, str]:
        data = self._package(template).read_bytes()
        key = f"functions/{template.name}/{hashlib.sha256(data).hexdigest()}.zip"
        self._put(key, data)
        return {CODE_BUCKET: self._artifacts[0], CODE_KEY: key}

    def _put(self, key: str, data: bytes) -> None:
        bucket, region = self._artifacts
        with aws_errors(f"s3://{bucket}/{key}"):
            client = self.bucket(region)
            if not client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("KeyCount"):
                client.put_object(Bucket=bucket, Key=key, Body=data)

    def _package(self, template: Template) -> Path:
        return self.packages / f"{template.name}.zip"

    @property
    def _artifacts(self) -> tuple[str, str]:
        return self._by_people(*BUCKET), self.environment.region(BOOTSTRAP)

    def _by_people(self, stack: str, output: str) -> str:
        value = self._output(stack, output)
        if value is None:
            raise NothingToDeployFrom(
                f"{self.environment.stack(stack)} does not stand: "
                f"city-platform deploy up --environment {self.environment.name} {BY_PEOPLE}"
            )
        return value
