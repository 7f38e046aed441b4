"""What the stream's function failed at, delivered again from the streams themselves."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.aws.incidents import DynamoDBIncidentRepository, IncidentTables, dynamodb_client
from city_platform.aws.undelivered import UndeliveredChanges
from city_platform.incidents.stream import delivered, flat_row
from city_platform.local.clock import SystemClock
from city_platform.local.queue import SqliteQueue
from tests.incident_stack import table_definitions
from tests.incident_stream import following, record
from tests.incidents import change, incident
from tests.town import StandingClock

SHARD = "shardId-00000001541626099285-f35f62ef"


class Replayed:
    """Stands in for the processor: keeps the names of the changes, and refuses while it is told to."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.refusing = False

    def __call__(self, event: Any) -> list[str]:
        if self.refusing:
            return ["the store is away"]
        for one in delivered(event):
            assert one.record is not None
            self.names.append(flat_row(one.record, lambda subject: subject).event_id)
        return []


@pytest.fixture
def queue(tmp_path: Path) -> SqliteQueue:
    return SqliteQueue(tmp_path / "queues.sqlite", "undelivered", StandingClock())


def message(kind: str, arn: str, shard: str, first: str, last: str) -> str:
    batch = {
        "shardId": shard,
        "startSequenceNumber": first,
        "endSequenceNumber": last,
        "batchSize": 2,
        "streamArn": arn,
    }
    context = {"condition": "RetryAttemptsExhausted", "functionArn": "f", "approximateInvokeCount": 1000}
    return json.dumps({"requestContext": context, "version": "1.0", kind: batch})


@pytest.mark.usefixtures("aws_environment")
def test_records_of_a_table_are_read_from_its_stream_and_the_message_goes(queue: SqliteQueue) -> None:
    project = f"undelivered-{uuid4().hex}"
    tables, client = IncidentTables(f"{project}-dev"), dynamodb_client()
    for definition in table_definitions(project):
        client.create_table(**definition)  # type: ignore[arg-type]
    store = DynamoDBIncidentRepository(tables, SystemClock(), lambda: client)
    first, second = incident(), incident(1)
    for after, before in ((first, None), (second, None), (following(first), first)):
        store.write([change(after, before)])
    client.delete_item(TableName=tables.incidents, Key={"incident_id": {"S": second.incident_id}})
    streams: Any = boto3.client("dynamodbstreams")
    (stream,) = streams.list_streams(TableName=tables.incidents)["Streams"]
    (shard,) = streams.describe_stream(StreamArn=stream["StreamArn"])["StreamDescription"]["Shards"]
    at = streams.get_shard_iterator(
        StreamArn=stream["StreamArn"], ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )
    numbers = [
        one["dynamodb"]["SequenceNumber"] for one in streams.get_records(ShardIterator=at["ShardIterator"])["Records"]
    ]
    assert len(numbers) == 4
    queue.send([message("DDBStreamBatchInfo", stream["StreamArn"], shard["ShardId"], numbers[1], numbers[3])])
    undelivered, replayed = UndeliveredChanges(queue), Replayed()
    (shown,) = undelivered.look(10)
    assert (shown.reason, shown.sequence) == ("RetryAttemptsExhausted", f"{numbers[1]} to {numbers[3]}")
    replayed.refusing = True
    assert undelivered.redrive(replayed, 10).refused == ["the store is away"]
    replayed.refusing = False
    assert undelivered.redrive(replayed, 10).replayed == 3
    assert replayed.names == [
        f"{second.incident_id}.1.INSERT", f"{first.incident_id}.2.MODIFY", f"{second.incident_id}.1.REMOVE",
    ]  # fmt: skip
    assert not undelivered.look(10)


@pytest.mark.usefixtures("aws_environment")
def test_records_of_kinesis_are_too(queue: SqliteQueue) -> None:
    kinesis: Any = boto3.client("kinesis")
    name = uuid4().hex
    kinesis.create_stream(StreamName=name, ShardCount=1)
    arn = kinesis.describe_stream(StreamName=name)["StreamDescription"]["StreamARN"]
    told = [incident(number) for number in range(3)]
    put = [kinesis.put_record(StreamName=name, PartitionKey="p", Data=json.dumps(record(one)).encode()) for one in told]
    numbers = [one["SequenceNumber"] for one in put]
    queue.send([message("KinesisBatchInfo", arn, put[0]["ShardId"], numbers[1], numbers[1])])
    replayed = Replayed()
    assert UndeliveredChanges(queue).redrive(replayed, 10).replayed == 1
    assert replayed.names == [f"{told[1].incident_id}.1.INSERT"]


@pytest.mark.usefixtures("aws_environment")
def test_what_the_stream_has_no_longer_stays_and_is_told(queue: SqliteQueue) -> None:
    arn = "arn:aws:dynamodb:ca-central-1:123456789012:table/gone/stream/2026-03-09T00:00:00.000"
    queue.send([message("DDBStreamBatchInfo", arn, SHARD, f"{1:021}", f"{2:021}"), "{}", "no JSON"])
    undelivered = UndeliveredChanges(queue)
    result = undelivered.redrive(Replayed(), 10)
    assert result.replayed == 0
    assert sorted(result.refused)[1:] == ["this message names no records of a stream"] * 2
    assert f"the stream ({SHARD}) refused" in min(result.refused)
    assert len(undelivered.look(10)) == 3


@settings(max_examples=50)
@given(
    st.text()
    | st.dictionaries(
        st.sampled_from(["DDBStreamBatchInfo", "KinesisBatchInfo"]),
        st.integers() | st.dictionaries(st.text(max_size=5), st.none()),
    ).map(json.dumps)
)
def test_no_message_makes_it_fail(body: str) -> None:
    from city_platform.aws.undelivered import StreamRefused, _batch

    with pytest.raises(StreamRefused):
        _batch(body)
