"""A power cut at any moment leaves the lake whole: what was published is there, what was not is not half there."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from city_platform.lake.lake import Lake, StagedFile
from city_platform.lake.manifest import Manifest, StoredFile
from city_platform.lake.sink import workspace
from city_platform.local import durability
from city_platform.local.durability import UnknownChoice
from city_platform.local.keys import LocalKeyService
from city_platform.local.store import LocalObjectStore
from city_platform.ports import ObjectExists
from tests.power import Disk, Power, broken, recorded
from tests.town import StandingClock

PLACE = "lake/objects/"


def test_what_is_published_outlasts_it_and_names_only_what_is_there(tmp_path: Path) -> None:
    with recorded(tmp_path) as power:
        lake = Lake(LocalObjectStore(tmp_path / "lake"), StandingClock())
        kept: list[StoredFile] = []
        for number, contents in enumerate((["one", "two"], ["three"], ["four", "five"])):
            manifest = publish(lake, {f"{name}.txt": name for name in contents}, kept)
            promise_object(power, lake, f"manifests/cleaned/trees/2024/{manifest.sequence:010d}.json")
            kept = list(manifest.parts["rows"]) if number == 0 else []
    assert_whole(power)
    assert max(len(manifests(disk)) for disk, _ in power.disks) == 3
    # Each file, what it lies in and the manifest: names are forced together, not one by one.
    assert power.forced < 40


def test_an_object_is_the_one_before_or_the_one_after(tmp_path: Path) -> None:
    with recorded(tmp_path) as power:
        store = LocalObjectStore(tmp_path / "lake")
        for before, content in ((None, b"first"), (b"first", b"second")):
            power.promise(f"{PLACE}audit-head.json", before, content)
            store.put("audit-head.json", content)
            power.promise(f"{PLACE}audit-head.json", content)
        store.put("audit/1.json", b"entry", create_only=True)
        power.promise(f"{PLACE}audit/1.json", b"entry")
        with pytest.raises(ObjectExists):
            store.put("audit/1.json", b"another", create_only=True)
    assert [lost for disk, promised in power.disks if (lost := broken(disk, promised))] == []
    heads = {disk.get(f"{PLACE}audit-head.json") for disk, _ in power.disks}
    assert heads == {None, b"first", b"second"}


def test_what_was_deleted_does_not_come_back(tmp_path: Path) -> None:
    keys = ("incidents/pictures/a/1.jpg", "incidents/pictures/a/2.jpg", "incidents/pictures/b/1.jpg")
    with recorded(tmp_path) as power:
        store = LocalObjectStore(tmp_path / "lake")
        store.deletions.begin()
        for key in keys:
            store.put(key, b"a face")
            power.promise(PLACE + key, b"a face")
        for key in keys:
            power.promise(PLACE + key, b"a face", None)
            store.delete(key)
            power.promise(PLACE + key, None)
            (note,) = (one for one in store.deletions.pending() if one.key == key)
            place = f"lake/deleted/{note.id}"
            power.promise(place, (tmp_path / place).read_bytes())
        power.promise(f"{PLACE}incidents/pictures/a/1.jpg", None, b"another face")
        store.put("incidents/pictures/a/1.jpg", b"another face")
        power.promise(f"{PLACE}incidents/pictures/a/1.jpg", b"another face")
    assert [lost for disk, promised in power.disks if (lost := broken(disk, promised))] == []
    for disk, promised in power.disks:  # what may be gone and is has been noted before
        may_be_gone = [path for path, contents in promised.items() if None in contents and b"a face" in contents]
        if any(path not in disk for path in may_be_gone):
            notes = [content for path, content in disk.items() if path.startswith("lake/deleted/")]
            assert any(may_be_gone[0].removeprefix(PLACE).encode() in note for note in notes)


def test_a_key_is_there_before_anything_is_encrypted_with_it(tmp_path: Path) -> None:
    file = tmp_path / "home" / "keys" / "keys.json"
    with recorded(tmp_path) as power:
        service = LocalKeyService(file)
        service.create("alias/a")
        created = len(power.disks)
        first = file.read_bytes()
        promised = len(power.disks)
        power.promise("home/keys/keys.json", first)
        service.rotate("alias/a")
        power.promise("home/keys/keys.json", file.read_bytes())
    found = [disk.get("home/keys/keys.json") for disk, _ in power.disks]
    assert set(found[:created]) == {None, first}
    assert set(found[promised:]) == {first, file.read_bytes()}  # never none, never a part of one
    assert found[-1] == file.read_bytes()


def test_the_setting_is_on_or_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(durability.SYNC, "perhaps")
    with pytest.raises(UnknownChoice, match="CITY_PLATFORM_SYNC='perhaps' is none of: on, off"):
        LocalObjectStore(tmp_path).put("audit-head.json", b"")
    monkeypatch.delenv(durability.SYNC)
    assert durability.enabled()


def publish(lake: Lake, files: Mapping[str, str], kept: list[StoredFile]) -> Manifest:
    with workspace(lake) as folder:
        staged: list[StagedFile | StoredFile] = [*kept]
        for name, content in files.items():
            folder.joinpath(name).write_text(content)
            staged.append(StagedFile.of(folder / name, 1))
        return lake.publish(
            "cleaned", "trees", "2024", inputs={}, parts={"rows": staged}, counts={"rows": 1}, schema=[]
        )


def promise_object(power: Power, lake: Lake, key: str) -> None:
    power.promise(PLACE + key, lake.store.get(key))


def manifests(disk: Disk) -> list[Manifest]:
    return [Manifest.from_json(data) for path, data in disk.items() if path.startswith(f"{PLACE}manifests/")]


def assert_whole(power: Power) -> None:
    """Every disk keeps what was promised, and every file that a manifest names is there with its bytes."""
    assert power.disks
    for disk, promised in power.disks:
        assert broken(disk, promised) == []
        for manifest in manifests(disk):
            for file in manifest.files:
                data = disk.get(PLACE + file.key)
                assert data is not None, (manifest.sequence, file.key)
                assert hashlib.sha256(data).hexdigest() == file.sha256
