"""The export's state machine against the code it calls: every task can fail, and every failure has somewhere to go."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from city_platform import ports
from city_platform.errors import PermanentError, TransientError
from city_platform.functions import incident_export, incident_stream
from city_platform.incidents.export import LEASE
from tests.incident_stream import record
from tests.incidents import incident
from tests.town import ROOT

MACHINE = json.loads((ROOT / "infrastructure/state_machines/incident_export.asl.json").read_text())


def tasks(machine: Mapping[str, Any], catch: bool = False) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """Each task with whether it, or the map it is in, catches every error."""
    for name, state in machine["States"].items():
        caught = catch or any("States.ALL" in one["ErrorEquals"] for one in state.get("Catch", ()))
        if state["Type"] == "Task":
            yield name, state, caught
        elif state["Type"] == "Map":
            yield from tasks(state["ItemProcessor"], caught)


def test_every_task_ends_is_tried_again_and_is_caught() -> None:
    # Errors of the catalog and the metrics aside, which no step asks.
    passing = {
        name
        for name, kind in vars(ports).items()
        if isinstance(kind, type)
        and issubclass(kind, TransientError)
        and not name.startswith(("Catalog", "Metrics", "Transient"))
    }
    lasting = {kind.__name__ for kind in PermanentError.__subclasses__()}
    found = list(tasks(MACHINE))
    assert len(found) == 10
    for name, state, caught in found:
        assert caught, name
        assert state["TimeoutSeconds"] <= 300, name
        retried = {error for one in state["Retry"] for error in one["ErrorEquals"]}
        assert passing <= retried, name
        assert not lasting & retried, name
        assert all(one["BackoffRate"] > 1 and one["MaxAttempts"] <= 5 for one in state["Retry"]), name
    assert MACHINE["TimeoutSeconds"] < LEASE.total_seconds()


def test_every_state_is_reached_and_every_next_state_is_there() -> None:
    states = MACHINE["States"]
    todo, reached = [MACHINE["StartAt"]], set()
    while todo:
        name = todo.pop()
        if name in reached:
            continue
        reached.add(name)
        state = states[name]
        ways = [state.get("Next"), state.get("Default")]
        ways += [one["Next"] for one in (*state.get("Catch", ()), *state.get("Choices", ()))]
        todo += [way for way in ways if way]
    assert reached == set(states)


@pytest.fixture
def function_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The functions over a folder of this machine."""
    monkeypatch.setenv("CITY_PLATFORM_HOME", str(tmp_path))
    monkeypatch.delenv("CITY_PLATFORM_DEPLOYMENT", raising=False)
    yield tmp_path
    incident_export._path.cache_clear()
    incident_stream._path.cache_clear()


def test_the_function_knows_every_step_of_the_machine(function_home: Path) -> None:
    values = {"holder": "h", "day": {"day": "2026-03-09", "segments": []}, "days": [], "published": [], "error": {}}
    for _, state, _ in tasks(MACHINE):
        given = {name.removesuffix(".$"): value for name, value in state["Parameters"].items()}
        assert incident_export.handler({name: values.get(name, given[name]) for name in given}, None)
    with pytest.raises(incident_export.UnknownStep, match="paint"):
        incident_export.handler({"step": "paint"}, None)
    assert function_home.joinpath("incidents").is_dir()


def test_the_stream_function_answers_for_a_mixed_batch(function_home: Path) -> None:
    bad = record(incident(), None, 2)
    bad["dynamodb"]["NewImage"]["status"] = {"S": "lost"}
    answer = incident_stream.handler({"Records": [record(incident()), bad, record(incident(1), None, 3)]}, None)
    assert answer == {"batchItemFailures": []}
    path = incident_stream._path()
    assert function_home.joinpath("lake").is_dir()
    assert [one.reason for one in path.dead_letters.look(5)] == ["status: Invalid enum value"]
    (job,) = path.jobs.receive(5, LEASE)
    assert json.loads(job.body)["rows"] == 2
