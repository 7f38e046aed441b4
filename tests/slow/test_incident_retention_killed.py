"""Retention killed at each of its side effects, on its way from the store to the lake."""

import shutil
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from city_platform.incidents.model import PICTURES, Status
from city_platform.incidents.reference import load_reference
from city_platform.incidents.retention import anonymise, dated
from tests.incident_stream import LEASE, Died, Town, all_the_way, deadly, following
from tests.incidents import NOW, change, incident

PERIODS = load_reference().retention
TODAY = NOW + timedelta(days=PERIODS.remove_days, minutes=1)


def turn(town: Town) -> None:
    """As `incidents process` goes: what is overdue, and then the export, until nothing is left to do."""
    for _ in range(3):
        anonymise(town.store, TODAY)
        town.store.expire(10)
        all_the_way(town)
        town.stream.trim(["lake"])


def state(town: Town, ids: list[str]) -> list[Any]:
    kept = [(town.store.get(one), town.store.history(one), town.store.sealed_contact(one)) for one in ids]
    rows = sorted((row["event_id"], row["reporter"], row["expired"]) for row in town.exported())
    pictures = list(town.lake.store.keys(f"{PICTURES}/"))
    return [kept, rows, pictures, town.store.counts().counts, town.store.changes(0, 10)]


def test_killed_at_any_side_effect_and_run_again_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Town.at(tmp_path / "start")
    ids = []
    for days in (0, PERIODS.remove_days - PERIODS.anonymise_days, PERIODS.remove_days - 1):
        one = incident(days * 24 * 60)
        start.store.write([change(one, sealed_contact=b"sealed")])
        closed = following(one, status=Status.RESOLVED, closed_at=one.reported_at)
        start.write(dated(closed, PERIODS), one)
        for number in range(2):
            start.lake.store.put(f"{PICTURES}/{one.incident_id}/{number}.png", b"pixels")
        ids.append(one.incident_id)

    def copy(name: str) -> Town:
        shutil.copytree(tmp_path / "start", tmp_path / name)
        town = Town.at(tmp_path / name)
        town.clock.time = TODAY
        return town

    undisturbed = copy("undisturbed")
    with deadly(monkeypatch, 0, "never") as effects:
        turn(undisturbed)
    expected = state(undisturbed, ids)
    (gone, anonymised, kept), rows, pictures, _, log = expected
    assert len(pictures) == 4
    assert (gone, anonymised[2], kept[2], log) == ((None, [], None), None, b"sealed", [])
    assert [name.split(".", 1)[1] for name, _, expired in rows if expired] == ["2.REMOVE"]
    assert effects[0] > 20
    for number, moment in product(range(1, effects[0] + 1), ("before", "after")):
        town = copy(f"{moment}-{number}")
        with deadly(monkeypatch, number, moment), pytest.raises(Died):
            turn(town)
        again = Town.at(town.home)
        again.clock.time = TODAY + LEASE
        turn(again)
        assert state(again, ids) == expected, (number, moment)
