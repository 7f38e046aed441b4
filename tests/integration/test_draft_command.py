"""From a file that nobody has described to a dataset of the platform: drafted, decided upon, loaded."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.contracts.model import Classification
from city_platform.datasets import load_datasets, read_folders

HEADER = "Bench No,Opened On,Contact,Phone,Condition,Fee,Remarks,Seen at"
CONDITIONS = ("Good", "Fair", "Broken")


def benches(file: Path, rows: int = 300) -> Path:
    """A town's benches over two years, with dates as month/day/year and with a person to call."""
    lines = [
        f"{1000 + place},{place % 12 + 1}/{place % 28 + 1}/{2023 + place % 2},Pat Q{'abcdefgh'[place % 8]}z,"
        f"604-555-{place:04d},{CONDITIONS[place % 3]},{place % 40}.50,  said  so ,"
        f"2024-05-{place % 28 + 1:02d}T10:00:00-07:00"
        for place in range(rows)
    ]
    file.write_text("\n".join([HEADER, *lines]) + "\n", "utf-8")
    return file


def call(*arguments: object) -> tuple[int, dict[str, object], str]:
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    return done.exit_code, json.loads(done.stdout), done.output


@pytest.fixture
def towns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CITY_PLATFORM_HOME", str(tmp_path / "home"))
    return tmp_path / "datasets"


def decided(contract: str) -> str:
    """As a steward leaves it: every question answered, every proposal taken over, the status active."""
    reviewed = re.sub(r" +- property: review\n +value: .*\n", "", contract)
    emptied = re.sub(r" +customProperties:\n(?! +- )", "", reviewed)
    return re.sub(r'"DECIDE: [^"]*"', "As the steward says.", emptied).replace("status: draft", "status: active")


def test_a_draft_becomes_a_dataset_once_a_person_has_decided(towns: Path, tmp_path: Path) -> None:
    file = benches(tmp_path / "Park-Benches_2024.csv")
    code, told, _ = call("datasets", "draft", file, "--folder", towns)
    assert (code, told["dataset"], told["rows"], told["gate"]) == (0, "park_benches", 300, "open")
    contract = towns / "park_benches" / "contract.yaml"
    assert list(towns.iterdir()) == [contract.parent]

    columns = {one["name"]: one for one in told["columns"]}  # type: ignore[attr-defined]
    types = {name: (one["type"], one["classification"]) for name, one in columns.items()}
    assert types == {
        "BenchNo": ("INTEGER", "internal"),
        "OpenedOn": ("DATE", "public"),
        "Contact": ("VARCHAR", "personal"),
        "Phone": ("VARCHAR", "personal"),
        "Condition": ("VARCHAR", "public"),
        "Fee": ("DECIMAL(12,2)", "public"),
        "Remarks": ("VARCHAR", "personal"),
        "SeenAt": ("TIMESTAMP WITH TIME ZONE", "public"),
    }
    assert [name for name, one in columns.items() if one["key"]] == ["BenchNo"]
    assert [name for name, one in columns.items() if one["partition"]] == ["OpenedOn"]
    written = "".join(one.read_text("utf-8") for one in contract.parent.iterdir())
    assert "Pat Q" not in written
    assert "604-555" not in written
    assert '["Broken", "Fair", "Good", NULL]' in (contract.parent / "rules.dqdl").read_text("utf-8")

    # As long as it is a draft it stops nobody, and the check says what is left.
    assert load_datasets(towns) == ()
    code, told, _ = call("datasets", "check", "--folder", towns)
    questions = told["drafts"]["park_benches"]  # type: ignore[index]
    assert (code, told["mistakes"], len(questions)) == (0, [], told_count(contract))
    assert all(one["file"] == "datasets/park_benches/contract.yaml" and one["line"] > 0 for one in questions)

    # A status that says otherwise than the questions is refused, each of them named.
    text = contract.read_text("utf-8")
    contract.write_text(text.replace("status: draft", "status: active"), "utf-8")
    code, told, _ = call("datasets", "check", "--folder", towns)
    assert (code, told["mistakes"]) == (3, questions)

    contract.write_text(decided(text), "utf-8")
    code, told, _ = call("datasets", "check", "--folder", towns)
    assert (code, told["mistakes"], told["warnings"], told["drafts"]) == (0, [], [], {})
    (dataset,) = load_datasets(towns)
    assert {one.name for one in dataset.contract.columns if one.classification is Classification.PERSONAL} == {
        "Contact",
        "Phone",
        "Remarks",
    }


def told_count(contract: Path) -> int:
    return contract.read_text("utf-8").count('"DECIDE: ')


def test_a_draft_can_be_tried_and_takes_no_data(towns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("city_platform.cli.session.CHECKOUT", tmp_path)
    towns.mkdir()
    file = benches(tmp_path / "benches.csv", 60)
    assert call("datasets", "draft", file)[0] == 0
    assert call("datasets", "list")[1] == {"datasets": [], "drafts": ["benches"]}
    assert call("rules", "explain", "benches")[0] == 0
    code, told, _ = call("rules", "test", "benches", file)
    assert (code, told["gate"]) == (0, "open")
    code, told, _ = call("ingest", file, "--dataset", "benches")
    assert (code, "is a draft" in str(told["error"])) == (2, True)
    code, told, _ = call("rules", "explain", "bench")
    assert code == 2


def test_a_broken_draft_is_told_and_stops_nobody(towns: Path, tmp_path: Path) -> None:
    assert call("datasets", "draft", benches(tmp_path / "b.csv"), "--folder", towns, "--name", "benches")[0] == 0
    (towns / "benches" / "rules.dqdl").write_text("Rules = [ RowCount > ]", "utf-8")
    assert load_datasets(towns) == ()
    (read,) = read_folders(towns)
    assert (read.dataset, any("rules.dqdl:1:" in str(one) for one in read.findings)) == (None, True)


def test_what_is_refused_leaves_nothing_behind(towns: Path, tmp_path: Path) -> None:
    file = benches(tmp_path / "benches.csv", 60)
    assert call("datasets", "draft", tmp_path / "absent.csv", "--folder", towns)[0] == 3
    assert call("datasets", "draft", file, "--folder", towns, "--name", "Benches!")[0] == 2
    assert call("datasets", "draft", file, "--folder", towns, "--timezone", "Mars/Base")[0] == 2
    page = tmp_path / "page.csv"
    page.write_text("<html><body>Not found</body></html>", "utf-8")
    assert call("datasets", "draft", page, "--folder", towns)[0] == 3
    empty = tmp_path / "empty.csv"
    empty.write_text("", "utf-8")
    assert call("datasets", "draft", empty, "--folder", towns)[0] == 3
    assert not towns.exists() or list(towns.iterdir()) == []

    (towns / "benches").mkdir(parents=True)
    (towns / "benches" / "mine.txt").write_text("mine", "utf-8")
    assert call("datasets", "draft", file, "--folder", towns)[0] == 2
    assert [one.name for one in (towns / "benches").iterdir()] == ["mine.txt"]
