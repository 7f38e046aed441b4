"""Sensors on which somebody works: how they are named, and that changes at once are all kept."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.traffic.maintenance import RECORD, change, explain, maintained, read
from city_platform.traffic.state import Record, VersionConflict
from tests.traffic import Faults, MemoryState
from tests.traffic_histories import known_incident
from tests.traffic_minutes import START, FaultyState, end_of

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
    assert json.loads(stored.body) == {"sensors": {"2": NOW + 20}, "zones": {}}


def test_a_record_of_sensors_alone_is_read_as_it_was_meant() -> None:
    state = MemoryState()
    state.commit([Record(RECORD, 1, b'{"3":1780000000009}')])
    assert maintained(state, NOW) == {3: NOW + 9}
    assert change(state, {4}, NOW + 10, NOW) == {3: NOW + 9, 4: NOW + 10}


def test_incidents_explain_zones_beside_the_work_on_sensors() -> None:
    state, incident = MemoryState(), known_incident(1, 3)
    change(state, {1}, end_of(9), START)
    assert explain(state, {"z-001": [incident], "z-002": []}, START)
    assert not explain(state, {"z-001": [incident]}, START)
    known = read(state)
    assert known.sensors == {1: end_of(9)}
    assert [bool(known.known("z-001", end_of(minute))) for minute in range(5)] == [False, True, True, False, False]
    assert known.known("z-002", end_of(2)) == []
    change(state, {2}, end_of(9), end_of(2))
    assert read(state).zones == {"z-001": (incident,)}
    change(state, {1}, None, end_of(3))
    assert read(state).zones == {}  # what is over goes with the next change
    assert explain(state, {"z-001": [incident]}, START)
    assert explain(state, {}, START)


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

    assert command() == (0, {"maintenance": {}, "explained_zones": {}})
    code, said = command("s-00003", "s-00004", "--hours", "2")
    assert (code, list(said["maintenance"])) == (0, ["s-00003", "s-00004"])
    assert list(command("s-00003", "--over")[1]["maintenance"]) == ["s-00004"]
    code, said = command("s-00003", "s-99999", "nonsense")
    assert (code, "s-99999, nonsense" in said["error"]) == (2, True)
    plain = CliRunner().invoke(app, ["traffic", "maintenance", "--home", str(tmp_path)]).stdout
    assert plain.startswith("s-00004 until 20")
