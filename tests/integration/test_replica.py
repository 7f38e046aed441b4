"""The lake's copy: kept, verified, told of by Dagster, brought back from; and S3's own, only verified."""

import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import boto3
import dagster as dg
import pytest
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID

from assets.replica import CHECK, KEY, replica_asset, replica_check, replica_jobs
from city_platform.aws.settings import BUCKETS
from city_platform.datasets import Dataset
from city_platform.deployment.replica import REPLICA, REPLICA_REGION, NoReplica, open_replica, open_replicator
from city_platform.engines.duckdb import DuckDBEngine
from city_platform.lake.lake import Lake
from city_platform.lake.replica import ALLOWED_LAG, Verdict
from city_platform.layers import encrypted, freshness, landing
from city_platform.layers.platform import Platform
from city_platform.local.clock import SystemClock
from city_platform.local.platform import local_platform
from city_platform.local.replicator import ReplicaMisplaced, ReplicationRunning
from resources.platform import PlatformResource
from sensors.replica import replica_sensor
from tests.integration.conftest import REGION
from tests.integration.test_command import call_here
from tests.town import StandingClock, good_trees, trees_csv

YEAR = "2024"


def make(platform: Platform, trees: Dataset, file: Path, count: int = 20) -> None:
    landing.land(platform, trees, trees_csv(file, good_trees(2024, count)))
    for layer in freshness.LAYERS:
        layer.materialize(platform, trees, YEAR)


