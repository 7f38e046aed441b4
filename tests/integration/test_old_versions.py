"""Old versions of real layers: what goes, what stays readable, whoever is killed meanwhile; and the commands for it."""

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlparse

import boto3
import dagster as dg
import pytest

from assets.old_versions import old_versions_asset, prune_job
from city_platform.contracts.model import OldVersions
from city_platform.datasets import Dataset, load_dataset
from city_platform.deployment.traffic import open_registry
from city_platform.governance.audit import HEAD
from city_platform.governance.decisions import Desk, InvalidDecision
from city_platform.governance.roles import NotEntitled
from city_platform.lake.lake import Lake, NotPublished, VersionPruned
from city_platform.lake.zones import Zone
from city_platform.layers import (
    catalog,
    changes,
    curated,
    encrypted,
    freshness,
    landing,
    old_versions,
    quality_checked,
)
from city_platform.layers.platform import Platform
from city_platform.local.keys import LocalKeyService
from city_platform.local.platform import local_platform
from city_platform.local.store import LocalObjectStore
from city_platform.traffic.archive import hour_name
from resources.platform import PlatformResource
from tests.integration.conftest import REGION
from tests.integration.test_command import call_here
from tests.integration.test_traffic_assets import Town, an_hour_that_settled, fleet
from tests.town import ROOT, StandingClock, bad_trees, good_trees, trees_csv

YEAR, REASON = "2024", "the newest list was cut off by the source"
SOON = datetime.now(UTC) + timedelta(days=2)  # files are as old as they are, whatever a test's clock shows


def make(platform: Platform, trees: Dataset, file: Path, count: int, *, good: bool = True) -> None:
    """Lands a version of the trees' file and makes everything of it."""
    landing.land(platform, trees, trees_csv(file, (good_trees if good else bad_trees)(2024, count)))
    for layer in freshness.LAYERS:
        if layer.LAYER in freshness.outdated(platform, trees, YEAR):
            layer.materialize(platform, trees, YEAR)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, trees: Dataset) -> Path:
    """A home with three versions of the year, a week apart."""
    folder, clock = tmp_path_factory.mktemp("made"), StandingClock()
    platform = local_platform(folder / "home", clock, threads=2)
    for count in (20, 21, 22):
        make(platform, trees, folder / "trees.csv", count)
        clock.time += timedelta(days=7)
    return folder / "home"


@pytest.fixture
def three(made: Path, home: Path, platform: Platform, clock: StandingClock) -> Platform:
    """The platform over a home of one's own like that, and the clock at a day to come."""
    shutil.copytree(made, home)
    clock.time = SOON
    return platform


def prune(platform: Platform, trees: Dataset, keep: int | None = 1, days: int | None = 1) -> old_versions.PrunedDataset:
    age = None if days is None else timedelta(days=days)
    (told,) = old_versions.prune(platform, [trees], keep=keep, older_than=age, account="tester")
    return told


def whole(lake: Lake) -> dict[str, list[bool]]:
    """Of each layer's versions whether they count as there; what counts has every byte."""
    told = {}
    for layer in ("landing", "raw", "cleaned", "quality_checked", "rejected", "curated", "encrypted"):
        for partition in lake.partitions(layer, "trees"):
            known = lake.versions(layer, "trees", partition)
            for one in known:
                if one.pruned_at is None:
                    assert [lake.store.size(file.key) for file in one.manifest.files] == [
                        file.bytes for file in one.manifest.files
                    ]
            told[layer] = [one.pruned_at is None for one in known]
    return told


def test_only_what_stands_is_left_and_everything_of_it_is_readable(three: Platform, trees: Dataset, home: Path) -> None:
    bytes_before = size_of(home)
    told = prune(three, trees)
    assert told.versions.keys() == {"landing", "raw", "cleaned", "quality_checked", "curated", "encrypted"}
    assert all(count == 2 for count in told.versions.values())
    # Notes and manifests come in, a few hundred bytes each.
    assert told.bytes > 10_000
    assert bytes_before - size_of(home) > told.bytes - 60_000
    assert all(there == [False, False, True, True] for layer, there in whole(three.lake).items() if layer != "rejected")
    assert encrypted.read(three, trees, YEAR).read_all().num_rows == 22
    assert freshness.outdated(three, trees, YEAR) == ()
    assert prune(three, trees).files == 0
    originals = list(three.lake.store.keys("raw/trees/source/"))
    assert len(originals) == 3
    make(three, trees, home / "trees.csv", 20)  # what was pruned comes back from its source
    assert encrypted.read(three, trees, YEAR).read_all().num_rows == 20
    whole(three.lake)


def size_of(home: Path) -> int:
    return sum(path.stat().st_size for path in (home / "lake" / "objects").rglob("*") if path.is_file())


