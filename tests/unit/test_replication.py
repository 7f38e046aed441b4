"""A copy of a lake is what it should be after any history, and at every moment a lake that a reader can work with."""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.governance.audit import HEAD, AuditLog
from city_platform.lake.lake import Lake, StagedFile, sha256_of
from city_platform.lake.manifest import Manifest
from city_platform.lake.replica import (
    ALLOWED_LAG,
    Comparison,
    Kind,
    Sample,
    Verdict,
    Verification,
    compare,
    lag,
    listed,
    sample,
)
from city_platform.lake.replication import NotItsCopy, Replicated, remove_extra, replicate, restore
from city_platform.lake.zones import Zone
from city_platform.local.clock import SystemClock
from city_platform.local.store import LocalObjectStore, MomentsNotKept

DATASET, PARTITION = "trees", "2024"
LAYERS = ("raw", "curated")


class Killed(BaseException):
    """The process died here; nothing of the platform catches it."""


class Watched(LocalObjectStore):
    """A store that calls `before` ahead of each change, with the number of changes so far."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.changes = 0
        self.before: Callable[[int], None] = lambda _: None

    def _move(self, file: Path, key: str, *, create_only: bool) -> None:
        self._change()
        super()._move(file, key, create_only=create_only)

    def delete(self, key: str) -> None:
        self._change()
        super().delete(key)

    def _change(self) -> None:
        self.changes += 1
        self.before(self.changes)


class Town:
    """A lake with its copy, and what may happen to the two."""

    def __init__(self, folder: Path) -> None:
        self.store = LocalObjectStore(folder / "lake")
        self.copy = Watched(folder / "copy")
        self.lake = Lake(self.store, SystemClock())
        self.there = Lake(self.copy, SystemClock())
        self._file = folder / "part-00000.bin"

    def publish(self, number: int) -> Manifest:
        layer = LAYERS[number % len(LAYERS)]
        self._file.write_text(f"{layer} {number}")
        newest = self.lake.latest(layer, DATASET, PARTITION)
        parts = {"rows": [StagedFile.of(self._file, 1)], "kept": newest.files[:1] if newest and number % 3 == 0 else []}
        return self.lake.publish(layer, DATASET, PARTITION, inputs={}, parts=parts, counts={"rows": 1}, schema=[])

    def old(self, number: int) -> list[Manifest]:
        """The versions that may go of one layer: all but the newest and what names files of it."""
        history = self.lake.versions(LAYERS[number % len(LAYERS)], DATASET, PARTITION)
        named = {file.key for file in history[-1].manifest.files} if history else set()
        return [
            one.manifest
            for one in history[:-1]
            if one.pruned_at is None and not named & {file.key for file in one.manifest.files}
        ]

    def prune(self, number: int) -> None:
        going = self.old(number)
        for one in going:
            self.lake.mark_pruned(one)
        if going:
            self.lake.renumber(going[0].layer, DATASET, PARTITION)
        self._remove_files(going)

    def erase(self, number: int) -> None:
        """As `LakeEraser` does: files, then the manifest that names them."""
        going = self.old(number)
        self._remove_files(going)
        for one in going:
            self.store.delete(f"manifests/{one.layer}/{DATASET}/{PARTITION}/{one.sequence:010d}.json")

    def _remove_files(self, going: list[Manifest]) -> None:
        gone = {one.sequence for one in going}
        layer = going[0].layer if going else LAYERS[0]
        known = self.lake.versions(layer, DATASET, PARTITION)
        named = {
            file.key
            for one in known
            if one.pruned_at is None and one.manifest.sequence not in gone
            for file in one.manifest.files
        }
        for key in {file.key for one in going for file in one.files} - named:
            self.store.delete(key)

    def note(self, number: int) -> None:
        """Something that is written anew, or deleted and put again."""
        key = f"notices/{number % 2}.json"
        if number % 2:
            self.store.delete(key)
        self.store.put(key, b"%d" % number)

    def decide(self, number: int) -> None:
        AuditLog(self.store, SystemClock()).append(actor="a", account="b", action="c", facts={"n": number})

    def forget(self, number: int) -> None:
        self.store.delete(f"notices/{number % 2}.json")

    def replicate(self) -> Replicated:
        return replicate(self.store, self.copy, self.store.deletions, datetime.now(UTC))

    def compare(self) -> Comparison:
        return compare(self.store, self.copy, self.store.deletions)

    def readable(self) -> None:
        """Whoever reads the copy finds whole versions, and a log that adds up."""
        for layer in LAYERS:
            for one in self.there.versions(layer, DATASET, PARTITION):
                if one.pruned_at is None:
                    for file in one.manifest.files:
                        assert sha256_of(self.copy.local_path(file.key)) == file.sha256
        log = AuditLog(self.copy, SystemClock()).read()
        first = f"{HEAD} is missing"  # until the first replication is through
        assert log.breaks in {(), (first,)}
        assert not log.breaks or HEAD not in {one.key for one in listed(self.copy)}


def contents(store: LocalObjectStore) -> dict[str, bytes]:
    return {one.key: store.get(one.key) for one in listed(store)}


HAPPENINGS = ("publish", "prune", "prune", "erase", "erase", "note", "decide", "forget")
HAPPENING = st.tuples(st.sampled_from(HAPPENINGS), st.integers(0, 9))
STEPS = st.lists(
    st.one_of(
        HAPPENING,
        # Replication that is killed at a change, or beside which something happens at it.
        st.tuples(
            st.just("replicate"),
            st.tuples(
                st.integers(1, 9), st.one_of(st.none(), st.tuples(st.sampled_from(HAPPENINGS), st.integers(0, 9)))
            ),
        ),
    ),
    min_size=3,
    max_size=10,
)


@settings(max_examples=12)
@given(steps=STEPS)
def test_after_any_history_the_copy_is_what_it_should_be(steps: list[tuple[str, object]]) -> None:
    history(steps)  # tests/slow takes many


def history(steps: list[tuple[str, object]]) -> None:
    """Lets it happen, looks at the copy at every change of it and at the end, and replicates to the end."""
    with tempfile.TemporaryDirectory() as folder:
        town = Town(Path(folder))
        for number in range(4):
            town.publish(number)
            town.note(number * 2)
        town.replicate()
        for number in range(4):
            town.publish(number + 4)
        for name, how in steps:
            if name != "replicate":
                getattr(town, name)(how)
                continue
            change, beside = how  # type: ignore[misc]  # as STEPS makes them
            town.copy.changes = 0

            def happens(count: int, change: int = change, beside: tuple[str, int] | None = beside) -> None:
                town.readable()
                if count == change:
                    if beside is None:
                        raise Killed
                    getattr(town, beside[0])(beside[1])

            town.copy.before = happens
            with suppress(Killed):
                town.replicate()
            town.copy.before = lambda _: None
            town.readable()
        done = town.replicate()
        assert (done.held, done.damaged) == ({}, [])
        town.readable()
        assert contents(town.copy) == contents(town.store)
        assert town.compare().differences == []
        assert town.store.deletions.pending() == []
        again = town.replicate()
        assert (again.copied, again.deleted) == (0, 0)


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


def test_what_is_only_gone_stays_in_the_copy_and_can_be_brought_back(town: Town) -> None:
    for number in range(4):
        town.publish(number)
        town.decide(number)
    town.replicate()
    before = contents(town.store)
    lost = town.lake.require("raw", DATASET, PARTITION).files[0].key
    town.store.local_path(lost).unlink()
    town.store.local_path(HEAD).unlink()
    assert town.replicate().deleted == 0
    assert {(one.key, one.kind, one.since) for one in town.compare().differences} == {
        (lost, Kind.EXTRA, None),
        (HEAD, Kind.EXTRA, None),
    }
    assert restore(town.copy, town.store, town.store.deletions).copied == 2
    assert contents(town.store) == before
    assert town.compare().differences == []


def test_what_was_deleted_is_not_brought_back(town: Town) -> None:
    town.note(0)
    town.note(1)
    town.replicate()
    town.forget(0)
    town.store.local_path("notices/1.json").unlink()
    restore(town.copy, town.store, town.store.deletions)
    assert list(contents(town.store)) == ["notices/1.json"]


def test_a_file_that_is_not_what_its_manifest_says_is_not_copied(town: Town) -> None:
    manifest = town.publish(0)
    place = town.store.local_path(manifest.files[0].key)
    place.write_bytes(b"x" * place.stat().st_size)
    done = town.replicate()
    assert done.damaged == [manifest.files[0].key]
    assert list(done.held.values()) == [f"{manifest.files[0].key} is not there, which it names"]
    assert town.there.latest("raw", DATASET, PARTITION) is None


def test_a_file_that_was_damaged_later_does_not_go_over_its_good_copy(town: Town) -> None:
    manifest = town.publish(0)
    town.replicate()
    key = manifest.files[0].key
    good = town.copy.get(key)
    town.store.local_path(key).write_bytes(b"x" * len(good))
    assert town.replicate().damaged == [key]
    assert town.copy.get(key) == good


def test_bytes_that_changed_in_the_copy_are_found_in_the_sample(town: Town) -> None:
    manifest = town.publish(0)
    town.replicate()
    compared = town.compare()
    assert sample(town.copy, compared, seed=1) == Sample(1, [])
    place = town.copy.local_path(manifest.files[0].key)
    place.write_bytes(b"x" * place.stat().st_size)
    sampled = sample(town.copy, compared, seed=1)
    assert sampled == Sample(1, [manifest.files[0].key])
    assert Verification(compared, sampled, datetime.now(UTC)).verdict is Verdict.BROKEN


def test_how_far_it_is_behind_is_told_by_zone_and_judged_by_age(town: Town) -> None:
    town.publish(1)
    town.decide(1)
    town.replicate()
    assert Verification(town.compare(), Sample(0, []), datetime.now(UTC)).verdict is Verdict.AGREES
    made = town.publish(3)
    now = town.store.modified(f"manifests/curated/{DATASET}/{PARTITION}/{made.sequence:010d}.json")
    compared = town.compare()
    told = lag(compared.differences, now + timedelta(minutes=1))
    assert (told[Zone.CURATED].objects, told[Zone.RAW].objects) == (2, 0)
    assert told[Zone.CURATED].bytes > made.size - 1
    assert timedelta(minutes=1) <= told[Zone.CURATED].age < timedelta(minutes=2)
    assert Verification(compared, Sample(1, []), now).verdict is Verdict.BEHIND
    assert Verification(compared, Sample(1, []), now + ALLOWED_LAG + timedelta(minutes=1)).verdict is Verdict.BROKEN
    town.replicate()
    town.store.delete("audit/0000000001.json")
    (gone,) = town.compare().differences
    assert gone.kind is Kind.EXTRA
    assert Verification(town.compare(), Sample(1, []), datetime.now(UTC)).verdict is Verdict.BEHIND


def test_what_went_while_no_copy_was_kept_goes_when_somebody_says_so(town: Town) -> None:
    town.note(0)
    town.replicate()
    town.store.local_path("notices/0.json").unlink()
    (extra,) = town.compare().differences
    assert Verification(town.compare(), Sample(0, []), datetime.now(UTC)).verdict is Verdict.BROKEN
    assert remove_extra(town.copy, [extra.key]) == 1
    assert town.compare().differences == []


def test_a_lake_that_was_begun_anew_does_not_write_over_the_copy_of_the_lost_one(town: Town) -> None:
    town.publish(0)
    town.decide(0)
    town.replicate()
    before = contents(town.copy)
    shutil.rmtree(town.store.local_path(HEAD).parents[1])
    town.publish(1)
    assert town.replicate().copied == 2  # nothing of it has another's name
    town.publish(2)
    with pytest.raises(NotItsCopy, match=r"manifests/raw/trees/2024/0000000001\.json is not the same"):
        town.replicate()
    assert before.items() <= contents(town.copy).items()


def test_a_copy_is_private(town: Town) -> None:
    town.publish(0)
    town.replicate()
    town.note(0)
    town.forget(0)
    root = town.copy.local_path(town.there.require("raw", DATASET, PARTITION).files[0].key).parents[5]
    for path in (*(root / "objects").rglob("*"), *(root.parent / "lake" / "deleted").rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)


def test_a_copy_on_a_file_system_that_rounds_moments_is_refused(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.note(0)
    exact = os.utime
    monkeypatch.setattr(os, "utime", lambda file, ns: exact(file, ns=(ns[0] // 2**31 * 2**31, ns[1] // 2**31 * 2**31)))
    with pytest.raises(MomentsNotKept, match="copy does not keep"):
        town.replicate()
    assert contents(town.copy) == {}


def test_a_note_of_a_deletion_that_a_power_cut_emptied_keeps_nothing_else_back(town: Town, tmp_path: Path) -> None:
    town.note(0)
    town.replicate()
    town.forget(0)
    (noted,) = town.store.deletions.pending()
    town.note(1)
    (place,) = tmp_path.glob(f"**/deleted/{noted.id}")
    place.write_bytes(b"")
    assert town.replicate().copied == 1
    assert [(one.key, one.kind, one.since) for one in town.compare().differences] == [
        ("notices/0.json", Kind.EXTRA, None)
    ]


def test_a_deletion_that_did_not_happen_is_forgotten_after_a_day(town: Town) -> None:
    town.note(0)
    town.replicate()
    town.store.deletions.note("notices/0.json")  # and then its process died
    town.replicate()
    assert "notices/0.json" in contents(town.copy)
    assert town.store.deletions.pending()
    replicate(town.store, town.copy, town.store.deletions, datetime.now(UTC) + timedelta(days=2))
    assert not town.store.deletions.pending()
    assert "notices/0.json" in contents(town.copy)
