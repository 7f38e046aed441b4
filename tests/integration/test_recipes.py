"""Recipes at work: their version with the data they made, the same one elsewhere, steps under a secret, the command."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from assets.graph import materialization
from city_platform.cleaning.versions import CHECKSUMS, FOLDER, VersionChanged, publish
from city_platform.cli import session
from city_platform.cli.app import app
from city_platform.datasets import Dataset, load_dataset
from city_platform.lake.manifest import Manifest
from city_platform.layers import cleaned, freshness, landing, raw
from city_platform.layers.platform import Platform
from city_platform.protection.keyed import decrypting
from city_platform.protection.masking import pseudonym_key
from tests.town import FIXTURES, Tree, good_trees, trees_csv

NOW = datetime(2026, 3, 9, 16, 30, tzinfo=UTC)
Folder = Callable[[str], Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """The trees' folder under a name of its own, in a checkout of its own."""

    def copy(name: str) -> Path:
        copied = Path(shutil.copytree(FIXTURES / "trees", tmp_path / "checkout" / "datasets" / name))
        contract = copied / "contract.yaml"
        contract.write_text(contract.read_text().replace("name: trees", f"name: {name}"))
        return copied

    return copy


def loaded(folder: Path) -> Dataset:
    dataset, findings = load_dataset(folder)
    assert dataset is not None, findings
    return dataset


def cleaned_years(platform: Platform, dataset: Dataset, tmp_path: Path, rows: list[Tree]) -> dict[str, Manifest]:
    landed = landing.land(platform, dataset, trees_csv(tmp_path / f"{dataset.name}.csv", rows))
    for year in landed.partitions:
        raw.materialize(platform, dataset, year)
    return {year: cleaned.materialize(platform, dataset, year) for year in landed.partitions}


def test_the_version_of_the_recipe_stands_with_everything_it_made(
    platform: Platform, folder: Folder, tmp_path: Path
) -> None:
    trees = folder("trees")
    first = loaded(trees)
    publish(trees, "trees", first.working_recipe, (), "first", NOW)
    dataset = loaded(trees)
    cleaned_years(platform, dataset, tmp_path, good_trees(2024))
    for layer in freshness.LAYERS[2:]:
        layer.materialize(platform, dataset, "2024")
    for layer in freshness.LAYERS:
        manifest = platform.lake.require(layer.LAYER, "trees", "2024")
        told = materialization(dataset, manifest, platform.lake).metadata or {}
        if layer is raw:
            assert not {"recipe", "dagster/column_lineage"} & told.keys()
            continue
        assert told["recipe"].value == f"1.0 (sha256 {dataset.recipe.hash})", layer.LAYER
        names = [name for name, _ in manifest.schema if not name.startswith("_")]
        assert list(told["dagster/column_lineage"].value.deps_by_column) == names
    # The same number with other steps, checksums and all: the lake remembers.
    shutil.rmtree(trees / FOLDER)
    steps = [{"Action": {"Operation": "UPPER_CASE", "Parameters": {"sourceColumn": "Species"}}}, *first.recipe.written]
    (trees / "recipe.json").write_text(json.dumps(steps))
    publish(trees, "trees", loaded(trees).working_recipe, (), "rewritten", NOW)
    with pytest.raises(VersionChanged, match=r"version 1\.0"):
        cleaned.materialize(platform, loaded(trees), "2024")


def test_one_recipe_cleans_other_years_and_other_datasets(platform: Platform, folder: Folder, tmp_path: Path) -> None:
    trees, groves = loaded(folder("trees")), loaded(folder("groves"))
    assert trees.recipe_hash == groves.recipe_hash
    rows = [*good_trees(2023, 7), *good_trees(2024, 5)]
    made = [cleaned_years(platform, dataset, tmp_path, rows) for dataset in (trees, groves)]
    for year, count in {"2023": 7, "2024": 5}.items():
        one, other = (years[year] for years in made)
        assert one.counts == other.counts
        assert one.counts["rows"] == count
        assert one.version == other.version