def test_the_defaults_keep_three_versions(three: Platform, trees: Dataset) -> None:
    assert prune(three, trees, None, None).files == 0
    assert prune(three, trees, 2, None).files > 0


def test_what_changed_is_told_until_the_older_version_is_gone(three: Platform, trees: Dataset) -> None:
    with three.engine.session() as session:
        assert len(changes.changed_rows(session, three.lake, trees, YEAR, "cleaned", 9)) == 1
    prune(three, trees)
    with three.engine.session() as session, pytest.raises(VersionPruned, match="was pruned at"):
        changes.changed_rows(session, three.lake, trees, YEAR, "cleaned", 9)


def test_what_a_waiver_or_a_rejection_refers_to_stays(
    platform: Platform, trees: Dataset, tmp_path: Path, clock: StandingClock
) -> None:
    desk = Desk(platform.audit, trees.contract, "parks-steward", "tester")
    clock.time = SOON - timedelta(days=7)
    for count in (20, 21, 22, 23):
        make(platform, trees, tmp_path / "trees.csv", count, good=False)
        clock.time += timedelta(days=2)
        cleaned_version = platform.lake.require("cleaned", "trees", YEAR).version
        if count == 20:
            verdict = quality_checked.verdict_of(platform.lake.require("quality_checked", "trees", YEAR))
            assert verdict is not None
            desk.waive(verdict, ["completeness_species"], REASON, SOON + timedelta(days=30))
        elif count == 21:
            desk.reject(YEAR, cleaned_version, REASON)
    prune(platform, trees)
    assert whole(platform.lake)["cleaned"] == [True, True, False, True, True]
    clock.time += timedelta(days=40)
    prune(platform, trees)
    assert whole(platform.lake)["cleaned"] == [False, True, False, True, True, True]


def test_what_the_catalog_shows_stays(three: Platform, trees: Dataset, tmp_path: Path) -> None:
    catalog.refresh(three, [trees])
    shown = three.catalog.partitions("curated", "trees")
    make(three, trees, tmp_path / "trees.csv", 23)
    three.clock.time += timedelta(days=2)  # type: ignore[attr-defined]  # the town's clock
    prune(three, trees)
    assert whole(three.lake)["curated"] == [False, False, True, True, True]
    assert list(Path(unquote(urlparse(shown[0].location).path)).iterdir())


def test_a_log_that_does_not_verify_stops_pruning(three: Platform, trees: Dataset) -> None:
    three.audit.append(actor="a", account="b", action="c", facts={})
    three.lake.store.delete(HEAD)
    with pytest.raises(old_versions.UncertainDecisions, match="audit verify"):
        prune(three, trees)


def test_pruning_stands_in_the_audit_log(three: Platform, trees: Dataset) -> None:
    told = prune(three, trees)
    (entry,) = three.audit.read().entries
    assert (entry.action, entry.account) == ("prune", "tester")
    assert entry.facts == {**told.to_json(), "kept_versions": 1, "kept_days": 1}
    list(old_versions.prune(three, [trees], keep=1, older_than=timedelta(), account="tester", dry_run=True))
    assert len(three.audit.read().entries) == 1


def test_whoever_restores_what_was_pruned_once_and_came_again_is_a_steward(three: Platform, trees: Dataset) -> None:
    first, *_ = three.lake.history("curated", "trees", YEAR)
    again = three.lake.restore("curated", "trees", YEAR, first.version)
    three.lake.mark_pruned(again)
    with pytest.raises(NotEntitled):
        old_versions.restore(three, Desk(three.audit, trees.contract, "gardener", "x"), YEAR, first.version, REASON)
    assert three.lake.latest("curated", "trees", YEAR) == again


def test_a_steward_restores_a_version_and_nobody_else(three: Platform, trees: Dataset) -> None:
    first = next(three.lake.history("curated", "trees", YEAR))
    steward = Desk(three.audit, trees.contract, "parks-steward", "tester")
    with pytest.raises(NotEntitled):
        old_versions.restore(three, Desk(three.audit, trees.contract, "gardener", "x"), YEAR, first.version, REASON)
    with pytest.raises(InvalidDecision):
        old_versions.restore(three, steward, YEAR, first.version, "because")
    with pytest.raises(NotPublished, match="no layer"):
        old_versions.restore(three, steward, YEAR, "0" * 16, REASON)
    restored = old_versions.restore(three, steward, YEAR, first.version, REASON)
    assert three.lake.latest("curated", "trees", YEAR) == restored
    assert restored.files == first.files
    assert [one.action for one in three.audit.read().entries] == ["refused", "restore"]
    second = list(three.lake.history("curated", "trees", YEAR))[1]
    three.clock.time += timedelta(days=2)  # type: ignore[attr-defined]  # the town's clock
    prune(three, trees)
    assert whole(three.lake)["curated"] == [True, False, False, True, True]
    with pytest.raises(VersionPruned):
        old_versions.restore(three, steward, YEAR, second.version, REASON)
    assert curated.inputs(three, trees, YEAR) != restored.inputs  # so the next run makes it again


