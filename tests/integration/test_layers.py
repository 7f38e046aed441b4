"""A dataset through all layers: every row accounted for, every byte repeatable, nothing personal in public."""

import csv
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from city_platform.datasets import Dataset
from city_platform.ingestion.headers import BreakingDrift
from city_platform.lake.manifest import Manifest
from city_platform.layers import cleaned, curated, encrypted, freshness, landing, quality_checked, raw
from city_platform.layers.gated import PASSED, trusted
from city_platform.layers.platform import Platform
from city_platform.local.platform import local_platform
from tests.town import StandingClock, Tree, good_trees, trees_csv

CANARY = "Zanzibar Quillfeather"


def make(platform: Platform, trees: Dataset, year: str) -> dict[str, Manifest]:
    manifests = {}
    for layer in freshness.LAYERS:
        made = layer.materialize(platform, trees, year)
        manifests[layer.LAYER] = made[0] if isinstance(made, tuple) else made
    return manifests


def test_every_row_is_accounted_for(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    rows: list[Tree] = [
        *good_trees(2024),
        (2024000, "Acer rubrum", "2024-05-01", "99.5", "Sam Poole"),  # the same key, newer by latestBy
        (1, None, "2024-06-01", "3", "Sam Poole"),  # fails IsComplete Species
        (2, "Acer rubrum", "2024-06-01", "-3", "Sam Poole"),  # fails Height >= 0
        (3, "Acer rubrum", "2024-06-01", "tall", "Sam Poole"),  # cannot be typed, stays
        (4, "Acer rubrum", "sometime", "3", "Sam Poole"),  # has no year
    ]
    landed = landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", rows))
    made = make(platform, trees, "2024")
    assert landed.source.rows == len(rows)
    assert landed.source.unplaced == 1
    assert made["raw"].counts == {"rows": len(rows) - 1}
    assert made["cleaned"].counts == {
        "rows_in": 24,
        "rows": 23,
        "duplicates": 1,
        "removed": 0,
        "untyped_values": 1,
    }
    assert made["quality_checked"].counts == {"rows_in": 23, "rows": 21, "failed": 2}
    failed, doubles = (
        sum(pq.read_metadata(path).num_rows for path in platform.lake.paths(made[layer], part))
        for layer, part in (("quality_checked", "failed"), ("cleaned", "duplicates"))
    )
    with platform.engine.session() as session:
        trusted(platform, trees, "2024", session)
        passed = session.rows(f"SELECT count(*) FROM {PASSED}")[0][0]
        failed_rows = session.parquet(platform.lake.paths(made["quality_checked"], "failed"))
        both = session.rows(f"SELECT count(*) FROM {PASSED} SEMI JOIN {failed_rows} AS f USING (_source, _row)")[0][0]
    assert landed.source.rows == passed + failed + doubles + landed.source.unplaced
    assert both == 0
    assert made["encrypted"].counts == {"rows": passed}
    register = platform.lake.require("rejected", "trees", "2024")
    (file,) = platform.lake.paths(register, "rows")
    stages = duckdb.sql(f"SELECT stage, count(*) FROM '{file}' GROUP BY 1 ORDER BY 1").fetchall()
    assert stages == [("duplicate", 1), ("failed rule", 2), ("value not typed", 1)]


def test_failed_rows_carry_their_rules_and_reasons(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    rows = [*good_trees(2024), (1, None, "2024-06-01", "-3", "Sam Poole")]
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", rows))
    checked = make(platform, trees, "2024")["quality_checked"]
    (row,) = pq.read_table(platform.lake.paths(checked, "failed")[0]).to_pylist()
    assert len(row["_failed_rules"]) == 2 == len(row["_reasons"])
    assert any("Species" in reason for reason in row["_reasons"])
    assert set(checked.details["failed_keys"]) == set(row["_failed_rules"])
    assert all(keys == ["1"] for keys in checked.details["failed_keys"].values())


def test_of_two_rows_with_one_key_the_newer_stays(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    rows: list[Tree] = [(7, "A", "2024-01-01", h, "x") for h in ("1.00", "3.00", "2.00")]
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", rows))
    made = make(platform, trees, "2024")["cleaned"]
    (row,) = pq.read_table(platform.lake.paths(made, "rows")[0]).to_pylist()
    assert row["Height"] == Decimal("3.00")
    audit = pq.read_table(platform.lake.paths(made, "duplicates")[0])["Height"].to_pylist()
    assert sorted(audit) == [Decimal("1.00"), Decimal("2.00")]


def test_the_same_bytes_again_do_nothing(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    first = landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", good_trees(2024)))
    make(platform, trees, "2024")
    again = landing.land(platform, trees, trees_csv(tmp_path / "copy.csv", good_trees(2024)))
    assert again.known
    assert again.source == first.source
    assert freshness.outdated(platform, trees, "2024") == ()


def test_a_new_version_of_a_file_takes_the_place_of_the_old(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", [*good_trees(2023), *good_trees(2024)]))
    for year in ("2023", "2024"):
        make(platform, trees, year)
    newer = landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", good_trees(2024, count=5)))
    assert newer.partitions == ("2023", "2024")
    assert [source.sha256 for source in landing.sources(platform.lake, "trees")] == [newer.source.sha256]
    assert make(platform, trees, "2024")["cleaned"].counts["rows"] == 5


def test_other_files_are_sources_beside_it(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    landing.land(platform, trees, trees_csv(tmp_path / "north.csv", good_trees(2024, count=5)))
    south: list[Tree] = [(id_ + 500, *rest) for id_, *rest in good_trees(2024, count=5)]  # type: ignore[misc]  # mypy widens the starred rest
    landing.land(platform, trees, trees_csv(tmp_path / "south.csv", south))
    made = make(platform, trees, "2024")
    assert made["raw"].counts["rows"] == 10
    assert made["cleaned"].counts["rows"] == 10


def test_raw_is_byte_identical(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    file = trees_csv(tmp_path / "trees.csv", good_trees(2024))
    landed = landing.land(platform, trees, file)
    kept = platform.lake.store.local_path(landed.source.original.key)
    assert kept.read_bytes() == file.read_bytes()
    import hashlib

    assert landed.source.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_breaking_change_leaves_the_lake_as_it_was(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", good_trees(2024)))
    before = sorted(platform.lake.store.keys(""))
    broken = tmp_path / "broken.csv"
    broken.write_text("TREE_ID;Planted\n1;2024-01-01\n")
    with pytest.raises(BreakingDrift, match="Species"):
        landing.land(platform, trees, broken)
    assert sorted(platform.lake.store.keys("")) == before


def test_a_new_column_is_recorded_and_goes_on(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "trees.csv"
    file.write_text("tree_id;LatinName;planted;Colour\n1;Acer;2024-01-02;red\n")
    landed = landing.land(platform, trees, file)
    kinds = {drift.kind for drift in landed.source.drift}
    assert "new-column" in kinds
    assert "renamed-column" in kinds
    assert make(platform, trees, "2024")["cleaned"].counts["rows"] == 1


def test_the_same_sources_give_the_same_bytes(
    platform: Platform, trees: Dataset, tmp_path: Path, clock: StandingClock
) -> None:
    file = trees_csv(tmp_path / "trees.csv", good_trees(2024, count=500))
    elsewhere = local_platform(tmp_path / "elsewhere", clock, threads=1)
    for one in (platform, elsewhere):
        landing.land(one, trees, file)
    here, there = make(platform, trees, "2024"), make(elsewhere, trees, "2024")
    for layer in ("raw", "cleaned", "quality_checked", "curated"):
        assert here[layer].sha256 == there[layer].sha256, layer
    again = make(platform, trees, "2024")
    for layer in ("raw", "cleaned", "quality_checked", "curated"):
        assert again[layer].sha256 == here[layer].sha256, layer


def test_a_personal_value_is_in_no_byte_of_what_is_published(
    platform: Platform, trees: Dataset, tmp_path: Path
) -> None:
    rows: list[Tree] = [(i, CANARY if i % 2 else "Acer", "2024-05-01", "1", CANARY) for i in range(50)]
    rows = [(id_, "Acer", planted, height, planter) for id_, _, planted, height, planter in rows]
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", rows))
    made = make(platform, trees, "2024")
    store = platform.lake.store
    for layer in ("encrypted", "curated"):
        for file in made[layer].files:
            assert CANARY.encode() not in store.get(file.key), file.key
    for key in store.keys("manifests/"):
        assert CANARY.encode() not in store.get(key), key
    assert any(CANARY.encode() in store.get(file.key) for file in made["raw"].files)  # the test can fail


def test_curated_csv_and_parquet_hold_the_same_rows(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", good_trees(2024)))
    made = make(platform, trees, "2024")["curated"]
    (parquet,) = platform.lake.paths(made, "parquet")
    (text,) = platform.lake.paths(made, "csv")
    with text.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    table = pq.read_table(parquet)
    assert list(rows[0]) == table.column_names == ["Species", "Trees", "Planters", "Tallest in Metres"]
    assert [row["Trees"] for row in rows] == [str(n) for n in table["Trees"].to_pylist()] == ["20"]
    assert pq.read_metadata(parquet).row_group(0).column(0).compression == "SNAPPY"


def test_formulas_in_the_csv_are_harmless(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    rows: list[Tree] = [
        (i, species, "2024-05-01", "1", "x") for i, species in enumerate(["=1+1", "+1", "-1", "@SUM(A1)", "plain"])
    ]
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", rows))
    made = make(platform, trees, "2024")["curated"]
    with platform.lake.paths(made, "csv")[0].open(newline="", encoding="utf-8") as file:
        cells = {row["Species"] for row in csv.DictReader(file)}
    assert cells == {"'=1+1", "'+1", "'-1", "'@SUM(A1)", "plain"}
    assert set(pq.read_table(platform.lake.paths(made, "parquet")[0])["Species"].to_pylist()) == {
        "=1+1", "+1", "-1", "@SUM(A1)", "plain",
    }  # fmt: skip


def test_metadata_shows_no_personal_value(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", good_trees(2024)))
    for manifest in make(platform, trees, "2024").values():
        assert "Sam Poole" not in manifest.to_json().decode()
    preview = platform.lake.require("cleaned", "trees", "2024").preview
    assert set(preview[0]) == {"TreeID", "Species", "Planted", "Height"}


def test_what_depends_on_nothing_says_what_is_missing(platform: Platform, trees: Dataset) -> None:
    for layer in (raw, cleaned, quality_checked, curated, encrypted):
        with pytest.raises(Exception, match="first"):
            layer.materialize(platform, trees, "2024")


def test_a_file_written_to_while_it_is_read_is_not_landed(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    file = trees_csv(tmp_path / "trees.csv", good_trees(2024))

    def write_more(_: int) -> None:
        with file.open("ab") as growing:
            growing.write(b"1;Acer;2024-01-01;1;x\r\n")

    with pytest.raises(landing.SourceChanged, match=r"trees\.csv"):
        landing.land(platform, trees, file, write_more)
    assert landing.sources(platform.lake, "trees") == []
