"""From the store to the lake: nothing lost, nothing twice, whenever whoever works dies."""

import csv
import hashlib
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from city_platform.errors import TransientError
from city_platform.incidents.export import ExportDamaged, ExportRunning, arrow_schema, export_once
from city_platform.incidents.model import Severity, Status
from city_platform.incidents.stream import flat_row
from city_platform.lake.lake import PublishedMeanwhile
from city_platform.local.claims import SqliteClaims
from city_platform.local.event_bus import SqliteEventBus
from city_platform.local.notifier import FileNotifier
from city_platform.local.store import LocalObjectStore
from city_platform.ports import EventBusUnavailable, NotifierUnavailable
from tests.incident_stream import (
    DAY,
    LEASE,
    Town,
    all_the_way,
    busy,
    events,
    following,
    killed_and_run_again,
    manifests,
    notifications,
    record,
    told_of,
    with_poison,
)
from tests.incidents import NOW, incident


@pytest.fixture
def town(home: Path) -> Town:
    return Town.at(home)


def test_changes_reach_the_lake_in_both_forms_with_a_manifest_a_day(town: Town) -> None:
    names = busy(town)
    all_the_way(town)
    assert town.names() == names
    assert town.lake.partitions("exports", "incidents") == ["2026-03-09", "2026-03-10"]
    manifest = town.lake.require("exports", "incidents", "2026-03-09")
    (parquet,), (text,) = manifest.parts["parquet"], manifest.parts["csv"]
    assert parquet.key.startswith("exports/incidents/year=2026/month=03/day=09/")
    assert manifest.counts == {"rows": 4, "added": 4, "delivered_again": 0}
    assert manifest.details["sequence"] == {"first": f"{1:021}", "last": f"{4:021}"}
    for file in (parquet, text):
        data = town.lake.store.get(file.key)
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.bytes, file.sha256)
    table = pq.read_table(town.lake.store.local_path(parquet.key))
    assert table.schema.equals(arrow_schema())
    assert table.schema.field("changed_at").type == pa.timestamp("ms", tz="UTC")
    lines = list(csv.DictReader(io.StringIO(town.lake.store.get(text.key).decode(), newline="")))
    assert list(lines[0]) == table.column_names
    for line, row in zip(lines, table.to_pylist(), strict=True):
        assert {name: as_text(value) for name, value in row.items()} == line
    assert not list(town.lake.store.keys("exports/incidents/pending"))
    assert not town.path.jobs.receive(1, LEASE)


def as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return (
        value.isoformat(timespec="milliseconds").replace("+00:00", "Z") if hasattr(value, "isoformat") else str(value)
    )


def test_more_changes_of_a_day_are_added_to_it(town: Town) -> None:
    first = town.write(incident())
    all_the_way(town)
    town.write(following(first), first)
    all_the_way(town)
    manifest = town.lake.require("exports", "incidents", "2026-03-09")
    assert (manifest.sequence, len(manifest.parts["csv"]), manifest.counts["rows"]) == (2, 2, 2)
    assert len(town.names()) == 2


