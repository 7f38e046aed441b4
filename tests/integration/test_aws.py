"""The layers over S3 and KMS instead of files and a key file: the same results, from moto on loopback."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest

from city_platform.datasets import Dataset
from city_platform.deployment import open_platform
from city_platform.layers import encrypted, freshness, landing
from city_platform.layers.platform import Platform
from city_platform.local.platform import local_platform
from city_platform.ports import KeyNotFound, NotificationRefused
from city_platform.protection.classification import master_keys
from tests.integration.conftest import REGION
from tests.town import StandingClock, good_trees, one_bucket, trees_csv


@pytest.fixture
def cloud(aws_environment: dict[str, str], tmp_path: Path, clock: StandingClock) -> Platform:
    bucket = f"cov-{tmp_path.name.replace('_', '-')}"
    boto3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    topic = boto3.client("sns").create_topic(Name="alerts")["TopicArn"]
    deployment = {
        "CITY_PLATFORM_DEPLOYMENT": "aws",
        **one_bucket(bucket),
        "CITY_PLATFORM_ALERTS_TOPIC": topic,
    }
    return open_platform(tmp_path, aws_environment | deployment, clock)


def test_without_its_keys_nothing_is_encrypted(cloud: Platform, trees: Dataset, tmp_path: Path) -> None:
    landing.land(cloud, trees, trees_csv(tmp_path / "trees.csv", good_trees(2024)))
    for layer in freshness.LAYERS[:3]:
        layer.materialize(cloud, trees, "2024")
    with pytest.raises(KeyNotFound):
        encrypted.materialize(cloud, trees, "2024")
    assert cloud.lake.latest("encrypted", "trees", "2024") is None


def test_all_layers_over_s3_and_kms_give_what_files_give(
    cloud: Platform, trees: Dataset, tmp_path: Path, clock: StandingClock
) -> None:
    kms = boto3.client("kms")
    for name in master_keys("trees"):
        kms.create_alias(AliasName=name, TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
    here = local_platform(tmp_path / "here", clock)
    for platform in (cloud, here):
        landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", good_trees(2024)))
        for layer in freshness.LAYERS:
            layer.materialize(platform, trees, "2024")
    for name in ("raw", "cleaned", "quality_checked", "rejected"):
        assert cloud.lake.require(name, "trees", "2024").sha256 == here.lake.require(name, "trees", "2024").sha256
    planters = encrypted.read(cloud, trees, "2024", ["Planter"]).read_all()
    assert planters["Planter"].to_pylist() == ["Sam Poole"] * 20
    assert freshness.outdated(cloud, trees, "2024") == ()


def test_the_audit_log_over_s3_takes_turns_and_shows_a_cut(cloud: Platform) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda n: cloud.audit.append(actor="a", account="b", action="c", facts={"n": n}), range(6)))
    found = cloud.audit.read()
    assert found.intact, found.breaks
    assert sorted(entry.facts["n"] for entry in found.entries) == list(range(6))
    cloud.lake.store.delete("audit/0000000006.json")
    assert cloud.audit.read().breaks == ("entry 6 is gone, which the head of the log names",)


def test_an_alert_reaches_whoever_listens_to_the_topic(cloud: Platform) -> None:
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    queue = sqs.create_queue(QueueName="listener")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    subject = "Gate closed: café licences\n" + "x" * 200  # SNS takes a hundred plain characters
    cloud.notifier.notify(subject, "2024 failed by 2 rules")
    (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    heard = json.loads(message["Body"])
    assert heard["Subject"].startswith("Gate closed: caf? licences?xxx")
    assert len(heard["Subject"]) == 100
    assert heard["Message"] == f"{subject}\n\n2024 failed by 2 rules"


def test_a_topic_that_is_not_there_refuses(
    aws_environment: dict[str, str], tmp_path: Path, clock: StandingClock
) -> None:
    wrong = {
        "CITY_PLATFORM_DEPLOYMENT": "aws",
        **one_bucket("none"),
        "CITY_PLATFORM_ALERTS_TOPIC": f"arn:aws:sns:{REGION}:123456789012:nobody",
    }
    with pytest.raises(NotificationRefused, match="nobody: NotFound"):
        open_platform(tmp_path, aws_environment | wrong, clock).notifier.notify("subject", "body")
