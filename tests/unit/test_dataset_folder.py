"""Loading dataset folders: every mistake of every folder at once, and hashes that do not depend on the machine."""

import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from city_platform.contracts.load import about_rows
from city_platform.datasets import load_dataset, load_datasets
from city_platform.errors import InvalidDefinition

DATASETS = Path(__file__).parents[2] / "datasets"
FILES = ("contract.yaml", "recipe.json", "rules.dqdl", "curated.sql")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the city's datasets, to be spoilt."""
    return Path(shutil.copytree(DATASETS, tmp_path / "datasets"))


def findings_of(root: Path) -> list[str]:
    with pytest.raises(InvalidDefinition) as raised:
        load_datasets(root)
    return [str(finding) for finding in raised.value.findings]


def test_the_city_s_datasets_load() -> None:
    datasets = load_datasets(DATASETS)
    assert [dataset.name for dataset in datasets] == sorted(folder.name for folder in DATASETS.iterdir())
    for dataset in datasets:
        assert dataset.contract.name == dataset.folder.name == dataset.name
        hashes = (dataset.contract_hash, dataset.recipe_hash, dataset.ruleset_hash, dataset.curated_hash)
        # Of a contract without what makes no row another one.
        texts = [about_rows((dataset.folder / name).read_bytes().decode()) for name in FILES]
        assert hashes == tuple(hashlib.sha256(text.encode()).hexdigest() for text in texts)
        advisory = [name for name, _ in dataset.advisory]
        assert advisory == sorted(one.stem for one in dataset.folder.glob("*.dqdl") if one.name != "rules.dqdl")


def test_loading_is_fast_enough_for_every_process_start(tmp_path: Path) -> None:
    shutil.copytree(DATASETS, root := tmp_path / "datasets")
    load_datasets(DATASETS)  # grammars and schemas are compiled once
    started = time.process_time()
    datasets = load_datasets(root)
    assert time.process_time() - started < 0.15 * len(datasets)  # a fifth of that on an idle machine


@pytest.mark.parametrize("ending", [b"\r\n", b"\r"])
def test_line_ends_do_not_change_a_hash(root: Path, ending: bytes) -> None:
    for file in (one for one in root.rglob("*") if one.is_file()):
        file.write_bytes(file.read_bytes().replace(b"\n", ending))
    for here, there in zip(load_datasets(root), load_datasets(DATASETS), strict=True):
        assert (here.contract_hash, here.recipe_hash) == (there.contract_hash, there.recipe_hash)
        assert (here.ruleset_hash, here.curated_hash) == (there.ruleset_hash, there.curated_hash)
        assert here.curated_sql == there.curated_sql


def test_a_changed_file_changes_its_hash_alone(root: Path) -> None:
    file = root / "parking_tickets" / "curated.sql"
    file.write_text(file.read_text("utf-8") + "-- a remark\n", "utf-8")
    before, after = (
        next(one for one in load_datasets(place) if one.name == file.parent.name) for place in (DATASETS, root)
    )
    assert after.curated_hash != before.curated_hash
    assert (after.contract_hash, after.recipe_hash) == (before.contract_hash, before.recipe_hash)
    assert after.ruleset_hash == before.ruleset_hash


def _remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def _append(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + data)


def _directory_instead(folder: Path) -> None:
    (folder / "curated.sql").unlink()
    (folder / "curated.sql").mkdir()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        *((_remove(name), f"datasets/parking_tickets/{name}: the file is missing -> add it") for name in FILES),
        (lambda folder: (folder / "notes.txt").touch(), "notes.txt: a file that means nothing here -> rename it"),
        (lambda folder: (folder / "old").mkdir(), "datasets/parking_tickets/old: a folder that means nothing here"),
        (
            lambda folder: (folder / "recipe.json").rename(folder / "recipes.json"),
            "recipes.json: a file that means nothing here -> write 'recipe.json' as its name",
        ),
        (_append("contract.yaml", b"# \xff\n"), "the byte 0xFF is not UTF-8 -> save the file as UTF-8"),
        (_append("curated.sql", b" " * 1_000_001), "curated.sql: the file is larger than 1,000,000 bytes"),
        (_directory_instead, "curated.sql: the file cannot be read"),
        (
            lambda folder: folder.rename(folder.with_name("tickets")),
            "the contract's name is 'parking_tickets', its folder's 'tickets' -> give both the same name",
        ),
        (
            lambda folder: (folder / "mine.dqdl").write_text("Rules = [", "utf-8"),
            "datasets/parking_tickets/mine.dqdl:1:",
        ),
    ],
)
def test_a_mistake_in_the_folder(root: Path, spoil: Callable[[Path], object], expected: str) -> None:
    spoil(root / "parking_tickets")
    assert any(expected in finding for finding in findings_of(root)), findings_of(root)


def test_the_place_of_bytes_that_are_not_text(root: Path) -> None:
    file = root / "parking_tickets" / "contract.yaml"
    lines = file.read_bytes().count(b"\n")
    file.write_bytes(file.read_bytes() + b"# \xff\n")
    assert f"datasets/parking_tickets/contract.yaml:{lines + 1}:3: " in findings_of(root)[0]


def test_files_left_by_editors_are_no_mistake(root: Path) -> None:
    (root / "parking_tickets" / ".DS_Store").touch()
    (root / "parking_tickets" / ".rules.dqdl").write_text("rubbish", "utf-8")
    (root / "__pycache__").mkdir()
    (root / "README.md").touch()
    (root / "business_licences" / "questions" / ".fee.sql.swp").touch()
    assert len(load_datasets(root)) == len(load_datasets(DATASETS))


def test_mistakes_of_all_files_and_folders_show_at_once(root: Path) -> None:
    (root / "empty").mkdir()
    tickets, licences = root / "parking_tickets", root / "business_licences"
    for file, old, new in (
        (tickets / "contract.yaml", "value: year-of-date", "value: yearly"),
        (tickets / "curated.sql", "summary.Status AS", "summary.Stauts AS"),
        (licences / "contract.yaml", "domain: licensing", "domian: licensing"),
        (licences / "curated.sql", "FROM trusted", "FROM passed"),
    ):
        text = file.read_text("utf-8")
        assert old in text
        file.write_text(text.replace(old, new, 1), "utf-8")
    (tickets / "recipe.json").write_text("[", "utf-8")
    (licences / "rules.dqdl").write_text("Rules = [", "utf-8")
    findings = findings_of(root)
    for place in (
        "datasets/parking_tickets/contract.yaml:",
        "datasets/parking_tickets/curated.sql:",
        "datasets/parking_tickets/recipe.json:",
        "datasets/business_licences/contract.yaml:",
        "datasets/business_licences/curated.sql:",
        "datasets/business_licences/rules.dqdl:",
        *(f"datasets/empty/{name}: the file is missing" for name in FILES),
    ):
        assert any(finding.startswith(place) for finding in findings), (place, findings)


def test_no_such_root(tmp_path: Path) -> None:
    assert "there is no folder nowhere" in findings_of(tmp_path / "nowhere")[0]


def test_an_empty_root_holds_no_datasets(tmp_path: Path) -> None:
    assert load_datasets(tmp_path) == ()


def test_one_dataset(root: Path) -> None:
    dataset, findings = load_dataset(root / "parking_tickets")
    assert findings == []
    assert dataset is not None
    assert dataset.folder == root / "parking_tickets"
    (root / "parking_tickets" / "rules.dqdl").unlink()
    dataset, findings = load_dataset(root / "parking_tickets")
    assert dataset is None
    assert [one.file for one in findings] == ["datasets/parking_tickets/rules.dqdl"]
