"""The whole incident stack from its template: a report comes in by the gateway and is in the lake at the end."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from city_platform.aws.settings import BUCKETS
from tests.emulator import REGION, SECRETS, client, emulated_aws
from tests.incident_stack import PARAMETERS
from tests.incident_stream import record
from tests.incidents import incident, report
from tests.patience import PATIENCE_S, until
from tests.templates import template
from tests.town import ROOT

UNKNOWN = {"AWS::WAFv2::WebACLAssociation", "AWS::WAFv2::LoggingConfiguration"}  # to the emulator
KEYS = ("PublicKeyArn", "InternalKeyArn", "PersonalKeyArn", "LogsKeyArn")


class Deployed:
    """One stack, made by CloudFormation on an emulator over a foundation of plain buckets and one key."""

    def __init__(self, endpoint: str, home: Path, kinesis: str) -> None:
        self._endpoint = endpoint
        self.project = f"city{kinesis}"
        prefix = f"{self.project}-dev"
        self.buckets = {f"{zone.name.capitalize()}Bucket": f"{prefix}-{zone}" for zone in BUCKETS}
        s3, kms, formation = self.client("s3"), self.client("kms"), self.client("cloudformation")
        for bucket in (*self.buckets.values(), f"{prefix}-code"):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket=f"{prefix}-code", Key="code.zip", Body=bundle())
        key = kms.create_key()["KeyMetadata"]["Arn"]
        if not [one for one in kms.list_aliases()["Aliases"] if one["AliasName"].endswith("/incidents/personal")]:
            kms.create_alias(AliasName="alias/city-platform/incidents/personal", TargetKeyId=key)
        topic = self.client("sns").create_topic(Name=f"{prefix}-operations")["TopicArn"]
        bus = f"{prefix}-traffic"
        arn = self.client("events").create_event_bus(Name=bus)["EventBusArn"]
        exported = self.buckets | dict.fromkeys(KEYS, key) | {"OperationsTopicArn": topic}
        anything = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
        boundary = self.client("iam").create_policy(
            PolicyName=f"{prefix}-role-boundary", PolicyDocument=json.dumps(anything)
        )["Policy"]["Arn"]
        exported |= {"EventBusName": bus, "EventBusArn": arn, "RoleBoundaryArn": boundary}
        outputs = {name: {"Value": value, "Export": {"Name": f"{prefix}-{name}"}} for name, value in exported.items()}
        nothing = {"Nothing": {"Type": "AWS::SNS::Topic"}}
        foundation = json.dumps({"Resources": nothing, "Outputs": outputs})
        formation.create_stack(StackName=f"{prefix}-foundation", TemplateBody=foundation)
        own = {
            "CITY_PLATFORM_HOME": str(home / prefix),
            "AWS_ENDPOINT_URL": endpoint,
            **SECRETS,
        }
        s3.put_object(Bucket=f"{prefix}-code", Key="stack.json", Body=json.dumps(emulated(own)).encode())
        given = PARAMETERS | {"Project": self.project, "CodeBucket": f"{prefix}-code", "StreamToKinesis": kinesis}
        formation.create_stack(
            StackName=f"{prefix}-incidents",
            TemplateURL=f"{endpoint}/{prefix}-code/stack.json",
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
        )
        stack = until(
            lambda: formation.describe_stacks(StackName=f"{prefix}-incidents")["Stacks"][0],
            lambda one: not one["StackStatus"].endswith("IN_PROGRESS"),
        )
        events = formation.describe_stack_events(StackName=f"{prefix}-incidents")["StackEvents"]
        assert stack["StackStatus"] == "CREATE_COMPLETE", [one for one in events if "FAILED" in one["ResourceStatus"]]
        self.outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}

    def client(self, service: str) -> Any:
        return client(self._endpoint, service)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """A request through the gateway: status and what the answer's JSON says."""
        name, stage = self.outputs["IncidentApiUrl"].removeprefix("https://").split(".", 1)[0], "live"
        where = f"{self._endpoint}/_aws/execute-api/{name}/{stage}{path}"
        data = json.dumps(body).encode() if body is not None else None
        asked = Request(where, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310 -- loopback
        try:
            with urlopen(asked, timeout=PATIENCE_S) as answer:  # noqa: S310 -- loopback
                return answer.status, json.load(answer)
        except HTTPError as error:
            return error.code, json.load(error)

    def invoke(self, function: str) -> Any:
        answer = self.client("lambda").invoke(FunctionName=f"{self.project}-dev-incident-{function}", Payload=b"{}")
        said = json.load(answer["Payload"])
        assert "FunctionError" not in answer, said
        return said

    def waiting(self, queue: str) -> int:
        sqs, name = self.client("sqs"), "ApproximateNumberOfMessages"
        url = sqs.get_queue_url(QueueName=f"{self.project}-dev-{queue}")["QueueUrl"]
        return int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])

    def export(self) -> dict[str, Any]:
        states = self.client("stepfunctions")
        name = states.start_execution(stateMachineArn=self.outputs["ExportStateMachineArn"], input="{}")["executionArn"]
        done: dict[str, Any] = until(
            lambda: states.describe_execution(executionArn=name), lambda one: one["status"] != "RUNNING"
        )
        return done

    def exported(self) -> list[dict[str, str]]:
        """The rows of all CSV files of the lake."""
        s3, bucket = self.client("s3"), self.buckets["RawBucket"]
        found = s3.list_objects_v2(Bucket=bucket, Prefix="exports/incidents/year=").get("Contents", [])
        texts = [
            s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read().decode()
            for one in found
            if one["Key"].endswith(".csv")
        ]
        return [line for text in texts for line in csv.DictReader(io.StringIO(text, newline=""))]