def test_removed_rows_are_kept_with_the_step_and_secrets_stay_out_of_the_lake(
    platform: Platform, folder: Folder, tmp_path: Path
) -> None:
    trees = folder("trees")
    steps = [
        {"Action": {"Operation": "REMOVE_MISSING", "Parameters": {"sourceColumn": "Species"}}},
        {"Action": {"Operation": "DUPLICATE", "Parameters": {"sourceColumn": "Planter", "targetColumn": "p"}}},
        *(
            {"Action": {"Operation": operation, "Parameters": {"sourceColumns": f'["{column}"]', "secretId": "s"}}}
            for operation, column in (("CRYPTOGRAPHIC_HASH", "Species"), ("DETERMINISTIC_ENCRYPT", "Planter"))
        ),
        {"Action": {"Operation": "DELETE", "Parameters": {"sourceColumn": "p"}}},
        *loaded(trees).recipe.written,
    ]
    (trees / "recipe.json").write_text(json.dumps(steps))
    dataset = loaded(trees)
    rows: list[Tree] = [*good_trees(2024, 4), (7, None, "2024-05-01", "1", "Ann Elm")]
    made = cleaned_years(platform, dataset, tmp_path, rows)["2024"]
    assert made.counts["rows_in"] == made.counts["rows"] + made.counts["removed"] + made.counts["duplicates"] == 5
    (removed,) = platform.lake.paths(made, "removed")
    assert pq.read_table(removed)["_removed"].to_pylist() == ["recipe step 1, REMOVE_MISSING on Species"]
    table = pq.read_table(platform.lake.paths(made, "rows")[0])
    assert len({*table["Species"].to_pylist()}) == 1
    assert len(table["Species"][0].as_py()) == 64
    key = pseudonym_key(platform.keys, platform.lake.store, "trees")
    assert {decrypting(key, "s")(one) for one in table["Planter"].to_pylist()} == {"Sam Poole"}
    assert cleaned.materialize(platform, dataset, "2024").version == made.version


def test_the_command_publishes_lists_shows_and_compares(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    trees = folder("trees")
    monkeypatch.setattr(session, "CHECKOUT", trees.parents[1])
    runner = CliRunner()

    def call(*arguments: str, code: int = 0) -> dict[str, object]:
        done = runner.invoke(app, ["recipes", *arguments, "--json"])
        assert done.exit_code == code, done.output
        told = json.loads(done.stdout)
        assert isinstance(told, dict)
        return told

    assert call("publish", "trees", "-m", "first")["version"] == "1.0"
    assert "change it first" in str(call("publish", "trees", "-m", "again", code=3)["error"])
    steps = loaded(trees).recipe.written
    more = {
        "Action": {"Operation": "REMOVE_VALUES", "Parameters": {"sourceColumn": "Species"}},
        "ConditionExpressions": [{"Condition": "IS", "Value": "?", "TargetColumn": "Species"}],
    }
    (trees / "recipe.json").write_text(json.dumps([more, *steps]))
    changes = call("diff", "trees")
    assert changes == {
        "dataset": "trees",
        "before": "1.0",
        "after": "LATEST_WORKING",
        "removed": [],
        "added": ['REMOVE_VALUES(sourceColumn="Species") where Species IS ?'],
    }
    call("publish", "trees", "-m", "second [bold]")
    assert call("show", "trees", "--version", "LATEST_PUBLISHED")["Steps"] == [more, *steps]
    assert call("show", "trees", "--version", "1.0")["Steps"] == steps
    assert call("show", "trees", "--version", "9.0", code=3)
    recipes = call("list")["recipes"]
    assert isinstance(recipes, list)
    assert [(one["running"], len(one["versions"])) for one in recipes] == [("2.0", 3)]
    for arguments in (["list"], ["show", "trees"], ["diff", "trees", "1.0", "2.0"]):
        shown = runner.invoke(app, ["recipes", *arguments])
        assert (shown.exit_code, "REMOVE_VALUES" in shown.output or "second [bold]" in shown.output) == (0, True)
    (trees / FOLDER / CHECKSUMS).write_text("")
    assert "publish again" in str(call("list", code=3)["error"])
