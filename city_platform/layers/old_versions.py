"""Old versions: what a dataset's layers were before, how to get it back, and when its files go.

`lake.pruning` says which files may go and how; here stands who refers to what besides the layers themselves.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from city_platform.contracts.model import OldVersions
from city_platform.datasets import Dataset
from city_platform.errors import PermanentError
from city_platform.governance.decisions import Desk, read_decisions
from city_platform.lake.lake import NotPublished, Published
from city_platform.lake.manifest import Manifest
from city_platform.lake.pruning import Held, Inventory, Plan, carry_out, plan
from city_platform.layers import cleaned
from city_platform.layers.platform import Platform
from city_platform.quality.gate import Rejection, Waiver

ACTOR = "city-platform"  # who prunes by the contracts' policies


class UncertainDecisions(PermanentError):
    """The audit log does not verify: a decision may be missing from it that needs a version."""


@dataclass(frozen=True, slots=True)
class PrunedDataset:
    """What pruning one dataset came to. `versions` counts by layer; `left_behind` are files of killed runs."""

    dataset: str
    versions: Mapping[str, int]
    files: int
    bytes: int
    left_behind: int

    def to_json(self) -> Mapping[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def versions(platform: Platform, dataset: str, partition: str | None = None) -> Sequence[Published]:
    """Every manifest of every layer of the dataset, by partition, layer and number. Raises NotPublished."""
    lake = platform.lake
    places = Inventory.of(lake).published.get(dataset, {})
    wanted = sorted((place.partition, place.layer) for place in places if partition in {None, place.partition})
    if not wanted:
        there = f" of {partition}" if partition else ""
        raise NotPublished(f"nothing{there} of {dataset} is in the lake")
    return [one for name, layer in wanted for one in lake.versions(layer, dataset, name)]


def restore(platform: Platform, desk: Desk, partition: str, version: str, reason: str) -> Manifest:
    """Makes an earlier version of one of the dataset's layers the newest again; the layer is the version's own.

    Takes the role of a data steward, and stands in the audit log before anything changes. Raises NotEntitled,
    InvalidDecision, NotPublished, VersionPruned, PublishedMeanwhile and the log's errors.
    """
    dataset = desk.contract.name
    found = [one for one in versions(platform, dataset, partition) if one.manifest.version == version]
    if not found:
        raise NotPublished(f"no layer of {dataset} {partition} ever had a version {version}")
    layer = found[-1].manifest.layer
    if any(one.pruned_at is None for one in found):  # else there is nothing to restore, and the lake says so
        desk.restore(partition, layer, version, reason)
    return platform.lake.restore(layer, dataset, partition, version)


def prune(
    platform: Platform,
    datasets: Sequence[Dataset],
    *,
    only: str | None = None,
    keep: int | None = None,
    older_than: timedelta | None = None,
    account: str,
    dry_run: bool = False,
) -> Iterator[PrunedDataset]:
    """Prunes each dataset of the lake, `only` that one if given, and tells what came of it.

    Every dataset is pruned by its contract's policy, what has no contract by the default; `keep` and `older_than`
    take the place of what these say. What goes of a dataset stands in the audit log before it goes.

    Raises UncertainDecisions, PublishedMeanwhile and the errors of store, catalog and log; what was told of before is
    done.
    """
    policies = {dataset.name: dataset.contract.old_versions for dataset in datasets}
    held = _held(platform)
    inventory = Inventory.of(platform.lake)
    for name in inventory.datasets:
        if only in {None, name}:
            said = policies.get(name, OldVersions())
            kept = OldVersions(said.versions if keep is None else keep, said.age if older_than is None else older_than)
            planned = plan(platform.lake, name, inventory, kept, held.get(name, frozenset()))
            told = _told(planned, planned.files)
            if planned.files and not dry_run:
                facts = {**told.to_json(), "kept_versions": kept.versions, "kept_days": kept.age.days}
                platform.audit.append(actor=ACTOR, account=account, action="prune", facts=facts)
                told = _told(planned, carry_out(platform.lake, planned))
            yield told


def _held(platform: Platform) -> Mapping[str, set[Held]]:
    """By dataset, the versions that decisions in force and the catalog refer to."""
    decisions = read_decisions(platform.audit)
    if decisions.doubts:
        raise UncertainDecisions(
            f"the audit log does not verify ({'; '.join(decisions.doubts)}): a decision may need what would be pruned; "
            "`city-platform audit verify` says more"
        )
    now = platform.clock.now()
    held: dict[str, set[Held]] = {}
    waivers = [one for one in decisions.waivers if one.in_force(now)]
    in_force: Sequence[Waiver | Rejection] = [*waivers, *decisions.rejections]
    for one in in_force:
        held.setdefault(one.dataset, set()).add(Held(cleaned.LAYER, one.partition, one.data_version))
    for table in platform.catalog.tables():
        for partition in platform.catalog.partitions(table.database, table.name):
            # Where a partition's newest files do not fit the table, queries read the version that was registered.
            version = Held(table.database, partition.value, partition.parameters.get("version", ""))
            held.setdefault(table.name, set()).add(version)
    return held


def _told(planned: Plan, files: Mapping[str, int]) -> PrunedDataset:
    layers = sorted({one.place.layer for one in planned.versions})
    return PrunedDataset(
        dataset=planned.dataset,
        versions={layer: sum(one.place.layer == layer for one in planned.versions) for layer in layers},
        files=len(files),
        bytes=sum(files.values()),
        left_behind=planned.left_behind,
    )
