"""A recipe run on a file by the command: the result, personal columns, and what is refused."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from city_platform.cli import session
from city_platform.cli.app import app
from city_platform.datasets import load_datasets
from city_platform.layers.recipe_job import all_or_nothing
from city_platform.local.platform import local_platform
from city_platform.protection.masking import pseudonym_key, pseudonymizer
from tests.town import FIXTURES, trees_csv
from tests.unit.test_cleaning_compile import step
from tests.unit.test_cleaning_reshaping import grouped

Apply = Callable[..., dict[str, Any]]
REMOVED = step("REMOVE_VALUES", ("IS", "party", '["x"]'), sourceColumn="party")
TYPED = step("CHANGE_DATA_TYPE", sourceColumn="votes", columnDataType="int")
PIVOT = step("PIVOT", sourceColumn="party", valueColumn="votes", aggregateFunction="SUM")


@pytest.fixture
def apply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apply:
    """`recipes apply` on votes.csv or the file named, in a checkout whose one dataset is the trees."""
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "datasets").symlink_to(FIXTURES)
    monkeypatch.setattr(session, "CHECKOUT", tmp_path / "checkout")
    votes = tmp_path / "votes.csv"
    votes.write_text("state,party,votes\nWA,=r,2\nBC,d,7\nWA,d,many\nON,x,1\nWA,d,10\n")

    def call(*steps: Any, out: str, code: int = 0, file: Path = votes, more: tuple[str, ...] = ()) -> dict[str, Any]:
        recipe = tmp_path / "recipe.json"
        recipe.write_text(json.dumps(steps))
        given = [
            "recipes",
            "apply",
            str(recipe),
            str(file),
            "--out",
            str(tmp_path / out),
            "--home",
            str(tmp_path / "h"),
        ]
        done = CliRunner().invoke(app, [*given, *more, "--json"])
        assert done.exit_code == code, done.output
        told = json.loads(done.stdout)
        assert isinstance(told, dict)
        return told

    return call


def test_the_result_is_written_whole_for_its_owner_and_what_went_missing_is_counted(
    apply: Apply, tmp_path: Path
) -> None:
    ends = step("RENAME", sourceColumn="d", targetColumn="d votes")
    told = apply(REMOVED, TYPED, PIVOT, ends, out="wide.csv")
    assert {name: told[name] for name in ("rows_in", "removed", "rows", "untyped", "masked")} == {
        "rows_in": 5,
        "removed": 1,
        "rows": 2,
        "untyped": {"votes": 1},
        "masked": [],
    }
    with (tmp_path / "wide.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["state", "'=r", "d votes"], ["WA", "2", "10"], ["BC", "", "7"]]
    assert (tmp_path / "wide.csv").stat().st_mode & 0o777 == 0o600
    apply(REMOVED, TYPED, PIVOT, ends, out="wide.parquet")
    table = pq.read_table(tmp_path / "wide.parquet")
    assert table.to_pydict() == {"state": ["WA", "BC"], "=r": [2.0, None], "d votes": [10.0, 7.0]}
    assert not list(tmp_path.glob(".*"))


def test_with_a_dataset_personal_columns_are_what_its_summary_sees(apply: Apply, tmp_path: Path) -> None:
    rows = [(1, "Acer", "2024-05-01", "1.5", "Sam Poole"), (2, "Acer", "2024-05-02", "2", " SAM  poole ")]
    file = trees_csv(tmp_path / "trees.csv", [*rows, (3, "Tilia", "2024-05-03", "=3", "Ann Lee")])
    by_species = grouped(
        ["Species"], ("Planter", "planters", "number", "COUNT_DISTINCT"), ("Planter", "planter", "string", "ANY")
    )
    told = apply(by_species, out="out.parquet", file=file, more=("--dataset", "trees"))
    assert told["masked"] == ["Planter"]
    platform = local_platform(tmp_path / "h")
    pseudonym = pseudonymizer(pseudonym_key(platform.keys, platform.lake.store, "trees"), "trees/Planter")
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == [
        {"Species": "Acer", "planters": 1, "planter": pseudonym("Sam Poole")},
        {"Species": "Tilia", "planters": 1, "planter": pseudonym("Ann Lee")},
    ]
    # The dataset's own recipe runs, too.
    (dataset,) = load_datasets(FIXTURES)
    told = apply(*dataset.recipe.written, out="own.parquet", file=file, more=("--dataset", "trees"))
    assert told["columns"]["Height"] == "DECIMAL(38,10)"
    assert (told["rows"], told["untyped"]) == (3, {"Height": 1})
    assert "Poole" not in json.dumps(pq.read_table(tmp_path / "own.parquet").to_pylist(), default=str)
    assert "does not fit the contract" in apply(out="x.csv", code=3, more=("--dataset", "trees"))["error"]


def test_a_result_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> None:
        with all_or_nothing(tmp_path / "out.csv") as unfinished:
            unfinished.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_done_is_refused_and_leaves_no_file(apply: Apply, tmp_path: Path) -> None:
    wide = tmp_path / "many.csv"
    wide.write_text("state,party,votes\n" + "".join(f"WA,p{number},1\n" for number in range(11)))
    assert "more than 10 different values" in apply(PIVOT, out="a.csv", code=3, file=wide)["error"]
    wide.write_text("state,party,votes\nWA,d,1\nWA,STATE,1\n")
    assert "STATE" in apply(PIVOT, out="a.csv", code=3, file=wide)["error"]
    wide.write_text("_ROW,a\n1,2\n")
    assert "the platform itself uses" in apply(out="a.csv", code=3, file=wide)["error"]
    later = apply(PIVOT, step("DELETE", sourceColumn="votes"), out="a.csv", code=3)["error"]
    assert "recipe.json:1:" in later
    assert "there is no column votes" in later
    hashed = step("CRYPTOGRAPHIC_HASH", sourceColumns='["state"]', secretId="s")
    assert "--dataset" in apply(hashed, out="a.csv", code=3)["error"]
    assert "no file" in apply(out="a.csv", code=3, file=tmp_path / "absent.csv")["error"]
    assert "ends in neither" in apply(out="a.xlsx", code=2)["error"]
    assert "exists already" in apply(out="votes.csv", code=2)["error"]
    assert "no dataset" in apply(out="a.csv", code=2, more=("--dataset", "bees"))["error"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["checkout", "many.csv", "recipe.json", "votes.csv"]
