"""Versions of a recipe: counted as DataBrew counts them, never changed, known by what they say."""

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from city_platform.cleaning.versions import (
    CHECKSUMS,
    FOLDER,
    NothingToPublish,
    UnknownVersion,
    VersionChanged,
    find,
    publish,
    remember,
)
from city_platform.datasets import Dataset, load_dataset
from city_platform.local.store import LocalObjectStore
from tests.town import FIXTURES

NOW = datetime(2026, 3, 9, 16, 30, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / "trees", tmp_path / "datasets" / "trees"))


def loaded(folder: Path) -> Dataset:
    dataset, findings = load_dataset(folder)
    assert dataset is not None, findings
    return dataset


def published(folder: Path, description: str = "") -> Dataset:
    dataset = loaded(folder)
    publish(folder, "trees", dataset.working_recipe, dataset.recipe_versions, description, NOW)
    return loaded(folder)


def change(folder: Path) -> None:
    """Puts one more step before the others."""
    file = folder / "recipe.json"
    steps = json.loads(file.read_text())
    more = {"Action": {"Operation": "UPPER_CASE", "Parameters": {"sourceColumn": "Species"}}}
    file.write_text(json.dumps([more, *steps]))


def test_versions_count_up_and_the_working_recipe_is_known_by_what_it_says(folder: Path) -> None:
    assert (loaded(folder).recipe_version, loaded(folder).recipe_versions) == ("LATEST_WORKING", ())
    assert published(folder, "first").recipe_version == "1.0"
    file = folder / "recipe.json"
    file.write_text(json.dumps(json.loads(file.read_text()), indent=7))
    assert loaded(folder).recipe_version == "1.0"
    change(folder)
    assert loaded(folder).recipe_version == "LATEST_WORKING"
    dataset = published(folder, "second")
    assert dataset.recipe_version == "2.0"
    assert [(one.number, one.description, one.published_at) for one in dataset.recipe_versions] == [
        ("1.0", "first", NOW),
        ("2.0", "second", NOW),
    ]
    with pytest.raises(NothingToPublish, match=r"version 2\.0"):
        published(folder)
    found = find("LATEST_PUBLISHED", dataset.working_recipe, dataset.recipe_versions)
    assert (found.number, found.steps) == ("2.0", dataset.recipe.written)
    with pytest.raises(UnknownVersion, match=r"LATEST_WORKING, 1\.0, 2\.0"):
        find("3.0", dataset.working_recipe, dataset.recipe_versions)


def test_other_tools_read_the_checksums(folder: Path) -> None:
    published(folder)
    below = folder / FOLDER
    tool = shutil.which("sha256sum")
    if tool is None:
        pytest.skip("there is no sha256sum on this machine")
    assert subprocess.run([tool, "-c", CHECKSUMS], cwd=below, check=False, capture_output=True).returncode == 0


def test_a_published_version_that_was_edited_removed_or_made_by_hand_is_a_mistake(folder: Path) -> None:
    published(folder)
    change(folder)
    published(folder)
    below = folder / FOLDER
    text = (below / "1.0.json").read_text()
    (below / "1.0.json").write_text(text.replace("Height", "Height ", 1))
    (below / "2.0.json").rename(below / "3.0.json")
    (below / "notes.txt").write_text("x")
    (below / ".hidden").write_text("x")
    dataset, findings = load_dataset(folder)
    assert dataset is None
    assert [(one.file.removeprefix(f"datasets/trees/{FOLDER}/"), one.problem) for one in findings] == [
        ("1.0.json", "version 1.0 is published and was edited"),
        ("3.0.json", f"{CHECKSUMS} does not name it"),
        (CHECKSUMS, "the published file 2.0.json is missing"),
        ("notes.txt", "no published version"),
    ]
    assert all("publish" in one.remedy for one in findings)
    (below / "1.0.json").write_bytes(text.replace("\n", "\r\n").encode())
    (below / "3.0.json").rename(below / "2.0.json")
    (below / "notes.txt").unlink()
    assert loaded(folder).recipe_version == "2.0"  # line ends are git's to choose
    (below / CHECKSUMS).write_text("not a checksum\n")
    assert {one.line for one in load_dataset(folder)[1]} == {0, 1}
    (below / CHECKSUMS).unlink()
    assert any(one.problem == "the file is missing or too large" for one in load_dataset(folder)[1])


def test_the_lake_finds_out_who_rewrites_a_version_with_its_checksum(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path / "lake")
    remember(store, "trees", "LATEST_WORKING", "a")
    remember(store, "trees", "1.0", "a")
    remember(store, "trees", "1.0", "a")
    remember(store, "trees", "2.0", "b")
    remember(store, "roads", "1.0", "b")
    with pytest.raises(VersionChanged, match=r"trees: version 1\.0 .* with other steps"):
        remember(store, "trees", "1.0", "b")
