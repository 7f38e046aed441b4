"""The figures of the lake as it stands: looked up, not kept, so that nothing has to be told of a change."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime

from city_platform.contracts.partitions import Granularity
from city_platform.datasets import Dataset
from city_platform.governance.metrics import Freshness, Use, data_measurements, use_measurements
from city_platform.layers import raw
from city_platform.layers.platform import Platform
from city_platform.layers.scorecard import scorecard
from city_platform.ports import Measurement, ObjectNotFound, ObjectStore

NEWEST = {Granularity.YEAR: 200, Granularity.DAY: 31, Granularity.HOUR: 24}  # partitions looked at
ARRIVING = 3  # of them, those that new rows come into


def measure_data(platform: Platform, datasets: Sequence[Dataset], judged_since: datetime | None) -> list[Measurement]:
    """How good and how fresh each dataset's newest partitions are. Raises the store's errors."""
    card = scorecard(platform, datasets, evaluations=0, among=newest)
    ages = [_freshness(platform, dataset, card.at) for dataset in datasets]
    return list(data_measurements(card, ages, judged_since))


def measure_use(store: ObjectStore, at: datetime) -> list[Measurement]:
    """What each layer takes. It asks for every object's size: for a store that charges by request it is too much."""
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
    for key in store.keys(""):
        with suppress(ObjectNotFound):  # it was there when the keys were listed
            found.setdefault(key.partition("/")[0], []).append(store.size(key))
    for layer, sizes in found.items():
        yield Use(layer, len(sizes), sum(sizes))
