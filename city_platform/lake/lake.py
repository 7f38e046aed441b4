"""Publishing and reading partitions.

Layout of keys:
    {layer}/{dataset}/{granularity}={partition}/{version}/{part}/{file}   data, immutable, Hive style
    manifests/{layer}/{dataset}/{partition}/{sequence}.json              what is published; the highest one counts
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from city_platform.contracts.partitions import partition_folder
from city_platform.errors import PermanentError, TransientError
from city_platform.lake.manifest import Manifest, StoredFile, version_of
from city_platform.ports import Clock, ObjectExists, ObjectStore


class NotPublished(PermanentError):
    """The partition of that layer has never been published."""


class PublishedMeanwhile(TransientError):
    """Another run published other content for the same partition first; run again on what is there now."""


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A finished file on its way into the lake, still in the scratch folder."""

    path: Path
    rows: int
    sha256: str

    @classmethod
    def of(cls, path: Path, rows: int) -> "StagedFile":
        return cls(path, rows, sha256_of(path))


_NAMED = 30  # partitions that an error names, the newest


def sha256_of(path: Path) -> str:
    """The file's SHA-256 as hexadecimal digits, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Lake:
    """The one place that reads and writes manifests."""

    store: ObjectStore
    clock: Clock

    def latest(self, layer: str, dataset: str, partition: str) -> Manifest | None:
        """The newest published version, or None."""
        keys = list(self.store.keys(_manifests(layer, dataset, partition)))
        return Manifest.from_json(self.store.get(keys[-1])) if keys else None

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
        """All published versions, oldest first."""
        for key in self.store.keys(_manifests(layer, dataset, partition)):
            yield Manifest.from_json(self.store.get(key))

    def before(self, layer: str, dataset: str, partition: str, version: str) -> Manifest | None:
        """The newest published manifest of another version, or None."""
        for key in reversed(list(self.store.keys(_manifests(layer, dataset, partition)))):
            manifest = Manifest.from_json(self.store.get(key))
            if manifest.version != version:
                return manifest
        return None

    def partitions(self, layer: str, dataset: str) -> Sequence[str]:
        """The partitions published at least once, in order."""
        prefix = f"manifests/{layer}/{dataset}/"
        return sorted({key[len(prefix) :].split("/", 1)[0] for key in self.store.keys(prefix)})

    def paths(self, manifest: Manifest, part: str) -> Sequence[Path]:
        """Local files holding a part's rows, in order."""
        return [self.store.local_path(file.key) for file in manifest.parts.get(part, ())]

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

        A reader sees the version before or this one, never a mixture, whenever the writer dies. Publishing what is
        already the newest version writes nothing and returns it. Raises PublishedMeanwhile when another writer won.
        """
        version = version_of_files(parts)
        folder = f"{layer}/{dataset}/{partition_folder(partition)}/{version}"
        newest = self.latest(layer, dataset, partition)
        manifest = Manifest(
            layer=layer,
            dataset=dataset,
            partition=partition,
            sequence=(base if base is not None else newest.sequence if newest else 0) + 1,
            version=version,
            inputs=dict(inputs),
            parts={part: [self._stored(f"{folder}/{part}", file) for file in files] for part, files in parts.items()},
            counts=dict(counts),
            schema=list(schema),
            published_at=self.clock.now(),
            preview=list(preview),
            details=dict(details or {}),
        )
        for part, files in parts.items():
            for file, stored in zip(files, manifest.parts[part], strict=True):
                if isinstance(file, StagedFile):
                    self.store.put_file(stored.key, file.path)
        if newest is not None and _same(newest, manifest):
            return newest
        try:
            key = f"{_manifests(layer, dataset, partition)}{manifest.sequence:010d}.json"
            self.store.put(key, manifest.to_json(), create_only=True)
        except ObjectExists as error:
            raise PublishedMeanwhile(
                f"another run published {dataset}/{layer} {partition} at the same time; run this one again"
            ) from error
        return manifest

    def restore(self, layer: str, dataset: str, partition: str, version: str) -> Manifest:
        """Makes an earlier version the newest again; raises NotPublished if there was none such."""
        newest = self.require(layer, dataset, partition)
        for manifest in self.history(layer, dataset, partition):
            if manifest.version == version:
                again = replace(manifest, sequence=newest.sequence + 1, published_at=self.clock.now())
                key = f"{_manifests(layer, dataset, partition)}{again.sequence:010d}.json"
                self.store.put(key, again.to_json(), create_only=True)
                return again
        raise NotPublished(f"{dataset}/{layer} {partition} never had a version {version}")

    @staticmethod
    def _stored(folder: str, file: StagedFile | StoredFile) -> StoredFile:
        if isinstance(file, StoredFile):
            return file
        return StoredFile(f"{folder}/{file.path.name}", file.path.stat().st_size, file.sha256, file.rows)


def version_of_files(parts: Mapping[str, Sequence[StagedFile | StoredFile]]) -> str:
    """The version under which these files would be published."""
    return version_of({part: [(_file_name(file), file.sha256) for file in files] for part, files in parts.items()})


def _file_name(file: StagedFile | StoredFile) -> str:
    return file.path.name if isinstance(file, StagedFile) else file.key.rsplit("/", 1)[-1]


def _manifests(layer: str, dataset: str, partition: str) -> str:
    return f"manifests/{layer}/{dataset}/{partition}/"


def _same(one: Manifest, other: Manifest) -> bool:
    """Whether two manifests say the same but for when they were published."""
    return one.to_json() == replace(other, sequence=one.sequence, published_at=one.published_at).to_json()
