"""Runs as forks: they work, end when they are asked to, and are found out when they die."""

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.code_pointer import FileCodePointer
from dagster._core.launcher.base import LaunchRunContext, WorkerStatus
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.test_utils import instance_for_test

from resources.run_launcher import ForkingRunLauncher, Work

CODE = """
import os, time
import dagster as dg

@dg.op
def work(context) -> None:
    context.log.info(f"written by {type(context.instance.event_log_storage).__name__}")
    {work}

@dg.job
def job() -> None:
    work()

defs = dg.Definitions(jobs=[job], executor=dg.in_process_executor)
"""
SETTINGS = {"run_launcher": {"module": ForkingRunLauncher.__module__, "class": ForkingRunLauncher.__name__}}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_for_test(overrides=SETTINGS, temp_dir=str(tmp_path)) as instance:
        yield instance


@dg.op
def work() -> None:
    """What the file's step is called too."""


@dg.job
def job() -> None:
    work()


def launched(instance: dg.DagsterInstance, folder: Path, body: str) -> str:
    code = folder / "code.py"
    code.write_text(CODE.replace("{work}", body), encoding="utf-8")
    pointer = FileCodePointer(str(code), "defs", str(folder))
    origin = JobPythonOrigin("job", RepositoryPythonOrigin("python", pointer))
    run = instance.create_run_for_job(job, job_code_origin=origin)
    instance.run_launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
    return run.run_id


def state(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def wait(instance: dg.DagsterInstance, run_id: str, status: dg.DagsterRunStatus) -> None:
    end = time.monotonic() + 120
    while state(instance, run_id) is not status:
        assert time.monotonic() < end, f"it is {state(instance, run_id)}"
        time.sleep(0.1)


def health(instance: dg.DagsterInstance, run_id: str) -> WorkerStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return instance.run_launcher.check_run_worker_health(run).status


def test_a_run_works_and_writes_its_events_as_the_command_line_does(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run = launched(instance, tmp_path, "pass")
    wait(instance, run, dg.DagsterRunStatus.SUCCESS)
    assert any("KeptSqliteEventLogStorage" in one.user_message for one in instance.all_logs(run))


def test_a_run_is_read_from_the_code_as_it_stands(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    wait(instance, launched(instance, tmp_path, "pass"), dg.DagsterRunStatus.SUCCESS)
    wait(instance, launched(instance, tmp_path, "raise ValueError"), dg.DagsterRunStatus.FAILURE)


def test_a_run_ends_when_it_is_asked_to(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    run = launched(instance, tmp_path, "time.sleep(120)")
    wait(instance, run, dg.DagsterRunStatus.STARTED)
    assert health(instance, run) is WorkerStatus.RUNNING
    assert instance.run_launcher.terminate(run)
    wait(instance, run, dg.DagsterRunStatus.CANCELED)
    assert not instance.run_launcher.terminate(run)


def test_a_run_that_dies_without_a_word_has_failed(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    run = launched(instance, tmp_path, "os._exit(9)")
    wait(instance, run, dg.DagsterRunStatus.FAILURE)
    assert any("exit code 9" in str(one.dagster_event and one.dagster_event.message) for one in instance.all_logs(run))


def test_a_run_whose_launcher_died_too_is_found_out_by_its_lock(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(job).run_id
    assert health(instance, run) is WorkerStatus.RUNNING  # started by other means: nobody knows better
    alone = Work.of(Path(instance.root_directory), run)
    with alone.held():
        assert health(instance, run) is WorkerStatus.RUNNING
    alone.file.write_text("1", encoding="ascii")  # as a killed process leaves it
    assert health(instance, run) is WorkerStatus.FAILED
