"""The project's own templates, deployed in order over moto: those of which it can make the resources."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from city_platform.infrastructure.deployment import BOOTSTRAP, RIGHTS, Deployment, Waiting
from city_platform.infrastructure.parameters import read_environment
from city_platform.infrastructure.stacks import ChangeSet, Stacks
from city_platform.infrastructure.templates import read_templates
from tests.conftest import ROOT
from tests.emulated_stacks import mend

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse .*not supported by moto")
FOLDER, REGION = ROOT / "infrastructure", "ca-central-1"
VARIABLES = {
    "CITY_OPERATIONS_EMAIL": "operations@city.internal",
    "CITY_PIPELINE_ACCOUNT": "123456789012",
    "CITY_SUFFIX": "city-dev",
}


def long(value: Any) -> Any:
    """Functions as JSON has them: moto's reader of YAML does not take one short form inside another."""
    if isinstance(value, dict):
        return {
            key: one.split(".", 1) if key == "Fn::GetAtt" and isinstance(one, str) else long(one)
            for key, one in value.items()
        }
    return [long(one) for one in value] if isinstance(value, list) else value


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Deployment]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name in ("_CHANGE_SET_S", "_STACK_S"):
        monkeypatch.setattr(f"city_platform.infrastructure.stacks.{name}", 0)
    mend(monkeypatch)
    templates = {
        name: replace(one, text=json.dumps(long(one.body), default=str)) for name, one in read_templates(FOLDER).items()
    }
    with mock_aws():
        yield Deployment(
            environment=read_environment(FOLDER / "parameters", "dev"),
            templates=templates,
            stacks=Stacks(lambda region: boto3.client("cloudformation", region_name=region)),
            bucket=lambda region: boto3.client("s3", region_name=region),
            variables=VARIABLES,
            packages=tmp_path,
        )


def make(deployment: Deployment, *names: str) -> dict[str, int]:
    """Deploys these stacks; how many changes each had."""
    chosen, changes = deployment.chosen(names), {}
    deployment.require(chosen)
    for template, proposal in zip(chosen, deployment.proposals(chosen), strict=True):
        assert isinstance(proposal, ChangeSet), proposal
        changes[template.name] = len(proposal.changes)
        if proposal.changes:
            deployment.make(proposal)
    return changes


def test_stacks_stand_after_one_deployment_and_the_next_has_nothing_to_do(deployment: Deployment) -> None:
    assert min(make(deployment, RIGHTS, BOOTSTRAP).values()) > 5
    names = ("keys", "key-aliases", "billing")
    first = make(deployment, *names)
    assert min(first.values()) > 5
    assert list(first).index("keys") < list(first).index("key-aliases")
    assert make(deployment, RIGHTS, BOOTSTRAP, *names) == dict.fromkeys([*first, RIGHTS, BOOTSTRAP], 0)
    aliases = {
        one["AliasName"]: one.get("TargetKeyId") for one in boto3.client("kms", REGION).list_aliases()["Aliases"]
    }
    shared = aliases["alias/city-platform-dev-personal"]
    assert aliases["alias/city-platform/parking_tickets/personal"] == shared
    # Where the others wait for what moto cannot make, they say so and change nothing.
    (waiting,) = deployment.proposals(deployment.chosen(["foundation"]))
    assert isinstance(waiting, Waiting)
    assert waiting.waits_for == ["city-platform-dev-S3EndpointId"]
