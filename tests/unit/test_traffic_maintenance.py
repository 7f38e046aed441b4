"""Sensors on which somebody works: how they are named, and that changes at once are all kept."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.traffic.maintenance import RECORD, change, maintained
from city_platform.traffic.state import Record, VersionConflict
from tests.traffic import Faults, MemoryState
from tests.traffic_minutes import FaultyState

NOW = 1_780_000_000_000


def test_work_begins_goes_on_and_is_over() -> None:
    state = MemoryState()
    assert maintained(state, NOW) == {}
    assert change(state, {1, 2}, NOW + 10, NOW) == {1: NOW + 10, 2: NOW + 10}
    assert change(state, {2, 3}, NOW + 20, NOW) == {1: NOW + 10, 2: NOW + 20, 3: NOW + 20}
    assert maintained(state, NOW + 10) == {2: NOW + 20, 3: NOW + 20}
    assert change(state, {3}, None, NOW + 10) == {2: NOW + 20}
    stored = state.record(RECORD)
    assert stored
    assert json.loads(stored.body) == {"2": NOW + 20}


def test_what_others_say_at_the_same_time_is_kept() -> None:
    base = MemoryState()
    mine = FaultyState(coming=Faults(["rival"])).over(base)
    mine.rival = lambda: change(base, {7}, NOW + 5, NOW)
    assert change(mine, {8}, NOW + 9, NOW) == {7: NOW + 5, 8: NOW + 9}

    class Contested(MemoryState):
        def commit(self, records: Any, events: Any = ()) -> None:
            super().commit([Record(RECORD, records[0].version, b"{}")])
            super().commit(records, events)

    with pytest.raises(VersionConflict):
        change(Contested(), {8}, NOW + 9, NOW)


def test_the_command_names_sensors_and_knows_which_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_REGISTRY", "11:20:2")

    def command(*words: str) -> tuple[int, dict[str, Any]]:
        said = CliRunner().invoke(app, ["traffic", "maintenance", *words, "--home", str(tmp_path), "--json"])
        return said.exit_code, json.loads(said.stdout)

    assert command() == (0, {"maintenance": {}})
    code, said = command("s-00003", "s-00004", "--hours", "2")
    assert (code, list(said["maintenance"])) == (0, ["s-00003", "s-00004"])
    assert list(command("s-00003", "--over")[1]["maintenance"]) == ["s-00004"]
    code, said = command("s-00003", "s-99999", "nonsense")
    assert (code, "s-99999, nonsense" in said["error"]) == (2, True)
    plain = CliRunner().invoke(app, ["traffic", "maintenance", "--home", str(tmp_path)]).stdout
    assert plain.startswith("s-00004 until 20")
