"""The incident path from the command line, and the notifiers beneath its alerts."""

import json
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from typer.testing import CliRunner

from city_platform.aws.notifier import SnsNotifier
from city_platform.cli.app import app
from city_platform.functions import incident_deadlines
from city_platform.incidents.model import Severity, Status
from city_platform.local.notifier import FileNotifier
from tests.incident_stream import Town, following, notifications, record, with_poison
from tests.incidents import incident
from tests.town import StandingClock


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """`process` listens to signals; the tests' own process goes on with what it had."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def command(home: Path, *words: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, ["incidents", *words, "--home", str(home), "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_the_commands_take_changes_to_the_lake_and_bring_letters_back(home: Path) -> None:
    town = Town.at(home)
    names = with_poison(town)
    assert command(home, "process", "--once") == (0, {"records": 6, "rows_exported": 5, "rejected": 0})
    assert town.names() == names
    code, listed = command(home, "dlq", "list")
    (letter,) = listed["dead_letters"]
    assert (code, letter["kind"], letter["reason"]) == (1, "record", "severity: Invalid enum value")
    late = incident(5)
    town.path.dead_letters.keep([(record(late), "a defect, mended since")])
    code, done = command(home, "dlq", "redrive")
    assert (code, done) == (1, {"replayed": 1, "jobs": 0, "refused": ["severity: Invalid enum value"]})
    assert command(home, "process", "--once") == (0, {"records": 0, "rows_exported": 1, "rejected": 0})
    assert town.names() == sorted([*names, f"{late.incident_id}.1.INSERT"])


def test_a_request_that_nobody_answered_is_rejected_and_exported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town.at(home)
    asked = town.write(incident())
    town.write(following(asked, status=Status.INFO_REQUESTED), asked)
    assert command(home, "process", "--once") == (0, {"records": 3, "rows_exported": 3, "rejected": 1})
    assert town.names()[-1] == f"{asked.incident_id}.3.MODIFY"
    monkeypatch.setenv("CITY_PLATFORM_HOME", str(home))
    incident_deadlines._parts.cache_clear()
    assert incident_deadlines.handler({}, None) == {"rejected": 0}


def test_of_notifications_of_one_name_the_file_has_the_first(tmp_path: Path, clock: StandingClock) -> None:
    file = tmp_path / "home" / "notifications.jsonl"
    notifier = FileNotifier(file, clock)
    threads = [threading.Thread(target=notifier.notify, args=("s", "b"), kwargs={"once": "a"}) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with file.open("a") as torn:
        torn.write('{"at": "2026-')  # its writer died
    notifier.notify("other", "b", once="b")
    notifier.notify("other", "b", once="b")
    notifier.notify("plain", "b")
    notifier.notify("plain", "b")
    lines = file.read_text().splitlines()
    assert [json.loads(line)["subject"] for line in (lines[0], *lines[2:])] == ["s", "other", "plain", "plain"]
    assert file.stat().st_mode & 0o077 == 0


def test_a_fifo_topic_is_told_which_notifications_are_the_same(aws_environment: dict[str, str]) -> None:
    def client(service: str) -> Any:
        return boto3.client(service, endpoint_url=aws_environment["AWS_ENDPOINT_URL"])

    name = uuid4().hex
    topic = client("sns").create_topic(Name=f"{name}.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
    sqs = client("sqs")
    attributes = {"FifoQueue": "true", "DeduplicationScope": "queue"}
    url = sqs.create_queue(QueueName=f"{name}.fifo", Attributes=attributes)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    notifier = SnsNotifier(topic, lambda: client("sns"))
    for once in ("alert#1", "alert#1", "alert#2", None, None):
        notifier.notify("Critical incident", "body", once=once)
    assert len(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]) == 4


def test_the_stream_in_the_cloud_may_say_more_than_ours(home: Path) -> None:
    """What DynamoDB adds to a record and to an image changes no row."""
    town = Town.at(home)
    told = record(incident(severity=Severity.CRITICAL))
    told |= {"awsRegion": "ca-central-1", "userIdentity": None}
    told["dynamodb"] |= {"SizeBytes": 512}
    told["dynamodb"]["NewImage"]["region_status"] = {"S": "central#reported#2"}
    assert town.path.processor.process({"Records": [told]}).rows == 1
    assert len(notifications(town)) == 1
    assert town.path.jobs.receive(2, timedelta(minutes=1))
