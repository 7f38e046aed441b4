"""Landing: a source file's bytes enter the lake once, whole, with its rows split by partition.

One landing manifest per dataset lists the sources that count now. A file whose bytes are known is a no-op; a file
of a known name with other bytes is that source's new version and takes the place of the old one; any other file is
a source beside the others. The manifest is put last, so a file is landed for all its partitions or for none.
"""

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from city_platform.contracts.partitions import partition_folder
from city_platform.datasets import Dataset
from city_platform.engines.duckdb import DuckDBSession
from city_platform.errors import PermanentError
from city_platform.ingestion.formats import UnreadableSource
from city_platform.ingestion.headers import Drift
from city_platform.ingestion.split import Split, split_source
from city_platform.lake.lake import Lake, PublishedMeanwhile, StagedFile, sha256_of
from city_platform.lake.manifest import Manifest, StoredFile
from city_platform.lake.sink import workspace
from city_platform.layers.changes import same_rows
from city_platform.layers.platform import Platform

LAYER, EVERYTHING = "landing", "all"


class SourceChanged(PermanentError):
    """The file was written to while it was read."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a fetched file came from."""

    url: str
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class Source:
    """One source file that counts now. `rows_by_partition` says which file of the lake holds a partition's rows.

    `content_by_partition` names the rows themselves: a new version of the file that has the same rows of a partition,
    at other places of the file perhaps, keeps their name, and nothing is made again for it.
    """

    name: str
    sha256: str
    size: int
    landed_at: datetime
    rows: int
    unreadable: int
    unplaced: int
    headers: tuple[str, ...]
    present: Mapping[str, str]
    drift: tuple[Drift, ...]
    original: StoredFile
    rows_by_partition: Mapping[str, StoredFile]
    content_by_partition: Mapping[str, str] = field(default_factory=dict)
    rejects: tuple[StoredFile, ...] = ()
    origin: Origin | None = None  # None: somebody brought the file

    def content(self, partition: str) -> str:
        """The name of the partition's rows."""
        return self.content_by_partition.get(partition, self.rows_by_partition[partition].sha256)

    def to_json(self) -> Mapping[str, Any]:
        origin = self.origin and {"url": self.origin.url, "fetched_at": self.origin.fetched_at.isoformat()}
        return asdict(self) | {"landed_at": self.landed_at.isoformat(), "origin": origin}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Source":
        origin = body.get("origin")
        changed: dict[str, Any] = {
            "origin": origin and Origin(origin["url"], datetime.fromisoformat(origin["fetched_at"])),
            "landed_at": datetime.fromisoformat(body["landed_at"]),
            "headers": tuple(body["headers"]),
            "drift": tuple(Drift(**one) for one in body["drift"]),
            "original": StoredFile(**body["original"]),
            "rows_by_partition": {name: StoredFile(**file) for name, file in body["rows_by_partition"].items()},
            "rejects": tuple(StoredFile(**file) for file in body["rejects"]),
        }
        return cls(**{**body, **changed})


@dataclass(frozen=True, slots=True)
class Landing:
    """What landing one file did. `partitions` are those whose rows changed."""

    dataset: str
    source: Source
    known: bool  # the bytes were in the lake before: nothing was done
    partitions: tuple[str, ...] = field(default=())


def sources(lake: Lake, dataset: str) -> Sequence[Source]:
    """The sources that count now, in the order in which they landed."""
    return _sources_of(lake.latest(LAYER, dataset, EVERYTHING))


def _sources_of(manifest: Manifest | None) -> Sequence[Source]:
    return [Source.from_json(body) for body in manifest.details["sources"]] if manifest else []


def land(
    platform: Platform,
    dataset: Dataset,
    file: Path,
    progress: Callable[[int], None] | None = None,
    origin: Origin | None = None,
) -> Landing:
    """Lands one file. `progress` is told the rows read so far; `origin` says where it was fetched.

    Raises UnreadableSource or BreakingDrift, leaving the lake as it was; OSError if the file cannot be read.
    """
    refuse_unspeakable(file)
    lake = platform.lake
    before = _identity(file)
    # Only a file of a known file's size can have its bytes, so only then is it worth reading twice.
    if any(source.size == before[0] for source in sources(lake, dataset.name)):
        digest = sha256_of(file)
        for source in sources(lake, dataset.name):
            if source.sha256 == digest:
                return Landing(dataset.name, source, known=True)
    with workspace(lake) as folder:
        copy, rows = folder / "original", folder / "rows"
        rows.mkdir(mode=0o700)
        with ThreadPoolExecutor(1, thread_name_prefix="copy") as copier:
            copying = copier.submit(_copy, file, copy)
            try:
                split = split_source(file, dataset.contract, rows, progress, platform.clock.now())
            finally:
                digest = copying.result()
                if _identity(file) != before:
                    raise SourceChanged(f"{file.name} was written to while it was read: land it again when it is done")
        with platform.engine.session() as session:
            content = _kept_content(session, lake, dataset.name, file.name, split)
        source = _store(platform, dataset.name, file.name, digest, copy, split)
        source = replace(source, content_by_partition=content, origin=origin)
    replaced = _publish(lake, dataset, source)
    changed = {name for one in [*replaced, source] for name in one.rows_by_partition} - content.keys()
    return Landing(dataset.name, source, known=False, partitions=tuple(sorted(changed)))


