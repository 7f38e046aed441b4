"""Deploying over moto's CloudFormation: from nothing, again, after a change, and down; by the command."""

import json
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from city_platform.cli import deploy
from tests.conftest import ROOT
from tests.emulated_stacks import mend

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse .*BucketPolicy")  # moto makes none
BY_PEOPLE = ("--stack", "rights", "--stack", "bootstrap")
REGION, WEST = "ca-central-1", "ca-west-1"
HEAD = """
Parameters:
  Environment: {Type: String}
  Project: {Type: String}
"""
STORE = f"""{HEAD}
Resources:
  Topic: {{Type: "AWS::SNS::Topic", Properties: {{TopicName: store}}}}
Outputs:
  TopicArn: {{Value: !Ref Topic, Export: {{Name: !Sub "${{Project}}-${{Environment}}-TopicArn"}}}}
"""
OTHER = f"""{HEAD}
Resources:
  Queue: {{Type: "AWS::SQS::Queue", Properties: {{QueueName: west}}}}
Outputs:
  QueueArn: {{Value: !GetAtt Queue.Arn}}
"""
FUNCTIONS = f"""{HEAD}
  CodeBucket: {{Type: String}}
  CodeKey: {{Type: String}}
  QueueArn: {{Type: String}}
  Mail: {{Type: String}}
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties: {{AssumeRolePolicyDocument: {{Version: "2012-10-17", Statement: []}}}}
  Function:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: app
      Handler: lambda_handler.lambda_handler
      Runtime: python3.13
      Role: !GetAtt Role.Arn
      Code: {{S3Bucket: !Ref CodeBucket, S3Key: !Ref CodeKey}}
      Environment:
        Variables:
          TOPIC: {{"Fn::ImportValue": !Sub "${{Project}}-${{Environment}}-TopicArn"}}
          QUEUE: !Ref QueueArn
          MAIL: !Ref Mail
"""
PARAMETERS: dict[str, Any] = {
    "region": REGION,
    "regions": {"a-west": WEST},
    "approval": False,
    "protected": False,
    "common": {},
    "stacks": {
        "bootstrap": {"PipelineAccount": "123456789012"},
        "app": {"QueueArn": {"output": "a-west.QueueArn"}, "Mail": {"variable": "CITY_MAIL"}},
    },
}


@pytest.fixture(autouse=True)
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name in ("_CHANGE_SET_S", "_STACK_S"):
        monkeypatch.setattr(f"city_platform.infrastructure.stacks.{name}", 0)
    mend(monkeypatch)
    with mock_aws():
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "infrastructure"
    (place / "parameters").mkdir(parents=True)
    for name in ("rights", "bootstrap"):
        shutil.copy(ROOT / "infrastructure" / f"{name}.yaml", place)
    for name, text in {"store": STORE, "a-west": OTHER, "app": FUNCTIONS}.items():
        (place / f"{name}.yaml").write_text(text)
    for name, more in {"dev": {}, "prod": {"approval": True}}.items():
        (place / "parameters" / f"{name}.json").write_text(json.dumps(PARAMETERS | more))
    packages = tmp_path / "dist"
    packages.mkdir()
    with zipfile.ZipFile(packages / "app.zip", "w") as archive:
        archive.writestr("lambda_handler.py", "")
    return place


def call(folder: Path, *words: str, says: str | None = None, environment: str = "dev") -> tuple[int, str]:
    command = [words[0], "--environment", environment, "--infrastructure", str(folder), *words[1:]]
    if words[0] in {"plan", "up"}:
        command += ["--packages", str(folder.parent / "dist")]
    done = CliRunner().invoke(deploy.app, command, input=says)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def changes(output: str) -> Mapping[str, list[str]]:
    body = json.loads(output.splitlines()[-1])
    return {one["stack"]: [each["resource"] for each in one.get("changes", [])] for one in body["stacks"]}


def standing(region: str = REGION) -> set[str]:
    return {one["StackName"] for one in boto3.client("cloudformation", region_name=region).describe_stacks()["Stacks"]}


