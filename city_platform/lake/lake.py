"""Publishing and reading partitions.

Layout of keys:
    {layer}/{dataset}/{granularity}={partition}/{version}-{sequence}/{part}/{file}   data, immutable, Hive style
    manifests/{layer}/{dataset}/{partition}/{sequence}.json   what is published; the highest one counts
    pruned/{layer}/{dataset}/{partition}/{sequence}.json      that manifest's files are gone, or about to go

Nobody writes a data file's key again once a later manifest is there, because the number in it is used up. So what no
manifest names can be removed without asking who else might be writing it (see `pruning`).
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from city_platform.contracts.partitions import partition_folder
from city_platform.errors import PermanentError, TransientError
from city_platform.lake.manifest import Manifest, StoredFile, UnreadableManifest, version_of
from city_platform.ports import Clock, ObjectExists, ObjectNotFound, ObjectStore


class NotPublished(PermanentError):
    """The partition of that layer has never been published."""


class PublishedMeanwhile(TransientError):
    """Another run published other content for the same partition first; run again on what is there now."""


class VersionPruned(ObjectNotFound):
    """The version existed, and its files were removed to make room."""


@dataclass(frozen=True, slots=True)
class Published:
    """One manifest of a partition's history. `pruned_at` is aware, None where its files are there."""

    manifest: Manifest
    pruned_at: datetime | None


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A finished file on its way into the lake, still in the scratch folder."""

    path: Path
    rows: int
    sha256: str

    @classmethod
    def of(cls, path: Path, rows: int) -> "StagedFile":
        return cls(path, rows, sha256_of(path))


MANIFESTS, PRUNED = "manifests", "pruned"
_NUMBERED = re.compile(rf"({MANIFESTS}|{PRUNED})(/[^/]+){{3}}/[0-9]{{10}}\.json")
_NAMED = 30  # partitions that an error names, the newest


def sha256_of(path: Path) -> str:
    """The file's SHA-256 as hexadecimal digits, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(slots=True)
class Bytes:
    """Bytes of files, counted since somebody last asked."""

    bytes: int = 0

    def take(self) -> int:
        """The bytes since the last call."""
        taken, self.bytes = self.bytes, 0
        return taken


