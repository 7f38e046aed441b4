"""pipeline.yaml: its stages, who approves, what each build may do, and that it runs the commands that people run."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from city_platform.infrastructure.parameters import ENVIRONMENTS, Variable, read_environment
from tests.commands import NoSuchCommand, check, shell_lines
from tests.conftest import ROOT
from tests.templates import template, template_names, templates

BUILDSPECS = {
    file.name: yaml.safe_load(file.read_text("utf-8")) for file in (ROOT / "infrastructure/buildspecs").iterdir()
}
ACCOUNTS = {"DevAccount": "111111111111", "StagingAccount": "222222222222", "ProdAccount": "333333333333"}
STACK = template("pipeline").deploy({"AWS::Region": "ca-central-1", "AWS::Partition": "aws", **ACCOUNTS})
GUIDE = (ROOT / "infrastructure" / "README.md").read_text("utf-8")
STAGES = STACK["Pipeline"].properties["Stages"]
ORDER = ["Source", "Verify", "Package", "Dev", "Staging", "Prod"]


def actions(stage: str) -> Sequence[Mapping[str, Any]]:
    (found,) = (one["Actions"] for one in STAGES if one["Name"] == stage)
    return sorted(found, key=lambda one: one.get("RunOrder", 1))


def commands(name: str) -> Iterator[str]:
    for phase in BUILDSPECS[name]["phases"].values():
        yield from phase.get("commands", ())


def variables(action: Mapping[str, Any]) -> Mapping[str, str]:
    return {one["name"]: one["value"] for one in json.loads(action["Configuration"]["EnvironmentVariables"])}


def test_a_commit_goes_through_every_stage_in_order() -> None:
    assert [one["Name"] for one in STAGES] == ORDER
    assert [one["Name"] for one in actions("Dev")] == ["Deploy", "Smoke"]
    for stage in ("Staging", "Prod"):
        assert [one["Name"] for one in actions(stage)] == ["Plan", "Approve", "Deploy", "Smoke"]
        orders = [one["RunOrder"] for one in actions(stage)]
        assert orders == sorted(set(orders))  # one after the other


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_wants_approval_has_it_before_anything_is_deployed(environment: str) -> None:
    wants = read_environment(ROOT / "infrastructure" / "parameters", environment).file.approval
    approvals = [one for one in actions(environment.title()) if one["ActionTypeId"]["Category"] == "Approval"]
    assert bool(approvals) == wants
    for one in approvals:
        assert one["ActionTypeId"]["Provider"] == "Manual"
        assert one["Configuration"]["NotificationArn"] == "${ApprovalTopic}"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_step_of_a_release_is_a_command_that_exists(environment: str) -> None:
    steps = {}
    for action in actions(environment.title()):
        if action["ActionTypeId"]["Category"] == "Build":
            (line,) = BUILDSPECS["release.yml"]["phases"]["build"]["commands"]
            step = variables(action)["STEP"]
            check(line.replace("$STEP", step))
            steps[action["Name"]] = step
            # A plan and a deployment look at the same packages and the same image.
            assert ("Packages" in {one["Name"] for one in action["InputArtifacts"]}) == (step != "smoke")
            assert variables(action)["CITY_PLATFORM_IMAGE"] == "#{Image.CITY_PLATFORM_IMAGE}"
    assert steps["Deploy"] == "up --approved"
    assert steps["Smoke"] == "smoke"
    assert steps.get("Plan", "plan") == "plan"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_release_can_take_on_the_role_of_its_environment_alone(environment: str) -> None:
    name = environment.title()
    project = STACK[f"{name}Project"].properties
    told = {one["Name"]: one["Value"] for one in project["Environment"]["EnvironmentVariables"]}
    role = f"arn:aws:iam::{ACCOUNTS[f'{name}Account']}:role/city-platform-{environment}-deploy"
    assert (told["CITY_ENVIRONMENT"], told["CITY_DEPLOY_ROLE"]) == (environment, role)
    statements = STACK[f"{name}Role"].properties["Policies"][0]["PolicyDocument"]["Statement"]
    assert [one["Resource"] for one in statements if one["Action"] == "sts:AssumeRole"] == [role]
    # The other side: the bootstrap stack lets in the role of this project alone.
    there = template("bootstrap").deploy({"Environment": environment, "PipelineAccount": "444444444444"})
    trust = there["DeployRole"].properties
    assert trust["RoleName"] == role.rpartition("/")[2]
    pattern = trust["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["ArnLike"]["aws:PrincipalArn"]
    for other in ENVIRONMENTS:
        taking = STACK[f"{other.title()}Role"].properties["RoleName"]
        matches = re.fullmatch(pattern.rpartition("/")[2].replace("*", ".*"), taking) is not None
        assert matches == (other == environment)


def test_stacks_may_give_roles_to_the_services_that_their_templates_name_and_to_no_other() -> None:
    trusted = {
        service
        for each in templates()
        if "DeployedByHand" not in each.body.get("Metadata", {})
        for stack in each.variants()
        for role in stack.resources("AWS::IAM::Role")
        for one in role.properties["AssumeRolePolicyDocument"]["Statement"]
        for service in listed(one["Principal"].get("Service", []))
    }
    statements = [
        one
        for policy in template("rights").deploy().resources("AWS::IAM::ManagedPolicy")
        for one in policy.properties["PolicyDocument"]["Statement"]
        if policy.name != "RoleBoundary"
    ]
    (passing,) = (one for one in statements if "iam:PassRole" in one["Action"])
    assert set(passing["Condition"]["StringEquals"]["iam:PassedToService"]) == trusted


def listed(value: Any) -> Sequence[str]:
    return value if isinstance(value, list) else [value]


def test_only_the_image_is_built_with_privileges() -> None:
    privileged = {
        one.name
        for one in STACK.resources("AWS::CodeBuild::Project")
        if one.properties["Environment"]["PrivilegedMode"]
    }
    assert privileged == {"ImageProject"}
    for one in STACK.resources("AWS::CodeBuild::Project"):
        assert one.properties["EncryptionKey"] == "${import:city-platform-dev-ArtifactsKeyArn}"
        assert one.properties["LogsConfig"]["CloudWatchLogs"]["Status"] == "ENABLED"
        assert one.properties["Environment"]["Type"] == "ARM_CONTAINER"


def test_every_buildspec_is_used_and_every_project_has_one() -> None:
    used = [one.properties["Source"]["BuildSpec"] for one in STACK.resources("AWS::CodeBuild::Project")]
    assert {Path(one).name for one in used} == set(BUILDSPECS)
    assert {Path(one).parent for one in used} == {Path("infrastructure/buildspecs")}


@pytest.mark.parametrize("name", sorted(BUILDSPECS))
def test_a_build_runs_commands_that_exist(name: str) -> None:
    found = list(commands(name))
    assert found
    for line in found:
        check(line.replace("$STEP", "plan"))


def test_verification_is_what_people_run_before_a_change_lands() -> None:
    assert list(commands("verify.yml")) == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_image_is_built_as_its_file_says() -> None:
    said = next(
        line for line in (ROOT / "infrastructure/image/Dockerfile").read_text().splitlines() if "docker build" in line
    )
    built = [line.removeprefix('test -n "$BUILT" || ') for line in commands("image.yml")]
    assert said.removeprefix("#   ") in built
    assert said.removeprefix("#   ") in shell_lines(GUIDE)
    assert BUILDSPECS["image.yml"]["env"]["exported-variables"] == ["CITY_PLATFORM_IMAGE"]


def test_what_a_release_needs_to_know_reaches_its_command(tmp_path: Path) -> None:
    """The cheap half of the buildspec, run in one shell as CodeBuild does."""
    lines = list(BUILDSPECS["release.yml"]["phases"]["pre_build"]["commands"])[1:]
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "app.zip").touch()
    told = 'CITY_SUFFIX=van-dev\nCITY_CONTACT_EMAIL="open data@city.internal"'
    environment = {"PATH": os.environ["PATH"], "CITY_VARIABLES": told, "CODEBUILD_SRC_DIR_Packages": "packages"}
    script = "\n".join(["set -e", *lines, 'printf "%s|%s" "$(printenv CITY_SUFFIX)" "$(printenv CITY_CONTACT_EMAIL)"'])
    done = subprocess.run(
        ["/bin/sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "van-dev|open data@city.internal"
    assert (tmp_path / "dist" / "app.zip").is_file()


def test_packages_are_handed_on_from_where_they_are_built() -> None:
    from city_platform.cli.deploy import DIST

    assert BUILDSPECS["package.yml"]["artifacts"] == {"base-directory": DIST.name, "files": ["*.zip"]}


@pytest.mark.parametrize(
    "line",
    [
        "city-platform deploy upp --environment dev",
        "uv run city-platform deploy up --envirnment dev",
        "uv run city-platform deploy up",
        "city-platform",
        "kubectl apply",
        "docker build --file infrastructure/Dockerfile .",
        "test -f x && city-platform nothing",
    ],
)
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    with pytest.raises(NoSuchCommand):
        check(line)


def test_the_guide_names_every_variable_that_parameters_ask_for() -> None:
    asked = set(re.findall(r'"variable": "(\w+)"', "".join(
        (ROOT / f"infrastructure/parameters/{name}.json").read_text("utf-8") for name in ENVIRONMENTS
    )))  # fmt: skip
    explained = {
        name for line in GUIDE.splitlines() if line.startswith("| CITY_") for name in re.findall(r"CITY_\w+", line)
    }
    assert asked == explained
    # What the first commands need is all that dev needs, but for the image.
    needed = {
        value.variable
        for stack in read_environment(ROOT / "infrastructure/parameters", "dev").file.stacks.items()
        for value in stack[1].values()
        if isinstance(value, Variable) and value.default is None and stack[0] != "pipeline"
    }
    assert set(re.findall(r"(?m)^(CITY_\w+)=", GUIDE)) == (needed | {"CITY_SUFFIX"}) - {"CITY_PLATFORM_IMAGE"}


def test_the_guide_names_every_stack() -> None:
    assert {name for name in template_names() if not re.search(rf"(?m)^\|[^|]*\b{name}\b[^|]*\|", GUIDE)} == set()


def test_the_commands_of_the_guide_exist() -> None:
    found = shell_lines(GUIDE)
    assert sum("city-platform" in line for line in found) > 8
    for line in found:
        check(line)
