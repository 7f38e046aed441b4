"""The incident path on an emulated AWS: the real functions behind the real state machine, over tables and queues."""

import io
import json
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from city_platform.aws.incidents import DynamoDBIncidentRepository, IncidentTables
from city_platform.deployment import open_platform
from city_platform.deployment.incidents import IncidentPath, open_incident_path
from city_platform.incidents.contact import CONTACT_KEY
from city_platform.incidents.model import PICTURES, Severity, Status
from city_platform.local.clock import SystemClock
from city_platform.protection.classification import Classification, master_key
from tests.emulator import REGION, SECRETS, emulated_aws
from tests.emulator import client as client_of
from tests.incident_stream import following, record
from tests.incidents import NOW, change, incident
from tests.patience import until
from tests.town import ROOT, one_bucket

ROLE = "arn:aws:iam::000000000000:role/test"
MACHINE = ROOT / "infrastructure" / "state_machines" / "incident_export.asl.json"


# Lambda's runtime for Python in little, over the same interface: the emulator's own tells of no error's class, which is
# what the state machine goes by. The bundle names this checkout, where the infrastructure's holds a copy of it.
RUNTIME = """#!{python}
import json, os, sys
from urllib.request import Request, urlopen
sys.path.insert(0, {root!r})
from {module} import handler
{trouble}
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urlopen(api + "next") as invocation:
        name, event = invocation.headers["Lambda-Runtime-Aws-Request-Id"], json.load(invocation)
    try:
        hinder(event)
        place, said = "/response", handler(event, None)
    except Exception as error:
        place, said = "/error", {{"errorType": type(error).__name__, "errorMessage": str(error), "stackTrace": []}}
    urlopen(Request(api + name + place, json.dumps(said).encode(), method="POST")).close()
"""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An emulated AWS on loopback that runs functions with this interpreter."""
    with emulated_aws(tmp_path_factory.mktemp("emulator"), SFN_WAIT_SCALE="0.05") as url:
        yield url


class Cloud:
    """One deployment: its bucket, tables, queues, topic, keys, function and state machine."""

    def __init__(self, endpoint: str, home: Path) -> None:
        self.prefix = f"city-{uuid4().hex[:8]}"
        self.home = home

        client = partial(client_of, endpoint)
        self.states, self.functions = client("stepfunctions"), client("lambda")
        self.sqs = client("sqs")
        client("s3").create_bucket(Bucket=self.prefix, CreateBucketConfiguration={"LocationConstraint": REGION})
        tables = client("dynamodb")
        self.tables = IncidentTables(self.prefix)
        for definition in self.tables.definitions():
            tables.create_table(**definition)
        self.store = DynamoDBIncidentRepository(self.tables, SystemClock(), lambda: tables)
        for name in ("incident-exports", "incident-exports-dead", "incident-changes-dead", "heard"):
            self.sqs.create_queue(QueueName=f"{self.prefix}-{name}")
        self.heard = self.sqs.get_queue_url(QueueName=f"{self.prefix}-heard")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.heard, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topic = client("sns").create_topic(Name=f"{self.prefix}-alerts")["TopicArn"]
        client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        client("events").create_event_bus(Name=self.prefix)
        keys = client("kms")
        known = {one["AliasName"] for one in keys.list_aliases()["Aliases"]}
        for alias in {CONTACT_KEY, master_key("incidents", Classification.PERSONAL)} - known:
            keys.create_alias(AliasName=alias, TargetKeyId=keys.create_key()["KeyMetadata"]["KeyId"])
        self.environment = {
            "CITY_PLATFORM_DEPLOYMENT": "aws",
            **one_bucket(self.prefix),
            "CITY_PLATFORM_ALERTS_TOPIC": topic,
            "CITY_PLATFORM_TABLES": self.prefix,
            "CITY_PLATFORM_EVENT_BUS": self.prefix,
            "CITY_PLATFORM_HOME": str(home / "function"),
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": endpoint,
            **SECRETS,
        }
        self.machine = self.deploy("city_platform.functions.incident_export")

    def deploy(self, module: str, trouble: str = "") -> str:
        """The function of a module, its troubles before it, and the machine that calls it."""
        trouble = trouble or "def hinder(event):\n    pass\n"
        bundle = io.BytesIO()
        with zipfile.ZipFile(bundle, "w") as file:
            entry = zipfile.ZipInfo("bootstrap")
            entry.external_attr = 0o755 << 16
            file.writestr(entry, RUNTIME.format(python=sys.executable, root=str(ROOT), module=module, trouble=trouble))
        name = f"{self.prefix}-{uuid4().hex[:6]}"
        function = self.functions.create_function(
            FunctionName=name,
            Runtime="provided.al2023",
            Role=ROLE,
            Handler="entry.handler",
            Code={"ZipFile": bundle.getvalue()},
            Timeout=60,
            Environment={"Variables": self.environment},
        )["FunctionArn"]
        definition = MACHINE.read_text().replace("${IncidentExportFunctionArn}", function)
        return str(self.states.create_state_machine(name=name, definition=definition, roleArn=ROLE)["stateMachineArn"])

    def path(self, monkeypatch: pytest.MonkeyPatch) -> IncidentPath:
        """The path's parts in this process, over the same cloud."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        return open_incident_path(self.home, open_platform(self.home))

    def run(self, machine: str) -> tuple[dict[str, Any], list[str]]:
        """One execution, and the states it went through."""
        started = self.states.start_execution(stateMachineArn=machine, input="{}")["executionArn"]
        done: dict[str, Any] = until(
            lambda: self.states.describe_execution(executionArn=started), lambda one: one["status"] != "RUNNING"
        )
        events = self.states.get_execution_history(executionArn=started, maxResults=1000)["events"]
        entered = [one["stateEnteredEventDetails"]["name"] for one in events if "stateEnteredEventDetails" in one]
        return done, entered

    def notifications(self) -> list[str]:
        messages = self.sqs.receive_message(QueueUrl=self.heard, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(one["Body"])["Message"] for one in messages]


