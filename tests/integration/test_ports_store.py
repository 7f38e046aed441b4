"""One contract for object stores, held against the local file system and S3 (moto server on loopback)."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from city_platform.aws.store import S3ObjectStore
from city_platform.local.store import LocalObjectStore
from city_platform.ports import ObjectExists, ObjectNotFound, ObjectStore, StoreUnavailable


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return LocalObjectStore(tmp_path / "lake")
    endpoint = request.getfixturevalue("aws")
    return s3_store(endpoint, tmp_path)


def s3_store(endpoint: str, tmp_path: Path) -> S3ObjectStore:
    import boto3

    bucket = f"cov-raw-{abs(hash(str(tmp_path))):x}"
    credentials = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **credentials).create_bucket(Bucket=bucket)
    config = {
        "endpoint": endpoint,
        "region": "us-east-1",
        "access_key_id": "testing",
        "secret_access_key": "testing",
        "virtual_hosted_style_request": False,
        "client_options": {"allow_http": True},
        "retry_config": {"max_retries": 0},
    }
    return S3ObjectStore(bucket, tmp_path / "cache", config)


def test_what_is_put_is_got(store: ObjectStore) -> None:
    store.put("a/year=2024/x.bin", b"\x00one")
    assert store.get("a/year=2024/x.bin") == b"\x00one"
    assert store.size("a/year=2024/x.bin") == 4
    assert store.local_path("a/year=2024/x.bin").read_bytes() == b"\x00one"


def test_a_put_replaces_and_a_create_only_put_does_not(store: ObjectStore) -> None:
    store.put("k", b"one")
    store.put("k", b"two")
    with pytest.raises(ObjectExists):
        store.put("k", b"three", create_only=True)
    assert store.get("k") == b"two"


def test_of_many_create_only_puts_exactly_one_wins(store: ObjectStore) -> None:
    won: list[int] = []

    def attempt(number: int) -> None:
        try:
            store.put("manifests/1.json", str(number).encode(), create_only=True)
        except ObjectExists:
            return
        won.append(number)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.get("manifests/1.json") == str(won[0]).encode()


def test_a_file_moves_in(store: ObjectStore) -> None:
    file = store.scratch() / "part.parquet"
    file.write_bytes(b"x" * 100_000)
    store.put_file("cleaned/d/year=2024/v/part.parquet", file)
    assert store.size("cleaned/d/year=2024/v/part.parquet") == 100_000


def test_keys_come_in_order_and_only_those_asked_for(store: ObjectStore) -> None:
    for key in ("m/d/2024/2.json", "m/d/2024/1.json", "m/d/2023/1.json", "m/dd/2024/1.json"):
        store.put(key, b"{}")
    assert list(store.keys("m/d/")) == ["m/d/2023/1.json", "m/d/2024/1.json", "m/d/2024/2.json"]
    assert list(store.keys("m/d/2024/")) == ["m/d/2024/1.json", "m/d/2024/2.json"]
    assert list(store.keys("nothing/")) == []


@pytest.mark.parametrize("ask", ["get", "size", "local_path", "modified"])
def test_an_absent_object_is_a_typed_error(store: ObjectStore, ask: str) -> None:
    with pytest.raises(ObjectNotFound):
        getattr(store, ask)("nobody/put/this")


def test_deleting_is_idempotent(store: ObjectStore) -> None:
    store.put("k", b"1")
    store.delete("k")
    store.delete("k")
    with pytest.raises(ObjectNotFound):
        store.get("k")


def test_a_deleted_object_is_not_served_from_a_cache(store: ObjectStore) -> None:
    store.put("a/k", b"1")
    assert store.local_path("a/k").read_bytes() == b"1"
    store.delete("a/k")
    with pytest.raises(ObjectNotFound):
        store.local_path("a/k")


def test_an_object_says_when_it_was_written(store: ObjectStore) -> None:
    store.put("a/k", b"1")
    assert abs(store.modified("a/k") - datetime.now(UTC)) < timedelta(minutes=1)


def test_puts_and_deletes_in_one_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path / "lake")

    def work(number: int) -> None:
        for _ in range(100):
            store.put(f"a/b/{number}", b"x")
            assert store.get(f"a/b/{number}") == b"x"
            store.delete(f"a/b/{number}")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert list((tmp_path / "lake" / "objects").iterdir()) == []


def test_a_uri_names_the_object(store: ObjectStore) -> None:
    assert store.uri("a/b").endswith("/a/b")
    assert "://" in store.uri("a/b")


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
        "bucket",
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
        store.get("k")
    assert "testing" not in str(caught.value)
