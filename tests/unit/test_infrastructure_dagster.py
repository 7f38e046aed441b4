"""dagster.yaml, the image and the instance's settings fit each other and the code that runs in them."""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster_postgres.utils import get_conn_string
from sqlalchemy import create_engine

import runner
from city_platform.aws.replica import replica_buckets
from city_platform.aws.settings import AwsSettings
from city_platform.deployment.metrics import open_metrics
from city_platform.deployment.traffic import open_registry
from city_platform.governance.metrics import DATA, RUNS, replication_measurements
from city_platform.infrastructure.imports import clients, closure
from city_platform.lake.replica import ALLOWED_LAG, lag
from resources import instance_settings
from sensors import replica
from tests.conftest import ROOT
from tests.templates import resources, template
from tests.verdicts import NOW

IMAGE = ROOT / "infrastructure" / "image"
GIVEN = {"AWS::Region": "ca-central-1", "Suffix": "x", "ImageUri": "repository:tag"}
STACK = template("dagster").deploy(GIVEN)
CONTAINERS: Mapping[str, Mapping[str, Any]] = {
    one["Name"]: one
    for task in STACK.resources("AWS::ECS::TaskDefinition")
    for one in task.properties["ContainerDefinitions"]
}
RUNS_CODE = ("code", "run")


@cache
def code() -> Sequence[Path]:
    return closure(ROOT, ["definitions", "runner"]).modules


def environment(container: str) -> dict[str, str]:
    return {one["Name"]: str(one["Value"]) for one in CONTAINERS[container]["Environment"]}


def names(container: str) -> set[str]:
    return set(environment(container)) | {one["Name"] for one in CONTAINERS[container]["Secrets"]}


