"""The Lambda function of the traffic stream, over an emulated AWS."""

import json

import boto3
import pytest

from city_platform.aws.settings import IncompleteSettings
from city_platform.aws.traffic_state import DynamoTrafficState
from city_platform.functions.traffic import traffic_handler
from city_platform.traffic.registry import SEED, generate
from city_platform.traffic.telemetry import Reason
from lambda_handler import lambda_handler
from tests.traffic import NOON, Told, columns, event, record


def test_the_function_counts_a_batch_and_keeps_what_it_refused(
    aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    city = generate(SEED)
    table = boto3.client("dynamodb").create_table(
        TableName="traffic-function",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("part", "item")],
        KeySchema=[{"AttributeName": "part", "KeyType": "HASH"}, {"AttributeName": "item", "KeyType": "RANGE"}],
    )["TableDescription"]["TableName"]
    objects = boto3.client("s3")
    where = {"LocationConstraint": aws_environment["AWS_REGION"]}
    objects.create_bucket(Bucket="traffic-function", CreateBucketConfiguration=where)
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_TABLE", table)
    monkeypatch.setenv("CITY_PLATFORM_TRANSFORM_BUCKET", "traffic-function")
    traffic_handler.cache_clear()
    told = [Told(0, 100 + at, NOON + at, at) for at in range(5)]
    batch = event(record(columns(told, city), 1), record(b"rubbish", 2), record(columns(told[2:], city), 3))
    for _ in range(2):
        assert lambda_handler(batch, None) == {"batchItemFailures": []}
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Stream"]]
    assert (first["Accepted"], first["Duplicates"], first["Rejected.schema"]) == (5, 3, 1)
    assert (second["Accepted"], second["Duplicates"]) == (0, 8)
    stored = DynamoTrafficState(table).get([(city.zones[0], NOON)])[city.zones[0], NOON]
    assert (stored.readings, stored.vehicles, stored.version) == (5, 10, 1)
    (kept,) = objects.list_objects_v2(Bucket="traffic-function")["Contents"]
    assert f"reason={Reason.SCHEMA}/" in kept["Key"]
    traffic_handler.cache_clear()


def test_a_function_says_everything_its_environment_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CITY_PLATFORM_TRAFFIC_TABLE", "CITY_PLATFORM_TRANSFORM_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_REGISTRY", "1:5:9")
    traffic_handler.cache_clear()
    with pytest.raises(IncompleteSettings, match=r"TRAFFIC_TABLE .*BUCKET .*TRAFFIC_REGISTRY='1:5:9'.*9 zones"):
        traffic_handler()
