"""Traffic's alerts from end to end: this machine's commands, the functions over an emulated AWS, Slack's webhook."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from typer.testing import CliRunner

from city_platform.aws.secrets import SecretRefused, read_secret
from city_platform.aws.settings import BUCKETS, IncompleteSettings
from city_platform.aws.traffic_state import DynamoTrafficState
from city_platform.cli.app import app
from city_platform.deployment.alerts import open_router
from city_platform.events import InvalidEvent
from city_platform.functions import traffic_alerts, traffic_relay, traffic_watch
from city_platform.local.clock import SystemClock
from city_platform.local.traffic_state import SqliteTrafficState
from city_platform.ports import NotificationRefused, NotifierUnavailable
from city_platform.traffic.registry import generate
from city_platform.traffic.slack import SlackNotifier
from city_platform.traffic.state import TrafficState
from tests import traffic_minutes
from tests.patience import PATIENCE_S
from tests.town import one_bucket
from tests.traffic_minutes import Clock, due, fill, watching

SMALL = generate(11, 20, 2)
ZONE = SMALL.zones[0]
REGISTRY = {"CITY_PLATFORM_TRAFFIC_REGISTRY": "11:20:2"}


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """`watch` listens to signals; the tests' own process goes on with what it had."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def just_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes of tests end just now: minute 4 is the newest that is due."""
    start = (time.time_ns() // 1_000_000 - traffic_minutes.JUDGED_AFTER_MS) // 60_000 * 60_000 - 5 * 60_000
    monkeypatch.setattr(traffic_minutes, "START", start)
    for name, value in REGISTRY.items():
        monkeypatch.setenv(name, value)


def jam(state: TrafficState) -> None:
    """Minutes with a jam in all but the first, which alone is judged. The last is not due yet, and may be before the
    test is over.
    """
    clock = Clock(due(2))
    for minute in range(2, 6):
        fill(state, minute, {ZONE: 5.0 if minute == 2 else 75.0}, registry=SMALL)
    watching(state, clock, SMALL).evaluate()


def command(home: Path, *words: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, ["traffic", *words, "--home", str(home), "--json"])
    return done.exit_code, json.loads(done.stdout)


@pytest.mark.usefixtures("just_now")
def test_the_commands_judge_tell_and_show(home: Path) -> None:
    code, empty = command(home, "alerts")
    assert (code, empty["judged_at"], empty["events"]) == (0, None, [])
    jam(SqliteTrafficState(home / "traffic" / "state.sqlite", durable=False))
    code, done = command(home, "watch", "--once")
    assert code == 0
    assert done["minutes"] >= 2
    assert {name: done[name] for name in ("published", "sent_email", "sent_slack", "sent_sms", "refused")} == {
        "published": 1, "sent_email": 1, "sent_slack": 1, "sent_sms": 1, "refused": 0,
    }  # fmt: skip
    code, again = command(home, "watch", "--once")
    assert (code, again["published"], "sent_email" in again) == (0, 0, False)
    sent = home / "traffic" / "sent.jsonl"
    lines = [json.loads(line) for line in sent.read_text().splitlines()]
    assert [line["once"].split("#")[1] for line in lines] == ["email", "slack", "sms"]
    assert sent.stat().st_mode & 0o077 == 0
    code, shown = command(home, "alerts")
    assert code == 0
    assert shown["zones"]["severe"] == [ZONE]
    assert shown["levels"] == {"normal": 1, "slow": 0, "congested": 0, "severe": 1}
    assert sum(shown["sensors"].values()) == 20
    (event,) = shown["events"]
    assert (event["where"], event["from"], event["to"]) == (ZONE, "normal", "severe")
    table = CliRunner().invoke(app, ["traffic", "alerts", "--home", str(home)]).stdout
    assert f"Severe: {ZONE}" in table
    assert "congestion" in table


@pytest.mark.usefixtures("just_now")
def test_a_watcher_ends_cleanly_when_it_is_told_to(home: Path) -> None:
    jam(SqliteTrafficState(home / "traffic" / "state.sqlite"))
    words = ["traffic", "watch", "--every", "1", "--home", str(home), "--json"]
    command = [sys.executable, "-m", "city_platform", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            assert child.stderr is not None
            assert any("judged" in line for line in child.stderr)
            child.send_signal(signal.SIGTERM)
            out, _ = child.communicate(timeout=PATIENCE_S)
        finally:
            child.kill()
    assert child.returncode == 0
    assert json.loads(out)["published"] == 1


def test_the_commands_refuse_bad_routes_and_leave_aws_to_its_functions(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_REGISTRY", "11:20:2")
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_ROUTES", str(tmp_path / "absent.yaml"))
    code, said = command(home, "watch", "--once")
    assert (code, "absent.yaml" in said["error"]) == (3, True)
    (tmp_path / "absent.yaml").write_bytes(b"x" * 1_000_001)
    assert "larger than" in command(home, "watch", "--once")[1]["error"]
    monkeypatch.setenv("CITY_PLATFORM_DEPLOYMENT", "aws")
    assert command(home, "watch", "--once")[0] == 2


# On AWS.


@pytest.mark.usefixtures("just_now", "aws_environment")
def test_the_functions_judge_relay_and_tell(monkeypatch: pytest.MonkeyPatch, slack: "Slack") -> None:
    name = f"alerts-{uuid4().hex[:12]}"
    events, sqs, sns, dynamodb = (boto3.client(one) for one in ("events", "sqs", "sns", "dynamodb"))
    keys = {name: ("part", "item"), f"{name}-IncidentMarks": ("mark",)}
    for table, columns in keys.items():
        dynamodb.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": column, "AttributeType": "S"} for column in columns],
            KeySchema=[
                {"AttributeName": column, "KeyType": kind}
                for column, kind in zip(columns, ("HASH", "RANGE"), strict=False)
            ],
        )
    events.create_event_bus(Name=name)
    queues = {}
    for queue in ("bus", "mail", "sms"):
        url = sqs.create_queue(QueueName=f"{name}-{queue}")["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        queues[queue] = (url, attributes["QueueArn"])
    events.put_rule(Name="alerts", EventBusName=name, EventPattern=json.dumps({"source": ["city.traffic"]}))
    events.put_targets(Rule="alerts", EventBusName=name, Targets=[{"Id": "bus", "Arn": queues["bus"][1]}])
    topics = {}
    for topic in ("mail", "sms"):
        topics[topic] = sns.create_topic(Name=f"{name}-{topic}")["TopicArn"]
        sns.subscribe(TopicArn=topics[topic], Protocol="sqs", Endpoint=queues[topic][1])
    boto3.client("secretsmanager").create_secret(Name=name, SecretString=slack.address)
    for variable, value in {
        "CITY_PLATFORM_DEPLOYMENT": "aws",
        **one_bucket("unused"),
        "CITY_PLATFORM_TRAFFIC_TABLE": name,
        "CITY_PLATFORM_EVENT_BUS": name,
        "CITY_PLATFORM_TABLES": name,
        "CITY_PLATFORM_ALERTS_TOPIC": topics["mail"],
        "CITY_PLATFORM_SMS_TOPIC": topics["sms"],
        "CITY_PLATFORM_SLACK_WEBHOOK_SECRET": name,
        "CITY_PLATFORM_PUBLIC_URL": "https://city.example/",
    }.items():
        monkeypatch.setenv(variable, value)
    for cached in (traffic_watch.watch, traffic_relay.parts, traffic_alerts.router):
        cached.cache_clear()
    jam(DynamoTrafficState(name))
    judged = traffic_watch.handler({}, None)
    assert judged["minutes"] >= 2
    assert judged["events"] == 1
    assert traffic_relay.handler({}, None) == {"published": 1, "batchItemFailures": []}
    assert traffic_relay.handler({}, None) == {"published": 0, "batchItemFailures": []}
    (message,) = sqs.receive_message(QueueUrl=queues["bus"][0], MaxNumberOfMessages=10)["Messages"]
    event = json.loads(message["Body"])
    assert event["detail"]["links"]["dashboard"] == f"https://city.example/traffic/zones/{ZONE}"
    assert traffic_alerts.handler(event, None) == {"email": "sent", "slack": "sent", "sms": "sent"}
    assert set(traffic_alerts.handler(event, None).values()) == {"sent_before"}
    for topic, expected in (("mail", "traffic is severe, it was normal"), ("sms", "traffic severe, index 7")):
        (sent,) = sqs.receive_message(QueueUrl=queues[topic][0], MaxNumberOfMessages=10)["Messages"]
        assert expected in json.loads(sent["Body"])["Message"]
    (posted,) = slack.posted
    assert posted["text"].startswith(f"*{ZONE}: traffic is severe, it was normal*\n")
    with pytest.raises(InvalidEvent):
        traffic_alerts.handler({"source": "city.traffic"}, None)
    slack.status = 500
    other = json.loads(json.dumps(event).replace(event["detail"]["alert_id"], "0" * 16).replace(ZONE, SMALL.zones[1]))
    with pytest.raises(traffic_alerts.AlertsUnavailable, match="Slack answers 500"):
        traffic_alerts.handler(other, None)
    slack.status = 200
    assert traffic_alerts.handler(other, None) == {"email": "sent_before", "slack": "sent", "sms": "sent_before"}
    for cached in (traffic_watch.watch, traffic_relay.parts, traffic_alerts.router):
        cached.cache_clear()


def test_functions_say_everything_their_environment_lacks(
    aws_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("CITY_PLATFORM_TRAFFIC_TABLE", "CITY_PLATFORM_EVENT_BUS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_REGISTRY", "none")
    traffic_watch.watch.cache_clear()
    traffic_relay.parts.cache_clear()
    with pytest.raises(IncompleteSettings, match=r"TRAFFIC_TABLE .*REGISTRY='none'"):
        traffic_watch.handler({}, None)
    with pytest.raises(IncompleteSettings, match=r"TRAFFIC_TABLE .*EVENT_BUS"):
        traffic_relay.handler({}, None)
    environ = {
        **aws_environment,
        "CITY_PLATFORM_DEPLOYMENT": "aws",
        **one_bucket("b"),
        "CITY_PLATFORM_ALERTS_TOPIC": "arn:t",
    }
    with pytest.raises(IncompleteSettings, match=r"TABLES .*SMS_TOPIC .*SLACK_WEBHOOK_SECRET"):
        open_router(tmp_path, SystemClock(), environ)
    said = {"TABLES": "t", "SMS_TOPIC": "arn:s", "SLACK_WEBHOOK_SECRET": "none"}
    nobody = open_router(
        tmp_path, SystemClock(), environ | {f"CITY_PLATFORM_{name}": one for name, one in said.items()}
    )
    assert [one.value for one in nobody.routes.channels] == ["email", "sms"]
    with pytest.raises(SecretRefused, match="ResourceNotFoundException"):
        read_secret("no-such-secret")


def test_the_watcher_and_the_relay_load_what_lambda_carries_and_no_more() -> None:
    """msgspec, numpy, pybase64 and boto3 with what it needs; no pandas, no tables of routes."""
    code = (
        "import sys, city_platform.functions.traffic_watch, city_platform.functions.traffic_relay\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'pyarrow', 'pandas', 'duckdb', 'fastapi', 'pydantic', 'httpx2', 'obstore', 'shapely'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_who_tells_people_carries_no_engine() -> None:
    """pyarrow and DuckDB alone are what a bundle of Lambda may hold."""
    code = (
        "import sys, city_platform.functions.traffic_alerts as alerts\nalerts.router()\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'pyarrow', 'pandas', 'duckdb', 'fastapi', 'obstore', 'sqlglot', 'shapely'}))"
    )
    environ = {
        "PATH": "/usr/bin",
        "AWS_REGION": "ca-central-1",
        "CITY_PLATFORM_DEPLOYMENT": "aws",
        **dict.fromkeys(BUCKETS.values(), "lake"),
        "CITY_PLATFORM_ALERTS_TOPIC": "desk",
        "CITY_PLATFORM_SMS_TOPIC": "on-call",
        "CITY_PLATFORM_SLACK_WEBHOOK_SECRET": "slack",
        "CITY_PLATFORM_TABLES": "traffic",
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert done.stdout.strip() == ""


# Slack.


class Slack:
    """A webhook on loopback: notes what was posted, answers `status`."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.status = 200
        slack = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if slack.status == 200:
                    slack.posted.append(json.loads(body))
                self.send_response(slack.status)
                self.send_header("location", "http://127.0.0.1:1/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/services/T0/B0/very-secret"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))


@pytest.fixture
def slack() -> Iterator[Slack]:
    there = Slack()
    there.thread.start()
    yield there
    there.server.shutdown()
    there.thread.join()
    there.server.server_close()


def test_slack_hears_the_text_and_its_address_is_never_said(slack: Slack) -> None:
    notifier = SlackNotifier(lambda: f"{slack.address}\n")
    notifier.notify("<zone> & more", "travel > 1", once="alert#slack#1")
    assert slack.posted == [{"text": "*&lt;zone&gt; &amp; more*\ntravel &gt; 1"}]
    for status, kind in (
        (429, NotifierUnavailable), (503, NotifierUnavailable), (404, NotificationRefused), (302, NotificationRefused),
    ):  # fmt: skip
        slack.status = status
        with pytest.raises(kind, match=str(status)) as refused:
            notifier.notify("a", "b")
        assert "secret" not in repr(refused.value)
        assert refused.value.__cause__ is None
    with pytest.raises(NotifierUnavailable) as nobody:
        SlackNotifier(lambda: "http://127.0.0.1:1/services/very-secret").notify("a", "b")
    assert "secret" not in repr(nobody.value)
    assert nobody.value.__suppress_context__
    for address in (
        "http://example.org/services/very-secret",
        "ftp://127.0.0.1/very-secret",
        "very-secret",
        "http://[",
    ):
        with pytest.raises(NotificationRefused, match="no https address") as refused:
            SlackNotifier(lambda: address).notify("a", "b")  # noqa: B023 called at once
        assert "secret" not in repr(refused.value)