def killed_at(change: int, moment: str, work: Callable[[], object]) -> bool:
    """Does the work in a process that kills itself, as the machine would, at its nth change; whether it was killed."""
    child = os.fork()
    if child == 0:
        changes_so_far = 0

        def counted(method: Callable[..., None]) -> Callable[..., None]:
            def changing(*arguments: object, **options: object) -> None:
                nonlocal changes_so_far
                changes_so_far += 1
                if (changes_so_far, moment) == (change, "before"):
                    os.kill(os.getpid(), signal.SIGKILL)
                method(*arguments, **options)
                if (changes_so_far, moment) == (change, "after"):
                    os.kill(os.getpid(), signal.SIGKILL)

            return changing

        LocalObjectStore._move = counted(LocalObjectStore._move)  # type: ignore[method-assign]
        LocalObjectStore.delete = counted(LocalObjectStore.delete)  # type: ignore[method-assign]
        LocalKeyService._write = counted(LocalKeyService._write)  # type: ignore[method-assign]
        try:
            work()
        except BaseException:  # noqa: BLE001 -- a child of the test must not go on as the test
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def test_killed_at_any_change_every_version_is_whole_and_the_next_pruning_does_the_rest(
    three: Platform, trees: Dataset, home: Path, tmp_path: Path
) -> None:
    drill(three, trees, home, tmp_path, every=17)  # tests/slow takes every one


def drill(three: Platform, trees: Dataset, home: Path, tmp_path: Path, every: int) -> None:
    """Kills prunings of one and the same lake at different changes, looks at what they left, and prunes again."""
    left = "cleaned/trees/year=2024/0123456789abcdef-9/rows/part-00000.parquet"
    three.lake.store.put(left, b"of a killed run")
    os.utime(three.lake.store.local_path(left), (0, 0))
    change, moment = 1, "before"
    while True:
        here = tmp_path / "drill"
        shutil.copytree(home, here, copy_function=os.link)
        platform = local_platform(here, three.clock)
        killed = killed_at(change, moment, partial(prune, platform, trees))
        whole(platform.lake)
        prune(platform, trees)
        there = {layer: known for layer, known in whole(platform.lake).items() if layer != "rejected"}
        assert {tuple(known[:3]) for known in there.values()} == {(False, False, True)}
        named = {file.key for layer in there for file in platform.lake.require(layer, "trees", whole_of(layer)).files}
        kept = {key for layer in there for key in platform.lake.store.keys(f"{layer}/trees/") if "/source/" not in key}
        assert kept <= named, f"killed {moment} change {change}"
        assert encrypted.read(platform, trees, YEAR).read_all().num_rows == 22
        shutil.rmtree(here)
        if not killed:
            break
        change, moment = (change, "after") if moment == "before" else (change + every, "before")
    assert change > 30


def whole_of(layer: str) -> str:
    return landing.EVERYTHING if layer == landing.LAYER else YEAR


def test_pruning_over_s3(
    aws_environment: dict[str, str], three: Platform, trees: Dataset, tmp_path: Path, home: Path
) -> None:
    from city_platform.aws.store import S3ObjectStore

    bucket = f"cov-{tmp_path.name.replace('_', '-')}"
    boto3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    config = {"endpoint": aws_environment["AWS_ENDPOINT_URL"], "region": REGION, "virtual_hosted_style_request": False}
    buckets = dict.fromkeys(Zone, bucket)
    store = S3ObjectStore(buckets, home / "lake" / "cache", {**config, "client_options": {"allow_http": True}})
    for prefix in ("manifests/", "raw/", "cleaned/", "quality_checked/", "rejected/"):
        for key in three.lake.store.keys(prefix):
            store.put(key, three.lake.store.get(key))
    cloud = replace(three, lake=Lake(store, three.clock))
    old = three.lake.require("cleaned", "trees", YEAR)
    make(cloud, trees, tmp_path / "trees.csv", 23)
    three.clock.time += timedelta(days=2)  # type: ignore[attr-defined]  # the town's clock
    assert prune(cloud, trees).versions["cleaned"] == 3
    assert whole(cloud.lake)["cleaned"] == [False, False, False, True, True]
    with pytest.raises(VersionPruned):
        cloud.lake.paths(old, "rows")
    assert list(cloud.lake.store.keys("cleaned/")) == [
        file.key for file in cloud.lake.require("cleaned", "trees", YEAR).files
    ]


