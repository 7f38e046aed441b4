"""What people and other systems put into the drop folder, and what may be wrong with it."""

import os
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.landing import landing_job, landing_requests
from city_platform.datasets import Dataset
from city_platform.errors import PermanentError
from city_platform.layers import drop_folder
from city_platform.layers.landing import Landing
from city_platform.layers.platform import Platform
from resources.platform import PlatformResource
from schedules.ingestion import ingestion_schedule
from tests.town import good_trees, trees_csv

OLD = 1_000_000_000.0
LONG = "t" * 251 + ".csv"


@pytest.fixture
def drop(home: Path) -> Path:
    folder = home / "drop" / "trees"
    folder.mkdir(parents=True)
    return folder


def dropped(folder: Path, name: str | bytes) -> Path:
    file = folder / os.fsdecode(name)
    trees_csv(file, good_trees(2024))
    os.utime(file, (OLD, OLD))
    return file


def asked_for(platform: Platform, drop: Path, trees: Dataset) -> list[str]:
    now = datetime.now(UTC).timestamp()
    return [request.run_key or "" for request in landing_requests(platform, drop.parent, [trees], now)]


def test_a_link_is_refused_and_what_it_points_at_stays_unread(
    platform: Platform, trees: Dataset, drop: Path, tmp_path: Path
) -> None:
    private = dropped(tmp_path, "private.csv")
    (drop / "trees.csv").symlink_to(private)
    os.utime(drop / "trees.csv", (OLD, OLD), follow_symlinks=False)
    assert asked_for(platform, drop, trees) == []
    assert (drop / "refused" / "trees.csv").is_symlink()
    assert "is a link" in (drop / "refused" / "trees.csv.reason.txt").read_text("utf-8")
    (drop / "trees.csv").symlink_to(private)
    with pytest.raises(drop_folder.NotDropped):  # a link that came after it was asked for
        drop_folder.take(platform, trees, drop / "trees.csv")
    assert private.exists()
    assert list(platform.lake.store.keys("")) == []


@pytest.mark.parametrize("name", [b"tr\xffees.csv", "two\nlines.csv", "\x1b[31mred.csv"])
def test_one_unspeakable_name_keeps_nobody_out(
    platform: Platform, trees: Dataset, drop: Path, name: str | bytes
) -> None:
    dropped(drop, name)
    dropped(drop, "trees.csv")
    (run,) = asked_for(platform, drop, trees)
    assert "trees.csv" in run
    assert (drop / "refused" / os.fsdecode(name)).exists()


@pytest.mark.parametrize("name", ["Bäume der Stadt 2024.csv", "木.csv", "it's; a 'tree'.csv", LONG])
def test_other_names_land(platform: Platform, trees: Dataset, drop: Path, name: str) -> None:
    for _ in range(2):
        landing = drop_folder.take(platform, trees, dropped(drop, name))
        assert landing.source.name == name
    assert len(list((drop / "landed").iterdir())) == 2


def test_the_reason_of_a_long_name_is_told(platform: Platform, trees: Dataset, drop: Path) -> None:
    for _ in range(2):
        file = drop / LONG
        file.write_bytes(b"")
        with pytest.raises(drop_folder.PermanentError):
            drop_folder.take(platform, trees, file)
    reasons = [one.read_text("utf-8") for one in (drop / "refused").iterdir() if one.name.endswith("reason.txt")]
    assert len([one for one in (drop / "refused").iterdir() if one.suffix == ".csv"]) == 2
    assert all("empty" in one for one in reasons)
    assert reasons


def test_two_runs_over_one_file_are_one(platform: Platform, trees: Dataset, drop: Path) -> None:
    file = dropped(drop, "trees.csv")
    copy = file.read_bytes()
    drop_folder.take(platform, trees, file)
    with pytest.raises(FileNotFoundError):
        drop_folder.take(platform, trees, file)
    assert (drop / "landed" / "trees.csv").read_bytes() == copy


@pytest.mark.parametrize("good", [True, False])
def test_what_was_written_anew_while_it_landed_waits_for_its_turn(
    platform: Platform, trees: Dataset, drop: Path, monkeypatch: pytest.MonkeyPatch, *, good: bool
) -> None:
    file, land = dropped(drop, "trees.csv"), drop_folder.land
    if not good:
        file.write_bytes(b"\x00\x01 no trees")

    def beside(*given: Any) -> Landing:
        try:
            return land(*given)
        finally:
            trees_csv(file, good_trees(2023))

    monkeypatch.setattr(drop_folder, "land", beside)
    with nullcontext() if good else pytest.raises(PermanentError):
        drop_folder.take(platform, trees, file)
    monkeypatch.undo()
    assert file.exists()
    assert "2023" in drop_folder.take(platform, trees, file).partitions


def test_a_file_that_is_taken_while_others_are_asked_for_keeps_none_out(
    platform: Platform, trees: Dataset, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, there = dropped(drop, "a.csv"), dropped(drop, "b.csv")
    gone.unlink()
    monkeypatch.setattr(drop_folder, "waiting", lambda *_: iter([(trees, gone), (trees, there)]))
    assert ["b.csv" in run for run in asked_for(platform, drop, trees)] == [True]


def test_what_could_not_land_is_asked_for_again_the_next_day(
    platform: Platform, trees: Dataset, drop: Path, home: Path
) -> None:
    dropped(drop, "trees.csv")
    assert asked_for(platform, drop, trees) == asked_for(platform, drop, trees)
    schedule = ingestion_schedule(drop.parent, [trees], landing_job([trees]))
    keys = []
    for day in (1, 2):
        context = dg.build_schedule_context(
            scheduled_execution_time=datetime(2036, 3, day, 14, tzinfo=UTC),
            resources={"platform": PlatformResource(home=str(home))},
        )
        (request,) = schedule.evaluate_tick(context).run_requests or []
        keys.append(request.run_key)
    assert keys[0] != keys[1]
