"""The figures of the lake as it stands: looked up, not kept, so that nothing has to be told of a change."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import chain

from city_platform.contracts.partitions import Granularity
from city_platform.datasets import Dataset
from city_platform.governance.decisions import read_decisions
from city_platform.governance.metrics import Freshness, Use, data_measurements, use_measurements
from city_platform.governance.scorecard import PartitionState, scorecard
from city_platform.layers import quality_checked, raw
from city_platform.layers.platform import Platform
from city_platform.layers.scorecard import partition_states
from city_platform.ports import Measurement, ObjectStore

NEWEST = {Granularity.YEAR: 200, Granularity.DAY: 31, Granularity.HOUR: 24}  # partitions looked at
ARRIVING = 3  # of them, those that new rows come into
AT_ONCE = 8  # datasets


def measure_data(platform: Platform, datasets: Sequence[Dataset], judged_since: datetime | None) -> list[Measurement]:
    """How good and how fresh each dataset's newest partitions are. Raises the store's errors.

    Some eight small objects of each partition are looked at; datasets beside each other, because on S3 each takes tens
    of milliseconds and a sensor has a minute.
    """
    decisions, now = read_decisions(platform.audit), platform.clock.now()

    def states(dataset: Dataset) -> Sequence[PartitionState]:
        known = platform.lake.partitions(quality_checked.LAYER, dataset.name)
        return partition_states(platform, dataset, newest(dataset, known), decisions, evaluations=0)

    with ThreadPoolExecutor(AT_ONCE) as workers:
        found = list(workers.map(states, datasets))
        ages = list(workers.map(lambda dataset: _freshness(platform, dataset, now), datasets))
    card = scorecard(now, list(chain(*found)), platform.audit.read().head, decisions.doubts)
    return list(data_measurements(card, ages, judged_since))


def measure_use(store: ObjectStore, at: datetime) -> list[Measurement]:
    """What each layer takes: one listing of everything, which a store that charges by request should be spared."""
    return list(use_measurements(list(_uses(store)), at))


def newest(dataset: Dataset, partitions: Sequence[str]) -> Sequence[str]:
    """Those that are looked at: a dataset by the hour has more than a look every few minutes can take in."""
    return partitions[-NEWEST[dataset.contract.partitioning.granularity] :]


def _freshness(platform: Platform, dataset: Dataset, now: datetime) -> Freshness:
    arriving = platform.lake.partitions(raw.LAYER, dataset.name)[-ARRIVING:]
    versions = (platform.lake.latest(raw.LAYER, dataset.name, one) for one in arriving)
    made = [version.published_at for version in versions if version is not None]
    return Freshness(dataset.name, now - max(made) if made else None, dataset.contract.freshness)


def _uses(store: ObjectStore) -> Iterator[Use]:
    found: dict[str, list[int]] = {}
    for one in store.objects(""):
        found.setdefault(one.key.partition("/")[0], []).append(one.bytes)
    for layer, sizes in found.items():
        yield Use(layer, len(sizes), sum(sizes))
