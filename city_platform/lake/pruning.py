"""Removing the files of old versions, and those that killed runs left behind.

A version is kept while something may need it: the newest of its partition, those that the dataset's policy keeps,
those that somebody holds (decisions in force, the catalog), and all that these were made from. Of any other version
the manifest stays, with a note that its files are gone, and the files go that no kept version names. The bytes that
the city's sources brought (`raw/…/source/`, `exports/`) are never removed.

In this order, so that whoever dies anywhere leaves every version whole that is not noted as pruned:

1. the notes; from here on `Lake.restore` refuses these versions,
2. the newest version of each partition concerned once more under the next number (`Lake.renumber`): who began to
   publish or to restore before step 1 fails and looks again; who begins later writes under other keys,
3. the manifests that came meanwhile are read,
4. every file goes that no version without a note names, if it is older than `SAFE_AGE`.

So step 4 also takes what an earlier pruning or a killed run left. A file's age matters because a run puts its files
before the manifest that names them, and because whoever reads a version that was superseded just now is left to
finish: no run and no reader may take longer than `SAFE_AGE`.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from city_platform.contracts.model import OldVersions
from city_platform.contracts.partitions import partition_folder
from city_platform.lake.lake import MANIFESTS, PRUNED, Lake, PublishedMeanwhile, sequence_of
from city_platform.lake.manifest import Manifest
from city_platform.ports import ObjectNotFound

SAFE_AGE = timedelta(days=1)
KEY_IDS = "key_ids"  # in a manifest's details: the id of each master key that its files are encrypted under
EXPORTS, RAW, LANDING, EVERYTHING = "exports", "raw", "landing", "all"
_SOURCE = "source"
_ATTEMPTS = 10  # at a partition that others publish at the same time
_VERSION = r"[0-9a-f]{16}(?:-[0-9]+)?"
_DATA = re.compile(rf"(?P<folder>[^/]+)/{_VERSION}/[^/]+/[^/]+")
_LANDED = re.compile(rf"(?P<folder>[^/]+)/{_VERSION}\.parquet|rejects/{_VERSION}-[^/]+")


class Place(NamedTuple):
    """One partition of one layer of a dataset."""

    layer: str
    partition: str


class Held(NamedTuple):
    """A version that somebody refers to."""

    layer: str
    partition: str
    version: str


@dataclass(frozen=True, slots=True)
class Known:
    """What pruning has to know of one published manifest. `files` maps keys to bytes."""

    place: Place
    sequence: int
    version: str
    published_at: datetime
    inputs: frozenset[str]  # what it was made from; versions among other things
    files: Mapping[str, int]
    key_ids: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: Manifest) -> "Known":
        return cls(
            place=Place(manifest.layer, manifest.partition),
            sequence=manifest.sequence,
            version=manifest.version,
            published_at=manifest.published_at,
            inputs=frozenset(manifest.inputs.values()),
            files={file.key: file.bytes for file in manifest.files},
            key_ids=manifest.details.get(KEY_IDS) or {},
        )


@dataclass(frozen=True, slots=True)
class Inventory:
    """Which manifests each dataset has, by number, and which of them are noted as pruned."""

    published: Mapping[str, Mapping[Place, Collection[int]]]
    pruned: Mapping[str, Mapping[Place, Collection[int]]]

    @classmethod
    def of(cls, lake: Lake) -> "Inventory":
        """Lists both prefixes; reads nothing."""
        return cls(_listed(lake, MANIFESTS), _listed(lake, PRUNED))

    @property
    def datasets(self) -> Sequence[str]:
        return sorted(self.published)


@dataclass(frozen=True, slots=True)
class Plan:
    """What may go of one dataset. `files` maps keys to bytes; `left_behind` of them belong to none of `versions`."""

    dataset: str
    versions: tuple[Known, ...]
    files: Mapping[str, int]
    left_behind: int
    renumbered: tuple[Place, ...]
    seen: Mapping[Place, Collection[int]]  # the manifests that were looked at

    @property
    def size(self) -> int:
        return sum(self.files.values())


def plan(
    lake: Lake, dataset: str, inventory: Inventory, policy: OldVersions, held: Collection[Held] = frozenset()
) -> Plan:
    """What of the dataset is not needed any more. Changes nothing; raises the store's errors."""
    # Of exports nothing goes, and a manifest of theirs is published every minute: they are not even read. Nor is a
    # place whose newest version is gone: all of its rows were let go of (`retirement`).
    noted = inventory.pruned.get(dataset, {})
    seen = {
        place: one
        for place, one in inventory.published.get(dataset, {}).items()
        if place.layer != EXPORTS and max(one) not in noted.get(place, ())
    }
    known = [
        _read(lake, dataset, place, sequence)
        for place, sequences in seen.items()
        for sequence in sorted(set(sequences) - set(noted.get(place, ())))
    ]
    now = lake.clock.now()
    going = superfluous(known, policy, now, held)
    gone = {(one.place, one.sequence) for one in going}
    named = {key for one in known if (one.place, one.sequence) not in gone for key in one.files}
    sizes = {key: size for one in going for key, size in one.files.items()}
    places = _Owners(dataset, seen)
    files: dict[str, int] = {}
    owners: set[Place] = set()
    for layer in sorted({place.layer for place in seen}):
        for key in lake.store.keys(f"{layer}/{dataset}/"):
            concerned = places.of(key)
            if key in named or not concerned:
                continue
            try:
                if now - lake.store.modified(key) < SAFE_AGE:
                    continue
                files[key] = sizes[key] if key in sizes else lake.store.size(key)
            except ObjectNotFound:
                continue  # somebody else prunes, too
            owners |= concerned
    marked = {one.place for one in going} | {place for place, sequences in noted.items() if sequences}
    partitions = {owner.partition for owner in owners}
    return Plan(
        dataset=dataset,
        versions=tuple(going),
        files=files,
        left_behind=len(files.keys() - sizes.keys()),
        renumbered=tuple(sorted({*owners, *(one for one in marked if one.partition in partitions)} & seen.keys())),
        seen=seen,
    )


