"""The scorecard of all datasets, published in the lake as JSON and as a page, a new version a week."""

import json
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from city_platform.contracts.partitions import Granularity
from city_platform.datasets import Dataset
from city_platform.governance.decisions import read_decisions
from city_platform.governance.history import EvaluationHistory
from city_platform.governance.scorecard import PartitionState, Scorecard
from city_platform.governance.scorecard import scorecard as scored
from city_platform.governance.scorecard_page import html
from city_platform.lake.lake import StagedFile
from city_platform.lake.manifest import Manifest
from city_platform.lake.sink import workspace
from city_platform.layers import quality_checked
from city_platform.layers.gated import gate
from city_platform.layers.platform import Platform
from city_platform.layers.review import next_steps
from city_platform.quality.gate import Decisions

LAYER, SUBJECT = "scorecard", "governance"  # the second stands where a dataset's name does
HOURS = 24  # of a dataset by the hour the newest: a week has more than a weekend could judge again
EVALUATIONS = 60  # of each partition, the newest: a year of weeks and some


def scorecard(platform: Platform, datasets: Sequence[Dataset]) -> Scorecard:
    """How everything stands now."""
    decisions = read_decisions(platform.audit)
    states: list[PartitionState] = []
    for dataset in datasets:
        partitions = platform.lake.partitions(quality_checked.LAYER, dataset.name)
        states += partition_states(platform, dataset, partitions, decisions)
    return scored(platform.clock.now(), states, platform.audit.read().head, decisions.doubts)


def weekly(dataset: Dataset, partitions: Sequence[str]) -> Sequence[str]:
    """Those that the weekly runs evaluate again."""
    return partitions[-HOURS:] if dataset.contract.partitioning.granularity is Granularity.HOUR else partitions


def partition_states(
    platform: Platform,
    dataset: Dataset,
    partitions: Sequence[str],
    decisions: Decisions,
    evaluations: int = EVALUATIONS,
) -> Sequence[PartitionState]:
    """How those of the partitions stand that were judged, each with so many of its newest evaluations."""
    history, lake = EvaluationHistory(platform.lake.store), platform.lake
    states, again = [], set(weekly(dataset, partitions))
    for partition in partitions:
        verdict = quality_checked.verdict_of(lake.latest(quality_checked.LAYER, dataset.name, partition))
        standing = gate(platform, dataset, partition, decisions)
        if verdict is not None and standing is not None:
            records = tuple(history.of(dataset.name, partition, evaluations))
            steps = next_steps(dataset, partition, standing)
            states.append(PartitionState(verdict, standing, records, steps, partition in again))
    return states


def materialize(platform: Platform, datasets: Sequence[Dataset], timezone: str) -> tuple[Manifest, Scorecard]:
    """Publishes the scorecard under the year it is made in, on the city's clock."""
    card = scorecard(platform, datasets)
    with workspace(platform.lake) as folder:
        files = {"json": folder / "scorecard.json", "html": folder / "scorecard.html"}
        files["json"].write_text(json.dumps(card.to_json(), ensure_ascii=False, indent=1), encoding="utf-8")
        files["html"].write_text(html(card, timezone), encoding="utf-8")
        manifest = platform.lake.publish(
            LAYER,
            SUBJECT,
            str(card.at.astimezone(ZoneInfo(timezone)).year),
            inputs={"audit": str(card.head)},
            parts={part: [StagedFile.of(path, len(card.partitions))] for part, path in files.items()},
            counts={"rows": len(card.partitions)},
            schema=[],
        )
    return manifest, card
