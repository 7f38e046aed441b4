"""Rules tried out on a file, as the lake would judge it: landed, cleaned and checked, and nothing of it kept.

The layers themselves run, over an overlay of the lake in which the dataset has no other source. Other datasets that
rules compare with, earlier evaluations and waivers are those of the lake.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from city_platform.datasets import Dataset, reference_findings
from city_platform.errors import InvalidDefinition
from city_platform.ingestion.unpacking import create_private
from city_platform.lake.lake import Lake
from city_platform.lake.manifest import Manifest
from city_platform.lake.overlay import OverlayStore
from city_platform.lake.sink import workspace
from city_platform.layers import cleaned, landing, quality_checked, raw
from city_platform.layers.platform import Platform
from city_platform.layers.review import FailedRow, failed_rows, shown
from city_platform.ports import ObjectStore
from city_platform.protection.spreadsheet import escaped
from city_platform.quality.binding import check_ruleset
from city_platform.quality.parser import parse_ruleset
from city_platform.quality.verdict import Verdict


@dataclass(frozen=True, slots=True)
class TriedPartition:
    """What the rules say of one year of the file. Rows in = `duplicates` + `removed` + the verdict's rows."""

    partition: str
    verdict: Verdict
    duplicates: int
    removed: int
    failed: Sequence[FailedRow]  # the first ones

    def to_json(self) -> Mapping[str, Any]:
        return {
            "partition": self.partition,
            "gate": "open" if self.verdict.passed else "closed",
            "rows": self.verdict.rows,
            "rows_failed": self.verdict.rows_failed,
            "duplicates": self.duplicates,
            "removed": self.removed,
            "results": [result.to_json() for result in self.verdict.results],
            "failed_rows": [{name: getattr(row, name) for name in FailedRow.__slots__} for row in self.failed],
        }


@dataclass(frozen=True, slots=True)
class Trial:
    """A file under a ruleset. `source` counts its rows, those that could not be read and those without a year."""

    source: landing.Source
    partitions: Sequence[TriedPartition]

    @property
    def passed(self) -> bool:
        """Whether the gate opens for every year; a file without any year is no pass."""
        return bool(self.partitions) and all(one.verdict.passed for one in self.partitions)


def with_rules(dataset: Dataset, text: str, file: str, others: Sequence[Dataset] = ()) -> Dataset:
    """The dataset under another ruleset, without advisory ones; raises InvalidDefinition with every mistake.

    `others` are the datasets that rules may compare with.
    """
    ruleset, findings = parse_ruleset(text, file)
    if ruleset is not None:
        findings = check_ruleset(ruleset, dataset.contract)
    if ruleset is None or findings:
        raise InvalidDefinition(findings)
    changed = replace(
        dataset, rules=ruleset, advisory=(), ruleset_hash=hashlib.sha256(text.encode("utf-8")).hexdigest()
    )
    if findings := reference_findings([changed, *(one for one in others if one.name != dataset.name)]):
        raise InvalidDefinition(findings)
    return changed


def try_rules(
    platform: Platform,
    dataset: Dataset,
    file: Path,
    upper: ObjectStore,
    *,
    rows: int = 10,
    failed_to: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Trial:
    """Takes the file through landing, raw, cleaned and quality_checked. All writes go to `upper`, none to the lake;
    it lies in the lake's scratch, where the engine may read.

    At most `rows` failed rows of each year are shown; `failed_to` takes all of them, as CSV. In both a personal value
    shows only that it is there. Raises what landing raises for a file that does not fit.
    """
    tried = replace(platform, spark=None, lake=Lake(OverlayStore(platform.lake.store, upper), platform.clock))
    _without_sources(tried.lake, dataset.name)
    landed = landing.land(tried, dataset, file, progress)
    partitions, manifests = [], []
    for partition in landed.partitions:
        raw.materialize(tried, dataset, partition)
        clean = cleaned.materialize(tried, dataset, partition)
        checked, _ = quality_checked.materialize(tried, dataset, partition)
        verdict = quality_checked.verdict_of(checked)
        assert verdict is not None  # noqa: S101 -- the layer was just published
        kept = failed_rows(tried, dataset, checked, rows) if rows else ()
        counts = clean.counts
        partitions.append(TriedPartition(partition, verdict, counts["duplicates"], counts["removed"], kept))
        manifests.append(checked)
    if failed_to is not None:
        _write_failed(tried, dataset, manifests, failed_to)
    return Trial(landed.source, partitions)


def _without_sources(lake: Lake, dataset: str) -> None:
    """Lets the dataset begin anew, so that the file is judged alone."""
    newest = lake.latest(landing.LAYER, dataset, landing.EVERYTHING)
    if newest is not None:
        lake.publish(
            landing.LAYER,
            dataset,
            landing.EVERYTHING,
            inputs={},
            parts={},
            counts={"rows": 0, "unreadable": 0, "unplaced": 0},
            schema=[],
            details={"sources": []},
        )


def _write_failed(platform: Platform, dataset: Dataset, checked: Sequence[Manifest], out: Path) -> None:
    """All failed rows as CSV, mode 0600: where each stands in the file, its values, its rules and the reasons.

    Without any there is no file.
    """
    files = [path for manifest in checked for path in platform.lake.paths(manifest, "failed")]
    if not files:
        return
    with workspace(platform.lake) as folder, platform.engine.session() as session:
        written = create_private(folder / "failed.csv")
        dialect = session.dialect
        values = ", ".join(
            f"{escaped(shown(column, dialect), dialect)} AS {dialect.name(column.name)}"
            for column in dataset.contract.columns
        )
        joined = "array_to_string(_failed_rules, '; ') AS failed_rules, array_to_string(_reasons, ' ') AS reasons"
        session.execute(
            f"COPY (SELECT _row AS row, {joined}, {values} FROM {session.parquet(files)}) "
            f"TO {dialect.text(str(written))} (FORMAT csv, HEADER, USE_TMP_FILE false)"
        )
        shutil.copyfile(written, create_private(out))
