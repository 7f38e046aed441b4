"""What a look of the sensors costs in calls of S3, at fourteen datasets in which nothing happens.

An idle look costs the same whatever the years, here three. With fifteen, as measured, it was 936 calls and is 31 for
`quality_failures`, 4,908 and 86 for `outdated_partitions`, 1,746 and 58 for `data_metrics`.
"""

import tempfile
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import takewhile
from math import ceil
from pathlib import Path

import dagster as dg
import pytest

from city_platform.datasets import Dataset, load_datasets
from city_platform.governance.audit import AuditLog
from city_platform.lake.lake import Lake, StagedFile, version_of_files
from city_platform.lake.manifest import StoredFile
from city_platform.lake.snapshot import KnownBytes, Snapshot
from city_platform.layers import cleaned, curated, encrypted, failures, landing, quality_checked, raw
from city_platform.layers.landing import Source
from city_platform.layers.metrics import measure_data
from city_platform.layers.platform import Platform
from city_platform.layers.surroundings import basis_of
from city_platform.local.event_bus import SqliteEventBus
from city_platform.local.platform import local_platform
from city_platform.ports import ObjectExists, ObjectNotFound, StoredObject
from city_platform.quality.results import Outcome
from resources import platform as resource
from sensors import data_metrics, outdated
from sensors import failures as failures_sensor
from tests.town import ROOT, StandingClock
from tests.verdicts import RESULT, VERDICT

YEARS = ["2022", "2023", "2024"]
CLOSED = 2  # gates


