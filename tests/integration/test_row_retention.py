"""Single readings go when their time is over and their hourly sums are proven, never before; sums and windows stay."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from city_platform.datasets import Dataset, load_dataset
from city_platform.lake.lake import PublishedMeanwhile, VersionPruned
from city_platform.lake.retirement import files_of
from city_platform.layers import exported, freshness, old_versions, row_retention, traffic_hours
from city_platform.layers.platform import Platform
from city_platform.layers.traffic_history import LakeHours
from city_platform.local.store import LocalObjectStore
from city_platform.traffic.archive import TrafficArchive, hour_name
from city_platform.traffic.registry import generate
from city_platform.traffic.roads import generate_roads
from city_platform.traffic.stream import StreamRecord
from tests.town import ROOT, StandingClock
from tests.traffic import Told
from tests.traffic_lake import frames

REGISTRY = generate(7, 60, 6)
ROADS = generate_roads(REGISTRY)
SPEEDS = dict.fromkeys(REGISTRY.zones, 500)
START = 1_779_998_400_000  # 2026-05-28 20:00, UTC
HOUR, DAY = hour_name(START), "2026-05-28"


@pytest.fixture(scope="module")
def readings() -> Dataset:
    dataset, mistakes = load_dataset(ROOT / "datasets" / "traffic_readings")
    assert dataset is not None, mistakes
    return dataset


def archive(platform: Platform, first: int) -> None:
    """Ten readings of every sensor reach the lake, numbered from `first` on."""
    told = [Told(sensor, first + at, START + (first + at) * 1000, 30) for sensor in range(60) for at in range(10)]
    records = [StreamRecord(str(n), "z", one, START + 100_000) for n, one in enumerate(frames(told, REGISTRY))]
    TrafficArchive(platform.lake, REGISTRY).file(records)


def make(platform: Platform, readings: Dataset) -> None:
    for layer in freshness.LAYERS:
        layer.materialize(platform, readings, HOUR)


@pytest.fixture
def hour(platform: Platform, clock: StandingClock, readings: Dataset) -> Platform:
    """An hour that was made and summed, on the day on which its readings' time is over."""
    clock.time = datetime.fromtimestamp(START / 1000, UTC) + timedelta(hours=2)
    archive(platform, 0)
    make(platform, readings)
    traffic_hours.materialize(platform, readings, DAY, ROADS, SPEEDS)
    assert readings.contract.rows_kept == timedelta(days=14)
    clock.time = datetime.fromtimestamp(START / 1000, UTC) + timedelta(hours=1, days=14)
    return platform


def gone(platform: Platform, readings: Dataset, **more: bool) -> list[row_retention.Retired]:
    return list(row_retention.let_go(platform, [readings], account="tester", **more))


def test_rows_go_when_their_time_is_over_and_history_is_read_as_before(
    hour: Platform, readings: Dataset, clock: StandingClock
) -> None:
    lake = hour.lake
    windows = LakeHours(hour).published(START)
    assert windows is not None
    before = windows.windows("z-001")
    clock.time -= timedelta(seconds=1)
    assert gone(hour, readings) == []
    clock.time += timedelta(seconds=1)
    (planned,) = gone(hour, readings, dry_run=True)
    (done,) = gone(hour, readings)
    assert (done, done.kept_because) == (planned, "")
    assert done.files > 4
    assert files_of(lake, row_retention.ROWS, readings.name, HOUR) == {}
    assert gone(hour, readings) == []
    with pytest.raises(VersionPruned, match="was pruned at"):
        lake.paths(lake.require("cleaned", readings.name, HOUR), "rows")
    assert windows.windows("z-001") == before
    assert list(traffic_hours.differing(hour, readings, DAY)) == []
    assert freshness.outdated(hour, readings, HOUR) == (), "nothing can make it again"
    (entry,) = [one for one in hour.audit.read().entries if one.action == "retire_rows"]
    assert (entry.facts["partition"], entry.facts["files"], entry.facts["kept_days"]) == (HOUR, done.files, 14)
    clock.time += timedelta(days=9)
    assert [one.files for one in old_versions.prune(hour, [readings], account="tester")] == [0]
    assert lake.is_pruned(lake.require("raw", readings.name, HOUR))


def test_nothing_goes_before_the_newest_of_it_is_summed(
    hour: Platform, readings: Dataset, clock: StandingClock
) -> None:
    clock.time -= timedelta(days=12)
    archive(hour, 100)  # late readings
    clock.time += timedelta(days=12)

    def doubt() -> str:
        (one,) = gone(hour, readings)
        assert one.files == 0
        return one.kept_because

    assert "was not made of all that came" in doubt()
    make(hour, readings)
    assert "are not of the newest version" in doubt()
    manifest = hour.lake.require("zone_hours", readings.name, DAY)
    (file,) = hour.lake.paths(manifest, "parquet")
    kept = file.read_bytes()
    traffic_hours.materialize(hour, readings, DAY, ROADS, SPEEDS)
    (file,) = hour.lake.paths(hour.lake.require("zone_hours", readings.name, DAY), "parquet")
    good = file.read_bytes()
    file.write_bytes(kept)  # another version's sums under this one's name
    assert "are not those of their windows" in doubt()
    file.write_bytes(good)
    (one,) = gone(hour, readings)
    assert (one.kept_because, one.files > 0) == ("", True)


@pytest.mark.parametrize("at", [0, 1, 3])
def test_whoever_dies_while_rows_go_is_followed_by_somebody_who_does_the_rest(
    hour: Platform, readings: Dataset, home: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    delete, deleted = LocalObjectStore.delete, list[str]()

    def dies(self: LocalObjectStore, key: str) -> None:
        if len(deleted) == at:
            raise KeyboardInterrupt
        deleted.append(key)
        delete(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(LocalObjectStore, "delete", dies)
        with pytest.raises(KeyboardInterrupt):
            gone(hour, readings)
    assert freshness.outdated(hour, readings, HOUR) == ()
    for file in (home / "lake" / "objects").rglob("*.parquet"):
        os.utime(file, (0, 0))  # so old that pruning takes what nobody names
    list(old_versions.prune(hour, [readings], account="tester"))
    assert all(hour.lake.is_pruned(hour.lake.require(layer, readings.name, HOUR)) for layer in ("raw", "encrypted"))
    (done,) = gone(hour, readings)
    assert done.files > 0
    assert files_of(hour.lake, row_retention.ROWS, readings.name, HOUR) == {}


def test_readings_that_come_between_the_proof_and_the_end_stop_it(
    hour: Platform, readings: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = type(hour.audit).append

    def meanwhile(self: object, **facts: object) -> object:
        archive(hour, 200)
        return append(self, **facts)  # type: ignore[arg-type]

    monkeypatch.setattr(type(hour.audit), "append", meanwhile)
    before = len(files_of(hour.lake, row_retention.ROWS, readings.name, HOUR))
    with pytest.raises(PublishedMeanwhile, match="since its sums were proven"):
        gone(hour, readings)
    assert len(files_of(hour.lake, row_retention.ROWS, readings.name, HOUR)) == before + 1
    newest = exported.newest(hour.lake, readings.name, HOUR)
    assert newest is not None
    assert not hour.lake.is_pruned(newest)
    assert freshness.outdated(hour, readings, HOUR)[0] == "raw"