@pytest.mark.usefixtures("three")
def test_the_commands(trees: Dataset, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "datasets").symlink_to(trees.folder.parent)
    monkeypatch.setattr("city_platform.cli.session.CHECKOUT", tmp_path)
    monkeypatch.setenv("CITY_PLATFORM_HOME", str(home))
    for file in (home / "lake" / "objects").rglob("*"):
        os.utime(file, (0, 0))
    code, told = call_here("lake", "versions", "trees", YEAR)
    assert code == 0
    of_curated = [one for one in told["versions"] if one["layer"] == "curated"]
    assert [(one["sequence"], one["newest"], one["pruned_at"]) for one in of_curated] == [
        (1, False, None),
        (2, False, None),
        (3, True, None),
    ]
    version = of_curated[1]["version"]
    decided = ("--actor", "parks-steward", "--reason", REASON)
    code, told = call_here("lake", "restore", "trees", YEAR, version, *decided)
    assert (code, told) == (0, {"layer": "curated", "version": version, "sequence": 4})
    code, plan = call_here("lake", "prune", "--keep", 1, "--older-than", "1d", "--dry-run")
    assert code == 0
    code, told = call_here("lake", "prune", "--keep", 1, "--older-than", "1d")
    assert code == 0
    assert told["bytes"] == plan["bytes"] > 10_000
    assert told["datasets"] == plan["datasets"]
    states = [one for one in call_here("lake", "versions", "trees", YEAR)[1]["versions"] if one["layer"] == "curated"]
    assert [one["pruned_at"] is None for one in states] == [False, True, True, True, True]
    code, told = call_here("lake", "restore", "trees", YEAR, of_curated[0]["version"], *decided)
    assert code == 3
    assert "were pruned" in told["error"] or "was pruned" in told["error"]
    assert call_here("lake", "prune", "--older-than", "soon")[0] == 2
    assert call_here("lake", "prune", "--dataset", "shrubs")[0] == 2
    assert call_here("lake", "versions", "trees", "1800")[0] == 3


def test_dagster_prunes_and_says_what_that_freed(made: Path, home: Path, trees: Dataset) -> None:
    shutil.copytree(made, home)
    for file in (home / "lake" / "objects").rglob("*"):
        os.utime(file, (0, 0))
    lake = Lake(LocalObjectStore(home / "lake"), StandingClock(SOON))
    one_version = replace(trees, contract=replace(trees.contract, old_versions=OldVersions(1, timedelta(days=1))))
    job = dg.Definitions(
        assets=[old_versions_asset([one_version])],
        jobs=[prune_job()],
        resources={"platform": PlatformResource(home=str(home))},
    ).resolve_job_def("prune_lake")
    with dg.DagsterInstance.ephemeral() as instance:
        told = []
        for _ in range(2):
            (made_now,) = job.execute_in_process(instance=instance).get_asset_materialization_events()
            metadata = made_now.materialization.metadata
            told.append({name: metadata[name].value for name in ("bytes freed", "files removed", "versions pruned")})
    assert told[0]["bytes freed"] > 10_000  # type: ignore[operator]  # metadata of any kind
    assert told[0]["versions pruned"] == 12
    assert told[1] == {"bytes freed": 0, "files removed": 0, "versions pruned": 0}
    assert whole(lake)["curated"] == [False, False, True, True]
    (entry,) = local_platform(home).audit.read().entries
    assert entry.account.startswith("run ")


def test_of_an_hour_of_traffic_made_again_one_copy_is_left_and_every_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_REGISTRY", "7:60:6")  # seed, sensors, zones
    town = Town(tmp_path, open_registry())
    traffic, mistakes = load_dataset(ROOT / "datasets" / "traffic_readings")
    assert traffic is not None, mistakes
    start = an_hour_that_settled()
    hour, batches = hour_name(start), fleet(town.registry, start, 30, 120)
    for some in (batches[:2], batches[2:]):
        town.stream(some)
        for layer in freshness.LAYERS:
            layer.materialize(town.platform, traffic, hour)
    exports = list(town.lake.store.keys("exports/"))
    town.clock.time += timedelta(days=2)
    (told,) = old_versions.prune(town.platform, [traffic], account="tester")
    assert told.versions == dict.fromkeys(("cleaned", "curated", "encrypted", "quality_checked", "raw", "rejected"), 1)
    assert list(town.lake.store.keys("exports/")) == exports
    assert len(exports) == 2
    assert encrypted.read(town.platform, traffic, hour).read_all().num_rows == 4 * 60
    assert freshness.outdated(town.platform, traffic, hour) == ()
