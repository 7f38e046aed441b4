"""How far a copy of the lake in another place is: what is missing in it, what differs, what it has beyond.

A copy keeps the moment at which the original was written, as S3's replicas do. So two listings say it, of whatever
size the objects are; that bytes are what they should be is looked at in a sample, against the digests in manifests.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from city_platform.lake.lake import MANIFESTS, PRUNED
from city_platform.lake.manifest import Manifest, UnreadableManifest
from city_platform.lake.zones import FOLDERS, Zone, zone_of
from city_platform.ports import Clock, Deletions, ObjectNotFound, ObjectStore, StoredObject

ALLOWED_LAG = timedelta(minutes=15)  # what S3 Replication Time Control promises
_SAMPLE = 20  # files whose bytes are looked at
_SAMPLED_BYTES = 64 << 20  # of each at most: it is read into memory, and from another region it is paid for
_LOOKED_AT_AGAIN = 1000  # objects too many
_HEADS = tuple(name for name in FOLDERS if "." in name)  # objects that lie in no folder


class Kind(StrEnum):
    MISSING = "missing"
    DIFFERENT = "different"
    EXTRA = "extra"


@dataclass(frozen=True, slots=True)
class Difference:
    """One object in which the two are not the same. `bytes` is the original's size, 0 where there is none.

    `since` is when the original was written or deleted; None for what the copy has although nobody deleted it.
    """

    key: str
    kind: Kind
    bytes: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """`objects` are those of the lake; `sound` are the copy's manifests whose files should be there."""

    objects: int
    differences: Sequence[Difference]
    sound: Sequence[str]


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the copy of a zone is behind. `age` is that of the oldest change that did not reach it."""

    objects: int
    bytes: int
    age: timedelta


@dataclass(frozen=True, slots=True)
class Sample:
    """How many files were read, and the keys of those whose bytes are not what they should be."""

    files: int
    damaged: Sequence[str]


class Verdict(StrEnum):
    AGREES = "agrees"
    BEHIND = "behind"  # and within the time that is allowed for it
    BROKEN = "broken"


def rank(key: str) -> int:
    """Whatever names other objects has a higher rank than they: notes, manifests, the head of the log."""
    return 3 if key in _HEADS else {PRUNED: 1, MANIFESTS: 2}.get(key.partition("/")[0], 0)


def listed(store: ObjectStore) -> Iterator[StoredObject]:
    """All objects of a lake, those that name others before them: what is named was written first, so it is listed.

    What lies in no folder of the lake's is not the lake's.
    """
    for key in _HEADS:
        try:
            yield StoredObject(key, store.size(key), store.modified(key), "")
        except ObjectNotFound:
            continue
    for folder in (MANIFESTS, PRUNED, *FOLDERS):
        if folder not in _HEADS:
            yield from store.objects(f"{folder}/")


def same(one: StoredObject, copy: StoredObject | None) -> bool:
    return copy is not None and (copy.bytes, copy.modified) == (one.bytes, one.modified)


def compare(source: ObjectStore, copy: ObjectStore, deletions: Deletions) -> Comparison:
    """Lists the copy, then the lake, so that what comes meanwhile counts as new. Raises the stores' errors."""
    there = {one.key: one for one in listed(copy)}
    originals = {one.key: one for one in listed(source)}
    found = [
        Difference(one.key, Kind.DIFFERENT if one.key in there else Kind.MISSING, one.bytes, one.modified)
        for one in originals.values()
        if not same(one, there.get(one.key))
    ]
    extra = [key for key in there if key not in originals]
    deleted = deletions.when(extra)
    unknown = [key for key in extra if key not in deleted]
    settled = {key for key in unknown[:_LOOKED_AT_AGAIN] if _there(source, key) or not _there(copy, key)}
    found += [Difference(key, Kind.EXTRA, 0, deleted.get(key)) for key in extra if key not in settled]
    sound = [key for key in there if key.startswith(f"{MANIFESTS}/") and PRUNED + key[len(MANIFESTS) :] not in there]
    return Comparison(len(originals), sorted(found, key=lambda one: one.key), sound)


def lag(differences: Sequence[Difference], now: datetime) -> Mapping[Zone, Lag]:
    """Of every zone, those that are not behind, too. `now` is aware."""
    by_zone = {zone: [one for one in differences if zone_of(one.key) is zone] for zone in Zone}
    return {
        zone: Lag(
            len(ones),
            sum(one.bytes for one in ones),
            max((now - one.since for one in ones if one.since is not None), default=timedelta()),
        )
        for zone, ones in by_zone.items()
    }


def sample(copy: ObjectStore, compared: Comparison, seed: int) -> Sample:
    """Reads some files of the copy, other ones with another seed. Raises the store's errors."""
    behind = {one.key for one in compared.differences}
    known = [key for key in compared.sound if key not in behind]
    chance = random.Random(seed)  # noqa: S311 -- which files are looked at is no secret
    files, damaged = 0, []
    for key in chance.sample(known, min(_SAMPLE, len(known))):
        try:
            of = [
                one
                for one in Manifest.from_json(copy.get(key)).files
                if one.bytes <= _SAMPLED_BYTES and one.key not in behind
            ]
            if of:
                one = chance.choice(of)
                files += 1
                if hashlib.sha256(copy.get(one.key)).hexdigest() != one.sha256:
                    damaged.append(one.key)
        except UnreadableManifest:
            damaged.append(key)
        except ObjectNotFound:
            continue  # it was deleted meanwhile
    return Sample(files, damaged)


@dataclass(frozen=True, slots=True)
class Verification:
    """How the copy stood at a moment."""

    compared: Comparison
    sampled: Sample
    at: datetime

    @property
    def overdue(self) -> Sequence[Difference]:
        """What should be the same by now, or was not changed by anybody who may."""
        return [one for one in self.compared.differences if one.since is None or self.at - one.since > ALLOWED_LAG]

    @property
    def verdict(self) -> Verdict:
        if self.overdue or self.sampled.damaged:
            return Verdict.BROKEN
        return Verdict.BEHIND if self.compared.differences else Verdict.AGREES

    @property
    def lags(self) -> Mapping[Zone, Lag]:
        return lag(self.compared.differences, self.at)

    @property
    def counts(self) -> Mapping[str, int]:
        found = Counter(one.kind for one in self.compared.differences)
        return {kind.value: found[kind] for kind in Kind}

    def to_json(self) -> Mapping[str, Any]:
        return {
            "verdict": self.verdict,
            "objects": self.compared.objects,
            **self.counts,
            "overdue": [one.key for one in self.overdue],
            "sampled": self.sampled.files,
            "damaged": list(self.sampled.damaged),
            "lag": {
                zone.value: {"objects": one.objects, "bytes": one.bytes, "seconds": one.age.total_seconds()}
                for zone, one in self.lags.items()
            },
        }


def verify(source: ObjectStore, copy: ObjectStore, deletions: Deletions, clock: Clock) -> Verification:
    """Two listings, and the bytes of a few files, of other ones each time. Raises the stores' errors."""
    compared = compare(source, copy, deletions)
    return Verification(compared, sample(copy, compared, clock.now().microsecond), clock.now())


def _there(store: ObjectStore, key: str) -> bool:
    try:
        store.size(key)
    except ObjectNotFound:
        return False
    return True
