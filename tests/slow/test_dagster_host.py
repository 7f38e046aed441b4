"""Dagster's launcher over moto's ECS, with the stack's own task definitions: what it starts, and that it may."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
import yaml
from botocore.client import BaseClient
from dagster._core.code_pointer import FileCodePointer
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.test_utils import instance_for_test
from dagster_aws.ecs.tasks import CurrentEcsTaskMetadata
from moto import mock_aws

from tests.conftest import ROOT
from tests.templates import template

REGION = "ca-central-1"
STACK = template("dagster").deploy({"AWS::Region": REGION, "AWS::Partition": "aws", "Suffix": "x", "ImageUri": "r:t"})


def lower(value: Any) -> Any:
    """CloudFormation's names as the API of ECS has them."""
    if isinstance(value, dict):
        return {key[0].lower() + key[1:] if key[0].isupper() else key: lower(one) for key, one in value.items()}
    return [lower(one) for one in value] if isinstance(value, list) else value


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is asked of AWS, as actions of IAM."""
    made: list[str] = []
    call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def recorded(self: Any, operation: str, arguments: Any) -> Any:
        made.append(f"{self.meta.service_model.signing_name}:{operation}")
        return call(self, operation, arguments)

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr(BaseClient, "_make_api_call", recorded)
    with mock_aws():
        yield made


def allowed(*policies: str) -> set[str]:
    found = set()
    for name in policies:
        for statement in STACK[name].properties["PolicyDocument"]["Statement"]:
            action = statement["Action"]
            found |= {action} if isinstance(action, str) else set(action)
    return found


def test_the_launcher_starts_runs_as_the_stack_lets_it(
    calls: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ecs, ec2 = boto3.client("ecs"), boto3.client("ec2")
    cluster = ecs.create_cluster(clusterName="dagster")["cluster"]["clusterArn"]
    for name in ("HostTask", "RunTask"):
        properties = {key: value for key, value in STACK[name].properties.items() if key != "Tags"}
        given = lower(properties)
        # A task on Fargate has memory as a whole; moto wants it of each container.
        given["containerDefinitions"] = [{"memory": 512, **one} for one in given["containerDefinitions"]]
        ecs.register_task_definition(**given)
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    network = {"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [group], "assignPublicIp": "DISABLED"}}
    host = ecs.run_task(
        cluster=cluster, taskDefinition=STACK["HostTask"].properties["Family"], launchType="FARGATE",
        networkConfiguration=network,
    )["tasks"][0]["taskArn"]  # fmt: skip
    here = CurrentEcsTaskMetadata(cluster=cluster, task_arn=host)
    monkeypatch.setattr("dagster_aws.ecs.launcher.get_current_ecs_task_metadata", lambda: here)
    (daemon,) = (one for one in STACK["HostTask"].properties["ContainerDefinitions"] if one["Name"] == "daemon")
    for one in daemon["Environment"]:
        monkeypatch.setenv(one["Name"], str(one["Value"]).replace("${", "").replace("}", ""))
    monkeypatch.setenv("AWS_REGION", REGION)
    settings = yaml.safe_load((ROOT / "infrastructure/image/dagster.yaml").read_text("utf-8"))
    del calls[:]

    with instance_for_test(overrides={"run_launcher": settings["run_launcher"]}, temp_dir=str(tmp_path)) as instance:
        origin = JobPythonOrigin("job", RepositoryPythonOrigin("python", FileCodePointer("definitions.py", "defs")))
        run = instance.create_run_for_job(nothing, job_code_origin=origin)
        launcher = instance.run_launcher
        launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
        launcher.check_run_worker_health(instance.get_run_by_id(run.run_id))
        assert launcher.terminate(run.run_id)
        tags = instance.get_run_by_id(run.run_id).tags
    made = ecs.describe_tasks(cluster=cluster, tasks=[tags["ecs/task_arn"]], include=["TAGS"])["tasks"][0]
    assert made["taskDefinitionArn"].rpartition("/")[2].startswith("city-platform-dev-dagster-run:")
    (override,) = made["overrides"]["containerOverrides"]
    assert override["name"] == "run"
    assert override["command"][1:5] == ["-m", "dagster", "api", "execute_run"]
    assert {one["key"] for one in made["tags"]} >= {"dagster/run_id", "dagster/job_name"}

    asked = set(calls) - {"ecs:ListTagsForResource"}
    may = {one for one in allowed("HostPolicy") if one.startswith(("ecs:", "ec2:"))}
    # Tags of a task are set as it starts, which IAM asks for by an action of its own.
    assert asked == may - {"ecs:TagResource"}


@dg.job
def nothing() -> None:
    """A job of no steps."""


def test_output_of_steps_goes_where_the_host_may_write(
    calls: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bucket = "cov-dagster-x"
    boto3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    monkeypatch.setenv("DAGSTER_LOG_BUCKET", bucket)
    monkeypatch.setenv("AWS_REGION", REGION)
    settings: Mapping[str, Any] = yaml.safe_load((ROOT / "infrastructure/image/dagster.yaml").read_text("utf-8"))
    logs = settings["compute_logs"]
    logs["config"]["local_dir"] = str(tmp_path / "local")
    del calls[:]
    with instance_for_test(overrides={"compute_logs": logs}, temp_dir=str(tmp_path)) as instance:
        manager = instance.compute_log_manager
        with manager.capture_logs(["run", "compute_logs", "step"]):
            print("a line of a step")  # noqa: T201
        told = manager.get_log_data(["run", "compute_logs", "step"])
    assert told.stdout is not None
    assert b"a line of a step" in told.stdout
    asked = {{"s3:HeadObject": "s3:GetObject", "s3:ListObjects": "s3:ListBucket"}.get(one, one) for one in calls}
    mine = [
        one
        for one in STACK["DataPolicy"].properties["PolicyDocument"]["Statement"]
        if "ComputeLogBucket" in str(one["Resource"])
    ]
    may = {action for one in mine for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])}
    assert asked <= may
