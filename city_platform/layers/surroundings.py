"""What a partition's rules look at besides its rows: other datasets, earlier evaluations, the files it was made from.

References are read where they passed their own rules: the newest quality-checked version, whatever its gate decides,
because a gate is about publishing and not about which rows exist. Their versions, and the earlier figures that rules
compare with, belong to what the layer is made from. When one of them changes, the partition is judged again; until
then its gate stays closed, because the verdict is about a world that is gone.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from city_platform.contracts.partitions import granularity_of
from city_platform.datasets import Dataset
from city_platform.engines.session import NotOnSpark, Session
from city_platform.governance.history import EvaluationHistory
from city_platform.lake.lake import Lake
from city_platform.lake.manifest import Manifest
from city_platform.layers.computing import files_of
from city_platform.layers.passed import passed_rows
from city_platform.layers.platform import Platform
from city_platform.quality.measures import watched_measures
from city_platform.quality.references import Extent, ReferenceUse
from city_platform.quality.surroundings import Reference, SourceFile, Surroundings

CHECKED, RAW = "quality_checked", "raw"


@dataclass(frozen=True, slots=True)
class Basis:
    """The versions that stand at one moment, gathered before anything is read, so that they and the rows agree."""

    partition: str
    references: Mapping[ReferenceUse, Mapping[str, Manifest]]  # by partition of the reference
    earlier: Mapping[str, Sequence[float]]

    @property
    def versions(self) -> Mapping[str, str]:
        """What the verdict rests on besides the rows and rules: a short text for each reference and the history."""
        named = {
            f"reference {use.dataset} ({use.extent})": _digest({name: one.version for name, one in manifests.items()})
            for use, manifests in self.references.items()
        }
        return named | ({"history": _digest(self.earlier)} if self.earlier else {})

    def opened(self, session: Session, lake: Lake, raw: Manifest | None) -> Surroundings:
        """The same for rules to look at, with the references readable in the session."""
        granularity = granularity_of(self.partition)
        season = granularity.season if granularity else 1
        return Surroundings(
            references={use: self._reference(use, session, lake) for use in self.references},
            earlier=self.earlier,
            season=season,
            files=source_files(raw) if raw else None,
        )

    def _reference(self, use: ReferenceUse, session: Session, lake: Lake) -> Reference | str:
        manifests = self.references[use]
        if not manifests:
            which = f"of {self.partition} " if use.extent is Extent.PARTITION else ""
            return (
                f"no checked data {which}of {use.dataset} is in the lake: bring {use.dataset} up to date, and this "
                "partition is judged again"
            )
        name = f"reference_{use.dataset}_{use.extent}"
        session.select_view(name, _united(session, lake, [one for _, one in sorted(manifests.items())]))
        view = session.dialect.name(name)
        columns = session.types(f"SELECT * FROM {view}")
        return Reference(view, {name: kind for name, kind in columns.items() if not name.startswith("_")})


def _united(session: Session, lake: Lake, manifests: Sequence[Manifest]) -> str:
    """SELECT for the passed rows of several partitions; a column that one lacks is null there."""
    selects = [
        f"({passed_rows(session, *(files_of(session, lake, one, part) for part in ('rows', 'failed')))})"
        for one in manifests
    ]
    if not session.reads_objects:
        return " UNION ALL BY NAME ".join(selects)
    if any(one.schema != manifests[0].schema for one in manifests):
        raise NotOnSpark("the reference's partitions differ in their columns, which Spark unites otherwise")
    names = ", ".join(session.dialect.name(name) for name, _ in manifests[0].schema)
    return " UNION ALL ".join(f"SELECT {names} FROM {select}" for select in selects)


def basis_of(platform: Platform, dataset: Dataset, partition: str) -> Basis:
    """What stands now. Datasets whose rules look at their rows alone cost nothing here."""
    lake = platform.lake
    references: dict[ReferenceUse, Mapping[str, Manifest]] = {}
    for use in dataset.references:
        of_all = use.extent is Extent.ALL
        names = lake.partitions(CHECKED, use.dataset) if of_all else [partition]
        found = {name: lake.latest(CHECKED, use.dataset, name) for name in names}
        references[use] = {name: manifest for name, manifest in found.items() if manifest is not None}
    measures = frozenset().union(*(watched_measures(ruleset) for ruleset in dataset.rulesets))
    earlier = EvaluationHistory(lake.store).earlier(dataset.name, partition, measures) if measures else {}
    return Basis(partition, references, earlier)


def source_files(raw: Manifest) -> Sequence[SourceFile]:
    """The source files a partition was made from, as the raw layer names them."""
    return [
        SourceFile(one["name"], one["bytes"], one["sha256"], datetime.fromisoformat(one["landed_at"]))
        for one in raw.details["sources"]
    ]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