@pytest.fixture(scope="module")
def cloud(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Cloud:
    return Cloud(endpoint, tmp_path_factory.mktemp("cloud"))


def exported(path: IncidentPath) -> dict[str, int]:
    lake = path.export.lake
    days = lake.partitions("exports", "incidents")
    return {day: lake.require("exports", "incidents", day).counts["rows"] for day in days}


def test_changes_go_from_the_stream_through_the_state_machine_to_the_lake(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cloud.path(monkeypatch)
    one = incident()
    critical = following(one, severity=Severity.CRITICAL)
    event = {"Records": [record(one), record(critical, one, 2)]}
    for _ in range(2):  # as the mapping may
        assert path.processor.process(event).partial_answer() == {"batchItemFailures": []}
    (alert,) = cloud.notifications()
    assert one.public_ref in alert
    done, states = cloud.run(cloud.machine)
    assert done["status"] == "SUCCEEDED", done
    assert [name for name in states if name != "ExportDay"] == [
        "Lock", "List", "AnythingWaiting", "Export", "WriteManifest", "Verify", "Tell", "Clear", "Notify", "Unlock",
        "Exported",
    ]  # fmt: skip
    assert exported(path) == {"2026-03-09": 2}
    done, states = cloud.run(cloud.machine)
    assert (done["status"], states[-3:]) == ("SUCCEEDED", ["AnythingWaiting", "Unlock", "Exported"])


TROUBLE = """
from pathlib import Path
from city_platform.ports import StoreUnavailable
from city_platform.incidents.export import ExportDamaged
def hinder(event):
    if event["step"] == {step!r}:
        with Path({file!r}).open("a") as tried:
            tried.write("x")
        if len(Path({file!r}).read_text()) <= {times}:
            raise {error}("as planned")
"""


def test_a_passing_failure_is_tried_again_and_nothing_is_there_twice(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cloud.path(monkeypatch)
    before = exported(path).get("2026-03-09", 0)
    path.processor.process({"Records": [record(incident())]})
    file = tmp_path / "tried"
    trouble = TROUBLE.format(step="export", file=str(file), times=2, error="StoreUnavailable")
    done, _ = cloud.run(cloud.deploy("city_platform.functions.incident_export", trouble))
    assert done["status"] == "SUCCEEDED", done
    assert file.read_text() == "xxx"
    assert exported(path)["2026-03-09"] == before + 1


def test_a_lasting_failure_is_told_and_lets_the_next_one_begin(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cloud.path(monkeypatch)
    before = exported(path).get("2026-03-09", 0)
    path.processor.process({"Records": [record(incident())]})
    trouble = TROUBLE.format(step="verify", file=str(tmp_path / "tried"), times=99, error="ExportDamaged")
    done, states = cloud.run(cloud.deploy("city_platform.functions.incident_export", trouble))
    assert (done["status"], done["error"]) == ("FAILED", "ExportDamaged")
    assert states[-2:] == ["TellOfFailure", "ExportFailed"]
    assert (tmp_path / "tried").read_text() == "x"  # trying again would not help
    assert any("as planned" in one for one in cloud.notifications())
    # The lock is free; the jobs are invisible still, and what they told of is in the lake already.
    done, states = cloud.run(cloud.machine)
    assert done["status"] == "SUCCEEDED"
    assert exported(path)["2026-03-09"] == before + 1


def test_an_export_beside_a_running_one_ends_well(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cloud.path(monkeypatch)
    path.export.lock("somebody")
    done, states = cloud.run(cloud.machine)
    path.export.unlock("somebody")
    assert (done["status"], states[-1]) == ("SUCCEEDED", "AnotherIsRunning")


def test_the_tables_serve_the_store_on_this_emulator_too(cloud: Cloud) -> None:
    one = incident()
    cloud.store.write([change(one)])
    assert cloud.store.get(one.incident_id) == one


def test_what_time_to_live_removed_takes_its_history_and_contact_along(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cloud.path(monkeypatch)
    gone, kept = incident(status=Status.RESOLVED, closed_at=NOW), incident()
    for one in (gone, kept):
        cloud.store.write([change(one, sealed_contact=b"sealed")])
        path.export.lake.store.put(f"{PICTURES}/{one.incident_id}/1.jpg", b"pixels")
    for _ in range(2):  # as the mapping may
        event = {"Records": [record(following(gone), gone), record(None, gone)]}
        assert path.processor.process(event).partial_answer() == {"batchItemFailures": []}
    assert (cloud.store.history(gone.incident_id), cloud.store.sealed_contact(gone.incident_id)) == ([], None)
    assert (len(cloud.store.history(kept.incident_id)), cloud.store.sealed_contact(kept.incident_id)) == (1, b"sealed")
    assert list(path.export.lake.store.keys(f"{PICTURES}/")) == [f"{PICTURES}/{kept.incident_id}/1.jpg"]
