"""Rows that are kept for a time only, as a contract says (`keepRowsDays`): single readings of traffic.

What goes of a partition are the layers that hold rows; the published summaries stay, and the sums made of them. Nothing
goes before it is proven that its sums are there and equal what they were made from.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from city_platform.contracts.partitions import granularity_of, window
from city_platform.datasets import Dataset
from city_platform.lake.retirement import files_of, retire
from city_platform.layers import CURATED, exported, traffic_hours
from city_platform.layers.old_versions import ACTOR
from city_platform.layers.platform import Platform
from city_platform.layers.traffic_history import ZONE_HOURS, hours_of
from city_platform.ports import ObjectNotFound

_CHAIN = (exported.LAYER, "raw", "cleaned", "quality_checked")  # each made of the one before
ROWS = (exported.LAYER, "raw", "cleaned", "quality_checked", "rejected", "encrypted")


@dataclass(frozen=True, slots=True)
class Retired:
    """What became of one partition whose time is over: how much went, or why nothing did."""

    dataset: str
    partition: str
    files: int
    bytes: int
    kept_because: str = ""


def let_go(
    platform: Platform, datasets: Sequence[Dataset], *, account: str, dry_run: bool = False
) -> Iterator[Retired]:
    """Removes the rows of every partition whose time is over and whose sums are proven, the oldest first.

    It stands in the audit log before anything goes. Raises PublishedMeanwhile and the errors of store and log; what was
    told of before is done.
    """
    for dataset in datasets:
        if dataset.contract.rows_kept is None:
            continue
        proofs: dict[str, str] = {}
        for partition in over(platform, dataset, platform.clock.now()):
            day = traffic_hours.day_of(partition)
            if day not in proofs:
                proofs[day] = _doubt_about_day(platform, dataset, day)
            looked_at = _versions(platform, dataset, partition)
            doubt = proofs[day] or _doubt_about_hour(platform, dataset, day, partition)
            sizes: Mapping[str, int] = {} if doubt else files_of(platform.lake, ROWS, dataset.name, partition)
            if sizes and not dry_run:
                facts = {"dataset": dataset.name, "partition": partition, "layers": list(ROWS), "files": len(sizes)}
                facts |= {"bytes": sum(sizes.values()), "kept_days": dataset.contract.rows_kept.days}
                platform.audit.append(actor=ACTOR, account=account, action="retire_rows", facts=facts)
                sizes = retire(platform.lake, ROWS, dataset.name, partition, looked_at)
            yield Retired(dataset.name, partition, len(sizes), sum(sizes.values()), doubt)


def over(platform: Platform, dataset: Dataset, now: datetime) -> Sequence[str]:
    """The partitions that still have exported rows and whose time is over at `now` (aware), in order."""
    kept = dataset.contract.rows_kept
    if kept is None:
        return []
    folders = {one.key.split("/")[2] for one in platform.lake.store.objects(f"{exported.LAYER}/{dataset.name}/")}
    names = sorted(folder.partition("=")[2] for folder in folders)
    return [one for one in names if granularity_of(one) and window(one, dataset.contract.timezone)[1] + kept <= now]


def _versions(platform: Platform, dataset: Dataset, partition: str) -> Mapping[str, str]:
    found = {layer: platform.lake.latest(layer, dataset.name, partition) for layer in _CHAIN}
    return {layer: manifest.version for layer, manifest in found.items() if manifest is not None}


def _doubt_about_day(platform: Platform, dataset: Dataset, day: str) -> str:
    """Why the day's sums are not proven; empty where they are."""
    if platform.lake.latest(ZONE_HOURS, dataset.name, day) is None:
        return f"the hours of {day} were not summed: materialize {ZONE_HOURS} of that day"
    try:
        wrong = traffic_hours.differing(platform, dataset, day)
    except ObjectNotFound as gone:
        return f"the sums of {day} cannot be proven: {gone}; materialize {ZONE_HOURS} of that day again"
    return f"sums of {day} are not those of their windows, as of {wrong[0][0]} at {wrong[0][1]}" if wrong else ""


def _doubt_about_hour(platform: Platform, dataset: Dataset, day: str, hour: str) -> str:
    lake = platform.lake
    corrected, summed = lake.latest(CURATED, dataset.name, hour), lake.require(ZONE_HOURS, dataset.name, day)
    if corrected is None or hours_of(summed).get(hour) != corrected.version:
        return f"the sums of {day} are not of the newest version of {hour}: materialize {ZONE_HOURS} of that day"
    # What the hour was made of has to be all that came.
    made = [*(lake.latest(name, dataset.name, hour) for name in _CHAIN), corrected]
    for before, after in pairwise(made):
        if before is None or after is None or after.inputs.get(before.layer) != before.version:
            return f"{hour} was not made of all that came for it: materialize it again"
    return ""
