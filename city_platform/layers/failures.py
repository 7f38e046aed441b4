"""Who has to know that a gate stands closed, and that the record of decisions was tampered with."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from city_platform.datasets import Dataset
from city_platform.governance.decisions import read_decisions
from city_platform.governance.notices import Notice, Notices
from city_platform.lake.lake import MANIFESTS
from city_platform.layers import quality_checked
from city_platform.layers.gated import gate
from city_platform.layers.metrics import newest
from city_platform.layers.platform import Platform
from city_platform.layers.review import next_steps
from city_platform.quality.gate import Standing

RECENT = timedelta(days=2)


def failures(platform: Platform, datasets: Sequence[Dataset], *, everything: bool = True) -> Iterator[Notice]:
    """One notice for each partition whose newest data was judged and may not pass, and one for a log in doubt.

    Unless `everything` is looked at, it is the newest partitions of each dataset, as `metrics.newest` has them, and
    those judged of late: a year of hours is more than a look every minute can take in.

    The same failure is the same notice: the same data, rules and failing rules. A waiver that has ended makes it
    another one. What a steward rejected, and what was not judged yet, is nobody's surprise.
    """
    decisions = read_decisions(platform.audit)
    if decisions.doubts:
        told = "\n".join(decisions.doubts)
        body = f"{told}\n\nNo waiver counts until its objects are restored. city-platform audit verify"
        yield Notice(f"audit log: {told}", "The audit log was tampered with", body)
    for dataset in datasets:
        known = platform.lake.partitions(quality_checked.LAYER, dataset.name)
        for partition in known if everything else _looked_at(platform, dataset):
            standing = gate(platform, dataset, partition, decisions)
            if standing is not None and standing.word in {"closed", "lapsed"}:
                yield _notice(dataset, partition, standing)


def tell(platform: Platform, datasets: Sequence[Dataset], most: int, *, everything: bool = True) -> int:
    """Sends what `failures` finds and was not sent yet, at most so many; how many were. Raises what notifiers raise."""
    notices = Notices(platform.lake.store, platform.notifier, platform.clock)
    sent = 0
    for notice in failures(platform, datasets, everything=everything):
        if sent >= most:
            break
        sent += notices.send(notice)
    return sent


def _looked_at(platform: Platform, dataset: Dataset) -> Sequence[str]:
    """The newest partitions, which is all years, and older ones that were judged of late."""
    written: dict[str, datetime] = {}
    for one in platform.lake.store.objects(f"{MANIFESTS}/{quality_checked.LAYER}/{dataset.name}/"):
        written[one.key.split("/")[3]] = one.modified  # in the order of their numbers
    now = platform.clock.now()
    recent = {partition for partition, at in written.items() if now - at < RECENT}
    return sorted({*recent, *newest(dataset, list(written))})


def _notice(dataset: Dataset, partition: str, standing: Standing) -> Notice:
    lapsed = [waiver.number for waiver in standing.lapsed]
    rules = ", ".join(standing.unwaived) or "the evaluation as a whole"
    because = " after a waiver ended" if lapsed else ""
    return Notice(
        f"{dataset.name} {partition} {standing.data_version} {dataset.ruleset_hash} {rules} {lapsed}",
        f"{dataset.name} {partition}: the gate is closed{because}",
        "\n".join(
            [
                f"{dataset.contract.title}, {partition}, for {dataset.contract.owner}",
                f"Closed by: {rules}",
                *standing.reasons,
                "",
                *next_steps(dataset, partition, standing),
                f"city-platform quality review {dataset.name} {partition}",
            ]
        ),
    )
