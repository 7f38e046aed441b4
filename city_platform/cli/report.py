"""What the lake holds, as tables for people and as one object for machines."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from city_platform.cli.session import gate, size
from city_platform.cli.table import ShownTable
from city_platform.contracts.partitions import granularity_of
from city_platform.datasets import Dataset
from city_platform.governance.decisions import read_decisions
from city_platform.layers import curated, encrypted, freshness, gated, landing, quality_checked, raw
from city_platform.layers.platform import Platform
from city_platform.quality.gate import Decisions
from city_platform.quality.results import Outcome, RuleResult

# What a rule can come to: fulfilled; found something and moved or reported rows; closed the gate; had nothing to judge.
RULES = ("passed", "found", "closing", "abstained")


@dataclass(frozen=True, slots=True)
class PartitionReport:
    """One partition of one dataset. Row counts are None for layers that are not published."""

    dataset: str
    partition: str
    raw: int | None
    duplicates: int | None
    removed: int | None
    passed: int | None
    failed: int | None
    curated: int | None
    encrypted: int | None
    encrypted_bytes: int
    rules: Mapping[str, int]  # RULES -> how many
    gate: str  # as `Standing.word`, "-" without a verdict
    behind: Sequence[str]
    checked_at: str | None

    def to_json(self) -> Mapping[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def report(platform: Platform, datasets: Sequence[Dataset]) -> list[PartitionReport]:
    """Every published partition of the datasets."""
    decisions = read_decisions(platform.audit)
    return [
        _partition(platform, dataset, partition, decisions)
        for dataset in datasets
        for partition in freshness.partitions(platform, dataset)
    ]


def _partition(platform: Platform, dataset: Dataset, partition: str, decisions: Decisions) -> PartitionReport:
    made = {layer.LAYER: platform.lake.latest(layer.LAYER, dataset.name, partition) for layer in freshness.LAYERS}

    def count(layer: str, name: str = "rows") -> int | None:
        manifest = made[layer]
        return manifest.counts[name] if manifest else None

    verdict = quality_checked.verdict_of(made[quality_checked.LAYER])
    rules = Counter(_came_to(result) for result in verdict.results) if verdict else Counter[str]()
    standing = gated.gate(platform, dataset, partition, decisions)
    sealed = made[encrypted.LAYER]
    return PartitionReport(
        dataset=dataset.name,
        partition=partition,
        raw=count(raw.LAYER),
        duplicates=count("cleaned", "duplicates"),
        removed=count("cleaned", "removed"),
        passed=count(quality_checked.LAYER),
        failed=count(quality_checked.LAYER, "failed"),
        curated=count(curated.LAYER),
        encrypted=count(encrypted.LAYER),
        encrypted_bytes=sealed.size if sealed else 0,
        rules={name: rules[name] for name in RULES},
        gate=standing.word if standing and verdict else "-",
        behind=freshness.outdated(platform, dataset, partition),
        checked_at=verdict.evaluated_at.isoformat() if verdict else None,
    )


def rejects(platform: Platform, datasets: Sequence[Dataset]) -> Mapping[str, Mapping[str, int]]:
    """For each dataset the lines that could not be read and the rows of no partition, over all sources."""
    landed = {dataset.name: landing.sources(platform.lake, dataset.name) for dataset in datasets}
    return {
        name: {word: sum(getattr(one, word) for one in sources) for word in ("unreadable", "unplaced")}
        for name, sources in landed.items()
    }


def tables(rows: Sequence[PartitionReport]) -> Iterator[ShownTable]:
    """A table a dataset, a line a partition: where every row went, what the rules said."""
    for dataset in dict.fromkeys(row.dataset for row in rows):
        shown = ShownTable(title=dataset)
        own = [row for row in rows if row.dataset == dataset]
        shown.add_column(granularity_of(own[0].partition) or "partition", no_wrap=True)
        for name in ("raw", "twice", "passed", "failed", "curated", "encrypted"):
            shown.add_column(name, justify="right", no_wrap=True)
        shown.add_column("rules", no_wrap=True)
        shown.add_column("gate", no_wrap=True)
        for row in own:
            shown.add_row(
                row.partition,
                *(_number(value) for value in (row.raw, row.duplicates, row.passed, row.failed, row.curated)),
                size(row.encrypted_bytes) if row.encrypted is not None else "-",
                " ".join(f"{row.rules[name]}{mark}" for name, mark in MARKS.items() if row.rules[name]),
                gate(row.gate),
            )
        yield shown


MARKS = dict(zip(RULES, "✓!✗?", strict=True))
LEGEND = "✓ fulfilled  ! found something  ✗ closes the gate  ? had nothing to judge"


def _came_to(result: RuleResult) -> str:
    if result.closes_gate:
        return "closing"
    return {Outcome.PASS: "passed", Outcome.WARN: "abstained"}.get(result.outcome, "found")


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
