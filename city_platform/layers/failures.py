"""Who has to know that a gate stands closed, and that the record of decisions was tampered with.

People are told by a notice, and whoever subscribed by the event QualityGateFailed, each once and of the same things.
Which these are is read from the lake each time: what could not be told is told the next time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from city_platform.datasets import Dataset
from city_platform.events import event_id, publish
from city_platform.governance.decisions import read_decisions
from city_platform.governance.events import MOST_RULES, GateLinks, QualityGateFailed
from city_platform.governance.notices import Notice, Notices
from city_platform.lake.lake import MANIFESTS
from city_platform.layers import quality_checked
from city_platform.layers.gated import gate
from city_platform.layers.metrics import newest
from city_platform.layers.platform import Platform
from city_platform.layers.review import next_steps
from city_platform.ports import EventBus
from city_platform.quality.gate import Standing

RECENT = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class ClosedGate:
    """A partition whose newest data may not pass."""

    dataset: Dataset
    partition: str
    standing: Standing


def failures(
    platform: Platform, datasets: Sequence[Dataset], *, everything: bool = True
) -> Iterator[tuple[Notice, ClosedGate | None]]:
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
        yield Notice(f"audit log: {told}", "The audit log was tampered with", body), None
    for dataset in datasets:
        known = platform.lake.partitions(quality_checked.LAYER, dataset.name)
        for partition in known if everything else _looked_at(platform, dataset):
            standing = gate(platform, dataset, partition, decisions)
            if standing is not None and standing.word in {"closed", "lapsed"}:
                gate_of = ClosedGate(dataset, partition, standing)
                yield _notice(gate_of), gate_of


def tell(platform: Platform, bus: EventBus, datasets: Sequence[Dataset], most: int, *, everything: bool = True) -> int:
    """Sends what was not sent yet, at most so many notices and as many events; how many notices were.

    Raises the notifier's errors, and the bus's after all notices were sent: no mail waits for the bus.
    """
    notices = Notices(platform.lake.store, platform.notifier, platform.clock)
    found = list(failures(platform, datasets, everything=everything))
    sent = told = 0
    for notice, _ in found:
        sent += sent < most and notices.send(notice)
    for notice, closed in found:
        if closed is not None and told < most:
            alert_id = event_id("gate", notice.identity)
            tell_it = partial(_publish, platform, bus, closed, alert_id)
            told += notices.once(f"event {alert_id}", notice.subject, tell_it)
    return sent


def _publish(platform: Platform, bus: EventBus, closed: ClosedGate, alert_id: str) -> None:
    """The event is made only now: of gates that were told before, nearly all, nothing more is read."""
    event = _event(platform, closed, alert_id)
    publish(bus, event, event.failed_at)


def _looked_at(platform: Platform, dataset: Dataset) -> Sequence[str]:
    """The newest partitions, which is all years, and older ones that were judged of late."""
    written: dict[str, datetime] = {}
    for one in platform.lake.store.objects(f"{MANIFESTS}/{quality_checked.LAYER}/{dataset.name}/"):
        written[one.key.split("/")[3]] = one.modified  # in the order of their numbers
    now = platform.clock.now()
    recent = {partition for partition, at in written.items() if now - at < RECENT}
    return sorted({*recent, *newest(dataset, list(written))})


def _event(platform: Platform, closed: ClosedGate, alert_id: str) -> QualityGateFailed:
    """Called by the notice, so that one comes with the other."""
    dataset, standing = closed.dataset, closed.standing
    checked = platform.lake.require(quality_checked.LAYER, dataset.name, closed.partition)
    ended = [waiver.expires_at for waiver in standing.lapsed]
    return QualityGateFailed(
        schema=1,
        alert_id=alert_id,
        dataset=dataset.name,
        partition=closed.partition,
        data_version=standing.data_version,
        ruleset=dataset.ruleset_hash,
        because="waiver_ended" if ended else "rules",
        rules=list(standing.unwaived[:MOST_RULES]),
        rules_failed=len(standing.unwaived),
        owner=dataset.contract.owner,
        failed_at=max([checked.published_at, *ended]),
        links=GateLinks(platform.lake.manifest_uri(checked)),
    )


def _notice(closed: ClosedGate) -> Notice:
    dataset, partition, standing = closed.dataset, closed.partition, closed.standing
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
