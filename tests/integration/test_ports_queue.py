"""The contracts of the queue port and of the claims port, held by every adapter."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from city_platform.aws.claims import DynamoDBClaims
from city_platform.aws.incidents import IncidentTables, dynamodb_client
from city_platform.aws.queue import SqsQueue, sqs_client
from city_platform.local.claims import SqliteClaims
from city_platform.local.queue import SqliteQueue
from city_platform.ports import Claims, ClaimState, Queue, QueueRefused
from tests.town import StandingClock

MINUTE = timedelta(minutes=1)
RECEIVES = 2


@dataclass(frozen=True)
class Queues:
    """A queue, where its messages go after RECEIVES receivings, and how the time passes that they are invisible for."""

    jobs: Queue
    dead: Queue
    shortly: timedelta
    wait: Callable[[], None]


@pytest.fixture(params=["local", "aws"])
def queues(request: pytest.FixtureRequest, tmp_path: Path, clock: StandingClock) -> Queues:
    if request.param == "local":
        path = tmp_path / "queues.sqlite"

        def pass_a_minute() -> None:
            clock.time += MINUTE

        jobs = SqliteQueue(path, "jobs", clock, dead_letters="dead", max_receives=RECEIVES)
        return Queues(jobs, SqliteQueue(path, "dead", clock), MINUTE, pass_a_minute)
    client = sqs_client("ca-central-1", request.getfixturevalue("aws_environment")["AWS_ENDPOINT_URL"])
    name = uuid4().hex
    dead = client.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": RECEIVES})
    client.create_queue(QueueName=name, Attributes={"RedrivePolicy": policy})
    # Nothing invisible at all: the emulator's clock is not ours.
    return Queues(SqsQueue(name, lambda: client), SqsQueue(f"{name}-dead", lambda: client), timedelta(0), lambda: None)


def test_messages_are_handed_out_once_until_they_are_deleted(queues: Queues) -> None:
    queues.jobs.send([f"job {number} é" for number in range(23)])
    first = queues.jobs.receive(20, MINUTE)
    second = queues.jobs.receive(20, MINUTE)
    assert sorted(one.body for one in (*first, *second)) == sorted(f"job {number} é" for number in range(23))
    assert len(first) == 20
    assert {(one.attempts, one.reason) for one in first} == {(1, None)}
    queues.jobs.delete(first[:12])
    queues.jobs.release([*first[12:], *second])
    again = queues.jobs.receive(30, MINUTE)
    assert {one.body for one in again} == {one.body for one in (*first[12:], *second)}
    assert {one.attempts for one in again} == {2}
    queues.jobs.delete(again)
    queues.jobs.delete(again)
    assert not queues.jobs.receive(1, MINUTE)


def test_a_message_nobody_deals_with_comes_back_and_then_goes_to_the_dead_letters(queues: Queues) -> None:
    queues.jobs.send(["bad"])
    for attempt in range(1, RECEIVES + 1):
        (message,) = queues.jobs.receive(1, queues.shortly)
        assert message.attempts == attempt
        queues.wait()
    assert not queues.jobs.receive(1, MINUTE)
    (dead,) = queues.dead.receive(1, MINUTE)
    assert dead.body == "bad"


def test_a_receipt_is_good_for_its_own_receiving_only(queues: Queues) -> None:
    queues.jobs.send(["slow"])
    (late,) = queues.jobs.receive(1, queues.shortly)
    queues.wait()
    (again,) = queues.jobs.receive(1, MINUTE)
    assert again.receipt != late.receipt


def test_reasons_travel_with_messages_and_large_ones_go_in_calls_of_their_own(queues: Queues) -> None:
    large = [f"{number}" * 200_000 for number in range(3)]
    queues.dead.send(large, ["one", "two", "three"])
    found = queues.dead.receive(10, MINUTE)
    assert sorted((one.body[0], len(one.body), one.reason) for one in found) == [
        ("0", 200_000, "one"),
        ("1", 200_000, "two"),
        ("2", 200_000, "three"),
    ]
    with pytest.raises(QueueRefused, match="at most"):
        queues.dead.send(["x" * 300_000])


@pytest.fixture(params=["local", "aws"])
def claims(request: pytest.FixtureRequest, tmp_path: Path, clock: StandingClock) -> Claims:
    if request.param == "local":
        return SqliteClaims(tmp_path / "claims.sqlite", clock)
    client = dynamodb_client("ca-central-1", request.getfixturevalue("aws_environment")["AWS_ENDPOINT_URL"])
    tables = IncidentTables(f"test-{uuid4().hex}")
    (definition,) = [one for one in tables.definitions() if one["TableName"] == tables.marks]
    client.create_table(**definition)
    return DynamoDBClaims(tables.marks, clock, lambda: client)


def test_a_name_has_one_holder_until_its_time_is_over(claims: Claims, clock: StandingClock) -> None:
    until = clock.time + MINUTE
    assert claims.claim("lock", "one", until) is ClaimState.TAKEN
    assert claims.claim("lock", "two", until) is ClaimState.HELD
    assert claims.claim("lock", "one", until + MINUTE) is ClaimState.TAKEN  # again, for longer
    assert not claims.release("lock", "two")
    assert claims.release("lock", "one")
    assert claims.claim("lock", "two", until) is ClaimState.TAKEN
    clock.time = until
    assert not claims.finish("lock", "two")  # too late: it may be another's any moment
    assert claims.claim("lock", "one", until + MINUTE) is ClaimState.TAKEN
    assert not claims.release("lock", "two")


def test_what_is_finished_is_nobodys_for_good(claims: Claims, clock: StandingClock) -> None:
    assert claims.claim("alert", "one", clock.time + MINUTE) is ClaimState.TAKEN
    assert claims.finish("alert", "one")
    clock.time += timedelta(days=500)
    for holder in ("one", "two"):
        assert claims.claim("alert", holder, clock.time + MINUTE) is ClaimState.DONE
    assert not claims.release("alert", "one")