def carry_out(lake: Lake, planned: Plan) -> Mapping[str, int]:
    """Does what was planned; returns the files that went, with their bytes.

    Killed anywhere and planned again, it does what is left. Raises PublishedMeanwhile where others publish all the
    time, before any file of this dataset went, and the store's errors.
    """
    for one in planned.versions:
        lake.mark_pruned(_manifest(lake, planned.dataset, one.place, one.sequence))
    for place in planned.renumbered:
        _renumber(lake, planned.dataset, place)
    still_named = {
        key
        for layer in sorted({place.layer for place in planned.seen})
        for place, sequences in _listed(lake, f"{MANIFESTS}/{layer}/{planned.dataset}")[planned.dataset].items()
        for sequence in set(sequences) - set(planned.seen.get(place, ()))
        for key in _read(lake, planned.dataset, place, sequence).files
    }
    removed = {key: size for key, size in planned.files.items() if key not in still_named}
    for key in removed:
        lake.store.delete(key)
    return removed


def superfluous(
    known: Iterable[Known], policy: OldVersions, now: datetime, held: Collection[Held] = frozenset()
) -> list[Known]:
    """Those of a dataset's manifests whose version nothing needs, if that frees a file. `now` is aware."""
    by_place: dict[Place, list[Known]] = defaultdict(list)
    for one in known:
        by_place[one.place].append(one)
    versions: dict[Held, Known] = {}  # the last manifest of each version
    for place, ones in by_place.items():
        ones.sort(key=lambda one: one.sequence)
        versions |= {Held(*place, one.version): one for one in ones}
    by_name: dict[str, list[Held]] = defaultdict(list)
    for version in versions:
        by_name[version.version].append(version)
    waiting = [Held(*place, version) for place, ones in by_place.items() for version in _kept(ones, policy, now)]
    waiting += [one for one in held if one in versions]
    needed: set[Held] = set()
    while waiting:
        version = waiting.pop()
        if version not in needed:
            needed.add(version)
            waiting += [made_from for name in versions[version].inputs for made_from in by_name.get(name, ())]
    candidates = [one for ones in by_place.values() for one in ones if Held(*one.place, one.version) not in needed]
    dropped = {(one.place, one.sequence) for one in candidates}
    staying = {
        key
        for ones in by_place.values()
        for one in ones
        if (one.place, one.sequence) not in dropped
        for key in one.files
    }
    return [one for one in candidates if any(key not in staying and not original(key) for key in one.files)]


