"""Removes a person from the lake of incidents, old versions included, and looks afterwards whether anything is left.

The way goes by what is found and keeps no list: whatever object names the person puts its partition among those to be
made anew. So it can be killed at any moment and run again, and the last look is the first one's question once more.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from re import Pattern

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from city_platform.datasets import Dataset
from city_platform.errors import CityPlatformError, PermanentError
from city_platform.incidents.erasure import pattern_of
from city_platform.incidents.export import IncidentExport
from city_platform.incidents.segments import PREFIX as PENDING
from city_platform.incidents.stream import Row
from city_platform.lake.lake import MANIFESTS, PRUNED, Lake
from city_platform.lake.manifest import Manifest
from city_platform.layers import encrypted, freshness, open_incidents, profile, questions
from city_platform.layers.platform import Platform
from city_platform.ports import ObjectNotFound
from city_platform.protection.encryption import is_key_material, read_encrypted

_PLACES = ("incidents/", PENDING + "/", "exports/incidents/dead/")  # beside what manifests name
_COPIED = (
    "the lake's copy still has it: it follows within a quarter of an hour, then run again; what went from the lake "
    "while no copy was kept goes by `city-platform lake replica sync --remove-extra`"
)
_NAMELESS = "no manifest names it: a run is writing it or died over it; prune the lake, then run again"

Place = tuple[str, str]  # layer and partition
Remake = Callable[[str, Sequence[str]], None]  # of a partition's layers, in order


class UnknownPartition(PermanentError):
    """An encrypted file that no version of any partition names."""


@dataclass(slots=True)
class Search:
    """What a look through the lake found: objects that name the person, and those that nobody could look into."""

    objects: int = 0
    found: list[str] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)  # and why


@dataclass(slots=True)
class Erased:
    """What was done in the lake. `remaining` says of each object that still names the person why it is there."""

    looked_into: int = 0
    found: int = 0
    days_rewritten: list[str] = field(default_factory=list)
    partitions_made_anew: int = 0
    old_versions_removed: int = 0
    objects_removed: int = 0
    remaining: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LakeEraser:
    """Of the dataset `incidents`. `remake` makes layers of a partition again, through whoever runs such work.

    `copy` is the lake's copy in another place, where there is one; `replicate` has it follow, where that is ours to do.
    """

    platform: Platform
    dataset: Dataset
    export: IncidentExport
    pseudonym: Callable[[str], str]
    publish_open_data: Callable[[], None]
    remake: Remake
    copy: Lake | None = None
    replicate: Callable[[], object] = lambda: None

    def search(self, names: Pattern[str]) -> Search:
        """Every object of the dataset, in every version: manifests, files, segments, letters, records of reading."""
        done = Search()
        # Of several versions with the same data file the newest has the wrapped keys that are there, and open.
        sealing = {file.key: one for _, one in self._manifests() if one.layer == encrypted.LAYER for file in one.files}
        for key in self._keys():
            done.objects += 1
            try:
                texts = self._texts(key, sealing.get(key))
                if any(names.search(text) for text in texts):
                    done.found.append(key)
            except ObjectNotFound as error:
                if key in self.platform.lake.store.keys(key):  # else it went meanwhile
                    done.unread[key] = f"{type(error).__name__}: {error}"
            except (CityPlatformError, pa.ArrowException, OSError) as error:  # Arrow tells damage by any of the two
                done.unread[key] = f"{type(error).__name__}: {error}"
        return done

    def erase(self, names: frozenset[str], subjects: frozenset[str], holder: str, *, dry_run: bool) -> Erased:
        """Rewrites, makes anew, removes what is old, and looks again. Raises ExportRunning and the ports' errors."""
        pseudonyms = frozenset(map(self.pseudonym, subjects))
        named = pattern_of({*names, *pseudonyms})
        first = self.search(named)
        done = Erased(first.objects, len(first.found))
        if dry_run:
            done.remaining = dict.fromkeys(first.found, "a dry run removes nothing") | first.unread | self._left(named)
            return done
        touched = self._touched(first.found)
        days = sorted({partition for _, partition in touched if partition != questions.EVERYTHING})
        for day in days:
            if self.export.rewrite(day, holder, lambda row: _without(row, pseudonyms)) is not None:
                done.days_rewritten.append(day)
        done.partitions_made_anew = self._make_anew(days, {layer for layer, _ in touched})
        self.publish_open_data()
        years = self.platform.lake.partitions(open_incidents.LAYER, self.dataset.name)
        kept = self._kept()
        for layer, partition in sorted({*self._of(days), *touched, *((open_incidents.LAYER, one) for one in years)}):
            self._remove_old(layer, partition, kept, done)
        self.replicate()
        last = self.search(named)
        done.remaining = self._why(last.found) | last.unread | self._left(named)
        return done

    def _left(self, names: Pattern[str]) -> dict[str, str]:
        """What the copy still has of the person, by its place there, and why."""
        if self.copy is None:
            return {}
        there = replace(self, platform=replace(self.platform, lake=self.copy), copy=None).search(names)
        left = dict.fromkeys(there.found, _COPIED) | there.unread
        return {self.copy.store.uri(key): why for key, why in left.items()}

    def _keys(self) -> Iterator[str]:
        for key in self.platform.lake.store.keys(""):
            place, *rest = key.split("/")
            if rest[place in (MANIFESTS, PRUNED) :][:1] == [self.dataset.name] or key.startswith(_PLACES):
                yield key

    def _texts(self, key: str, sealing: Manifest | None) -> Iterator[str]:
        if not key.endswith(".parquet"):
            yield self.platform.lake.store.get(key).decode(errors="replace")
            return
        for batch in self._sealed(key, sealing) if key.startswith(f"{encrypted.LAYER}/") else self._plain(key):
            for column in batch.columns:
                yield from texts_of(column)

    def _plain(self, key: str) -> Iterator[pa.RecordBatch]:
        yield from pq.ParquetFile(self.platform.lake.store.local_path(key)).iter_batches()

    def _sealed(self, key: str, version: Manifest | None) -> Iterator[pa.RecordBatch]:
        """Of the encrypted layer, whose wrapped keys are among the version's files and bound to its partition."""
        if version is None:
            raise UnknownPartition(_NAMELESS)
        material = [path for path in self.platform.lake.paths(version, "rows") if is_key_material(path)]
        yield from read_encrypted(
            [self.platform.lake.store.local_path(key), *material],
            dataset=self.dataset.name,
            partition=version.partition,
            keys=self.platform.keys,
        )

    def _manifests(self) -> Iterator[tuple[str, Manifest]]:
        lake = self.platform.lake
        for key in lake.numbered(f"{MANIFESTS}/"):
            if key.split("/")[2] == self.dataset.name:
                yield key, lake.manifest(key)

    def _touched(self, keys: Sequence[str]) -> set[Place]:
        """The partitions whose manifests, of any version, are or name one of the objects."""
        wanted = set(keys)
        return {
            (one.layer, one.partition)
            for key, one in self._manifests()
            if key in wanted or any(file.key in wanted for file in one.files)
        }

    def _of(self, days: Sequence[str]) -> set[Place]:
        """Everything that is published of these days, in every layer."""
        return {(one.layer, one.partition) for _, one in self._manifests() if one.partition in days}

    def _make_anew(self, days: Sequence[str], layers: set[str]) -> int:
        lake, name = self.platform.lake, self.dataset.name
        made = 0
        for day in days:
            there = {layer.LAYER for layer in freshness.LAYERS if lake.latest(layer.LAYER, name, day)}
            behind = [layer for layer in freshness.outdated(self.platform, self.dataset, day) if layer in there]
            if behind:
                self.remake(day, behind)
                made += len(behind)
            if lake.latest(profile.LAYER, name, day):
                profile.materialize(self.platform, self.dataset, day)
                made += 1
        if questions.LAYER in layers or (made and lake.latest(questions.LAYER, name, questions.EVERYTHING)):
            questions.materialize(self.platform, self.dataset)
            made += 1
        return made

    def _remove_old(self, layer: str, partition: str, kept: set[str], done: Erased) -> None:
        """All versions but the newest. Files go before the manifest that names them: a second run finds them by it."""
        lake, name = self.platform.lake, self.dataset.name
        prefix = f"{MANIFESTS}/{layer}/{name}/{partition}/"
        *old, _ = lake.numbered(prefix) or [""]
        for key in old:
            for file in lake.manifest(key).files:
                if file.key not in kept:
                    lake.store.delete(file.key)
                    done.objects_removed += 1
            lake.store.delete(key)
            done.old_versions_removed += 1

    def _kept(self) -> set[str]:
        """Files that the newest version of anything names."""
        newest: dict[Place, Manifest] = {}
        for _, one in self._manifests():  # in the order of their numbers
            newest[one.layer, one.partition] = one
        return {file.key for one in newest.values() for file in one.files}

    def _why(self, keys: Sequence[str]) -> dict[str, str]:
        """Of each of these objects, why it still names the person."""
        version_of = {
            key: one for place, one in self._manifests() for key in (place, *(file.key for file in one.files))
        }
        reasons = {}
        for key in keys:
            one = version_of.get(key)
            if key.startswith(PENDING):
                reasons[key] = "it waits for the next export: run again after that"
            elif one is not None:
                reasons[key] = (
                    f"the newest version of {one.layer} {one.partition} could not be made anew: its gate is closed or "
                    "its run failed; see to that, then run again"
                )
            else:
                reasons[key] = _NAMELESS
        return reasons


def texts_of(column: pa.Array) -> Iterator[str]:
    """The texts that a column holds, at whatever depth; equal ones once."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield "\n".join(one for one in column.unique().to_pylist() if one is not None)
    elif pa.types.is_dictionary(kind):
        yield from texts_of(column.dictionary)
    elif pa.types.is_map(kind):
        yield from texts_of(column.keys)
        yield from texts_of(column.items)
    elif pa.types.is_nested(kind):
        inner = column.flatten()
        for one in inner if pa.types.is_struct(kind) else [inner]:
            yield from texts_of(one)


def _without(row: Row, pseudonyms: frozenset[str]) -> Row:
    return msgspec.structs.replace(row, reporter=None) if row.reporter in pseudonyms else row
