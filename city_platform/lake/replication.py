"""Keeping a copy of the lake in another place, with the choices of foundation.yaml for S3's own replication.

Everything is copied, what is older than the copy, too. What was deleted on purpose is deleted in the copy; what is
only gone is not, so that nobody loses both by losing one.

S3 copies in no order. Here a reader of the copy finds what he would have found in the lake at some moment: what names
other objects is listed before them and copied after them (`rank`), a manifest only when its files are there, and
nothing is deleted before the notes and manifests are there that were written before it was. Whoever dies in between
leaves a copy like that, and the next call does the rest. One call at a time writes a copy.
"""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from city_platform.errors import PermanentError
from city_platform.lake.lake import MANIFESTS, PRUNED, sha256_of
from city_platform.lake.manifest import Manifest, UnreadableManifest
from city_platform.lake.replica import listed, rank, same
from city_platform.ports import Deletion, DeletionLog, ObjectNotFound, ObjectStore, StoredObject, StoreUnavailable

_DYING = timedelta(days=1)  # from noting a deletion to deleting nobody takes longer


class NotItsCopy(PermanentError):
    """What is never written anew is something else in the copy: it is another lake's, or one of the two was changed."""


class CopyStore(ObjectStore, Protocol):
    """A store that keeps of a copy when the original was written."""

    def put_copy(self, key: str, file: Path, modified: datetime) -> None:
        """As `put_file`; `modified` says that moment from then on."""
        ...


@dataclass(slots=True)
class Replicated:
    """What a call did. `held` are objects that changed or went meanwhile, or wait for such: the next call's.

    `damaged` are files of the source that are not what their manifest says: no call copies them.
    """

    copied: int = 0
    bytes: int = 0
    deleted: int = 0
    held: dict[str, str] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)


def replicate(source: ObjectStore, copy: CopyStore, deletions: DeletionLog, now: datetime) -> Replicated:
    """Brings the copy up to date with the source as it is now; `deletions` are the source's. Again, it does nothing.

    Raises NotItsCopy before anything is changed, and the stores' errors.
    """
    deletions.begin()
    noted = deletions.pending()  # before the listing: what was written before a deletion is copied before it
    originals = list(listed(source))
    there = {one.key: one for one in listed(copy)}
    work = _Copying(source, copy, there.values())
    due = [one for one in originals if not same(one, there.get(one.key))]
    for one in due:
        if one.key in there and _is_final(one.key) and source.get(one.key) != copy.get(one.key):
            raise NotItsCopy(
                f"{one.key} is not the same in the lake and its copy, and nobody writes it twice. Where the lake was "
                "lost and begun anew, put that away and restore from the copy; where it was changed, bring it back; "
                "for another lake name another folder"
            )
    # A file that is there and differs was damaged: what it has to be, the earlier manifests of its dataset say.
    wanted = {one.key for one in due}
    differing = {_dataset(key) for key in wanted & there.keys() if rank(key) == 0}
    manifests = [one.key for one in originals if _is_manifest(one.key)]
    work.copy(due, [key for key in manifests if key in wanted or _dataset(key.partition("/")[2]) in differing])
    for deletion in sorted(noted, key=lambda each: -rank(each.key)):
        work.delete(deletion, deletions, now)
    return work.done


def restore(copy: ObjectStore, source: CopyStore, deletions: DeletionLog) -> Replicated:
    """Brings back into the source what it does not have and nobody deleted from it. What is there stays as it is."""
    there, kept = list(listed(source)), list(listed(copy))
    not_wanted = {one.key for one in there} | {one.key for one in deletions.pending()}
    work = _Copying(copy, source, there)
    work.copy([one for one in kept if one.key not in not_wanted], [one.key for one in kept if _is_manifest(one.key)])
    return work.done


def remove_extra(copy: ObjectStore, keys: Iterable[str]) -> int:
    """Deletes from the copy what its source does not have any more; how many objects these were."""
    going = sorted(keys, key=lambda one: (-rank(one), one))
    for key in going:
        copy.delete(key)
    return len(going)


class _Copying:
    """Copies objects in the order of their ranks; `there` is what the copy has."""

    def __init__(self, source: ObjectStore, copy: CopyStore, there: Iterable[StoredObject]) -> None:
        self._source = source
        self._copy = copy
        self._sizes = {one.key: one.bytes for one in there}
        self.done = Replicated()

    def copy(self, due: Sequence[StoredObject], manifests: Sequence[str]) -> None:
        """`manifests` say what the bytes of files have to be."""
        digests: dict[str, str] = {}
        names: dict[str, dict[str, int]] = {}
        for key in manifests:
            try:
                files = Manifest.from_json(self._source.get(key)).files
            except (ObjectNotFound, UnreadableManifest):
                continue  # it went; or it is of another version of the platform, and then only bytes
            digests |= {one.key: one.sha256 for one in files}
            names[key] = {one.key: one.bytes for one in files}
        for one in sorted(due, key=lambda each: (rank(each.key), each.key)):
            lacking = [key for key, size in names.get(one.key, {}).items() if self._sizes.get(key) != size]
            if lacking and PRUNED + one.key.removeprefix(MANIFESTS) not in self._sizes:
                self.done.held[one.key] = f"{lacking[0]} is not there, which it names"
                continue
            self._one(one, digests.get(one.key))

    def delete(self, noted: Deletion, deletions: DeletionLog, now: datetime) -> None:
        """Repeats a deletion. One that did not happen is forgotten when whoever noted it must be dead."""
        try:
            written = self._source.modified(noted.key)
        except ObjectNotFound:
            self._copy.delete(noted.key)
            self.done.deleted += 1
        else:
            if written <= noted.at and now - noted.at < _DYING:
                return
        deletions.forget(noted)

    def _one(self, one: StoredObject, sha256: str | None) -> None:
        unfinished = self._copy.scratch() / uuid4().hex
        try:
            shutil.copyfile(self._source.local_path(one.key), unfinished)
            facts = (self._source.size(one.key), self._source.modified(one.key))
            if facts != (one.bytes, one.modified) or unfinished.stat().st_size != one.bytes:
                self.done.held[one.key] = "it was written anew meanwhile"
            elif sha256 is not None and sha256_of(unfinished) != sha256:
                self.done.damaged.append(one.key)
            else:
                self._copy.put_copy(one.key, unfinished, one.modified)
                self._sizes[one.key] = one.bytes
                self.done.copied += 1
                self.done.bytes += one.bytes
        except (ObjectNotFound, FileNotFoundError):
            self.done.held[one.key] = "it was deleted meanwhile"
        except OSError as error:
            raise StoreUnavailable(f"cannot copy {one.key}: {error.strerror}") from error
        finally:
            unfinished.unlink(missing_ok=True)


def _is_final(key: str) -> bool:
    """Whether nobody ever writes the object a second time: manifests, notes of pruning, entries of the audit log."""
    return key.startswith((f"{MANIFESTS}/", f"{PRUNED}/", "audit/"))


def _dataset(key: str) -> str:
    """Whose the file of a layer is; of a manifest what lies below its folder says so alike."""
    return "/".join(key.split("/")[1:2])


def _is_manifest(key: str) -> bool:
    return key.startswith(f"{MANIFESTS}/")
