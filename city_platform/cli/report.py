"""What the lake holds, as tables for people and as one object for machines."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from city_platform.cli.session import local, size
from city_platform.contracts.folder import Dataset
from city_platform.layers import curated, encrypted, freshness, landing, quality_checked, raw
from city_platform.layers.platform import Platform
from city_platform.quality.results import Outcome


@dataclass(frozen=True, slots=True)
class PartitionReport:
    """One year of one dataset. Row counts are None for layers that are not published."""

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
    rules: Mapping[str, int]
    gate: str
    behind: Sequence[str]
    checked_at: str

    def to_json(self) -> Mapping[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def report(platform: Platform, datasets: Sequence[Dataset]) -> list[PartitionReport]:
    """Every published year of the datasets."""
    return [
        _partition(platform, dataset, partition)
        for dataset in datasets
        for partition in freshness.partitions(platform, dataset)
    ]


def _partition(platform: Platform, dataset: Dataset, partition: str) -> PartitionReport:
    made = {layer.LAYER: platform.lake.latest(layer.LAYER, dataset.name, partition) for layer in freshness.LAYERS}

    def count(layer: str, name: str = "rows") -> int | None:
        manifest = made[layer]
        return manifest.counts[name] if manifest else None

    verdict = quality_checked.verdict_of(made[quality_checked.LAYER])
    rules = Counter(result.outcome.value for result in verdict.results) if verdict else Counter[str]()
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
        rules={outcome.value: rules.get(outcome.value, 0) for outcome in Outcome},
        gate="-" if verdict is None else "open" if verdict.passed else "closed",
        behind=freshness.outdated(platform, dataset, partition),
        checked_at=local(verdict.evaluated_at, dataset.contract.timezone) if verdict else "-",
    )


def rejects(platform: Platform, datasets: Sequence[Dataset]) -> Mapping[str, Mapping[str, int]]:
    """For each dataset the lines that could not be read and the rows without a year, over all sources."""
    return {
        dataset.name: {
            "unreadable": sum(source.unreadable for source in landing.sources(platform.lake, dataset.name)),
            "unplaced": sum(source.unplaced for source in landing.sources(platform.lake, dataset.name)),
        }
        for dataset in datasets
    }


def table(rows: Sequence[PartitionReport]) -> Table:
    """One line a year: where every row went, what the rules said."""
    shown = Table(title="Rows by layer", title_justify="left")
    for name in ("dataset", "year"):
        shown.add_column(name)
    for name in ("raw", "duplicates", "passed", "failed", "curated", "encrypted", "bytes"):
        shown.add_column(name, justify="right")
    for name in ("rules passed / warned / failed", "gate", "checked"):
        shown.add_column(name)
    for row in rows:
        rules = row.rules
        failing = rules[Outcome.FAIL.value] + rules[Outcome.ERROR.value]
        shown.add_row(
            row.dataset,
            row.partition,
            *(_number(value) for value in (row.raw, row.duplicates, row.passed, row.failed, row.curated)),
            _number(row.encrypted),
            size(row.encrypted_bytes),
            f"{rules[Outcome.PASS.value]} / {rules[Outcome.WARN.value]} / {failing}",
            {"open": "[green]open[/]", "closed": "[red]closed[/]"}.get(row.gate, row.gate),
            row.checked_at,
        )
    return shown


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
