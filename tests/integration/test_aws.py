"""The layers over S3 and KMS instead of files and a key file: the same results, from moto on loopback."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from city_platform.aws.keys import KmsKeyService, kms_client
from city_platform.aws.store import S3ObjectStore
from city_platform.datasets import Dataset
from city_platform.engines.duckdb import DuckDBEngine
from city_platform.lake.lake import Lake
from city_platform.layers import encrypted, freshness, landing
from city_platform.layers.platform import Platform
from city_platform.local.notifier import FileNotifier
from city_platform.local.platform import local_platform
from city_platform.ports import KeyNotFound
from city_platform.protection.classification import master_keys
from tests.town import StandingClock, good_trees, trees_csv

REGION = "ca-central-1"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def cloud(endpoint: str, tmp_path: Path, clock: StandingClock, monkeypatch: pytest.MonkeyPatch) -> Platform:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    bucket = f"cov-{tmp_path.name.replace('_', '-')}"
    boto3.client("s3", endpoint_url=endpoint, region_name=REGION).create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    config = {
        "endpoint": endpoint,
        "region": REGION,
        "virtual_hosted_style_request": False,
        "client_options": {"allow_http": True},
    }
    return Platform(
        lake=Lake(S3ObjectStore(bucket, tmp_path / "cache", config), clock),
        engine=DuckDBEngine(tmp_path / "scratch"),
        keys=KmsKeyService(lambda: kms_client(REGION, endpoint)),
        clock=clock,
        notifier=FileNotifier(tmp_path / "notifications.jsonl", clock),
    )


def test_without_its_keys_nothing_is_encrypted(cloud: Platform, trees: Dataset, tmp_path: Path) -> None:
    landing.land(cloud, trees, trees_csv(tmp_path / "trees.csv", good_trees(2024)))
    for layer in freshness.LAYERS[:3]:
        layer.materialize(cloud, trees, "2024")
    with pytest.raises(KeyNotFound):
        encrypted.materialize(cloud, trees, "2024")
    assert cloud.lake.latest("encrypted", "trees", "2024") is None


def test_all_layers_over_s3_and_kms_give_what_files_give(
    cloud: Platform, endpoint: str, trees: Dataset, tmp_path: Path, clock: StandingClock
) -> None:
    kms = boto3.client("kms", endpoint_url=endpoint, region_name=REGION)
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