def refuse_unspeakable(file: Path) -> None:
    """Raises UnreadableSource for a name that is no text, or not one that can be shown: manifests and logs hold it."""
    if not file.name.isprintable():
        raise UnreadableSource(ascii(file.name), "the file's name cannot be printed", "Rename it")


def _identity(file: Path) -> tuple[int, ...]:
    """What changes whenever somebody writes to the file or puts another in its place."""
    facts = file.stat()
    return facts.st_size, facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns


def _copy(file: Path, copy: Path) -> str:
    """Copies the file and returns the SHA-256 of the copy."""
    copy.touch(mode=0o600)
    shutil.copyfile(file, copy)
    return sha256_of(copy)


def _kept_content(session: DuckDBSession, lake: Lake, dataset: str, name: str, split: Split) -> Mapping[str, str]:
    """For each partition of which the file's older version has the same rows, the name they have there."""
    older = next((source for source in sources(lake, dataset) if source.name == name), None)
    if older is None or older.headers != tuple(split.headers):
        return {}
    kept = {}
    for part in split.partitions:
        there = older.rows_by_partition.get(part.partition)
        if there is None or there.rows != part.rows:
            continue
        if same_rows(session, lake.store.local_path(there.key), part.file, split.headers):
            kept[part.partition] = older.content(part.partition)
    return kept


def _store(platform: Platform, dataset: str, name: str, digest: str, copy: Path, split: Split) -> Source:
    """Puts the original and its rows into the lake; nothing refers to them until the manifest does.

    The keys of the rows hold the number of the manifest that may be the next: when the same bytes land again after
    others took their place, they are written anew, and not where old files are being removed.
    """
    store, prefix = platform.lake.store, f"raw/{dataset}"
    newest = platform.lake.latest(LAYER, dataset, EVERYTHING)
    name_of_rows = f"{digest[:16]}-{(newest.sequence if newest else 0) + 1}"

    def put(key: str, path: Path, rows: int, sha256: str | None = None) -> StoredFile:
        stored = StoredFile(key, path.stat().st_size, sha256 or StagedFile.of(path, rows).sha256, rows)
        store.put_file(key, path)
        return stored

    safe_name = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".") or "source"
    return Source(
        name=name,
        sha256=digest,
        size=copy.stat().st_size,
        landed_at=platform.clock.now(),
        rows=split.rows,
        unreadable=split.unreadable,
        unplaced=split.unplaced,
        headers=tuple(split.headers),
        present=dict(split.present),
        drift=tuple(split.drift),
        original=put(f"{prefix}/source/{digest}/{safe_name}", copy, split.rows, digest),
        rows_by_partition={
            part.partition: put(
                f"{prefix}/{partition_folder(part.partition)}/{name_of_rows}.parquet", part.file, part.rows
            )
            for part in split.partitions
        },
        rejects=tuple(
            put(f"{prefix}/rejects/{name_of_rows}-{path.name}", path, count)
            for path, count in ((split.unreadable_file, split.unreadable), (split.unplaced_file, split.unplaced))
            if path is not None
        ),
    )


def _publish(lake: Lake, dataset: Dataset, source: Source) -> Sequence[Source]:
    """Adds the source to those that count and returns the older ones it replaces.

    Those are the versions of the same file; of a snapshot every earlier list of its year, because what is no longer
    on the list no longer stands.

    Two files may land at once: whoever comes second starts again from what the first one published.
    """
    while True:
        newest = lake.latest(LAYER, dataset.name, EVERYTHING)
        before = _sources_of(newest)
        same_year = source.rows_by_partition.keys() if dataset.contract.partitioning.source_name is None else ()
        replaced = [
            old for old in before if old.name == source.name or any(one in same_year for one in old.rows_by_partition)
        ]
        current = [*(old for old in before if old not in replaced), source]
        try:
            lake.publish(
                LAYER,
                dataset.name,
                EVERYTHING,
                inputs={one.name: one.sha256 for one in current},
                parts={
                    "source": [one.original for one in current],
                    "rows": [file for one in current for file in one.rows_by_partition.values()],
                    "rejects": [file for one in current for file in one.rejects],
                },
                counts={
                    "rows": sum(one.rows for one in current),
                    "unreadable": sum(one.unreadable for one in current),
                    "unplaced": sum(one.unplaced for one in current),
                },
                schema=[],
                details={"sources": [one.to_json() for one in current]},
                base=newest.sequence if newest else 0,
            )
        except PublishedMeanwhile:
            continue
        return replaced