def bundle() -> bytes:
    """The platform's code; what it imports is this interpreter's."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for one in (ROOT / "city_platform").rglob("*"):
            if one.is_file() and "__pycache__" not in one.parts:
                file.write(one, one.relative_to(ROOT))
    return made.getvalue()


def emulated(variables: dict[str, str]) -> dict[str, Any]:
    """The template without what the emulator does not know; functions are led to the emulator."""
    made: dict[str, Any] = json.loads(json.dumps(template("incidents").body))
    made["Resources"] = {name: one for name, one in made["Resources"].items() if one["Type"] not in UNKNOWN}
    for one in made["Resources"].values():
        if one["Type"] == "AWS::Lambda::Function":
            one["Properties"]["Environment"]["Variables"] |= variables
    return made


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with emulated_aws(tmp_path_factory.mktemp("emulator"), SFN_WAIT_SCALE="0.05") as url:
        yield url


@pytest.mark.parametrize("kinesis", ["no", "yes"])
def test_a_report_goes_through_the_stack_into_the_lake(endpoint: str, tmp_path: Path, kinesis: str) -> None:
    stack = Deployed(endpoint, tmp_path, kinesis)
    status, made = stack.call("POST", "/v1/incidents", report(contact={"email": "kim@example.org"}))
    assert status == 201, made
    status, listed = stack.call("GET", "/v1/incidents?district=mount-pleasant&status=reported")
    assert [one["incident_id"] for one in listed["incidents"]] == [made["incident_id"]]
    where = f"/v1/incidents/{made['incident_id']}"
    assert stack.call("GET", f"{where}/contact")[0] == 401
    query = {"query": "query Q($id: String!) { incident(incidentId: $id) { title } }"}
    status, asked = stack.call("POST", "/graphql", query | {"variables": {"id": made["incident_id"]}})
    assert (status, asked["data"]["incident"]["title"]) == (200, made["title"])
    status, problem = stack.call("GET", "/nowhere")
    assert (status, problem["type"]) == (404, "urn:city-platform:problem:not-served")

    assert stack.call("GET", "/v1/stats")[0] == 503
    assert stack.invoke("publishing") == {made["reported_at"][:4]: 1}
    assert stack.call("GET", "/v1/stats")[1]["total"] == 1
    assert stack.invoke("deadlines") == {"rejected": 0, "anonymised": 0}

    changed, title = made["incident_id"], made["title"]
    if kinesis == "yes":  # the emulator copies no changes of a table there
        one = incident()
        changed, title = one.incident_id, one.title
        stack.client("kinesis").put_record(
            StreamName=f"{stack.project}-dev-incident-changes",
            PartitionKey=changed,
            Data=json.dumps(record(one)).encode(),
        )
    until(lambda: stack.waiting("incident-exports"), lambda count: count == 1)
    done = stack.export()
    assert done["status"] == "SUCCEEDED", done
    (row,) = stack.exported()
    assert (row["incident_id"], row["event"], row["title"]) == (changed, "INSERT", title)
    assert "kim@example.org" not in json.dumps(row)
    assert [stack.waiting(f"incident-{name}") for name in ("exports", "changes-dead", "changes-undelivered")] == [0] * 3
