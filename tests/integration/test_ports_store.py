"""One contract for object stores, held against the local file system and S3 (moto server on loopback)."""

import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

from city_platform.aws.store import S3ObjectStore
from city_platform.lake.zones import FOLDERS, UnknownPlace, Zone, zone_of
from city_platform.local.store import LocalObjectStore
from city_platform.ports import ObjectExists, ObjectNotFound, ObjectStore, StoreUnavailable
from tests.emulated_stacks import make_stack

REGION = "eu-central-1"
WHERE = {"LocationConstraint": REGION}


@pytest.fixture(params=["local", "s3", "s3 in one bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if request.param == "local":
        yield LocalObjectStore(tmp_path / "lake")
        return
    endpoint = request.getfixturevalue("aws")
    if request.param == "s3":
        buckets = request.getfixturevalue("deployed")
    else:
        buckets = dict.fromkeys(Zone, f"cov-all-{uuid4().hex}")
        s3_client(endpoint).create_bucket(Bucket=buckets[Zone.RAW], CreateBucketConfiguration=WHERE)
    yield s3_store(endpoint, tmp_path, buckets)
    for bucket in set(buckets.values()):
        boto3.resource("s3", **access(endpoint)).Bucket(bucket).objects.delete()


@pytest.fixture(scope="session")
def deployed(aws: str) -> Mapping[Zone, str]:
    """The buckets of infrastructure/foundation.yaml, made once, like the emulator they are made in.

    The region is this module's alone, because names of stacks and keys are a region's.
    """
    cloudformation = boto3.client("cloudformation", **access(aws))
    make_stack(cloudformation, "keys")
    outputs = make_stack(cloudformation, "foundation", Suffix=uuid4().hex)
    return {zone: outputs[f"{zone.title()}Bucket"] for zone in Zone}


def s3_store(endpoint: str, tmp_path: Path, buckets: Mapping[Zone, str]) -> S3ObjectStore:
    config = {
        "endpoint": endpoint,
        "region": REGION,
        "access_key_id": "testing",
        "secret_access_key": "testing",
        "virtual_hosted_style_request": False,
        "client_options": {"allow_http": True},
        "retry_config": {"max_retries": 0},
    }
    return S3ObjectStore(buckets, tmp_path / "cache", config)


def access(endpoint: str) -> dict[str, str]:
    credentials = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return {"endpoint_url": endpoint, "region_name": REGION, **credentials}


def s3_client(endpoint: str) -> Any:
    return boto3.client("s3", **access(endpoint))


def test_what_is_put_is_got(store: ObjectStore) -> None:
    store.put("raw/year=2024/x.bin", b"\x00one")
    assert store.get("raw/year=2024/x.bin") == b"\x00one"
    assert store.size("raw/year=2024/x.bin") == 4
    assert store.local_path("raw/year=2024/x.bin").read_bytes() == b"\x00one"


def test_a_put_replaces_and_a_create_only_put_does_not(store: ObjectStore) -> None:
    store.put("recipes/k", b"one")
    store.put("recipes/k", b"two")
    with pytest.raises(ObjectExists):
        store.put("recipes/k", b"three", create_only=True)
    assert store.get("recipes/k") == b"two"


def test_of_many_create_only_puts_exactly_one_wins(store: ObjectStore) -> None:
    won: list[int] = []

    def attempt(number: int) -> None:
        try:
            store.put("manifests/raw/1.json", str(number).encode(), create_only=True)
        except ObjectExists:
            return
        won.append(number)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.get("manifests/raw/1.json") == str(won[0]).encode()


def test_a_file_moves_in(store: ObjectStore) -> None:
    file = store.scratch() / "part.parquet"
    file.write_bytes(b"x" * 100_000)
    store.put_file("cleaned/d/year=2024/v/part.parquet", file)
    assert store.size("cleaned/d/year=2024/v/part.parquet") == 100_000


def test_keys_come_in_order_and_only_those_asked_for(store: ObjectStore) -> None:
    layer = "manifests/cleaned/"
    first, second, third, other = (f"{layer}{one}.json" for one in ("d/2023/1", "d/2024/1", "d/2024/2", "dd/2024/1"))
    for key in (third, second, first, other):
        store.put(key, b"{}")
    assert list(store.keys(f"{layer}d/")) == [first, second, third]
    assert list(store.keys(f"{layer}d/2024/")) == [second, third]
    assert list(store.keys("nothing/")) == []


def test_keys_of_all_zones_come_in_one_order(store: ObjectStore) -> None:
    there = ["audit/1.json", "cleaned/d/1", "curated/d/1", "manifests/curated/d/1", "manifests/raw/d/1", "raw/d/1"]
    for key in reversed(there):
        store.put(key, b"{}")
    assert list(store.keys("")) == there
    assert list(store.keys("manifests/")) == there[3:5]
    assert list(store.keys("c")) == there[1:3]


def test_a_listing_says_what_asking_for_each_object_says(store: ObjectStore) -> None:
    for key in ("raw/d/2", "raw/d/1", "raw/e/1", "manifests/raw/d/1"):
        store.put(key, key.encode())
    listed = list(store.objects("raw/d/"))
    assert [one.key for one in listed] == ["raw/d/1", "raw/d/2"]
    assert [(one.bytes, one.modified.replace(microsecond=0)) for one in listed] == [
        (store.size(one.key), store.modified(one.key).replace(microsecond=0)) for one in listed
    ]
    store.put("raw/d/1", b"anew")
    again = next(store.objects("raw/d/1"))
    assert (again.bytes, again.tag != listed[0].tag) == (4, True)
    assert list(store.objects("nothing/")) == []


def test_what_nobody_gave_a_place_is_not_written(store: ObjectStore) -> None:
    file = store.scratch() / "f"
    file.write_bytes(b"x")
    for key in ("nobodys/x", "manifests/nobodys/x", "x"):
        with pytest.raises(UnknownPlace, match="no zone"):
            store.put(key, b"1")
        with pytest.raises(UnknownPlace, match="no zone"):
            store.put_file(key, file)
        store.delete(key)
    assert list(store.keys("")) == []


def test_each_zone_is_its_bucket_under_its_key_and_what_others_put_there_is_not_seen(
    aws: str, deployed: Mapping[Zone, str], tmp_path: Path
) -> None:
    store, s3 = s3_store(aws, tmp_path, deployed), s3_client(aws)
    for folder in FOLDERS:
        store.put(f"{folder}/k", b"1")
        store.put(f"manifests/{folder}/d/1.json", b"1")
        bucket = deployed[zone_of(folder)]
        assert store.uri(f"{folder}/k") == f"s3://{bucket}/{folder}/k"
        (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        for key in (f"{folder}/k", f"manifests/{folder}/d/1.json"):
            there = s3.head_object(Bucket=bucket, Key=key)
            assert there["ServerSideEncryption"] == "aws:kms"
            assert there["SSEKMSKeyId"] == rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"]
    s3.put_object(Bucket=deployed[Zone.CRAWLER], Key="athena-results/1.csv", Body=b"1")
    s3.put_object(Bucket=deployed[Zone.CRAWLER], Key="raw/stray", Body=b"1")
    assert len(list(store.keys(""))) == 2 * len(FOLDERS)


@pytest.mark.parametrize("ask", ["get", "size", "local_path", "modified"])
def test_an_absent_object_is_a_typed_error(store: ObjectStore, ask: str) -> None:
    with pytest.raises(ObjectNotFound):
        getattr(store, ask)("nobody/put/this")


def test_deleting_is_idempotent(store: ObjectStore) -> None:
    store.put("recipes/k", b"1")
    store.delete("recipes/k")
    store.delete("recipes/k")
    with pytest.raises(ObjectNotFound):
        store.get("recipes/k")


def test_a_deleted_object_is_not_served_from_a_cache(store: ObjectStore) -> None:
    store.put("raw/k", b"1")
    assert store.local_path("raw/k").read_bytes() == b"1"
    store.delete("raw/k")
    with pytest.raises(ObjectNotFound):
        store.local_path("raw/k")


def test_an_object_says_when_it_was_written(store: ObjectStore) -> None:
    store.put("raw/k", b"1")
    assert abs(store.modified("raw/k") - datetime.now(UTC)) < timedelta(minutes=1)


def test_puts_and_deletes_in_one_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path / "lake")

    def work(number: int) -> None:
        for _ in range(100):
            store.put(f"raw/b/{number}", b"x")
            assert store.get(f"raw/b/{number}") == b"x"
            store.delete(f"raw/b/{number}")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert list((tmp_path / "lake" / "objects").iterdir()) == []


def test_a_uri_names_the_object(store: ObjectStore) -> None:
    assert store.uri("raw/b").endswith("/raw/b")
    assert "://" in store.uri("raw/b")


def test_local_objects_are_private(tmp_path: Path) -> None:
    local = LocalObjectStore(tmp_path / "lake")
    local.put("raw/d/x", b"personal")
    file = local.scratch() / "f"
    file.write_bytes(b"personal")
    local.put_file("raw/d/y", file)
    for key in ("raw/d/x", "raw/d/y"):
        path = local.local_path(key)
        assert path.stat().st_mode & 0o777 == 0o600
        for folder in [path.parent, path.parent.parent]:
            assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("key", ["../outside", "a/../../outside", "/etc/passwd", ""])
def test_a_key_cannot_leave_the_local_store(tmp_path: Path, key: str) -> None:
    with pytest.raises(ObjectNotFound):
        LocalObjectStore(tmp_path / "lake").put(key, b"x")
    assert not (tmp_path / "outside").exists()


def test_scratch_of_a_dead_process_is_swept(tmp_path: Path) -> None:
    dead = os.fork()
    if dead == 0:
        os._exit(0)
    os.waitpid(dead, 0)
    left = tmp_path / "lake" / "scratch" / str(dead)
    left.mkdir(parents=True)
    left.joinpath("half.parquet").write_bytes(b"PAR1")
    LocalObjectStore(tmp_path / "lake").scratch()
    assert not left.exists()


def test_an_unreachable_service_is_transient(tmp_path: Path) -> None:
    store = S3ObjectStore(
        dict.fromkeys(Zone, "bucket"),
        tmp_path,
        {
            "endpoint": "http://127.0.0.1:9",
            "region": "us-east-1",
            "access_key_id": "testing",
            "secret_access_key": "testing",
            "client_options": {"allow_http": True, "timeout": "1s", "connect_timeout": "1s"},
            "retry_config": {"max_retries": 0},
        },
    )
    with pytest.raises(StoreUnavailable) as caught:
        store.get("recipes/k")
    assert "testing" not in str(caught.value)
