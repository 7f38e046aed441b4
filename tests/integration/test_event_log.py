"""The event log whose connections stay open writes what Dagster's own reads, whatever happens to the files."""

import os
import sqlite3
import time
import uuid
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log import SqliteEventLogStorage

import runner
from resources.event_log import KeptSqliteEventLogStorage, instance_ref


def entry(run: str, message: str) -> dg.EventLogEntry:
    return dg.EventLogEntry(  # type: ignore[no-untyped-call]  # Dagster gives it no types
        error_info=None, level=20, user_message=message, run_id=run, timestamp=time.time(), job_name="job"
    )


def messages(storage: SqliteEventLogStorage, run: str) -> list[str]:
    return [one.user_message for one in storage.get_logs_for_run(run)]


def new_run() -> str:
    return str(uuid.uuid4())


def test_either_storage_reads_what_the_other_wrote(tmp_path: Path) -> None:
    kept, plain = KeptSqliteEventLogStorage(str(tmp_path)), SqliteEventLogStorage(str(tmp_path))
    run = new_run()
    kept.store_event(entry(run, "kept"))
    plain.store_event(entry(run, "plain"))
    kept.store_event(entry(run, "kept again"))
    assert messages(kept, run) == messages(plain, run) == ["kept", "plain", "kept again"]
    kept.dispose()


def test_more_runs_than_are_kept_open_are_all_written(tmp_path: Path) -> None:
    kept = KeptSqliteEventLogStorage(str(tmp_path))
    runs = [new_run() for _ in range(7)]
    for turn in ("first", "second"):
        for run in runs:
            kept.store_event(entry(run, turn))
    assert {run: messages(SqliteEventLogStorage(str(tmp_path)), run) for run in runs} == {
        run: ["first", "second"] for run in runs
    }
    kept.dispose()


def test_a_log_that_was_wiped_by_another_process_is_begun_anew(tmp_path: Path) -> None:
    kept = KeptSqliteEventLogStorage(str(tmp_path))
    run = new_run()
    kept.store_event(entry(run, "gone"))
    SqliteEventLogStorage(str(tmp_path)).wipe()
    kept.store_event(entry(run, "there"))
    assert messages(SqliteEventLogStorage(str(tmp_path)), run) == ["there"]
    kept.dispose()


def test_a_run_s_file_that_another_process_began_meanwhile_stays(tmp_path: Path) -> None:
    kept, run = KeptSqliteEventLogStorage(str(tmp_path)), new_run()
    SqliteEventLogStorage(str(tmp_path)).store_event(entry(run, "theirs"))
    kept._begin(Path(kept.path_for_shard(run)))
    kept.store_event(entry(run, "ours"))
    assert messages(kept, run) == ["theirs", "ours"]
    assert not list(tmp_path.glob("*.new"))
    kept.dispose()


def test_a_run_s_file_that_another_process_has_only_just_made_gets_its_tables(tmp_path: Path) -> None:
    kept, run = KeptSqliteEventLogStorage(str(tmp_path)), new_run()
    sqlite3.connect(kept.path_for_shard(run)).close()
    kept._begin(Path(kept.path_for_shard(run)))
    with sqlite3.connect(kept.path_for_shard(run)) as database:
        assert database.execute("SELECT count(*) FROM event_logs").fetchone() == (0,)
    kept.dispose()


def test_a_run_s_file_is_what_dagster_itself_would_have_made(tmp_path: Path) -> None:
    kept, plain = KeptSqliteEventLogStorage(str(tmp_path / "kept")), SqliteEventLogStorage(str(tmp_path / "plain"))
    run = new_run()

    def declared(storage: SqliteEventLogStorage) -> set[tuple[str, str]]:
        storage.store_event(entry(run, "first"))
        with sqlite3.connect(storage.path_for_shard(run)) as database:
            assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            revision = database.execute("SELECT version_num FROM alembic_version").fetchall()
            made = database.execute("SELECT name, sql FROM sqlite_master").fetchall()
        return {*made, ("revision", str(revision))}

    assert declared(kept) == declared(plain)
    kept.dispose()


def test_a_forked_child_opens_the_files_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = KeptSqliteEventLogStorage(str(tmp_path))
    run = new_run()
    kept.store_event(entry(run, "parent"))
    parents = kept._kept[run].engine
    monkeypatch.setattr(os, "getpid", lambda: -1)
    kept.store_event(entry(run, "child"))
    assert kept._kept[run].engine is not parents
    assert messages(kept, run) == ["parent", "child"]
    kept.dispose()


def test_an_operator_s_storage_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "dagster"
    assert isinstance(runner._instance(tmp_path).event_log_storage, KeptSqliteEventLogStorage)
    settings = (folder / "dagster.yaml").read_text(encoding="utf-8")
    (folder / "dagster.yaml").write_text(f"{settings}storage:\n  sqlite:\n    base_dir: {tmp_path}/elsewhere\n")
    assert instance_ref(folder) == InstanceRef.from_dir(str(folder))
