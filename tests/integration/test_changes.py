"""What changed between two versions: against a count by hand, on the city's register, and what is left alone."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from city_platform.datasets import Dataset, load_dataset
from city_platform.lake.lake import StagedFile
from city_platform.layers import cleaned, landing, raw
from city_platform.layers.changes import PERSONAL, Changes, changed_rows, changes_since
from city_platform.layers.landing import land
from city_platform.layers.platform import Platform
from tests.town import ROOT, Tree, good_trees, trees_csv

Row = tuple[int | None, str | None, float | None, str | None]  # key, two columns, and the one that tells the newer
COLUMNS = ("TreeID", "Species", "Height", "Planter")
rows = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(0, 6)),
        st.sampled_from([None, "", "Acer"]),
        st.sampled_from([None, 1.5, 2.5]),
        st.sampled_from([None, "A", "B"]),
    ),
    max_size=8,
)


def one_a_key(drawn: Sequence[Row]) -> list[Row]:
    """As the cleaned layer has them."""
    keyed = {row[0]: row for row in drawn if row[0] is not None}
    return [*keyed.values(), *(row for row in drawn if row[0] is None)]


def by_hand(before: Sequence[Row], after: Sequence[Row]) -> tuple[int, int, int, Mapping[str, int]]:
    """Inserted, updated, deleted, and updated rows by column; Height is the trees' `latestBy`."""
    old, new = ({row[0]: row for row in side if row[0] is not None} for side in (before, after))
    columns: Counter[str] = Counter()
    updated = 0
    for key in old.keys() & new.keys():
        differing = [COLUMNS[place] for place in (1, 3) if old[key][place] != new[key][place]]
        columns.update(differing)
        updated += bool(differing)
    less, more = (Counter((row[1], row[3]) for row in side if row[0] is None) for side in (before, after))
    inserted = len(new.keys() - old.keys()) + (more - less).total()
    return inserted, updated, len(old.keys() - new.keys()) + (less - more).total(), dict(columns)


def written(file: Path, drawn: Sequence[Row]) -> StagedFile:
    types = (pa.int64(), pa.string(), pa.float64(), pa.string())
    columns = [pa.array([row[place] for row in drawn], kind) for place, kind in enumerate(types)]
    places = pa.array(range(len(drawn)), pa.int64())
    pq.write_table(pa.table([*columns, places], names=[*COLUMNS, "_row"]), file)
    return StagedFile.of(file, len(drawn))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=rows.map(one_a_key), after=rows.map(one_a_key))
def test_changes_are_those_counted_by_hand(
    platform: Platform, trees: Dataset, tmp_path: Path, before: list[Row], after: list[Row]
) -> None:
    lake, partition = platform.lake, "2024"
    newest = lake.latest("cleaned", "trees", partition)
    version = lake.publish(
        "cleaned", "trees", partition, inputs={"n": str(newest.sequence if newest else 0)},
        parts={"rows": [written(tmp_path / "before.parquet", before)]}, counts={}, schema=[],
    ).version  # fmt: skip
    with platform.engine.session() as session:
        file = written(lake.store.scratch() / "after.parquet", after).path  # where the engine may read
        found = changes_since(session, lake, trees, partition, "cleaned", [file], "another version")
    assert found is not None
    assert found.since == version
    assert (found.inserted, found.updated, found.deleted, found.columns) == by_hand(before, after)


def make(platform: Platform, dataset: Dataset, year: str) -> Changes | None:
    raw.materialize(platform, dataset, year)
    body = cleaned.materialize(platform, dataset, year).details["changes"]
    return Changes.from_json(body) if body else None


def taller(trees: Sequence[Tree]) -> list[Tree]:
    return [(*tree[:3], "99.5", tree[4]) for tree in trees]