def test_killed_at_a_side_effect_and_run_again_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Every one of them, before and after: tests/slow.
    killed_and_run_again(tmp_path, monkeypatch, every=11)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("report"), st.integers(0, 2)),
        st.tuples(st.just("change"), st.integers(0, 5)),
        st.tuples(st.just("deliver"), st.integers(1, 4)),
        st.tuples(st.just("again"), st.tuples(st.integers(0, 8), st.integers(1, 6))),
        st.tuples(st.just("export"), st.none()),
        st.tuples(st.just("killed"), st.integers(0, 3)),
        st.tuples(st.just("raced"), st.none()),
    ),
    max_size=14,
)


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_however_deliveries_repeat_and_overlap_every_change_is_there_once(steps: Sequence[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        town = Town.at(Path(folder))
        names: list[str] = []
        known = []
        told: list[Mapping[str, Any]] = []
        export = town.path.export
        for what, value in steps:
            if what == "report":
                known.append(town.write(incident(value * DAY)))
                names.append(f"{known[-1].incident_id}.1.INSERT")
                told.append(record(known[-1], None, len(told) + 1))
            elif what == "change" and known:
                place = value % len(known)
                after = town.write(following(known[place]), known[place])
                told.append(record(after, known[place], len(told) + 1))
                known[place] = after
                names.append(f"{after.incident_id}.{after.version}.MODIFY")
            elif what == "deliver":
                town.mapping(batch=value).deliver()
            elif what == "again" and told:  # any part of the stream, divided otherwise, perhaps before its turn
                start, length = value
                town.path.processor.process({"Records": told[start : start + length]})
            elif what == "export":
                export_once(export, "exporter")
            elif what == "killed":  # an exporter that did so many steps and no more
                export.lock("killed")
                days = export.list()["days"]
                if value > 0:
                    days = [export.export(day) for day in days]
                if value > 1:
                    export.write_manifests(days)
                town.clock.time += LEASE
            elif what == "raced":  # two exporters at once, the lock notwithstanding: of the later one nothing counts
                days = [export.export(day) for day in export.list()["days"]]
                town.clock.time += LEASE
                others = [export.export(day) for day in export.list()["days"]]
                export.write_manifests(others)
                with suppress(PublishedMeanwhile):
                    export.write_manifests(days)
                town.clock.time += LEASE
        all_the_way(town)
        assert town.names() == sorted(names)
        assert sorted(told_of(town)[1]) == manifests(town)
        assert not list(town.lake.store.keys("exports/incidents/pending"))


def test_two_exports_do_not_run_at_once(town: Town) -> None:
    town.path.export.lock("one")
    with pytest.raises(ExportRunning):
        export_once(town.path.export, "two")
    town.clock.time += LEASE
    assert export_once(town.path.export, "two") == {"published": []}


def test_a_segment_that_cannot_be_read_keeps_no_other_out_and_people_hear_of_it(town: Town) -> None:
    town.write(incident())
    town.mapping().deliver()
    (bad,) = town.lake.store.keys("exports/incidents/pending")
    town.write(incident(1))
    town.mapping().deliver()
    town.lake.store.put(bad, b'{"half a r')
    town.path.jobs.send(["no job at all"])
    export_once(town.path.export, "exporter")
    assert len(town.names()) == 1
    (told,) = notifications(town)
    assert bad in told["body"]
    for _ in range(6):
        town.clock.time += LEASE
        export_once(town.path.export, "exporter")
    town.clock.time += LEASE
    assert sorted(one.body == "no job at all" for one in town.path.dead_jobs.receive(9, timedelta(0))) == [False, True]
    assert town.path.redrive_jobs(10) == 2
    assert len(town.path.jobs.receive(9, LEASE)) == 2


def test_damage_in_the_lake_is_found_before_the_segments_go(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.write(incident())
    town.mapping().deliver()
    put = LocalObjectStore.put

    def damaged(self: LocalObjectStore, key: str, data: bytes, *, create_only: bool = False) -> None:
        put(self, key, data[:-1] if key.endswith(".csv") else data, create_only=create_only)

    monkeypatch.setattr(LocalObjectStore, "put", damaged)
    with pytest.raises(ExportDamaged):
        export_once(town.path.export, "exporter")
    assert list(town.lake.store.keys("exports/incidents/pending"))
    assert notifications(town)[-1]["subject"] == "Incident export failed"


# --- poison and its way back ---


def test_poison_goes_to_the_dead_letters_and_the_rest_of_the_batch_to_the_lake(town: Town) -> None:
    names = with_poison(town)
    all_the_way(town)
    assert town.names() == names
    (letter,) = town.path.dead_letters.look(10)
    assert (letter.event, letter.sequence, letter.reason) == ("INSERT", f"{6:021}", "severity: Invalid enum value")
    # Still poison: it stays, once.
    result = town.path.dead_letters.redrive(town.path.processor.replay, 10)
    assert (result.replayed, list(result.refused)) == (0, ["severity: Invalid enum value"])
    assert len(town.path.dead_letters.look(10)) == 1


def test_redriven_letters_become_rows_once_even_if_they_lay_there_twice(town: Town) -> None:
    one = incident()
    large = record(following(one, description="x" * 150_000), one)
    letters = town.path.dead_letters
    letters.keep([(record(one), "a defect of the day"), (large, "the same")])
    letters.keep([(record(one), "a defect of the day")])
    assert len(list(town.lake.store.keys("exports/incidents/dead"))) == 1
    result = letters.redrive(town.path.processor.replay, 10)
    assert (result.replayed, list(result.refused)) == (3, [])
    assert not letters.look(10)
    assert not list(town.lake.store.keys("exports/incidents/dead"))
    all_the_way(town)
    assert town.names() == [f"{one.incident_id}.1.INSERT", f"{one.incident_id}.2.MODIFY"]
    letters.keep([(record(one), "late")])
    letters.redrive(town.path.processor.replay, 10)
    all_the_way(town)
    assert len(town.names()) == 2


# --- the event source mapping ---


def test_a_partial_answer_moves_the_reader_up_to_the_first_failure(town: Town) -> None:
    for minute in range(6):
        town.write(incident(minute))
    seen: list[list[int]] = []

    def handle(event: Mapping[str, Any]) -> Mapping[str, Any]:
        numbers = [int(one["dynamodb"]["SequenceNumber"]) for one in event["Records"]]
        seen.append(numbers)
        bad = [number for number in numbers if number in {3, 5}] if len(seen) < 3 else []
        return {"batchItemFailures": [{"itemIdentifier": f"{number:021}"} for number in bad]}

    assert town.mapping(handle).deliver() == 6
    assert seen == [[1, 2, 3, 4, 5, 6], [3, 4, 5, 6], [3, 4, 5, 6]]
    assert town.store.checkpoint("lake") == 6
    assert town.stream.trim(["lake"]) == 6


def test_a_batch_nobody_can_stand_is_divided_until_the_culprit_is_alone(town: Town) -> None:
    for minute in range(7):
        town.write(incident(minute))
    taken: list[int] = []

    def handle(event: Mapping[str, Any]) -> Mapping[str, Any]:
        numbers = [int(one["dynamodb"]["SequenceNumber"]) for one in event["Records"]]
        if 5 in numbers:
            raise ZeroDivisionError("a defect")
        taken.extend(numbers)
        return {}

    assert town.mapping(handle).deliver() == 7
    assert taken == [1, 2, 3, 4, 6, 7]
    (letter,) = town.path.dead_letters.look(5)
    assert (letter.sequence, letter.reason) == (f"{5:021}", "ZeroDivisionError: a defect")


def test_a_record_that_always_fails_is_given_up_and_an_outage_is_not(town: Town) -> None:
    town.write(incident())
    town.write(incident(1))
    first = f"{1:021}"

    def handle(event: Mapping[str, Any]) -> Mapping[str, Any]:
        names = [one["dynamodb"]["SequenceNumber"] for one in event["Records"]]
        return {"batchItemFailures": [{"itemIdentifier": first}] if first in names else []}

    def down(_event: Mapping[str, Any]) -> Mapping[str, Any]:
        raise TransientError("down")

    with pytest.raises(TransientError):
        town.mapping(down).deliver()
    assert town.store.checkpoint("lake") == 0
    assert town.mapping(handle).deliver() == 2
    assert [one.sequence for one in town.path.dead_letters.look(5)] == [first]


# --- alerts ---


def test_one_alert_when_an_incident_becomes_critical_and_none_for_replays_and_edits(town: Town) -> None:
    reported = town.write(
        incident(0, severity=Severity.CRITICAL, description="sam@example.org", title="Sam Poole fell")
    )
    edited = town.write(following(reported, title="Deep hole"), reported)
    lowered = town.write(following(edited, severity=Severity.HIGH), edited)
    other = town.write(incident(1))
    for _ in range(2):
        all_the_way(town)
    town.path.processor.process({"Records": [record(reported), record(edited, reported, 2)]})
    (alert,) = notifications(town)
    assert reported.public_ref in alert["subject"]
    for part in (
        reported.incident_id,
        "Mount Pleasant",
        "49.26330, -123.09850",
        f"Link: http://127.0.0.1:8000/incidents/{reported.incident_id}",
    ):
        assert part in alert["body"]
    for hidden in ("sam@", "Poole", "citizen-1"):
        assert hidden not in json.dumps(alert)
    raised = town.write(following(lowered, severity=Severity.CRITICAL), lowered)  # again: another entry
    town.write(following(other, severity=Severity.CRITICAL), other)
    town.write(following(raised, status=Status.RESOLVED), raised)
    all_the_way(town)
    assert len(notifications(town)) == 3


def test_the_department_hears_once_that_a_closed_incident_is_still_there(town: Town) -> None:
    one = town.write(incident(0))
    closed = town.write(following(one, status=Status.RESOLVED, closed_at=NOW), one)
    for votes in range(1, 6):
        closed = town.write(following(closed, still_there=votes), closed)
        all_the_way(town)
        assert len(notifications(town)) == (votes >= 3)
    opened = town.write(following(closed, status=Status.REOPENED, closed_at=None, still_there=0), closed)
    for _ in range(2):
        town.path.processor.process({"Records": town.stream.read("another", 100)})
    (alert,) = notifications(town)
    assert opened.public_ref in alert["subject"]
    assert "3 people say that it is still there" in alert["body"]
    assert "department streets" in alert["body"]
    wrong = record(closed, one)
    wrong["dynamodb"]["NewImage"]["still_there"] = {"S": "many"}
    done = town.path.processor.process({"Records": [wrong]})
    assert [why for _, why in done.poison] == ["still_there is no number in DynamoDB's JSON"]


def test_an_alert_that_cannot_be_sent_is_sent_by_a_later_delivery(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.write(incident())
    town.write(incident(1, severity=Severity.CRITICAL))
    with monkeypatch.context() as patch:

        def down(*_: object, **__: object) -> None:
            raise NotifierUnavailable("down")

        patch.setattr(FileNotifier, "notify", down)
        event = {"Records": town.stream.read("lake", 10)}
        answer = town.path.processor.process(event).partial_answer()
    assert answer == {"batchItemFailures": [{"itemIdentifier": f"{2:021}"}]}
    assert not notifications(town)
    all_the_way(town)
    assert len(notifications(town)) == 1
    assert len(town.names()) == 2


def test_an_incident_that_became_critical_while_closed_is_told_of_when_it_is_opened_again(town: Town) -> None:
    one = town.write(incident(0))
    closed = town.write(replace(one, version=2, status=Status.RESOLVED, closed_at=one.updated_at), one)
    critical = town.write(replace(closed, version=3, severity=Severity.CRITICAL), closed)
    all_the_way(town)
    assert not notifications(town)
    again = town.write(replace(critical, version=4, status=Status.REOPENED, closed_at=None), critical)
    all_the_way(town)
    (told,) = notifications(town)
    assert "was opened again and is critical" in told["body"]
    town.write(replace(again, version=5, status=Status.IN_PROGRESS), again)
    all_the_way(town)
    assert len(notifications(town)) == 1


def test_an_alert_is_sent_once_by_its_claim_and_once_by_its_name(town: Town) -> None:
    told = record(incident(0, severity=Severity.CRITICAL))
    row = flat_row(told, str)
    sent: list[str] = []

    class Forgetful:
        """A notifier that cannot tell a repetition, such as a standard topic."""

        def notify(self, subject: str, body: str, *, once: str | None = None) -> None:  # noqa: ARG002 -- the port's
            sent.append(subject)

    desk = replace(town.path.processor.alerts, notifier=Forgetful())
    assert desk.look_at(row)
    town.clock.time += timedelta(days=30)
    assert not desk.look_at(row)
    assert len(sent) == 1

    class Unfinished(SqliteClaims):
        """Of a process that dies between the sending and the finishing."""

        def finish(self, name: str, holder: str) -> bool:
            raise KeyboardInterrupt(name, holder)

    other = flat_row(record(incident(1, severity=Severity.CRITICAL)), str)
    dying = replace(town.path.processor.alerts, claims=Unfinished(town.home / "claims.sqlite", town.clock))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            dying.look_at(other)
        town.clock.time += LEASE
    assert len(notifications(town)) == 1


def test_the_event_of_a_critical_incident_comes_with_its_alert_and_a_bus_that_is_out_repeats_no_alert(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = town.write(incident(0, severity=Severity.CRITICAL))
    town.write(incident(1))
    with monkeypatch.context() as patch:
        out = [EventBusUnavailable("busy")]
        patch.setattr(SqliteEventBus, "publish", lambda self, events: out * len(events))  # noqa: ARG005 -- the port's
        done = town.path.processor.process({"Records": town.stream.read("lake", 10)})
        assert done.partial_answer() == {"batchItemFailures": [{"itemIdentifier": f"{1:021}"}]}
        assert len(notifications(town)) == 1
        assert not events(town)
    all_the_way(town)
    assert len(notifications(town)) == 1
    assert told_of(town)[0] == [one.public_ref]
    town.path.processor.process({"Records": [record(one)]})
    assert len(town.bus.receive("another", 9)) == len(events(town))


def test_a_manifest_is_told_of_before_the_next_one_is_there(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.write(incident())
    town.mapping().deliver()
    export = town.path.export
    days = [export.export(day) for day in export.list()["days"]]
    (first,) = export.write_manifests(days)["published"]  # and killed
    town.write(incident(1))
    town.mapping().deliver()
    with monkeypatch.context() as patch:
        out = [EventBusUnavailable("busy")]
        patch.setattr(SqliteEventBus, "publish", lambda self, events: out * len(events))  # noqa: ARG005 -- the port's
        others = [export.export(day) for day in export.list()["days"]]
        with pytest.raises(EventBusUnavailable):
            export.write_manifests(others)
    assert manifests(town) == [(first["day"], 1)]
    export.write_manifests(others)
    assert manifests(town) == [(first["day"], 1), (first["day"], 2)]
    assert told_of(town)[1] == [(first["day"], 1)]
    town.clock.time += LEASE
    all_the_way(town)
    assert told_of(town)[1] == manifests(town)


def test_a_manifest_of_damaged_files_is_not_told_of(town: Town) -> None:
    town.write(incident())
    town.mapping().deliver()
    export = town.path.export
    export.write_manifests([export.export(day) for day in export.list()["days"]])  # and killed
    (csv,) = (key for key in town.lake.store.keys("exports/incidents/year") if key.endswith(".csv"))
    town.lake.store.put(csv, b"half")
    town.write(incident(1))
    town.mapping().deliver()
    with pytest.raises(ExportDamaged):
        export_once(export, "exporter")
    assert not events(town)


def test_nothing_of_the_path_shows_whom_it_is_about(town: Town, capfd: pytest.CaptureFixture[str]) -> None:
    canary = "canary-7f3a"
    one = town.write(
        incident(0, reported_by=f"{canary}-subject", description=f"{canary}@example.org", severity=Severity.CRITICAL)
    )
    town.write(following(one, status=Status.ACKNOWLEDGED, assigned_to=f"{canary} crew"), one)
    all_the_way(town)
    told = capfd.readouterr()
    assert canary not in told.out + told.err
    for file in town.home.rglob("*"):
        if file.is_file() and file.suffix != ".sqlite" and not file.name.startswith("incidents.sqlite"):
            assert canary.encode() not in file.read_bytes(), file
            assert file.stat().st_mode & 0o077 == 0, file
