"""The incident path from the command line, and the notifiers beneath its alerts."""

import json
import os
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
from city_platform.deployment.incidents import open_incident_service
from city_platform.functions import incident_deadlines
from city_platform.incidents.model import INCOMING, PICTURES, Contact, Resolution, Severity, Status
from city_platform.incidents.repository import Listing, Pattern
from city_platform.incidents.roles import ANONYMOUS
from city_platform.local.clock import SystemClock
from city_platform.local.notifier import FileNotifier
from city_platform.local.platform import local_platform
from tests.incident_stream import Town, following, notifications, record, with_poison
from tests.incidents import ADMIN, CITIZEN, OFFICER, OTHER, incident, report
from tests.town import StandingClock

NOTHING_OVERDUE = {"rejected": 0, "anonymised": 0, "removed": 0, "uploads": 0}


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
    assert command(home, "process", "--once") == (0, {"records": 6, "rows_exported": 5, **NOTHING_OVERDUE})
    assert town.names() == names
    code, listed = command(home, "dlq", "list")
    (letter,) = listed["dead_letters"]
    assert (code, letter["kind"], letter["reason"]) == (1, "record", "severity: Invalid enum value")
    late = incident(5)
    town.path.dead_letters.keep([(record(late), "a defect, mended since")])
    code, done = command(home, "dlq", "redrive")
    assert (code, done) == (1, {"replayed": 1, "jobs": 0, "refused": ["severity: Invalid enum value"]})
    assert command(home, "process", "--once") == (0, {"records": 0, "rows_exported": 1, **NOTHING_OVERDUE})
    assert town.names() == sorted([*names, f"{late.incident_id}.1.INSERT"])


def test_a_request_that_nobody_answered_is_rejected_and_exported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town.at(home)
    asked = town.write(incident())
    town.write(following(asked, status=Status.INFO_REQUESTED), asked)
    done = {"records": 3, "rows_exported": 3, **NOTHING_OVERDUE, "rejected": 1}
    assert command(home, "process", "--once") == (0, done)
    assert town.names()[-1] == f"{asked.incident_id}.3.MODIFY"
    monkeypatch.setenv("CITY_PLATFORM_HOME", str(home))
    incident_deadlines._parts.cache_clear()
    assert incident_deadlines.handler({}, None) == {"rejected": 0, "anonymised": 0}


def test_what_was_closed_long_ago_loses_its_reporter_and_then_leaves_the_store(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    town, today = Town.at(home), SystemClock().now()
    platform = local_platform(home, town.clock, threads=1)
    service = open_incident_service(platform, town.store, {})

    def closed(days: int) -> str:
        """One that was closed so many days ago, with contact data and a supporter."""
        town.clock.time = today - timedelta(days=days)
        one = service.report(report(contact={"email": "canary@example.org"}), CITIZEN).incident.incident_id
        service.support(one, OTHER)
        service.transition(one, Status.RESOLVED, OFFICER, note="mended", resolution=Resolution.FIXED)
        return one

    recent, old, older, opened = closed(80), closed(100), closed(740), closed(750)
    for one in (old, older):
        town.lake.store.put(f"{PICTURES}/{one}/1.jpg", b"pixels")
    town.clock.time = today - timedelta(days=700)
    service.transition(opened, Status.REOPENED, OFFICER)
    for name, days in (("left", 2), ("fresh", 0)):
        town.lake.store.put(f"{INCOMING}/{recent}/{name}", b"pixels")
        at = (today - timedelta(days=days)).timestamp()
        os.utime(town.lake.store.local_path(f"{INCOMING}/{recent}/{name}"), (at, at))
    done = {"records": 15, "rows_exported": 15, "rejected": 0, "anonymised": 1, "removed": 1, "uploads": 1}
    assert command(home, "process", "--once") == (0, done)
    assert command(home, "process", "--once") == (0, {"records": 0, "rows_exported": 0, **NOTHING_OVERDUE})

    rows = {row["event_id"]: row for row in town.exported()}
    assert (rows[f"{old}.4.MODIFY"]["reporter"], rows[f"{old}.4.MODIFY"]["old_status"]) == (None, "resolved")
    assert rows[f"{old}.3.MODIFY"]["reporter"]  # the lake keeps pseudonyms
    assert [(name, row["expired"]) for name, row in rows.items() if row["event"] == "REMOVE"] == [
        (f"{older}.3.REMOVE", True)
    ]
    assert town.store.get(older) is None
    assert (town.store.history(older), town.store.sealed_contact(older)) == ([], None)
    assert list(town.lake.store.keys(f"{INCOMING}/")) == [f"{INCOMING}/{recent}/fresh"]
    assert list(town.lake.store.keys(f"{PICTURES}/")) == [f"{PICTURES}/{old}/1.jpg"]
    assert town.store.sealed_contact(old) is None
    assert [entry.actor for entry in town.store.history(old)] == [None, None, "officer-1", "system"]
    for kept in (recent, opened):
        assert service.contact(kept, ADMIN) == Contact(email="canary@example.org")
    listing = Listing(Pattern.DISTRICT_CATEGORY, ("mount-pleasant", "road_damage"))
    assert {one.incident_id for one in service.list(listing, ANONYMOUS, 10).incidents} == {recent, old, opened}
    assert sum(count.incidents for count in town.store.counts().counts) == 3

    last = closed(95)
    monkeypatch.setenv("CITY_PLATFORM_HOME", str(home))
    incident_deadlines._parts.cache_clear()
    assert incident_deadlines.handler({}, None) == {"rejected": 0, "anonymised": 1}
    assert town.store.sealed_contact(last) is None


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