@dataclass(frozen=True, slots=True)
class Lake:
    """The one place that reads and writes manifests.

    `opened` counts files as they are given out to be read, each as a whole and as often as it is given out: which of
    its columns an engine decodes, and how often a query goes over them, is the engine's own. `written` counts files as
    they are put into the store; those that a version only refers to were written by another.
    """

    store: ObjectStore
    clock: Clock
    opened: Bytes = field(default_factory=Bytes, compare=False, repr=False)
    written: Bytes = field(default_factory=Bytes, compare=False, repr=False)

    def numbered(self, prefix: str) -> list[str]:
        """The keys of manifests, or of notes, in order; what else somebody has put beside them is none."""
        return [key for key in self.store.keys(prefix) if _NUMBERED.fullmatch(key)]

    def manifest(self, key: str) -> Manifest:
        """The manifest under a key; raises UnreadableManifest, which says what can be done."""
        try:
            return Manifest.from_json(self.store.get(key))
        except UnreadableManifest as error:
            raise UnreadableManifest(
                f"{key}: {error}. Restore it from a backup; if there is none, remove it: the one before counts then"
            ) from None

    def latest(self, layer: str, dataset: str, partition: str) -> Manifest | None:
        """The newest published version, or None."""
        keys = self.numbered(_manifests(layer, dataset, partition))
        return self.manifest(keys[-1]) if keys else None

    def require(self, layer: str, dataset: str, partition: str) -> Manifest:
        """The newest published version; raises NotPublished."""
        manifest = self.latest(layer, dataset, partition)
        if manifest is None:
            there = ", ".join(self.partitions(layer, dataset)[-_NAMED:])
            raise NotPublished(
                f"{dataset}/{layer} has no data for {partition}: materialize {layer} of that partition first"
                + (f", or ask for one of: {there}" if there else "")
            )
        return manifest

    def history(self, layer: str, dataset: str, partition: str) -> Iterator[Manifest]:
        """All published versions, oldest first, those included whose files are gone (see `versions`)."""
        for key in self.numbered(_manifests(layer, dataset, partition)):
            yield self.manifest(key)

    def versions(self, layer: str, dataset: str, partition: str) -> Sequence[Published]:
        """As `history`, with what became of each one's files."""
        pruned = {
            sequence_of(key): self._pruned_at(key) for key in self.numbered(f"{PRUNED}/{layer}/{dataset}/{partition}/")
        }
        return [Published(one, pruned.get(one.sequence)) for one in self.history(layer, dataset, partition)]

    def before(self, layer: str, dataset: str, partition: str, version: str) -> Manifest | None:
        """The newest published manifest of another version, or None."""
        for key in reversed(self.numbered(_manifests(layer, dataset, partition))):
            manifest = self.manifest(key)
            if manifest.version != version:
                return manifest
        return None

    def partitions(self, layer: str, dataset: str) -> Sequence[str]:
        """The partitions published at least once, in order."""
        prefix = f"{MANIFESTS}/{layer}/{dataset}/"
        return sorted({key[len(prefix) :].split("/", 1)[0] for key in self.numbered(prefix)})

    def paths(self, manifest: Manifest, part: str) -> Sequence[Path]:
        """Local files holding a part's rows, in order; `opened` counts them. Raises VersionPruned, and ObjectNotFound
        where it is not known why a file is gone.
        """
        files = manifest.parts.get(part, ())
        try:
            paths = [self.store.local_path(file.key) for file in files]
        except ObjectNotFound as error:
            try:
                pruned_at = self._pruned_at(_key(PRUNED, manifest))
            except ObjectNotFound:
                raise error from None
            raise VersionPruned(
                f"version {manifest.version} of {manifest.dataset}/{manifest.layer} {manifest.partition} was pruned at "
                f"{pruned_at.isoformat()}: its files are gone"
            ) from error
        self.opened.bytes += sum(file.bytes for file in files)
        return paths

    def addresses(self, manifest: Manifest, part: str) -> Sequence[str]:
        """The store's addresses of the files holding a part's rows, in order, for a reader beside this process.

        `opened` counts them. Whether they are there, the reader finds.
        """
        files = manifest.parts.get(part, ())
        self.opened.bytes += sum(file.bytes for file in files)
        return [self.store.uri(file.key) for file in files]

    def manifest_uri(self, manifest: Manifest) -> str:
        """Where a person or a program finds the published manifest."""
        return self.store.uri(_key(MANIFESTS, manifest))

    def publish(
        self,
        layer: str,
        dataset: str,
        partition: str,
        *,
        inputs: Mapping[str, str],
        parts: Mapping[str, Sequence[StagedFile | StoredFile]],
        counts: Mapping[str, int],
        schema: Sequence[tuple[str, str]],
        preview: Sequence[Mapping[str, Any]] = (),
        details: Mapping[str, Any] | None = None,
        base: int | None = None,
    ) -> Manifest:
        """Moves the staged files into the lake, then makes them visible by one conditional write.

        A part may also name files that are in the lake already; they are referred to, not moved. `base` is the
        sequence the caller started from (0: nothing was published); give it where this version builds on that one.

        A reader sees the version before or this one, never a mixture, whenever the writer dies. Files that
        the newest version has already are referred to; saying the same again writes nothing and returns the newest.
        Raises PublishedMeanwhile when another writer won.
        """
        version = version_of_files(parts)
        newest = self.latest(layer, dataset, partition)
        sequence = (base if base is not None else newest.sequence if newest else 0) + 1
        folder = f"{layer}/{dataset}/{partition_folder(partition)}/{version}-{sequence}"
        arriving: list[tuple[StoredFile, Path]] = []

        def stored(part: str, file: StagedFile | StoredFile) -> StoredFile:
            if isinstance(file, StoredFile):
                return file
            there = self._there(newest, part, file)
            if there is None:
                there = StoredFile(
                    f"{folder}/{part}/{file.path.name}", file.path.stat().st_size, file.sha256, file.rows
                )
                arriving.append((there, file.path))
            return there

        manifest = Manifest(
            layer=layer,
            dataset=dataset,
            partition=partition,
            sequence=sequence,
            version=version,
            inputs=dict(inputs),
            parts={part: [stored(part, file) for file in files] for part, files in parts.items()},
            counts=dict(counts),
            schema=list(schema),
            published_at=self.clock.now(),
            preview=list(preview),
            details=dict(details or {}),
        )
        for file, path in arriving:
            self.store.put_file(file.key, path)
            self.written.bytes += file.bytes
        if newest is not None and _same(newest, manifest):
            return newest
        return self._put(manifest)

    def restore(self, layer: str, dataset: str, partition: str, version: str) -> Manifest:
        """Makes an earlier version the newest again.

        Raises NotPublished if there was none such, VersionPruned if its files are gone, PublishedMeanwhile.
        """
        # The number is taken from what is newest before anybody looks at what was pruned: pruning takes that number.
        newest = self.require(layer, dataset, partition)
        found = [one for one in self.versions(layer, dataset, partition) if one.manifest.version == version]
        for one in reversed(found):
            if one.pruned_at is None:
                for file in one.manifest.files:
                    self.store.size(file.key)
                return self._put(replace(one.manifest, sequence=newest.sequence + 1, published_at=self.clock.now()))
        if found:
            raise VersionPruned(
                f"version {version} of {dataset}/{layer} {partition} was pruned at {found[-1].pruned_at}: its files "
                "are gone; make it again from its sources"
            )
        raise NotPublished(f"{dataset}/{layer} {partition} never had a version {version}")

    def renumber(self, layer: str, dataset: str, partition: str) -> Manifest:
        """Publishes the newest version once more, unchanged, under the next number.

        Whoever began to publish before has to look again at what there is. Raises NotPublished, PublishedMeanwhile.
        """
        newest = self.require(layer, dataset, partition)
        return self._put(replace(newest, sequence=newest.sequence + 1))

    def mark_pruned(self, manifest: Manifest) -> None:
        """Says that the manifest's files are gone, before they are. Saying it again changes nothing."""
        note = {"version": manifest.version, "pruned_at": self.clock.now().isoformat(), "bytes": manifest.size}
        with suppress(ObjectExists):
            self.store.put(_key(PRUNED, manifest), json.dumps(note).encode(), create_only=True)

    def is_pruned(self, manifest: Manifest) -> bool:
        """Whether it is noted that the manifest's files are gone."""
        try:
            self._pruned_at(_key(PRUNED, manifest))
        except ObjectNotFound:
            return False
        return True

    def pruned(self, layer: str, dataset: str) -> frozenset[tuple[str, int]]:
        """Partition and number of every version of the layer whose files are gone."""
        keys = self.numbered(f"{PRUNED}/{layer}/{dataset}/")
        return frozenset((key.split("/")[3], sequence_of(key)) for key in keys)

    def _pruned_at(self, key: str) -> datetime:
        """What a note says. Raises UnreadableManifest."""
        try:
            return datetime.fromisoformat(json.loads(self.store.get(key))["pruned_at"])
        except (ValueError, TypeError, KeyError) as error:
            raise UnreadableManifest(
                f"{key}: not a note of what was pruned. Remove it: the next pruning writes it again"
            ) from error

    def _put(self, manifest: Manifest) -> Manifest:
        try:
            self.store.put(_key(MANIFESTS, manifest), manifest.to_json(), create_only=True)
        except ObjectExists as error:
            raise PublishedMeanwhile(
                f"another run published {manifest.dataset}/{manifest.layer} {manifest.partition} at the same time; "
                "run this one again"
            ) from error
        return manifest

    def _there(self, newest: Manifest | None, part: str, file: StagedFile) -> StoredFile | None:
        """The newest version's file of that name and content, if it is where it should be."""
        for one in newest.parts.get(part, ()) if newest else ():
            facts = (_file_name(one), one.sha256, one.bytes, one.rows)
            if facts == (file.path.name, file.sha256, file.path.stat().st_size, file.rows):
                with suppress(ObjectNotFound):
                    if self.store.size(one.key) == one.bytes:
                        return one
        return None


def version_of_files(parts: Mapping[str, Sequence[StagedFile | StoredFile]]) -> str:
    """The version under which these files would be published."""
    return version_of({part: [(_file_name(file), file.sha256) for file in files] for part, files in parts.items()})


def _file_name(file: StagedFile | StoredFile) -> str:
    return file.path.name if isinstance(file, StagedFile) else file.key.rsplit("/", 1)[-1]


def sequence_of(key: str) -> int:
    """The number in the key of a manifest, or of the note that it was pruned."""
    return int(key.rpartition("/")[2].removesuffix(".json"))


def _manifests(layer: str, dataset: str, partition: str) -> str:
    return f"{MANIFESTS}/{layer}/{dataset}/{partition}/"


def _key(prefix: str, manifest: Manifest) -> str:
    return f"{prefix}/{manifest.layer}/{manifest.dataset}/{manifest.partition}/{manifest.sequence:010d}.json"


def _same(one: Manifest, other: Manifest) -> bool:
    """Whether two manifests say the same but for when they were published."""
    return one.to_json() == replace(other, sequence=one.sequence, published_at=one.published_at).to_json()
