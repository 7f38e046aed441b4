"""The contract of the event bus, held by both adapters; and what EventBridge's own errors become."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from city_platform.aws.event_bus import EventBridgeBus
from city_platform.local.database import DamagedDatabase
from city_platform.local.event_bus import DETAIL_LIMIT, KEPT, SqliteEventBus
from city_platform.ports import BusEvent, EventBus, EventBusRefused, EventBusUnavailable
from tests.integration.conftest import REGION
from tests.town import StandingClock

AT = datetime(2026, 6, 1, 17, 3, 20, tzinfo=UTC)


def event(number: int, **detail: Any) -> BusEvent:
    said = json.dumps({"alert_id": f"{number:016x}", "zone_id": "z-é", **detail}, ensure_ascii=False)
    return BusEvent(f"{number:016x}", "city.traffic", "CongestionLevelChanged", AT + timedelta(seconds=number), said)


@dataclass(frozen=True)
class Adapter:
    """A bus, and what a subscriber has received of it by now."""

    bus: EventBus
    received: Callable[[], Sequence[tuple[str, str, datetime, Any]]]


@pytest.fixture(params=["local", "aws"])
def adapter(request: pytest.FixtureRequest, tmp_path: Path, clock: StandingClock) -> Adapter:
    if request.param == "local":
        log = SqliteEventBus(tmp_path / "traffic" / "events.sqlite", clock)
        return Adapter(log, lambda: [_said(one.event) for one in log.receive("all", 999)])
    request.getfixturevalue("aws_environment")
    return on_aws(uuid4().hex)


def _said(one: BusEvent) -> tuple[str, str, datetime, Any]:
    return one.source, one.detail_type, one.at, json.loads(one.detail)


def on_aws(name: str) -> Adapter:
    """A bus whose rule puts every event of the city into a queue."""
    events, sqs = boto3.client("events"), boto3.client("sqs")
    events.create_event_bus(Name=name)
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = json.dumps({"source": [{"prefix": "city."}]})
    events.put_rule(Name="all", EventBusName=name, EventPattern=pattern)
    events.put_targets(Rule="all", EventBusName=name, Targets=[{"Id": "queue", "Arn": arn}])

    def received() -> Sequence[tuple[str, str, datetime, Any]]:
        found = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                said = json.loads(message["Body"])
                at = datetime.fromisoformat(said["time"])
                found.append((said["source"], said["detail-type"], at, said["detail"]))
        return found

    return Adapter(EventBridgeBus(name), received)


def test_what_was_accepted_is_received_as_it_was(adapter: Adapter) -> None:
    told = [event(number) for number in range(23)]
    assert list(adapter.bus.publish(told)) == [None] * 23
    assert list(adapter.bus.publish([])) == []
    found = sorted(adapter.received(), key=lambda one: one[3]["alert_id"])
    assert [(one[0], one[1], one[3]) for one in found] == [(one[0], one[1], one[3]) for one in map(_said, told)]
    assert all(abs(at - one.at) < timedelta(seconds=1) for (_, _, at, _), one in zip(found, told, strict=True))


def test_an_event_that_is_none_is_refused_and_the_others_are_not(adapter: Adapter) -> None:
    from dataclasses import replace

    wrong = [
        replace(event(1), detail="{"),
        replace(event(2), source=""),
        event(3, text="x" * DETAIL_LIMIT),
    ]
    answers = adapter.bus.publish([event(0), *wrong, event(4)])
    assert [type(answer) for answer in answers] == [type(None), *[EventBusRefused] * 3, type(None)]
    assert sorted(one[3]["alert_id"] for one in adapter.received()) == [event(0).id, event(4).id]
    assert all("x" * 50 not in str(answer) for answer in answers)


def test_large_events_go_in_several_calls(adapter: Adapter) -> None:
    large = [event(number, text="x" * 100_000) for number in range(5)]
    assert list(adapter.bus.publish(large)) == [None] * 5
    assert len(adapter.received()) == 5


def test_each_subscriber_of_the_log_goes_on_where_it_stopped(tmp_path: Path, clock: StandingClock) -> None:
    path = tmp_path / "traffic" / "events.sqlite"
    log = SqliteEventBus(path, clock)
    log.publish([event(number) for number in range(4)])
    first = log.receive("mail", 2)
    assert [one.event.id for one in first] == [event(0).id, event(1).id]
    assert log.receive("mail", 2) == first
    log.dealt_with("mail", first[1].place)
    log.dealt_with("mail", first[0].place)  # somebody late: nobody goes back
    again = SqliteEventBus(path, clock)
    assert [one.event for one in again.receive("mail", 9)] == [event(2), event(3)]
    assert len(again.receive("chat", 9)) == 4
    assert path.stat().st_mode & 0o777 == 0o600
    again.publish([event(1)])  # told again
    assert [one.id for one in again.newest(3)] == [event(number).id for number in (3, 2, 1)]
    clock.time += KEPT + timedelta(seconds=1)
    log.publish([event(9)])  # whoever publishes drops what is too old
    assert [one.event for one in again.receive("mail", 9)] == [event(9)]


def nobody() -> Any:
    """A client that asks once, and where nobody listens."""
    settings = Config(retries={"total_max_attempts": 1})
    return boto3.client("events", region_name=REGION, endpoint_url="http://127.0.0.1:1", config=settings)


def answering(method: Callable[[Stubber], None]) -> EventBridgeBus:
    client = nobody()
    stub = Stubber(client)
    method(stub)
    stub.activate()
    return EventBridgeBus("city", lambda: client)


@pytest.mark.usefixtures("aws_environment")
def test_entries_that_fail_alone_and_calls_that_fail_are_told_apart() -> None:
    entries = [{"EventId": "1"}, {"ErrorCode": "ThrottlingException"}, {"ErrorCode": "NotAuthorizedForSource"}]
    bus = answering(lambda stub: stub.add_response("put_events", {"FailedEntryCount": 2, "Entries": entries}))
    answers = bus.publish([event(number) for number in range(3)])
    assert [type(answer) for answer in answers] == [type(None), EventBusUnavailable, EventBusRefused]
    assert f"{2:016x}" in str(answers[2])
    for code, status, kind in (
        ("ThrottlingException", 400, EventBusUnavailable),
        ("InternalException", 500, EventBusUnavailable),
        ("AccessDeniedException", 400, EventBusRefused),
        ("ResourceNotFoundException", 400, EventBusRefused),
    ):
        bus = answering(lambda stub: stub.add_client_error("put_events", code, http_status_code=status))  # noqa: B023
        assert [type(answer) for answer in bus.publish([event(0), event(1)])] == [kind] * 2
    (silence,) = EventBridgeBus("city", nobody).publish([event(0)])
    assert isinstance(silence, EventBusUnavailable)


def test_a_log_that_is_none_is_not_asked_again(tmp_path: Path, clock: StandingClock) -> None:
    (tmp_path / "events.sqlite").write_bytes(b"no database at all")
    with pytest.raises(DamagedDatabase):
        SqliteEventBus(tmp_path / "events.sqlite", clock).publish([event(0)])