def test_only_years_whose_rows_changed_are_made_again(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    """A new row at the top moves every other row of the file, and still only its own year is touched."""
    file = tmp_path / "trees.csv"
    land(platform, trees, trees_csv(file, [*good_trees(2022), *good_trees(2023), *good_trees(2024)]))
    for year in ("2022", "2023", "2024"):
        assert make(platform, trees, year) is None
    before = {year: raw.inputs(platform, trees, year) for year in ("2022", "2023", "2024")}
    new: Tree = (1, "Ilex", "2024-01-01", "1.5", "Sam Poole")
    rows = [new, *good_trees(2024), *reversed(good_trees(2023)), *good_trees(2022)[1:], good_trees(2022)[0]]
    landed = land(platform, trees, trees_csv(file, rows))
    assert landed.partitions == ("2024",)
    after = {year: raw.inputs(platform, trees, year) for year in before}
    assert {year for year in before if before[year] != after[year]} == {"2024"}
    changes = make(platform, trees, "2024")
    assert changes is not None
    assert (changes.inserted, changes.updated, changes.deleted) == (1, 0, 0)
    # Once more, and a change that stays within the column that tells the newer: counted the same, and not at all.
    assert make(platform, trees, "2024") == changes
    landed = land(platform, trees, trees_csv(file, [*rows[:-1], *taller(rows[-1:])]))
    assert landed.partitions == ("2022",)
    found = make(platform, trees, "2022")
    assert found is not None
    assert (found.inserted, found.updated, found.deleted) == (0, 0, 0)


def test_another_header_is_another_content(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    file = trees_csv(tmp_path / "trees.csv", good_trees(2024))
    land(platform, trees, file)
    file.write_bytes(file.read_bytes().replace(b"Species", b"LatinName"))
    assert land(platform, trees, file).partitions == ("2024",)


def test_changed_rows_are_shown_without_personal_values(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "trees.csv"
    old = good_trees(2024, 6)
    land(platform, trees, trees_csv(file, old))
    make(platform, trees, "2024")
    moved = (*old[1][:4], "Kim Secret")
    land(platform, trees, trees_csv(file, [(old[0][0], "Ilex", *old[0][2:]), moved, *old[2:5], (7, *old[5][1:])]))
    changes = make(platform, trees, "2024")
    assert changes is not None
    assert (changes.inserted, changes.updated, changes.deleted) == (1, 2, 1)
    assert changes.columns == {"Species": 1, "Planter": 1}
    with platform.engine.session() as session:
        shown = changed_rows(session, platform.lake, trees, "2024", "cleaned", 10)
        assert changed_rows(session, platform.lake, trees, "2024", "cleaned", 2) == shown[:2]
    assert [(one.kind, one.key) for one in shown] == [
        ("updated", {"TreeID": "2024000"}),
        ("updated", {"TreeID": "2024001"}),
        ("inserted", {"TreeID": "7"}),
        ("deleted", {"TreeID": "2024005"}),
    ]
    assert shown[0].values == {"Species": ("Acer rubrum", "Ilex")}
    assert shown[1].values == {"Planter": (PERSONAL, PERSONAL)}
    assert "Secret" not in str(shown)
    assert "Poole" not in str(shown)


@pytest.mark.real_data
def test_two_snapshots_of_the_register_differ_as_published(platform: Platform, real_data: Path, tmp_path: Path) -> None:
    """1,425 animals came, 615 entries changed hands, 24 left meanwhile, none was deleted; two years are touched.

    The second snapshot is made from the published one: new animals come first in it and move all others.
    """
    dataset, mistakes = load_dataset(ROOT / "datasets" / "animal_register")
    assert dataset is not None, mistakes
    source = real_data / "vancouver" / "animal-control" / "animal-control-inventory-register_2022-02.csv"
    with source.open(encoding="utf-8-sig", newline="") as file:
        header, *animals = csv.reader(file, delimiter=";")
    place = {name: header.index(name) for name in ("AnimalID", "DateImpounded", "EnteredBy", "DispositionDate")}
    at = {year: [one for one in animals if one[place["DateImpounded"]].startswith(year)] for year in ("2018", "2021")}
    first_free = max(int(one[place["AnimalID"]]) for one in animals) + 1
    copier, first = tmp_path / "animal-control-inventory-register.csv", source.read_bytes()
    copier.write_bytes(first)
    land(platform, dataset, copier)
    for year in at:
        assert make(platform, dataset, year) is None

    for one in at["2018"][:615]:
        one[place["EnteredBy"]] = "SOMEBODYELSE"
    for one in at["2021"][:24]:
        one[place["DispositionDate"]] = "2022-02-14"
    came = [list(animals[number % len(at["2021"])]) for number in range(1425)]
    for number, one in enumerate(came):
        one[place["AnimalID"]], one[place["DateImpounded"]] = str(first_free + number), "2021-12-31"
    with copier.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=";").writerows([header, *came, *animals])
    assert land(platform, dataset, copier).partitions == ("2018", "2021")
    untouched = landing.sources(platform.lake, dataset.name)[0].content_by_partition
    assert len(untouched) > 20
    changed, grown = make(platform, dataset, "2018"), make(platform, dataset, "2021")
    assert changed is not None
    assert grown is not None
    assert (changed.inserted, changed.updated, changed.deleted, changed.columns) == (0, 615, 0, {"EnteredBy": 615})
    assert (grown.inserted, grown.updated, grown.deleted, grown.columns) == (1425, 24, 0, {"DispositionDate": 24})