def dockerfile() -> Sequence[tuple[str, str]]:
    text = IMAGE.joinpath("Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = (line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return [(word, rest) for word, rest in lines]


@pytest.mark.parametrize("container", RUNS_CODE)
def test_what_runs_code_says_all_that_the_code_asks_for(container: str) -> None:
    told = environment(container)
    assert told["CITY_PLATFORM_DEPLOYMENT"] == "aws"
    settings = AwsSettings.of(told)
    buckets = {f"${{import:city-platform-dev-{zone}Bucket}}" for zone in ("Raw", "Transform", "Curated", "Crawler")}
    assert set(settings.buckets.values()) == buckets
    assert settings.alerts_topic == "${import:city-platform-dev-OperationsTopicArn}"
    assert told["CITY_PLATFORM_TRAFFIC_TABLE"] == "${import:city-platform-dev-TrafficTableName}"
    assert open_registry(told).sensors
    open_metrics(Path(), told)


def test_figures_go_to_the_namespaces_that_they_may_go_to() -> None:
    statements = STACK["HostPolicy"].properties["PolicyDocument"]["Statement"]
    (allowed,) = (one for one in statements if one["Action"] == "cloudwatch:PutMetricData")
    assert set(allowed["Condition"]["StringEquals"]["cloudwatch:namespace"]) == {DATA, RUNS}


# What Dagster does without: with what the platform ships, or because another part of the platform reads it.
LEFT = {
    "CITY_PLATFORM_ALLOWED_ORIGINS",  # the API
    "CITY_PLATFORM_BOUNDARIES", "CITY_PLATFORM_REFERENCE",  # as shipped
    "CITY_PLATFORM_CONTACT", "CITY_PLATFORM_PUBLIC_URL",  # the API
    "CITY_PLATFORM_TRAFFIC_STREAM",  # functions of traffic
    "CITY_PLATFORM_HOME",  # the image says it
    "CITY_PLATFORM_PORTAL",  # the contracts name theirs
    "CITY_PLATFORM_REPLICA",  # S3 copies
    "CITY_PLATFORM_SPARK", "CITY_PLATFORM_SPARK_ROWS", "CITY_PLATFORM_SPARK_TOKEN",  # no stack makes a server of Spark
    "CITY_PLATFORM_SYNC", "CITY_PLATFORM_UNPACKED_LIMIT",  # forced and bounded as everywhere, by the task's own disk
    "CITY_PLATFORM_TRAFFIC_INCIDENTS",  # a function of incidents' stack makes them
    "CITY_PLATFORM_TABLES",  # the API and functions of incidents
}  # fmt: skip


def test_every_setting_is_said_or_left_on_purpose() -> None:
    read = {name for file in code() for name in re.findall(r"CITY_PLATFORM_[A-Z_]+", file.read_text("utf-8"))}
    # Those of the buckets are put together from the zones' names.
    read |= {name for name in environment("run") if re.fullmatch("CITY_PLATFORM_[A-Z]+_BUCKET", name)}
    for container in RUNS_CODE:
        told = {one for one in environment(container) if one.startswith("CITY_")}
        assert told | LEFT == read
        assert not told & LEFT
    assert environment("code") == environment("run")


def test_every_container_can_open_the_instance() -> None:
    def asked(value: Any) -> set[str]:
        if isinstance(value, dict):
            return {value["env"]} if set(value) == {"env"} else set().union(*map(asked, value.values()))
        return set()

    settings = yaml.safe_load((IMAGE / "dagster.yaml").read_text("utf-8"))
    for container in CONTAINERS:
        assert asked(settings) <= names(container), container
    launcher = settings["run_launcher"]["config"]
    assert launcher["container_name"] == "run"
    run = STACK["RunTask"].properties
    assert environment("daemon")[launcher["task_definition"]["env"]] == run["Family"]


def test_the_instance_is_as_on_one_machine_but_for_storage_and_launching() -> None:
    there = InstanceRef.from_dir(str(IMAGE))  # Dagster itself checks the settings against its schema
    assert there.run_storage_data.class_name == "PostgresRunStorage"
    assert there.event_storage_data.class_name == "PostgresEventLogStorage"
    assert there.scheduler_data is not None
    here, settings = yaml.safe_load(instance_settings.SETTINGS), dict(there.settings)
    assert settings.pop("run_monitoring") == {"enabled": True, "start_timeout_seconds": 600}
    assert settings.pop("concurrency")["runs"].keys() == here["concurrency"]["runs"].keys()
    assert settings == {name: value for name, value in here.items() if name in settings}
    # A run there is a task, which takes a minute to begin: the queue need not be looked at every second.
    assert set(here) - set(settings) == {"run_monitoring", "concurrency", "run_launcher", "run_queue"}


def test_the_driver_of_the_database_is_installed() -> None:
    given = yaml.safe_load((IMAGE / "dagster.yaml").read_text("utf-8"))["storage"]["postgres"]["postgres_db"]
    texts = {name: "x" if isinstance(value, dict) and "env" in value else value for name, value in given.items()}
    assert create_engine(get_conn_string(**texts)).driver == "psycopg2"  # opens no connection
    assert given["params"]["sslmode"] == "verify-full"
    assert given["params"]["sslrootcert"] in {rest.split()[1] for kind, rest in dockerfile() if kind == "ADD"}


def test_nothing_listens_on_the_network() -> None:
    for name, container in CONTAINERS.items():
        assert "PortMappings" not in container, name
        command = container.get("Command", [])
        if "--port" in command:
            assert command[command.index("--host") + 1] == runner.HOST
    service = STACK["HostService"].properties
    assert "LoadBalancers" not in service
    assert service["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"
    assert "SecurityGroupIngress" not in STACK["HostSecurityGroup"].properties
    (opened,) = STACK.resources("AWS::EC2::SecurityGroupIngress")
    assert opened.properties["SourceSecurityGroupId"] == "${HostSecurityGroup}"
    assert STACK["Database"].properties["PubliclyAccessible"] is False


def test_two_daemons_never_run_at_once() -> None:
    service = STACK["HostService"].properties
    assert service["DesiredCount"] == 1
    assert service["DeploymentConfiguration"]["MaximumPercent"] == 100


def test_daemon_and_web_server_find_the_code_where_it_listens() -> None:
    command = CONTAINERS["code"]["Command"]
    server = yaml.safe_load((IMAGE / "workspace.yaml").read_text("utf-8"))["load_from"][0]["grpc_server"]
    assert server["host"] == command[command.index("--host") + 1]
    assert str(server["port"]) == command[command.index("--port") + 1]
    assert server["location_name"] == command[command.index("--location-name") + 1]
    for name in ("daemon", "web"):
        command = CONTAINERS[name]["Command"]
        assert command[command.index("--workspace") + 1] == "infrastructure/image/workspace.yaml"
        assert CONTAINERS[name]["DependsOn"] == [{"ContainerName": "code", "Condition": "HEALTHY"}]


def test_the_image_holds_every_module_that_the_code_location_imports() -> None:
    copied = [ROOT / word for kind, rest in dockerfile() if kind == "COPY" and "--from" not in rest
              for word in rest.split()[:-1]]  # fmt: skip
    for file in copied:
        assert file.exists(), file
        assert not ignored(file.relative_to(ROOT)), file
    for module in code():
        assert any(module == one or one in module.parents for one in copied), module


def test_what_is_not_in_the_image_is_not_sent_to_who_builds_it() -> None:
    for name in (".city-platform/keys/keys.json", "variables.env", "tests/conftest.py", ".git/config", "dist/app.zip"):
        assert ignored(Path(name)), name


def ignored(file: Path) -> bool:
    """As Docker reads .dockerignore: the last line that matches the file or a folder above it decides."""
    answer = False
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        if line and not line.startswith("#"):
            above = [file, *file.parents[:-1]]
            if any(
                fnmatch(one.as_posix(), pattern) or (line.startswith("**/") and one.name == pattern) for one in above
            ):
                answer = not line.startswith("!")
    return answer


def test_the_image_runs_as_nobody_in_particular_and_works_where_volumes_are() -> None:
    image = dockerfile()
    assert [rest for kind, rest in image if kind == "USER"] == ["city"]
    (volumes,) = (yaml.safe_load(rest) for kind, rest in image if kind == "VOLUME")
    for container in CONTAINERS.values():
        assert {one["ContainerPath"] for one in container["MountPoints"]} == set(volumes)
    assert CONTAINERS["run"]["ReadonlyRootFilesystem"] is True
    home = dict(pair.split("=", 1) for kind, rest in image if kind == "ENV" for pair in rest.split())
    assert home["CITY_PLATFORM_HOME"] in volumes
    assert any(f"{home['DAGSTER_HOME']}/dagster.yaml" in rest for kind, rest in image if kind == "COPY")


_ENDPOINTS = {
    "dynamodbstreams": "dynamodb",
    "stepfunctions": "states",
    "kinesis": "kinesis-streams",
    "cloudwatch": "monitoring",
}


def test_every_service_that_the_host_asks_is_reached_from_within_the_network() -> None:
    services = [
        (str(one), one.properties["ServiceName"]["Fn::Sub"].rpartition("}.")[2])
        for one in resources("AWS::EC2::VPCEndpoint")
    ]
    offered = [service for _, service in services]
    assert len(offered) == len(set(offered)), "two endpoints of one service: the second cannot have its name"
    modules = [file for file in code() if "local" not in file.parts]
    # Beside the code's own: what starts tasks, and what Dagster's launcher and log manager ask.
    asked = {"s3", "ecs", "ec2", "logs", "secretsmanager", "ecr.api", "ecr.dkr", "ssmmessages"}
    asked |= {_ENDPOINTS.get(one, one) for one in clients(modules)}
    assert asked <= set(offered)


def test_a_copy_in_another_region_is_looked_at_where_one_is_named_and_its_lag_is_told() -> None:
    assert "ReplicaLateAlarm" not in STACK.by_name
    there = template("dagster").deploy({**GIVEN, "VerifiedReplicaRegion": "ca-west-1", "AWS::Partition": "aws"})
    alarm = there["ReplicaLateAlarm"].properties
    assert alarm["Threshold"] == ALLOWED_LAG.total_seconds()
    assert alarm["Period"] >= 2 * replica.INTERVAL_SECONDS
    names = [{"Environment"} for one in replication_measurements(lag([], NOW), NOW) if one.name == alarm["MetricName"]]
    assert {one["Name"] for one in alarm["Dimensions"]} in names
    said = there["DataPolicy"].properties["PolicyDocument"]["Statement"]
    (looks,) = [one for one in said if one["Sid"] == "LooksAtTheCopy"]
    buckets = replica_buckets(AwsSettings.of(environment("run")).buckets).values()
    assert set(looks["Resource"]) == {f"arn:aws:s3:::{name}{end}" for name in buckets for end in ("", "/*")}
    assert set(looks["Action"]) == {"s3:GetObject", "s3:ListBucket"}
