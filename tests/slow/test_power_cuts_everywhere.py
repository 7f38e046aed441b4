"""A power cut at every moment of everything that works on the lake of this machine."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path

from city_platform.datasets import load_datasets
from city_platform.lake.manifest import Manifest
from city_platform.layers import freshness, landing, old_versions
from city_platform.layers.encrypted import read as read_encrypted
from city_platform.layers.platform import Platform
from city_platform.local.platform import local_platform
from city_platform.local.store import LocalObjectStore
from tests.power import Disk, Power, broken, laid_out, recorded
from tests.town import FIXTURES, StandingClock, bad_trees, good_trees, trees_csv

OBJECTS = "lake/objects/"
OPENED = 24  # disks on which the platform itself goes on; of all others it is told what must be true
(TREES,) = load_datasets(FIXTURES)


def test_after_a_cut_at_every_moment_everything_is_whole_and_goes_on(tmp_path: Path) -> None:
    home, clock = tmp_path / "home", StandingClock()
    first = trees_csv(tmp_path / "trees.csv", [*good_trees(2023), *bad_trees(2024, count=5)])
    tmp_path.joinpath("later").mkdir()
    second = trees_csv(tmp_path / "later" / "trees.csv", [*good_trees(2023, count=5), *good_trees(2024)])
    with recorded(home) as power:
        with_promises(power, home)
        platform = local_platform(home, clock)
        bring(platform, first)
        platform.audit.append(actor="steward", account="sam", action="release", facts={"dataset": "trees"})
        clock.time += timedelta(days=400)
        bring(platform, second)
        clock.time += timedelta(days=2)
        pruned = list(old_versions.prune(platform, [TREES], keep=1, older_than=timedelta(days=1), account="sam"))
        assert pruned[0].files > 0
        platform.audit.append(actor="steward", account="sam", action="prune", facts={})
    expected = content(platform)
    assert len(power.disks) > 200
    for disk, promised in power.disks:
        assert broken(disk, promised) == []
        assert_manifests_whole(disk)
    step = len(power.disks) // OPENED
    for number, (disk, _) in enumerate(power.disks[::step]):
        found = local_platform(laid_out(disk, tmp_path / f"disk-{number}"), clock)
        assert found.audit.verify().intact
        for file in (first, second):
            bring(found, file)
        assert content(found) == expected


def with_promises(power: Power, home: Path) -> None:
    """What `put` wrote and `delete` removed outlasts a cut once they have returned."""
    put, delete = LocalObjectStore.put, LocalObjectStore.delete

    def promised(place: str, data: bytes | None, work: Callable[[], None]) -> None:
        before = home / place
        power.promise(place, before.read_bytes() if before.exists() else None, data)
        work()
        power.promise(place, data)

    def put_and_promise(store: LocalObjectStore, key: str, data: bytes, *, create_only: bool = False) -> None:
        promised(OBJECTS + key, data, lambda: put(store, key, data, create_only=create_only))

    def delete_and_promise(store: LocalObjectStore, key: str) -> None:
        promised(OBJECTS + key, None, lambda: delete(store, key))

    power.patch.setattr(LocalObjectStore, "put", put_and_promise)
    power.patch.setattr(LocalObjectStore, "delete", delete_and_promise)


def bring(platform: Platform, file: Path) -> None:
    """Lands a file and makes all layers of every year that is behind."""
    landing.land(platform, TREES, file)
    for year in freshness.partitions(platform, TREES):
        for layer in freshness.LAYERS:
            if layer.LAYER in freshness.outdated(platform, TREES, year):
                layer.materialize(platform, TREES, year)


def content(platform: Platform) -> Mapping[str, object]:
    """What the newest version of every partition holds; the encrypted layer's bytes are random, its rows are not."""
    found: dict[str, object] = {}
    for layer in ("raw", "cleaned", "quality_checked", "rejected", "curated", "encrypted"):
        for year in platform.lake.partitions(layer, "trees"):
            manifest = platform.lake.require(layer, "trees", year)
            if layer == "encrypted":
                found[f"{layer}/{year}"] = read_encrypted(platform, TREES, year).read_all().num_rows
            else:
                assert all(platform.lake.store.size(file.key) == file.bytes for file in manifest.files)
                found[f"{layer}/{year}"] = manifest.sha256
    return found


def assert_manifests_whole(disk: Disk) -> None:
    """Every manifest whose files were not given up names files that are there, with their bytes."""
    for path, data in disk.items():
        place = path.removeprefix(OBJECTS)
        if place.startswith("manifests/") and OBJECTS + place.replace("manifests", "pruned", 1) not in disk:
            for file in Manifest.from_json(data).files:
                assert digest(disk.get(OBJECTS + file.key)) == file.sha256, (path, file.key)


@cache
def digest(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()
