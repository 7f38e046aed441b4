"""The path of incidents' changes for tests: a store with changes, and what takes them to the lake."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from city_platform.deployment.events import open_event_log
from city_platform.deployment.incidents import IncidentPath, open_incident_path
from city_platform.incidents.export import export_once
from city_platform.incidents.model import Incident, Severity, Status
from city_platform.lake.lake import Lake
from city_platform.local.database import Database
from city_platform.local.event_bus import SqliteEventBus
from city_platform.local.incident_stream import SqliteIncidentStream, stream_record
from city_platform.local.incidents import LoggedChange, SqliteIncidentRepository
from city_platform.local.notifier import FileNotifier
from city_platform.local.platform import local_platform
from city_platform.local.runner import EventSourceMapping
from city_platform.local.store import LocalObjectStore
from city_platform.ports import BusEvent
from tests.incidents import NOW, change, incident
from tests.town import StandingClock

DAY = 24 * 60
LEASE = timedelta(minutes=2)  # longer than any claim of this machine


@dataclass
class Town:
    """A store, its stream, and the path to a lake, all below one folder."""

    home: Path
    clock: StandingClock
    store: SqliteIncidentRepository
    stream: SqliteIncidentStream
    path: IncidentPath
    lake: Lake
    bus: SqliteEventBus

    @classmethod
    def at(cls, home: Path) -> "Town":
        clock = StandingClock(NOW)
        store = SqliteIncidentRepository(home / "incidents" / "incidents.sqlite", clock)
        platform = local_platform(home, clock, threads=1)
        path = open_incident_path(home, platform, {})
        return cls(home, clock, store, SqliteIncidentStream(store), path, platform.lake, open_event_log(home, clock))

    def write(self, after: Incident, before: Incident | None = None) -> Incident:
        self.store.write([change(after, before)])
        return after

    def mapping(
        self, handle: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None, **settings: Any
    ) -> EventSourceMapping:
        return EventSourceMapping(
            self.stream,
            "lake",
            handle or (lambda event: self.path.processor.process(event).partial_answer()),
            lambda record, reason: self.path.dead_letters.keep([(record, reason)]),
            sleep=lambda _: None,
            **settings,
        )

    def exported(self) -> Iterator[dict[str, Any]]:
        """The rows of all published days."""
        for day in self.lake.partitions("exports", "incidents"):
            manifest = self.lake.require("exports", "incidents", day)
            rows = pa.concat_tables([pq.read_table(one) for one in self.lake.paths(manifest, "parquet")]).to_pylist()
            assert manifest.counts["rows"] == len(rows)
            yield from rows

    def names(self) -> list[str]:
        return sorted(row["event_id"] for row in self.exported())


def following(before: Incident, **changes: Any) -> Incident:
    return replace(before, version=before.version + 1, **changes)


def record(after: Incident | None, before: Incident | None = None, sequence: int = 1) -> dict[str, Any]:
    """The stream record of a change."""
    from city_platform.incidents import codec

    some = after or before
    assert some is not None
    old, new = (codec.to_item(one) if one else None for one in (before, after))
    return stream_record(LoggedChange(sequence, codec.rfc3339(some.updated_at), some.incident_id, old, new))


def busy(town: Town) -> list[str]:
    """Reports and changes of two days, one incident that becomes critical; the names of the changes."""
    first, second, third = incident(0), incident(1), incident(DAY)
    raised = following(first, severity=Severity.CRITICAL)
    for written in (
        (first,),
        (second,),
        (raised, first),
        (following(raised, status=Status.ACKNOWLEDGED), raised),
        (third,),
    ):
        town.write(*written)
    changes = [
        (first, 1, "INSERT"),
        (second, 1, "INSERT"),
        (first, 2, "MODIFY"),
        (first, 3, "MODIFY"),
        (third, 1, "INSERT"),
    ]
    return sorted(f"{one.incident_id}.{version}.{event}" for one, version, event in changes)


def notifications(town: Town) -> list[dict[str, Any]]:
    file = town.home / "notifications.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def events(town: Town) -> list[BusEvent]:
    """What was told, each once, in order; repetitions have to be the same."""
    received = [one.event for one in town.bus.receive("test", 9_999)]
    found = {one.id: one for one in received}
    assert all(found[one.id] == one for one in received)
    return list(found.values())


def told_of(town: Town) -> tuple[list[str], list[tuple[str, int]]]:
    """The incidents that are told to be critical, and the manifests that are told of."""
    details = [(one.detail_type, json.loads(one.detail)) for one in events(town)]
    critical = [detail["public_ref"] for kind, detail in details if kind == "IncidentBecameCritical"]
    exported = [(detail["partition"], detail["sequence"]) for kind, detail in details if kind == "ExportCompleted"]
    return critical, exported


def manifests(town: Town) -> list[tuple[str, int]]:
    """Every manifest of every day."""
    days = town.lake.partitions("exports", "incidents")
    return [(day, one.sequence) for day in days for one in town.lake.history("exports", "incidents", day)]


def all_the_way(town: Town) -> None:
    while town.mapping().deliver():
        pass
    while export_once(town.path.export, "exporter")["published"]:
        pass


class Died(BaseException):
    """As `kill -9`, for code that would clean up after an exception as after nothing else."""


@contextmanager
def deadly(monkeypatch: pytest.MonkeyPatch, number: int, moment: str) -> Iterator[list[int]]:
    """Whoever works dies just before or after the nth side effect: an object, a commit, a notification."""
    count = [0]

    def before() -> None:
        count[0] += 1
        if count[0] == number and moment == "before":
            raise Died

    def after() -> None:
        if count[0] == number and moment == "after":
            raise Died

    def effect(function: Callable[..., Any]) -> Callable[..., Any]:
        def dying(*arguments: Any, **options: Any) -> Any:
            before()
            result = function(*arguments, **options)
            after()
            return result

        return dying

    commit = Database.transaction

    @contextmanager
    def transaction(self: Database) -> Iterator[Any]:
        with commit(self) as connection:
            yield connection
            before()  # what was done in it is rolled back
        after()

    with monkeypatch.context() as patch:
        for place, name in ((LocalObjectStore, "_move"), (LocalObjectStore, "delete"), (FileNotifier, "notify")):
            patch.setattr(place, name, effect(getattr(place, name)))
        patch.setattr(Database, "transaction", transaction)
        yield count


def with_poison(town: Town) -> list[str]:
    """The same, and a record among them that cannot be a row."""
    names = busy(town)
    bad = town.write(incident(2))
    with town.store._database.transaction() as connection:
        connection.execute(
            "UPDATE change SET new = replace(new, '\"medium\"', '\"dire\"') WHERE incident_id = ?", (bad.incident_id,)
        )
    return names


def killed_and_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    """Kills the whole way at every nth of its side effects, before and after it, and has it run again."""
    names = with_poison(Town.at(tmp_path / "start"))

    def copy(name: str) -> Town:
        shutil.copytree(tmp_path / "start", tmp_path / name)
        return Town.at(tmp_path / name)

    undisturbed = copy("undisturbed")
    with deadly(monkeypatch, 0, "never") as effects:
        all_the_way(undisturbed)
    assert effects[0] > 20
    for number, moment in list(product(range(1, effects[0] + 1), ("before", "after")))[::every]:
        town = copy(f"{moment}-{number}")
        with deadly(monkeypatch, number, moment), pytest.raises(Died):
            all_the_way(town)
        again = Town.at(town.home)
        again.clock.time += LEASE
        all_the_way(again)
        assert published(again) == published(undisturbed), (number, moment)
        assert again.names() == names
        assert [one["subject"] for one in notifications(again)] == [
            one["subject"] for one in notifications(undisturbed)
        ]
        critical, exported = told_of(again)
        assert [any(one in alert["subject"] for one in critical) for alert in notifications(again)] == [True]
        assert sorted(exported) == manifests(again), (number, moment)
        assert {one.reason for one in again.path.dead_letters.look(10)} == {"severity: Invalid enum value"}
        assert not list(again.lake.store.keys("exports/incidents/pending"))


def published(town: Town) -> dict[str, str]:
    """What each day consists of."""
    days = town.lake.partitions("exports", "incidents")
    return {day: town.lake.require("exports", "incidents", day).sha256 for day in days}