@pytest.fixture
def copied(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the copy, which the environment names."""
    monkeypatch.setenv(REPLICA, str(tmp_path / "copy"))
    monkeypatch.setenv("CITY_PLATFORM_HOME", str(home))
    return tmp_path / "copy"


def test_a_lake_that_is_lost_comes_back_from_its_copy(
    platform: Platform, trees: Dataset, home: Path, copied: Path, tmp_path: Path
) -> None:
    make(platform, trees, tmp_path / "trees.csv")
    platform.audit.append(actor="a", account="b", action="c", facts={})
    code, told = call_here("lake", "replica", "sync")
    assert (code, told["damaged"], told["held"]) == (0, [], {})
    assert told["copied"] == len(list(platform.lake.store.keys("")))
    assert call_here("lake", "replica", "sync")[1]["copied"] == 0
    assert call_here("lake", "replica", "verify")[1]["verdict"] == "agrees"
    # The copy is a lake itself, for whoever points the platform at it.
    there = Lake(open_replica(home, SystemClock()).copy, platform.clock)
    assert encrypted.read(replace(platform, lake=there), trees, YEAR).read_all().num_rows == 20

    shutil.rmtree(home / "lake")
    code, told = call_here("lake", "replica", "verify")
    assert (code, told["verdict"], told["objects"]) == (1, "broken", 0)
    code, told = call_here("lake", "replica", "sync", "--remove-extra")
    assert (code, "is empty" in told["error"]) == (3, True)
    code, told = call_here("lake", "replica", "restore")
    assert (code, told["held"], told["damaged"]) == (0, {}, [])
    back = local_platform(home, platform.clock)
    assert encrypted.read(back, trees, YEAR).read_all().num_rows == 20
    assert freshness.outdated(back, trees, YEAR) == ()
    log = back.audit.read()
    assert (log.intact, [one.action for one in log.entries]) == (True, ["c", "restore from the copy"])
    assert call_here("lake", "replica", "sync")[0] == 0
    assert call_here("lake", "replica", "verify")[1]["verdict"] == "agrees"
    assert call_here("lake", "replica", "restore")[1]["restored"] == 0
    for path in copied.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_without_a_copy_the_commands_say_what_is_missing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(REPLICA, raising=False)
    monkeypatch.setenv("CITY_PLATFORM_HOME", str(home))
    for command in ("sync", "verify", "restore"):
        code, told = call_here("lake", "replica", command)
        assert (code, REPLICA in told["error"]) == (3, True)
    assert call_here("lake", "replica", "sync", "--watch", "--remove-extra")[0] == 2
    for misplaced in (home / "lake" / "copy", home, home / "lake"):
        with pytest.raises(ReplicaMisplaced):
            open_replicator(home, SystemClock(), {REPLICA: str(misplaced)})
    first, second = (open_replicator(home, SystemClock(), {REPLICA: str(tmp_path / "copy")}) for _ in range(2))
    with first._alone(), pytest.raises(ReplicationRunning):
        second.replicate()


def test_dagster_keeps_the_copy_and_says_how_it_stands(
    platform: Platform, trees: Dataset, home: Path, copied: Path, tmp_path: Path
) -> None:
    make(platform, trees, tmp_path / "trees.csv")
    replicate, verify = replica_jobs()
    definitions = dg.Definitions(
        assets=[replica_asset([trees])],
        asset_checks=[replica_check()],
        jobs=[replicate, verify],
        resources={"platform": PlatformResource(home=str(home))},
    )
    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"platform": PlatformResource(home=str(home))}

        def tick() -> dg.SensorResult:
            told = replica_sensor(replicate, running=True)(dg.build_sensor_context(instance, resources=resources))
            assert isinstance(told, dg.SensorResult)
            return told

        def checked(job: str) -> dg.AssetCheckEvaluation:
            done = definitions.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False)
            (found,) = done.get_asset_check_evaluations()
            assert (found.asset_key, found.check_name) == (KEY, CHECK)
            return found

        assert len(tick().run_requests or ()) == 1
        assert checked("replicate_lake").passed
        assert not tick().run_requests
        platform.lake.store.put("notices/1.json", b"{}")
        behind = checked("verify_replica")
        assert (behind.passed, behind.severity) == (False, dg.AssetCheckSeverity.WARN)
        late = (datetime.now(UTC) - ALLOWED_LAG - timedelta(minutes=1)).timestamp()
        os.utime(platform.lake.store.local_path("notices/1.json"), (late, late))
        broken = checked("verify_replica")
        assert (broken.passed, broken.severity) == (False, dg.AssetCheckSeverity.ERROR)
        assert "missing: notices/1.json" in str(broken.metadata["overdue"].value)
        assert len(tick().run_requests or ()) == 1
        assert checked("replicate_lake").passed
    lines = [json.loads(line) for line in (home / "metrics.jsonl").read_text("utf-8").splitlines()]
    of_all = [one for one in lines if "ReplicationLatency" in one and "Zone" not in one]
    assert [one["OperationsPendingReplication"] > 0 for one in of_all] == [True, False, True]
    assert of_all[-1]["ReplicationLatency"] > ALLOWED_LAG.total_seconds()
    assert {one["Zone"] for one in lines if "Zone" in one} == {"raw", "transform", "curated", "crawler"}
    assert copied.is_dir()


def s3_replicates(source: str, copy: str) -> None:
    """Does in the emulator what S3 does: same keys, same moments, delete markers, too."""
    buckets = get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"].buckets
    for name in list(buckets[copy].keys.keys()):
        if name not in buckets[source].keys or not hasattr(buckets[source].keys[name], "value"):
            boto3.client("s3").delete_object(Bucket=copy, Key=name)
    for name, key in list(buckets[source].keys.items()):
        if hasattr(key, "value"):
            boto3.client("s3").put_object(Bucket=copy, Key=name, Body=key.value)
            buckets[copy].keys[name].last_modified = key.last_modified


def test_what_s3_copied_is_verified_and_left_to_s3(
    aws_environment: dict[str, str], trees: Dataset, home: Path, tmp_path: Path, clock: StandingClock
) -> None:
    from city_platform.aws.store import S3ObjectStore

    s3, names = boto3.client("s3"), {name: f"cov-{uuid4().hex[:20]}" for name in BUCKETS.values()}
    for name in (*names.values(), *(f"{one}-replica" for one in names.values())):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    environ = {
        **aws_environment,
        **names,
        "CITY_PLATFORM_DEPLOYMENT": "aws",
        "CITY_PLATFORM_ALERTS_TOPIC": "arn:aws:sns:x",
    }
    with pytest.raises(NoReplica, match=REPLICA_REGION):
        open_replica(home, SystemClock(), environ)
    environ[REPLICA_REGION] = REGION
    with pytest.raises(NoReplica, match="S3 itself"):
        open_replicator(home, SystemClock(), environ)
    replica = open_replica(home, SystemClock(), environ)
    assert isinstance(replica.source, S3ObjectStore)
    here = local_platform(home, clock)
    engine = DuckDBEngine(tmp_path / "engine", (home / "cache",))
    cloud = replace(here, lake=Lake(replica.source, clock), open_engine=lambda: engine)
    landing.land(cloud, trees, trees_csv(tmp_path / "trees.csv", good_trees(2024)))
    for layer in freshness.LAYERS[:3]:
        layer.materialize(cloud, trees, YEAR)
    cloud.audit.append(actor="a", account="b", action="c", facts={})

    behind = replica.verify(SystemClock())
    assert (behind.verdict, behind.counts["missing"]) == (Verdict.BEHIND, behind.compared.objects)
    for name in names.values():
        s3_replicates(name, f"{name}-replica")
    agreed = replica.verify(SystemClock())
    assert (agreed.verdict, agreed.compared.objects) == (Verdict.AGREES, behind.compared.objects)
    assert agreed.sampled.files > 3

    replica.source.delete("audit/0000000001.json")
    (gone,) = replica.compare().differences
    assert (gone.key, gone.kind) == ("audit/0000000001.json", "extra")
    assert gone.since is not None  # the delete marker says it
    assert replica.verify(SystemClock()).verdict is Verdict.BEHIND
    replica.copy.put("audit/0000000002.json", b"{}")  # nobody but S3 should write here
    assert [one.key for one in replica.verify(SystemClock()).overdue] == ["audit/0000000002.json"]
    replica.copy.delete("audit/0000000002.json")
    manifest = cloud.lake.require("cleaned", "trees", YEAR)
    boto3.client("s3").delete_object(
        Bucket=f"{names['CITY_PLATFORM_TRANSFORM_BUCKET']}-replica", Key=manifest.files[0].key
    )
    missing = [one for one in replica.compare().differences if one.kind == "missing"]
    assert [one.key for one in missing] == [manifest.files[0].key]