@dataclass
class CountedStore:
    """Objects in memory, with the calls that S3 would be asked: one for an object, one for a thousand listed."""

    clock: StandingClock
    folder: Path
    held: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)

    def get(self, key: str) -> bytes:
        self.calls["get"] += 1
        return self._held(key)[0]

    def put(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        self.calls["put"] += 1
        if create_only and key in self.held:
            raise ObjectExists(key)
        if key not in self.held:
            insort(self.order, key)
        self.held[key] = (data, self.clock.now())

    def put_file(self, key: str, file: Path) -> None:
        self.put(key, file.read_bytes())

    def size(self, key: str) -> int:
        self.calls["head"] += 1
        return len(self._held(key)[0])

    def modified(self, key: str) -> datetime:
        self.calls["head"] += 1
        return self._held(key)[1]

    def keys(self, prefix: str) -> Iterator[str]:
        yield from (one.key for one in self.objects(prefix))

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        # S3 lists by folder here (see `aws.store`).
        folder = prefix.rpartition("/")[0]
        first = bisect_left(self.order, f"{folder}/" if folder else "")
        found = list(takewhile(lambda key: key.startswith(f"{folder}/" if folder else ""), self.order[first:]))
        self.calls["list"] += max(1, ceil(len(found) / 1000))
        for key in found:
            if key.startswith(prefix):
                data, at = self.held[key]
                yield StoredObject(key, len(data), at, str(hash(data)))

    def delete(self, key: str) -> None:
        self.calls["delete"] += 1
        if self.held.pop(key, None) is not None:
            self.order.remove(key)

    def uri(self, key: str) -> str:
        return f"memory://{key}"

    def scratch(self) -> Path:
        return self.folder

    def _held(self, key: str) -> tuple[bytes, datetime]:
        if key not in self.held:
            raise ObjectNotFound(key)
        return self.held[key]


def filled(platform: Platform, datasets: list[Dataset]) -> None:
    """Publishes of every layer of every year what stands when nothing is behind."""
    file = platform.lake.store.scratch() / "part-00000.bin"

    def publish(layer: str, partition: str, inputs: Mapping[str, str] | None = None, **details: object) -> None:
        parts = {"rows": [staged]} if partition in YEARS else {}
        counts = {"rows": 1}
        platform.lake.publish(
            layer, name, partition, inputs=inputs or {}, parts=parts, counts=counts, schema=[], details=details
        )

    for dataset in datasets:
        name = dataset.name
        file.write_text(name)
        staged = StagedFile.of(file, 1)
        rows = {year: StoredFile(f"raw/{name}/year={year}/x.parquet", 1, "0", 1) for year in YEARS}
        original = StoredFile(f"raw/{name}/source/0/a.csv", 1, "0", 15)
        source = Source("a.csv", "0", 1, platform.clock.now(), 15, 0, 0, (), {}, (), original, rows)
        publish(landing.LAYER, landing.EVERYTHING, sources=[source.to_json()])
        for year in YEARS:
            for layer in (raw, cleaned):
                publish(layer.LAYER, year, layer.inputs(platform, dataset, year))
            closed = year in YEARS[:CLOSED] and dataset is datasets[0]
            verdict = replace(
                VERDICT,
                dataset=name,
                partition=year,
                data_version=version_of_files({"rows": [staged]}),
                ruleset_hash=dataset.ruleset_hash,
                passed=not closed,
                rests_on=basis_of(platform, dataset, year).versions,
                results=(replace(RESULT, outcome=Outcome.FAIL if closed else Outcome.PASS),),
            )
            inputs = quality_checked.inputs(platform, dataset, year)
            publish(quality_checked.LAYER, year, inputs, verdict=verdict.to_json())
            for layer in (curated, encrypted):
                publish(layer.LAYER, year, layer.inputs(platform, dataset, year))


@dataclass
class Fourteen:
    """The lake, and sensors' looks at it."""

    platform: Platform
    store: CountedStore
    datasets: list[Dataset]
    known: KnownBytes = field(default_factory=KnownBytes)

    def survey(self, layers: tuple[str, ...] = ()) -> Platform:
        """As the resource does it."""
        store = Snapshot(self.store, self.known)  # type: ignore[arg-type]  # local paths are not asked for
        names = [one.name for one in self.datasets]
        store.fetch([f"manifests/{layer}/{name}/" for name in names for layer in layers], resource._NEWEST)
        return replace(self.platform, lake=Lake(store, self.platform.clock))

    def cost(self, look: object) -> int:
        before = self.store.calls.total()
        look()  # type: ignore[operator]
        return self.store.calls.total() - before


@pytest.fixture(scope="module")
def fourteen() -> Iterator[Fourteen]:
    datasets = [one for one in load_datasets(ROOT / "datasets") if not one.contract.exported]
    with tempfile.TemporaryDirectory() as folder:
        clock = StandingClock()
        store = CountedStore(clock, Path(folder))
        platform = replace(local_platform(Path(folder), clock), lake=Lake(store, clock))  # type: ignore[arg-type]
        filled(platform, datasets)
        log = AuditLog(store, clock)  # type: ignore[arg-type]
        for number in range(40):
            log.append(actor="a", account="b", action="prune", facts={"n": number})
        assert len(datasets) == 14
        yield Fourteen(platform, store, datasets)


def test_closed_gates_are_told_once_and_an_idle_look_costs_two_listings_a_dataset(
    fourteen: Fourteen, tmp_path: Path
) -> None:
    bus = SqliteEventBus(tmp_path / "events.sqlite", StandingClock())

    def look() -> int:
        return failures.tell(fourteen.survey(failures_sensor.LAYERS), bus, fourteen.datasets, 50)

    plain = fourteen.cost(lambda: list(failures.failures(fourteen.platform, fourteen.datasets)))
    assert look() == CLOSED
    assert look() == 0
    idle = fourteen.cost(look)
    assert plain > 4 * 14 * len(YEARS)
    assert idle <= 2 * 14 + 3  # with the head of the log, its entries and the notices


def test_an_idle_look_for_what_is_behind_costs_a_listing_a_layer(fourteen: Fourteen) -> None:
    with dg.DagsterInstance.ephemeral() as instance:

        def look(survey: object) -> None:
            assert list(outdated.outdated_requests(survey, fourteen.datasets, instance)) == []  # type: ignore[arg-type]

        plain = fourteen.cost(lambda: look(lambda: fourteen.platform))
        look(lambda: fourteen.survey(outdated.LAYERS))
        idle = fourteen.cost(lambda: look(lambda: fourteen.survey(outdated.LAYERS)))
    assert plain > 20 * 14 * len(YEARS)
    assert idle <= 6 * 14 + 2  # and the log, because of the gates that are closed


def test_idle_figures_of_the_data_cost_a_listing_a_layer(fourteen: Fourteen) -> None:
    plain = fourteen.cost(lambda: measure_data(fourteen.platform, fourteen.datasets, None))
    figures = measure_data(fourteen.survey(data_metrics.LAYERS), fourteen.datasets, None)
    idle = fourteen.cost(lambda: measure_data(fourteen.survey(data_metrics.LAYERS), fourteen.datasets, None))
    assert figures == measure_data(fourteen.platform, fourteen.datasets, None)
    assert plain > 7 * 14 * len(YEARS)
    assert idle <= 4 * 14 + 2  # with evaluations; and the log


def test_what_was_written_since_is_seen_and_what_was_written_anew_is_read_again(fourteen: Fourteen) -> None:
    store = fourteen.store
    store.put("notices/x.json", b"one")
    first = fourteen.survey().lake.store
    assert (first.get("notices/x.json"), first.size("notices/x.json")) == (b"one", 3)
    store.clock.time = store.clock.time.replace(second=1)
    store.put("notices/x.json", b"two")
    assert first.get("notices/x.json") == b"one"  # as it stood
    assert fourteen.survey().lake.store.get("notices/x.json") == b"two"
    first.put("notices/x.json", b"six")
    assert first.get("notices/x.json") == b"six"  # what it wrote itself
    first.delete("notices/x.json")
    with pytest.raises(ObjectNotFound):
        first.get("notices/x.json")
    with pytest.raises(ObjectNotFound):
        first.get("manifests/raw/nobody/2024/1.json")
    assert list(first.keys("manifests/raw/nobody/")) == []
    assert len(list(first.keys("manifests/"))) == len(list(store.keys("manifests/")))


def test_bytes_that_are_kept_have_a_bound(fourteen: Fourteen) -> None:
    known = KnownBytes(10)
    for name in ("a", "b", "c"):
        fourteen.store.put(f"notices/{name}", b"12345")
    listed = [one for one in fourteen.store.objects("notices/") if one.bytes == 5]
    for one in listed:
        assert known.get(fourteen.store, one) == b"12345"  # type: ignore[arg-type]
    before = fourteen.store.calls["get"]
    known.get(fourteen.store, listed[2])  # type: ignore[arg-type]
    known.get(fourteen.store, listed[0])  # type: ignore[arg-type]
    assert fourteen.store.calls["get"] - before == 1
