"""Finding what there is, what is not described, and what is there twice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from city_platform.contracts.model import Classification
from city_platform.lake.lake import Lake
from city_platform.ports import CatalogTable

SAME_COLUMNS = 0.9  # two datasets of which this share of the columns is the same are likely one
_NOT_COMPARED = {"rejected"}  # every register has the same columns


@dataclass(frozen=True, slots=True)
class Hit:
    """Where a search found its words: in a table's own words, or in those of a column."""

    table: str
    column: str  # empty for the table itself
    type: str
    classification: str
    description: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two datasets that look like one, and why."""

    one: str
    other: str
    reason: str


def search(tables: Sequence[CatalogTable], words: str) -> list[Hit]:
    """The tables and columns whose name or description holds every word, regardless of case; names first."""
    wanted = words.casefold().split()
    found: list[tuple[int, Hit]] = []
    for table in tables:
        name = f"{table.database}.{table.name}"
        found += _hits(wanted, name, Hit(name, "", "", "", table.description))
        for column in table.columns:
            hit = Hit(name, column.name, column.type, column.classification, column.description)
            found += _hits(wanted, column.name, hit)
    return [hit for _, hit in sorted(found, key=lambda one: one[0])]


def _hits(wanted: Sequence[str], name: str, hit: Hit) -> Iterator[tuple[int, Hit]]:
    if not wanted:
        return
    if all(word in name.casefold() for word in wanted):
        yield 0, hit
    elif all(word in f"{name} {hit.description}".casefold() for word in wanted):
        yield 1, hit


def undescribed(tables: Sequence[CatalogTable]) -> list[str]:
    """Every column without description, type, source or classification, as `curated.trees.Species: no description`."""
    known = {one.value for one in Classification}
    problems = []
    for table in tables:
        for column in (*table.columns, *table.partition_keys):
            facts = {"description": column.description, "type": column.type, "source": column.source}
            missing = [fact for fact, text in facts.items() if not text.strip()]
            missing += [] if column.classification in known else ["classification"]
            if missing:
                problems.append(f"{table.database}.{table.name}.{column.name}: no {', no '.join(missing)}")
    return problems


def duplicates(tables: Sequence[CatalogTable], lake: Lake, datasets: Sequence[str]) -> list[Duplicate]:
    """Datasets that took in the same file, or whose tables of one layer have nearly the same columns."""
    contents = {dataset: _contents(lake, dataset) for dataset in datasets}
    found = []
    for one, other in combinations(sorted(contents), 2):
        for digest in sorted(contents[one].keys() & contents[other].keys()):
            names = f"{contents[one][digest]} and {contents[other][digest]}"
            found.append(Duplicate(one, other, f"they took in the same bytes: {names}"))
    for left, right in combinations(sorted(tables, key=lambda table: (table.database, table.name)), 2):
        if left.database == right.database and left.database not in _NOT_COMPARED:
            alike = _alike(left, right)
            if alike >= SAME_COLUMNS:
                reason = f"{alike:.0%} of the columns of their {left.database} tables are the same"
                found.append(Duplicate(left.name, right.name, reason))
    return found


def _contents(lake: Lake, dataset: str) -> Mapping[str, str]:
    """sha256 to name of every source that counts now."""
    landed = lake.latest("landing", dataset, "all")
    return {one["sha256"]: one["name"] for one in landed.details["sources"]} if landed else {}


def _alike(one: CatalogTable, other: CatalogTable) -> float:
    """The share of same columns, by name and type, in the wider table; the platform's own columns do not count."""
    left, right = (
        {(column.name.casefold(), column.type) for column in table.columns if not column.name.startswith("_")}
        for table in (one, other)
    )
    return len(left & right) / max(len(left), len(right), 1)