def original(key: str) -> bool:
    """Whether the object holds bytes as a source brought them."""
    layer, _, rest = key.partition("/")
    return layer == EXPORTS or (layer == RAW and rest.split("/")[1:2] == [_SOURCE])


def _kept(ones: Sequence[Known], policy: OldVersions, now: datetime) -> Iterator[str]:
    """The versions of one partition that are kept for themselves; `ones` in the order of their publication."""
    newest = ones[-1]
    ended: dict[str, datetime | None] = {}  # when another version took its place, the newest version first
    later: Known | None = None
    for one in reversed(ones):
        if one.version not in ended:
            ended[one.version] = later.published_at if later else None
            under_other_keys = bool(one.key_ids) and one.key_ids != newest.key_ids
            age = now - later.published_at if later else timedelta()
            by_policy = len(ended) <= policy.versions or age < policy.age
            if age < SAFE_AGE or (by_policy and not under_other_keys):
                yield one.version
        later = one


class _Owners:
    """Which partitions a data file's key belongs to."""

    def __init__(self, dataset: str, seen: Mapping[Place, Collection[int]]) -> None:
        self._dataset = dataset
        self._places = {(place.layer, partition_folder(place.partition)): place for place in seen}

    def of(self, key: str) -> set[Place]:
        """Those whose publishers may name or write it; empty for what is none of pruning's business.

        That is what the lake does not lay out, the originals, and what was written for a partition of which nothing
        was ever published: a run may be about to begin with it.
        """
        layer, _, rest = key.partition(f"/{self._dataset}/")
        if original(key):
            return set()
        if found := _DATA.fullmatch(rest):
            place = self._places.get((layer, found["folder"]))
            return {place} if place else set()
        landing = self._places.get((LANDING, EVERYTHING))
        found = _LANDED.fullmatch(rest) if layer == RAW and landing else None
        if not found or not landing:
            return set()
        raw = self._places.get((RAW, found["folder"] or ""))
        return {landing, raw} if raw else {landing}


def _renumber(lake: Lake, dataset: str, place: Place) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            lake.renumber(place.layer, dataset, place.partition)
        except PublishedMeanwhile:
            if attempt == _ATTEMPTS:
                raise
        else:
            return


def _manifest(lake: Lake, dataset: str, place: Place, sequence: int) -> Manifest:
    return lake.manifest(f"{MANIFESTS}/{place.layer}/{dataset}/{place.partition}/{sequence:010d}.json")


def _read(lake: Lake, dataset: str, place: Place, sequence: int) -> Known:
    return Known.of(_manifest(lake, dataset, place, sequence))


def _listed(lake: Lake, prefix: str) -> dict[str, dict[Place, list[int]]]:
    """Numbers by dataset and place, of what lies below the prefix."""
    found: dict[str, dict[Place, list[int]]] = defaultdict(lambda: defaultdict(list))
    for key in lake.numbered(f"{prefix}/"):
        _, layer, dataset, partition, _ = key.split("/")
        found[dataset][Place(layer, partition)].append(sequence_of(key))
    return found
