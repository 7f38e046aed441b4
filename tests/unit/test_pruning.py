"""Pruning removes what nothing needs, and whoever dies in it, or publishes beside it, leaves every version whole."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.contracts.model import OldVersions
from city_platform.lake.lake import Lake, NotPublished, PublishedMeanwhile, StagedFile, VersionPruned
from city_platform.lake.manifest import Manifest, StoredFile
from city_platform.lake.pruning import KEY_IDS, SAFE_AGE, Held, Inventory, Plan, carry_out, original, plan
from city_platform.ports import ObjectExists, ObjectNotFound
from tests.town import StandingClock

DATASET, PARTITION = "trees", "2024"
DAY = timedelta(days=1)
LAST_DAY = OldVersions(1, DAY)
LAYERS = ("raw", "cleaned", "quality_checked", "curated")


class Killed(BaseException):
    """The process died here; nothing of the platform catches it."""


@dataclass
class MemoryStore:
    """An object store that calls `before` ahead of each change, with the number of changes so far."""

    clock: StandingClock
    objects: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    changes: int = 0
    before: Callable[[int], None] = lambda _: None

    def get(self, key: str) -> bytes:
        if key not in self.objects:
            raise ObjectNotFound(key)
        return self.objects[key][0]

    def put(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        self._change()
        if create_only and key in self.objects:
            raise ObjectExists(key)
        self.objects[key] = (data, self.clock.now())

    def put_file(self, key: str, file: Path) -> None:
        self.put(key, file.read_bytes())

    def size(self, key: str) -> int:
        return len(self.get(key))

    def modified(self, key: str) -> datetime:
        self.get(key)
        return self.objects[key][1]

    def keys(self, prefix: str) -> Iterator[str]:
        yield from sorted(key for key in self.objects if key.startswith(prefix))

    def delete(self, key: str) -> None:
        self._change()
        self.objects.pop(key, None)

    def local_path(self, key: str) -> Path:
        self.get(key)
        return Path("/dev/null")

    def _change(self) -> None:
        self.changes += 1
        self.before(self.changes)


class Town:
    """A lake of one partition in which every layer is made of the one before."""

    def __init__(self, folder: Path) -> None:
        self.clock = StandingClock()
        self.store = MemoryStore(self.clock)
        self.lake = Lake(self.store, self.clock)  # type: ignore[arg-type]  # the store has what the lake uses here
        self._file = folder / "part-00000.bin"

    def staged(self, text: str) -> StagedFile:
        self._file.write_text(text)
        return StagedFile.of(self._file, 1)

    def publish(self, layer: str, text: str, details: dict[str, object] | None = None) -> Manifest | None:
        """Makes a layer of what stands now; None while the layer before is not there."""
        inputs: dict[str, str] = {}
        parts: dict[str, Sequence[StagedFile | StoredFile]] = {"rows": [self.staged(f"{layer} {text}")]}
        if layer == LAYERS[0]:
            key = f"raw/{DATASET}/source/{text}/trees.csv"
            self.store.put(key, text.encode())
            parts["source"] = [StoredFile(key, len(text), text, 1)]
        elif layer in LAYERS:
            upstream = self.lake.latest(LAYERS[LAYERS.index(layer) - 1], DATASET, PARTITION)
            if upstream is None:
                return None
            inputs[upstream.layer] = upstream.version
            if layer == "quality_checked":
                parts = {"rows": list(upstream.parts["rows"]), "failed": parts["rows"]}
        return self.lake.publish(
            layer, DATASET, PARTITION, inputs=inputs, parts=parts, counts={"rows": 1}, schema=[], details=details
        )

    def restore(self, layer: str, place: int) -> None:
        """Makes some version of its history the newest, if its files are there."""
        history = list(self.lake.history(layer, DATASET, PARTITION))
        if history:
            try:
                self.lake.restore(layer, DATASET, PARTITION, history[place % len(history)].version)
            except (VersionPruned, PublishedMeanwhile):
                return

    def plan(self, policy: OldVersions = LAST_DAY, held: Sequence[Held] = ()) -> Plan:
        return plan(self.lake, DATASET, Inventory.of(self.lake), policy, held)

    def prune(self, policy: OldVersions = LAST_DAY, held: Sequence[Held] = ()) -> Plan:
        planned = self.plan(policy, held)
        carry_out(self.lake, planned)
        return planned

    def pass_days(self, days: float) -> None:
        self.clock.time += timedelta(days=days)

    def whole(self, layer: str) -> list[bool]:
        """Of each manifest of the layer, oldest first, whether it counts as there; fails where one is there in part."""
        told = []
        for one in self.lake.versions(layer, DATASET, PARTITION):
            there = [file.key in self.store.objects for file in one.manifest.files]
            assert all(there) or one.pruned_at is not None, f"{layer} {one.manifest.sequence} is broken"
            told.append(one.pruned_at is None)
        return told


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


def publish_daily(town: Town, layer: str, *texts: str) -> list[Manifest]:
    made = []
    for text in texts:
        manifest = town.publish(layer, text)
        assert manifest is not None
        made.append(manifest)
        town.pass_days(1)
    return made


def test_the_newest_and_what_the_policy_keeps_stay(town: Town) -> None:
    publish_daily(town, "cleaned_alone", *"abcdef")
    assert not town.plan(OldVersions(6, DAY)).versions
    assert [one.sequence for one in town.plan(OldVersions(3, DAY)).versions] == [1, 2, 3]
    assert not town.plan(OldVersions(1, 6 * DAY)).versions
    # The first was replaced five days ago, to the second; not less than five.
    assert [one.sequence for one in town.plan(OldVersions(1, 5 * DAY)).versions] == [1]
    town.prune(OldVersions(3, DAY))
    assert town.whole("cleaned_alone") == [False] * 3 + [True] * 4  # and the newest once more


def test_of_what_was_replaced_a_moment_ago_nothing_goes(town: Town) -> None:
    publish_daily(town, "cleaned_alone", "a")
    town.publish("cleaned_alone", "b")
    town.clock.time += SAFE_AGE - timedelta(seconds=1)
    assert town.plan(OldVersions(1, timedelta())) == town.plan(OldVersions(9, timedelta(days=99)))
    town.clock.time += timedelta(seconds=1)
    assert town.plan(OldVersions(1, timedelta())).versions


def test_history_keeps_the_manifest_and_says_that_the_files_are_gone(town: Town) -> None:
    first, *_ = publish_daily(town, "cleaned_alone", "a", "b")
    planned = town.prune()
    assert planned.size == first.size
    told = town.lake.versions("cleaned_alone", DATASET, PARTITION)
    assert [one.pruned_at for one in told] == [town.clock.now(), None, None]
    assert told[0].manifest == first
    with pytest.raises(VersionPruned, match="its files are gone"):
        town.lake.paths(first, "rows")
    del town.store.objects[told[1].manifest.files[0].key]
    with pytest.raises(ObjectNotFound) as gone:  # nobody said why
        town.lake.paths(told[1].manifest, "rows")
    assert not isinstance(gone.value, VersionPruned)
    with pytest.raises(VersionPruned, match="make it again from its sources"):
        town.lake.restore("cleaned_alone", DATASET, PARTITION, first.version)
    with pytest.raises(NotPublished):
        town.lake.restore("cleaned_alone", DATASET, PARTITION, "never")


def test_what_a_pruned_version_held_can_be_made_again(town: Town) -> None:
    first, *_ = publish_daily(town, "cleaned_alone", "a", "b", "c", "d")
    town.prune()
    again = town.publish("cleaned_alone", "a")
    assert again is not None
    assert again.version == first.version
    assert again.files[0].key != first.files[0].key
    assert town.whole("cleaned_alone")[0] is False
    assert town.whole("cleaned_alone")[-1] is True
    town.pass_days(9)
    town.prune()
    town.whole("cleaned_alone")


def test_what_the_newest_was_made_of_stays_however_old(town: Town) -> None:
    for layer in LAYERS:
        town.publish(layer, "old")
    for text in ("b", "c", "d"):
        town.publish("raw", text)
        town.publish("cleaned", text)
        town.pass_days(5)
    town.prune()  # the gate is closed, say: what stands published is the old
    assert town.whole("cleaned") == [True, False, False, True, True]
    assert town.whole("raw") == [True, False, False, True, True]
    assert all(town.whole("quality_checked") + town.whole("curated"))


def test_what_is_held_stays_with_what_it_was_made_of(town: Town) -> None:
    for text in "abcd":
        town.publish("raw", text)
        town.publish("cleaned", text)
        town.pass_days(5)
    held = list(town.lake.history("cleaned", DATASET, PARTITION))[1]
    town.prune(held=[Held("cleaned", PARTITION, held.version)])
    assert town.whole("cleaned")[:3] == [False, True, False]
    assert town.whole("raw")[:3] == [False, True, False]


def test_the_citys_own_bytes_stay(town: Town) -> None:
    publish_daily(town, "raw", *"abcd")
    town.store.put(f"exports/{DATASET}/year=2024/0123.parquet", b"nobody listed it")
    town.pass_days(9)
    assert any(not original(key) for key in town.prune().files)
    assert [key for key in town.store.objects if "/source/" in key] == [
        f"raw/{DATASET}/source/{text}/trees.csv" for text in "abcd"
    ]
    assert town.store.get(f"exports/{DATASET}/year=2024/0123.parquet")


def test_a_version_of_which_all_files_stay_is_not_said_to_be_gone(town: Town) -> None:
    town.publish("exports", "a")
    town.publish("exports", "b")
    town.pass_days(9)
    assert not town.plan().versions


@pytest.mark.parametrize(
    "key",
    [
        f"curated/{DATASET}/year=2024/0123456789abcdef-7/rows/part-00000.parquet",
        f"curated/{DATASET}/year=2024/0123456789abcdef/rows/part-00000.parquet",  # as keys were in former times
    ],
)
def test_what_a_killed_run_left_goes_when_it_is_old(town: Town, key: str) -> None:
    town.store.put(key, b"left")
    town.pass_days(9)
    assert not town.plan().files  # nothing of the partition is published: somebody may be about to begin
    town.publish("raw", "a")
    town.publish("cleaned", "a")
    town.publish("quality_checked", "a")
    town.publish("curated", "a")
    planned = town.plan()
    assert (list(planned.files), planned.left_behind, planned.size) == ([key], 1, 4)
    town.prune()
    town.store.put(key, b"left just now")
    assert not town.plan().files


@pytest.mark.parametrize(
    "name", ["year=2024/0123456789abcdef-7.parquet", "rejects/0123456789abcdef-7-unplaced.parquet"]
)
def test_what_a_killed_landing_left_goes_when_it_is_old(town: Town, name: str) -> None:
    town.store.put(f"raw/{DATASET}/{name}", b"left")
    town.store.put(f"raw/{DATASET}/source/0123/trees.csv", b"left")
    town.store.put(f"raw/{DATASET}/year=2024/notes.txt", b"none of the lake's")
    town.publish("raw", "a")
    town.pass_days(9)
    assert not town.plan().files
    town.lake.publish("landing", DATASET, "all", inputs={}, parts={}, counts={"rows": 0}, schema=[])
    assert list(town.plan().files) == [f"raw/{DATASET}/{name}"]
    town.prune()
    assert [one.sequence for one in town.lake.history("landing", DATASET, "all")] == [1, 2]


def test_a_version_under_keys_that_were_replaced_is_kept_a_day_and_no_longer(town: Town) -> None:
    for text, key in (("a", "1"), ("b", "1"), ("c", "2")):
        town.publish("encrypted", text, {KEY_IDS: {"alias/personal": key}})
        town.clock.time += timedelta(hours=1)
    assert not town.plan(OldVersions()).versions
    town.pass_days(1)
    assert [one.sequence for one in town.plan(OldVersions()).versions] == [1, 2]


def test_the_same_content_under_other_inputs_is_not_written_again(town: Town) -> None:
    town.publish("raw", "a")
    first = town.publish("cleaned", "same")
    town.publish("raw", "b")
    second = town.publish("cleaned", "same")
    assert first is not None
    assert second is not None
    assert first.inputs != second.inputs
    assert first.files == second.files


def test_a_file_of_the_newest_version_that_is_gone_is_written_again(town: Town) -> None:
    first = town.publish("cleaned_alone", "a")
    assert first is not None
    del town.store.objects[first.files[0].key]
    town.publish("cleaned_alone", "a")
    newest = town.lake.require("cleaned_alone", DATASET, PARTITION)
    assert town.store.get(newest.files[0].key) == b"cleaned_alone a"


KINDS = ("publish", "die publishing", "prune in a publication", "restore", "prune in a restoration", "days")
KINDS += ("prune", "die pruning", "publish in a pruning", "restore in a pruning")
Step = tuple[str, str, int]
steps = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from(LAYERS), st.integers(0, 9)), min_size=10, max_size=25
)


def interrupting(town: Town, number: int, act: Callable[[], None]) -> Callable[[int], None]:
    """Does something else, once, ahead of the change with that number from now."""
    at = town.store.changes + number

    def before(count: int) -> None:
        if count == at:
            town.store.before = lambda _: None
            act()

    return before


def die() -> None:
    raise Killed


@pytest.mark.parametrize("moment", range(1, 6))
def test_a_version_restored_while_it_is_being_pruned_is_whole_or_not_restored(town: Town, moment: int) -> None:
    first, *_ = publish_daily(town, "cleaned_alone", "a", "b", "c")
    told: list[bool] = []

    def restore() -> None:
        town.restore("cleaned_alone", 0)
        told.append(town.lake.require("cleaned_alone", DATASET, PARTITION).version == first.version)

    town.store.before = interrupting(town, moment, restore)  # moments: two notes, the renumbering, two files
    town.prune()
    assert told == [moment == 1]
    assert town.whole("cleaned_alone")[-1]


def test_a_restoration_that_looked_before_a_pruning_does_not_come_after_it(town: Town) -> None:
    first, *_ = publish_daily(town, "cleaned_alone", "a", "b", "c")
    town.store.before = interrupting(town, 1, lambda: carry_out(town.lake, town.plan()) and None)
    with pytest.raises(PublishedMeanwhile):
        town.lake.restore("cleaned_alone", DATASET, PARTITION, first.version)
    town.whole("cleaned_alone")


def take(town: Town, step: Step, held: list[Held]) -> None:
    kind, layer, number = step
    text = str(number % 3)

    def publish() -> None:
        town.publish(layer, text)

    def restore() -> None:
        town.restore(layer, number)

    def prune() -> None:
        town.prune(held=held)

    doing, meanwhile = {
        "publish": (publish, None),
        "die publishing": (publish, die),
        "prune in a publication": (publish, prune),
        "restore": (restore, None),
        "prune in a restoration": (restore, prune),
        "days": (lambda: town.pass_days(number % 3 + 1), None),
        "prune": (prune, None),
        "die pruning": (prune, die),
        "publish in a pruning": (prune, publish),
        "restore in a pruning": (prune, restore),
    }[kind]
    if meanwhile is not None:
        at = 1 + number % 2 if doing is publish else 1 if doing is restore else 1 + number
        town.store.before = interrupting(town, at, meanwhile)
    try:
        doing()
    except (Killed, PublishedMeanwhile):
        pass
    finally:
        town.store.before = lambda _: None


def holds(town: Town, held: list[Held]) -> None:
    """Every version that counts is whole, and so is the chain behind the newest of each layer, and what is held."""
    for layer in LAYERS:
        town.whole(layer)
        newest = town.lake.latest(layer, DATASET, PARTITION)
        while newest is not None:
            for file in newest.files:
                assert town.store.size(file.key) == file.bytes
            made_from = next(iter(newest.inputs.items()), None)
            newest = made_from and _there(town, *made_from)
    for one in held:
        assert _there(town, one.layer, one.version)


def _there(town: Town, layer: str, version: str) -> Manifest:
    found = town.lake.versions(layer, DATASET, PARTITION)
    return next(one.manifest for one in reversed(found) if one.manifest.version == version and one.pruned_at is None)


@settings(max_examples=40)
@given(steps, st.integers(0, 3))
def test_whatever_happens_every_version_that_counts_is_whole(history: list[Step], holding: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        town = Town(Path(folder))
        for text in ("0", "1"):
            for layer in LAYERS:
                town.publish(layer, text)
        held: list[Held] = []
        for number, step in enumerate(history):
            take(town, step, held)
            holds(town, held)
            if number == holding and (newest := town.lake.latest("cleaned", DATASET, PARTITION)):
                held.append(Held("cleaned", PARTITION, newest.version))
        # In the end nothing is left that nobody names.
        town.pass_days(3)
        town.prune(held=held)
        holds(town, held)
        left = {key for key in town.store.objects if key.startswith(LAYERS) and not original(key)}
        published = {layer for layer in LAYERS if town.lake.latest(layer, DATASET, PARTITION)}
        named = {
            file.key
            for layer in LAYERS
            for one in town.lake.versions(layer, DATASET, PARTITION)
            if one.pruned_at is None
            for file in one.manifest.files
        }
        assert {key for key in left if key.split("/")[0] in published} <= named
        assert not town.plan(held=held).files
