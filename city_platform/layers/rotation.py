"""Rotating the keys of the encrypted layer: a fresh version of the master keys, and everything wrapped under it.

Data files stay as they are. Their data keys are wrapped anew, and the partition is published again with the new key
material beside the same data files, so readers see the version before or the new one and both open. The older versions
under the older keys are not wrapped again: pruning removes them a day after they were replaced, whatever the contract
keeps. After that the older versions of the master keys can be retired.

The audit log is the rotation's journal: `rotate keys` before a key changes, with the ids so far, and `keys rotated`
at the end. Whoever dies in between is followed by a call that goes on there and makes no further version.

AWS KMS rotates the material of a key itself, and nothing here has to be done for that. What `rotate` is for there is
another key: the infrastructure points the alias at it, and `…/previous` at the one before.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from city_platform.contracts.model import Classification
from city_platform.errors import PermanentError
from city_platform.governance.audit import Entry
from city_platform.lake.lake import PublishedMeanwhile, StagedFile
from city_platform.lake.manifest import Manifest, StoredFile
from city_platform.lake.pruning import KEY_IDS, SAFE_AGE
from city_platform.lake.sink import workspace
from city_platform.layers import encrypted
from city_platform.layers.platform import Platform
from city_platform.ports import KeyNotFound, ObjectNotFound, VersionedKeys
from city_platform.protection.classification import master_key, master_keys
from city_platform.protection.encryption import KEY_MATERIAL_PREFIX, wrapped_keys
from city_platform.protection.encryption import rotate as wrap_anew
from city_platform.protection.masking import pseudonym_key_place, wrap_pseudonym_key_again

ROTATING, ROTATED, RETIRED = "rotate keys", "keys rotated", "retire keys"
_ATTEMPTS = 10  # at one partition that others publish at the same time


class KeyVersionInUse(PermanentError):
    """Something can only be read with an older version of a key; `uses` says what."""

    def __init__(self, dataset: str, uses: Sequence[str]) -> None:
        self.uses = tuple(uses)
        super().__init__(
            f"the older key versions of {dataset} are still needed: {'; '.join(uses)}. Nothing was changed."
        )


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did. `keys` maps master keys to the ids that encrypt now; `older` versions are under others."""

    dataset: str
    resumed: bool  # it went on with one that had not come to its end, or renewed what came late; no new version
    keys: Mapping[str, str]
    partitions: tuple[str, ...]  # whose data keys were wrapped anew
    older: int

    def to_json(self) -> Mapping[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def rotate(
    platform: Platform,
    dataset: str,
    classifications: Sequence[Classification] = (Classification.INTERNAL, Classification.PERSONAL),
    *,
    account: str,
    versions: VersionedKeys | None,
) -> Rotation:
    """Gives the dataset's keys a new version and wraps everything under it; finishes an unfinished rotation instead.

    `versions` makes them; None where they are made elsewhere, as in KMS. Raises the errors of key service, store and
    log, and PublishedMeanwhile: call it again.
    """
    entry = _unfinished(platform, dataset)
    ids = _ids(platform, dataset)
    late = entry is None and any(_behind(one, ids) for one in _newest(platform, dataset))
    resumed = late or entry is not None
    if entry is None:
        keys = {key: platform.keys.current(key) for key in (master_key(dataset, one) for one in classifications)}
        facts = {"dataset": dataset, "keys": keys, "new_versions": versions is not None and not late}
        entry = platform.audit.append(actor=account, account=account, action=ROTATING, facts=facts)
    for key, before in entry.facts["keys"].items():
        if versions is not None and entry.facts["new_versions"] and platform.keys.current(key) == before:
            versions.rotate(key)
    wrapped = [one for one in platform.lake.partitions(encrypted.LAYER, dataset) if _wrap(platform, dataset, one)]
    wrap_pseudonym_key_again(platform.keys, platform.lake.store, dataset)
    now = {key: platform.keys.current(key) for key in entry.facts["keys"]}
    facts = {"dataset": dataset, "keys": now, "partitions": len(wrapped)}
    platform.audit.append(actor=account, account=account, action=ROTATED, facts=facts)
    return Rotation(dataset, resumed, now, tuple(wrapped), sum(1 for _ in _older(platform, dataset)))


def retire(platform: Platform, dataset: str, *, account: str, versions: VersionedKeys) -> Mapping[str, int]:
    """Destroys the older versions of the dataset's keys, once nothing needs them; how many of each.

    Raises KeyVersionInUse with everything that does, and the errors of key service, store and log.
    """
    # Before anybody looks: should a key be rotated meanwhile, what was found to be under these ids still opens.
    keys: dict[str, str] = {}
    for key in master_keys(dataset):
        with suppress(KeyNotFound):  # a dataset with pseudonyms and nothing encrypted has one of the two
            keys[key] = versions.current(key)
    uses = list(_uses(platform, dataset, keys, versions))
    if uses:
        raise KeyVersionInUse(dataset, uses)
    platform.audit.append(actor=account, account=account, action=RETIRED, facts={"dataset": dataset, "kept": keys})
    return {key: versions.retire(key, kept) for key, kept in keys.items()}


def _entries(platform: Platform, dataset: str) -> list[Entry]:
    """The dataset's rotations in the log, oldest first."""
    entries = platform.audit.read().entries
    return [one for one in entries if one.action in {ROTATING, ROTATED} and one.facts.get("dataset") == dataset]


def _unfinished(platform: Platform, dataset: str) -> Entry | None:
    entries = _entries(platform, dataset)
    return entries[-1] if entries and entries[-1].action == ROTATING else None


def _newest(platform: Platform, dataset: str) -> Iterator[Manifest]:
    for partition in platform.lake.partitions(encrypted.LAYER, dataset):
        yield platform.lake.require(encrypted.LAYER, dataset, partition)


def _behind(manifest: Manifest, ids: Mapping[str, str]) -> bool:
    """Whether its data keys are, or may be, wrapped under something else than `ids`."""
    return bool(manifest.details["keys"]) and manifest.details.get(KEY_IDS) != ids


def _ids(platform: Platform, dataset: str) -> Mapping[str, str]:
    """What encrypts now, of every key; nothing is asked where nothing is encrypted, and the keys may not be there."""
    if not platform.lake.partitions(encrypted.LAYER, dataset):
        return {}
    return {key: platform.keys.current(key) for key in master_keys(dataset)}


def _wrap(platform: Platform, dataset: str, partition: str) -> bool:
    """Publishes the partition with its data keys wrapped anew; False where they are."""
    lake = platform.lake
    for attempt in range(1, _ATTEMPTS + 1):
        newest = lake.require(encrypted.LAYER, dataset, partition)
        ids = _ids(platform, dataset)
        if not _behind(newest, ids):
            return False
        with workspace(lake) as folder:
            parts = {
                part: [_renewed(platform, newest, one, folder) for one in newest.parts[part]] for part in newest.parts
            }
            try:
                lake.publish(
                    newest.layer,
                    dataset,
                    partition,
                    inputs=newest.inputs,
                    parts=parts,
                    counts=newest.counts,
                    schema=newest.schema,
                    preview=newest.preview,
                    details={**newest.details, KEY_IDS: ids},
                    base=newest.sequence,
                )
            except PublishedMeanwhile:
                if attempt == _ATTEMPTS:
                    raise
            else:
                return True
    return False


def _renewed(platform: Platform, manifest: Manifest, file: StoredFile, folder: Path) -> StoredFile | StagedFile:
    """The file itself; of key material its successor."""
    name = file.key.rpartition("/")[2]
    if not name.startswith(KEY_MATERIAL_PREFIX):
        return file
    copy = folder / name
    shutil.copyfile(platform.lake.store.local_path(file.key), copy)
    wrap_anew([copy], dataset=manifest.dataset, partition=manifest.partition, keys=platform.keys)
    return StagedFile.of(copy, file.rows)


def _older(platform: Platform, dataset: str) -> Iterator[Manifest]:
    """The versions whose files are there and whose keys are not those of today."""
    lake, ids = platform.lake, _ids(platform, dataset)
    for partition in lake.partitions(encrypted.LAYER, dataset):
        for one in lake.versions(encrypted.LAYER, dataset, partition):
            if one.pruned_at is None and _behind(one.manifest, ids):
                yield one.manifest


def _uses(platform: Platform, dataset: str, ids: Mapping[str, str], versions: VersionedKeys) -> Iterator[str]:
    """What a version of a key other than that of `ids` is needed for, or may be."""
    store = platform.lake.store
    rotated = _entries(platform, dataset)
    if rotated and rotated[-1].action == ROTATING:
        yield f"the rotation of {rotated[-1].at.isoformat()} has not come to its end: `keys rotate {dataset}` goes on"
    elif rotated and platform.clock.now() - rotated[-1].at < SAFE_AGE:
        until = (rotated[-1].at + SAFE_AGE).isoformat(timespec="seconds")
        yield f"a run that began before the rotation may still write under them: wait until {until}"
    for partition in platform.lake.partitions(encrypted.LAYER, dataset):
        for one in platform.lake.versions(encrypted.LAYER, dataset, partition):
            made = one.manifest
            names = (
                [file.key for file in made.files if KEY_MATERIAL_PREFIX in file.key] if one.pruned_at is None else []
            )
            if any(
                versions.id_of(sealed) != ids.get(master)
                for key in names
                for master, sealed in wrapped_keys(store.get(key))
            ):
                yield f"version {made.version} of {partition}: rotate or prune it"
    try:
        secret = store.get(pseudonym_key_place(dataset))
    except ObjectNotFound:
        return
    if versions.id_of(secret) != ids.get(master_key(dataset, Classification.PERSONAL)):
        yield "the secret of the pseudonyms: rotate the keys"