def test_an_environment_from_nothing_and_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, output = call(folder, "plan")
    assert (code, "app.Mail: set CITY_MAIL" in output) == (3, True)
    monkeypatch.setenv("CITY_MAIL", "a@city.internal")
    code, output = call(folder, "up")
    assert (code, "deploy up --environment dev --stack rights --stack bootstrap" in output) == (3, True)
    assert standing() | standing(WEST) == set()

    assert call(folder, "up", *BY_PEOPLE)[0] == 0
    code, output = call(folder, "plan")
    assert code == 0, output
    assert re.search(
        r"city-platform-dev-app: 2 resources, after city-platform-dev-TopicArn, city-platform-dev-a-west", output
    )
    assert standing() == {"city-platform-dev-rights", "city-platform-dev-bootstrap"}  # only looked at

    code, output = call(folder, "up", "--json")
    assert code == 0, output
    assert changes(output) == {
        "city-platform-dev-a-west": ["Queue"],
        "city-platform-dev-store": ["Topic"],
        "city-platform-dev-app": ["Role", "Function"],
    }
    made = boto3.client("lambda").get_function(FunctionName="app")
    told = made["Configuration"]["Environment"]["Variables"]
    assert told["TOPIC"].endswith(":store")
    assert (told["QUEUE"].split(":")[3], told["MAIL"]) == (WEST, "a@city.internal")
    (stack,) = boto3.client("cloudformation").describe_stacks(StackName="city-platform-dev-app")["Stacks"]
    given = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}
    assert re.fullmatch(r"functions/app/[0-9a-f]{64}\.zip", given["CodeKey"])
    assert boto3.client("s3").head_object(Bucket=given["CodeBucket"], Key=given["CodeKey"])["ContentLength"] > 0
    assert {one["Key"]: one["Value"] for one in stack["Tags"]} == {"Project": "city-platform", "Environment": "dev"}
    assert stack["RoleARN"].startswith("arn:aws:iam::123456789012:role/")

    code, output = call(folder, "up", "--json")
    assert code == 0, output
    assert changes(output) == {
        "city-platform-dev-a-west": [],
        "city-platform-dev-store": [],
        "city-platform-dev-app": [],
    }


def test_only_what_changed_is_changed_and_all_of_it_goes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITY_MAIL", "a@city.internal")
    call(folder, "up", *BY_PEOPLE)
    assert call(folder, "up")[0] == 0
    # More than a request may hold: such a template is uploaded first.
    large = STORE.replace("Outputs:", '  Second: {Type: "AWS::SNS::Topic", Properties: {TopicName: second}}\nOutputs:')
    (folder / "store.yaml").write_text(large + "# padding\n" * 6000)
    code, output = call(folder, "plan", "--json")
    assert code == 0, output
    assert changes(output) == {
        "city-platform-dev-a-west": [], "city-platform-dev-store": ["Second"], "city-platform-dev-app": [],
    }  # fmt: skip
    topics = boto3.client("sns").list_topics
    assert len(topics()["Topics"]) == 1  # only looked at
    assert call(folder, "up", "--stack", "store")[0] == 0
    assert len(topics()["Topics"]) == 2

    assert call(folder, "down", says="prod\n")[0] == 2
    assert len(standing()) == 4
    code, output = call(folder, "down", "--json", says="dev\n")
    assert code == 0, output
    order = ["city-platform-dev-app", "city-platform-dev-store", "city-platform-dev-a-west"]
    assert json.loads(output.splitlines()[-1])["deleted"] == order
    assert standing() == {"city-platform-dev-rights", "city-platform-dev-bootstrap"}


def test_changes_that_want_approval_are_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITY_MAIL", "a@city.internal")
    code, output = call(folder, "up", *BY_PEOPLE, environment="prod")
    assert (code, "give --approved" in output) == (2, True)
    monkeypatch.setattr(deploy, "_on_terminal", lambda: True)
    code, output = call(folder, "up", *BY_PEOPLE, environment="prod", says="n\n")
    assert (code, standing()) == (3, set())
    assert "stays as it is" in output
    assert call(folder, "up", *BY_PEOPLE, environment="prod", says="y\ny\n")[0] == 0
    assert standing() == {"city-platform-prod-rights", "city-platform-prod-bootstrap"}


def test_a_smoke_test_that_may_not_ask_aws_says_so(folder: Path) -> None:
    exported = {"IncidentApiUrl": "http://127.0.0.1:1", "DagsterClusterName": "gone"}  # nobody listens, no such cluster
    outputs = {
        name: {"Value": value, "Export": {"Name": f"city-platform-dev-{name}"}} for name, value in exported.items()
    }
    body = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}, "Outputs": outputs}
    boto3.client("cloudformation").create_stack(StackName="x", TemplateBody=json.dumps(body))
    code, output = call(folder, "smoke")
    assert (code, "AWS refused gone: ClusterNotFoundException" in output) == (3, True), output
